//! Which experiment is to be looked at when: each by one step at a time, and after a failure with a
//! growing pause of its own, so that one that cannot be served does not hold up the others.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::act::{ActError, Outcome};
use super::kinds::ExperimentKey;

/// How many steps are under way at once.
const PARALLEL: usize = 16;

/// The pause after the first failure; it doubles with each that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long objects that were not as believed have to settle.
const AGAIN: Duration = Duration::from_millis(5);

/// The failures of one experiment in a row.
struct Failures {
    count: u32,
    until: Instant,
}

/// Which experiment is to be looked at when.
#[derive(Default)]
pub(super) struct Schedule {
    due: BTreeMap<ExperimentKey, Instant>,
    running: HashSet<ExperimentKey>,
    failing: HashMap<ExperimentKey, Failures>,
}

impl Schedule {
    /// Looks at this one at `when`, or earlier if that was said before; not before its pause is over.
    pub(super) fn due(&mut self, key: ExperimentKey, when: Instant) {
        let when = self.failing.get(&key).map_or(when, |failures| failures.until.max(when));
        let at = self.due.entry(key).or_insert(when);
        *at = when.min(*at);
    }

    /// The experiments to look at now. Those that are being looked at stay due until that is over.
    pub(super) fn take(&mut self, now: Instant) -> Vec<ExperimentKey> {
        let free = PARALLEL.saturating_sub(self.running.len());
        let ready = self.due.iter().filter(|(key, at)| **at <= now && !self.running.contains(*key));
        let keys: Vec<ExperimentKey> = ready.map(|(key, _)| key.clone()).take(free).collect();
        for key in &keys {
            self.due.remove(key);
            self.running.insert(key.clone());
        }
        keys
    }

    /// When there is something to look at next, if nothing happens before.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.running.len() >= PARALLEL {
            return None;
        }
        self.due.iter().filter(|(key, _)| !self.running.contains(*key)).map(|(_, at)| *at).min()
    }

    /// A step is over.
    pub(super) fn done(&mut self, key: ExperimentKey, outcome: Result<Outcome, ActError>, now: Instant) {
        self.running.remove(&key);
        match outcome {
            Ok(outcome) => {
                self.failing.remove(&key);
                match outcome {
                    Outcome::Done => {}
                    Outcome::Wait(time) => self.due(key, now + time),
                    Outcome::Again => self.due(key, now + AGAIN),
                }
            }
            Err(error) => {
                let count = self.failing.get(&key).map_or(0, |failures| failures.count);
                let experiment = key.to_string();
                if count == 0 {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        experiment,
                        "step failed, is tried again"
                    );
                } else {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        experiment,
                        count,
                        "step failed again"
                    );
                }
                let pause = FIRST_PAUSE.saturating_mul(1 << count.min(16)).min(LONGEST_PAUSE);
                self.failing
                    .insert(key.clone(), Failures { count: count.saturating_add(1), until: now + pause });
                self.due.remove(&key);
                self.due(key, now + pause);
            }
        }
    }
}
