//! The latest requests of each path, exactly as they went: histograms are too coarse for "did the delay come
//! out as 150 ms".

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// How many requests of each path are kept.
const KEPT: usize = 1_000;

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// When it was sent, in seconds since 1970 with microseconds.
    pub(crate) time: f64,
    pub(crate) path: String,
    /// The status code, or `timeout` or `error`, as in the metrics.
    pub(crate) status: String,
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
}

/// The latest [`KEPT`] samples of each path, oldest first. Only paths known from the start are kept.
pub(crate) struct Samples {
    by_path: Mutex<BTreeMap<String, VecDeque<Sample>>>,
}

impl Samples {
    pub(crate) fn new(paths: &[String]) -> Self {
        let by_path = paths.iter().map(|path| (path.clone(), VecDeque::with_capacity(KEPT))).collect();
        Self { by_path: Mutex::new(by_path) }
    }

    pub(crate) fn push(&self, sample: Sample) {
        let mut by_path = self.by_path.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(samples) = by_path.get_mut(&sample.path) else { return };
        if samples.len() == KEPT {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// The samples of one path, or of all.
    pub(crate) fn of(&self, path: Option<&str>) -> Vec<Sample> {
        let by_path = self.by_path.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = by_path.iter().filter(|(known, _)| path.is_none_or(|path| path == known.as_str()));
        wanted.flat_map(|(_, samples)| samples).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_latest_of_each_path() {
        let samples = Samples::new(&["/".to_owned(), "/movies".to_owned()]);
        let sample = |path: &str, time: u32| Sample {
            time: f64::from(time),
            path: path.to_owned(),
            status: "200".to_owned(),
            seconds: 0.001,
        };
        samples.push(sample("/movies", 7));
        samples.push(sample("/unknown", 8));
        (0..=1_000).for_each(|time| samples.push(sample("/", time)));
        let times: Vec<f64> = samples.of(Some("/")).iter().map(|sample| sample.time).collect();
        assert_eq!((times.len(), times[0], times[999]), (1_000, 1.0, 1_000.0));
        assert_eq!(samples.of(Some("/movies")), [sample("/movies", 7)]);
        assert_eq!(samples.of(None).len(), 1_001);
    }
}
