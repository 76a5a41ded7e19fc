//! Interfaces by their names.

use nix::errno::Errno;

use super::super::netlink::{Reply, Socket};
use super::TcError;
use super::messages;
use super::uapi::{IFINFOMSG, IFLA_MTU, RTM_NEWLINK};

/// An interface of a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index.
    pub index: u32,
    /// Most bytes of a packet that it takes.
    pub mtu: u32,
}

/// The interface of this name in the socket's network namespace, if there is one.
pub fn interface(socket: &mut Socket, name: &str) -> Result<Option<Interface>, TcError> {
    match socket.request(&format!("look for interface {name:?}"), &messages::link(name)) {
        Ok(replies) => Ok(replies.iter().find_map(Interface::parse)),
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Interface {
    pub(super) fn parse(reply: &Reply) -> Option<Self> {
        if reply.kind != RTM_NEWLINK {
            return None;
        }
        // struct ifinfomsg: family and padding, type, index, flags, change
        let index = u32::from_ne_bytes(*reply.payload.get(4..)?.first_chunk()?);
        let mtu = reply.attributes(IFINFOMSG).find(IFLA_MTU)?.value;
        Some(Self { index, mtu: u32::from_ne_bytes(mtu.try_into().ok()?) })
    }
}
