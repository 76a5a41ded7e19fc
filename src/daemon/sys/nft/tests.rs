use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;

use super::super::hex::{hex, unhex};
use super::super::netlink::{Attributes, Builder, Message};
use super::compile::{CompiledSet, hook_number, kind_name};
use super::encode::{installation, removal};
use super::read::{
    all_rules_of, chains_of, elements_of, parse_elements, rules_of, sets_of, table_of, tables_of,
};
use super::uapi::{
    NF_ACCEPT, NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_UNSPEC, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE,
    NFT_MSG_DELSET, NFT_MSG_DELTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWSET, NFT_MSG_NEWSETELEM,
    NFT_MSG_NEWTABLE, NFT_REG_1,
};
use super::*;
use crate::network::table::{
    Action, Address, AddressSet, Chain, ChainKind, Hook, IpVersion, Match, QueueFlavour, Rule, Transport,
};

fn set(name: &str, networks: &[&str]) -> AddressSet {
    let networks: Vec<IpNet> = networks.iter().map(|network| network.parse().unwrap()).collect();
    AddressSet { name: name.into(), version: IpVersion::of(networks[0].addr()), networks }
}

fn network(text: &str) -> Address {
    Address::Network(text.parse().unwrap())
}

fn member(set: &str) -> Address {
    Address::Set(set.into())
}

fn rule(matches: impl Into<Vec<Match>>, action: Action) -> Rule {
    Rule { matches: matches.into(), action, counter: false, comment: None }
}

fn chain(name: &str, hook: Hook, rules: impl Into<Vec<Rule>>) -> Chain {
    Chain { name: name.into(), kind: ChainKind::Filter, hook, priority: -300, rules: rules.into() }
}

fn dnat(address: &str, port: u16) -> Action {
    Action::Dnat { address: address.parse().unwrap(), port }
}

// The same as golden/table.nft.
fn plan() -> TablePlan {
    use Match::{
        Destination, DestinationPort, InInterface, Mark, OutInterface, Protocol, Random, Source, SourcePort,
    };
    let (tcp, udp) = (Protocol(Transport::Tcp), Protocol(Transport::Udp));
    let output = [
        Rule {
            counter: true,
            comment: Some("peers".into()),
            ..rule([Destination(member("hosts4"))], Action::Drop)
        },
        Rule { counter: true, ..rule([Destination(member("ranges6"))], Action::Drop) },
        rule([Mark(0xca05)], Action::Accept),
        rule(
            [
                OutInterface("eth0".into()),
                Destination(network("10.2.0.0/20")),
                tcp.clone(),
                DestinationPort(80),
            ],
            Action::Drop,
        ),
        rule([Destination(network("fd02::/52")), udp.clone(), SourcePort(53)], Action::Reject),
    ];
    let prerouting = [
        rule([InInterface("eth0".into()), Source(member("ranges4"))], Action::Drop),
        rule([Source(member("hosts6"))], Action::Drop),
        rule([Source(network("10.3.0.1/32")), Random { modulus: 3, equals: 2 }], Action::Drop),
    ];
    let nat = [
        rule([Destination(network("10.96.0.10/32")), udp, DestinationPort(53)], dnat("10.9.0.2", 5353)),
        rule([Destination(network("fd03::10/128")), tcp, DestinationPort(80)], dnat("fd04::2", 8080)),
    ];
    TablePlan {
        family: Family::Inet,
        name: "squall_golden".into(),
        owned: true,
        userdata: Vec::new(),
        sets: vec![
            set("hosts4", &["10.0.0.1/32", "10.0.0.2/32"]),
            set("ranges4", &["10.1.0.0/16", "192.168.0.0/23", "192.168.2.0/24"]),
            set("hosts6", &["fd00::1/128"]),
            set("ranges6", &["fd01::/64"]),
        ],
        chains: vec![
            chain("output", Hook::Output, output),
            chain("prerouting", Hook::Prerouting, prerouting),
            Chain { kind: ChainKind::Nat, priority: -100, ..chain("nat", Hook::Prerouting, nat) },
        ],
    }
}

fn bytes(messages: &[Message]) -> Vec<Vec<u8>> {
    let write = |(message, sequence): (&Message, u32)| {
        let mut bytes = Vec::new();
        message.write(0, sequence, &mut bytes);
        bytes
    };
    messages.iter().zip(0..).map(write).collect()
}

// The transaction that nft makes of golden/table.nft; how to repeat that stands in the file.
fn golden() -> Vec<Vec<u8>> {
    let lines = include_str!("golden/nft-1.0.6.hex").lines();
    lines.filter(|line| !line.starts_with('#')).map(unhex).collect()
}

// Message type without the subsystem.
fn kind(message: &[u8]) -> u16 {
    u16::from_ne_bytes([message[4], message[5]]) & 0xff
}

#[test]
fn transaction_is_byte_for_byte_the_one_of_nft() {
    let ours = bytes(&installation(&Compiled::new(&plan()), None));
    let golden = golden();
    assert_eq!(ours.len(), golden.len());
    let mut sizes = Vec::new();
    for (ours, golden) in ours.into_iter().zip(golden) {
        assert_eq!(kind(&ours), kind(&golden));
        match kind(&ours) {
            // nft adds hints for its own listing as user data, the last attribute.
            NFT_MSG_NEWSET => {
                let length = golden.len() - 12;
                assert_eq!(
                    Attributes::new(&golden[length..]).map(|hint| hint.kind).collect::<Vec<_>>(),
                    [13]
                );
                assert_eq!(ours[4..length], golden[4..length], "{}", hex(&golden));
                sizes.push(hex(&ours[length..]));
            }
            // nft numbers the elements in place of their type, and begins intervals with an end at address zero;
            // the kernel does without both.
            NFT_MSG_NEWSETELEM => {
                let elements =
                    |bytes: &[u8]| parse_elements(&Reply { kind: 0, payload: bytes[16..].to_vec() });
                let mut theirs = elements(&golden);
                theirs.retain(|element| !(element.interval_end && element.key.is_unspecified()));
                assert_eq!(elements(&ours), theirs);
            }
            _ => assert_eq!(hex(&ours), hex(&golden)),
        }
    }
    // NFTA_SET_DESC with NFTA_SET_DESC_SIZE: how many hosts there are, which nft does not tell.
    let hosts = |count: u8| format!("0c00098008000100{count:08x}");
    assert_eq!(sizes, [hosts(2), String::new(), hosts(1), String::new()]);
}

// These differ from nft's (see above). Checked by reading the elements back from the kernel, in tests/sys_network.rs.
#[test]
fn set_elements_have_their_bytes() {
    let transaction = bytes(&installation(&Compiled::new(&plan()), None));
    let mut elements = transaction.iter().filter(|message| kind(message) == NFT_MSG_NEWSETELEM);
    let list = |message: &[u8]| {
        let reply = Reply { kind: 0, payload: message[16..].to_vec() };
        let list = reply.attributes(4).find(3); // NFTA_SET_ELEM_LIST_ELEMENTS
        hex(list.unwrap().value)
    };
    let hosts4 = "10000180 0c000180 08000100 0a000001 10000180 0c000180 08000100 0a000002";
    let ranges4 = "10000180 0c000180 08000100 0a010000 \
        18000180 08000300 00000001 0c000180 08000100 0a020000 \
        10000180 0c000180 08000100 c0a80000 \
        18000180 08000300 00000001 0c000180 08000100 c0a80300";
    assert_eq!(list(elements.next().unwrap()), hex(&unhex(hosts4)));
    assert_eq!(list(elements.next().unwrap()), hex(&unhex(ranges4)));
}

fn layout(plan: &TablePlan) -> TableState {
    let compiled = Compiled::new(plan);
    let set = |set: &CompiledSet| SetState { name: set.name.clone(), flags: set.flags, elements: Vec::new() };
    let chain = |chain: &Chain| ChainState {
        name: chain.name.clone(),
        kind: kind_name(chain.kind).to_owned(),
        hook: Some((hook_number(chain.hook), chain.priority)),
        policy: Some(NF_ACCEPT),
        rules: Vec::new(),
    };
    TableState {
        family: plan.family,
        name: plan.name.clone(),
        owner: plan.owned.then_some(1),
        userdata: plan.userdata.clone(),
        sets: compiled.sets.iter().map(set).collect(),
        chains: plan.chains.iter().map(chain).collect(),
    }
}

#[test]
fn what_stays_is_not_sent_again() {
    let kinds = |plan: &TablePlan, existing: &TablePlan| {
        let messages = bytes(&installation(&Compiled::new(plan), Some(&layout(existing))));
        messages[1..messages.len() - 1].iter().map(|message| kind(message)).collect::<Vec<_>>()
    };
    let rules = [NFT_MSG_NEWRULE; 10];
    assert_eq!(kinds(&plan(), &plan()), [&[NFT_MSG_NEWTABLE, NFT_MSG_DELRULE], &rules[..]].concat());

    let mut other_set = plan();
    other_set.sets[0].networks.pop();
    let changes = [NFT_MSG_NEWTABLE, NFT_MSG_DELRULE, NFT_MSG_DELSET, NFT_MSG_NEWSET, NFT_MSG_NEWSETELEM];
    assert_eq!(kinds(&other_set, &plan()), [&changes, &rules[..]].concat());

    let empty = |network: &str| {
        let mut set = set("peers", &[network]);
        set.networks.clear();
        TablePlan { sets: vec![set], chains: Vec::new(), ..plan() }
    };
    let changes = [NFT_MSG_NEWTABLE, NFT_MSG_DELRULE, NFT_MSG_DELSET, NFT_MSG_NEWSET];
    assert_eq!(kinds(&empty("10.0.0.1/32"), &empty("fd00::1/128")), changes);

    let mut other_chain = plan();
    other_chain.chains[0].priority = -150;
    let changes = [NFT_MSG_NEWTABLE, NFT_MSG_DELRULE, NFT_MSG_DELCHAIN, NFT_MSG_NEWCHAIN];
    assert_eq!(kinds(&other_chain, &plan()), [&changes, &rules[..]].concat());

    let other_userdata = TablePlan { userdata: vec![1], ..plan() };
    let anew = kinds(&other_userdata, &plan());
    assert_eq!(anew[..4], [NFT_MSG_NEWTABLE, NFT_MSG_DELTABLE, NFT_MSG_NEWTABLE, NFT_MSG_NEWCHAIN]);
}

// nftables 1.0.6: strace -e trace=sendmsg -e write=3 nft "flush table inet sq_test; delete chain inet sq_test old;
// delete set inet sq_test abc"
#[test]
fn what_goes_is_deleted_byte_for_byte_as_nft_does() {
    let plan =
        TablePlan { name: "sq_test".into(), owned: false, sets: Vec::new(), chains: Vec::new(), ..plan() };
    let mut existing = layout(&plan);
    existing.sets.push(SetState { name: "abc".into(), flags: 0, elements: Vec::new() });
    let hook = Some((3, 0));
    existing.chains.push(ChainState {
        name: "old".into(),
        kind: "filter".into(),
        hook,
        policy: None,
        rules: vec![],
    });
    let ours = bytes(&installation(&Compiled::new(&plan), Some(&existing)));
    let expected = [
        "20000000080a01000200000000000000010000000c00010073715f7465737400",
        "28000000050a01000300000000000000010000000c00010073715f7465737400080003006f6c6400",
        "280000000b0a01000400000000000000010000000c00010073715f74657374000800020061626300",
    ];
    assert_eq!(ours[2..5].iter().map(|message| hex(message)).collect::<Vec<_>>(), expected);
}

// What nft sends to list a table "sq_test" with a set "abc", and to delete it. Only the flags and the sequence
// number are the socket's (see `netlink`) and left out. nftables 1.0.6: strace -e trace=sendto,sendmsg -e write=3
// nft list ruleset; nft list table inet sq_test; nft delete table inet sq_test
#[test]
fn requests_are_byte_for_byte_those_of_nft() {
    let (inet, name) = (NFPROTO_INET, "sq_test");
    let cases = [
        (tables_of(NFPROTO_UNSPEC), "14000000 010a 00000000"),
        (table_of(inet, name), "20000000 010a 01000000 0c00010073715f7465737400"),
        (chains_of(NFPROTO_UNSPEC), "14000000 040a 00000000"),
        (all_rules_of(NFPROTO_UNSPEC), "14000000 070a 00000000"),
        (rules_of(inet, name), "20000000 070a 01000000 0c00010073715f7465737400"),
        (sets_of(inet, name), "20000000 0a0a 01000000 0c00010073715f7465737400"),
        (elements_of(inet, name, "abc"), "28000000 0d0a 01000000 0800020061626300 0c00010073715f7465737400"),
        (removal(Family::Inet, name)[1].clone(), "20000000 020a 01000000 0c00010073715f7465737400"),
    ];
    for (message, expected) in cases {
        let mut sent = bytes(&[message])[0].clone();
        sent.drain(6..16);
        assert_eq!(hex(&sent), hex(&unhex(expected)));
    }
}

// Without CAP_NET_ADMIN in the first user namespace a socket gets twice net.core.wmem_max, 212,992 bytes where nobody
// changed it.
#[test]
fn five_thousand_peers_fit_the_send_buffer_of_a_stock_kernel() {
    let mut plan = plan();
    for set in &mut plan.sets {
        set.networks = match set.name.as_str() {
            "hosts4" => (0..5_000_u32).map(|n| IpNet::from(IpAddr::V4((0x0a00_0000 + n).into()))).collect(),
            "ranges6" => {
                let network = |n: u128| IpNet::new(IpAddr::V6((0xfd << 120 | n << 80).into()), 64).unwrap();
                (0..5_000).map(network).collect()
            }
            _ => Vec::new(),
        };
    }
    let size: usize = bytes(&installation(&Compiled::new(&plan), None)).iter().map(Vec::len).sum();
    assert!((390_000..2 * 212_992 - 32).contains(&size), "{size} bytes");
}

#[test]
fn single_family_tables_need_no_guard() {
    let of = |family, network_text: &str, action| {
        let rule = rule([Match::Destination(network(network_text))], action);
        let plan = TablePlan {
            family,
            sets: Vec::new(),
            chains: vec![chain("output", Hook::Output, [rule.clone()])],
            ..plan()
        };
        plan.check().unwrap();
        Compiled::new(&plan).expressions(&rule)
    };
    let equal = |value: &[u8]| Expression::Equal { value: value.to_vec() };
    let load = |offset, length| Expression::Payload { base: 1, offset, length };
    assert_eq!(
        of(Family::Ip, "10.1.0.1/32", Action::Reject),
        [load(16, 4), equal(&[10, 1, 0, 1]), Expression::Reject { kind: 0, code: 3 }],
    );
    let mut address = [0; 16];
    address[0] = 0xfd;
    assert_eq!(
        of(Family::Ip6, "fd00::/128", Action::Reject),
        [load(24, 16), equal(&address), Expression::Reject { kind: 0, code: 4 }],
    );
}

// The list of expressions that nft sends for each rule, in a postrouting chain of an inet table; nftables 1.0.6, Linux
// 6.18, little endian: strace -e trace=sendmsg -e write=3 nft add rule inet t p RULE. The last is iptables-nft
// (1.8.9) -t mangle -A POSTROUTING -j NFQUEUE --queue-num 77 --queue-bypass.
#[cfg(target_endian = "little")]
#[test]
fn marks_queues_and_priorities_are_byte_for_byte_those_of_nft() {
    let mark = "24000180 090001006d65746100000000 14000280 0800020000000003 0800010000000001";
    // nft names the default operation of a bitwise expression (0800060000000000, length 4c and 3c), we do not.
    let bits = "44000180 0c00010062697477697365 00 34000280 0800010000000001 0800020000000001 0800030000000004 \
        0c000480 0800010000000040 0c000580 0800010000000000";
    let equal = |value: &str| {
        format!(
            "2c000180 08000100636d7000 20000280 0800010000000001 0800020000000000 0c000380 08000100{value}"
        )
    };
    let bypass =
        "2c000180 0a0001007175657565000000 1c000280 06000100004d0000 0600020000010000 0600030000010000";
    let target = "34000180 0b000100746172676574 0000 24000280 0c0001004e46515545554500 0800020000000003 \
        0c0003004d00010001000000";
    let priority = "2c000180 0e000100696d6d656469617465000000 18000280 0800010000000001 0c000280 08000100020005ca \
        24000180 090001006d65746100000000 14000280 0800020000000002 0800030000000001 \
        30000180 0e000100696d6d656469617465000000 1c000280 0800010000000000 10000280 0c000280 0800010000000001";
    let set = |set| [Match::MarkBits { mask: 0x4000_0000, set }];
    let queue = |flavour| Action::Queue { number: 77, flavour };
    let cases = [
        (
            rule(set(true), Action::NoTrack),
            [mark, bits, &equal("00000040"), "10000180 0c0001006e6f747261636b00"].concat(),
        ),
        (rule(set(false), queue(QueueFlavour::Native)), [mark, bits, &equal("00000000"), bypass].concat()),
        (rule([], queue(QueueFlavour::Compat)), target.to_owned()),
        (rule([], Action::SetPriority(0xca05_0002)), priority.to_owned()),
    ];
    let plan = plan();
    let compiled = Compiled::new(&plan);
    for (rule, expected) in cases {
        let list = compiled.expressions(&rule).iter().fold(Builder::default(), |list, expression| {
            list.nest(1, &expression.encode(|_| None)) // NFTA_LIST_ELEM
        });
        assert_eq!(hex(&list.finish()), hex(&unhex(&expected)), "{rule:?}");
    }
}

// Same name, but not what we send: another number of queues, no bypass, another revision or target.
#[test]
fn a_queue_of_others_is_not_taken_for_ours() {
    let decode = |element: Builder| Expression::decode(&Attributes::new(&element.finish()));
    let element = |name, data: &Builder| Builder::default().string(1, name).nest(2, data);
    let native = |total: u8, flags: u8| {
        let data = Builder::default().bytes(1, &[0, 77]).bytes(2, &[0, total]).bytes(3, &[0, flags]);
        decode(element("queue", &data))
    };
    let target = |name, revision, info: &[u8]| {
        let data = Builder::default().string(1, name).be32(2, revision).bytes(3, info);
        decode(element("target", &data))
    };
    let info = |number: u16, total: u16, flags: u16| {
        [number.to_ne_bytes(), total.to_ne_bytes(), flags.to_ne_bytes(), [0, 0]].concat()
    };
    let ours = |flavour| Expression::Queue { number: 77, flavour };
    assert_eq!(native(1, 1), ours(QueueFlavour::Native));
    assert_eq!(target("NFQUEUE", 3, &info(77, 1, 1)), ours(QueueFlavour::Compat));
    let others = [
        native(2, 1),
        native(1, 0),
        native(1, 3),
        target("NFQUEUE", 2, &info(77, 1, 1)),
        target("NFLOG", 3, &info(77, 1, 1)),
        target("NFQUEUE", 3, &info(77, 2, 1)),
        target("NFQUEUE", 3, &info(77, 1, 0)),
        target("NFQUEUE", 3, &[]),
    ];
    for other in others {
        assert!(matches!(other, Expression::Other { .. }), "{other:?}");
    }
}

fn expression() -> impl Strategy<Value = Expression> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..=16);
    prop_oneof![
        any::<u32>().prop_map(|key| Expression::Meta { key }),
        any::<[u32; 3]>().prop_map(|[base, offset, length]| Expression::Payload { base, offset, length }),
        bytes().prop_map(|mask| Expression::Bitwise { mask }),
        bytes().prop_map(|value| Expression::Equal { value }),
        "[a-z]{1,20}".prop_map(|set| Expression::Lookup { set }),
        any::<u32>().prop_map(|modulus| Expression::Random { modulus }),
        (NFT_REG_1..9, bytes()).prop_map(|(register, value)| Expression::Immediate { register, value }),
        prop_oneof![Just(NFPROTO_IPV4), Just(NFPROTO_IPV6)]
            .prop_map(|family| Expression::Dnat { family: family.into() }),
        any::<(u32, u8)>().prop_map(|(kind, code)| Expression::Reject { kind, code }),
        any::<u32>().prop_map(|code| Expression::Verdict { code }),
        any::<u32>().prop_map(|key| Expression::SetMeta { key }),
        (any::<u16>(), prop_oneof![Just(QueueFlavour::Native), Just(QueueFlavour::Compat)])
            .prop_map(|(number, flavour)| Expression::Queue { number, flavour }),
        Just(Expression::NoTrack),
    ]
}

proptest! {
    #[test]
    fn what_is_sent_is_what_is_read(expression in expression()) {
        let bytes = expression.encode(|_| Some(1)).finish();
        prop_assert_eq!(Expression::decode(&Attributes::new(&bytes)), expression);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let reply = Reply { kind: 0, payload: bytes };
        drop(Expression::decode(&reply.attributes(0)));
        drop(parse_elements(&reply));
        drop(TableEntry::parse(&reply));
    }
}
