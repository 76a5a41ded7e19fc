//! The steady state: what the application itself measures, read from its `/metrics` and shown while faults come and go.
//!
//! A [`dashboard`] is a file: which pods to ask, and panels of PromQL expressions over what they answer. Once a second its
//! expressions are evaluated, and what comes out is a [`frame`]: all that a screen needs to know.

pub mod dashboard;
pub mod frame;
pub mod promql;
pub mod series;
