//! Squall: a chaos console for Kubernetes.

pub mod api;
pub mod experiment;
