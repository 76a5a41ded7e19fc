//! Classes of packets: which shaping faults act on a packet together, and what they do to it.
//!
//! Each packet of a class is sent to one netem or one queue, so that several experiments on one peer add up
//! and each packet is shaped once. A class is a set of faults; its members are the peers that exactly
//! these faults name.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::netem::Netem;
use super::plan::{NetworkPlan, Side};
use crate::api::{NetworkEffect, Peer};

/// Packets that the same faults act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) side: Side,
    pub(super) device: String,
    /// Labels of the faults.
    pub(super) labels: BTreeSet<String>,
    /// The peers, or everybody. Several classes may name one address: the one with most faults is meant.
    pub(super) peers: Option<Vec<Peer>>,
    /// What all of the faults together do.
    pub(super) netem: Netem,
}

/// What one experiment does on one side of one device.
#[derive(Default)]
struct Group {
    netem: Netem,
    everybody: bool,
    peers: BTreeSet<Peer>,
    /// Lengths of the prefixes among the peers, so that only these are looked up.
    lengths: BTreeSet<u8>,
}

impl Group {
    /// Whether it acts on the traffic with this network, as far as one port or all of them go.
    fn names(&self, network: IpNet, port: Option<u16>) -> bool {
        let with = |network, port| self.peers.contains(&Peer { network, port });
        self.everybody
            || self.lengths.iter().filter(|length| **length <= network.prefix_len()).any(|length| {
                // An IPv6 length is no IPv4 one; what is not a prefix of this address is not a peer.
                let Ok(wider) = IpNet::new(network.addr(), *length).map(|wider| wider.trunc()) else {
                    return false;
                };
                with(wider, None) || port.is_some() && with(wider, port)
            })
    }
}

/// The classes of a plan. Those of one side and device stand in the order in which they must be tried: a class before
/// each one whose faults are among its own.
///
/// # Errors
/// A fault whose blocks cannot be read.
pub(super) fn classes(plan: &NetworkPlan) -> Result<Vec<Class>, String> {
    let mut classes = Vec::new();
    for ((side, device), groups) in groups(plan)? {
        let mut members: BTreeMap<BTreeSet<&str>, Vec<Peer>> = BTreeMap::new();
        for peer in atoms(&groups) {
            let labels = labels(&groups, peer.network, peer.port);
            // A port with nothing of its own goes with the other ports.
            if peer.port.is_none() || labels != self::labels(&groups, peer.network, None) {
                members.entry(labels).or_default().push(peer);
            }
        }
        let everywhere: BTreeSet<&str> =
            groups.iter().filter(|(_, group)| group.everybody).map(|(label, _)| *label).collect();
        let class = |labels: &BTreeSet<&str>, peers| Class {
            side,
            device: device.to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            peers,
            netem: labels
                .iter()
                .filter_map(|label| groups.get(label))
                .fold(Netem::default(), |all, group| all.and(group.netem)),
        };
        // Who is meant by the faults of everybody alone needs no list.
        members.remove(&everywhere);
        let mut of_device: Vec<_> =
            members.into_iter().map(|(labels, peers)| class(&labels, Some(peers))).collect();
        if !everywhere.is_empty() {
            of_device.push(class(&everywhere, None));
        }
        of_device.sort_by(|one, other| {
            other.labels.len().cmp(&one.labels.len()).then_with(|| one.labels.cmp(&other.labels))
        });
        classes.extend(of_device);
    }
    Ok(classes)
}

type Groups<'a> = BTreeMap<&'a str, Group>;

/// What each experiment shapes, by side and device. One experiment shapes a packet once, even if both of its
/// selectors picked this pod.
fn groups(plan: &NetworkPlan) -> Result<BTreeMap<(Side, &str), Groups<'_>>, String> {
    let mut all: BTreeMap<(Side, &str), Groups<'_>> = BTreeMap::new();
    for fault in plan.faults() {
        for side in Side::ALL {
            let Some(rule) = side.rule(&fault.end).filter(|rule| rule.action == NetworkEffect::Shape) else {
                continue;
            };
            let shaping = rule.shaping.as_ref().ok_or("the fault does not say how packets are shaped")?;
            let groups = all.entry((side, &fault.end.device)).or_default();
            let group = groups.entry(&fault.label).or_default();
            group.netem = Netem::of(shaping)?;
            group.everybody |= rule.peers.is_none();
            let peers = rule.peers.iter().flatten();
            let whole = |peer: &Peer| Peer { network: peer.network.trunc(), port: peer.port };
            group.peers.extend(peers.map(whole));
            group.lengths = group.peers.iter().map(|peer| peer.network.prefix_len()).collect();
        }
    }
    Ok(all)
}

/// Every network that is named, with all ports and with each port that is named anywhere.
fn atoms(groups: &Groups<'_>) -> BTreeSet<Peer> {
    let named = || groups.values().flat_map(|group| &group.peers);
    let ports: BTreeSet<Option<u16>> = named().map(|peer| peer.port).chain([None]).collect();
    named().flat_map(|peer| ports.iter().map(|port| Peer { network: peer.network, port: *port })).collect()
}

/// The experiments that act on the traffic with a network and port.
fn labels<'a>(groups: &Groups<'a>, network: IpNet, port: Option<u16>) -> BTreeSet<&'a str> {
    groups.iter().filter(|(_, group)| group.names(network, port)).map(|(label, _)| *label).collect()
}
