//! Squall: a chaos console for Kubernetes.

pub mod api;
pub mod apiserver;
pub mod cli;
pub mod client;
pub mod manifest;
pub mod paths;
