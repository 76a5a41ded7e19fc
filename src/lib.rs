//! Squall: a chaos console for Kubernetes.
