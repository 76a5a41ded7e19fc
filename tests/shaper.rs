//! The shaper against the running kernel, judged by the packets that arrive: one way, with times of one clock.
//!
//! Every test runs in a sandbox (see `sandbox`).

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what is wrong")]
#![expect(clippy::disallowed_methods, reason = "tests build their networks with ip and nft, and sleep")]
#![expect(clippy::print_stderr, reason = "what was skipped or measured must be seen")]
#![expect(clippy::indexing_slicing, reason = "a test stops at what is missing")]
#![expect(clippy::cast_precision_loss, reason = "a sample has fewer than 2^52 packets")]

mod sandbox;

use std::collections::BTreeMap;
use std::io::{BufRead, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sandbox::{at, connect, in_sandbox, ip, namespace, run};
use squall::daemon::shaper::{Counts, Direction, QueueSpec, Shaper};
use squall::daemon::sys::netlink::{Protocol, Socket};
use squall::daemon::sys::netns::NetNs;
use squall::daemon::sys::nfqueue::Queue;
use squall::daemon::sys::nft::{self, install, read_back, remove};
use squall::daemon::sys::proc::PidFd;
use squall::network::RESENT_MARK;
use squall::network::netem::{Chance, Netem, Probability};
use squall::network::table::{
    Action, Address, AddressSet, Chain, ChainKind, Family, Hook, IpVersion, Match, QueueFlavour, Rule,
    TablePlan,
};

const TABLE: &str = "squall_test";
const POD: &str = "default/pod";
const POD4: &str = "10.79.0.1";
const POD6: &str = "fd79::1";
const NEAR4: &str = "10.79.0.2";
const FAR4: &str = "10.79.0.3";
const NEAR6: &str = "fd79::2";
const FAR6: &str = "fd79::3";
const PORT: u16 = 7001;
const EGRESS: u16 = 1;
const INGRESS: u16 = 2;
/// How long a packet is waited for that must come.
const PATIENCE: Duration = Duration::from_secs(10);

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A pod, and its peer with two addresses of each version: what goes to and from the near ones is shaped.
struct Lab {
    pod: NetNs,
    peer: NetNs,
    netfilter: Socket,
    shaper: Shaper,
    ended: mpsc::Receiver<()>,
    flavour: QueueFlavour,
    plan: TablePlan,
}

/// In a sandbox, with a lab; skipped where the kernel has no queues.
fn in_lab(name: &str, test: impl FnOnce(Lab)) {
    in_sandbox(name, || match nft::probe_queue().unwrap() {
        None => eprintln!("SKIPPED: {name}: this kernel has no queue for nf_tables"),
        Some(flavour) => test(lab(flavour)),
    });
}

/// The program that is the shaper: the one of this build, unless the environment names another.
fn program() -> PathBuf {
    std::env::var_os("SQUALL_BIN").map_or(env!("CARGO_BIN_EXE_squall").into(), PathBuf::from)
}

fn lab(flavour: QueueFlavour) -> Lab {
    let (pod, peer) = (namespace(), namespace());
    connect(Some(&pod), "a0", &peer, "b0");
    ip(&pod, &format!("addr add {POD4}/24 dev a0"));
    ip(&pod, &format!("addr add {POD6}/64 dev a0 nodad"));
    for address in [NEAR4, FAR4] {
        ip(&peer, &format!("addr add {address}/24 dev b0"));
    }
    for address in [NEAR6, FAR6] {
        ip(&peer, &format!("addr add {address}/64 dev b0 nodad"));
    }
    let netfilter = pod.socket(Protocol::Netfilter).unwrap();
    let (end, ended) = mpsc::channel();
    let on_end = move || end.send(()).unwrap();
    let shaper = Shaper::start_program(&program(), on_end).unwrap();
    let lab = Lab { pod, peer, netfilter, shaper, ended, flavour, plan: plan(flavour, &[]) };
    for address in [NEAR4, FAR4, NEAR6, FAR6] {
        // Right after an interface came up its first packets may be lost, to neighbour discovery above all.
        let begun = Instant::now();
        while lab.outbound(address, 1, Duration::ZERO).is_empty() {
            assert!(begun.elapsed() < PATIENCE, "{address} is not reached before anything was done");
        }
    }
    lab
}

fn delay(milliseconds: u64) -> Netem {
    Netem { latency: milliseconds * 1_000_000, ..Netem::default() }
}

fn chance(percent: f64) -> Chance {
    Chance { probability: Probability::from_percent(percent), correlation: Probability::NEVER }
}

fn spec(direction: Direction, netem: Netem) -> QueueSpec {
    let number = if direction == Direction::Egress { EGRESS } else { INGRESS };
    QueueSpec { number, direction, netem }
}

fn plan(flavour: QueueFlavour, directions: &[Direction]) -> TablePlan {
    let set = |name: &str, address: &str| {
        let address: IpAddr = address.parse().unwrap();
        AddressSet { name: name.into(), version: IpVersion::of(address), networks: vec![address.into()] }
    };
    let marked = |set| Match::MarkBits { mask: RESENT_MARK, set };
    let rule = |matches: Vec<Match>, action| Rule { matches, action, counter: true, comment: None };
    let chain = |name: &str, hook, priority, rules| Chain {
        name: name.into(),
        kind: ChainKind::Filter,
        hook,
        priority,
        rules,
    };
    let queued = |number, end: fn(Address) -> Match| {
        let to = |set: &str| vec![end(Address::Set(set.into())), marked(false)];
        let rule = |set: &str| rule(to(set), Action::Queue { number, flavour });
        vec![rule("near4"), rule("near6")]
    };
    let mut chains =
        vec![chain("resent", Hook::Output, -310, vec![rule(vec![marked(true)], Action::NoTrack)])];
    for direction in directions {
        chains.push(match direction {
            Direction::Egress => chain("egress", Hook::Postrouting, 300, queued(EGRESS, Match::Destination)),
            Direction::Ingress => chain("ingress", Hook::Input, 300, queued(INGRESS, Match::Source)),
        });
    }
    TablePlan {
        family: Family::Inet,
        name: TABLE.into(),
        owned: true,
        userdata: Vec::new(),
        sets: vec![set("near4", NEAR4), set("near6", NEAR6)],
        chains,
    }
}

impl Lab {
    /// As the daemon does it: queues first, then the rules.
    fn shape(&mut self, queues: &[QueueSpec]) {
        self.shaper.serve(POD, &self.pod, queues).unwrap();
        let directions: Vec<_> = queues.iter().map(|queue| queue.direction).collect();
        let plan = plan(self.flavour, &directions);
        install(&mut self.netfilter, &plan).unwrap();
        let state = read_back(&mut self.netfilter, plan.family, &plan.name).unwrap().expect("no table");
        state.matches(&plan).unwrap();
        self.plan = plan;
    }

    /// As the daemon does it: rules without queues, then no queue, then no table.
    fn undo(&mut self) -> squall::daemon::shaper::Drained {
        // The chains stay for now: with any of them the kernel drops what waits in the namespace.
        let mut idle = self.plan.clone();
        idle.chains.iter_mut().for_each(|chain| chain.rules.clear());
        install(&mut self.netfilter, &idle).unwrap();
        let drained = self.shaper.serve(POD, &self.pod, &[]).unwrap();
        remove(&mut self.netfilter, Family::Inet, TABLE).unwrap();
        drained
    }

    fn counts(&mut self, number: u16) -> Counts {
        let counts = self.shaper.counts(POD).unwrap();
        counts.iter().find(|(queue, _)| *queue == number).expect("no such queue").1
    }

    /// Sends datagrams from the pod to the peer.
    fn outbound(&self, address: &str, count: u32, gap: Duration) -> Vec<Arrival> {
        flow(&self.pod, &self.peer, address, count, gap, 64)
    }

    /// Sends datagrams from the peer to the pod.
    fn inbound(&self, from: &str, address: &str, count: u32, gap: Duration) -> Vec<Arrival> {
        let flight = Flight::begin(&self.pod, address);
        flight.send_from(&self.peer, from.parse().unwrap(), count, gap, 64);
        flight.finish()
    }
}

/// A datagram that came.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    number: u32,
    delay: Duration,
    at: Duration,
}

/// Datagrams on their way to one receiver.
struct Flight {
    to: SocketAddr,
    receiver: thread::JoinHandle<Vec<Arrival>>,
    stop: Arc<AtomicBool>,
}

impl Flight {
    fn begin(to: &NetNs, address: &str) -> Self {
        let to_address = at(address, PORT);
        let socket = to.run_in(|| UdpSocket::bind(to_address).unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let receiver = thread::spawn(move || {
            let mut arrivals = Vec::new();
            let mut buffer = [0; 9_000];
            loop {
                match socket.recv(&mut buffer) {
                    Ok(_) => {
                        let at = ORIGIN.elapsed();
                        let number = u32::from_be_bytes(*buffer.first_chunk().unwrap());
                        let sent = u64::from_be_bytes(buffer[4..12].try_into().unwrap());
                        arrivals.push(Arrival {
                            number,
                            delay: at.saturating_sub(Duration::from_nanos(sent)),
                            at,
                        });
                    }
                    Err(_) if stopped.load(Ordering::Relaxed) => return arrivals,
                    Err(_) => {}
                }
            }
        });
        Self { to: to_address, receiver, stop }
    }

    fn send_from(&self, from: &NetNs, source: IpAddr, count: u32, gap: Duration, size: usize) {
        let socket = from.run_in(|| UdpSocket::bind((source, 0)).unwrap()).unwrap();
        socket.connect(self.to).unwrap();
        let mut datagram = vec![0; size];
        let begun = Instant::now();
        for number in 0..count {
            thread::sleep((gap * number).saturating_sub(begun.elapsed()));
            datagram[..4].copy_from_slice(&number.to_be_bytes());
            datagram[4..12]
                .copy_from_slice(&u64::try_from(ORIGIN.elapsed().as_nanos()).unwrap().to_be_bytes());
            socket.send(&datagram).unwrap();
        }
    }

    /// What came until nothing came any more for a while.
    fn finish(self) -> Vec<Arrival> {
        self.stop.store(true, Ordering::Relaxed);
        self.receiver.join().unwrap()
    }
}

fn flow(from: &NetNs, to: &NetNs, address: &str, count: u32, gap: Duration, size: usize) -> Vec<Arrival> {
    let flight = Flight::begin(to, address);
    flight.send_from(from, any(address), count, gap, size);
    flight.finish()
}

fn any(address: &str) -> IpAddr {
    if address.contains(':') { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The share that is given of the sorted delays lies below, in milliseconds.
fn quantile(arrivals: &[Arrival], share: f64) -> f64 {
    let mut delays: Vec<_> = arrivals.iter().map(|arrival| milliseconds(arrival.delay)).collect();
    delays.sort_unstable_by(f64::total_cmp);
    let count = delays.len() - 1;
    let index = (0..=count).find(|index| *index as f64 >= share * count as f64).unwrap_or(count);
    delays[index]
}

/// Measures again, at most five times, while the packets are late: other programs make them so now and then, a shaper
/// that is wrong always. What is early or lost is wrong the first time, and `measure` asserts that.
fn calm<T>(mut measure: impl FnMut() -> T, is_late: impl Fn(&T) -> bool) -> T {
    for _ in 0..4 {
        let measured = measure();
        if !is_late(&measured) {
            return measured;
        }
        eprintln!("late: measured again");
    }
    measure()
}

/// Datagrams wait longer than the receiver does: it must know that some are still to come.
fn outlive(wait: Duration, flight: Flight) -> Vec<Arrival> {
    thread::sleep(wait);
    flight.finish()
}

#[test]
fn delays_are_those_asked_for() {
    in_lab("delays_are_those_asked_for", |mut lab| {
        let median = |lab: &Lab, address| {
            let arrivals = lab.outbound(address, 50, Duration::from_millis(1));
            assert_eq!(arrivals.len(), 50, "some were lost");
            quantile(&arrivals, 0.5)
        };
        let base = median(&lab, NEAR4);
        let mut sent = 0;
        eprintln!("one way without a fault: median {base:.3} ms");
        for latency in [1, 10, 50, 150, 1_000] {
            lab.shape(&[spec(Direction::Egress, delay(latency))]);
            let asked = latency as f64;
            let bound = asked + 1.0 + asked / 100.0;
            for near in [NEAR4, NEAR6] {
                let measure = || {
                    let flight = Flight::begin(&lab.peer, near);
                    flight.send_from(&lab.pod, any(near), 200, Duration::from_millis(2), 64);
                    let arrivals = outlive(Duration::from_millis(latency), flight);
                    sent += 200;
                    assert_eq!(arrivals.len(), 200, "some were lost");
                    assert!(quantile(&arrivals, 0.0) >= asked, "some were early");
                    (quantile(&arrivals, 0.5), quantile(&arrivals, 0.95))
                };
                let (median, p95) = calm(measure, |(median, _)| *median > bound);
                eprintln!(
                    "{latency} ms to {near}: median +{:.3}, p95 +{:.3} ms",
                    median - asked,
                    p95 - asked
                );
                assert!(median <= bound, "{median} ms instead of {latency}");
            }
            let far = calm(|| median(&lab, FAR4), |median| *median > base + 0.5);
            assert!(far < base + 0.5, "a bystander waits {far} ms instead of {base}");
        }
        let far = calm(|| median(&lab, FAR6), |median| *median > base + 0.5);
        assert!(far < base + 0.5, "{far}");
        let counts = lab.counts(EGRESS);
        eprintln!("{counts:?}");
        assert_eq!((counts.failed, counts.overflowed, counts.waiting), (0, 0, 0));
        assert_eq!((counts.seen, counts.delivered), (sent, sent));
        assert!(counts.held >= 10, "the first of each flow must itself go");
        lab.undo();
        assert!(calm(|| median(&lab, NEAR4), |median| *median > base + 0.5) < base + 0.5);
    });
}

#[test]
fn what_comes_in_waits_too() {
    in_lab("what_comes_in_waits_too", |mut lab| {
        lab.shape(&[spec(Direction::Ingress, delay(50))]);
        for (near, pod) in [(NEAR4, POD4), (NEAR6, POD6)] {
            let arrivals = lab.inbound(near, pod, 200, Duration::from_millis(1));
            assert_eq!(arrivals.len(), 200);
            let (first, median) = (quantile(&arrivals, 0.0), quantile(&arrivals, 0.5));
            eprintln!("50 ms from {near}: least {first:.3}, median {median:.3} ms");
            assert!(first >= 50.0 && median < 51.5, "{first} {median}");
        }
        assert!(quantile(&lab.inbound(FAR4, POD4, 50, Duration::from_millis(1)), 0.5) < 1.0);
        let twice = Netem { duplicate: chance(100.0), ..delay(20) };
        lab.shape(&[spec(Direction::Ingress, twice)]);
        for (near, pod) in [(NEAR4, POD4), (NEAR6, POD6)] {
            let arrivals = lab.inbound(near, pod, 20, Duration::from_millis(1));
            eprintln!("each twice from {near}: {} of 40", arrivals.len());
            assert_eq!(arrivals.len(), 40);
            assert!(quantile(&arrivals, 0.0) >= 20.0);
        }
    });
}

#[test]
fn jitter_is_spread_as_netem_does_it() {
    in_lab("jitter_is_spread_as_netem_does_it", |mut lab| {
        let correlation = Probability::from_percent(75.0);
        let netem = Netem { jitter: 20_000_000, correlation, ..delay(50) };
        lab.shape(&[spec(Direction::Egress, netem)]);
        let measure = || {
            let arrivals = lab.outbound(NEAR4, 2_000, Duration::from_millis(1));
            assert_eq!(arrivals.len(), 2_000);
            arrivals
        };
        let mut arrivals =
            calm(measure, |arrivals| quantile(arrivals, 0.5) > 51.5 || quantile(arrivals, 0.99) > 71.5);
        let overtaken = arrivals.windows(2).filter(|pair| pair[1].number < pair[0].number).count();
        arrivals.sort_by_key(|arrival| arrival.number);
        let delays: Vec<_> = arrivals.iter().map(|arrival| milliseconds(arrival.delay)).collect();
        let mean = delays.iter().sum::<f64>() / delays.len() as f64;
        let product = |a: f64, b: f64| (a - mean) * (b - mean);
        let variance: f64 = delays.iter().map(|delay| product(*delay, *delay)).sum();
        let serial = delays.windows(2).map(|pair| product(pair[0], pair[1])).sum::<f64>() / variance;
        let deviation = (variance / delays.len() as f64).sqrt();
        let (least, p90) = (quantile(&arrivals, 0.0), quantile(&arrivals, 0.9));
        eprintln!(
            "50±20 ms: least {least:.2} mean {mean:.2} p90 {p90:.2} deviation {deviation:.2} ms, serial correlation \
             {serial:.3}, {overtaken} overtaken"
        );
        assert!((30.0..32.0).contains(&least), "{least}");
        assert!((48.5..52.0).contains(&mean), "{mean}");
        assert!((64.5..69.0).contains(&p90), "{p90}: 66 ms of an even spread");
        // An even spread over 40 ms deviates by 40/sqrt(12) = 11.5 ms.
        assert!((10.5..12.5).contains(&deviation), "{deviation}");
        // netem's remainder leaves nothing of a correlation at this jitter; see `Model::spread`.
        assert!(serial.abs() < 0.15, "{serial}");
        assert!(overtaken > 500, "{overtaken}");
    });
}

#[test]
fn loss_duplication_damage_order_and_rate() {
    in_lab("loss_duplication_damage_order_and_rate", |mut lab| {
        let gap = Duration::from_micros(500);
        let lost = |arrivals: &[Arrival], of: usize| of - arrivals.len();
        lab.shape(&[spec(Direction::Egress, Netem { loss: chance(10.0), ..Netem::default() })]);
        let missing = lost(&lab.outbound(NEAR4, 2_000, gap), 2_000);
        eprintln!("loss of 10 %: {missing} of 2,000");
        assert_eq!(u64::try_from(missing).unwrap(), lab.counts(EGRESS).lost);
        assert!((130..=270).contains(&missing), "{missing}: five standard deviations are 67");
        assert_eq!(lost(&lab.outbound(FAR4, 200, gap), 200), 0, "a bystander loses");

        lab.shape(&[spec(Direction::Egress, Netem { duplicate: chance(20.0), ..delay(5) })]);
        let before = lab.counts(EGRESS).duplicated;
        let arrivals = lab.outbound(NEAR6, 1_000, gap);
        eprintln!("duplication of 20 %: {} for 1,000", arrivals.len());
        assert_eq!(u64::try_from(arrivals.len()).unwrap(), 1_000 + lab.counts(EGRESS).duplicated - before);
        assert!((1_130..1_270).contains(&arrivals.len()));

        for near in [NEAR4, NEAR6] {
            lab.shape(&[spec(Direction::Egress, Netem { corrupt: chance(50.0), ..delay(5) })]);
            let before = lab.counts(EGRESS).corrupted;
            let missing = lost(&lab.outbound(near, 400, gap), 400);
            eprintln!("damage of 50 % to {near}: {missing} of 400 did not pass the checksum");
            assert_eq!(u64::try_from(missing).unwrap(), lab.counts(EGRESS).corrupted - before);
            assert!((150..250).contains(&missing));
        }

        lab.shape(&[spec(Direction::Egress, Netem { reorder: chance(25.0), gap: 1, ..delay(20) })]);
        let arrivals = lab.outbound(NEAR4, 400, Duration::from_millis(1));
        let at_once = arrivals.iter().filter(|arrival| milliseconds(arrival.delay) < 20.0).count();
        eprintln!("25 % at once: {at_once} of 400");
        assert!((60..140).contains(&at_once));

        // 1,000 bytes, 28 of UDP and IP, 14 of Ethernet: 8.336 ms each at 1 Mbit/s.
        lab.shape(&[spec(Direction::Egress, Netem { rate: 125_000, ..Netem::default() })]);
        let flight = Flight::begin(&lab.peer, NEAR4);
        flight.send_from(&lab.pod, any(NEAR4), 50, Duration::ZERO, 1_000);
        let arrivals = outlive(Duration::from_millis(450), flight);
        let took = milliseconds(arrivals[49].at.saturating_sub(arrivals[0].at)) / 49.0;
        eprintln!("1 Mbit/s: one datagram each {took:.3} ms");
        assert!((8.2..8.6).contains(&took), "{took}");
    });
}

#[test]
fn long_datagrams_and_translated_addresses_pass() {
    in_lab("long_datagrams_and_translated_addresses_pass", |mut lab| {
        lab.shape(&[spec(Direction::Egress, delay(20))]);
        for near in [NEAR4, NEAR6] {
            let arrivals = flow(&lab.pod, &lab.peer, near, 50, Duration::from_millis(2), 4_000);
            eprintln!(
                "4,000 bytes to {near}: {} of 50, median {:.2} ms",
                arrivals.len(),
                quantile(&arrivals, 0.5)
            );
            assert_eq!(arrivals.len(), 50);
            assert!(quantile(&arrivals, 0.0) >= 20.0);
        }
        if !lab.pod.run_in(|| std::process::Command::new("nft").arg("--version").output().is_ok()).unwrap() {
            eprintln!("SKIPPED: translation: nft (package nftables) is not installed");
            return;
        }
        ip(&lab.pod, "addr add 10.80.0.1/32 dev a0");
        ip(&lab.pod, "route add 10.96.0.0/16 dev a0 via 10.79.0.2");
        ip(&lab.peer, "route add 10.80.0.1/32 dev b0");
        let nft = |text: &str| lab.pod.run_in(|| run("nft", &[text])).unwrap();
        nft("add table ip theirs; \
             add chain ip theirs out { type nat hook output priority -100; }; \
             add chain ip theirs post { type nat hook postrouting priority 100; }; \
             add rule ip theirs out ip daddr 10.96.0.10 dnat to 10.79.0.2; \
             add rule ip theirs post ip daddr 10.79.0.2 snat to 10.80.0.1");
        let echo = lab.peer.run_in(|| UdpSocket::bind(at(NEAR4, PORT)).unwrap()).unwrap();
        let listener = lab.peer.run_in(|| TcpListener::bind(at(NEAR4, PORT)).unwrap()).unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, sender)) = echo.recv_from(&mut buffer) {
                assert_eq!(sender.ip().to_string(), "10.80.0.1");
                echo.send_to(&buffer[..length], sender).unwrap();
            }
        });
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut text = [0; 5];
                while stream.read_exact(&mut text).is_ok() {
                    stream.write_all(&text).unwrap();
                }
            }
        });
        let socket = lab.pod.run_in(|| UdpSocket::bind(at(POD4, 0)).unwrap()).unwrap();
        socket.connect(at("10.96.0.10", PORT)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        for number in 0..20_u8 {
            let begun = Instant::now();
            socket.send(&[number; 5]).unwrap();
            let mut buffer = [0; 64];
            let length = socket.recv(&mut buffer).expect("no answer through the translation");
            assert_eq!(buffer[..length], [number; 5]);
            assert!(begun.elapsed() >= Duration::from_millis(20));
        }
        let address = at("10.96.0.10", PORT);
        let mut stream = lab.pod.run_in(|| TcpStream::connect_timeout(&address, PATIENCE).unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        for _ in 0..20 {
            let mut text = [0; 5];
            stream.write_all(b"hello").unwrap();
            stream.read_exact(&mut text).unwrap();
        }
        eprintln!("translated: {:?}", lab.counts(EGRESS));
    });
}

#[test]
fn pods_are_served_apart() {
    in_lab("pods_are_served_apart", |mut one| {
        const OTHER: &str = "default/other";
        let mut other = lab(one.flavour);
        one.shape(&[spec(Direction::Egress, delay(30))]);
        one.shaper.serve(OTHER, &other.pod, &[spec(Direction::Egress, delay(60))]).unwrap();
        install(&mut other.netfilter, &plan(one.flavour, &[Direction::Egress])).unwrap();
        let gap = Duration::from_millis(1);
        let both = thread::scope(|scope| {
            let (pod, peer) = (&one.pod, &one.peer);
            let first = scope.spawn(|| flow(pod, peer, NEAR4, 100, gap, 64));
            (quantile(&other.outbound(NEAR4, 100, gap), 0.5), quantile(&first.join().unwrap(), 0.5))
        });
        eprintln!("60 and 30 ms in two pods with one number: median {:.2} and {:.2} ms", both.0, both.1);
        assert!((60.0..63.0).contains(&both.0) && (30.0..33.0).contains(&both.1));
        assert_eq!(one.shaper.counts(OTHER).unwrap()[0].1.seen, 100);

        // The one goes, with its network; the other stays as it is.
        remove(&mut other.netfilter, Family::Inet, TABLE).unwrap();
        drop(other);
        assert_eq!(one.shaper.release(OTHER).unwrap().dropped, 0);
        assert_eq!(one.shaper.counts(OTHER).unwrap(), []);
        assert!((30.0..33.0).contains(&quantile(&one.outbound(NEAR4, 100, gap), 0.5)));
        let taken = one.peer.run_in(|| Queue::bind(EGRESS)).unwrap();
        drop(taken.expect("numbers are of one namespace"));
        let error = one.pod.run_in(|| Queue::bind(EGRESS)).unwrap().unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EPERM), "{error}");
    });
}

#[test]
fn tcp_is_not_throttled_by_waiting() {
    in_lab("tcp_is_not_throttled_by_waiting", |mut lab| {
        lab.shape(&[spec(Direction::Egress, delay(10))]);
        let mut best = 0.0_f64;
        for near in [NEAR4, NEAR6, NEAR4] {
            let listener = lab.peer.run_in(|| TcpListener::bind(at(near, PORT)).unwrap()).unwrap();
            let reader = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut buffer = vec![0; 1 << 20];
                let begun = Instant::now();
                let mut bytes = 0;
                loop {
                    match stream.read(&mut buffer).unwrap() {
                        0 => return bytes as f64 * 8e-6 / begun.elapsed().as_secs_f64(),
                        length => bytes += length,
                    }
                }
            });
            let mut stream = lab.pod.run_in(|| TcpStream::connect(at(near, PORT)).unwrap()).unwrap();
            let begun = Instant::now();
            let data = vec![0; 1 << 18];
            while begun.elapsed() < Duration::from_secs(2) {
                stream.write_all(&data).unwrap();
            }
            drop(stream);
            let rate = reader.join().unwrap();
            eprintln!("TCP to {near} at 10 ms: {rate:.0} Mbit/s");
            best = best.max(rate);
        }
        // Held in the kernel it would be 5 Mbit/s: the sender counts what waits.
        assert!(best > 100.0, "{best} Mbit/s");
    });
}

#[test]
fn a_killed_shaper_lets_traffic_flow() {
    in_lab("a_killed_shaper_lets_traffic_flow", |mut lab| {
        lab.shape(&[spec(Direction::Egress, delay(150))]);
        let flight = Flight::begin(&lab.peer, NEAR4);
        let pid = Pid::from_raw(lab.shaper.id().try_into().unwrap());
        let killed = thread::scope(|scope| {
            scope.spawn(|| flight.send_from(&lab.pod, any(NEAR4), 1_500, Duration::from_millis(1), 64));
            thread::sleep(Duration::from_millis(500));
            kill(pid, Signal::SIGKILL).unwrap();
            ORIGIN.elapsed()
        });
        lab.ended.recv_timeout(PATIENCE).expect("nobody was told");
        assert!(!lab.shaper.is_alive());
        let arrivals = flight.finish();
        let at_once = |arrival: &&Arrival| milliseconds(arrival.delay) < 100.0;
        let first = arrivals.iter().find(at_once).expect("nothing flows");
        let after = milliseconds(first.at.saturating_sub(killed));
        eprintln!("killed: traffic flows after {after:.2} ms, {} of 1,500 arrived", arrivals.len());
        assert!(first.at > killed, "not delayed before");
        assert!(after < 50.0, "{after} ms");
        assert!(lab.shaper.serve(POD, &lab.pod, &[spec(Direction::Egress, delay(1))]).is_err());

        // Another one takes over the rules as they are.
        let (end, ended) = mpsc::channel();
        lab.shaper = Shaper::start_program(&program(), move || end.send(()).unwrap()).unwrap();
        lab.ended = ended;
        lab.shape(&[spec(Direction::Egress, delay(20))]);
        assert!(quantile(&lab.outbound(NEAR4, 50, Duration::from_millis(1)), 0.0) >= 20.0);
        let Lab { shaper, ended, .. } = lab;
        let pid = shaper.id();
        drop(shaper);
        assert!(ended.try_recv().is_err(), "its end was wanted");
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it is still there");
    });
}

#[test]
fn a_shaper_ends_with_its_daemon() {
    const DAEMON: &str = "SQUALL_TEST_DAEMON";
    let name = "a_shaper_ends_with_its_daemon";
    if std::env::var_os(DAEMON).is_some() {
        // The daemon of the test below: it is killed here.
        let shaper = Shaper::start_program(&program(), || {}).unwrap();
        eprintln!("shaper {}", shaper.id());
        thread::sleep(6 * PATIENCE);
        return;
    }
    let mut daemon = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(DAEMON, "1")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let said = std::io::BufReader::new(daemon.stderr.take().unwrap());
    let pid =
        said.lines().map_while(Result::ok).find_map(|line| line.split_once("shaper ")?.1.parse::<u32>().ok());
    let pid = PidFd::open(pid.expect("no shaper was started")).unwrap();
    assert!(!pid.wait(Duration::from_millis(300)).unwrap(), "it ended before");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(pid.wait(PATIENCE).unwrap(), "the shaper outlives its daemon");
}

#[test]
fn a_hanging_shaper_is_ended() {
    in_lab("a_hanging_shaper_is_ended", |mut lab| {
        lab.shape(&[spec(Direction::Egress, delay(10))]);
        let pid = Pid::from_raw(lab.shaper.id().try_into().unwrap());
        kill(pid, Signal::SIGSTOP).unwrap();
        let begun = Instant::now();
        lab.ended.recv_timeout(PATIENCE).expect("it hangs for ever");
        let took = begun.elapsed();
        eprintln!("stopped: ended after {took:?}");
        assert!(took < Duration::from_secs(3), "{took:?}");
        let arrivals = lab.outbound(NEAR4, 50, Duration::from_millis(1));
        assert_eq!(arrivals.len(), 50);
        assert!(quantile(&arrivals, 0.5) < 5.0);
    });
}

#[test]
fn an_edit_leaves_no_packet_alone() {
    in_lab("an_edit_leaves_no_packet_alone", |mut lab| {
        lab.shape(&[spec(Direction::Egress, delay(150))]);
        let flight = Flight::begin(&lab.peer, NEAR4);
        thread::scope(|scope| {
            scope.spawn(|| flight.send_from(&lab.pod, any(NEAR4), 3_000, Duration::from_micros(300), 64));
            thread::sleep(Duration::from_millis(450));
            let edited = [spec(Direction::Egress, delay(300))];
            assert_eq!(lab.shaper.serve(POD, &lab.pod, &edited).unwrap().delivered, 0);
        });
        let mut arrivals = outlive(Duration::from_millis(300), flight);
        assert_eq!(arrivals.len(), 3_000);
        arrivals.sort_by_key(|arrival| arrival.number);
        // By the last one that was quicker than the new delay: a machine that stands still makes an old one late.
        let is_old = |arrival: &Arrival| milliseconds(arrival.delay) < 300.0;
        let first_new = arrivals.iter().rposition(is_old).expect("no packet got the old delay") + 1;
        let (old, new) = arrivals.split_at(first_new);
        let late = |arrivals: &[Arrival], asked: f64| quantile(arrivals, 0.99) - asked;
        eprintln!(
            "150 to 300 ms at packet {first_new} of 3,000: p99 +{:.2} and +{:.2} ms",
            late(old, 150.0),
            late(new, 300.0)
        );
        assert!(old.len() > 300 && new.len() > 300);
        assert!(old.iter().all(|arrival| milliseconds(arrival.delay) >= 150.0), "one was not delayed");
        let late = old.iter().filter(|arrival| !is_old(arrival)).count();
        assert!(late * 100 <= old.len(), "{late} of {} had the new delay before one had the old", old.len());
        assert!(quantile(old, 0.5) < 155.0 && quantile(new, 0.5) < 305.0);
    });
}

#[test]
fn what_waits_is_delivered_when_the_fault_ends() {
    in_lab("what_waits_is_delivered_when_the_fault_ends", |mut lab| {
        lab.shape(&[spec(Direction::Egress, delay(5_000)), spec(Direction::Ingress, delay(5_000))]);
        // No more than a receiver's buffer takes at once.
        let out = Flight::begin(&lab.peer, NEAR4);
        let into = Flight::begin(&lab.pod, POD4);
        out.send_from(&lab.pod, any(NEAR4), 200, Duration::from_micros(100), 64);
        into.send_from(&lab.peer, NEAR4.parse().unwrap(), 200, Duration::from_micros(100), 64);
        thread::sleep(Duration::from_millis(100));
        let waiting: BTreeMap<_, _> = lab
            .shaper
            .counts(POD)
            .unwrap()
            .into_iter()
            .map(|(number, counts)| (number, counts.waiting))
            .collect();
        assert_eq!(waiting, BTreeMap::from([(EGRESS, 200), (INGRESS, 200)]));
        let begun = Instant::now();
        let drained = lab.undo();
        eprintln!("drained within {:?}: {drained:?}", begun.elapsed());
        assert_eq!((drained.delivered, drained.dropped), (400, 0));
        assert_eq!((out.finish().len(), into.finish().len()), (200, 200));
        assert!(lab.shaper.counts(POD).unwrap().is_empty());

        // What the kernel dropped meanwhile is not said to be delivered.
        lab.shape(&[spec(Direction::Ingress, delay(5_000))]);
        let into = Flight::begin(&lab.pod, POD4);
        into.send_from(&lab.peer, NEAR4.parse().unwrap(), 50, Duration::from_micros(100), 64);
        remove(&mut lab.netfilter, Family::Inet, TABLE).unwrap();
        let drained = lab.shaper.serve(POD, &lab.pod, &[]).unwrap();
        assert_eq!((drained.delivered, drained.dropped), (0, 50));
        assert_eq!(into.finish().len(), 0);
    });
}

#[test]
fn memory_is_bounded() {
    in_lab("memory_is_bounded", |mut lab| {
        lab.shape(&[spec(Direction::Egress, delay(60_000))]);
        let flight = Flight::begin(&lab.peer, NEAR4);
        let begun = Instant::now();
        let mut sent = 0;
        while lab.counts(EGRESS).overflowed == 0 {
            assert!(begun.elapsed() < 3 * PATIENCE, "{:?}", lab.counts(EGRESS));
            flight.send_from(&lab.pod, any(NEAR4), 10_000, Duration::ZERO, 1_400);
            sent += 10_000;
        }
        thread::sleep(Duration::from_millis(300));
        let status = std::fs::read_to_string(format!("/proc/{}/status", lab.shaper.id())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim();
        let mebibytes = resident.trim_end_matches(" kB").parse::<u64>().unwrap() / 1024;
        let counts = lab.counts(EGRESS);
        eprintln!("after {sent} of 1,400 bytes: {mebibytes} MiB resident, {counts:?}");
        assert!((200..320).contains(&mebibytes), "{mebibytes} MiB");
        assert_eq!(counts.seen, counts.waiting + counts.overflowed + counts.delivered);
        let begun = Instant::now();
        let drained = lab.undo();
        eprintln!("drained within {:?}: {drained:?}", begun.elapsed());
        assert_eq!(drained.delivered + drained.dropped, counts.waiting);
        assert!(lab.shaper.is_alive());
        drop(flight.finish());
    });
}
