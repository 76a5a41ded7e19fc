//! Runs on every node: makes the node look like its Injections, and undoes faults on its own.

pub mod sys;
