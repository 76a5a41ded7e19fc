//! A plan at one moment.

use std::collections::HashSet;

use super::plan::{Aggregation, Binary, Function, Plan, RangeFunction, Side};
use super::range::seconds;
use super::{Sample, Value, aggregate, binary, quantile, range};
use crate::steady_state::series::Store;

/// Where and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evaluation<'s> {
    store: &'s Store,
    at: i64,
}

impl<'s> Evaluation<'s> {
    pub(super) const fn new(store: &'s Store, at: i64) -> Self {
        Self { store, at }
    }

    pub(super) fn value(self, plan: &Plan) -> Result<Value, String> {
        if plan.is_scalar() {
            self.number(plan).map(Value::Scalar)
        } else {
            self.vector(plan).map(Value::Vector)
        }
    }

    /// The number that a plan comes to; not a number for what is none.
    fn number(self, plan: &Plan) -> Result<f64, String> {
        match plan {
            Plan::Number(number) => Ok(*number),
            Plan::Time => Ok(seconds(self.at)),
            Plan::Scalar(of) => match self.vector(of)?.as_slice() {
                [one] => Ok(one.value),
                _ => Ok(f64::NAN),
            },
            Plan::Map { function, of } => Ok(map(*function, self.number(of)?)),
            Plan::Binary(binary) => {
                Ok(binary::numbers(binary.operation, self.number(&binary.left)?, self.number(&binary.right)?))
            }
            _ => Ok(f64::NAN),
        }
    }

    fn vector(self, plan: &Plan) -> Result<Vec<Sample>, String> {
        match plan {
            Plan::Number(_) | Plan::Time | Plan::Scalar(_) => Ok(Vec::new()),
            Plan::Select { selector, offset } => {
                let at = self.at.saturating_sub(*offset);
                let views = self.store.select(selector);
                Ok(views
                    .filter_map(|view| Some(Sample { labels: view.labels().clone(), value: view.at(at)? }))
                    .collect())
            }
            Plan::Range { function, selector, range, offset } => {
                let at = self.at.saturating_sub(*offset);
                let mut samples = Vec::new();
                let values = self.store.select(selector).filter_map(|view| {
                    view.range(at.saturating_sub(*range), at, &mut samples);
                    let value = range::value(*function, &samples, *range, at)?;
                    let labels = view.labels();
                    // The last value is still that of the metric; all others are something else.
                    let keeps_name = *function == RangeFunction::Last;
                    Some(Sample {
                        labels: if keeps_name { labels.clone() } else { labels.without_name() },
                        value,
                    })
                });
                distinct(values.collect())
            }
            Plan::Map { function, of } => self.mapped(of, |value| map(*function, value)),
            Plan::Clamp { of, least, most } => {
                let bound =
                    |plan: &Option<Box<Plan>>| plan.as_ref().map(|plan| self.number(plan)).transpose();
                let (least, most) = (bound(least)?, bound(most)?);
                if least.zip(most).is_some_and(|(least, most)| most < least) {
                    return Ok(Vec::new());
                }
                self.mapped(of, |value| {
                    let value = most.map_or(value, |most| lesser(most, value));
                    least.map_or(value, |least| -lesser(-least, -value))
                })
            }
            Plan::Quantile { quantile, of } => {
                let quantile = self.number(quantile)?;
                Ok(quantile::of_samples(quantile, self.vector(of)?))
            }
            Plan::Vector(of) => {
                let labels = crate::steady_state::series::Labels::empty();
                Ok(vec![Sample { labels, value: self.number(of)? }])
            }
            Plan::Aggregate { aggregation, grouping, of } => {
                let count = match aggregation {
                    Aggregation::Top(count) | Aggregation::Bottom(count) => self.number(count)?,
                    _ => f64::NAN,
                };
                Ok(aggregate::aggregate(aggregation, grouping, self.vector(of)?, count))
            }
            Plan::Binary(binary) => self.binary(binary),
        }
    }

    fn mapped(self, of: &Plan, with: impl Fn(f64) -> f64) -> Result<Vec<Sample>, String> {
        let samples = self.vector(of)?.into_iter();
        distinct(
            samples
                .map(|Sample { labels, value }| Sample { labels: labels.without_name(), value: with(value) })
                .collect(),
        )
    }

    fn binary(self, binary: &Binary) -> Result<Vec<Sample>, String> {
        let Binary { left, right, operation, matching } = binary;
        let samples = match (left.is_scalar(), right.is_scalar()) {
            (false, false) => binary::vectors(*operation, matching, self.vector(left)?, self.vector(right)?)?,
            (false, true) => {
                binary::vector_and_number(*operation, self.vector(left)?, self.number(right)?, Side::Left)
            }
            (true, false) => {
                binary::vector_and_number(*operation, self.vector(right)?, self.number(left)?, Side::Right)
            }
            (true, true) => Vec::new(),
        };
        distinct(samples)
    }
}

/// Refuses a vector with two series of the same labels, as Prometheus does: nobody could tell which is which.
fn distinct(samples: Vec<Sample>) -> Result<Vec<Sample>, String> {
    let mut seen = HashSet::with_capacity(samples.len());
    match samples.iter().find(|sample| !seen.insert(&sample.labels)) {
        Some(twice) => {
            Err(format!("several series would be {}; name one metric, or aggregate them", twice.labels))
        }
        None => Ok(samples),
    }
}

fn map(function: Function, value: f64) -> f64 {
    match function {
        Function::Negate => -value,
        Function::Abs => value.abs(),
        Function::Ceil => value.ceil(),
        Function::Floor => value.floor(),
        Function::Exp => value.exp(),
        Function::Ln => value.ln(),
        Function::Log2 => value.log2(),
        Function::Log10 => value.log10(),
        Function::Sqrt => value.sqrt(),
        Function::Sgn if value > 0.0 => 1.0,
        Function::Sgn if value < 0.0 => -1.0,
        Function::Sgn => value,
    }
}

/// The lesser of two; not a number if one is none, unlike `f64::min`.
fn lesser(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}
