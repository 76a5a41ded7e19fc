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

#[cfg(test)]
mod tests {
    use super::super::hex::hex;
    use super::*;

    // strace -e trace=sendto -e write=3 tc qdisc show invisible (iproute2 6.1)
    #[test]
    fn request_is_byte_for_byte_the_one_of_tc() {
        let mut bytes = Vec::new();
        request().write(0x300, 0x6b02_c8f3, &mut bytes);
        let golden = "2800000026000103f3c8026b00000000000000000000000000000000000000000000000004000a00";
        assert_eq!(hex(&bytes), golden);
    }

    // unshare -rn sh -c 'tc qdisc add dev lo root handle 7: pfifo limit 9; strace -e trace=recvmsg -e read=3 tc
    // qdisc show' (Linux 6.18), as far as TCA_OPTIONS
    #[test]
    fn answer_is_read() {
        #[rustfmt::skip]
        let payload = vec![
            0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0,
            10, 0, 1, 0, b'p', b'f', b'i', b'f', b'o', 0, 0, 0,
            8, 0, 2, 0, 9, 0, 0, 0,
        ];
        let qdisc = parse(&Reply { kind: RTM_NEWQDISC, payload: payload.clone() }).unwrap();
        let expected = Qdisc {
            interface: 1,
            parent: 0xffff_ffff,
            handle: 0x0007_0000,
            kind: "pfifo".into(),
            options: vec![9, 0, 0, 0],
        };
        assert_eq!(qdisc, expected);
        assert_eq!(parse(&Reply { kind: 0, payload: payload.clone() }), None);
        assert_eq!(parse(&Reply { kind: RTM_NEWQDISC, payload: payload[..15].to_vec() }), None);
    }
}
