//! Trees of qdiscs where the kernel has netem and prio: what they do to packets of the peers that are meant, and that
//! they do nothing to others.
//!
//! Skipped elsewhere. Times are medians: a busy machine adds to each packet's, a fault must not depend on it.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what is wrong")]
#![expect(clippy::disallowed_methods, reason = "tests build their networks with ip and tc")]
#![expect(clippy::print_stderr, reason = "what was skipped or measured must be seen")]

mod sandbox;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use sandbox::{at, connect, in_sandbox, ip, namespace};
use squall::api::{Delay, Loss, NetworkEffect, NetworkEnd, NetworkRule, Peer, Shaping};
use squall::daemon::sys::fingerprint::{Fingerprint, fingerprint};
use squall::daemon::sys::netlink::{Protocol, Socket};
use squall::daemon::sys::netns::NetNs;
use squall::daemon::sys::nft;
use squall::daemon::sys::tc::{
    Root, TcError, TreeState, install, interface, observe_root, ours, probe, read_back, remove,
};
use squall::network::layout::{Backends, Layout, layout};
use squall::network::netem::{Chance, Netem, Probability};
use squall::network::plan::{ActiveFault, NetworkPlan};
use squall::network::qdisc::QdiscTree;

const VICTIM: &str = "10.77.0.1";
const NEAR: &str = "10.77.0.2";
const FAR: &str = "10.77.0.3";
const PORT: u16 = 7001;
/// How long an answer is waited for that must come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it is waited for more answers when one of them may be lost.
const DOUBT: Duration = Duration::from_millis(500);

/// Runs a test in a sandbox, if the kernel has what it needs.
fn with_netem(name: &str, test: impl FnOnce()) {
    in_sandbox(name, || {
        let support = probe().unwrap();
        if !support.is_complete() {
            eprintln!("SKIPPED: {name}: this kernel has not both netem and prio ({support:?})");
            return;
        }
        test();
    });
}

/// A victim, and a neighbour with two addresses that echoes datagrams.
struct Pair {
    victim: NetNs,
    /// Kept alive.
    _neighbour: NetNs,
    route: Socket,
    netfilter: Socket,
    interface: u32,
}

fn pair() -> Pair {
    let (victim, neighbour) = (namespace(), namespace());
    connect(Some(&victim), "a0", &neighbour, "b0");
    ip(&victim, &format!("addr add {VICTIM}/24 dev a0"));
    for address in [NEAR, FAR] {
        ip(&neighbour, &format!("addr add {address}/24 dev b0"));
        echo(&neighbour, at(address, PORT));
    }
    let mut route = victim.socket(Protocol::Route).unwrap();
    let netfilter = victim.socket(Protocol::Netfilter).unwrap();
    let interface = interface(&mut route, "a0").unwrap().expect("just made").index;
    let pair = Pair { victim, _neighbour: neighbour, route, netfilter, interface };
    for address in [NEAR, FAR] {
        // Right after an interface came up its first datagrams may be lost.
        let begun = Instant::now();
        while pair.round_trip(address, DOUBT).is_none() {
            assert!(begun.elapsed() < PATIENCE, "{address} does not answer before anything was done");
        }
    }
    pair
}

/// Sends every datagram back, until the test process ends.
fn echo(namespace: &NetNs, address: SocketAddr) {
    let socket = namespace.run_in(|| UdpSocket::bind(address).unwrap()).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, sender)) = socket.recv_from(&mut buffer) {
            // The sender may be gone.
            drop(socket.send_to(buffer.get(..length).unwrap(), sender));
        }
    });
}

impl Pair {
    fn socket(&self, address: &str, wait: Duration) -> UdpSocket {
        let socket = self.victim.run_in(|| UdpSocket::bind((VICTIM, 0)).unwrap()).unwrap();
        socket.connect(at(address, PORT)).unwrap();
        socket.set_read_timeout(Some(wait)).unwrap();
        socket
    }

    fn round_trip(&self, address: &str, wait: Duration) -> Option<Duration> {
        let socket = self.socket(address, wait);
        let begun = Instant::now();
        socket.send(b"?").unwrap();
        socket.recv(&mut [0; 8]).ok()?;
        Some(begun.elapsed())
    }

    /// Round trips to the peer that is meant and to the other one, taken in turns, each in ascending order.
    fn round_trips(&self, count: usize) -> [Vec<Duration>; 2] {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..count {
            for (times, address) in times.iter_mut().zip([NEAR, FAR]) {
                times.push(self.round_trip(address, PATIENCE).expect("no answer"));
            }
        }
        times.map(|mut times| {
            times.sort();
            times
        })
    }

    /// Puts a layout in place and proves it.
    fn set(&mut self, layout: &Layout) -> TreeState {
        let tree = layout.qdiscs.get("a0").expect("no tree in the layout");
        self.install(tree);
        nft::install(&mut self.netfilter, &layout.table).unwrap();
        self.proved(tree)
    }

    fn install(&mut self, tree: &QdiscTree) {
        install(&mut self.route, self.interface, tree).unwrap();
    }

    fn proved(&mut self, tree: &QdiscTree) -> TreeState {
        let state = read_back(&mut self.route, self.interface).unwrap().expect("no tree");
        state.matches(tree).unwrap();
        state
    }

    fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.victim).unwrap()
    }

    /// Runs `tc qdisc ACTION dev a0 …`; false if the kernel has no such kind.
    fn tc(&self, action: &str, what: &str) -> bool {
        let arguments = format!("qdisc {action} dev a0 {what}");
        let output =
            self.victim.run_in(|| Command::new("tc").args(arguments.split(' ')).output().unwrap()).unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        if text.contains("Specified qdisc kind is unknown") {
            return false;
        }
        assert!(output.status.success(), "tc {arguments}: {text}");
        true
    }
}

fn median(sorted: &[Duration]) -> Duration {
    *sorted.get(sorted.len() / 2).expect("nothing was measured")
}

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// The layout of an experiment that shapes what the victim sends to the near address.
fn shaped(shaping: Shaping) -> Layout {
    let peers = Some(vec![Peer { network: format!("{NEAR}/32").parse().unwrap(), port: None }]);
    let rule = NetworkRule { action: NetworkEffect::Shape, shaping: Some(shaping), peers };
    let end = NetworkEnd { selector_key: ".".into(), device: "a0".into(), egress: Some(rule), ingress: None };
    let fault = ActiveFault { label: "default/slow", end: &end, exempt: &[] };
    let plan = NetworkPlan::of(&[fault]).unwrap();
    layout(&plan, Backends { netem: true, queue: None }).unwrap()
}

fn delayed(latency: &str, jitter: &str) -> Layout {
    let delay =
        Delay { latency: latency.into(), jitter: jitter.into(), correlation: "0".into(), reorder: None };
    shaped(Shaping { delay: Some(delay), ..Shaping::default() })
}

fn tree(bands: &[(u8, Netem)]) -> QdiscTree {
    QdiscTree { bands: bands.iter().copied().collect::<BTreeMap<_, _>>() }
}

fn waits(count: u64) -> Netem {
    Netem { latency: count * 1_000_000, ..Netem::default() }
}

fn chance(percent: f64) -> Chance {
    Chance { probability: Probability::from_percent(percent), correlation: Probability::NEVER }
}

#[test]
fn the_peer_that_is_meant_waits_as_long_as_asked_and_no_other() {
    with_netem("the_peer_that_is_meant_waits_as_long_as_asked_and_no_other", || {
        let mut pair = pair();
        let before = pair.fingerprint();
        for (asked, count) in [(1, 31), (10, 31), (50, 21), (150, 11), (1000, 5)] {
            pair.set(&delayed(&format!("{asked}ms"), "0ms"));
            let [near, far] = pair.round_trips(count);
            let (near, far) = (median(&near), median(&far));
            eprintln!("{asked} ms asked for: median {near:?}; the other peer {far:?}");
            let asked = milliseconds(asked);
            let most = asked + asked / 10 + milliseconds(5);
            assert!(near >= asked, "{near:?} are less than {asked:?}");
            assert!(near.saturating_sub(far) <= most, "{near:?} less {far:?} are more than {most:?}");
            assert!(far <= milliseconds(5) + asked / 10, "the other peer took {far:?}");
        }
        remove(&mut pair.route, pair.interface, &Root::Default).unwrap();
        assert_eq!(before.difference(&pair.fingerprint()), None);
        assert!(median(&pair.round_trips(11)[0]) < milliseconds(150), "still slow after its end");
    });
}

#[test]
fn waits_vary_as_far_as_asked() {
    with_netem("waits_vary_as_far_as_asked", || {
        let mut pair = pair();
        pair.set(&delayed("50ms", "20ms"));
        let [near, _] = pair.round_trips(60);
        let (shortest, middle) = (near[0], median(&near));
        let spread = near[54].saturating_sub(near[5]);
        eprintln!(
            "50 ± 20 ms asked for: from {shortest:?}, median {middle:?}, nine tenths within {spread:?}"
        );
        assert!(shortest >= milliseconds(30), "{near:?}");
        assert!((milliseconds(40)..=milliseconds(65)).contains(&middle), "{near:?}");
        // Evenly spread over 40 ms: the middle 80 percent are 32 ms apart.
        assert!(spread >= milliseconds(20), "{near:?}");
    });
}

#[test]
fn as_many_packets_are_lost_as_asked() {
    with_netem("as_many_packets_are_lost_as_asked", || {
        let mut pair = pair();
        let third = Loss { loss: "30".into(), correlation: "0".into() };
        let layout = shaped(Shaping { loss: Some(third), ..Shaping::default() });
        pair.set(&layout);
        let count = |address: &str| {
            let socket = pair.socket(address, DOUBT);
            let mut answers = 0;
            for _ in 0..20 {
                (0..25).for_each(|_| assert_eq!(socket.send(b"?").unwrap(), 1));
                let mut came = 0;
                while came < 25 && socket.recv(&mut [0; 8]).is_ok() {
                    came += 1;
                }
                answers += came;
            }
            answers
        };
        assert_eq!(count(FAR), 500, "packets of the other peer were lost");
        let lost = 500 - count(NEAR);
        eprintln!("30 % loss asked for: {lost} of 500 were lost");
        // 150 are expected; 10 are one standard deviation.
        assert!((100..=200).contains(&lost), "{lost} of 500 were lost");
        let state = pair.proved(&layout.qdiscs["a0"]);
        let band = state.bands.values().next().unwrap();
        assert_eq!(band.statistics.dropped, lost, "{}", band.statistics);
        assert_eq!(band.statistics.packets, u64::from(500 - lost), "{}", band.statistics);
    });
}

#[test]
fn a_change_loses_no_packet_and_lets_none_pass_unshaped() {
    with_netem("a_change_loses_no_packet_and_lets_none_pass_unshaped", || {
        let mut pair = pair();
        let layout = delayed("100ms", "0ms");
        pair.set(&layout);
        let band = *layout.qdiscs["a0"].bands.keys().next().unwrap();
        let free: Vec<u8> = (2..=16).filter(|number| *number != band).take(2).collect();
        let socket = pair.socket(NEAR, milliseconds(2));
        let mut sent = Vec::new();
        let mut times = BTreeMap::new();
        let mut buffer = [0; 8];
        let mut receive = |sent: &[Instant]| {
            let Ok(_) = socket.recv(&mut buffer) else { return false };
            let number = usize::try_from(u64::from_ne_bytes(buffer)).unwrap();
            times.insert(number, sent[number].elapsed());
            true
        };
        for round in 0..100_u64 {
            socket.send(&u64::try_from(sent.len()).unwrap().to_ne_bytes()).unwrap();
            sent.push(Instant::now());
            // Ours changes, others come and go beside it.
            let mut next = vec![(band, waits(100 + round % 2 * 50))];
            next.extend(free.iter().take(usize::try_from(round % 3).unwrap()).map(|band| (*band, waits(5))));
            install(&mut pair.route, pair.interface, &tree(&next)).unwrap();
            receive(&sent);
        }
        let begun = Instant::now();
        while begun.elapsed() < milliseconds(1500) {
            receive(&sent);
        }
        let missing: BTreeSet<_> = (0..sent.len()).filter(|number| !times.contains_key(number)).collect();
        assert!(missing.is_empty(), "lost: {missing:?}");
        let shortest = times.values().min().unwrap();
        assert!(*shortest >= milliseconds(99), "one packet waited for {shortest:?} only");
        pair.proved(&tree(&[(band, waits(150))]));
    });
}

#[test]
fn every_tree_can_follow_every_other_and_is_read_back() {
    with_netem("every_tree_can_follow_every_other_and_is_read_back", || {
        let mut pair = pair();
        let everything = Netem {
            latency: 150_000_000,
            jitter: 10_000_001,
            correlation: Probability::from_percent(25.0),
            loss: Chance { correlation: Probability(1), ..chance(10.0) },
            corrupt: Chance { correlation: Probability(7), ..chance(2.0) },
            reorder: Chance { correlation: Probability::from_percent(50.0), ..chance(20.0) },
            duplicate: Chance::default(),
            gap: 5,
            rate: 1_250_000,
        };
        let duplicate = Netem { duplicate: chance(1.0), ..everything };
        let fast = Netem { rate: 12_500_000_000, ..Netem::default() };
        let trees = [
            tree(&[]),
            tree(&[(2, everything)]),
            tree(&[(2, Netem { jitter: i32::MAX as u64, ..waits(3_000) }), (16, fast)]),
            tree(&[(2, duplicate)]),
            tree(&[(3, duplicate)]),
            QdiscTree { bands: (2..=16).map(|band| (band, waits(band.into()))).collect() },
        ];
        for first in &trees {
            for second in &trees {
                pair.install(first);
                pair.proved(first);
                pair.install(second);
                let state = pair.proved(second);
                if first != second {
                    assert!(state.matches(first).is_err(), "{first:?} and {second:?} look the same");
                }
            }
        }
        assert_eq!(ours(&mut pair.route).unwrap(), [pair.interface]);
        assert_eq!(observe_root(&mut pair.route, pair.interface).unwrap(), Root::Ours);
        // Somebody else's, in one of our bands and below another.
        let mut other = namespace_tc(&pair, "parent ca05:4 handle 44: pfifo limit 5");
        assert_eq!(other, "band 4: pfifo and not our netem");
        pair.install(&trees[5]);
        pair.proved(&trees[5]);
        other = namespace_tc(&pair, "parent ca14:1 handle 45: pfifo limit 5");
        assert!(other.starts_with("pfifo below ca14"), "{other}");
        remove(&mut pair.route, pair.interface, &Root::Default).unwrap();
    });
}

/// What differs from the last tree of the test after somebody's `tc qdisc replace`.
fn namespace_tc(pair: &Pair, what: &str) -> String {
    assert!(pair.tc("replace", what));
    let tree = QdiscTree { bands: (2..=16).map(|band| (band, waits(band.into()))).collect() };
    let mut route = pair.victim.socket(Protocol::Route).unwrap();
    read_back(&mut route, pair.interface).unwrap().unwrap().matches(&tree).unwrap_err().to_string()
}

#[test]
fn duplicates_beside_others_are_made_or_refused_as_a_whole() {
    with_netem("duplicates_beside_others_are_made_or_refused_as_a_whole", || {
        let mut pair = pair();
        let both = tree(&[(2, Netem { duplicate: chance(50.0), ..Netem::default() }), (3, waits(10))]);
        let before = pair.fingerprint();
        match install(&mut pair.route, pair.interface, &both) {
            Ok(()) => drop(pair.proved(&both)),
            Err(error) => {
                eprintln!("duplicates beside others: {error}");
                assert_eq!(before.difference(&pair.fingerprint()), None);
            }
        }
    });
}

#[test]
fn what_was_there_before_comes_back() {
    with_netem("what_was_there_before_comes_back", || {
        let mut pair = pair();
        for previous in [
            "root handle 7: pfifo limit 9",
            "root handle 7: tbf rate 20mbit burst 20k latency 70ms",
            "root handle 7: fq_codel limit 500 target 7ms noecn",
            "root handle 7: fq limit 500 maxrate 10mbit",
            "root handle 7: sfq limit 100 perturb 10",
        ] {
            if !pair.tc("add", previous) {
                eprintln!("SKIPPED: previous {previous}: not in this kernel");
                continue;
            }
            let before = pair.fingerprint();
            let root = observe_root(&mut pair.route, pair.interface).unwrap();
            assert!(matches!(root, Root::Classless { .. }), "{root:?}");
            pair.install(&tree(&[(2, waits(10))]));
            pair.proved(&tree(&[(2, waits(10))]));
            assert_eq!(observe_root(&mut pair.route, pair.interface).unwrap(), Root::Ours);
            remove(&mut pair.route, pair.interface, &root).unwrap();
            assert_eq!(before.difference(&pair.fingerprint()), None, "{previous}");
            pair.tc("del", "root");
        }
    });
}

#[test]
fn others_shapes_are_refused_before_anything_changes() {
    with_netem("others_shapes_are_refused_before_anything_changes", || {
        let mut pair = pair();
        for (kind, command) in [
            ("htb", "root handle 7: htb default 1"),
            ("prio", "root handle 7: prio"),
            ("netem", "root handle 7: netem delay 1ms"),
        ] {
            if !pair.tc("add", command) {
                eprintln!("SKIPPED: foreign root {kind}: not in this kernel");
                continue;
            }
            let before = pair.fingerprint();
            let error = install(&mut pair.route, pair.interface, &tree(&[(2, waits(10))])).unwrap_err();
            assert!(matches!(&error, TcError::Foreign { kind: named, .. } if named == kind), "{error}");
            assert_eq!(before.difference(&pair.fingerprint()), None, "{kind}");
            pair.tc("del", "root");
        }
        // A root of our number, but not of our kind, is ours to replace.
        assert!(pair.tc("add", "root handle ca05: tbf rate 1mbit burst 10k latency 50ms"));
        pair.install(&tree(&[(2, waits(10))]));
        pair.proved(&tree(&[(2, waits(10))]));
    });
}
