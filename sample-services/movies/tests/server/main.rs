//! The movies server over loopback, with the database stand-in behind it.

#![cfg(test)]

mod api;
mod outage;
mod system;
