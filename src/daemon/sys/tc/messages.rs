//! The requests as the kernel wants them.

use super::super::netlink::{Builder, CREATE, Message};
use super::netem;
use super::uapi::{
    IFINFOMSG, IFLA_EXT_MASK, IFLA_IFNAME, NLM_F_EXCL, NLM_F_REPLACE, ROOT, RTEXT_FILTER_VF, RTM_DELQDISC,
    RTM_GETLINK, RTM_GETQDISC, RTM_GETTFILTER, RTM_NEWQDISC, TC_H_ROOT, TCA_DUMP_INVISIBLE, TCA_KIND,
    TCA_OPTIONS, TCMSG, handle, leaf,
};
use crate::network::netem::Netem;
use crate::network::qdisc::{BANDS, ROOT_MAJOR};

/// What to do about a qdisc that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// Refuse. One that the kernel made by itself does not count.
    Refuse,
    /// One of the same handle and kind is changed in place, any other one replaced.
    Replace,
}

/// All qdiscs of the namespace, also those that `tc` hides.
pub(super) fn list() -> Message {
    let payload = Builder::after(&[0; TCMSG]).bytes(TCA_DUMP_INVISIBLE, &[]).finish();
    Message { kind: RTM_GETQDISC, flags: 0, payload }
}

/// All filters at a qdisc.
pub(super) fn filters(interface: u32, parent: u32) -> Message {
    Message { kind: RTM_GETTFILTER, flags: 0, payload: tcmsg(interface, 0, parent) }
}

/// One interface, by its name.
pub(super) fn link(name: &str) -> Message {
    // struct ifinfomsg: the family is that of ip(8); the kernel does not look at it
    let mut header = [0; IFINFOMSG];
    header[0] = 17; // AF_PACKET
    let payload = Builder::after(&header)
        .string(IFLA_IFNAME, name)
        .bytes(IFLA_EXT_MASK, &RTEXT_FILTER_VF.to_ne_bytes())
        .finish();
    Message { kind: RTM_GETLINK, flags: 0, payload }
}

/// A qdisc of any kind. No options is not the same as empty ones.
pub(super) fn add(
    interface: u32,
    parent: u32,
    handle: u32,
    kind: &str,
    options: &[u8],
    existing: Existing,
) -> Message {
    let mut builder = Builder::after(&tcmsg(interface, handle, parent)).string(TCA_KIND, kind);
    if !options.is_empty() {
        builder = builder.bytes(TCA_OPTIONS, options);
    }
    let flags = match existing {
        Existing::Refuse => CREATE | NLM_F_EXCL,
        Existing::Replace => CREATE | NLM_F_REPLACE,
    };
    Message { kind: RTM_NEWQDISC, flags, payload: builder.finish() }
}

/// Our root.
pub(super) fn root(interface: u32, existing: Existing) -> Message {
    add(interface, TC_H_ROOT, ROOT, "prio", &prio_options(), existing)
}

/// The netem of a band, whether or not it is there.
pub(super) fn band(interface: u32, band: u8, netem: &Netem) -> Message {
    let parent = handle(ROOT_MAJOR, band.into());
    add(interface, parent, leaf(band), "netem", &netem::encode(netem), Existing::Replace)
}

/// Takes a qdisc away, if it has this handle.
pub(super) fn delete(interface: u32, parent: u32, handle: u32) -> Message {
    Message { kind: RTM_DELQDISC, flags: 0, payload: tcmsg(interface, handle, parent) }
}

/// `struct tc_prio_qopt`: every band there is, and the first of them for packets of every priority of the old kind.
pub(super) fn prio_options() -> Vec<u8> {
    let mut options = u32::from(BANDS).to_ne_bytes().to_vec();
    options.extend([0; 16]);
    options
}

/// `struct tcmsg`.
fn tcmsg(interface: u32, handle: u32, parent: u32) -> Vec<u8> {
    [0, interface, handle, parent, 0].iter().flat_map(|number| number.to_ne_bytes()).collect()
}
