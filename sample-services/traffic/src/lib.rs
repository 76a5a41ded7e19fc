//! The traffic sample service.
