//! The database sample service.
