//! Numbers of the kernel's headers: linux/rtnetlink.h, `linux/if_link.h`, `linux/pkt_sched.h`, `linux/gen_stats.h`.

use crate::network::qdisc::ROOT_MAJOR;

pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_NEWQDISC: u16 = 36;
pub(super) const RTM_DELQDISC: u16 = 37;
pub(super) const RTM_GETQDISC: u16 = 38;
pub(super) const RTM_GETTFILTER: u16 = 46;

/// Put it in the place of what is there.
pub(super) const NLM_F_REPLACE: u16 = 0x100;
/// Refuse if something is there.
pub(super) const NLM_F_EXCL: u16 = 0x200;

/// Size of `struct tcmsg`.
pub(super) const TCMSG: usize = 20;
/// Size of `struct ifinfomsg`.
pub(super) const IFINFOMSG: usize = 16;

pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
pub(super) const IFLA_EXT_MASK: u16 = 29;
/// The least that can be asked for: without the attribute it would be the same.
pub(super) const RTEXT_FILTER_VF: u32 = 1;

pub(super) const TCA_KIND: u16 = 1;
pub(super) const TCA_OPTIONS: u16 = 2;
pub(super) const TCA_STATS2: u16 = 7;
pub(super) const TCA_STAB: u16 = 8;
pub(super) const TCA_DUMP_INVISIBLE: u16 = 10;
pub(super) const TCA_INGRESS_BLOCK: u16 = 13;
pub(super) const TCA_EGRESS_BLOCK: u16 = 14;

pub(super) const TCA_STATS_BASIC: u16 = 1;
pub(super) const TCA_STATS_QUEUE: u16 = 3;
pub(super) const TCA_STATS_PKT64: u16 = 8;

/// `TCA_CODEL_TARGET`, `_INTERVAL` and `_CE_THRESHOLD`.
pub(super) const CODEL_TIMES: [u16; 3] = [1, 3, 5];
/// `TCA_FQ_CODEL_TARGET`, `_INTERVAL` and `_CE_THRESHOLD`.
pub(super) const FQ_CODEL_TIMES: [u16; 3] = [1, 3, 7];

/// Parent of the qdisc of an interface.
pub(super) const TC_H_ROOT: u32 = 0xffff_ffff;
/// Parent of `ingress` and `clsact`, which stand beside the root.
pub(super) const TC_H_INGRESS: u32 = 0xffff_fff1;

/// `TC_H_MAKE`.
pub(super) const fn handle(major: u16, minor: u16) -> u32 {
    (major as u32) << 16 | minor as u32
}

/// `TC_H_MAJ`, moved down.
pub(super) const fn major(handle: u32) -> u16 {
    (handle >> 16) as u16
}

/// Handle of our root.
pub(super) const ROOT: u32 = handle(ROOT_MAJOR, 0);

/// Handle of the netem of a band. Not the root's, and another for each: a qdisc's handle is its own on an interface.
pub(super) const fn leaf(band: u8) -> u32 {
    handle(0xca10 + band as u16, 0)
}
