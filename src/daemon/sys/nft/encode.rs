//! A table plan as one `nf_tables` transaction. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::netlink::{APPEND, Builder, CREATE, Message};
use super::expression::Expression;
#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "the kernel's own names of one header"))]
use super::uapi::*;
use crate::network::table::{
    Action, Address, AddressSet, Chain, ChainKind, Family, Hook, IpVersion, Match, Members, PlanError, Rule,
    TablePlan, Transport, successor,
};

/// Elements in one message: their list is one attribute, whose length has 16 bits, and one element takes at most
/// 36 bytes.
const ELEMENTS_PER_MESSAGE: usize = 1_000;

/// One element of a set as the kernel stores it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    /// Address in network byte order.
    pub key: Vec<u8>,
    /// Whether the address is the first one behind an interval.
    pub interval_end: bool,
}

/// Encodes the replacement of a table: it is made if absent (else deleting it would fail), deleted with all that
/// it holds, and made anew. The kernel does all of it or nothing, and packets see the old rules or the new ones.
pub(super) fn replace(plan: &TablePlan) -> Result<Vec<Message>, PlanError> {
    plan.check()?;
    let encoder = Encoder { plan };
    let mut messages =
        vec![begin(), encoder.table(false), delete(plan.family, &plan.name), encoder.table(true)];
    messages.extend(plan.chains.iter().map(|chain| encoder.chain(chain)));
    for (set, id) in plan.sets.iter().zip(1..) {
        messages.push(encoder.set(set, id));
        messages.extend(encoder.elements(set, id));
    }
    for chain in &plan.chains {
        messages.extend(chain.rules.iter().map(|rule| encoder.rule(chain, rule)));
    }
    messages.push(end());
    Ok(messages)
}

/// Encodes the deletion of a table as a transaction.
pub(super) fn removal(family: Family, name: &str) -> Vec<Message> {
    vec![begin(), delete(family, name), end()]
}

/// A request about `nf_tables` objects of a family (`NFPROTO_*`).
pub(super) fn message(kind: u16, flags: u16, family: u8, attributes: Builder) -> Message {
    Message { kind: SUBSYSTEM << 8 | kind, flags, payload: nfgenmsg(family, 0, attributes) }
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

/// What the kernel is to hold for a set, sorted.
pub(super) fn set_elements(set: &AddressSet) -> Vec<Element> {
    let element = |address, interval_end| Element { key: octets(address), interval_end };
    let mut elements: Vec<_> = match set.members() {
        Members::Hosts(hosts) => hosts.into_iter().map(|host| element(host, false)).collect(),
        // The end is the address behind the range. A range up to the very last address has none: it stays open.
        Members::Ranges(ranges) => ranges
            .into_iter()
            .flat_map(|(first, last)| {
                [Some(element(first, false)), successor(last).map(|next| element(next, true))]
            })
            .flatten()
            .collect(),
    };
    elements.sort_unstable();
    elements
}

/// The set's flags (`NFT_SET_*`).
pub(super) fn set_flags(set: &AddressSet) -> u32 {
    match set.members() {
        Members::Hosts(_) => 0,
        Members::Ranges(_) => NFT_SET_INTERVAL,
    }
}

/// What the kernel is to run for a rule.
pub(super) fn rule_expressions(plan: &TablePlan, rule: &Rule) -> Vec<Expression> {
    let mut expressions = Vec::new();
    let mut guarded = plan.family != Family::Inet;
    for condition in &rule.matches {
        if let Match::Source(address) | Match::Destination(address) = condition
            && let Some(version) = plan.version(address)
            && !guarded
        {
            // In an inet table the bytes at an address's place are something else in the other version.
            let protocol = family_number(version_family(version));
            expressions.extend(meta_is(NFT_META_NFPROTO, &[protocol]));
            guarded = true;
        }
        match_expressions(plan, condition, &mut expressions);
    }
    if rule.counter {
        expressions.push(Expression::Counter { packets: 0, bytes: 0 });
    }
    action_expressions(plan.family, &rule.action, &mut expressions);
    expressions
}

fn match_expressions(plan: &TablePlan, condition: &Match, out: &mut Vec<Expression>) {
    match condition {
        Match::InInterface(name) => out.extend(meta_is(NFT_META_IIFNAME, &interface(name))),
        Match::OutInterface(name) => out.extend(meta_is(NFT_META_OIFNAME, &interface(name))),
        Match::Source(address) => address_expressions(plan, address, End::Source, out),
        Match::Destination(address) => address_expressions(plan, address, End::Destination, out),
        Match::Mark(mark) => out.extend(meta_is(NFT_META_MARK, &mark.to_ne_bytes())),
        Match::Protocol(protocol) => out.extend(meta_is(NFT_META_L4PROTO, &[protocol_number(*protocol)])),
        Match::SourcePort(port) => out.extend(port_is(0, *port)),
        Match::DestinationPort(port) => out.extend(port_is(2, *port)),
        Match::Random { modulus, equals } => {
            out.push(Expression::Random { modulus: *modulus });
            out.push(Expression::Equal { value: equals.to_ne_bytes().to_vec() });
        }
    }
}

/// Which end of a packet an address is compared with.
#[derive(Clone, Copy)]
enum End {
    Source,
    Destination,
}

fn address_expressions(plan: &TablePlan, address: &Address, end: End, out: &mut Vec<Expression>) {
    let Some(version) = plan.version(address) else { return };
    // Places of the addresses: RFC 791 §3.1, RFC 8200 §3.
    let (offset, length) = match (version, end) {
        (IpVersion::V4, End::Source) => (12, 4),
        (IpVersion::V4, End::Destination) => (16, 4),
        (IpVersion::V6, End::Source) => (8, 16),
        (IpVersion::V6, End::Destination) => (24, 16),
    };
    out.push(Expression::Payload { base: NFT_PAYLOAD_NETWORK_HEADER, offset, length });
    match address {
        Address::Set(name) => out.push(Expression::Lookup { set: name.clone() }),
        Address::Network(network) => {
            if network.prefix_len() < network.max_prefix_len() {
                out.push(Expression::Bitwise { mask: octets(network.netmask()) });
            }
            out.push(Expression::Equal { value: octets(IpNet::trunc(network).addr()) });
        }
    }
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
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
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

fn nfgenmsg(family: u8, resource: u16, attributes: Builder) -> Vec<u8> {
    let [high, low] = resource.to_be_bytes();
    let mut payload = vec![family, 0, high, low]; // nfgen_family, version NFNETLINK_V0, res_id
    payload.extend(attributes.finish());
    payload
}

fn begin() -> Message {
    batch(NFNL_MSG_BATCH_BEGIN)
}

fn end() -> Message {
    batch(NFNL_MSG_BATCH_END)
}

fn batch(kind: u16) -> Message {
    Message { kind, flags: 0, payload: nfgenmsg(NFPROTO_UNSPEC, SUBSYSTEM, Builder::default()) }
}

fn delete(family: Family, name: &str) -> Message {
    let attributes = Builder::default().string(NFTA_TABLE_NAME, name);
    message(NFT_MSG_DELTABLE, 0, family_number(family), attributes)
}

struct Encoder<'a> {
    plan: &'a TablePlan,
}

impl Encoder<'_> {
    fn message(&self, kind: u16, flags: u16, attributes: Builder) -> Message {
        message(kind, flags, family_number(self.plan.family), attributes)
    }

    /// The flags must be those that the table has when it exists: the kernel refuses to change its ownership.
    fn table(&self, with_userdata: bool) -> Message {
        let flags = if self.plan.owned { NFT_TABLE_F_OWNER } else { 0 };
        let mut attributes =
            Builder::default().string(NFTA_TABLE_NAME, &self.plan.name).be32(NFTA_TABLE_FLAGS, flags);
        if with_userdata && !self.plan.userdata.is_empty() {
            attributes = attributes.bytes(NFTA_TABLE_USERDATA, &self.plan.userdata);
        }
        self.message(NFT_MSG_NEWTABLE, 0, attributes)
    }

    fn set(&self, set: &AddressSet, id: u32) -> Message {
        let (kind, length) = match set.version {
            IpVersion::V4 => (TYPE_IPADDR, 4),
            IpVersion::V6 => (TYPE_IP6ADDR, 16),
        };
        let attributes = Builder::default()
            .string(NFTA_SET_TABLE, &self.plan.name)
            .string(NFTA_SET_NAME, &set.name)
            .be32(NFTA_SET_FLAGS, set_flags(set))
            .be32(NFTA_SET_KEY_TYPE, kind)
            .be32(NFTA_SET_KEY_LEN, length)
            .be32(NFTA_SET_ID, id);
        self.message(NFT_MSG_NEWSET, CREATE, attributes)
    }

    fn elements(&self, set: &AddressSet, id: u32) -> Vec<Message> {
        let elements = set_elements(set);
        elements.chunks(ELEMENTS_PER_MESSAGE).map(|chunk| self.element_list(set, id, chunk)).collect()
    }

    fn element_list(&self, set: &AddressSet, id: u32, elements: &[Element]) -> Message {
        let mut list = Builder::default();
        for element in elements {
            let key = Builder::default().bytes(NFTA_DATA_VALUE, &element.key);
            let mut attributes = Builder::default();
            if element.interval_end {
                attributes = attributes.be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
            }
            list = list.nest(NFTA_LIST_ELEM, &attributes.nest(NFTA_SET_ELEM_KEY, &key));
        }
        let attributes = Builder::default()
            .string(NFTA_SET_ELEM_LIST_TABLE, &self.plan.name)
            .string(NFTA_SET_ELEM_LIST_SET, &set.name)
            .be32(NFTA_SET_ELEM_LIST_SET_ID, id)
            .nest(NFTA_SET_ELEM_LIST_ELEMENTS, &list);
        self.message(NFT_MSG_NEWSETELEM, CREATE, attributes)
    }

    fn chain(&self, chain: &Chain) -> Message {
        let hook = Builder::default()
            .be32(NFTA_HOOK_HOOKNUM, hook_number(chain.hook))
            .bytes(NFTA_HOOK_PRIORITY, &chain.priority.to_be_bytes());
        let attributes = Builder::default()
            .string(NFTA_CHAIN_TABLE, &self.plan.name)
            .string(NFTA_CHAIN_NAME, &chain.name)
            .string(NFTA_CHAIN_TYPE, kind_name(chain.kind))
            .be32(NFTA_CHAIN_POLICY, NF_ACCEPT)
            .nest(NFTA_CHAIN_HOOK, &hook);
        self.message(NFT_MSG_NEWCHAIN, CREATE, attributes)
    }

    fn rule(&self, chain: &Chain, rule: &Rule) -> Message {
        let mut list = Builder::default();
        for expression in rule_expressions(self.plan, rule) {
            list = list.nest(NFTA_LIST_ELEM, &expression.encode(|set| self.set_id(set)));
        }
        let mut attributes = Builder::default()
            .string(NFTA_RULE_TABLE, &self.plan.name)
            .string(NFTA_RULE_CHAIN, &chain.name)
            .nest(NFTA_RULE_EXPRESSIONS, &list);
        if let Some(comment) = &rule.comment {
            attributes = attributes.bytes(NFTA_RULE_USERDATA, &comment_userdata(comment));
        }
        self.message(NFT_MSG_NEWRULE, CREATE | APPEND, attributes)
    }

    /// The number by which a set of the same transaction is found, given in the order of the plan.
    fn set_id(&self, name: &str) -> Option<u32> {
        self.plan.sets.iter().zip(1..).find(|(set, _)| set.name == name).map(|(_, id)| id)
    }
}

/// User data in libnftnl's form, so that `nft list` shows the comment: type, length, text with NUL.
fn comment_userdata(comment: &str) -> Vec<u8> {
    let mut data = vec![UDATA_RULE_COMMENT, u8::try_from(comment.len() + 1).unwrap_or(u8::MAX)];
    data.extend(comment.as_bytes());
    data.push(0);
    data
}
