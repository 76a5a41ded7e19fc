//! The algebra of network faults: what a pod's network should look like, as plain data.
//!
//! Pure: no file system, no sockets, no clock. `daemon::sys` turns the data into netlink messages.

pub mod netem;
pub mod partition;
pub mod qdisc;
pub mod table;
