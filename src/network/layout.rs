//! How a pod's plan is made: one `nf_tables` table, a tree of queueing disciplines per interface, queues of the
//! shaper.
//!
//! One table for a pod, whatever number of experiments act on it: they come and go in any order and the
//! layout depends only on which of them are there.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::netem::{Chance, JITTER_MOST, Netem};
use super::plan::{NetworkPlan, Side};
use super::qdisc::{self, QdiscTree};
use super::shaping::{self, Class};
use super::table::{
    Action, Address, AddressSet, Chain, ChainKind, Family, Hook, IpVersion, Match, QueueFlavour, Rule,
    TablePlan, Transport,
};
use super::{RESENT_MARK, stable_hash};
use crate::api::{NetworkEffect, Peer};

/// The name of a pod's table.
pub const TABLE: &str = "squall_pod";

/// Before connection tracking, so that a dropped packet leaves no trace there (`NF_IP_PRI_RAW`).
const DROP_PRIORITY: i32 = -300;

/// Before that chain: a packet that is sent again must not meet connection tracking a second time.
const RESENT_PRIORITY: i32 = -310;

/// Last of all (`NF_IP_PRI_CONNTRACK_HELPER`): addresses are as on the wire, and what others drop is not shaped.
const SHAPE_PRIORITY: i32 = 300;

/// First number of the shaper's queues; they have 1,024 numbers of a network namespace's 65,536.
const QUEUES_FROM: u16 = 0xca00;

/// Numbers of queues.
const QUEUES: u16 = 0x400;

/// What the kernel has for shaping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backends {
    /// The qdiscs netem and prio: for what leaves a pod.
    pub netem: bool,
    /// Packets can be handed to the shaper, in this way: for what reaches a pod, and where there is no netem.
    pub queue: Option<QueueFlavour>,
}

/// Everything that makes a plan true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The table.
    pub table: TablePlan,
    /// Trees of queueing disciplines by interface.
    pub qdiscs: BTreeMap<String, QdiscTree>,
    /// Queues that the shaper serves.
    pub queues: Vec<Queue>,
}

/// One queue of the shaper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its number in the pod's network namespace.
    pub number: u16,
    /// The direction of its packets.
    pub side: Side,
    /// What happens to them.
    pub netem: Netem,
}

/// Why a plan cannot be made on this kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A fault's blocks cannot be read.
    #[error("the fault makes no sense: {0}")]
    Shaping(String),
    /// The kernel can neither shape what leaves a pod nor hand it to the shaper.
    #[error("this kernel cannot shape packets that {}", match side { Side::Egress => "leave a pod", Side::Ingress => "reach a pod" })]
    NoBackend {
        /// The direction of the packets.
        side: Side,
    },
    /// More combinations of faults than there are numbers of queues.
    #[error("{0} different combinations of network faults on one pod are more than {QUEUES}")]
    TooMany(usize),
}

/// The layout of a plan.
///
/// # Errors
/// When the kernel lacks what the plan needs.
pub fn layout(plan: &NetworkPlan, backends: Backends) -> Result<Layout, LayoutError> {
    let classes = shaping::classes(plan).map_err(LayoutError::Shaping)?;
    let sent = destinations(&classes, backends)?;
    let mut builder = Builder::default();
    for side in Side::ALL {
        for fault in plan.faults() {
            let Some(rule) = side.rule(&fault.end).filter(|rule| rule.action == NetworkEffect::Drop) else {
                continue;
            };
            let comment = comment(&fault.label);
            builder.rules(
                Place::Drop(side),
                &fault.end.device,
                rule.peers.as_deref(),
                &Action::Drop,
                &comment,
            );
        }
        builder.exempt(Place::Drop(side), plan);
    }
    let mut layout_of = (BTreeMap::<String, QdiscTree>::new(), Vec::new());
    for (class, destination) in classes.iter().zip(&sent) {
        let action = match *destination {
            Destination::Band(band) => {
                layout_of.0.entry(class.device.clone()).or_default().bands.insert(band, class.netem);
                Action::SetPriority(qdisc::priority(band))
            }
            Destination::Queue(number, flavour) => {
                layout_of.1.push(Queue { number, side: class.side, netem: class.netem });
                Action::Queue { number, flavour }
            }
        };
        let labels: Vec<&str> = class.labels.iter().map(String::as_str).collect();
        let place = Place::Shape(class.side);
        builder.rules(place, &class.device, class.peers.as_deref(), &action, &comment(&labels.join(" + ")));
    }
    for side in Side::ALL {
        builder.exempt(Place::Shape(side), plan);
    }
    let (qdiscs, queues) = layout_of;
    Ok(Layout { table: builder.finish(&queues), qdiscs, queues })
}

impl Layout {
    /// The same table with nothing that reaches a queue: what it is before the last packets are taken out of them.
    /// Its chains stay, because the kernel drops all packets in queues when a chain goes.
    #[must_use]
    pub fn without_queues(&self) -> TablePlan {
        let mut table = self.table.clone();
        for chain in &mut table.chains {
            chain.rules.retain(|rule| !matches!(rule.action, Action::Queue { .. }));
        }
        table
    }
}

/// Where the packets of a class go.
#[derive(Clone, Copy)]
enum Destination {
    Band(u8),
    Queue(u16, QueueFlavour),
}

/// A destination for each class. A class has the same number as long as it exists, unless two want the same one: other
/// faults can come and go without a packet that is shaped as another.
fn destinations(classes: &[Class], backends: Backends) -> Result<Vec<Destination>, LayoutError> {
    let bands = u64::from(qdisc::BANDS) - 1;
    let fits = fits_netem(classes);
    let mut used: BTreeSet<(&str, u64)> = BTreeSet::new();
    // The order of the labels and not that of the rules: it does not change when a class joins.
    let mut order: Vec<(usize, &Class)> = classes.iter().enumerate().collect();
    order.sort_by_key(|(_, class)| (class.side, &class.device, &class.labels));
    let mut found = Vec::new();
    for (index, class) in order {
        let by_netem = class.side == Side::Egress && backends.netem && (fits || backends.queue.is_none());
        let (scope, numbers) = if by_netem { (class.device.as_str(), bands) } else { ("", QUEUES.into()) };
        let labels: Vec<&str> = class.labels.iter().map(String::as_str).collect();
        let wish = stable_hash(&format!("{:?} {} {}", class.side, class.device, labels.join("\n")));
        let free = (0..numbers)
            .map(|step| wish.wrapping_add(step) % numbers)
            .find(|number| !used.contains(&(scope, *number)));
        let number = free.ok_or(LayoutError::TooMany(classes.len()))?;
        used.insert((scope, number));
        let small = u16::try_from(number).unwrap_or(u16::MAX);
        let destination = match (by_netem, backends.queue) {
            // Band 1 takes what no rule sends elsewhere.
            (true, _) => Destination::Band(u8::try_from(number).unwrap_or(u8::MAX).saturating_add(2)),
            (false, Some(flavour)) => Destination::Queue(QUEUES_FROM.saturating_add(small), flavour),
            (false, None) => return Err(LayoutError::NoBackend { side: class.side }),
        };
        found.push((index, destination));
    }
    found.sort_by_key(|(index, _)| *index);
    Ok(found.into_iter().map(|(_, destination)| destination).collect())
}

/// Whether netem can do it: an interface has so many bands; a netem that duplicates may have no other beside it (it
/// would duplicate into that, and kernels refuse it); and its jitter is a number of 32 bits.
fn fits_netem(classes: &[Class]) -> bool {
    let mut by_device: BTreeMap<&str, Vec<&Class>> = BTreeMap::new();
    for class in classes.iter().filter(|class| class.side == Side::Egress) {
        by_device.entry(&class.device).or_default().push(class);
    }
    by_device.values().all(|classes| {
        let duplicates = classes.iter().any(|class| class.netem.duplicate != Chance::default());
        classes.len() < usize::from(qdisc::BANDS)
            && !(duplicates && classes.len() > 1)
            && classes.iter().all(|class| class.netem.jitter <= JITTER_MOST)
    })
}

/// A chain of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Drop(Side),
    Shape(Side),
}

impl Place {
    const fn side(self) -> Side {
        match self {
            Self::Drop(side) | Self::Shape(side) => side,
        }
    }

    fn chain(self, rules: Vec<Rule>) -> Chain {
        let (name, hook, priority) = match self {
            Self::Drop(Side::Egress) => ("egress", Hook::Output, DROP_PRIORITY),
            Self::Drop(Side::Ingress) => ("ingress", Hook::Prerouting, DROP_PRIORITY),
            Self::Shape(Side::Egress) => ("shape-egress", Hook::Postrouting, SHAPE_PRIORITY),
            Self::Shape(Side::Ingress) => ("shape-ingress", Hook::Input, SHAPE_PRIORITY),
        };
        Chain { name: name.to_owned(), kind: ChainKind::Filter, hook, priority, rules }
    }
}

impl Side {
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
    rules: BTreeMap<Place, Vec<Rule>>,
}

impl Builder {
    /// Rules that do this to the packets of these peers, or of everybody.
    fn rules(&mut self, place: Place, device: &str, peers: Option<&[Peer]>, action: &Action, comment: &str) {
        let side = place.side();
        let device = side.device(device);
        let Some(peers) = peers else {
            self.push(place, vec![device], action, comment);
            return;
        };
        for ((port, version), networks) in by_port_and_version(peers) {
            let matches = vec![device.clone(), side.peer(Address::Set(self.set(version, networks)))];
            match port {
                None => self.push(place, matches, action, comment),
                Some(port) => {
                    for transport in [Transport::Tcp, Transport::Udp] {
                        let more = [Match::Protocol(transport), side.port(port)];
                        self.push(place, matches.iter().cloned().chain(more).collect(), action, comment);
                    }
                }
            }
        }
    }

    /// The name of the set of these peers. Rules of both directions share one: it is sent, kept and read back once.
    fn set(&mut self, version: IpVersion, networks: Vec<IpNet>) -> String {
        if let Some(set) = self.sets.iter().find(|set| set.version == version && set.networks == networks) {
            return set.name.clone();
        }
        let name = format!("peers{}", self.sets.len());
        self.sets.push(AddressSet { name: name.clone(), version, networks });
        name
    }

    fn push(&mut self, place: Place, matches: Vec<Match>, action: &Action, comment: &str) {
        let rule = Rule { matches, action: action.clone(), counter: true, comment: Some(comment.to_owned()) };
        self.rules.entry(place).or_default().push(rule);
    }

    /// Before all other rules of a place that has any: what is never touched.
    fn exempt(&mut self, place: Place, plan: &NetworkPlan) {
        let Some(rules) = self.rules.get_mut(&place) else { return };
        let mut accept: BTreeMap<IpVersion, Vec<IpNet>> = BTreeMap::new();
        for network in plan.exempt() {
            accept.entry(version(&network)).or_default().push(network);
        }
        for (version, networks) in accept {
            let name = format!("exempt{}", if version == IpVersion::V4 { 4 } else { 6 });
            let matches = vec![place.side().peer(Address::Set(name.clone()))];
            rules.insert(0, Rule { matches, action: Action::Accept, counter: false, comment: None });
            if self.sets.iter().all(|set| set.name != name) {
                self.sets.push(AddressSet { name, version, networks });
            }
        }
    }

    fn finish(mut self, queues: &[Queue]) -> TablePlan {
        let mut chains = Vec::new();
        let resent = queues.iter().any(|queue| queue.side == Side::Egress);
        let is_resent = || vec![Match::MarkBits { mask: RESENT_MARK, set: true }];
        let plain = |action| Rule { matches: is_resent(), action, counter: false, comment: None };
        // Chains for both sides of a kind, even if one is empty: what waits in a queue would be dropped when a chain goes.
        let shapes = self.rules.keys().any(|place| matches!(place, Place::Shape(_)));
        let places = [Side::Egress, Side::Ingress].map(Place::Drop).into_iter();
        let more = [Side::Egress, Side::Ingress].map(Place::Shape).into_iter().filter(|_| shapes);
        for place in places.chain(more) {
            let mut rules = self.rules.remove(&place).unwrap_or_default();
            if resent && place == Place::Shape(Side::Egress) {
                rules.insert(0, plain(Action::Accept));
            }
            chains.push(place.chain(rules));
        }
        if shapes {
            chains.push(Chain {
                name: "resent".to_owned(),
                kind: ChainKind::Filter,
                hook: Hook::Output,
                priority: RESENT_PRIORITY,
                rules: if resent { vec![plain(Action::NoTrack)] } else { Vec::new() },
            });
        }
        TablePlan {
            family: Family::Inet,
            name: TABLE.to_owned(),
            owned: true,
            userdata: Vec::new(),
            sets: self.sets,
            chains,
        }
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
#[path = "layout_tests.rs"]
mod tests;
