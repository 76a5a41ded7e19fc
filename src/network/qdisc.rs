//! The queueing disciplines of a shaped interface as data: a root that sorts packets into bands, and a netem in
//! each band that is in use.

use std::collections::BTreeMap;

use super::netem::Netem;

/// Major number of the root: `ca05:`. By it our disciplines are known from all others.
pub const ROOT_MAJOR: u16 = 0xca05;

/// Most bands of a prio qdisc (`TCQ_PRIO_BANDS`, `linux/pkt_sched.h`).
pub const BANDS: u8 = 16;

/// The tree of one interface: `prio` with [`BANDS`] bands as the root, handle `ca05:`. Band 1 takes what no rule
/// sent elsewhere; a packet whose priority is `ca05:N` goes to band N.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QdiscTree {
    /// What happens in each band in use, by its number from 2 to [`BANDS`].
    pub bands: BTreeMap<u8, Netem>,
}

/// The priority (`skb->priority`, `TC_H_MAKE`) that sends a packet to this band.
pub const fn priority(band: u8) -> u32 {
    (ROOT_MAJOR as u32) << 16 | band as u32
}
