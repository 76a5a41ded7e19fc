//! What the client of the tutorial's system saw, request by request.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::kubectl::pause;
use super::world::World;

/// The path whose answers come from the database.
pub(crate) const MOVIES: &str = "/movies";

/// A path whose answers do not: the same client, the same server, and no database.
pub(crate) const MESSAGE: &str = "/message1";

/// What a busy machine may add to a median, in milliseconds.
pub(crate) const NOISE: f64 = 100.0;

#[derive(Clone, Debug, Deserialize)]
struct Sample {
    /// When it was sent, in seconds since 1970.
    time: f64,
    path: String,
    status: String,
    seconds: f64,
}

/// The requests of a span of time.
#[derive(Debug)]
pub(crate) struct Seen(Vec<Sample>);

/// The requests that are sent in the next seconds, and have ended by then.
pub(crate) fn watch(world: &World, seconds: u64) -> Seen {
    let start = SystemTime::now();
    pause(Duration::from_secs(seconds));
    since(world, start)
}

/// The requests that were sent since then and have ended.
pub(crate) fn since(world: &World, start: SystemTime) -> Seen {
    let start = start.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let text = scrape(world, "traffic", 9090, "samples");
    let samples = text.lines().map(|line| serde_json::from_str::<Sample>(line).unwrap());
    Seen(samples.filter(|sample| sample.time >= start).collect())
}

/// What a pod of an application answers on a path, by way of the API server.
pub(crate) fn scrape(world: &World, app: &str, port: u16, path: &str) -> String {
    let ready = world.pods("default", &format!("app={app} --field-selector=status.phase=Running"));
    let pod = ready.first().unwrap_or_else(|| panic!("no pod of {app} runs"));
    world.kubectl(&format!("get --raw /api/v1/namespaces/default/pods/{pod}:{port}/proxy/{path}"))
}

impl Seen {
    fn of(&self, path: &str) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| sample.path == path)
    }

    /// How many there were.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.of(path).count()
    }

    /// How many were not answered with 200.
    pub(crate) fn failed(&self, path: &str) -> usize {
        self.of(path).filter(|sample| sample.status != "200").count()
    }

    /// The median time of those that were answered with 200, in milliseconds.
    pub(crate) fn median(&self, path: &str) -> f64 {
        let answered = self.of(path).filter(|sample| sample.status == "200");
        let mut times: Vec<_> = answered.map(|sample| sample.seconds * 1000.0).collect();
        assert!(!times.is_empty(), "no request for {path} was answered: {self}");
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }

    /// Asserts that what comes from the database takes this time longer than before, in milliseconds, and nothing else does.
    pub(crate) fn is_later(&self, before: &Self, delay: f64) {
        // Never less than the delay. What it took without is not the same twice: it counts as what may come on top.
        let median = self.median(MOVIES);
        assert!((delay..before.median(MOVIES) + delay + NOISE).contains(&median), "{self}; before: {before}");
        assert!(self.median(MESSAGE) < before.median(MESSAGE) + NOISE, "{self}; before: {before}");
        assert_eq!(self.failed(MOVIES) + self.failed(MESSAGE), 0, "{self}");
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, path) in [MOVIES, MESSAGE].into_iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let (count, failed) = (self.count(path), self.failed(path));
            write!(formatter, "{separator}{path}: {count} requests, {failed} failed")?;
            if count > failed {
                write!(formatter, ", median {:.1} ms", self.median(path))?;
            }
        }
        Ok(())
    }
}
