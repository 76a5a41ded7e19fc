//! Values with their units, in three digits: as much as a chart's label has room for.

use super::dashboard::Unit;

/// What stands before a unit, and what it stands for, the greatest first.
type Prefixes = &'static [(f64, &'static str)];

const THOUSANDS: Prefixes = &[(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")];

const BINARY: Prefixes = &[
    (1_099_511_627_776.0, " TiB"),
    (1_073_741_824.0, " GiB"),
    (1_048_576.0, " MiB"),
    (1_024.0, " KiB"),
    (1.0, " B"),
];

const TIME: Prefixes = &[(1.0, " s"), (1e-3, " ms"), (1e-6, " µs"), (1e-9, " ns")];

impl Unit {
    /// The value with its unit: `152 ms`, `98.5%`, `1.2k/s`.
    pub fn show(self, value: f64) -> String {
        if value.is_nan() {
            return "none".to_owned();
        }
        match self {
            Self::None | Self::Cores => scaled(value, THOUSANDS),
            Self::PerSecond => format!("{}/s", scaled(value, THOUSANDS)),
            Self::PerMinute => format!("{}/min", scaled(value, THOUSANDS)),
            Self::Seconds => scaled(value, TIME),
            Self::Bytes => scaled(value, BINARY),
            Self::Ratio => format!("{}%", digits(value * 100.0)),
        }
    }

    /// The unit in words, for a legend; empty for a mere number.
    pub const fn words(self) -> &'static str {
        match self {
            Self::None => "",
            Self::PerSecond => "per second",
            Self::PerMinute => "per minute",
            Self::Seconds => "time",
            Self::Bytes => "bytes",
            Self::Ratio => "share",
            Self::Cores => "cores",
        }
    }
}

fn scaled(value: f64, prefixes: Prefixes) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "∞" } else { "-∞" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude == 0.0 {
        // Nothing has the unit itself, not thousands of it.
        let unit = prefixes.iter().find(|(scale, _)| (*scale - 1.0).abs() < f64::EPSILON);
        return format!("0{}", unit.map_or("", |(_, unit)| *unit));
    }
    // 999.9 is 1000 in three digits. What is smaller than the smallest prefix has digits behind the point.
    let fitting = prefixes.iter().find(|(scale, _)| magnitude >= scale * 0.9995).or_else(|| prefixes.last());
    let (scale, prefix) = fitting.copied().unwrap_or((1.0, ""));
    format!("{}{prefix}", digits(value / scale))
}

/// Three digits, without zeros at the end that say nothing.
fn digits(value: f64) -> String {
    let magnitude = value.abs();
    let places = match magnitude {
        _ if magnitude >= 99.95 => 0,
        _ if magnitude >= 9.995 => 1,
        _ if magnitude >= 0.01 || magnitude == 0.0 => 2,
        _ => 4,
    };
    let text = format!("{value:.places$}");
    let short = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_units() {
        for (unit, value, expected) in [
            (Unit::Seconds, 0.001_85, "1.85 ms"),
            (Unit::Seconds, 0.000_11, "110 µs"),
            (Unit::Seconds, 0.151_9, "152 ms"),
            (Unit::Seconds, 1.0, "1 s"),
            (Unit::Seconds, 0.999_9, "1 s"),
            (Unit::Seconds, 75.4, "75.4 s"),
            (Unit::Seconds, 0.0, "0 s"),
            (Unit::Bytes, 13_000_000.0, "12.4 MiB"),
            (Unit::Bytes, 12.0, "12 B"),
            (Unit::Ratio, 0.985, "98.5%"),
            (Unit::Ratio, 1.0, "100%"),
            (Unit::Ratio, 0.0, "0%"),
            (Unit::PerSecond, 110.04, "110/s"),
            (Unit::PerMinute, 6_600.0, "6.6k/min"),
            (Unit::PerSecond, 0.016_6, "0.02/s"),
            (Unit::None, 1_234_567.0, "1.23M"),
            (Unit::Cores, 0.123, "0.12"),
            (Unit::Cores, 0.000_4, "0.0004"),
            (Unit::None, -12.5, "-12.5"),
            (Unit::None, f64::INFINITY, "∞"),
            (Unit::Seconds, f64::NAN, "none"),
        ] {
            assert_eq!(unit.show(value), expected, "{unit:?} {value}");
        }
    }
}
