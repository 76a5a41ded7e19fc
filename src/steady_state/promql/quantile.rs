//! `histogram_quantile` over classic buckets.

use std::collections::HashMap;

use super::Sample;
use crate::steady_state::series::{Labels, NAME};

/// The label that holds a bucket's upper bound.
const BOUND: &str = "le";

/// Differences below this part of both counts come of arithmetic, not of observations.
const TOLERANCE: f64 = 1e-12;

/// A bucket: its upper bound, and how many observations were up to that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bucket {
    pub(super) bound: f64,
    pub(super) count: f64,
}

/// The quantile of each histogram among `samples`: those that differ by their bounds alone. What has no bound is left out.
pub(super) fn of_samples(quantile: f64, samples: Vec<Sample>) -> Vec<Sample> {
    let mut histograms: HashMap<Labels, Vec<Bucket>> = HashMap::new();
    for Sample { labels, value } in samples {
        if let Ok(bound) = labels.get(BOUND).parse() {
            let key = labels.filtered(|name| name != NAME && name != BOUND);
            histograms.entry(key).or_default().push(Bucket { bound, count: value });
        }
    }
    histograms
        .into_iter()
        .map(|(labels, buckets)| Sample { labels, value: of_buckets(quantile, buckets) })
        .collect()
}

/// The quantile of one histogram, its observations spread evenly within each bucket; not a number where there are no
/// observations, fewer than two buckets or none without bound.
pub(super) fn of_buckets(quantile: f64, mut buckets: Vec<Bucket>) -> f64 {
    if quantile.is_nan() {
        return f64::NAN;
    }
    if quantile < 0.0 {
        return f64::NEG_INFINITY;
    }
    if quantile > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
    if buckets.last().is_none_or(|last| last.bound != f64::INFINITY) {
        return f64::NAN;
    }
    // Buckets with the same bound, as "1" and "1.0", are one.
    buckets.dedup_by(|next, kept| {
        #[expect(clippy::float_cmp, reason = "close bounds are two")]
        let same = next.bound == kept.bound;
        if same {
            kept.count += next.count;
        }
        same
    });
    make_monotonic(&mut buckets);
    let [finite @ .., all] = buckets.as_slice() else { return f64::NAN };
    let Some(highest) = finite.last() else { return f64::NAN };
    if all.count == 0.0 {
        return f64::NAN;
    }
    let rank = quantile * all.count;
    let reached = |bucket: &Bucket| bucket.count >= rank;
    let at = finite.partition_point(|bucket| !reached(bucket));
    let Some(bucket) = finite.get(at) else { return highest.bound };
    let (mut start, mut count, mut within) = (0.0, bucket.count, rank);
    match at.checked_sub(1).and_then(|before| finite.get(before)) {
        None if bucket.bound <= 0.0 => return bucket.bound,
        None => {}
        Some(before) => {
            start = before.bound;
            count -= before.count;
            within -= before.count;
        }
    }
    start + (bucket.bound - start) * (within / count)
}

/// Buckets hold those below them: what is less than that, or as good as the same, is the same.
fn make_monotonic(buckets: &mut [Bucket]) {
    let mut below = None;
    for bucket in buckets {
        match below {
            Some(below) if bucket.count < below || is_close(below, bucket.count) => bucket.count = below,
            _ => below = Some(bucket.count),
        }
    }
}

#[expect(clippy::float_cmp, reason = "two that are the same are close, infinite or not")]
fn is_close(a: f64, b: f64) -> bool {
    if a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}
