//! What the console has to say: briefly on the screen, and for as long as it runs on the screen of errors.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::list::Row;
use crate::report::Trouble;

/// How many are kept.
const KEPT: usize = 200;

/// How long one that is no error stays on the screen.
const BRIEF: SignedDuration = SignedDuration::from_secs(4);

/// How long an error stays, if Esc does not take it away.
const LONG: SignedDuration = SignedDuration::from_secs(20);

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// It went as it was meant to.
    Good,
    /// Worth knowing.
    Warning,
    /// It failed.
    Error,
}

/// One thing that was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its number, from 1.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// How bad it is.
    pub severity: Severity,
    /// What, and what cures it.
    pub trouble: Trouble,
}

impl Row for Notice {
    fn id(&self) -> &str {
        &self.id
    }
}

/// Everything that was said lately.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Notices {
    all: VecDeque<Arc<Notice>>,
    count: u64,
    /// Whether the last one was taken away by the user.
    dismissed: bool,
}

impl Notices {
    /// Says something.
    pub fn say(&mut self, severity: Severity, trouble: Trouble, at: Timestamp) {
        self.count += 1;
        self.dismissed = false;
        self.all.push_back(Arc::new(Notice { id: self.count.to_string(), at, severity, trouble }));
        while self.all.len() > KEPT {
            self.all.pop_front();
        }
    }

    /// What is on the screen now.
    pub fn shown(&self, now: Timestamp) -> Option<&Arc<Notice>> {
        let last = self.all.back().filter(|_| !self.dismissed)?;
        (now < expiry(last)).then_some(last)
    }

    /// When what is on the screen goes away.
    pub fn expiry(&self, now: Timestamp) -> Option<Timestamp> {
        self.shown(now).map(|notice| expiry(notice))
    }

    /// Takes away what is on the screen; false if nothing is.
    pub fn dismiss(&mut self, now: Timestamp) -> bool {
        let was_shown = self.shown(now).is_some();
        self.dismissed = true;
        was_shown
    }

    /// All that are kept, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Arc<Notice>> {
        self.all.iter().rev()
    }
}

fn expiry(notice: &Notice) -> Timestamp {
    let time = if notice.severity == Severity::Error { LONG } else { BRIEF };
    notice.at.saturating_add(time).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_for_a_while_or_until_taken_away_and_kept() {
        let mut notices = Notices::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        notices.say(Severity::Good, Trouble::new("paused"), at(100));
        assert!(notices.shown(at(103)).is_some() && notices.shown(at(105)).is_none());
        notices.say(Severity::Error, Trouble::new("refused"), at(200));
        assert!(notices.shown(at(215)).is_some());
        assert!(notices.dismiss(at(215)) && !notices.dismiss(at(215)));
        assert!(notices.shown(at(216)).is_none());
        assert_eq!(notices.newest_first().count(), 2);
        for _ in 0..500 {
            notices.say(Severity::Warning, Trouble::new("again"), at(300));
        }
        assert_eq!(notices.newest_first().count(), KEPT);
    }
}
