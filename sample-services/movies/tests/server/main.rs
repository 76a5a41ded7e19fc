//! The movies server over loopback, with the database stand-in behind it.

mod api;
mod outage;
mod system;
