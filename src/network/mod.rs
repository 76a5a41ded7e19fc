//! The algebra of network faults: what a pod's network should look like, as plain data.
//!
//! Pure: no file system, no sockets, no clock. `daemon::sys` turns the data into netlink messages.

pub mod netem;
pub mod partition;
pub mod qdisc;
pub mod table;

/// The mark of packets that a shaper sends again (`SO_MARK`); no queue may take them a second time. The highest bits
/// are nobody's: Kubernetes uses 0x4000 and 0x8000, network plugins the lower half.
pub const RESENT_MARK: u32 = 0x4000_0000;
