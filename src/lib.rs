//! Squall: a chaos console for Kubernetes.

pub mod api;
pub mod controller;
pub mod experiment;
