//! What the network of a pod looked like before we touched it, so that "as before" can be proved afterwards.
//!
//! Compared are queueing disciplines, and the `nf_tables` tables that are not ours with their chains and rules.
//! Left out is what changes by itself: counts, set elements, handles. Rules of the old iptables interface
//! (`iptables-legacy`) are not seen.

use std::collections::BTreeSet;

use super::hex::hex;
use super::netlink::{NetlinkError, Socket};
use super::netns::{NetNs, NetNsError};
use super::nft::{self, NftError};
use super::tc::{self, Qdisc};
use crate::network::table::NAME_PREFIX;

/// One line for each thing, in a fixed form: small enough for a journal and readable in a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Fingerprint {
    lines: BTreeSet<String>,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum FingerprintError {
    /// The namespace could not be entered.
    #[error(transparent)]
    NetNs(#[from] NetNsError),
    /// The queueing disciplines could not be listed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The tables could not be listed.
    #[error(transparent)]
    Nft(#[from] NftError),
}

/// Takes the fingerprint of a network namespace.
pub fn fingerprint(namespace: &NetNs) -> Result<Fingerprint, FingerprintError> {
    let (mut netfilter, mut route) = namespace.sockets()?;
    Fingerprint::take(&mut route, &mut netfilter)
}

impl Fingerprint {
    /// Takes the fingerprint of the namespace that both sockets belong to.
    pub fn take(route: &mut Socket, netfilter: &mut Socket) -> Result<Self, FingerprintError> {
        Self::with_qdiscs(&tc::list_qdiscs(route)?, netfilter)
    }

    /// The same, of queueing disciplines that were listed before.
    pub fn with_qdiscs(qdiscs: &[Qdisc], netfilter: &mut Socket) -> Result<Self, FingerprintError> {
        let mut lines: BTreeSet<_> = qdiscs.iter().map(qdisc_line).collect();
        lines.extend(nft::foreign_lines(netfilter, NAME_PREFIX)?);
        Ok(Self { lines })
    }

    /// What is gone and what is new in `later`; nothing if they are equal.
    pub fn difference(&self, later: &Self) -> Option<String> {
        let gone = self.lines.difference(&later.lines).map(|line| ("gone", line));
        let new = later.lines.difference(&self.lines).map(|line| ("new", line));
        let mut text = String::new();
        for (what, line) in gone.chain(new) {
            let separator = if text.is_empty() { "" } else { "; " };
            text.extend([separator, what, ": ", line]);
        }
        (!text.is_empty()).then_some(text)
    }
}

fn qdisc_line(qdisc: &Qdisc) -> String {
    let Qdisc { interface, parent, handle, kind, options } = qdisc;
    let mut options = options.clone();
    // htb keeps a count of packets among its options: `direct_pkts`, the last field of `struct tc_htb_glob`, which
    // comes first in a TCA_HTB_INIT.
    if let (true, Some(count)) = (kind == "htb", options.get_mut(20..24)) {
        count.fill(0);
    }
    let options = hex(&options);
    format!("qdisc interface {interface} parent {parent:08x} handle {handle:08x} {kind} {options}")
}
