//! One line: a name, labels, a value, and perhaps a timestamp and an exemplar.

use std::borrow::Cow;

use memchr::memchr2;

use super::{Format, Label, MAX_LABELS, MAX_LINE, excerpt};

/// What stands in a line, but for the labels.
pub(super) struct Line<'b> {
    pub(super) name: Cow<'b, str>,
    /// The name and the labels as they stand in the line.
    pub(super) series: &'b str,
    pub(super) value: f64,
    pub(super) timestamp_ms: Option<i64>,
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Flaw<'b> {
    #[error("it has {0} bytes, and {MAX_LINE} are the most")]
    Long(usize),
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("it comes after # EOF")]
    AfterEnd,
    #[error("it begins with no name of a metric")]
    NoName,
    #[error("a space or `{{` is expected behind the name, before `{}`", excerpt(.0.as_bytes()))]
    NoSpace(&'b str),
    #[error("it names two metrics")]
    TwoNames,
    #[error("a label's name is expected before `{}`", excerpt(.0.as_bytes()))]
    NoLabelName(&'b str),
    #[error("the label {0} has no `=`")]
    NoEquals(Cow<'b, str>),
    #[error("the value of the label {0} is not in quotes")]
    NoQuotes(Cow<'b, str>),
    #[error("a quoted text does not end")]
    Open,
    #[error("a comma or `}}` is expected before `{}`", excerpt(.0.as_bytes()))]
    NoComma(&'b str),
    #[error("the label {0} is there twice")]
    Twice(Cow<'b, str>),
    #[error("`__name__` is the metric's name and no label")]
    NameAsLabel,
    #[error("it has more than {MAX_LABELS} labels")]
    ManyLabels,
    #[error("it has no value")]
    NoValue,
    #[error("the value `{}` is no number", excerpt(.0.as_bytes()))]
    Value(&'b str),
    #[error("the timestamp `{}` is no whole number of milliseconds", excerpt(.0.as_bytes()))]
    Milliseconds(&'b str),
    #[error("the timestamp `{}` is no number of seconds", excerpt(.0.as_bytes()))]
    Seconds(&'b str),
    #[error("nothing is expected where it says `{}`", excerpt(.0.as_bytes()))]
    More(&'b str),
    #[error("its exemplar has no labels in braces")]
    Exemplar,
}

/// The name that a line begins with, where it needs no quotes: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub(super) fn bare_name(line: &[u8]) -> &[u8] {
    let rest = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
    if line.first().is_none_or(u8::is_ascii_digit) {
        return &[];
    }
    let end = line.iter().position(|byte| !rest(byte)).unwrap_or(line.len());
    line.get(..end).unwrap_or_default()
}

/// Whether a line goes on as a sample behind its bare name: with labels, or with what may be a number. Prose does not.
pub(super) fn goes_on(line: &[u8], bare: usize) -> bool {
    let rest = line.get(bare..).unwrap_or_default();
    match rest.trim_ascii_start() {
        [b'{', ..] => true,
        _ if !rest.first().copied().is_some_and(is_space) => false,
        [b'0'..=b'9' | b'+' | b'-' | b'.', ..] => true,
        value => value
            .get(..3)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"nan") || word.eq_ignore_ascii_case(b"inf")),
    }
}

/// Reads a line that begins with a bare name of `bare` bytes, without white space at its ends. The labels go to
/// `labels`, which are empty.
pub(super) fn read<'b>(
    line: &'b str,
    bare: usize,
    format: Format,
    labels: &mut Vec<Label<'b>>,
) -> Result<Line<'b>, Flaw<'b>> {
    let (name, rest) = line.split_at_checked(bare).unwrap_or((line, ""));
    let mut rest = Rest(rest);
    // `up.5` would be a half of `up` otherwise.
    if !name.is_empty() && rest.first().is_some_and(|first| first != b'{' && !is_space(first)) {
        return Err(Flaw::NoSpace(rest.0));
    }
    rest.skip_space();
    let mut name = (!name.is_empty()).then_some(Cow::Borrowed(name));
    if rest.accept(b'{') {
        rest.labels(&mut name, labels)?;
    }
    let name = name.ok_or(Flaw::NoName)?;
    let series = line.get(..line.len() - rest.0.len()).unwrap_or_default().trim_ascii_end();
    let (value, timestamp_ms) = rest.measurement(format)?;
    rest.exemplar()?;
    Ok(Line { name, series, value, timestamp_ms })
}

/// What of a line was not read yet.
struct Rest<'b>(&'b str);

impl<'b> Rest<'b> {
    fn first(&self) -> Option<u8> {
        self.0.as_bytes().first().copied()
    }

    /// Takes that many bytes away. They end where a character does: every caller stops at an ASCII one.
    fn take(&mut self, bytes: usize) -> &'b str {
        let (taken, rest) = self.0.split_at_checked(bytes).unwrap_or((self.0, ""));
        self.0 = rest;
        taken
    }

    fn take_while(&mut self, mut wanted: impl FnMut(u8) -> bool) -> &'b str {
        let bytes = self.0.as_bytes();
        self.take(bytes.iter().position(|byte| !wanted(*byte)).unwrap_or(bytes.len()))
    }

    fn skip_space(&mut self) {
        if self.first().is_some_and(is_space) {
            self.take_while(is_space);
        }
    }

    fn accept(&mut self, byte: u8) -> bool {
        let found = self.first() == Some(byte);
        if found {
            self.take(1);
        }
        found
    }

    /// What is within braces, to the closing one.
    fn labels(
        &mut self,
        name: &mut Option<Cow<'b, str>>,
        labels: &mut Vec<Label<'b>>,
    ) -> Result<(), Flaw<'b>> {
        loop {
            self.skip_space();
            if self.accept(b'}') {
                return Ok(());
            }
            self.label(name, labels)?;
            self.skip_space();
            if !self.accept(b',') && self.first() != Some(b'}') {
                return Err(if self.0.is_empty() { Flaw::Open } else { Flaw::NoComma(self.0) });
            }
        }
    }

    /// A label with its value, or the quoted name of the metric.
    fn label(
        &mut self,
        name: &mut Option<Cow<'b, str>>,
        labels: &mut Vec<Label<'b>>,
    ) -> Result<(), Flaw<'b>> {
        let is_quoted = self.accept(b'"');
        let label = if is_quoted {
            self.quoted()?
        } else {
            let label = self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if label.is_empty() || label.starts_with(|first: char| first.is_ascii_digit()) {
                return Err(if self.0.is_empty() { Flaw::Open } else { Flaw::NoLabelName(self.0) });
            }
            Cow::Borrowed(label)
        };
        self.skip_space();
        if !self.accept(b'=') {
            return if !is_quoted {
                Err(Flaw::NoEquals(label))
            } else if name.is_some() {
                Err(Flaw::TwoNames)
            } else if label.is_empty() {
                Err(Flaw::NoName)
            } else {
                *name = Some(label);
                Ok(())
            };
        }
        if label.is_empty() {
            return Err(Flaw::NoLabelName(self.0));
        }
        self.skip_space();
        if !self.accept(b'"') {
            return Err(Flaw::NoQuotes(label));
        }
        let value = self.quoted()?;
        if label == "__name__" {
            Err(Flaw::NameAsLabel)
        } else if labels.iter().any(|(other, _)| *other == label) {
            Err(Flaw::Twice(label))
        } else if labels.len() >= MAX_LABELS {
            Err(Flaw::ManyLabels)
        } else {
            labels.push((label, value));
            Ok(())
        }
    }

    /// The rest of a quoted text, with the closing quotes, which are not part of the result.
    fn quoted(&mut self) -> Result<Cow<'b, str>, Flaw<'b>> {
        let at = memchr2(b'"', b'\\', self.0.as_bytes()).ok_or(Flaw::Open)?;
        let plain = self.take(at);
        if self.accept(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        // At an escape: what it stands for, then what follows it unescaped.
        while self.accept(b'\\') {
            match self.first() {
                Some(b'n') => text.push('\n'),
                Some(escaped @ (b'"' | b'\\')) => text.push(char::from(escaped)),
                // Any other is itself, as Prometheus has it.
                _ => text.push('\\'),
            }
            if matches!(self.first(), Some(b'n' | b'"' | b'\\')) {
                self.take(1);
            }
            let at = memchr2(b'"', b'\\', self.0.as_bytes()).ok_or(Flaw::Open)?;
            text.push_str(self.take(at));
        }
        self.accept(b'"');
        Ok(Cow::Owned(text))
    }

    /// A value, and the timestamp if there is one.
    fn measurement(&mut self, format: Format) -> Result<(f64, Option<i64>), Flaw<'b>> {
        self.skip_space();
        let value = self.take_while(|byte| !is_space(byte));
        if value.is_empty() {
            return Err(Flaw::NoValue);
        }
        let value = number(value).ok_or(Flaw::Value(value))?;
        self.skip_space();
        if self.first().is_none_or(|first| first == b'#') {
            return Ok((value, None));
        }
        let text = self.take_while(|byte| !is_space(byte));
        self.skip_space();
        let timestamp = match format {
            Format::Text => text.parse().map_err(|_invalid| Flaw::Milliseconds(text)),
            Format::OpenMetrics => milliseconds(text).ok_or(Flaw::Seconds(text)),
        };
        timestamp.map(|timestamp| (value, Some(timestamp)))
    }

    /// The exemplar, if there is one, and the end of the line. It is read, lest something follow it, and not kept.
    fn exemplar(&mut self) -> Result<(), Flaw<'b>> {
        if self.0.is_empty() {
            return Ok(());
        }
        if !self.accept(b'#') {
            return Err(Flaw::More(self.0));
        }
        self.skip_space();
        if !self.accept(b'{') {
            return Err(Flaw::Exemplar);
        }
        // A quoted name would be a label without a value.
        let mut nameless = Some(Cow::Borrowed(""));
        self.labels(&mut nameless, &mut Vec::new())?;
        self.measurement(Format::OpenMetrics)?;
        if self.0.is_empty() { Ok(()) } else { Err(Flaw::More(self.0)) }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// A value. What is short and whole, as most are, needs no more than multiplications.
fn number(text: &str) -> Option<f64> {
    // 15 digits are below 2^53: exact as a number of either kind.
    if text.len() <= 15 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let whole = text.bytes().fold(0_u64, |whole, digit| whole * 10 + u64::from(digit & 0xf));
        #[expect(clippy::cast_precision_loss, reason = "it is below 2^53")]
        return Some(whole as f64);
    }
    text.parse().ok()
}

/// Seconds with a fraction, as the nearest millisecond.
fn milliseconds(text: &str) -> Option<i64> {
    let milliseconds = (text.parse::<f64>().ok()? * 1e3).round();
    // Up to 2^53 every whole number is exact: the year 287396.
    if milliseconds.abs() > 9_007_199_254_740_992.0 || milliseconds.is_nan() {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and within bounds")]
    Some(milliseconds as i64)
}
