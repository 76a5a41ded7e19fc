//! What network faults cost beside the tools that people use for them: `tc`, `nft`, `ipset`, `iptables`. One injection and
//! its end, partitions of up to 5,000 peers, and what a peer that is not meant notices. Every comparison is of one run, ours
//! and theirs by turns; prints rows of tables and asserts nothing: `cargo bench --bench network`, as root or not. It needs user
//! namespaces and sends nothing outside its own.
//!
//! On Debian's kernel: `cargo bench --no-run --target x86_64-unknown-linux-musl --no-default-features --bench network`, then
//! `.ci/vm-run` with the program that it names.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark stops at what is wrong"
)]
#![expect(clippy::disallowed_methods, reason = "the tools are what is compared with")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures are to be seen")]
#![expect(clippy::cast_precision_loss, reason = "fewer than 2^52 packets are sent")]

#[path = "../../tests/sandbox/mod.rs"]
mod sandbox;
mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use sandbox::{at, connect, in_sandbox, ip, namespace};
use squall::api::{Delay, NetworkEffect, NetworkEnd, NetworkRule, Peer, Shaping};
use squall::daemon::faults::network::PodNetworks;
use squall::daemon::journal::{Journal, Record};
use squall::daemon::kernel::{Before, Kernel};
use squall::daemon::sys::netlink::{Protocol, Socket};
use squall::daemon::sys::netns::NetNs;
use squall::daemon::sys::nft;
use squall::daemon::sys::tc::{self, Root};
use squall::daemon::{Finder, guardian, shaper};
use squall::network::layout::{Backends, TABLE, layout};
use squall::network::netem::Netem;
use squall::network::plan::{ActiveFault, NetworkPlan};
use squall::network::qdisc::QdiscTree;
use squall::network::table::{Family, TablePlan};
use tools::{
    MATCH_SET, compare, ipset_list, nft_json, percentiles, rule_for_each, show, table, timed, tools,
};

const POD: &str = "10.79.0.1";
/// The peer that is shaped.
const SHAPED: &str = "10.79.0.2";
/// The peer that no fault names.
const UNTOUCHED: &str = "10.79.0.3";
const PORT: u16 = 7001;
/// The pod's UID, by which its process is found.
const UID: &str = "benchmark";
/// How many peers the partitions have.
const PEERS: [u32; 3] = [1, 100, 5_000];
/// What `tc` is told to make our tree: its root, which sends everything to its first band; the delay in another band; what sends a
/// peer's packets there, to be completed.
const TC_ROOT: &str =
    "tc qdisc add dev a0 root handle 1: prio bands 16 priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0";
const TC_DELAY: &str = "tc qdisc add dev a0 parent 1:2 netem delay 10ms";
const TC_STEER: &str = "tc filter add dev a0 parent 1: protocol ip prio 1 u32 match ip dst";
const TC_REMOVE: &str = "tc qdisc del dev a0 root";
/// Between two injections into one pod.
const REST: Duration = Duration::from_millis(50);
/// How often, and how long, packets are counted in each state of the pod's network.
const ROUNDS: u32 = 3;
const SPAN: Duration = Duration::from_secs(2);
/// Bytes of a datagram, and how many are sent in one call.
const DATAGRAM: usize = 64;
const BATCH: usize = 64;
/// Round trips of each round.
const PINGS: usize = 2_000;

fn main() -> ExitCode {
    // The shaper and the guardian are this program once more.
    if std::env::args().nth(1).is_some_and(|verb| [shaper::VERB, guardian::VERB].contains(&verb.as_str())) {
        return squall::cli::main();
    }
    // The daemon does its work on a thread of its own too.
    let measure = || {
        let mut lab = Lab::new();
        lab.print_conditions();
        table(&["", "ours p50", "p99", "the tools", "theirs p50", "p99", "times faster", "goal"]);
        calls_alone(&mut lab);
        // On what has to be waited for, and in memory, where a boot ends what a boot's records are good for.
        let mut folders = vec![lab.folder.path().to_owned(), PathBuf::from("/dev/shm")];
        folders.dedup_by_key(|folder| is_in_memory(folder));
        for folder in folders {
            let (running, new) = (Daemon::Running, Daemon::New);
            as_the_daemon_does(&mut lab, &folder, "partition of one peer", &partition(1), running, &NFT);
            as_the_daemon_does(&mut lab, &folder, "the daemon's first", &partition(1), new, &NFT);
            if lab.can_shape() {
                as_the_daemon_does(&mut lab, &folder, "10 ms to one peer", &shaped(), running, &TC);
            }
        }
        partitions(&mut lab);
        bystander(&mut lab);
    };
    in_sandbox("network", || thread::scope(|scope| scope.spawn(measure).join().unwrap()));
    ExitCode::SUCCESS
}

// ---- a pod and its peers ---------------------------------------------------------------------

struct Lab {
    pod: NetNs,
    peer: NetNs,
    /// The index of the pod's interface.
    interface: u32,
    route: Socket,
    netfilter: Socket,
    networks: PodNetworks,
    backends: Backends,
    folder: tempfile::TempDir,
    process: Child,
    /// Keeps the hooks of another network in use.
    _elsewhere: Socket,
}

impl Lab {
    fn new() -> Self {
        let (pod, peer) = (namespace(), namespace());
        connect(Some(&pod), "a0", &peer, "b0");
        ip(&pod, &format!("addr add {POD}/24 dev a0"));
        for address in [SHAPED, UNTOUCHED] {
            ip(&peer, &format!("addr add {address}/24 dev b0"));
        }
        let mut sleep = Command::new("sleep");
        sleep.arg("1000").env("SQUALL_CONTAINER", format!("{UID}/sandbox"));
        let process = pod.run_in(|| sleep.spawn().unwrap()).unwrap();
        let mut route = pod.socket(Protocol::Route).unwrap();
        let interface = tc::interface(&mut route, "a0").unwrap().expect("just made").index;
        let netfilter = pod.socket(Protocol::Netfilter).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let networks = PodNetworks::new(Finder::Environment, folder.path().to_owned(), Arc::default());
        let backends =
            Backends { netem: tc::probe().unwrap().is_complete(), queue: nft::probe_queue().unwrap() };
        Self {
            pod,
            peer,
            interface,
            route,
            netfilter,
            networks,
            backends,
            folder,
            process,
            _elsewhere: hooks_elsewhere(),
        }
    }

    fn can_shape(&self) -> bool {
        self.backends.netem || self.backends.queue.is_some()
    }

    fn print_conditions(&self) {
        let read = |path| fs::read_to_string(path).unwrap().trim().to_owned();
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        let processes = fs::read_dir("/proc").unwrap();
        let is_process = |name: OsString| name.to_str().is_some_and(|name| name.parse::<u32>().is_ok());
        let processes = processes.filter(|entry| is_process(entry.as_ref().unwrap().file_name()));
        println!("kernel {}, {build} build", read("/proc/sys/kernel/osrelease"));
        println!("load {}, {} processes", read("/proc/loadavg"), processes.count());
        println!("{:?}", self.backends);
    }

    fn set(&mut self, plan: Option<&NetworkPlan>) {
        self.networks.set_network(UID, plan, None).unwrap();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A network beside the pod's whose hooks are in use, as on every node with kube-proxy: without one the kernel rewrites its
/// code when the first chain of a hook comes and when the last one goes (`nf_hooks_needed`, net/netfilter/core.c).
fn hooks_elsewhere() -> Socket {
    let mut socket = namespace().socket(Protocol::Netfilter).unwrap();
    let mut table = layout(&shaped(), Backends { netem: true, queue: None }).unwrap().table;
    table.sets.clear();
    table.chains.iter_mut().for_each(|chain| chain.rules.clear());
    nft::install(&mut socket, &table).unwrap();
    socket
}

fn plan(rule: NetworkRule, both: bool) -> NetworkPlan {
    let ingress = both.then(|| rule.clone());
    let end = NetworkEnd { selector_key: ".".into(), device: "a0".into(), egress: Some(rule), ingress };
    NetworkPlan::of(&[ActiveFault { label: "default/benchmark", end: &end, exempt: &[] }]).unwrap()
}

/// Addresses of a partition's peers, no two of them adjacent.
fn peers(count: u32) -> impl Iterator<Item = Ipv4Addr> {
    (0..count).map(|number| Ipv4Addr::from(0x0a80_0001 + 3 * number))
}

/// Nothing to and from so many peers.
fn partition(count: u32) -> NetworkPlan {
    let peers = peers(count).map(|address| Peer { network: IpAddr::from(address).into(), port: None });
    plan(NetworkRule { action: NetworkEffect::Drop, shaping: None, peers: Some(peers.collect()) }, true)
}

/// 10 ms to one peer.
fn shaped() -> NetworkPlan {
    let delay =
        Delay { latency: "10ms".into(), jitter: "0ms".into(), correlation: "0".into(), reorder: None };
    let shaping = Shaping { delay: Some(delay), ..Shaping::default() };
    let peers = vec![Peer { network: SHAPED.parse::<IpAddr>().unwrap().into(), port: None }];
    plan(NetworkRule { action: NetworkEffect::Shape, shaping: Some(shaping), peers: Some(peers) }, false)
}

fn table_of(plan: &NetworkPlan) -> TablePlan {
    layout(plan, Backends::default()).unwrap().table
}

// ---- one injection and its end ---------------------------------------------------------------

/// Calls into the kernel and nothing else.
fn calls_alone(lab: &mut Lab) {
    let goal = "≥ 50";
    let Lab { pod, route, netfilter, interface, backends, .. } = lab;
    if backends.netem {
        let netem = Netem { latency: 10_000_000, ..Netem::default() };
        let tree = QdiscTree { bands: BTreeMap::from([(2, netem)]) };
        let with_tree = || {
            timed(|| {
                tc::install(route, *interface, &tree).unwrap();
                tc::remove(route, *interface, &Root::Default).unwrap();
            })
        };
        let with_tc = || tools(pod, &[(TC_ROOT, ""), (TC_DELAY, ""), (TC_REMOVE, "")]);
        compare("calls alone: tree with netem, on and off", "tc: the same tree", goal, with_tree, with_tc);
    }
    let plan = table_of(&partition(1));
    let with_table = || {
        timed(|| {
            nft::install(netfilter, &plan).unwrap();
            nft::remove(netfilter, Family::Inet, TABLE).unwrap();
        })
    };
    compare("calls alone: table, on and off", NFT.name, goal, with_table, || with_nft(pod));
}

/// How a tool makes a fault and takes it away.
struct Tool {
    name: &'static str,
    on_and_off: fn(&NetNs) -> Result<Duration, String>,
}

/// Of a partition of one peer.
const NFT: Tool = Tool { name: "nft -j -f -, nft delete", on_and_off: with_nft };

/// Of a delay for one peer.
const TC: Tool = Tool { name: "tc: prio, netem, u32; del", on_and_off: with_tc };

fn with_nft(pod: &NetNs) -> Result<Duration, String> {
    tools(pod, &[("nft -j -f -", &nft_json(1)), ("nft delete table inet other", "")])
}

fn with_tc(pod: &NetNs) -> Result<Duration, String> {
    let steer = format!("{TC_STEER} {SHAPED}/32 flowid 1:2");
    tools(pod, &[(TC_ROOT, ""), (TC_DELAY, ""), (&steer, ""), (TC_REMOVE, "")])
}

/// What the daemon knows of the node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Daemon {
    /// A process of each pod, of an earlier fault of any of them.
    Running,
    /// Nothing: it looks at all processes.
    New,
}

/// With the journal in a folder, the look at what is there before and after, and the proof that the kernel holds what was
/// asked for.
fn as_the_daemon_does(
    lab: &mut Lab,
    folder: &Path,
    what: &str,
    plan: &NetworkPlan,
    daemon: Daemon,
    tool: &Tool,
) {
    let Lab { pod, networks, folder: locks, .. } = lab;
    let folder = tempfile::tempdir_in(folder).unwrap();
    let mut journal = Journal::open(folder.path(), "this boot").unwrap();
    let mut steps = BTreeMap::<_, Vec<Duration>>::new();
    let ours = || {
        // The kernel lets go of the last round's table: another pod would not wait for that.
        thread::sleep(REST);
        if daemon == Daemon::New {
            *networks = PodNetworks::new(Finder::Environment, locks.path().to_owned(), Arc::default());
        }
        let begun = Instant::now();
        let mut last = begun;
        let mut done = |step: &'static str| {
            steps.entry(step).or_default().push(last.elapsed());
            last = Instant::now();
        };
        let before = networks.observe(UID).unwrap();
        done("1 look at what is there");
        let mut record = record(before.clone());
        journal.put("benchmark", record.clone()).unwrap();
        done("2 journal: about to inject");
        networks.set_network(UID, Some(plan), Some(&before)).unwrap();
        done("3 inject and read back");
        record.started = Some(1);
        journal.put("benchmark", record).unwrap();
        done("4 journal: the clock");
        networks.set_network(UID, None, Some(&before)).unwrap();
        done("5 undo and read back");
        networks.compare(UID, &before).unwrap();
        done("6 compare with before");
        journal.remove("benchmark").unwrap();
        done("7 journal: over");
        begun.elapsed()
    };
    // In memory is where it is by default.
    let (disk, goal) = if is_in_memory(folder.path()) { ("in memory", "≥ 5") } else { ("on disk", "–") };
    let all = format!("as the daemon does, journal {disk}: {what}");
    compare(&all, tool.name, goal, ours, || (tool.on_and_off)(pod));
    for (step, mut times) in steps {
        let [p50, p99] = percentiles(&mut times).map(show);
        println!("| … step {step} | {p50} | {p99} | | | | | |");
    }
}

fn is_in_memory(folder: &Path) -> bool {
    statfs(folder).unwrap().filesystem_type() == TMPFS_MAGIC
}

fn record(before: Before) -> Record {
    Record {
        boot: "this boot".into(),
        uid: "benchmark".into(),
        run: 1,
        started: None,
        ended: None,
        interruptions: 0,
        before: BTreeMap::from([(UID.into(), before)]),
        killed: BTreeSet::new(),
    }
}

// ---- partitions ------------------------------------------------------------------------------

/// Only the way in is timed.
fn partitions(lab: &mut Lab) {
    for count in PEERS {
        let goal = if count == 5_000 { "≥ 3" } else { "–" };
        let plan = partition(count);
        let table = table_of(&plan);
        let Lab { pod, netfilter, networks, .. } = lab;
        let json = nft_json(count);
        let with_nft = || {
            let time = tools(pod, &[("nft -j -f -", &json)])?;
            tools(pod, &[("nft delete table inet other", "")]).map(|_| time)
        };
        let install = || {
            let time = timed(|| nft::install(netfilter, &table).unwrap());
            nft::remove(netfilter, Family::Inet, TABLE).unwrap();
            time
        };
        let mut set = || {
            let time = timed(|| drop(networks.set_network(UID, Some(&plan), None).unwrap()));
            networks.set_network(UID, None, None).unwrap();
            time
        };
        compare(&format!("partition of {count}: table alone"), "nft -j -f -", goal, install, with_nft);
        let what = format!("partition of {count}: set and read back");
        compare(&what, "nft -j -f -", goal, &mut set, with_nft);
        let list = ipset_list(count);
        compare(&what, "ipset restore, iptables-restore", goal, &mut set, || {
            let time = tools(pod, &[("ipset restore", &list), ("iptables-restore -n", MATCH_SET)])?;
            tools(pod, &[("iptables -F", ""), ("ipset destroy", "")]).map(|_| time)
        });
        let rules = rule_for_each(count);
        compare(&what, "iptables-restore, a rule a peer", goal, &mut set, || {
            let time = tools(pod, &[("iptables-restore -n", &rules)])?;
            tools(pod, &[("iptables -F", "")]).map(|_| time)
        });
    }
}

// ---- who is not meant ------------------------------------------------------------------------

/// What a peer that no fault names notices of faults beside it.
fn bystander(lab: &mut Lab) {
    let mut states = vec![("nothing", None), ("partition of 5,000 others", Some(partition(5_000)))];
    if lab.can_shape() {
        let name =
            if lab.backends.netem { "another peer shaped by netem" } else { "another peer shaped by queue" };
        states.push((name, Some(shaped())));
    }
    echo(&lab.peer);
    let mut figures: Vec<_> = states.iter().map(|_| (Vec::new(), Vec::new(), Vec::new())).collect();
    for _ in 0..ROUNDS {
        for ((_, plan), (sent, received, times)) in states.iter().zip(&mut figures) {
            lab.set(plan.as_ref());
            sent.push(flood((&lab.pod, POD), (&lab.peer, UNTOUCHED)));
            received.push(flood((&lab.peer, UNTOUCHED), (&lab.pod, POD)));
            round_trips(&lab.pod, times);
            lab.set(None);
        }
    }
    table(&[
        "in place",
        "packets/s from the pod",
        "ratio",
        "packets/s to the pod",
        "ratio",
        "round trip p50",
        "ratio",
        "p99",
        "ratio",
    ]);
    let mut base = None;
    for ((name, _), (sent, received, times)) in states.iter().zip(&mut figures) {
        let (sent, received, [p50, p99]) = (median(sent), median(received), percentiles(times));
        let (all_sent, all_received, first_p50, first_p99) = *base.get_or_insert((sent, received, p50, p99));
        let of = |time: Duration, first: Duration| time.as_secs_f64() / first.as_secs_f64();
        println!(
            "| {name} | {sent:.0} | {:.2} | {received:.0} | {:.2} | {} | {:.2} | {} | {:.2} |",
            sent / all_sent,
            received / all_received,
            show(p50),
            of(p50, first_p50),
            show(p99),
            of(p99, first_p99),
        );
    }
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    *figures.get(figures.len() / 2).unwrap()
}

/// Small datagrams that reach the other end's socket each second. Nobody reads them there, so that no second processor
/// counts: what does not fit into the socket is counted by the kernel.
fn flood((from, source): (&NetNs, &str), (to, destination): (&NetNs, &str)) -> f64 {
    let receiver = to.run_in(|| UdpSocket::bind(at(destination, PORT)).unwrap()).unwrap();
    let socket = from.run_in(|| UdpSocket::bind(at(source, 0)).unwrap()).unwrap();
    socket.connect(receiver.local_addr().unwrap()).unwrap();
    let data = [0; DATAGRAM];
    let datagrams = [[IoSlice::new(&data)]; BATCH];
    let nowhere = [None::<SockaddrStorage>; BATCH];
    let mut headers = MultiHeaders::preallocate(BATCH, None);
    let before = arrived(to);
    let begun = Instant::now();
    while begun.elapsed() < SPAN {
        // A device that is behind is what is looked for.
        drop(sendmmsg(socket.as_raw_fd(), &mut headers, &datagrams, nowhere, [], MsgFlags::empty()));
    }
    (arrived(to) - before) as f64 / begun.elapsed().as_secs_f64()
}

/// Datagrams that found their socket full so far.
fn arrived(namespace: &NetNs) -> u64 {
    let text = namespace.run_in(|| fs::read_to_string("/proc/thread-self/net/snmp").unwrap()).unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut pairs = names.split(' ').zip(values.split(' '));
    pairs.find(|(name, _)| *name == "RcvbufErrors").unwrap().1.parse().unwrap()
}

/// The untouched peer sends every datagram back.
fn echo(peer: &NetNs) {
    let socket = peer.run_in(|| UdpSocket::bind(at(UNTOUCHED, PORT + 1)).unwrap()).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; DATAGRAM];
        while let Ok((length, sender)) = socket.recv_from(&mut buffer) {
            socket.send_to(buffer.get(..length).unwrap(), sender).unwrap();
        }
    });
}

fn round_trips(pod: &NetNs, times: &mut Vec<Duration>) {
    let socket = pod.run_in(|| UdpSocket::bind(at(POD, 0)).unwrap()).unwrap();
    socket.connect(at(UNTOUCHED, PORT + 1)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for _ in 0..PINGS {
        times.push(timed(|| {
            socket.send(&[0; DATAGRAM]).unwrap();
            socket.recv(&mut [0; DATAGRAM]).expect("the untouched peer answers");
        }));
    }
}
