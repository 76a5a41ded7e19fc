use proptest::prelude::*;

use super::*;

fn networks(list: &[&str]) -> Vec<IpNet> {
    list.iter().map(|network| network.parse().unwrap()).collect()
}

fn set(list: &[&str]) -> AddressSet {
    let networks = networks(list);
    let version = networks.first().map_or(IpVersion::V4, |network| IpVersion::of(network.addr()));
    AddressSet { name: "peers".into(), version, networks }
}

fn ranges(list: &[(&str, &str)]) -> Members {
    Members::Ranges(list.iter().map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).collect())
}

#[test]
fn single_addresses_stay_single() {
    let members = set(&["10.0.0.2/32", "10.0.0.1/32", "10.0.0.2/32"]).members();
    let expected = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
    assert_eq!(members, Members::Hosts(expected.into()));
    assert_eq!(set(&[]).members(), Members::Hosts(BTreeSet::new()));
}

type Case = (&'static [&'static str], &'static [(&'static str, &'static str)]);

#[test]
fn networks_become_ranges_that_are_apart() {
    let cases: [Case; 7] = [
        (&["10.0.0.0/24"], &[("10.0.0.0", "10.0.0.255")]),
        (&["10.0.0.77/24"], &[("10.0.0.0", "10.0.0.255")]),
        (&["10.0.0.0/24", "10.0.0.9/32", "10.0.0.0/16"], &[("10.0.0.0", "10.0.255.255")]),
        (&["10.0.0.0/24", "10.0.1.0/32"], &[("10.0.0.0", "10.0.1.0")]),
        (
            &["10.0.1.0/24", "10.0.2.0/24", "10.0.4.1/32"],
            &[("10.0.1.0", "10.0.2.255"), ("10.0.4.1", "10.0.4.1")],
        ),
        (&["0.0.0.0/0", "255.255.255.255/32"], &[("0.0.0.0", "255.255.255.255")]),
        (&["fd00::/64", "fd00:0:0:1::/64"], &[("fd00::", "fd00::1:ffff:ffff:ffff:ffff")]),
    ];
    for (networks, expected) in cases {
        assert_eq!(set(networks).members(), ranges(expected), "{networks:?}");
    }
}

proptest! {
    #[test]
    fn ranges_hold_what_the_networks_hold(list in prop::collection::vec((any::<u8>(), 24_u8..=32), 1..12)) {
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        let networks: Vec<_> =
            list.iter().map(|(last, prefix)| IpNet::new(address(*last), *prefix).unwrap()).collect();
        let set = AddressSet { networks: networks.clone(), ..set(&[]) };
        let members = set.members();
        for last in 0..=255 {
            let expected = networks.iter().any(|network| network.contains(&address(last)));
            let found = match &members {
                Members::Hosts(hosts) => hosts.contains(&address(last)),
                Members::Ranges(ranges) => {
                    ranges.iter().any(|(first, end)| (first..=end).contains(&&address(last)))
                }
            };
            prop_assert_eq!(found, expected, "10.0.0.{} with {:?}", last, networks);
        }
        if let Members::Ranges(ranges) = members {
            for pair in ranges.windows(2) {
                prop_assert!(successor(pair[0].1).is_some_and(|next| next < pair[1].0), "{:?} touch", pair);
            }
        }
    }
}

fn plan() -> TablePlan {
    let rule = Rule {
        matches: vec![
            Match::OutInterface("eth0".into()),
            Match::Destination(Address::Set("peers".into())),
            Match::Protocol(Transport::Tcp),
            Match::DestinationPort(80),
        ],
        action: Action::Drop,
        counter: true,
        comment: Some("a comment".into()),
    };
    TablePlan {
        family: Family::Inet,
        name: "squall_test".into(),
        owned: true,
        userdata: vec![0; USERDATA_MAX],
        sets: vec![set(&["10.0.0.1/32"])],
        chains: vec![Chain {
            name: "output".into(),
            kind: ChainKind::Filter,
            hook: Hook::Output,
            priority: -300,
            rules: vec![rule],
        }],
    }
}

type Change = fn(&mut TablePlan);

#[test]
fn plans_without_sense_are_refused() {
    let dnat = |plan: &mut TablePlan, kind, hook| {
        plan.chains[0].kind = kind;
        plan.chains[0].hook = hook;
        plan.chains[0].rules[0].action = Action::Dnat { address: "10.0.0.9".parse().unwrap(), port: 80 };
    };
    plan().check().unwrap();
    let mut translation = plan();
    dnat(&mut translation, ChainKind::Nat, Hook::Prerouting);
    translation.chains[0].rules[0].matches.remove(0); // an interface to leave by is not known yet
    translation.check().unwrap();

    let cases: [(&str, Change); 22] = [
        ("table name \"\"", |plan| plan.name.clear()),
        ("table name \"a b\"", |plan| plan.name = "a b".into()),
        ("user data of table", |plan| plan.userdata.push(0)),
        ("set name \"x\\\"y\"", |plan| plan.sets[0].name = "x\"y".into()),
        ("set \"peers\" exists twice", |plan| plan.sets.push(plan.sets[0].clone())),
        ("chain \"output\" exists twice", |plan| plan.chains.push(plan.chains[0].clone())),
        ("set \"peers\" mixes", |plan| plan.sets[0].networks = networks(&["fd00::1/128"])),
        ("set \"peers\" mixes", |plan| plan.family = Family::Ip6),
        ("refers to set \"peers\"", |plan| plan.sets.clear()),
        ("interface name \"\"", |plan| {
            plan.chains[0].rules[0].matches[0] = Match::InInterface(String::new());
        }),
        ("interface name", |plan| plan.chains[0].rules[0].matches[0] = Match::InInterface("a".repeat(16))),
        ("interface name \"a/b\"", |plan| {
            plan.chains[0].rules[0].matches[0] = Match::InInterface("a/b".into());
        }),
        ("without matching a protocol", |plan| drop(plan.chains[0].rules[0].matches.remove(2))),
        ("comment of a rule", |plan| plan.chains[0].rules[0].comment = Some("c".repeat(128))),
        ("match list of a rule", |plan| plan.chains[0].rules[0].matches = vec![Match::Mark(1); 17]),
        ("random number below 2 with 2", |plan| {
            plan.chains[0].rules[0].matches.push(Match::Random { modulus: 2, equals: 2 });
        }),
        ("random number below 0 with 0", |plan| {
            plan.chains[0].rules[0].matches.push(Match::Random { modulus: 0, equals: 0 });
        }),
        ("a rule in chain \"output\" mixes", |plan| {
            plan.chains[0].rules[0]
                .matches
                .push(Match::Source(Address::Network("fd00::/8".parse().unwrap())));
        }),
        ("cannot translate destinations", |plan| {
            plan.chains[0].rules[0].action = Action::Dnat { address: "10.0.0.9".parse().unwrap(), port: 80 };
        }),
        ("cannot translate destinations", |plan| {
            plan.chains[0].kind = ChainKind::Nat;
            plan.chains[0].hook = Hook::Postrouting;
            plan.chains[0].rules[0].action = Action::Dnat { address: "10.0.0.9".parse().unwrap(), port: 80 };
        }),
        ("without matching a protocol", |plan| {
            plan.chains[0].kind = ChainKind::Nat;
            plan.chains[0].rules[0].matches.truncate(2);
            plan.chains[0].rules[0].action = Action::Dnat { address: "10.0.0.9".parse().unwrap(), port: 80 };
        }),
        ("mixes IPv4 and IPv6", |plan| {
            plan.chains[0].kind = ChainKind::Nat;
            plan.chains[0].rules[0].action = Action::Dnat { address: "fd00::9".parse().unwrap(), port: 80 };
        }),
    ];
    for (expected, change) in cases {
        let mut changed = plan();
        change(&mut changed);
        let error = changed.check().expect_err(expected).to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn marks_and_tracking_without_sense_are_refused() {
    let mut untracked = plan();
    untracked.chains[0].rules[0].action = Action::NoTrack;
    untracked.check().unwrap();
    let late = "cannot leave packets untracked";
    let cases: [(&str, Change); 4] = [
        ("matches no bit", |plan| {
            plan.chains[0].rules[0].matches.push(Match::MarkBits { mask: 0, set: true });
        }),
        (late, |plan| plan.chains[0].priority = -200),
        (late, |plan| plan.chains[0].hook = Hook::Postrouting),
        (late, |plan| plan.chains[0].kind = ChainKind::Nat),
    ];
    for (expected, change) in cases {
        let mut changed = untracked.clone();
        change(&mut changed);
        let error = changed.check().expect_err(expected).to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
