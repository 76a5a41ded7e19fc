//! The moments of scrapes, kept once for all series of a target.

use std::collections::VecDeque;

use super::Series;
use super::values::Values;

/// Moments in milliseconds, growing, each with a number: its slot.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// The slot of the first moment that is still known.
    first: u32,
    times: VecDeque<i64>,
    /// Whether it is that of a target, not of one series.
    shared: bool,
}

impl Timeline {
    pub(super) fn shared() -> Self {
        Self { shared: true, ..Self::default() }
    }

    /// The slot for `at`; none unless it is later than all others.
    pub(super) fn push(&mut self, at: i64) -> Option<u32> {
        if self.last().is_some_and(|last| at <= last) {
            return None;
        }
        self.times.push_back(at);
        Some(self.first.saturating_add(u32::try_from(self.times.len()).ok()?.saturating_sub(1)))
    }

    /// The last moment.
    pub(super) fn last(&self) -> Option<i64> {
        self.times.back().copied()
    }

    /// The moment of a slot.
    pub(super) fn at(&self, slot: u32) -> Option<i64> {
        self.times.get(slot.checked_sub(self.first)? as usize).copied()
    }

    /// The first slot later than `at`.
    pub(super) fn after(&self, at: i64) -> u32 {
        let before = self.times.partition_point(|time| *time <= at);
        self.first.saturating_add(u32::try_from(before).unwrap_or(u32::MAX))
    }
}

/// Timelines by their numbers.
#[derive(Debug, Default)]
pub(super) struct Timelines {
    all: Vec<Option<Timeline>>,
    free: Vec<u32>,
}

impl Timelines {
    pub(super) fn get(&self, id: u32) -> Option<&Timeline> {
        self.all.get(id as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Timeline> {
        self.all.get_mut(id as usize)?.as_mut()
    }

    pub(super) fn insert(&mut self, timeline: Timeline) -> u32 {
        if let Some((id, slot)) = self.free.pop().and_then(|id| Some((id, self.all.get_mut(id as usize)?))) {
            *slot = Some(timeline);
            return id;
        }
        self.all.push(Some(timeline));
        // There are fewer than series.
        u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX)
    }

    pub(super) fn remove(&mut self, id: u32) {
        if self.all.get_mut(id as usize).and_then(Option::take).is_some() {
            self.free.push(id);
        }
    }

    /// Removes the timeline of a series that is gone, unless others are on it.
    pub(super) fn remove_own(&mut self, id: u32) {
        if self.get(id).is_some_and(|timeline| !timeline.shared) {
            self.remove(id);
        }
    }

    /// Moves a series to a timeline of its own, with the moments that it had.
    pub(super) fn make_own(&mut self, series: &mut Series) {
        let Some(shared) = self.get(series.timeline).filter(|timeline| timeline.shared) else { return };
        let (mut own, mut values) = (Timeline::default(), Values::default());
        for (slot, value) in series.values.iter() {
            if let Some(slot) = shared.at(slot).and_then(|at| own.push(at)) {
                values.push(slot, value);
            }
        }
        series.timeline = self.insert(own);
        series.values = values;
    }

    /// Forgets the moments before `at`.
    pub(super) fn trim(&mut self, at: i64) {
        for timeline in self.all.iter_mut().flatten() {
            let gone = timeline.times.partition_point(|time| *time < at);
            timeline.times.drain(..gone);
            timeline.first = timeline.first.saturating_add(u32::try_from(gone).unwrap_or(u32::MAX));
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let moments: usize = self.all.iter().flatten().map(|timeline| timeline.times.capacity()).sum();
        self.all.capacity() * size_of::<Option<Timeline>>() + moments * size_of::<i64>()
    }
}
