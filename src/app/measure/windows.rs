//! When faults were in place, as far as the console saw it: the marks on the time axis of every chart.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::history::{KEPT, Span};
use crate::api::{Injection, TargetPhase};
use crate::report::Overview;

/// The most windows and the most events that are kept; the oldest give way.
const MOST: usize = 200;

/// A time during which a fault was in place somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The UID of the experiment.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// When the first of its targets was injected.
    pub from: Timestamp,
    /// When the last of them had recovered; nothing while one has not.
    pub until: Option<Timestamp>,
}

/// Something that happened to a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When.
    pub at: Timestamp,
    /// The experiment.
    pub name: String,
    /// What, in a word or two: `injected`, `paused`, `changed`.
    pub what: String,
}

/// What was seen of one experiment last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    phase: String,
    generation: i64,
}

/// All windows and what happened in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Windows {
    all: VecDeque<Window>,
    marks: VecDeque<Mark>,
    seen: BTreeMap<String, Seen>,
}

/// An experiment as it stands now.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Its UID.
    pub uid: &'a str,
    /// The generation of its spec.
    pub generation: i64,
    /// How it stands.
    pub overview: &'a Overview,
    /// Its parts on the nodes.
    pub parts: &'a [&'a Injection],
}

impl Windows {
    /// Those that lie in this time, in the order in which they began.
    pub fn within(&self, span: Span) -> impl Iterator<Item = &Window> {
        self.all.iter().filter(move |window| {
            window.from <= span.until && window.until.is_none_or(|until| until > span.from)
        })
    }

    /// What happened in this time, oldest first.
    pub fn marks(&self, span: Span) -> impl Iterator<Item = &Mark> {
        self.marks.iter().filter(move |mark| span.contains(mark.at))
    }

    /// Takes note of how all experiments stand now.
    pub fn observe<'a>(&mut self, standings: impl Iterator<Item = Standing<'a>>, now: Timestamp) {
        let mut there = BTreeMap::new();
        for standing in standings {
            self.one(standing, now);
            let seen = Seen { phase: standing.overview.phase.clone(), generation: standing.generation };
            there.insert(standing.uid.to_owned(), seen);
        }
        let gone = self.seen.keys().filter(|uid| !there.contains_key(*uid)).cloned().collect::<Vec<_>>();
        for uid in gone {
            // Deleted: the finalizer held it until its fault was gone.
            if let Some(name) = self.close(&uid, now) {
                self.mark(now, &name, "recovered");
            }
        }
        self.seen = there;
        let kept = Span::until(now, KEPT);
        self.all.retain(|window| window.until.is_none_or(|until| until > kept.from));
        self.marks.retain(|mark| mark.at > kept.from);
    }

    fn one(&mut self, standing: Standing<'_>, now: Timestamp) {
        let Standing { uid, overview, parts, generation } = standing;
        let targets = parts.iter().filter_map(|part| part.status.as_ref()).flat_map(|status| &status.targets);
        let since = |phases: fn(TargetPhase) -> bool| {
            let fitting = targets.clone().filter(move |target| phases(target.phase));
            fitting.map(|target| target.since.0)
        };
        let injected = since(TargetPhase::may_be_present).min();
        let name = &overview.name;
        match (injected, self.is_open(uid)) {
            (Some(from), false) => {
                let from = from.min(now);
                push(&mut self.all, Window { uid: uid.to_owned(), name: name.clone(), from, until: None });
                self.mark(from, name, "injected");
            }
            (None, true) => {
                let until = since(|phase| phase == TargetPhase::Recovered).max().unwrap_or(now).min(now);
                self.close(uid, until);
                let paused = overview.phase == "Paused";
                self.mark(until, name, if paused { "paused" } else { "recovered" });
            }
            _ => {}
        }
        // One shot leaves no window: there is nothing to undo.
        let before = self.seen.get(uid).cloned();
        let done = since(|phase| phase == TargetPhase::Done).max();
        if let Some(at) = done
            && before.as_ref().is_some_and(|seen| seen.phase != "Injected" && seen.phase != "Finished")
            && matches!(overview.phase.as_str(), "Injected" | "Finished")
        {
            self.mark(at.min(now), name, "done");
        }
        // A deletion counts as a generation, too.
        let stays = !matches!(overview.phase.as_str(), "Stopping" | "Finished");
        if stays && injected.is_some() && before.is_some_and(|seen| seen.generation < generation) {
            self.mark(now, name, "changed");
        }
    }

    fn is_open(&self, uid: &str) -> bool {
        self.all.iter().any(|window| window.uid == uid && window.until.is_none())
    }

    fn close(&mut self, uid: &str, at: Timestamp) -> Option<String> {
        let window = self.all.iter_mut().find(|window| window.uid == uid && window.until.is_none())?;
        window.until = Some(at.max(window.from));
        Some(window.name.clone())
    }

    fn mark(&mut self, at: Timestamp, name: &str, what: &str) {
        push(&mut self.marks, Mark { at, name: name.to_owned(), what: what.to_owned() });
    }
}

fn push<T>(all: &mut VecDeque<T>, one: T) {
    if all.len() == MOST {
        all.pop_front();
    }
    all.push_back(one);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::report::Remaining;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn overview(phase: &str) -> Overview {
        let object = serde_json::from_value(json!({"metadata": {"name": "delay", "namespace": "default"}}));
        let mut overview = Overview::new("NetworkChaos", &object.unwrap(), Remaining::Unknown);
        phase.clone_into(&mut overview.phase);
        overview
    }

    fn part(targets: &[(&str, i64)]) -> Injection {
        let targets: Vec<Value> = targets
            .iter()
            .map(|(phase, since)| {
                json!({"namespace": "default", "pod": "mongo", "uid": "p", "selectorKey": ".",
                    "phase": phase, "since": at(*since).to_string()})
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "squall.dev/v1alpha1", "kind": "Injection",
            "metadata": {"name": "i", "namespace": "squall-system"},
            "spec": {"experiment": {"kind": "NetworkChaos", "namespace": "default", "name": "delay", "uid": "u"},
                "node": "machine3", "targets": [], "fault": {}, "paused": false, "run": 1, "remaining": "1m",
                "notAfter": at(10_000).to_string(), "lease": "30s"},
            "status": {"observedRun": 1, "interruptions": 0, "targets": targets},
        }))
        .unwrap()
    }

    fn see(windows: &mut Windows, phase: &str, generation: i64, part: &Injection, now: i64) {
        let overview = overview(phase);
        let standing = Standing { uid: "u", generation, overview: &overview, parts: &[part] };
        windows.observe([standing].into_iter(), at(now));
    }

    fn told(windows: &Windows) -> Vec<(i64, &str)> {
        windows.marks.iter().map(|mark| (mark.at.as_second(), mark.what.as_str())).collect()
    }

    #[test]
    fn a_window_lasts_from_the_first_target_to_the_last() {
        let mut windows = Windows::default();
        see(&mut windows, "Injecting", 1, &part(&[("Waiting", 100)]), 101);
        see(&mut windows, "Injecting", 1, &part(&[("Injected", 102), ("Waiting", 100)]), 103);
        see(&mut windows, "Injected", 1, &part(&[("Injected", 102), ("Injected", 104)]), 105);
        see(&mut windows, "Injected", 2, &part(&[("Injected", 102), ("Injected", 104)]), 110);
        see(&mut windows, "Stopping", 3, &part(&[("Injected", 102), ("Injected", 104)]), 112);
        see(&mut windows, "Recovering", 3, &part(&[("Recovered", 120), ("Injected", 104)]), 121);
        see(&mut windows, "Paused", 3, &part(&[("Recovered", 120), ("Recovered", 122)]), 123);
        see(&mut windows, "Injected", 3, &part(&[("Injected", 130), ("Injected", 130)]), 131);
        let seen: Vec<_> = windows
            .within(Span { from: at(0), until: at(1_000) })
            .map(|window| (window.from.as_second(), window.until.map(Timestamp::as_second)))
            .collect();
        assert_eq!(seen, [(102, Some(122)), (130, None)]);
        assert_eq!(told(&windows), [(102, "injected"), (110, "changed"), (122, "paused"), (130, "injected")]);
        assert_eq!(windows.within(Span { from: at(122), until: at(129) }).count(), 0);
    }

    #[test]
    fn one_that_is_deleted_is_over_and_what_is_old_is_forgotten() {
        let mut windows = Windows::default();
        see(&mut windows, "Injected", 1, &part(&[("Injected", 102)]), 103);
        windows.observe(std::iter::empty(), at(200));
        assert_eq!(told(&windows), [(102, "injected"), (200, "recovered")]);
        assert_eq!(windows.all.front().unwrap().until, Some(at(200)));
        windows.observe(std::iter::empty(), at(2_000));
        assert!(windows.all.is_empty() && windows.marks.is_empty());
    }

    #[test]
    fn one_that_the_console_found_in_place_began_before_it() {
        let mut windows = Windows::default();
        see(&mut windows, "Injected", 3, &part(&[("Injected", 102)]), 500);
        assert_eq!(told(&windows), [(102, "injected")]);
    }

    #[test]
    fn one_shot_is_a_mark_without_a_window() {
        let mut windows = Windows::default();
        see(&mut windows, "Injecting", 1, &part(&[("Waiting", 100)]), 101);
        see(&mut windows, "Injected", 1, &part(&[("Done", 102)]), 103);
        see(&mut windows, "Finished", 1, &part(&[("Done", 102)]), 104);
        assert_eq!(told(&windows), [(102, "done")]);
        assert!(windows.all.is_empty());
    }
}
