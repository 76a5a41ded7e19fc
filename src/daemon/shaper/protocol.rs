//! What the daemon and its shaper say to each other: one message each way, as JSON.

use crate::network::netem::Netem;

use super::{Counts, Direction, Drained};

/// What a queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct QueueSpec {
    /// Its number in the pod's network namespace.
    pub number: u16,
    /// Which way its packets go.
    pub direction: Direction,
    /// What happens to them.
    pub netem: Netem,
}

/// What the daemon asks for.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) enum Request {
    /// Whether the shaper's loop still turns.
    Ping,
    /// The queues of a pod are to be exactly these.
    Serve {
        /// Names the pod.
        pod: String,
        /// All of its queues.
        queues: Vec<QueueSpec>,
        /// Whether the first descriptors are the pod's raw sockets, and how many.
        raw_sockets: usize,
        /// The queues whose sockets are the descriptors behind those.
        bound: Vec<u16>,
    },
    /// What the queues of a pod did so far.
    Counts {
        /// Names the pod.
        pod: String,
    },
}

/// What the shaper answers.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) enum Answer {
    /// To a ping.
    Pong,
    /// The queues are as asked for; what waited in those that are no more.
    Served(Drained),
    /// By queue.
    Counts(Vec<(u16, Counts)>),
    /// It could not be done.
    Refused(String),
}
