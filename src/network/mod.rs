//! The algebra of network faults: what a pod's network should look like, as plain data.
//!
//! Pure: no file system, no sockets, no clock. `daemon::sys` turns the data into netlink messages.

pub mod netem;
pub mod partition;
pub mod qdisc;
pub mod table;

/// The mark of packets that a shaper sends again (`SO_MARK`), which no queue may take a second time. It is seen within
/// the pod's network namespace alone: the kernel clears marks where a packet leaves one.
pub const RESENT_MARK: u32 = 0x4000_0000;
