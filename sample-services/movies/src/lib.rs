//! The movies sample service.
