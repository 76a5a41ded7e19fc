//! Queueing disciplines (qdiscs): what a network namespace has, and our trees of them, over rtnetlink.
//!
//! A tree stands at the root of an interface and is known by its handle `ca05:`, whichever process made it. Unlike
//! our tables it does not end with its socket: who makes one must see to its end.

use super::netlink::{Attribute, NetlinkError, Reply, Socket};
use super::netns::NetNsError;
use uapi::{RTM_NEWQDISC, TCA_KIND, TCA_OPTIONS, TCMSG};

mod link;
mod messages;
mod netem;
mod probe;
mod root;
mod tree;
mod uapi;

pub use link::{Interface, interface};
pub use netem::{NetemOptions, decode, encode};
pub use probe::{Support, probe};
pub use root::{Root, observe, observe_root, ours, remove};
pub use tree::{BandState, Difference, Statistics, TreeState, install, read_back};

/// What went wrong with a tree.
#[derive(Debug, thiserror::Error)]
pub enum TcError {
    /// Somebody shapes the interface already, in a way that could not be put back.
    #[error(
        "interface {interface} has {kind} {what}, which could not be put back afterwards: remove it (tc qdisc del \
         dev … root) or choose pods without it"
    )]
    Foreign {
        /// Index of the interface.
        interface: u32,
        /// The kind of the qdisc.
        kind: String,
        /// Where it is, and what is special about it.
        what: &'static str,
    },
    /// No such band in a tree.
    #[error("no packets can be shaped in band {0}")]
    Band(u8),
    /// A wait that netem would cut short.
    #[error("the kernel cannot do this: {0}; its jitter ends at 2.147 s")]
    TooLong(String),
    /// What was there before came back as something else.
    #[error("the root of interface {interface} should be {before:?} again and is {after:?}")]
    NotRestored {
        /// Index of the interface.
        interface: u32,
        /// What was there.
        before: Root,
        /// What is there.
        after: Root,
    },
    /// A new network namespace without its loopback.
    #[error("a new network namespace has no interface \"lo\"")]
    NoLoopback,
    /// The kernel did not do it.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A network namespace could not be made or entered.
    #[error(transparent)]
    NetNs(#[from] NetNsError),
}

/// One queueing discipline, without its statistics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Qdisc {
    /// Index of the interface that it serves.
    pub interface: u32,
    /// Place in the tree, major and minor number in one; `0xffffffff` is the root.
    pub parent: u32,
    /// Its own number; 0 for one that the kernel made by default.
    pub handle: u32,
    /// Name of its kind: "noqueue", "netem".
    pub kind: String,
    /// Its options as the kernel sent them. Sent back with kind and handle they make the same discipline again.
    pub options: Vec<u8>,
}

/// All queueing disciplines of the socket's network namespace, also those that `tc` hides by default.
pub fn list_qdiscs(socket: &mut Socket) -> Result<Vec<Qdisc>, NetlinkError> {
    Ok(qdiscs(&replies(socket)?))
}

fn qdiscs(replies: &[Reply]) -> Vec<Qdisc> {
    let mut qdiscs: Vec<_> = replies.iter().filter_map(parse).collect();
    qdiscs.sort_unstable();
    qdiscs
}

fn replies(socket: &mut Socket) -> Result<Vec<Reply>, NetlinkError> {
    socket.dump("list queueing disciplines", &messages::list())
}

fn parse(reply: &Reply) -> Option<Qdisc> {
    if reply.kind != RTM_NEWQDISC {
        return None;
    }
    // struct tcmsg: family and padding, ifindex, handle, parent, info
    let number = |offset: usize| Some(u32::from_ne_bytes(*reply.payload.get(offset..)?.first_chunk()?));
    let attributes = reply.attributes(TCMSG);
    Some(Qdisc {
        interface: number(4)?,
        handle: number(8)?,
        parent: number(12)?,
        kind: attributes.find(TCA_KIND).and_then(Attribute::string)?,
        options: attributes.find(TCA_OPTIONS).map(|options| options.value.to_vec()).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests;
