//! What was measured in the last quarter of an hour: one value a second for each line of each panel.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::steady_state::frame::{Frame, Line, PanelFrame};

/// How long values are kept.
pub const KEPT: SignedDuration = SignedDuration::from_mins(15);

/// The longest time between two frames that are joined by a line; what is longer is a gap.
const JOINED: SignedDuration = SignedDuration::from_secs(3);

/// The values of one line of a panel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The number of its query in the panel.
    pub query: usize,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its name.
    pub name: String,
    /// One for each time of the history, oldest first. Nothing where the line was missing, or had no number: a gap.
    values: VecDeque<Option<f64>>,
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    times: VecDeque<Timestamp>,
    panels: Vec<Panel>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Panel {
    series: Vec<Series>,
    trouble: Option<String>,
    note: Option<String>,
    omitted: usize,
}

/// The time that a chart shows: after `from`, up to `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its beginning; not a part of it.
    pub from: Timestamp,
    /// Its end; a part of it.
    pub until: Timestamp,
}

impl Span {
    /// The time of this length that ends then.
    pub fn until(until: Timestamp, length: SignedDuration) -> Self {
        Self { from: until.saturating_sub(length).unwrap_or(Timestamp::MIN), until }
    }

    /// Whether the time is in it.
    pub fn contains(self, at: Timestamp) -> bool {
        self.from < at && at <= self.until
    }

    /// Its length.
    pub fn length(self) -> SignedDuration {
        self.until.duration_since(self.from)
    }

    /// Where in it the time is: 0 at its beginning, 1 at its end.
    pub fn part(self, at: Timestamp) -> f64 {
        let whole = self.length().as_secs_f64();
        if whole > 0.0 { at.duration_since(self.from).as_secs_f64() / whole } else { 0.0 }
    }

    /// Which of `columns` columns the time is in; nothing if it is in none.
    pub fn column(self, at: Timestamp, columns: usize) -> Option<usize> {
        if !self.contains(at) {
            return None;
        }
        // Both fit: a screen is not that wide.
        let millis = at.duration_since(self.from).as_millis();
        let length = self.length().as_millis().max(1);
        let wide = i128::try_from(columns).unwrap_or(i128::MAX);
        // The end of a column is in it, as the end of the whole is.
        let column = usize::try_from((millis * wide - 1) / length).unwrap_or(0);
        Some(column.min(columns.saturating_sub(1)))
    }
}

/// The least and the greatest value in a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extent {
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

impl History {
    /// Takes in what was measured.
    pub fn take(&mut self, frame: &Frame) {
        if self.times.back().is_some_and(|last| frame.at <= *last) {
            // The clock was set back: what is there would lie in the future.
            *self = Self::default();
        }
        self.panels.resize_with(frame.panels.len(), Panel::default);
        for (panel, shown) in self.panels.iter_mut().zip(&frame.panels) {
            panel.take(shown, self.times.len());
        }
        self.times.push_back(frame.at);
        self.forget(frame.at);
    }

    fn forget(&mut self, now: Timestamp) {
        let first = Span::until(now, KEPT).from;
        while self.times.front().is_some_and(|time| *time <= first) {
            self.times.pop_front();
            for series in self.panels.iter_mut().flat_map(|panel| &mut panel.series) {
                series.values.pop_front();
            }
        }
        for panel in &mut self.panels {
            // A pod that is gone leaves no empty line behind.
            panel.series.retain(|series| series.values.iter().any(Option::is_some));
        }
    }

    /// The lines of this panel.
    pub fn series(&self, panel: usize) -> &[Series] {
        self.panels.get(panel).map(|panel| panel.series.as_slice()).unwrap_or_default()
    }

    /// Why the panel shows nothing new.
    pub fn trouble(&self, panel: usize) -> Option<&str> {
        self.panels.get(panel)?.trouble.as_deref()
    }

    /// What is to be known of the panel: what nobody tells, or what began anew.
    pub fn note(&self, panel: usize) -> Option<&str> {
        self.panels.get(panel)?.note.as_deref()
    }

    /// How many lines the panel has beside those that are shown.
    pub fn omitted(&self, panel: usize) -> usize {
        self.panels.get(panel).map_or(0, |panel| panel.omitted)
    }

    /// When something was measured last.
    pub fn last(&self) -> Option<Timestamp> {
        self.times.back().copied()
    }

    /// When something was measured first.
    pub fn first(&self) -> Option<Timestamp> {
        self.times.front().copied()
    }

    /// What was measured of a line in this time, oldest first.
    pub fn points<'a>(
        &'a self,
        series: &'a Series,
        span: Span,
    ) -> impl Iterator<Item = (Timestamp, f64)> + use<'a> {
        let points = self.times.iter().zip(&series.values);
        points.filter(move |(at, _)| span.contains(**at)).filter_map(|(at, value)| Some((*at, (*value)?)))
    }

    /// The same in pieces: from one to the next there is a gap.
    pub fn pieces(&self, series: &Series, span: Span) -> Vec<Vec<(Timestamp, f64)>> {
        let mut pieces: Vec<Vec<(Timestamp, f64)>> = Vec::new();
        let mut is_joined = false;
        let mut before = None;
        for (at, value) in self.times.iter().zip(&series.values).filter(|(at, _)| span.contains(**at)) {
            is_joined &= before.is_some_and(|before| at.duration_since(before) <= JOINED);
            before = Some(*at);
            let Some(value) = value else {
                is_joined = false;
                continue;
            };
            match pieces.last_mut().filter(|_| is_joined) {
                Some(piece) => piece.push((*at, *value)),
                None => pieces.push(vec![(*at, *value)]),
            }
            is_joined = true;
        }
        pieces
    }

    /// The last value in each of so many columns of this time, so that the last column is the present value. Nothing
    /// where nothing was measured. Where columns are narrower than the time between two frames, a value fills those up to the next.
    pub fn columns(&self, series: &Series, span: Span, columns: usize) -> Vec<Option<f64>> {
        let mut shown: Vec<Option<f64>> = vec![None; columns];
        for piece in self.pieces(series, span) {
            let mut before: Option<usize> = None;
            for (at, value) in piece {
                let Some(column) = span.column(at, columns) else { continue };
                let first = before.map_or(column, |before| (before + 1).min(column));
                for cell in shown.iter_mut().take(column + 1).skip(first) {
                    *cell = Some(value);
                }
                before = Some(column);
            }
        }
        shown
    }

    /// The last value of a line up to the end of this time, if it had one at its last frame.
    pub fn current(&self, series: &Series, span: Span) -> Option<f64> {
        let at = self.times.partition_point(|at| *at <= span.until).checked_sub(1)?;
        series.values.get(at).copied().flatten()
    }

    /// The least and the greatest value of a line in this time.
    pub fn extent(&self, series: &Series, span: Span) -> Option<Extent> {
        self.points(series, span).fold(None, |extent: Option<Extent>, (_, value)| {
            let extent = extent.unwrap_or(Extent { least: value, greatest: value });
            Some(Extent { least: extent.least.min(value), greatest: extent.greatest.max(value) })
        })
    }

    /// The least and the greatest value of all lines of a panel in this time: they share a scale, to be compared.
    pub fn reach(&self, panel: usize, span: Span) -> Option<Extent> {
        let extents = self.series(panel).iter().filter_map(|series| self.extent(series, span));
        extents.reduce(|one, other| Extent {
            least: one.least.min(other.least),
            greatest: one.greatest.max(other.greatest),
        })
    }
}

impl Panel {
    /// Takes in what it shows at a time that has so many before it.
    fn take(&mut self, shown: &PanelFrame, before: usize) {
        self.trouble = shown.lines.as_ref().err().cloned();
        self.note.clone_from(&shown.note);
        self.omitted = shown.omitted;
        for series in &mut self.series {
            series.values.push_back(None);
        }
        self.values(shown.lines.as_deref().unwrap_or_default(), before);
    }

    fn values(&mut self, lines: &[Line], before: usize) {
        for line in lines {
            let value = line.value.is_finite().then_some(line.value);
            let known = |series: &&mut Series| series.query == line.query && series.labels == line.labels;
            if let Some(series) = self.series.iter_mut().find(known) {
                if let Some(last) = series.values.back_mut() {
                    *last = value;
                }
                continue;
            }
            let mut values = VecDeque::from(vec![None; before]);
            values.push_back(value);
            let (query, labels, name) = (line.query, line.labels.clone(), line.name.clone());
            self.series.push(Series { query, labels, name, values });
            self.series.sort_by(|one, other| (one.query, &one.labels).cmp(&(other.query, &other.labels)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn frame(second: i64, values: &[(&str, f64)]) -> Frame {
        let line = |(name, value): &(&str, f64)| Line {
            query: 0,
            labels: [("path".to_owned(), (*name).to_owned())].into(),
            name: (*name).to_owned(),
            value: *value,
        };
        let lines = Ok(values.iter().map(line).collect());
        Frame { at: at(second), panels: vec![PanelFrame { lines, omitted: 0, note: None }], targets: vec![] }
    }

    fn span(from: i64, until: i64) -> Span {
        Span { from: at(from), until: at(until) }
    }

    #[test]
    fn gaps_stay_gaps() {
        let mut history = History::default();
        history.take(&frame(1, &[("a", 1.0)]));
        history.take(&frame(2, &[("a", 2.0), ("b", 7.0)]));
        history.take(&frame(3, &[("b", f64::NAN)]));
        history.take(&frame(4, &[("a", 4.0), ("b", 8.0)]));
        // The console stood still.
        history.take(&frame(20, &[("a", 5.0), ("b", 9.0)]));
        let (a, b) = (&history.series(0)[0], &history.series(0)[1]);
        let lengths = |series| history.pieces(series, span(0, 20)).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!((lengths(a), lengths(b)), (vec![2, 1, 1], vec![1, 1, 1]));
        assert_eq!(history.current(a, span(0, 3)), None, "it was missing at the last frame");
        assert_eq!(history.current(b, span(0, 4)), Some(8.0));
        let extent = history.extent(b, span(0, 20)).unwrap();
        assert_eq!((extent.least, extent.greatest), (7.0, 9.0));
        let reach = history.reach(0, span(0, 4)).unwrap();
        assert_eq!((reach.least, reach.greatest), (1.0, 8.0));
        assert_eq!(history.reach(0, span(4, 5)), None);
    }

    #[test]
    fn the_last_of_a_column_is_shown_and_wide_columns_have_no_holes() {
        let mut history = History::default();
        for second in 1..=60 {
            history.take(&frame(second, &[("a", if second == 40 { 9.0 } else { 1.0 })]));
        }
        let series = &history.series(0)[0];
        let narrow = history.columns(series, span(0, 60), 6);
        assert_eq!(narrow, [1.0, 1.0, 1.0, 9.0, 1.0, 1.0].map(Some));
        assert!(history.columns(series, span(0, 60), 120).iter().skip(1).all(Option::is_some));
        let half = history.columns(series, span(-60, 60), 12);
        assert_eq!(half.iter().filter(|column| column.is_none()).count(), 6, "{half:?}");
    }

    #[test]
    fn nothing_grows_without_a_limit() {
        let mut history = History::default();
        for second in 0..2_000 {
            let name = format!("pod-{}", second / 100);
            history.take(&frame(second, &[(&name, 1.0)]));
        }
        assert_eq!(history.times.len(), 900);
        assert!(history.series(0).len() <= 10, "{}", history.series(0).len());
        assert!(history.series(0).iter().all(|series| series.values.len() == 900));
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let mut history = History::default();
        history.take(&frame(100, &[("a", 1.0)]));
        history.take(&frame(50, &[("a", 2.0)]));
        assert_eq!((history.first(), history.last()), (Some(at(50)), Some(at(50))));
    }

    #[test]
    fn a_panel_that_fails_says_why_and_keeps_what_it_had() {
        let mut history = History::default();
        history.take(&frame(1, &[("a", 1.0)]));
        let mut broken = frame(2, &[]);
        broken.panels[0].lines = Err("too many lines".to_owned());
        history.take(&broken);
        assert_eq!(history.trouble(0), Some("too many lines"));
        assert_eq!(history.current(&history.series(0)[0], span(0, 1)), Some(1.0));
        assert_eq!(history.current(&history.series(0)[0], span(0, 2)), None);
    }

    #[test]
    fn times_and_columns() {
        for (second, columns, expected) in [
            (0, 10, None),
            (1, 10, Some(0)),
            (10, 10, Some(9)),
            (5, 10, Some(4)),
            (11, 10, None),
            (10, 1, Some(0)),
        ] {
            assert_eq!(span(0, 10).column(at(second), columns), expected, "{second} of {columns}");
        }
    }
}
