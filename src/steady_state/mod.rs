//! The steady state: what the application itself measures, read from its `/metrics` and shown while faults come and go.
//!
//! A [`dashboard`] is a file: which pods to ask, and panels of [PromQL](promql) expressions over what they answer, which is kept in
//! a [store](series) of as much as they look back. Once a second a [`board`] evaluates them, and what comes out is a [`frame`]: all
//! that a screen needs to know.

pub mod board;
pub mod dashboard;
pub mod discovery;
pub mod exposition;
pub mod frame;
pub mod promql;
pub mod scrape;
pub mod series;
