//! The merge of all network faults of one pod into one `nf_tables` table.
//!
//! One table for a pod, whatever number of experiments act on it: they come and go in any order and the
//! table depends only on which of them are there.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::table::{
    Action, Address, AddressSet, Chain, ChainKind, Family, Hook, IpVersion, Match, Rule, TablePlan, Transport,
};
use crate::api::{NetworkEffect, NetworkEnd, NetworkRule, Peer};

/// The name of a pod's table.
pub const TABLE: &str = "squall_pod";

/// Before connection tracking, so that a dropped packet leaves no trace there (`NF_IP_PRI_RAW`).
const PRIORITY: i32 = -300;

/// One fault that is to be in place on a pod.
#[derive(Clone, Copy, Debug)]
pub struct ActiveFault<'a> {
    /// Names the experiment in the kernel's listing.
    pub label: &'a str,
    /// What happens at this pod.
    pub end: &'a NetworkEnd,
    /// Networks that are never touched.
    pub exempt: &'a [IpNet],
}

/// The table that makes all of these faults, in whatever order they are given; `None` if nothing is to
/// be done.
pub fn table(faults: &[ActiveFault<'_>]) -> Option<TablePlan> {
    let mut faults: Vec<_> = faults.to_vec();
    faults.sort_by(|one, other| {
        (one.label, &one.end.selector_key).cmp(&(other.label, &other.end.selector_key))
    });
    let mut builder = Builder::default();
    for side in [Side::Egress, Side::Ingress] {
        for fault in &faults {
            let Some(rule) = side.rule(fault.end) else { continue };
            builder.rule(side, fault, rule);
        }
    }
    builder.finish(&faults)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Egress,
    Ingress,
}

impl Side {
    const fn rule(self, end: &NetworkEnd) -> Option<&NetworkRule> {
        match self {
            Self::Egress => end.egress.as_ref(),
            Self::Ingress => end.ingress.as_ref(),
        }
    }

    fn device(self, device: &str) -> Match {
        match self {
            Self::Egress => Match::OutInterface(device.to_owned()),
            Self::Ingress => Match::InInterface(device.to_owned()),
        }
    }

    /// The peer's address in the packet.
    const fn peer(self, address: Address) -> Match {
        match self {
            Self::Egress => Match::Destination(address),
            Self::Ingress => Match::Source(address),
        }
    }

    /// The peer's port in the packet.
    const fn port(self, port: u16) -> Match {
        match self {
            Self::Egress => Match::DestinationPort(port),
            Self::Ingress => Match::SourcePort(port),
        }
    }
}

#[derive(Default)]
struct Builder {
    sets: Vec<AddressSet>,
    egress: Vec<Rule>,
    ingress: Vec<Rule>,
}

impl Builder {
    fn rule(&mut self, side: Side, fault: &ActiveFault<'_>, rule: &NetworkRule) {
        let NetworkEffect::Drop = rule.action;
        let device = side.device(&fault.end.device);
        let Some(peers) = &rule.peers else {
            self.push(side, fault, vec![device]);
            return;
        };
        for ((port, version), networks) in by_port_and_version(peers) {
            let name = format!("peers{}", self.sets.len());
            self.sets.push(AddressSet { name: name.clone(), version, networks });
            let matches = vec![device.clone(), side.peer(Address::Set(name))];
            match port {
                None => self.push(side, fault, matches),
                Some(port) => {
                    for transport in [Transport::Tcp, Transport::Udp] {
                        let more = [Match::Protocol(transport), side.port(port)];
                        self.push(side, fault, matches.iter().cloned().chain(more).collect());
                    }
                }
            }
        }
    }

    fn push(&mut self, side: Side, fault: &ActiveFault<'_>, matches: Vec<Match>) {
        let rule = Rule { matches, action: Action::Drop, counter: true, comment: Some(comment(fault.label)) };
        match side {
            Side::Egress => self.egress.push(rule),
            Side::Ingress => self.ingress.push(rule),
        }
    }

    fn finish(mut self, faults: &[ActiveFault<'_>]) -> Option<TablePlan> {
        if self.egress.is_empty() && self.ingress.is_empty() {
            return None;
        }
        let exempt: Vec<IpNet> = faults.iter().flat_map(|fault| fault.exempt).copied().collect();
        let mut accept = BTreeMap::new();
        for network in exempt {
            accept.entry(version(&network)).or_insert_with(Vec::new).push(network);
        }
        for (version, networks) in accept {
            let name = format!("exempt{}", if version == IpVersion::V4 { 4 } else { 6 });
            for (side, rules) in [(Side::Egress, &mut self.egress), (Side::Ingress, &mut self.ingress)] {
                let matches = vec![side.peer(Address::Set(name.clone()))];
                rules.insert(0, Rule { matches, action: Action::Accept, counter: false, comment: None });
            }
            self.sets.push(AddressSet { name, version, networks });
        }
        let chain = |name: &str, hook, rules: Vec<Rule>| Chain {
            name: name.to_owned(),
            kind: ChainKind::Filter,
            hook,
            priority: PRIORITY,
            rules,
        };
        Some(TablePlan {
            family: Family::Inet,
            name: TABLE.to_owned(),
            owned: true,
            userdata: Vec::new(),
            sets: self.sets,
            chains: vec![
                chain("egress", Hook::Output, self.egress),
                chain("ingress", Hook::Prerouting, self.ingress),
            ],
        })
    }
}

/// Peers grouped so that one set serves each group.
fn by_port_and_version(peers: &[Peer]) -> BTreeMap<(Option<u16>, IpVersion), Vec<IpNet>> {
    let mut groups = BTreeMap::<_, Vec<IpNet>>::new();
    for peer in peers {
        groups.entry((peer.port, version(&peer.network))).or_default().push(peer.network);
    }
    for networks in groups.values_mut() {
        networks.sort_unstable();
        networks.dedup();
    }
    groups
}

const fn version(network: &IpNet) -> IpVersion {
    match network {
        IpNet::V4(_) => IpVersion::V4,
        IpNet::V6(_) => IpVersion::V6,
    }
}

/// A rule's comment holds 127 bytes; names of Kubernetes are ASCII, so a cut never splits a character.
fn comment(label: &str) -> String {
    label.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn end(egress: Option<Vec<Peer>>, ingress: Option<Vec<Peer>>) -> NetworkEnd {
        let rule = |peers| NetworkRule { action: NetworkEffect::Drop, peers: Some(peers) };
        NetworkEnd {
            selector_key: ".".into(),
            device: "eth0".into(),
            egress: egress.map(rule),
            ingress: ingress.map(rule),
        }
    }

    fn peer(network: &str, port: Option<u16>) -> Peer {
        Peer { network: network.parse().unwrap(), port }
    }

    fn fault<'a>(label: &'a str, end: &'a NetworkEnd, exempt: &'a [IpNet]) -> ActiveFault<'a> {
        ActiveFault { label, end, exempt }
    }

    #[test]
    fn nothing_active_is_no_table() {
        assert_eq!(table(&[]), None);
        assert_eq!(table(&[fault("a", &end(None, None), &[])]), None);
    }

    #[test]
    fn no_peers_named_means_everybody_and_an_empty_list_nobody() {
        let everybody = NetworkEnd {
            egress: Some(NetworkRule { action: NetworkEffect::Drop, peers: None }),
            ..end(None, None)
        };
        let plan = table(&[fault("a", &everybody, &[])]).unwrap();
        assert_eq!(plan.chains[0].rules[0].matches, [Match::OutInterface("eth0".into())]);
        assert_eq!(table(&[fault("a", &end(Some(vec![]), None), &[])]), None);
    }

    #[test]
    fn both_versions_ports_and_exemptions() {
        let end = end(
            Some(vec![peer("10.0.0.1/32", None), peer("fd00::1/128", None), peer("10.0.0.0/8", Some(80))]),
            Some(vec![peer("10.0.0.2/32", None)]),
        );
        let exempt = ["10.96.0.1/32".parse().unwrap()];
        let plan = table(&[fault("default/p", &end, &exempt)]).unwrap();
        let names: Vec<_> = plan.sets.iter().map(|set| (set.name.as_str(), set.version)).collect();
        assert_eq!(
            names,
            [
                ("peers0", IpVersion::V4),
                ("peers1", IpVersion::V6),
                ("peers2", IpVersion::V4),
                ("peers3", IpVersion::V4),
                ("exempt4", IpVersion::V4),
            ]
        );
        let actions =
            |chain: usize| plan.chains[chain].rules.iter().map(|r| r.action.clone()).collect::<Vec<_>>();
        // Exempt first; then IPv4, IPv6, and the port for TCP and for UDP.
        assert_eq!(actions(0), [Action::Accept, Action::Drop, Action::Drop, Action::Drop, Action::Drop]);
        assert_eq!(actions(1), [Action::Accept, Action::Drop]);
        assert_eq!(
            plan.chains[1].rules[1].matches,
            [Match::InInterface("eth0".into()), Match::Source(Address::Set("peers3".into()))]
        );
    }

    proptest! {
        #[test]
        fn order_does_not_matter(labels in prop::collection::btree_set("[a-e]", 1..5), seed: u64) {
            let ends: Vec<_> = labels.iter().enumerate()
                .map(|(n, _)| end(Some(vec![peer(&format!("10.0.0.{n}/32"), None)]), None)).collect();
            let faults: Vec<_> = labels.iter().zip(&ends).map(|(label, end)| fault(label, end, &[])).collect();
            let mut shuffled = faults.clone();
            let turn = usize::try_from(seed % shuffled.len() as u64).unwrap();
            shuffled.rotate_left(turn);
            shuffled.reverse();
            prop_assert_eq!(table(&faults), table(&shuffled));
        }
    }
}
