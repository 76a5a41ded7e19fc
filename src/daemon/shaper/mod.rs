//! Delay, loss and the rest where the kernel has no netem: a process that packets are handed to by a netfilter queue.
//!
//! Two halves, in two processes. [`Shaper`] is the daemon's; the other one, [`run`], is a child of the daemon that
//! holds the packets, so that neither its death nor its hanging can harm the daemon, and the daemon's death ends it.
//! Whatever ends it, the kernel unbinds its queues, and the rules let packets pass that nobody serves.
//!
//! * [`model`] – what becomes of a packet, as netem would decide (pure)
//! * `packet` – what must be known of it (pure)
//! * `engine`, `pod`, `queue` – the child: waits, sends
//! * `handle`, `protocol` – the daemon's side, and what is said

use std::io;

use super::sys::netlink::NetlinkError;
use super::sys::netns::NetNsError;

mod engine;
mod handle;
pub mod model;
mod packet;
mod pod;
mod protocol;
mod queue;

pub use engine::run;
pub use handle::Shaper;
pub use protocol::QueueSpec;

/// The hidden verb that a shaper is started by.
pub const VERB: &str = "shaper";

/// Which way the packets of a queue go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Direction {
    /// Out of the pod: the queue is at the postrouting hook. A copy waits and is sent when it is due, since a packet that
    /// itself waits counts against its sender's buffer, and TCP stops sending.
    Egress,
    /// Into the pod: the queue is at the input hook. The packet itself waits in the kernel.
    Ingress,
}

/// What a queue did since it was bound, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// That came.
    pub seen: u64,
    /// Delivered, as copies or themselves, duplicates too.
    pub delivered: u64,
    /// Lost on purpose.
    pub lost: u64,
    /// Duplicates made.
    pub duplicated: u64,
    /// In which a bit was flipped.
    pub corrupted: u64,
    /// Dropped because too many waited, or too much memory was in use.
    pub overflowed: u64,
    /// Whose copy the kernel did not take, or which it had dropped itself while they waited.
    pub failed: u64,
    /// That themselves waited in the kernel although a copy is the rule.
    pub held: u64,
    /// That wait now.
    pub waiting: u64,
}

/// What became of packets that waited when their queue was given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Drained {
    /// Delivered at once.
    pub delivered: u64,
    /// Dropped, because the kernel did not take them or time was over.
    pub dropped: u64,
}

/// Why the shaper does not do it.
#[derive(Debug, thiserror::Error)]
pub enum ShaperError {
    /// The process cannot be started.
    #[error("cannot start the shaper")]
    Start(#[source] io::Error),
    /// The process has ended, or it was ended because it did not answer. What it did is undone.
    #[error("the shaper is gone: {0}")]
    Gone(String),
    /// The pod's network namespace cannot be entered.
    #[error(transparent)]
    NetNs(#[from] NetNsError),
    /// A queue cannot be bound. `EPERM`: another program has it.
    #[error(transparent)]
    Queue(#[from] NetlinkError),
    /// There are no raw sockets to send with.
    #[error("cannot open a raw socket: this takes CAP_NET_RAW over the network namespace")]
    RawSocket(#[source] io::Error),
}
