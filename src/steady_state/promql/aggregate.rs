//! Aggregations: several series made one.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::Sample;
use super::plan::{Aggregation, Grouping};
use super::range::{float, mean, sum};
use crate::steady_state::series::{Labels, NAME};

/// The labels that a group has; the metric's name only where it is asked for.
pub(super) fn group_of(labels: &Labels, grouping: &Grouping) -> Labels {
    match grouping {
        Grouping::By(kept) if kept.is_empty() => Labels::empty(),
        Grouping::By(kept) => labels.filtered(|name| kept.iter().any(|kept| kept == name)),
        Grouping::Without(dropped) => {
            labels.filtered(|name| name != NAME && dropped.iter().all(|dropped| dropped != name))
        }
    }
}

/// Makes one sample of each group, or leaves `count` of each for `topk` and `bottomk`.
pub(super) fn aggregate(
    aggregation: &Aggregation,
    grouping: &Grouping,
    samples: Vec<Sample>,
    count: f64,
) -> Vec<Sample> {
    let mut groups: HashMap<Labels, Vec<Sample>> = HashMap::new();
    for sample in samples {
        groups.entry(group_of(&sample.labels, grouping)).or_default().push(sample);
    }
    let extreme = match aggregation {
        Aggregation::Top(_) => Some(Ordering::Greater),
        Aggregation::Bottom(_) => Some(Ordering::Less),
        _ => None,
    };
    if let Some(first) = extreme {
        return groups.into_values().flat_map(|samples| ends(samples, first, count)).collect();
    }
    groups
        .into_iter()
        .map(|(labels, samples)| Sample { labels, value: value(aggregation, &samples) })
        .collect()
}

fn value(aggregation: &Aggregation, samples: &[Sample]) -> f64 {
    let values = samples.iter().map(|sample| sample.value);
    match aggregation {
        Aggregation::Sum => sum(values),
        Aggregation::Average => mean(values),
        Aggregation::Least => values
            .reduce(|least, value| if value < least || least.is_nan() { value } else { least })
            .unwrap_or(f64::NAN),
        Aggregation::Most => values
            .reduce(|most, value| if value > most || most.is_nan() { value } else { most })
            .unwrap_or(f64::NAN),
        Aggregation::Count => float(samples.len()),
        // It says that there is something.
        Aggregation::Group | Aggregation::Top(_) | Aggregation::Bottom(_) => 1.0,
    }
}

/// The first `count` samples, those that are `first` before others, what is no number last.
fn ends(mut samples: Vec<Sample>, first: Ordering, count: f64) -> Vec<Sample> {
    samples.sort_by(|a, b| match (a.value.is_nan(), b.value.is_nan()) {
        (false, false) => {
            let order = a.value.partial_cmp(&b.value).unwrap_or(Ordering::Equal);
            if first == Ordering::Greater { order.reverse() } else { order }
        }
        (a, b) => a.cmp(&b),
    });
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "casts stop at the bounds: 0 and all"
    )]
    samples.truncate(count as usize);
    samples
}
