//! What this kernel has, tried in a network namespace where nothing can be harmed.

use nix::errno::Errno;

use super::super::netlink::{Protocol, Socket};
use super::super::netns::NetNs;
use super::link::interface;
use super::messages::{self, Existing};
use super::uapi::{ROOT, TC_H_ROOT};
use super::{TcError, netem};
use crate::network::netem::Netem;

/// The kinds of qdiscs that a tree is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    /// netem: delay, loss and the like.
    pub netem: bool,
    /// prio: a class of packets for each netem.
    pub prio: bool,
}

impl Support {
    /// Whether trees can be made.
    pub const fn is_complete(self) -> bool {
        self.netem && self.prio
    }
}

/// Whether this kernel has what a tree is made of. The kernel may load modules for it.
pub fn probe() -> Result<Support, TcError> {
    let mut socket = NetNs::scratch()?.socket(Protocol::Route)?;
    // Every network namespace is born with it.
    let Some(loopback) = interface(&mut socket, "lo")? else { return Err(TcError::NoLoopback) };
    let netem = netem::encode(&Netem::default());
    Ok(Support {
        netem: exists(&mut socket, loopback.index, "netem", &netem)?,
        prio: exists(&mut socket, loopback.index, "prio", &messages::prio_options())?,
    })
}

fn exists(socket: &mut Socket, interface: u32, kind: &str, options: &[u8]) -> Result<bool, TcError> {
    let message = messages::add(interface, TC_H_ROOT, ROOT, kind, options, Existing::Refuse);
    match socket.request(&format!("try a qdisc of kind {kind}"), &message) {
        Ok(_) => {}
        Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let operation = format!("remove the tried qdisc of kind {kind}");
    socket.request(&operation, &messages::delete(interface, TC_H_ROOT, ROOT))?;
    Ok(true)
}
