//! What an experiment would do to the cluster as it is now.
//!
//! The selection and the plan are the controller's own code over the same objects; here they are explained.

mod compute;
mod explain;
mod report;
mod subject;

pub use compute::report;
pub use report::{Change, Conflict, LeftOut, OnNode, OnTarget, Report, Verdict, Wrong};
pub use subject::{Cluster, Experiment, Subject};

#[cfg(test)]
mod tests;
