//! The recorder: a snapshot of the state and every event since, so that what happened can be looked at again.
//!
//! Two segments are kept. When the newer one is full, the older one goes and a new one begins with a snapshot: so the
//! last five to ten thousand events are there, and a state to begin from. What is fetched to be read (logs, YAML) is
//! not recorded, only how long it was: it may hold what is nobody else's business.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::{Event, Loaded};
use super::state::State;
use super::update;

/// The most events of a segment.
const SEGMENT: usize = 5_000;

/// The most that a segment's events may weigh, in rows of a list; some ten megabytes.
const HEAVIEST: usize = 20_000;

/// The version of the file's form.
pub const VERSION: u32 = 1;

/// A recording.
#[derive(Clone, Serialize, Deserialize)]
pub struct Recording {
    /// The version of its form.
    pub version: u32,
    /// The program that wrote it.
    pub program: String,
    /// How it was before the first event.
    pub snapshot: Box<State>,
    /// What happened, and when.
    pub events: Vec<(Timestamp, Event)>,
}

struct Segment {
    snapshot: Box<State>,
    events: Vec<(Timestamp, Event)>,
    weight: usize,
}

/// Keeps what happened lately.
#[derive(Default)]
pub struct Recorder {
    segments: VecDeque<Segment>,
}

impl Recorder {
    /// Takes down an event; `state` is how it is before the event.
    pub fn record(&mut self, state: &State, event: &Event, now: Timestamp) {
        let full = |segment: &Segment| segment.events.len() >= SEGMENT || segment.weight >= HEAVIEST;
        if self.segments.back().is_none_or(full) {
            let snapshot = Box::new(state.clone());
            self.segments.push_back(Segment { snapshot, events: Vec::new(), weight: 0 });
            while self.segments.len() > 2 {
                self.segments.pop_front();
            }
        }
        if let Some(segment) = self.segments.back_mut() {
            let event = without_texts(event);
            segment.weight += event.weight();
            segment.events.push((now, event));
        }
    }

    /// Everything that is kept.
    pub fn recording(&self) -> Option<Recording> {
        let first = self.segments.front()?;
        Some(Recording {
            version: VERSION,
            program: format!("squall {}", env!("CARGO_PKG_VERSION")),
            snapshot: first.snapshot.clone(),
            events: self.segments.iter().flat_map(|segment| segment.events.iter().cloned()).collect(),
        })
    }
}

impl Recording {
    /// Lets everything happen again and gives the state at the end; `each` sees every state on the way.
    pub fn replay(self, mut each: impl FnMut(&State)) -> State {
        let mut state = *self.snapshot;
        state.refresh();
        each(&state);
        for (now, event) in self.events {
            // What it asks for was answered, and the answers are among the events.
            drop(update(&mut state, event, now));
            each(&state);
        }
        state
    }
}

/// The event without what was fetched to be read.
fn without_texts(event: &Event) -> Event {
    let elided = |characters: usize| format!("({characters} characters, not recorded)");
    match event {
        Event::Loaded { slot, ticket, outcome: Ok(loaded) } => {
            let loaded = match loaded {
                Loaded::Text(text) => Loaded::Text(elided(text.chars().count())),
                Loaded::Lines(lines) => {
                    Loaded::Lines(lines.iter().map(|line| elided(line.chars().count())).collect())
                }
                other => other.clone(),
            };
            Event::Loaded { slot: *slot, ticket: *ticket, outcome: Ok(loaded) }
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::effect::Slot;
    use crate::app::key::Key;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_is_replayed_ends_as_it_did_and_the_oldest_is_forgotten() {
        let (mut state, mut recorder) = (State::default(), Recorder::default());
        for number in 0..12_345 {
            let event = Event::Pressed(Key::char(if number % 7 == 0 { '2' } else { 'j' }));
            recorder.record(&state, &event, at(number));
            drop(update(&mut state, event, at(number)));
        }
        let recording = recorder.recording().unwrap();
        assert!((SEGMENT..=2 * SEGMENT).contains(&recording.events.len()), "{}", recording.events.len());
        let text = serde_json::to_string(&recording).unwrap();
        let read: Recording = serde_json::from_str(&text).unwrap();
        let end = read.replay(|_| {});
        assert_eq!(serde_json::to_value(&end).unwrap(), serde_json::to_value(&state).unwrap());
    }

    #[test]
    fn what_was_fetched_to_be_read_is_not_in_it() {
        let mut recorder = Recorder::default();
        let secret = Loaded::Text("password: hunter2".to_owned());
        let event = Event::Loaded { slot: Slot::Pager, ticket: 1, outcome: Ok(secret) };
        recorder.record(&State::default(), &event, at(1));
        let lines = Loaded::Lines(vec!["token hunter2".to_owned()]);
        let event = Event::Loaded { slot: Slot::Pager, ticket: 1, outcome: Ok(lines) };
        recorder.record(&State::default(), &event, at(1));
        let text = serde_json::to_string(&recorder.recording().unwrap()).unwrap();
        assert!(!text.contains("hunter2") && text.contains("17 characters"), "{text}");
    }

    #[test]
    fn heavy_events_make_short_segments() {
        let mut recorder = Recorder::default();
        let rows = || {
            (0..100).map(|number| {
                std::sync::Arc::new(crate::app::store::PodRow {
                    uid: number.to_string(),
                    ..Default::default()
                })
            })
        };
        for number in 0..1_000 {
            let pods = crate::app::store::Delta { upserted: rows().collect(), ..Default::default() };
            let batch = crate::app::store::Batch { pods, ..Default::default() };
            recorder.record(&State::default(), &Event::Changed(Box::new(batch)), at(number));
        }
        let kept: usize = recorder.recording().unwrap().events.iter().map(|(_, event)| event.weight()).sum();
        assert!(kept <= 2 * (HEAVIEST + 101), "{kept}");
    }
}
