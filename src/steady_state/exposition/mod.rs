//! The text in which programs tell their metrics: Prometheus's format (0.0.4 and 1.0.0) and OpenMetrics 1.0.
//!
//! A reader of our own, since what is lost here is missing in every chart: each line is either handed over, skipped because
//! nobody asked for its name, or reported with its number. One bad line costs no other. Where the formats differ in
//! strictness the laxer rule holds, as it does for Prometheus's own reader: white space is free, quoted names and exemplars are
//! read in both. What they disagree on is the timestamp, and that OpenMetrics ends with `# EOF`.
//!
//! `# HELP`, `# TYPE` and `# UNIT` are comments here: nothing that is shown depends on them.
//!
//! Sources: <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

mod foreign;
mod line;

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;

pub use foreign::Foreign;
use line::Flaw;

/// The longest line in bytes: what a program writes about one series.
pub const MAX_LINE: usize = 64 * 1024;

/// How many labels a sample may have.
pub const MAX_LABELS: usize = 128;

/// How many samples of one body are handed over: all that a chart could hold of one pod, and then some.
pub const MAX_SAMPLES: usize = 200_000;

/// How many bad lines are described; all are counted.
pub const MAX_PROBLEMS: usize = 20;

/// How many characters of a text that cannot be read are shown.
const EXCERPT: usize = 60;

/// In which format a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's text format: timestamps are whole milliseconds.
    Text,
    /// OpenMetrics: timestamps are seconds with a fraction, and the last line is `# EOF`.
    OpenMetrics,
}

impl Format {
    /// The `Accept` header by which a body that can be read here is asked for.
    pub const ACCEPT: &str = "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=1.0.0;q=0.6,\
                              text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

    /// What the `Content-Type` header says; the text format if it says nothing of use, as Prometheus long did.
    pub fn of(content_type: Option<&str>) -> Self {
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }
}

/// One value of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The name of the metric.
    pub name: Cow<'a, str>,
    /// The name and the labels as they stand in the text: where that is the same, the series is.
    pub series: &'a str,
    /// Labels with their values, in the order of the text; no name is there twice, and `__name__` is not among them.
    pub labels: &'a [Label<'a>],
    /// The value. Not a number, and the infinities, are values too.
    pub value: f64,
    /// When it was measured, in milliseconds since 1970, if the program says so.
    pub timestamp_ms: Option<i64>,
}

/// A label's name and its value.
pub type Label<'a> = (Cow<'a, str>, Cow<'a, str>);

/// What became of the lines of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many there are: the sum of the six that follow.
    pub lines: usize,
    /// Samples that were handed over.
    pub samples: usize,
    /// Samples of metrics that nobody asked for. Of these only the name was looked at.
    pub skipped: usize,
    /// Samples beyond [`MAX_SAMPLES`], which were not handed over.
    pub beyond: usize,
    /// Comments, among them those that describe metrics.
    pub comments: usize,
    /// Empty lines.
    pub blank: usize,
    /// Lines that cannot be read.
    pub bad: usize,
    /// The first of those, [`MAX_PROBLEMS`] at most.
    pub problems: Vec<Problem>,
    /// Whether the end is missing: OpenMetrics without `# EOF` was cut off.
    pub cut_off: bool,
}

impl Summary {
    /// What is wrong with the body, in one line; none if all of it was read.
    pub fn complaint(&self) -> Option<String> {
        let first = self.problems.first().map(|problem| match self.bad {
            1 => format!("one line cannot be read: {problem}"),
            bad => format!("{bad} lines cannot be read, the first of them: {problem}"),
        });
        let beyond = (self.beyond > 0).then(|| {
            let beyond = self.beyond;
            format!("{beyond} samples were left out: no more than {MAX_SAMPLES} of a pod are read")
        });
        let cut_off = self.cut_off.then(|| "the answer was cut off: it does not end with # EOF".to_owned());
        let all: Vec<_> = [cut_off, beyond, first].into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its number; the first is 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// How it begins, with nothing in it that a terminal would obey.
    pub excerpt: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.what, self.excerpt)
    }
}

/// Hands every sample of `body` whose name is `wanted` to `sink`, in their order.
///
/// `wanted` is asked once for neighbouring lines of the same name, as they come.
///
/// # Errors
/// The body is something else altogether. Nothing was handed over then.
pub fn read<'b>(
    body: &'b [u8],
    format: Format,
    wanted: impl FnMut(&str) -> bool,
    sink: impl FnMut(&Sample<'_>),
) -> Result<Summary, Foreign> {
    if let Some(foreign) = foreign::recognise(body) {
        return Err(foreign);
    }
    let mut reader = Reader::<'b, _, _> {
        format,
        wanted,
        sink,
        summary: Summary::default(),
        labels: Vec::new(),
        last: None,
        ended: false,
    };
    let mut rest = body;
    while !rest.is_empty() {
        let (line, after) = match memchr(b'\n', rest) {
            Some(end) => (rest.get(..end).unwrap_or_default(), rest.get(end + 1..).unwrap_or_default()),
            None => (rest, [].as_slice()),
        };
        rest = after;
        reader.line(line);
    }
    let mut summary = reader.summary;
    let nothing = summary.samples + summary.skipped + summary.beyond + summary.comments == 0;
    if nothing && let Some(first) = summary.problems.first() {
        return Err(Foreign::Text(first.excerpt.clone()));
    }
    summary.cut_off = format == Format::OpenMetrics && !reader.ended;
    Ok(summary)
}

struct Reader<'b, W, S> {
    format: Format,
    wanted: W,
    sink: S,
    summary: Summary,
    /// Those of the present line; kept for its memory.
    labels: Vec<Label<'b>>,
    /// The bare name of the line before, and whether it is wanted.
    last: Option<(&'b [u8], bool)>,
    /// `# EOF` was there.
    ended: bool,
}

impl<'b, W: FnMut(&str) -> bool, S: FnMut(&Sample<'_>)> Reader<'b, W, S> {
    fn line(&mut self, line: &'b [u8]) {
        self.summary.lines += 1;
        let text = line.trim_ascii();
        match text.first() {
            None => self.summary.blank += 1,
            Some(_) if self.ended => self.report(line, &Flaw::AfterEnd),
            Some(b'#') => {
                self.ended = self.format == Format::OpenMetrics && text == b"# EOF";
                self.summary.comments += 1;
            }
            Some(_) => {
                if let Err(flaw) = self.sample(text) {
                    self.report(line, &flaw);
                }
            }
        }
    }

    fn sample(&mut self, line: &'b [u8]) -> Result<(), Flaw<'b>> {
        let bare = line::bare_name(line);
        if !bare.is_empty() && !self.is_wanted(bare) && line::goes_on(line, bare.len()) {
            self.summary.skipped += 1;
            return Ok(());
        }
        if line.len() > MAX_LINE {
            return Err(Flaw::Long(line.len()));
        }
        let text = str::from_utf8(line).map_err(|_invalid| Flaw::NotUtf8)?;
        self.labels.clear();
        let read = line::read(text, bare.len(), self.format, &mut self.labels)?;
        if bare.is_empty() && !(self.wanted)(&read.name) {
            self.summary.skipped += 1;
        } else if self.summary.samples >= MAX_SAMPLES {
            self.summary.beyond += 1;
        } else {
            self.summary.samples += 1;
            let line::Line { name, series, value, timestamp_ms } = read;
            (self.sink)(&Sample { name, series, labels: &self.labels, value, timestamp_ms });
        }
        Ok(())
    }

    /// Whether somebody asked for the bare name; lines of the same name mostly stand together.
    fn is_wanted(&mut self, name: &'b [u8]) -> bool {
        if let Some((last, wanted)) = self.last
            && last == name
        {
            return wanted;
        }
        let wanted = str::from_utf8(name).is_ok_and(&mut self.wanted);
        self.last = Some((name, wanted));
        wanted
    }

    #[cold]
    fn report(&mut self, line: &[u8], flaw: &Flaw<'_>) {
        self.summary.bad += 1;
        if self.summary.problems.len() < MAX_PROBLEMS {
            let (line, excerpt) = (self.summary.lines, excerpt(line));
            self.summary.problems.push(Problem { line, what: flaw.to_string(), excerpt });
        }
    }
}

/// How a text begins, as one short line that can be shown anywhere.
pub(in crate::steady_state) fn excerpt(text: &[u8]) -> String {
    // A character has at most four bytes.
    let begin = text.trim_ascii();
    let some = String::from_utf8_lossy(begin.get(..4 * EXCERPT + 4).unwrap_or(begin));
    let mut shown = String::new();
    for (index, character) in some.chars().enumerate() {
        if index == EXCERPT {
            shown.push('…');
            break;
        }
        match character {
            '\'' | '"' | '\\' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests;
