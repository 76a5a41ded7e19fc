//! A table plan in the kernel's terms: its numbers, the content of its sets, the instructions of its rules.
//!
//! Pure. Both what is sent and what is expected back come from here.

use std::net::IpAddr;

use ipnet::IpNet;

use super::digest::Digest;
use super::expression::Expression;
#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "the kernel's own names of one header"))]
use super::uapi::*;
use crate::network::table::{
    Action, Address, AddressSet, ChainKind, Family, Hook, IpVersion, Match, Members, Rule, TablePlan,
    Transport, successor,
};

/// One element of a set as the kernel stores it. Plain values: sets have thousands, and each is made and read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    /// Address. Those of one set are of one version.
    pub key: IpAddr,
    /// Whether the address is the first one behind an interval.
    pub interval_end: bool,
}

/// A set as the kernel is to hold it.
pub(super) struct CompiledSet {
    /// The plan's name and a digest of the content, so that another content has another name: the rules of a
    /// running table go over to a new set in one step, and a set that stays the same is not sent again.
    pub(super) name: String,
    pub(super) version: IpVersion,
    /// `NFT_SET_*`.
    pub(super) flags: u32,
    /// Sorted.
    pub(super) elements: Vec<Element>,
}

impl CompiledSet {
    fn new(set: &AddressSet) -> Self {
        let element = |address, interval_end| Element { key: address, interval_end };
        let (flags, mut elements): (_, Vec<_>) = match set.members() {
            Members::Hosts(hosts) => (0, hosts.into_iter().map(|host| element(host, false)).collect()),
            // The end is the address behind the range. A range up to the very last address has none: it stays open.
            Members::Ranges(ranges) => {
                let ends = |(first, last)| {
                    [Some(element(first, false)), successor(last).map(|next| element(next, true))]
                };
                (NFT_SET_INTERVAL, ranges.into_iter().flat_map(ends).flatten().collect())
            }
        };
        elements.sort_unstable();
        let mut digest = Digest::default();
        digest.add(&[family_number(version_family(set.version))]); // a set without members has no other mark of it
        digest.add(&flags.to_le_bytes());
        for element in &elements {
            with_octets(element.key, |key| digest.add(key));
            digest.add(&[element.interval_end.into()]);
        }
        let name = format!("{}-{:016x}", set.name, digest.value());
        Self { name, version: set.version, flags, elements }
    }
}

/// A plan with its sets compiled, in the plan's order.
pub(super) struct Compiled<'a> {
    pub(super) plan: &'a TablePlan,
    pub(super) sets: Vec<CompiledSet>,
}

impl<'a> Compiled<'a> {
    pub(super) fn new(plan: &'a TablePlan) -> Self {
        Self { plan, sets: plan.sets.iter().map(CompiledSet::new).collect() }
    }

    /// What the kernel is to run for a rule.
    pub(super) fn expressions(&self, rule: &Rule) -> Vec<Expression> {
        let mut expressions = Vec::new();
        let mut guarded = self.plan.family != Family::Inet;
        for condition in &rule.matches {
            if let Match::Source(address) | Match::Destination(address) = condition
                && let Some(version) = self.plan.version(address)
                && !guarded
            {
                // In an inet table the bytes at an address's place are something else in the other version.
                let protocol = family_number(version_family(version));
                expressions.extend(meta_is(NFT_META_NFPROTO, &[protocol]));
                guarded = true;
            }
            self.match_expressions(condition, &mut expressions);
        }
        if rule.counter {
            expressions.push(Expression::Counter { packets: 0, bytes: 0 });
        }
        action_expressions(self.plan.family, &rule.action, &mut expressions);
        expressions
    }

    fn match_expressions(&self, condition: &Match, out: &mut Vec<Expression>) {
        match condition {
            Match::InInterface(name) => out.extend(meta_is(NFT_META_IIFNAME, &interface(name))),
            Match::OutInterface(name) => out.extend(meta_is(NFT_META_OIFNAME, &interface(name))),
            Match::Source(address) => self.address_expressions(address, End::Source, out),
            Match::Destination(address) => self.address_expressions(address, End::Destination, out),
            Match::Mark(mark) => out.extend(meta_is(NFT_META_MARK, &mark.to_ne_bytes())),
            Match::MarkBits { mask, set } => {
                out.push(Expression::Meta { key: NFT_META_MARK });
                out.push(Expression::Bitwise { mask: mask.to_ne_bytes().to_vec() });
                let expected = if *set { *mask } else { 0 };
                out.push(Expression::Equal { value: expected.to_ne_bytes().to_vec() });
            }
            Match::Protocol(protocol) => out.extend(meta_is(NFT_META_L4PROTO, &[protocol_number(*protocol)])),
            Match::SourcePort(port) => out.extend(port_is(0, *port)),
            Match::DestinationPort(port) => out.extend(port_is(2, *port)),
            Match::Random { modulus, equals } => {
                out.push(Expression::Random { modulus: *modulus });
                out.push(Expression::Equal { value: equals.to_ne_bytes().to_vec() });
            }
        }
    }

    fn address_expressions(&self, address: &Address, end: End, out: &mut Vec<Expression>) {
        let Some(version) = self.plan.version(address) else { return };
        // Places of the addresses: RFC 791 §3.1, RFC 8200 §3.
        let (offset, length) = match (version, end) {
            (IpVersion::V4, End::Source) => (12, 4),
            (IpVersion::V4, End::Destination) => (16, 4),
            (IpVersion::V6, End::Source) => (8, 16),
            (IpVersion::V6, End::Destination) => (24, 16),
        };
        out.push(Expression::Payload { base: NFT_PAYLOAD_NETWORK_HEADER, offset, length });
        match address {
            Address::Set(name) => {
                let sets = self.plan.sets.iter().zip(&self.sets);
                let compiled =
                    sets.filter(|(set, _)| set.name == *name).map(|(_, compiled)| compiled.name.clone());
                out.extend(compiled.map(|set| Expression::Lookup { set }));
            }
            Address::Network(network) => {
                if network.prefix_len() < network.max_prefix_len() {
                    out.push(Expression::Bitwise { mask: octets(network.netmask()) });
                }
                out.push(Expression::Equal { value: octets(IpNet::trunc(network).addr()) });
            }
        }
    }
}

/// Which end of a packet an address is compared with.
#[derive(Clone, Copy)]
enum End {
    Source,
    Destination,
}

fn action_expressions(family: Family, action: &Action, out: &mut Vec<Expression>) {
    match *action {
        Action::Accept => out.push(Expression::Verdict { code: NF_ACCEPT }),
        Action::Drop => out.push(Expression::Verdict { code: NF_DROP }),
        Action::Reject => {
            let (kind, code) = match family {
                Family::Inet => (NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_PORT_UNREACH),
                Family::Ip => (NFT_REJECT_ICMP_UNREACH, ICMP_PORT_UNREACH),
                Family::Ip6 => (NFT_REJECT_ICMP_UNREACH, ICMPV6_PORT_UNREACH),
            };
            out.push(Expression::Reject { kind, code });
        }
        Action::Dnat { address, port } => {
            out.push(Expression::Immediate { register: NFT_REG_1, value: octets(address) });
            out.push(Expression::Immediate { register: NFT_REG_2, value: port.to_be_bytes().to_vec() });
            let family = family_number(version_family(IpVersion::of(address)));
            out.push(Expression::Dnat { family: family.into() });
        }
        Action::Queue { number, flavour } => out.push(Expression::Queue { number, flavour }),
        Action::NoTrack => out.push(Expression::NoTrack),
        Action::SetPriority(priority) => {
            out.push(Expression::Immediate { register: NFT_REG_1, value: priority.to_ne_bytes().to_vec() });
            out.push(Expression::SetMeta { key: NFT_META_PRIORITY });
            out.push(Expression::Verdict { code: NF_ACCEPT });
        }
    }
}

fn meta_is(key: u32, value: &[u8]) -> [Expression; 2] {
    [Expression::Meta { key }, Expression::Equal { value: value.to_vec() }]
}

fn port_is(offset: u32, port: u16) -> [Expression; 2] {
    [
        Expression::Payload { base: NFT_PAYLOAD_TRANSPORT_HEADER, offset, length: 2 },
        Expression::Equal { value: port.to_be_bytes().to_vec() },
    ]
}

/// The name with all the NULs behind it that the kernel compares: only then is it the whole name.
fn interface(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(IFNAMSIZ, 0);
    bytes
}

fn octets(address: IpAddr) -> Vec<u8> {
    with_octets(address, <[u8]>::to_vec)
}

/// Lends an address in network byte order.
pub(super) fn with_octets<T>(address: IpAddr, lend: impl FnOnce(&[u8]) -> T) -> T {
    match address {
        IpAddr::V4(address) => lend(&address.octets()),
        IpAddr::V6(address) => lend(&address.octets()),
    }
}

fn version_family(version: IpVersion) -> Family {
    match version {
        IpVersion::V4 => Family::Ip,
        IpVersion::V6 => Family::Ip6,
    }
}

/// `IPPROTO_*` (RFC 9293, RFC 768).
fn protocol_number(protocol: Transport) -> u8 {
    match protocol {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    }
}

/// The family's number (`NFPROTO_*`).
pub(super) fn family_number(family: Family) -> u8 {
    match family {
        Family::Inet => NFPROTO_INET,
        Family::Ip => NFPROTO_IPV4,
        Family::Ip6 => NFPROTO_IPV6,
    }
}

/// The hook's number (`NF_INET_*`).
pub(super) fn hook_number(hook: Hook) -> u32 {
    match hook {
        Hook::Prerouting => 0,
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    }
}

/// The chain type's name in the kernel.
pub(super) fn kind_name(kind: ChainKind) -> &'static str {
    match kind {
        ChainKind::Filter => "filter",
        ChainKind::Nat => "nat",
    }
}
