//! Functions of the values of one series within a range.

use super::plan::RangeFunction;

/// The value of `function` for the samples, `(milliseconds, value)`, of `(at - range, at]`; none where it has none.
pub(super) fn value(function: RangeFunction, samples: &[(i64, f64)], range: i64, at: i64) -> Option<f64> {
    let (_, last) = *samples.last()?;
    let values = samples.iter().map(|(_, value)| *value);
    match function {
        RangeFunction::Rate | RangeFunction::Increase | RangeFunction::Delta => {
            extrapolated(function, samples, range, at)
        }
        RangeFunction::Irate | RangeFunction::Idelta => instant(function, samples),
        RangeFunction::Changes => Some(count(samples, is_change)),
        RangeFunction::Resets => Some(count(samples, |before, after| after < before)),
        RangeFunction::Average => Some(mean(values)),
        RangeFunction::Sum => Some(sum(values)),
        RangeFunction::Least => {
            values.reduce(|least, value| if value < least || least.is_nan() { value } else { least })
        }
        RangeFunction::Most => {
            values.reduce(|most, value| if value > most || most.is_nan() { value } else { most })
        }
        RangeFunction::Count => Some(float(samples.len())),
        RangeFunction::Last => Some(last),
        RangeFunction::Present => Some(1.0),
    }
}

/// `rate`, `increase` and `delta`: the growth between the first and the last sample, extended to the edges of the range
/// where they are near enough, by half an interval where they are not, and never to before a counter was 0.
fn extrapolated(function: RangeFunction, samples: &[(i64, f64)], range: i64, at: i64) -> Option<f64> {
    const NEAR: f64 = 1.1;
    let (first, last) = (samples.first()?, samples.last()?);
    let intervals = float(samples.len().checked_sub(1).filter(|intervals| *intervals > 0)?);
    let counter = function != RangeFunction::Delta;
    let mut growth = last.1 - first.1;
    if counter {
        // After a reset a counter begins at 0 again.
        growth +=
            pairs(samples).filter(|(before, after)| after < before).map(|(before, _)| before).sum::<f64>();
    }
    let covered = seconds(last.0 - first.0);
    let average = covered / intervals;
    let mut to_start = seconds(first.0 - (at - range));
    let mut to_end = seconds(at - last.0);
    if to_start >= average * NEAR {
        to_start = average / 2.0;
    }
    if counter && growth > 0.0 && first.1 >= 0.0 {
        let to_zero = covered * (first.1 / growth);
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= average * NEAR {
        to_end = average / 2.0;
    }
    let mut factor = (covered + to_start + to_end) / covered;
    if function == RangeFunction::Rate {
        factor /= seconds(range);
    }
    Some(growth * factor)
}

/// `irate` and `idelta`: what the last two samples say.
fn instant(function: RangeFunction, samples: &[(i64, f64)]) -> Option<f64> {
    let [.., (earlier, from), (later, to)] = samples else { return None };
    let elapsed = seconds(later - earlier);
    if function == RangeFunction::Idelta {
        return Some(to - from);
    }
    let growth = if to < from { *to } else { to - from };
    Some(growth / elapsed)
}

fn pairs(samples: &[(i64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    samples.iter().zip(samples.iter().skip(1)).map(|((_, before), (_, after))| (*before, *after))
}

fn count(samples: &[(i64, f64)], holds: impl Fn(f64, f64) -> bool) -> f64 {
    float(pairs(samples).filter(|(before, after)| holds(*before, *after)).count())
}

#[expect(clippy::float_cmp, reason = "any difference is a change")]
fn is_change(before: f64, after: f64) -> bool {
    before != after && !(before.is_nan() && after.is_nan())
}

/// The sum without the error that small parts lose against large ones (Neumaier).
pub(super) fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0);
    for value in values {
        let next = sum + value;
        if next.is_infinite() {
            lost = 0.0;
        } else if sum.abs() >= value.abs() {
            lost += (sum - next) + value;
        } else {
            lost += (value - next) + sum;
        }
        sum = next;
    }
    sum + lost
}

/// The mean; found step by step where the sum is too large for a number.
pub(super) fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let total = sum(values.clone());
    if total.is_infinite() && values.clone().all(f64::is_finite) {
        let (mut mean, mut count) = (0.0, 0.0);
        for value in values {
            count += 1.0;
            mean += value / count - mean / count;
        }
        return mean;
    }
    total / float(values.count())
}

#[expect(clippy::cast_precision_loss, reason = "numbers of samples and milliseconds of minutes are exact")]
pub(super) fn float(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds are exact for longer than anything lasts")]
pub(super) fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}
