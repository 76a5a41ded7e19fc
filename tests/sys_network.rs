//! Tables, namespaces and fingerprints against the running kernel, judged by the traffic of neighbours.
//!
//! Every test runs in a sandbox with a network of its own.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what is wrong")]
#![expect(clippy::disallowed_methods, reason = "tests build their networks with ip and tc")]

mod sandbox;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nix::errno::Errno;
use sandbox::{at, connect, in_sandbox, ip, namespace, run};
use squall::daemon::sys::fingerprint::fingerprint;
use squall::daemon::sys::netlink::{Protocol, Socket};
use squall::daemon::sys::netns::{NetNs, NetNsError};
use squall::daemon::sys::nft::{self, NftError, install, list_tables, read_back, remove};
use squall::network::table::{
    Action, Address, AddressSet, Chain, ChainKind, Family, Hook, IpVersion, Match, Rule, TablePlan, Transport,
};

const TABLE: &str = "squall_test";
/// How long an answer is waited for that must come. It comes at once unless the CPUs are busy.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer is waited for that must not come. It would come within a millisecond or so.
const DOUBT: Duration = Duration::from_millis(400);

/// Two namespaces: the victim, and a neighbour with two addresses of each version, all of which echo datagrams at
/// the ports 7001 and 7002.
struct Pair {
    victim: NetNs,
    netfilter: Socket,
}

const VICTIM4: &str = "10.77.0.1";
const NEAR4: &str = "10.77.0.2";
const FAR4: &str = "10.77.0.3";
const NEAR6: &str = "fd77::2";
const FAR6: &str = "fd77::3";

fn pair() -> Pair {
    let (victim, neighbour) = (namespace(), namespace());
    connect(Some(&victim), "a0", &neighbour, "b0");
    for address in [&format!("{VICTIM4}/24"), "fd77::1/64"] {
        ip(
            &victim,
            &format!("addr add {address} dev a0{}", if address.contains(':') { " nodad" } else { "" }),
        );
    }
    for address in [NEAR4, FAR4] {
        ip(&neighbour, &format!("addr add {address}/24 dev b0"));
    }
    for address in [NEAR6, FAR6] {
        ip(&neighbour, &format!("addr add {address}/64 dev b0 nodad"));
    }
    for address in [NEAR4, FAR4, NEAR6, FAR6] {
        echo(&neighbour, at(address, 7001));
        echo(&neighbour, at(address, 7002));
    }
    let netfilter = victim.socket(Protocol::Netfilter).unwrap();
    let pair = Pair { victim, netfilter };
    for address in [NEAR4, FAR4, NEAR6, FAR6] {
        // Right after an interface came up its first datagrams may be lost, to neighbour discovery above all.
        let begun = Instant::now();
        while ask(&pair.victim, at(address, 7001), DOUBT).is_none() {
            assert!(begun.elapsed() < PATIENCE, "{address} does not answer before anything was done");
        }
    }
    pair
}

impl Pair {
    fn answers(&self, address: &str) -> bool {
        ask(&self.victim, at(address, 7001), PATIENCE).is_some()
    }

    fn is_cut_off(&self, address: &str) -> bool {
        ask(&self.victim, at(address, 7001), DOUBT).is_none()
    }
}

/// Answers every datagram with the own address, until the test process ends.
fn echo(namespace: &NetNs, address: SocketAddr) {
    let socket = namespace.run_in(|| UdpSocket::bind(address).unwrap()).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, sender)) = socket.recv_from(&mut buffer) {
            // The sender may be gone.
            drop(socket.send_to(address.ip().to_string().as_bytes(), sender));
        }
    });
}

fn udp(namespace: &NetNs, address: SocketAddr, wait: Duration) -> UdpSocket {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = namespace.run_in(|| UdpSocket::bind((any, 0)).unwrap()).unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(wait)).unwrap();
    socket
}

/// The answer to one datagram.
fn ask(namespace: &NetNs, address: SocketAddr, wait: Duration) -> Option<String> {
    let socket = udp(namespace, address, wait);
    // A packet that an output chain drops is refused with EPERM.
    socket.send(b"?").ok()?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(buffer.get(..length)?).into_owned())
}

fn networks(list: &[&str]) -> Vec<IpNet> {
    let network =
        |text: &&str| text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).unwrap();
    list.iter().map(network).collect()
}

fn set(name: &str, list: &[&str]) -> AddressSet {
    let networks = networks(list);
    let version = IpVersion::of(networks.first().expect("an example has members").addr());
    AddressSet { name: name.into(), version, networks }
}

fn rule(matches: Vec<Match>, action: Action) -> Rule {
    Rule { matches, action, counter: true, comment: Some("of a test".into()) }
}

fn chain(name: &str, hook: Hook, rules: Vec<Rule>) -> Chain {
    Chain { name: name.into(), kind: ChainKind::Filter, hook, priority: -300, rules }
}

/// Nothing to and nothing from the peers.
fn partition(sets: Vec<AddressSet>) -> TablePlan {
    let rules = |address: fn(Address) -> Match| {
        let matches = |set: &AddressSet| vec![address(Address::Set(set.name.clone()))];
        sets.iter().map(|set| rule(matches(set), Action::Drop)).collect()
    };
    let chains = vec![
        chain("output", Hook::Output, rules(Match::Destination)),
        chain("prerouting", Hook::Prerouting, rules(Match::Source)),
    ];
    let userdata = b"a test".to_vec();
    TablePlan { family: Family::Inet, name: TABLE.into(), owned: true, userdata, sets, chains }
}

fn proved(socket: &mut Socket, plan: &TablePlan) -> nft::TableState {
    let state = read_back(socket, plan.family, &plan.name).unwrap().expect("no such table");
    state.matches(plan).unwrap();
    state
}

fn errno(error: &NftError) -> Option<Errno> {
    match error {
        NftError::Netlink(error) => error.errno(),
        NftError::Plan { .. } => None,
    }
}

#[test]
fn partition_hits_the_peer_and_ends_with_its_socket() {
    in_sandbox("partition_hits_the_peer_and_ends_with_its_socket", || {
        let mut pair = pair();
        let plan = partition(vec![set("peers4", &[NEAR4]), set("peers6", &[NEAR6])]);
        install(&mut pair.netfilter, &plan).unwrap();
        for (near, far) in [(NEAR4, FAR4), (NEAR6, FAR6)] {
            assert!(pair.is_cut_off(near), "{near} answers through the partition");
            assert!(pair.answers(far), "{far} is no peer and does not answer");
        }
        let mut other = pair.victim.socket(Protocol::Netfilter).unwrap();
        let state = proved(&mut other, &plan);
        assert_eq!(state.owner, Some(pair.netfilter.port()));
        assert_eq!(state.counts().packets, 2, "one datagram was dropped for each version");

        assert_eq!(errno(&remove(&mut other, Family::Inet, TABLE).unwrap_err()), Some(Errno::EPERM));
        assert_eq!(errno(&install(&mut other, &plan).unwrap_err()), Some(Errno::EPERM));
        proved(&mut other, &plan);

        let Pair { victim, netfilter } = pair;
        drop(netfilter);
        assert_eq!(
            read_back(&mut other, Family::Inet, TABLE).unwrap(),
            None,
            "the table outlived its socket"
        );
        assert!(ask(&victim, at(NEAR4, 7001), PATIENCE).is_some(), "no answer after the table is gone");
        remove(&mut other, Family::Inet, TABLE).expect("removing what is gone");
    });
}

#[test]
fn packets_from_the_peer_are_dropped_too() {
    in_sandbox("packets_from_the_peer_are_dropped_too", || {
        let mut pair = pair();
        let mut plan = partition(vec![set("peers", &[NEAR4])]);
        plan.chains.retain(|chain| chain.hook == Hook::Prerouting);
        install(&mut pair.netfilter, &plan).unwrap();
        assert!(pair.is_cut_off(NEAR4), "the peer's answer came through");
        assert!(pair.answers(FAR4), "a bystander's answer did not");
        let state = proved(&mut pair.netfilter, &plan);
        assert_eq!(state.counts().packets, 1);
    });
}

#[test]
fn replacement_leaves_no_gap() {
    in_sandbox("replacement_leaves_no_gap", || {
        let mut pair = pair();
        let both = partition(vec![set("peers", &[NEAR4, FAR4])]);
        let one = partition(vec![set("peers", &[NEAR4])]);
        install(&mut pair.netfilter, &both).unwrap();
        assert!(pair.is_cut_off(FAR4));

        let stop = AtomicBool::new(false);
        let socket = udp(&pair.victim, at(NEAR4, 7001), DOUBT);
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let (mut sent, mut refused) = (0, 0);
                while !stop.load(Ordering::Relaxed) {
                    match socket.send(b"?") {
                        Ok(_) => sent += 1,
                        Err(error) if error.kind() == ErrorKind::PermissionDenied => refused += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                (sent, refused)
            });
            for _ in 0..100 {
                install(&mut pair.netfilter, &one).unwrap();
                install(&mut pair.netfilter, &both).unwrap();
            }
            stop.store(true, Ordering::Relaxed);
            let (sent, refused) = sender.join().unwrap();
            assert!(refused > 100, "only {refused} datagrams were tried");
            assert_eq!(sent, 0, "of {refused} datagrams passed while the table was replaced");
        });
        install(&mut pair.netfilter, &one).unwrap();
        assert!(pair.answers(FAR4), "what the new plan leaves alone is still cut off");
        proved(&mut pair.netfilter, &one);
    });
}

#[test]
fn a_refused_plan_changes_nothing() {
    in_sandbox("a_refused_plan_changes_nothing", || {
        let mut pair = pair();
        let plan = partition(vec![set("peers", &[NEAR4])]);
        install(&mut pair.netfilter, &plan).unwrap();
        let mut refused = partition(vec![set("peers", &[FAR4])]);
        let forward = Chain { kind: ChainKind::Nat, ..chain("forward", Hook::Forward, Vec::new()) };
        refused.chains.push(forward);
        let error = install(&mut pair.netfilter, &refused).unwrap_err();
        assert_eq!(errno(&error), Some(Errno::EOPNOTSUPP), "{error}");
        proved(&mut pair.netfilter, &plan);
        assert!(pair.is_cut_off(NEAR4));
        assert!(pair.answers(FAR4));
    });
}

#[test]
fn networks_ports_interfaces_and_exceptions() {
    in_sandbox("networks_ports_interfaces_and_exceptions", || {
        let mut pair = pair();
        let to = |address: Address| Match::Destination(address);
        let network = |text: &str| Address::Network(text.parse().unwrap());
        let port = |port: u16| vec![Match::Protocol(Transport::Udp), Match::DestinationPort(port)];
        let mut blocked = |sets: Vec<AddressSet>, rules: Vec<Rule>, expected: [bool; 4]| {
            let mut plan = partition(sets);
            plan.chains = vec![chain("output", Hook::Output, rules)];
            install(&mut pair.netfilter, &plan).unwrap();
            proved(&mut pair.netfilter, &plan);
            let answers = [(NEAR4, 7001), (NEAR4, 7002), (FAR4, 7001), (NEAR6, 7001)];
            for ((address, port), expected) in answers.into_iter().zip(expected) {
                let wait = if expected { DOUBT } else { PATIENCE };
                let answered = ask(&pair.victim, at(address, port), wait).is_some();
                assert_eq!(answered, !expected, "{address}:{port} with {:?}", plan.chains);
            }
        };
        let drop = |matches| rule(matches, Action::Drop);
        let in_set = || vec![to(Address::Set("peers".into()))];
        // interval sets: neighbours that touch, one that overlaps, and the end of the address space
        let ranges = ["10.77.0.2", "192.168.0.0/24", "192.168.1.0/25", "192.168.0.0/16", "255.255.255.0/24"];
        blocked(vec![set("peers", &ranges)], vec![drop(in_set())], [true, true, false, false]);
        blocked(vec![set("peers", &["0.0.0.0/0"])], vec![drop(in_set())], [true, true, true, false]);
        blocked(vec![set("peers", &["::/0"])], vec![drop(in_set())], [false, false, false, true]);
        blocked(
            vec![set("peers", &["fd77::/127", "fd77::2/127"])],
            vec![drop(in_set())],
            [false, false, false, true],
        );
        // single networks, prefixes that end within a byte and at one
        blocked(vec![], vec![drop(vec![to(network("10.77.0.2/31"))])], [true, true, true, false]);
        blocked(vec![], vec![drop(vec![to(network("10.77.0.2/32"))])], [true, true, false, false]);
        blocked(vec![], vec![drop(vec![to(network("10.0.0.0/8"))])], [true, true, true, false]);
        blocked(vec![], vec![drop(vec![to(network("fd77::/16"))])], [false, false, false, true]);
        blocked(vec![], vec![drop(vec![Match::Source(network("10.77.0.1/32"))])], [true, true, true, false]);
        // ports and interfaces
        blocked(vec![], vec![drop(port(7001))], [true, false, true, true]);
        blocked(vec![], vec![drop(vec![Match::OutInterface("a0".into())])], [true; 4]);
        blocked(vec![], vec![drop(vec![Match::OutInterface("a".into())])], [false; 4]);
        blocked(vec![], vec![drop(vec![Match::Mark(0xca05)])], [false; 4]);
        blocked(vec![], vec![drop(vec![Match::Mark(0)])], [true; 4]);
        blocked(vec![], vec![drop(vec![Match::Random { modulus: 1, equals: 0 }])], [true; 4]);
        // the first rule that matches decides
        let exempt = rule([vec![to(network("10.77.0.2/32"))], port(7002)].concat(), Action::Accept);
        blocked(vec![], vec![exempt, drop(vec![])], [true, false, true, true]);
        blocked(vec![], vec![], [false; 4]);
    });
}

#[test]
fn five_thousand_peers() {
    in_sandbox("five_thousand_peers", || {
        let mut pair = pair();
        let hosts4 = (0..4_999_u32).map(|n| IpNet::from(IpAddr::V4((0x0a80_0000 + n).into())));
        let ranges6 = (0..5_000_u128).map(|n| {
            IpNet::new(IpAddr::V6((0xfd78 << 112 | n << 80).into()), 64).unwrap() // every second network
        });
        let mut peers4 = set("peers4", &[NEAR4]);
        peers4.networks.extend(hosts4);
        let mut peers6 = set("peers6", &[NEAR6]);
        peers6.networks.extend(ranges6);
        let plan = partition(vec![peers4, peers6]);
        let begun = Instant::now();
        install(&mut pair.netfilter, &plan).unwrap();
        let installed = begun.elapsed();
        let state = proved(&mut pair.netfilter, &plan);
        eprintln!(
            "5,000 addresses and 5,001 ranges: installed in {installed:?}, with proof {:?}",
            begun.elapsed()
        );
        assert_eq!(state.sets.iter().map(|set| set.elements.len()).collect::<Vec<_>>(), [5_000, 10_002]);
        assert!(pair.is_cut_off(NEAR4) && pair.is_cut_off(NEAR6));
        assert!(pair.answers(FAR4) && pair.answers(FAR6));
    });
}

#[test]
fn any_plan_can_follow_any_other() {
    in_sandbox("any_plan_can_follow_any_other", || {
        let mut pair = pair();
        let peers = partition(vec![set("peers", &[NEAR4])]);
        let mut earlier = peers.clone();
        earlier.chains.iter_mut().for_each(|chain| chain.priority = -310);
        let mut one_way = peers.clone();
        one_way.chains.truncate(1);
        let plans = [
            partition(vec![set("peers", &[NEAR4, "10.1.2.3"])]),
            partition(vec![set("peers", &[NEAR4, "10.1.0.0/16"])]),
            partition(vec![set("others", &["10.1.2.3"]), set("peers", &[NEAR4])]),
            TablePlan { userdata: Vec::new(), ..peers.clone() },
            peers,
            earlier,
            one_way,
        ];
        for first in &plans {
            for second in &plans {
                install(&mut pair.netfilter, first).unwrap();
                install(&mut pair.netfilter, second).unwrap();
                proved(&mut pair.netfilter, second);
            }
            assert!(pair.is_cut_off(NEAR4));
        }
        assert!(pair.answers(FAR4));
    });
}

type Change = fn(&mut TablePlan);
type SetChange = fn(&mut nft::SetState);

#[test]
fn every_difference_from_the_plan_is_found() {
    in_sandbox("every_difference_from_the_plan_is_found", || {
        let mut pair = pair();
        let plan = partition(vec![set("peers", &[NEAR4, FAR4]), set("ranges", &["10.1.0.0/16"])]);
        install(&mut pair.netfilter, &plan).unwrap();
        let state = proved(&mut pair.netfilter, &plan);
        let changes: [(&str, Change); 11] = [
            ("family", |plan| plan.family = Family::Ip),
            ("ownership", |plan| plan.owned = false),
            ("user data", |plan| plan.userdata.push(0)),
            ("sets", |plan| plan.sets[0].networks[0] = "10.77.0.9/32".parse().unwrap()),
            ("sets", |plan| plan.sets.truncate(1)),
            ("chains", |plan| plan.chains.truncate(1)),
            ("hook and priority", |plan| plan.chains[0].priority = -150),
            ("number of rules", |plan| plan.chains[1].rules.truncate(1)),
            ("comment of rule 2", |plan| plan.chains[1].rules[1].comment = None),
            ("rule 1 of chain \"output\"", |plan| plan.chains[0].rules[0].action = Action::Accept),
            ("rule 1 of chain \"prerouting\"", |plan| plan.chains[1].rules.reverse()),
        ];
        for (expected, change) in changes {
            let mut other = plan.clone();
            change(&mut other);
            let difference = state.matches(&other).expect_err(expected).to_string();
            assert!(difference.starts_with(expected), "{expected}: {difference}");
        }
        // A set that others changed keeps its name. (They could if the table had no owner.)
        let changes: [(&str, SetChange); 3] = [
            ("flags of set", |set| set.flags = 1),
            ("size of set", |set| _ = set.elements.pop()),
            ("element of set", |set| set.elements[1].key = IpAddr::from([10, 77, 0, 9])),
        ];
        for (expected, change) in changes {
            let mut other = state.clone();
            change(other.sets.iter_mut().find(|set| set.name.starts_with("peers")).unwrap());
            let difference = other.matches(&plan).expect_err(expected).to_string();
            assert!(difference.starts_with(expected), "{expected}: {difference}");
        }
    });
}

#[test]
fn packets_pass_a_queue_that_nobody_serves() {
    in_sandbox("packets_pass_a_queue_that_nobody_serves", || {
        let Some(flavour) = nft::probe_queue().unwrap() else {
            eprintln!("SKIPPED: this kernel has no queue for nf_tables");
            return;
        };
        let mut pair = pair();
        let mark = |set| Match::MarkBits { mask: 0x4000_0000, set };
        let at = |name: &str, hook, priority, rules| Chain { priority, ..chain(name, hook, rules) };
        let queue = |matches| rule(matches, Action::Queue { number: 77, flavour });
        let chains = vec![
            at("untracked", Hook::Output, -310, vec![rule(vec![mark(true)], Action::NoTrack)]),
            at("egress", Hook::Postrouting, 300, vec![queue(vec![mark(false)])]),
            at("ingress", Hook::Input, 300, vec![queue(vec![])]),
            at("marked", Hook::Postrouting, 310, vec![rule(vec![mark(true)], Action::Drop)]),
            at("sorted", Hook::Postrouting, 320, vec![rule(vec![], Action::SetPriority(0xca05_0002))]),
        ];
        let plan = TablePlan { chains, ..partition(Vec::new()) };
        install(&mut pair.netfilter, &plan).unwrap();
        assert!(pair.answers(NEAR4) && pair.answers(NEAR6), "no bypass ({flavour:?})");
        let state = proved(&mut pair.netfilter, &plan);
        let counts = |chain: usize| state.chains[chain].rules[0].counts().unwrap().packets;
        assert_eq!([counts(0), counts(3)], [0, 0], "no packet has the mark");
        assert!(counts(1) >= 2 && counts(2) >= 2 && counts(4) >= 2, "{state:?}");
        eprintln!("packets reach a queue by {flavour:?}");

        let other = Action::Queue { number: 78, flavour };
        let mut changed = plan.clone();
        changed.chains[1].rules[0].action = other;
        let difference = state.matches(&changed).unwrap_err().to_string();
        assert!(difference.starts_with("rule 1 of chain \"egress\""), "{difference}");
    });
}

#[test]
fn service_addresses_are_translated() {
    in_sandbox("service_addresses_are_translated", || {
        // The sandbox's own namespace is the node's: it routes between a client and two servers.
        let (client, first, second) = (namespace(), namespace(), namespace());
        for (namespace, name, number) in [(&client, "c", 1), (&first, "f", 2), (&second, "s", 3)] {
            connect(None, name, namespace, "eth0");
            run("ip", &["addr", "add", &format!("10.78.{number}.1/24"), "dev", name]);
            ip(namespace, &format!("addr add 10.78.{number}.2/24 dev eth0"));
            ip(namespace, &format!("route add default via 10.78.{number}.1"));
        }
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        for (namespace, address) in [(&first, "10.78.2.2"), (&second, "10.78.3.2")] {
            echo(namespace, at(address, 8080));
            let listener = namespace.run_in(|| TcpListener::bind(at(address, 8080)).unwrap()).unwrap();
            thread::spawn(move || listener.incoming().for_each(drop));
        }
        let service = |protocol, port| {
            let address: IpNet = "10.96.0.10/32".parse().unwrap();
            let destination = Match::Destination(Address::Network(address));
            vec![destination, Match::Protocol(protocol), Match::DestinationPort(port)]
        };
        let to = |address: &str| Action::Dnat { address: address.parse().unwrap(), port: 8080 };
        let half = Match::Random { modulus: 2, equals: 0 };
        let translate = |protocol| {
            let mut chance = service(protocol, 80);
            chance.push(half.clone());
            [rule(chance, to("10.78.2.2")), rule(service(protocol, 80), to("10.78.3.2"))]
        };
        let rules = [translate(Transport::Udp), translate(Transport::Tcp)].concat();
        let nat = Chain { kind: ChainKind::Nat, priority: -100, ..chain("nat", Hook::Prerouting, rules) };
        // A Service without endpoints. Before routing: the node itself has no route to it.
        let refuse =
            chain("refuse", Hook::Prerouting, vec![rule(service(Transport::Tcp, 81), Action::Reject)]);
        let mut socket = Socket::open(Protocol::Netfilter).unwrap();
        for family in [Family::Inet, Family::Ip] {
            let chains = vec![nat.clone(), refuse.clone()];
            let plan = TablePlan { family, chains, ..partition(Vec::new()) };
            install(&mut socket, &plan).unwrap();
            proved(&mut socket, &plan);
            let answers: Vec<_> = (0..40).map(|_| ask(&client, at("10.96.0.10", 80), PATIENCE)).collect();
            for server in ["10.78.2.2", "10.78.3.2"] {
                let share = answers.iter().filter(|answer| answer.as_deref() == Some(server)).count();
                assert!((5..=35).contains(&share), "{server} got {share} of 40 datagrams ({family:?})");
            }
            assert!(answers.iter().all(Option::is_some), "some datagrams were lost ({family:?})");
            let connect = |port| {
                client.run_in(|| TcpStream::connect_timeout(&at("10.96.0.10", port), PATIENCE)).unwrap()
            };
            assert_eq!(connect(80).unwrap().peer_addr().unwrap(), at("10.96.0.10", 80));
            assert_eq!(connect(81).unwrap_err().kind(), ErrorKind::ConnectionRefused, "{family:?}");
            remove(&mut socket, family, TABLE).unwrap();
        }
    });
}

#[test]
fn fingerprint_sees_others_and_not_us() {
    in_sandbox("fingerprint_sees_others_and_not_us", || {
        let mut pair = pair();
        let take = |pair: &Pair| fingerprint(&pair.victim).unwrap();
        let foreign = |matches: Vec<Match>| {
            let chains = vec![chain("output", Hook::Output, vec![rule(matches, Action::Accept)])];
            TablePlan { name: "theirs".into(), owned: false, chains, ..partition(Vec::new()) }
        };
        let mut other = pair.victim.socket(Protocol::Netfilter).unwrap();
        install(&mut other, &foreign(vec![])).unwrap();
        let before = take(&pair);
        let journal = serde_json::to_string(&before).unwrap();
        assert!(journal.contains("theirs"), "{journal}");
        assert_eq!(
            serde_json::from_str::<squall::daemon::sys::fingerprint::Fingerprint>(&journal).unwrap(),
            before
        );

        assert!(pair.answers(NEAR4), "traffic that the foreign rule counts");
        assert_eq!(before.difference(&take(&pair)), None);
        install(&mut pair.netfilter, &partition(vec![set("peers", &[NEAR4])])).unwrap();
        assert_eq!(before.difference(&take(&pair)), None);

        install(&mut other, &foreign(vec![Match::Mark(1)])).unwrap();
        let difference = before.difference(&take(&pair)).expect("a changed rule");
        assert!(difference.contains("gone: rules 1 theirs output number 1"), "{difference}");
        install(&mut other, &foreign(vec![])).unwrap();
        assert_eq!(before.difference(&take(&pair)), None, "the rule is as it was");

        let tc = |arguments: &str| {
            pair.victim.run_in(|| run("tc", &arguments.split(' ').collect::<Vec<_>>())).unwrap();
        };
        tc("qdisc add dev a0 root handle 7: tbf rate 1mbit burst 10k latency 50ms");
        let slow = take(&pair);
        let difference = before.difference(&slow).expect("a new discipline");
        assert!(difference.contains("handle 00070000 tbf"), "{difference}");
        assert!(pair.answers(FAR4), "traffic that the discipline counts");
        assert_eq!(slow.difference(&take(&pair)), None);
        // Unclassified packets are counted among this one's options.
        tc("qdisc replace dev a0 root handle 8: htb default 0");
        let classful = take(&pair);
        assert!(pair.answers(FAR4), "traffic that the discipline counts");
        assert_eq!(classful.difference(&take(&pair)), None);
        tc("qdisc del dev a0 root");
        assert_eq!(before.difference(&take(&pair)), None, "the discipline is gone");
    });
}

#[test]
fn namespaces_and_their_tables_are_apart() {
    in_sandbox("namespaces_and_their_tables_are_apart", || {
        let mut pair = pair();
        install(&mut pair.netfilter, &partition(vec![set("peers", &[NEAR4])])).unwrap();
        let tables = list_tables(&mut pair.netfilter).unwrap();
        let [table] = &tables[..] else { panic!("{tables:?}") };
        assert_eq!((table.name.as_str(), &table.userdata[..]), (TABLE, &b"a test"[..]));
        assert_eq!(list_tables(&mut Socket::open(Protocol::Netfilter).unwrap()).unwrap(), []);

        let own = NetNs::of_pid(std::process::id());
        assert!(matches!(own, Err(NetNsError::Own { .. })), "{own:?}");
        let mut holder = pair.victim.run_in(|| Command::new("sleep").arg("60").spawn().unwrap()).unwrap();
        let found = NetNs::of_pid(holder.id()).map(|namespace| namespace.id());
        holder.kill().unwrap();
        holder.wait().unwrap();
        assert_eq!(found.unwrap(), pair.victim.id());
        let gone = NetNs::of_pid(holder.id());
        assert!(matches!(gone, Err(NetNsError::Open { .. })), "{gone:?}");
        let panicked = pair.victim.run_in(|| panic!("on purpose"));
        assert!(matches!(panicked, Err(NetNsError::Panicked { .. })));
        let here = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let own = here();
        assert_ne!(pair.victim.visit(here).unwrap(), own);
        assert_eq!(here(), own, "a visit ends");
        let visit = std::panic::AssertUnwindSafe(|| pair.victim.visit(|| panic!("on purpose")));
        assert!(std::panic::catch_unwind(visit).is_err());
        assert_eq!(here(), own, "also with a panic");
    });
}
