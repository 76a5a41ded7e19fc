//! Signs between two sides.

use std::collections::{HashMap, HashSet};

use super::Sample;
use super::aggregate::group_of;
use super::plan::{Arithmetic, Comparison, Grouping, Matching, Operation, Set, Side};
use crate::steady_state::series::Labels;

/// A number on each side.
pub(super) fn numbers(operation: Operation, left: f64, right: f64) -> f64 {
    match operation {
        Operation::Arithmetic(arithmetic) => calculate(arithmetic, left, right),
        Operation::Comparison { comparison, .. } => truth(holds(comparison, left, right)),
        Operation::Set(_) => f64::NAN,
    }
}

/// A vector and a number; which side the vector is on matters. A comparison leaves the vector's values.
pub(super) fn vector_and_number(
    operation: Operation,
    vector: Vec<Sample>,
    number: f64,
    side: Side,
) -> Vec<Sample> {
    let sides = |value: f64| if side == Side::Left { (value, number) } else { (number, value) };
    let results = vector.into_iter().filter_map(|Sample { labels, value }| {
        let (left, right) = sides(value);
        let value = match operation {
            Operation::Comparison { comparison, bool: false } => {
                return holds(comparison, left, right).then_some(Sample { labels, value });
            }
            _ => numbers(operation, left, right),
        };
        Some(Sample { labels: labels.without_name(), value })
    });
    results.collect()
}

/// Two vectors, each series with that of the other side that has the same labels.
pub(super) fn vectors(
    operation: Operation,
    matching: &Matching,
    left: Vec<Sample>,
    right: Vec<Sample>,
) -> Result<Vec<Sample>, String> {
    if let Operation::Set(set) = operation {
        return Ok(sets(set, matching, left, right));
    }
    if left.is_empty() || right.is_empty() {
        return Ok(Vec::new());
    }
    let swapped = matches!(matching.many, Some((Side::Right, _)));
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let mut ones: HashMap<Labels, Sample> = HashMap::new();
    for sample in one {
        let key = group_of(&sample.labels, &matching.labels);
        if let Some(other) = ones.insert(key.clone(), sample.clone()) {
            let side = if swapped { "left" } else { "right" };
            return Err(format!(
                "two series on the {side} side match {key}: {} and {}; tell them apart with on or ignoring, or aggregate them",
                other.labels, sample.labels
            ));
        }
    }
    let mut found: HashSet<(Labels, Labels)> = HashSet::new();
    let mut results = Vec::new();
    for sample in many {
        let key = group_of(&sample.labels, &matching.labels);
        let Some(other) = ones.get(&key) else { continue };
        let (left, right) = if swapped { (other.value, sample.value) } else { (sample.value, other.value) };
        let value = match operation {
            Operation::Comparison { comparison, bool: false } => {
                if !holds(comparison, left, right) {
                    continue;
                }
                left
            }
            _ => numbers(operation, left, right),
        };
        let labels = result_labels(operation, matching, &sample.labels, &other.labels);
        let distinct = if matching.many.is_some() { labels.clone() } else { Labels::empty() };
        if !found.insert((key.clone(), distinct)) {
            return Err(match matching.many {
                None => format!(
                    "several series on the left side match {key}; say group_left or group_right, or aggregate them"
                ),
                Some(_) => format!(
                    "several series would be {labels}; the labels of the side with many must tell them apart"
                ),
            });
        }
        results.push(Sample { labels, value });
    }
    Ok(results)
}

fn result_labels(operation: Operation, matching: &Matching, many: &Labels, one: &Labels) -> Labels {
    let keeps_name = matches!(operation, Operation::Comparison { bool: false, .. });
    let mut labels = if keeps_name { many.clone() } else { many.without_name() };
    match (&matching.many, &matching.labels) {
        (Some((_, included)), _) => {
            for name in included {
                labels = labels.with(name, one.get(name));
            }
        }
        (None, Grouping::By(kept)) => labels = labels.filtered(|name| kept.iter().any(|kept| kept == name)),
        (None, Grouping::Without(dropped)) => {
            labels = labels.filtered(|name| dropped.iter().all(|dropped| dropped != name));
        }
    }
    labels
}

fn sets(set: Set, matching: &Matching, left: Vec<Sample>, right: Vec<Sample>) -> Vec<Sample> {
    let key = |sample: &Sample| group_of(&sample.labels, &matching.labels);
    let keys = |samples: &[Sample]| samples.iter().map(key).collect::<HashSet<_>>();
    match set {
        Set::And => {
            let keys = keys(&right);
            left.into_iter().filter(|sample| keys.contains(&key(sample))).collect()
        }
        Set::Unless => {
            let keys = keys(&right);
            left.into_iter().filter(|sample| !keys.contains(&key(sample))).collect()
        }
        Set::Or => {
            let keys = keys(&left);
            let others = right.into_iter().filter(|sample| !keys.contains(&key(sample)));
            let others: Vec<_> = others.collect();
            left.into_iter().chain(others).collect()
        }
    }
}

fn calculate(arithmetic: Arithmetic, left: f64, right: f64) -> f64 {
    match arithmetic {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        Arithmetic::Divide => left / right,
        Arithmetic::Remainder => left % right,
        Arithmetic::Power => left.powf(right),
    }
}

#[expect(clippy::float_cmp, reason = "that is what == means in an expression")]
fn holds(comparison: Comparison, left: f64, right: f64) -> bool {
    match comparison {
        Comparison::Equal => left == right,
        Comparison::NotEqual => left != right,
        Comparison::Less => left < right,
        Comparison::LessOrEqual => left <= right,
        Comparison::Greater => left > right,
        Comparison::GreaterOrEqual => left >= right,
    }
}

fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}
