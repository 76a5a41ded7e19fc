//! One scrape of one target: what it told goes into the store at once, or not at all.

use super::super::exposition::Sample;
use super::labels::{Labels, MAX_TEXT, NAME};
use super::timeline::Timeline;
use super::values::STALE;
use super::{Series, Store};

/// What is before a label of the application's that has the name of one of the target's.
const EXPORTED: &str = "exported_";

/// What is known of a target.
#[derive(Debug)]
pub(super) struct Target {
    timeline: u32,
    /// The series of its last scrape, in the order in which it told them: the next has most likely the same.
    order: Vec<u32>,
    /// The number of its last scrape.
    number: u32,
    /// Those of the scrape before; kept for its room.
    spare: Vec<u32>,
}

impl Target {
    pub(super) const fn timeline(&self) -> u32 {
        self.timeline
    }

    pub(super) fn bytes(&self) -> usize {
        (self.order.capacity() + self.spare.capacity()) * size_of::<u32>()
    }
}

/// A scrape that is going on. What it told counts when it has ended; if it is dropped before, it never was.
#[derive(Debug)]
pub struct Scrape<'s> {
    store: &'s mut Store,
    target: &'s Labels,
    at: i64,
    timeline: u32,
    number: u32,
    /// The series of the scrape before, and which of them is expected next.
    order: Vec<u32>,
    expected: usize,
    /// The series of this scrape.
    next: Vec<u32>,
}

/// What was expected of this scrape is expected of the next one.
impl Drop for Scrape<'_> {
    fn drop(&mut self) {
        if let Some(target) = self.store.targets.get_mut(self.target)
            && target.order.is_empty()
        {
            target.order = std::mem::take(&mut self.order);
        }
    }
}

impl Store {
    /// Begins a scrape of the target with these labels (`namespace`, `pod`, `node`, `instance`) at `at`: the moment when it
    /// was asked.
    pub fn scrape<'s>(&'s mut self, target: &'s Labels, at: i64) -> Scrape<'s> {
        if !self.targets.contains_key(target) {
            let timeline = self.timelines.insert(Timeline::shared());
            let new = Target { timeline, order: Vec::new(), number: 0, spare: Vec::new() };
            self.targets.insert(target.clone(), new);
        }
        self.staged.clear();
        let (mut timeline, mut number, mut order, mut next) = (0, 0, Vec::new(), Vec::new());
        if let Some(target) = self.targets.get_mut(target) {
            target.number = target.number.wrapping_add(1);
            (timeline, number) = (target.timeline, target.number);
            order = std::mem::take(&mut target.order);
            next = std::mem::take(&mut target.spare);
        }
        next.clear();
        Scrape { store: self, target, at, timeline, number, order, expected: 0, next }
    }

    /// A target is no longer asked, as its pod is gone: all its series end.
    pub fn remove_target(&mut self, target: &Labels, at: i64) {
        if self.targets.contains_key(target) {
            self.scrape(target, at).commit(STALE);
        }
    }
}

impl Scrape<'_> {
    /// One sample, as it was read. A scrape mostly tells the same series in the same words and order as the one before: then
    /// nothing but the words is looked at.
    pub fn take(&mut self, sample: &Sample<'_>) {
        let (value, timestamp) = (sample.value, sample.timestamp_ms);
        if let Some(id) = self.told(sample.series) {
            return self.stage(id, value, timestamp);
        }
        let labels = sample.labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
        let Some(id) =
            self.expected(&sample.name, labels.clone()).or_else(|| self.find(&sample.name, labels))
        else {
            return;
        };
        if let Some(Some(series)) = self.store.series.get_mut(id as usize) {
            series.told = sample.series.into();
        }
        self.stage(id, value, timestamp);
    }

    /// The series that stood at this place the last time, if it was written in the same words.
    fn told(&self, words: &str) -> Option<u32> {
        let id = *self.order.get(self.expected)?;
        let series = self.store.series.get(id as usize)?.as_ref()?;
        // A number may belong to another target's series by now, which may be written alike.
        (series.owner == Some(self.timeline) && !words.is_empty() && *series.told == *words).then_some(id)
    }

    /// One sample; `labels` without the metric's name. `timestamp` is the application's own time for it, in milliseconds,
    /// where it tells one.
    pub fn sample<'l, L>(&mut self, name: &str, labels: L, value: f64, timestamp: Option<i64>)
    where
        L: IntoIterator<Item = (&'l str, &'l str), IntoIter: Clone>,
    {
        let labels = labels.into_iter();
        let Some(id) = self.expected(name, labels.clone()).or_else(|| self.find(name, labels)) else {
            return;
        };
        self.stage(id, value, timestamp);
    }

    /// Keeps a sample of this series until the target has told everything.
    fn stage(&mut self, id: u32, value: f64, timestamp: Option<i64>) {
        let Some(Some(series)) = self.store.series.get_mut(id as usize) else { return };
        if std::mem::replace(&mut series.seen, self.number) == self.number {
            self.store.refused.invalid += 1;
            return;
        }
        series.own_time = timestamp.is_some();
        // Where it stood tells what is likely to come next.
        let place = series.place as usize;
        if self.order.get(place) == Some(&id) {
            self.expected = place + 1;
        }
        series.place = u32::try_from(self.next.len()).unwrap_or(u32::MAX);
        self.next.push(id);
        self.store.staged.push((id, value, timestamp));
    }

    /// The target has told everything.
    pub fn end(self) {
        self.commit(1.0);
    }

    /// The target did not answer, or not to the end: what it told does not count, and its series end.
    pub fn fail(mut self) {
        self.store.staged.clear();
        self.next.clear();
        self.number = self.number.wrapping_add(1);
        self.commit(0.0);
    }

    /// The series that stood at this place the last time, if it is the one.
    fn expected<'l>(
        &self,
        name: &str,
        labels: impl Iterator<Item = (&'l str, &'l str)> + Clone,
    ) -> Option<u32> {
        let id = *self.order.get(self.expected)?;
        let series = self.store.series.get(id as usize)?.as_ref()?;
        self.is(series, name, labels).then_some(id)
    }

    /// Whether the series is the one of this target with these labels. Asked for each sample of each scrape: it goes through
    /// the labels of the series once, beside those of the target, which are sorted as well.
    fn is<'l>(
        &self,
        series: &Series,
        name: &str,
        labels: impl Iterator<Item = (&'l str, &'l str)> + Clone,
    ) -> bool {
        let mut target = self.target.iter().peekable();
        let labels = labels.filter(|(_, value)| !value.is_empty());
        let mut left = labels.clone().count();
        for (have, is) in &series.labels {
            let same = if let Some((_, value)) = target.next_if(|(label, _)| *label == have) {
                value == is
            } else if have == NAME {
                name == is
            } else {
                left = left.wrapping_sub(1);
                labels
                    .clone()
                    .any(|(label, value)| value == is && (label == have || self.renames(label, have)))
            };
            if !same {
                return false;
            }
        }
        left == 0 && target.next().is_none()
    }

    fn has(&self, label: &str) -> bool {
        self.target.iter().any(|(target, _)| target == label)
    }

    /// Whether an application's label is renamed to this, as one of the target's has its name.
    fn renames(&self, label: &str, to: &str) -> bool {
        to.strip_prefix(EXPORTED) == Some(label) && self.has(label)
    }

    /// The series by its labels, or a new one.
    fn find<'l>(&mut self, name: &str, labels: impl Iterator<Item = (&'l str, &'l str)>) -> Option<u32> {
        let (mut own, mut renamed) = (Vec::with_capacity(16), Vec::new());
        own.push((NAME, name));
        for (label, value) in labels {
            if value.is_empty() {
                continue;
            }
            if label.len() + EXPORTED.len() > MAX_TEXT || value.len() > MAX_TEXT || label == NAME {
                self.store.refused.invalid += 1;
                return None;
            }
            if self.target.get(label).is_empty() {
                own.push((label, value));
            } else {
                renamed.push((format!("{EXPORTED}{label}"), value));
            }
        }
        let pairs = own.into_iter().chain(renamed.iter().map(|(label, value)| (label.as_str(), *value)));
        let labels = Labels::new(pairs.chain(self.target.iter()));
        self.store.find_or_insert(&labels, Some(self.timeline))
    }

    fn commit(mut self, up: f64) {
        let (timeline, at) = (self.timeline, self.at);
        let slot = self.store.timelines.get_mut(timeline).and_then(|timeline| timeline.push(at));
        let Some(slot) = slot else {
            self.store.refused.late += self.store.staged.len() as u64;
            return;
        };
        let staged = std::mem::take(&mut self.store.staged);
        for (id, value, own_time) in &staged {
            match own_time {
                Some(own) => self.store.put(*id, *own, *value, None),
                None => self.store.put(*id, at, *value, Some((timeline, slot))),
            };
        }
        self.store.staged = staged;
        for id in &self.order {
            let series = self.store.series.get(*id as usize).and_then(Option::as_ref);
            // A number may belong to another series by now.
            let ended = |series: &Series| {
                series.seen != self.number && !series.own_time && series.owner == Some(timeline)
            };
            if series.is_some_and(ended) {
                self.store.put(*id, at, STALE, Some((timeline, slot)));
            }
        }
        let labels = Labels::new(self.target.iter().chain([(NAME, "up")]));
        if let Some(id) = self.store.find_or_insert(&labels, Some(timeline)) {
            self.store.put(id, at, up, Some((timeline, slot)));
        }
        if let Some(target) = self.store.targets.get_mut(self.target) {
            target.order = std::mem::take(&mut self.next);
            target.spare = std::mem::take(&mut self.order);
            target.number = self.number;
        }
        self.store.sweep(at);
    }
}
