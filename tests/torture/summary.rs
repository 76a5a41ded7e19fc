//! What was measured, by who was killed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::draw::Victim;

/// Times of one round, as far as there was something to measure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Took {
    pub(crate) killed: Vec<Victim>,
    /// From the daemon's death to a clean network.
    pub(crate) clean: Option<Duration>,
    /// The same from the start of the next daemon, where that one had something to undo.
    pub(crate) clean_by_next: Option<Duration>,
    /// From the kills to an answer.
    pub(crate) flow: Option<Duration>,
    /// Until the fault was there again.
    pub(crate) back: Option<Duration>,
}

/// The slowest of each kind.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    kinds: BTreeMap<Vec<Victim>, (u64, Took)>,
}

impl Summary {
    pub(crate) fn add(&mut self, took: &Took) {
        let mut kind = took.killed.clone();
        kind.sort_unstable();
        let (rounds, slowest) = self.kinds.entry(kind).or_default();
        *rounds += 1;
        slowest.clean = slowest.clean.max(took.clean);
        slowest.clean_by_next = slowest.clean_by_next.max(took.clean_by_next);
        slowest.flow = slowest.flow.max(took.flow);
        slowest.back = slowest.back.max(took.back);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "slowest, in ms:                  rounds    clean  by next  traffic    back")?;
        let text =
            |time: Option<Duration>| time.map_or_else(|| "-".to_owned(), |t| t.as_millis().to_string());
        for (kind, (rounds, slowest)) in &self.kinds {
            let kind: Vec<_> = kind.iter().map(|victim| format!("{victim:?}").to_lowercase()).collect();
            writeln!(
                formatter,
                "  {:<30} {rounds:>7} {:>8} {:>8} {:>8} {:>7}",
                kind.join(" + "),
                text(slowest.clean),
                text(slowest.clean_by_next),
                text(slowest.flow),
                text(slowest.back)
            )?;
        }
        Ok(())
    }
}
