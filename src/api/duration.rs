//! Go's duration text: the grammar of every `duration`, `latency` and `jitter` in experiment files.
//!
//! An optional sign, then one or more decimal numbers with a unit (`ns us µs μs ms s m h`), or a bare `0`;
//! the grammar of Go's `time.ParseDuration`. Experiment files were written for it, so it is neither
//! ISO 8601 nor the humantime grammar: `1h15m30.5s` is legal, `1d` is not.

use std::fmt;
use std::time::Duration;

/// A duration with a sign and a resolution of one nanosecond, as Go has it (±292 years).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(i64);

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing, or only a sign.
    #[error("an empty duration")]
    Empty,
    /// A number was expected at this text.
    #[error("a number is expected at \"{0}\"")]
    Number(String),
    /// A number without a unit.
    #[error("the unit is missing after \"{0}\"")]
    MissingUnit(String),
    /// A unit that Go does not know.
    #[error("unknown unit \"{0}\"")]
    UnknownUnit(String),
    /// More than 292 years.
    #[error("out of range (about 292 years)")]
    Range,
}

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl GoDuration {
    /// From whole nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The value in nanoseconds, negative if the sign was.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// As an unsigned duration; `None` if it is negative.
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }

    /// From an unsigned duration, saturating at Go's maximum.
    pub fn from_std(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl std::str::FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(DurationError::Empty);
        }
        let mut total: i64 = 0;
        while !rest.is_empty() {
            let (nanos, tail) = component(rest)?;
            total = total.checked_add(nanos).ok_or(DurationError::Range)?;
            rest = tail;
        }
        Ok(Self(if negative { -total } else { total }))
    }
}

/// Reads one number with its unit; gives nanoseconds and what follows.
fn component(text: &str) -> Result<(i64, &str), DurationError> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, tail) = text.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(DurationError::Number(text.to_owned()));
    }
    let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
    let (unit, tail) = tail.split_at(unit_end);
    if unit.is_empty() {
        return Err(DurationError::MissingUnit(number.to_owned()));
    }
    let scale = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, scale)| *scale)
        .ok_or_else(|| DurationError::UnknownUnit(unit.to_owned()))?;
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_e| DurationError::Range)? };
    let mut nanos = i128::from(whole) * i128::from(scale);
    // Digits beyond a nanosecond are cut off, as Go does.
    let mut place = i128::from(scale);
    let mut part: i128 = 0;
    for digit in fraction.chars().filter_map(|c| c.to_digit(10)).take(18) {
        part = part * 10 + i128::from(digit);
        place *= 10;
    }
    nanos += part * i128::from(scale) / (place / i128::from(scale)).max(1);
    i64::try_from(nanos).map(|nanos| (nanos, tail)).map_err(|_e| DurationError::Range)
}

/// Go's own form: `1h15m30.5s`, `150ms`, `0s`.
impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if nanos == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        if nanos < 1_000_000_000 {
            let (scale, unit) = match nanos {
                0..1_000 => (1, "ns"),
                1_000..1_000_000 => (1_000, "µs"),
                _ => (1_000_000, "ms"),
            };
            return write!(f, "{}{unit}", decimal(nanos, scale));
        }
        let (hours, minutes) = (nanos / 3_600_000_000_000, nanos / 60_000_000_000 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}s", decimal(nanos % 60_000_000_000, 1_000_000_000))
    }
}

/// `nanos / scale` as a decimal number without trailing zeros.
fn decimal(nanos: u64, scale: u64) -> String {
    let digits = scale.ilog10() as usize;
    let text = format!("{}.{:0digits$}", nanos / scale, nanos % scale);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanos) in [
            ("0", 0),
            ("5m", 300_000_000_000),
            ("150ms", 150_000_000),
            ("0.5ms", 500_000),
            ("1h15m30.5s", 4_530_500_000_000),
            ("-1.5h", -5_400_000_000_000),
            ("+3us", 3_000),
            ("3µs", 3_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1.0000000009s", 1_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(GoDuration(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        use DurationError::{Empty, MissingUnit, Number, Range, UnknownUnit};
        for (text, error) in [
            ("", Empty),
            ("-", Empty),
            ("5", MissingUnit("5".into())),
            ("1d", UnknownUnit("d".into())),
            ("ms", Number("ms".into())),
            ("1.2.3s", Number("1.2.3s".into())),
            ("1m5", MissingUnit("5".into())),
            ("99999999999h", Range),
            ("1 s", UnknownUnit(" s".into())),
        ] {
            assert_eq!(text.parse::<GoDuration>(), Err(error), "{text}");
        }
    }

    #[test]
    fn writes_as_go_writes() {
        for text in ["0s", "1h15m30.5s", "150ms", "1.5µs", "2ns", "5m0s", "-1m0.25s", "1h0m0s"] {
            assert_eq!(text.parse::<GoDuration>().unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(nanos: i64) {
            prop_assume!(nanos != i64::MIN);
            let duration = GoDuration(nanos);
            prop_assert_eq!(duration.to_string().parse::<GoDuration>(), Ok(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            drop(text.parse::<GoDuration>());
        }
    }
}
