//! PromQL: the part of it that says what an application's steady state is, with the results of Prometheus 3.
//!
//! A query is evaluated at one moment over the series of a [`Store`]. What is not in [`Query::read`]'s part of the language is
//! refused when it is read; nothing is replaced by something that is almost the same. The same expressions over the same
//! samples are held against a real Prometheus by `tests/promql_differential`.

mod aggregate;
mod binary;
mod check;
mod evaluate;
mod plan;
mod quantile;
mod range;
mod tokens;

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use super::series::{Labels, Selector, Store};
use crate::manifest::Position;
pub use plan::Need;
use plan::Plan;

/// The longest expression, in bytes.
pub const MAX_BYTES: usize = 4096;

/// How deep an expression may be nested.
pub const MAX_DEPTH: usize = 64;

/// How far an expression may look back, range and offset together.
pub const MAX_WINDOW: Duration = Duration::from_hours(1);

/// An expression that can be evaluated.
#[derive(Clone, Debug)]
pub struct Query {
    text: String,
    plan: Plan,
}

/// What an expression comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One number.
    Scalar(f64),
    /// A value for each series, in no order; no two with the same labels.
    Vector(Vec<Sample>),
}

/// The value of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Which series.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

/// Why an expression cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The place in the expression.
    pub position: Position,
    /// What is the matter.
    pub what: String,
    /// What to write instead.
    pub cure: String,
}

impl Refusal {
    fn new(text: &str, at: usize, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { position: tokens::position(text, at), what: what.into(), cure: cure.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.position.line, self.position.column, self.what, self.cure)
    }
}

impl std::error::Error for Refusal {}

impl Query {
    /// Reads an expression: instant selectors with all matchers, ranges within functions, `offset`, the functions and
    /// aggregations that its errors list, arithmetic, comparisons and set operators with `on`, `ignoring`, `group_left` and
    /// `group_right`. Not: `@`, subqueries, texts as values, native histograms.
    pub fn read(text: &str) -> Result<Self, Refusal> {
        Ok(Self { text: text.to_owned(), plan: check::read(text)? })
    }

    /// What was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its value at `at`, in milliseconds since 1970. Fails as Prometheus does where series cannot be told apart.
    pub fn evaluate(&self, store: &Store, at: i64) -> Result<Value, String> {
        evaluate::Evaluation::new(store, at).value(&self.plan)
    }

    /// What it needs, in the order of its text.
    pub fn needs(&self) -> Vec<Need<'_>> {
        let mut needs = Vec::new();
        self.plan.selectors(&mut |need| needs.push(need));
        needs
    }

    /// How many milliseconds it looks back: what a store must keep beside the last value of each series.
    pub fn window(&self) -> i64 {
        self.needs().iter().map(|need| need.back).max().unwrap_or_default()
    }
}

/// Which metrics some queries need, to pass over all others while a scrape is read.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    names: HashSet<String>,
    /// Those that do not name one metric.
    others: Vec<Selector>,
}

impl Wanted {
    /// What `queries` need.
    pub fn new<'q>(queries: impl IntoIterator<Item = &'q Query>) -> Self {
        let mut wanted = Self::default();
        for need in queries.into_iter().flat_map(Query::needs) {
            match need.selector.name() {
                Some(name) => drop(wanted.names.insert(name.to_owned())),
                None => wanted.others.push(need.selector.clone()),
            }
        }
        wanted
    }

    /// Whether a metric of this name is needed.
    pub fn wants(&self, metric: &str) -> bool {
        self.names.contains(metric) || self.others.iter().any(|selector| selector.wants(metric))
    }
}

#[cfg(test)]
mod tests;
