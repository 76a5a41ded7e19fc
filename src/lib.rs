//! Squall: a chaos console for Kubernetes.

pub mod daemon;
pub mod network;
