//! Queueing disciplines: what a network namespace has, read over rtnetlink (linux/rtnetlink.h, `linux/pkt_sched.h`).

use super::netlink::{Attribute, Builder, Message, NetlinkError, Reply, Socket};

const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_DUMP_INVISIBLE: u16 = 10;
/// Size of `struct tcmsg`.
const TCMSG: usize = 20;

/// One queueing discipline, without its statistics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Qdisc {
    /// Index of the interface that it serves.
    pub interface: i32,
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
    let replies = socket.dump("list queueing disciplines", &request())?;
    let mut qdiscs: Vec<_> = replies.iter().filter_map(parse).collect();
    qdiscs.sort_unstable();
    Ok(qdiscs)
}

fn request() -> Message {
    let payload = Builder::after(&[0; TCMSG]).bytes(TCA_DUMP_INVISIBLE, &[]).finish();
    Message { kind: RTM_GETQDISC, flags: 0, payload }
}

fn parse(reply: &Reply) -> Option<Qdisc> {
    if reply.kind != RTM_NEWQDISC {
        return None;
    }
    // struct tcmsg: family and padding, ifindex, handle, parent, info
    let number = |offset: usize| Some(*reply.payload.get(offset..)?.first_chunk::<4>()?);
    let attributes = reply.attributes(TCMSG);
    Some(Qdisc {
        interface: i32::from_ne_bytes(number(4)?),
        handle: u32::from_ne_bytes(number(8)?),
        parent: u32::from_ne_bytes(number(12)?),
        kind: attributes.find(TCA_KIND).and_then(Attribute::string)?,
        options: attributes.find(TCA_OPTIONS).map(|options| options.value.to_vec()).unwrap_or_default(),
    })
}
