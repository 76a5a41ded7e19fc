//! The series that were scraped, in memory: as much of them as the queries look back.
//!
//! No clock here: every moment is given, in milliseconds since 1970. What a target no longer tells ends with a marker at
//! the moment of that scrape, as in Prometheus, so that nothing is shown that is over.

mod labels;
mod pattern;
mod scrape;
mod selector;
mod timeline;
mod values;

use std::collections::HashMap;

pub use labels::{Labels, MAX_TEXT, NAME};
pub use scrape::Scrape;
pub use selector::{Matcher, Selector};
pub use values::{STALE, is_stale};

use scrape::Target;
use timeline::{Timeline, Timelines};
use values::Values;

/// How long the last value of a series stands for it, in milliseconds: five minutes, as in Prometheus.
pub const LOOKBACK: i64 = 5 * 60 * 1000;

/// How many series are kept: those of fifty pods with two thousand each.
pub const MAX_SERIES: usize = 100_000;

/// How many values a series takes between two occasions of forgetting old ones.
const FORGET_EVERY: u32 = 32;

/// What was not kept, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Samples that are not later than the last of their series: a clock went back, or a scrape was slow.
    pub late: u64,
    /// Samples of new series beyond the greatest number of them.
    pub full: u64,
    /// Samples of series that the same scrape had already, or with a label too long to be kept.
    pub invalid: u64,
}

/// What there is of a selector's series at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// No series was seen, or none for so long that it is forgotten.
    Missing,
    /// All of them ended.
    Ended {
        /// When the last of them did.
        at: i64,
    },
    /// Some are there.
    Present {
        /// How many.
        series: usize,
        /// When one of them last got smaller. For what counts it is the moment of a restart.
        reset: Option<i64>,
    },
}

/// One series.
#[derive(Debug)]
struct Series {
    labels: Labels,
    /// How its target wrote its name and labels the last time that this had to be read; empty if it was never written.
    told: Box<str>,
    timeline: u32,
    /// The timeline of the target that it is of.
    owner: Option<u32>,
    values: Values,
    /// Its last value, ends left out.
    value: f64,
    /// Where it stands in the last scrape of its target.
    place: u32,
    /// The last scrape of its target that had it.
    seen: u32,
    /// Whether its samples bring their own time: such series do not end with a scrape.
    own_time: bool,
    /// When its value last got smaller.
    reset: Option<i64>,
}

/// All series.
#[derive(Debug)]
pub struct Store {
    window: i64,
    max_series: usize,
    series: Vec<Option<Series>>,
    free: Vec<u32>,
    by_labels: HashMap<Labels, u32>,
    by_name: HashMap<String, Vec<u32>>,
    targets: HashMap<Labels, Target>,
    timelines: Timelines,
    refused: Refused,
    /// The samples of the scrape that is going on, with their own times; kept for its room.
    staged: Vec<(u32, f64, Option<i64>)>,
    /// When dead series were last looked for.
    swept: i64,
}

impl Store {
    /// Room for the values of the last `window` milliseconds, the longest time that a query looks back, of so many
    /// series.
    pub fn new(window: i64, max_series: usize) -> Self {
        Self {
            window: window.max(0),
            max_series: max_series.min(u32::MAX as usize),
            series: Vec::new(),
            free: Vec::new(),
            by_labels: HashMap::new(),
            by_name: HashMap::new(),
            targets: HashMap::new(),
            timelines: Timelines::default(),
            refused: Refused::default(),
            staged: Vec::new(),
            swept: i64::MIN,
        }
    }

    /// Keeps one sample of a series that no target has; says whether it did.
    pub fn append(&mut self, labels: &Labels, at: i64, value: f64) -> bool {
        let Some(id) = self.find_or_insert(labels, None) else { return false };
        self.put(id, at, value, None)
    }

    /// What was not kept so far.
    pub const fn refused(&self) -> Refused {
        self.refused
    }

    /// How many series there are, those that ended a while ago among them.
    pub fn len(&self) -> usize {
        self.by_labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_labels.is_empty()
    }

    /// The series that `selector` accepts.
    pub fn select<'a>(&'a self, selector: &'a Selector) -> impl Iterator<Item = View<'a>> {
        let named = selector.name().map(|name| self.by_name.get(name).map_or(&[][..], Vec::as_slice));
        let (ids, rest) = match named {
            Some(ids) => (ids, &[][..]),
            None => (&[][..], self.series.as_slice()),
        };
        let of_ids = ids.iter().filter_map(|id| self.series.get(*id as usize)?.as_ref());
        of_ids
            .chain(rest.iter().flatten())
            .filter(|series| selector.accepts(&series.labels))
            .filter_map(|series| Some(View { series, timeline: self.timelines.get(series.timeline)? }))
    }

    /// What there is of the series of `selector` at a moment.
    pub fn presence(&self, selector: &Selector, at: i64) -> Presence {
        let (mut series, mut reset, mut ended) = (0, None, None);
        for view in self.select(selector) {
            if view.at(at).is_some() {
                series += 1;
                reset = reset.max(view.series.reset.filter(|reset| *reset <= at));
            } else {
                ended = ended.max(view.last().map(|(at, _)| at));
            }
        }
        match ended {
            _ if series > 0 => Presence::Present { series, reset },
            Some(at) => Presence::Ended { at },
            None => Presence::Missing,
        }
    }

    /// About how many bytes all of it takes.
    pub fn bytes(&self) -> usize {
        let entry = size_of::<(Labels, u32)>() + 1;
        let series = |series: &Series| series.values.bytes() + series.labels.bytes() + series.told.len();
        self.series.capacity() * size_of::<Option<Series>>()
            + self.series.iter().flatten().map(series).sum::<usize>()
            + self.by_labels.capacity() * entry
            + self.by_name.values().map(|ids| ids.capacity() * size_of::<u32>()).sum::<usize>()
            + self.targets.values().map(Target::bytes).sum::<usize>()
            + self.timelines.bytes()
            + self.staged.capacity() * size_of::<(u32, f64, Option<i64>)>()
    }

    /// The series with these labels, made where there is room; on a timeline of its own without one.
    fn find_or_insert(&mut self, labels: &Labels, timeline: Option<u32>) -> Option<u32> {
        if let Some(id) = self.by_labels.get(labels) {
            return Some(*id);
        }
        if self.by_labels.len() >= self.max_series {
            self.refused.full += 1;
            return None;
        }
        let owner = timeline;
        let timeline = owner.unwrap_or_else(|| self.timelines.insert(Timeline::default()));
        let series = Some(Series {
            labels: labels.clone(),
            told: Box::default(),
            timeline,
            owner,
            values: Values::default(),
            value: f64::NAN,
            place: 0,
            seen: 0,
            own_time: false,
            reset: None,
        });
        let free = self.free.pop().and_then(|id| Some((id, self.series.get_mut(id as usize)?)));
        let id = if let Some((id, slot)) = free {
            *slot = series;
            id
        } else {
            self.series.push(series);
            u32::try_from(self.series.len() - 1).ok()?
        };
        self.by_labels.insert(labels.clone(), id);
        self.by_name.entry(labels.name().to_owned()).or_default().push(id);
        Some(id)
    }

    /// Puts a value into a series: into `slot` of its target's timeline, which is at the same moment, if it is on that.
    fn put(&mut self, id: u32, at: i64, value: f64, slot: Option<(u32, u32)>) -> bool {
        let Some(Some(series)) = self.series.get_mut(id as usize) else { return false };
        let slot = match slot {
            Some((timeline, slot)) if series.timeline == timeline => slot,
            _ => {
                self.timelines.make_own(series);
                let Some(slot) =
                    self.timelines.get_mut(series.timeline).and_then(|timeline| timeline.push(at))
                else {
                    self.refused.late += 1;
                    return false;
                };
                slot
            }
        };
        if series.values.last().is_some_and(|(last, _)| slot <= last) {
            self.refused.invalid += 1;
            return false;
        }
        if value < series.value {
            series.reset = Some(at);
        }
        if !is_stale(value) {
            series.value = value;
        }
        series.values.push(slot, value);
        if slot % FORGET_EVERY == id % FORGET_EVERY
            && let Some(timeline) = self.timelines.get(series.timeline)
        {
            // What came last before the window is still what stands at its beginning.
            series.values.forget(timeline.after(at.saturating_sub(self.window)).saturating_sub(1));
        }
        true
    }

    /// Drops series that nothing can see any more, at most once in so many milliseconds as the window has.
    fn sweep(&mut self, at: i64) {
        let kept_since = at.saturating_sub(self.window.saturating_add(LOOKBACK));
        if at.saturating_sub(self.window.max(1000)) < self.swept {
            return;
        }
        self.swept = at;
        for id in 0..self.series.len() {
            let Some(slot) = self.series.get_mut(id) else { continue };
            let dead = slot.as_ref().is_some_and(|series| {
                let timeline = self.timelines.get(series.timeline);
                let last = series.values.last().and_then(|(slot, _)| timeline?.at(slot));
                last.is_none_or(|last| last < kept_since)
            });
            if let Some(series) = slot.take_if(|_| dead) {
                self.forget(id, &series);
            }
        }
        self.targets.retain(|_, target| {
            let kept = self
                .timelines
                .get(target.timeline())
                .and_then(Timeline::last)
                .is_some_and(|at| at >= kept_since);
            if !kept {
                self.timelines.remove(target.timeline());
            }
            kept
        });
        self.timelines.trim(kept_since);
    }

    fn forget(&mut self, id: usize, series: &Series) {
        self.by_labels.remove(&series.labels);
        let Ok(id) = u32::try_from(id) else { return };
        if let Some(ids) = self.by_name.get_mut(series.labels.name()) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_name.remove(series.labels.name());
            }
        }
        self.timelines.remove_own(series.timeline);
        self.free.push(id);
    }
}

/// One series, to be read.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    series: &'a Series,
    timeline: &'a Timeline,
}

impl<'a> View<'a> {
    /// Its labels, the metric's name among them.
    pub const fn labels(&self) -> &'a Labels {
        &self.series.labels
    }

    /// The value that stands for it at a moment: the last one within [`LOOKBACK`], the start of that left out; none
    /// after its end.
    pub fn at(&self, at: i64) -> Option<f64> {
        let (time, value) = self.last().filter(|(time, _)| *time <= at).or_else(|| {
            let slots = self.timeline.after(at);
            let (slot, value) = self.series.values.iter().take_while(|(slot, _)| *slot < slots).last()?;
            Some((self.timeline.at(slot)?, value))
        })?;
        (time > at.saturating_sub(LOOKBACK) && !is_stale(value)).then_some(value)
    }

    /// Puts its values in `(from, to]` into `into`, oldest first, the markers of ends left out.
    pub fn range(&self, from: i64, to: i64, into: &mut Vec<(i64, f64)>) {
        into.clear();
        let (first, end) = (self.timeline.after(from), self.timeline.after(to));
        let values = self
            .series
            .values
            .iter()
            .skip_while(|(slot, _)| *slot < first)
            .take_while(|(slot, _)| *slot < end);
        into.extend(
            values
                .filter(|(_, value)| !is_stale(*value))
                .filter_map(|(slot, value)| Some((self.timeline.at(slot)?, value))),
        );
    }

    fn last(&self) -> Option<(i64, f64)> {
        let (slot, value) = self.series.values.last()?;
        Some((self.timeline.at(slot)?, value))
    }
}

#[cfg(test)]
mod tests;
