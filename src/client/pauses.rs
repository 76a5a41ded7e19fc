//! How soon a watch that failed is begun anew.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use rand::RngExt;

/// Pauses before a watch that failed is begun anew: half a second, twice as long each time, at most four, each shortened by up
/// to a half by chance, so that a thousand daemons do not all come at once.
///
/// kube's own pauses grow to a minute. For so long after an outage of the API server nobody would see a Halt.
#[derive(Debug)]
pub(crate) struct WatchPauses {
    next: Duration,
}

impl WatchPauses {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(4);
}

impl Default for WatchPauses {
    fn default() -> Self {
        Self { next: Self::FIRST }
    }
}

impl Iterator for WatchPauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(Self::LONGEST);
        Some(pause.mul_f64(rand::rng().random_range(0.5..=1.0)))
    }
}

impl Backoff for WatchPauses {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_four_seconds_and_begin_anew_after_an_answer() {
        let mut pauses = WatchPauses::default();
        for most in [500, 1_000, 2_000, 4_000, 4_000, 4_000] {
            let pause = pauses.next().unwrap();
            let most = Duration::from_millis(most);
            assert!((most / 2..=most).contains(&pause), "{pause:?} of {most:?}");
        }
        pauses.reset();
        assert!(pauses.next().unwrap() <= WatchPauses::FIRST);
    }
}
