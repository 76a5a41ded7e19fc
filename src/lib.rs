//! Squall: a chaos console for Kubernetes.

pub mod apiserver;
pub mod client;
