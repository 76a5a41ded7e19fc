//! What the shaper costs: packets and bytes a second to a peer that is shaped and to one that is not, with the rules and
//! without, all in one run. `cargo bench --bench shaper`; needs user namespaces, sends nothing outside its own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark stops at what is wrong"
)]
#![expect(clippy::disallowed_methods, reason = "a benchmark builds its network with ip")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures are to be seen")]
#![expect(clippy::cast_precision_loss, reason = "fewer than 2^52 packets are sent")]

#[path = "../tests/sandbox/mod.rs"]
mod sandbox;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use sandbox::{at, connect, in_sandbox, ip, namespace};
use squall::daemon::shaper::{Direction, QueueSpec, Shaper};
use squall::daemon::sys::netlink::Protocol;
use squall::daemon::sys::netns::NetNs;
use squall::daemon::sys::nft::{self, install, remove};
use squall::network::RESENT_MARK;
use squall::network::netem::Netem;
use squall::network::table::{
    Action, Address, Chain, ChainKind, Family, Hook, Match, QueueFlavour, Rule, TablePlan,
};

const SHAPED: &str = "10.79.0.2";
const UNTOUCHED: &str = "10.79.0.3";
const PORT: u16 = 7001;
const QUEUE: u16 = 1;
const TABLE: &str = "squall_bench";
/// In nanoseconds.
const DELAY: u64 = 10_000_000;
/// Every round measures all, so that what else the machine does is seen.
const ROUNDS: u32 = 3;
/// How long each figure is measured.
const SPAN: Duration = Duration::from_secs(1);

fn main() {
    in_sandbox("shaper", || match nft::probe_queue().unwrap() {
        None => eprintln!("SKIPPED: this kernel has no queue for nf_tables"),
        Some(flavour) => measure(flavour),
    });
}

fn measure(flavour: QueueFlavour) {
    let (pod, peer) = (namespace(), namespace());
    connect(Some(&pod), "a0", &peer, "b0");
    ip(&pod, "addr add 10.79.0.1/24 dev a0");
    for address in [SHAPED, UNTOUCHED] {
        ip(&peer, &format!("addr add {address}/24 dev b0"));
    }
    let mut shaper = Shaper::start_program(Path::new(env!("CARGO_BIN_EXE_squall")), || {}).unwrap();
    let mut netfilter = pod.socket(Protocol::Netfilter).unwrap();
    let netem = Netem { latency: DELAY, ..Netem::default() };
    let queue = QueueSpec { number: QUEUE, direction: Direction::Egress, netem };
    for _ in 0..ROUNDS {
        let base = figures(&pod, &peer, UNTOUCHED);
        print("no rules", base, base);
        shaper.serve("pod", &pod, &[queue]).unwrap();
        install(&mut netfilter, &plan(flavour)).unwrap();
        print("shaped by 10 ms", figures(&pod, &peer, SHAPED), base);
        print("untouched beside it", figures(&pod, &peer, UNTOUCHED), base);
        println!("  {:?}", shaper.counts("pod").unwrap());
        let before = ticks(shaper.id());
        thread::sleep(Duration::from_secs(2));
        println!("  idle for 2 s: {} ms of a CPU", (ticks(shaper.id()) - before) * 10);
        remove(&mut netfilter, Family::Inet, TABLE).unwrap();
        shaper.release("pod").unwrap();
    }
}

/// CPU time of a process, in hundredths of a second (`utime` and `stime`, `proc_pid_stat(5)`).
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

fn print(what: &str, (packets, megabits): (f64, f64), base: (f64, f64)) {
    println!(
        "{what:20} {packets:9.0} packets/s ({:.2})   TCP {megabits:7.0} Mbit/s ({:.2})",
        packets / base.0,
        megabits / base.1
    );
}

/// Packets a second that arrive of a flood of small ones, and what TCP carries, in Mbit/s.
fn figures(pod: &NetNs, peer: &NetNs, address: &str) -> (f64, f64) {
    (flood(pod, peer, address), stream(pod, peer, address))
}

fn flood(pod: &NetNs, peer: &NetNs, address: &str) -> f64 {
    let receiver = peer.run_in(|| UdpSocket::bind(at(address, PORT)).unwrap()).unwrap();
    receiver.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let socket = pod.run_in(|| UdpSocket::bind(at("0.0.0.0", 0)).unwrap()).unwrap();
    socket.connect(at(address, PORT)).unwrap();
    let counter = thread::spawn(move || {
        let mut buffer = [0; 64];
        let mut packets = 0_u64;
        while receiver.recv(&mut buffer).is_ok() {
            packets += 1;
        }
        packets
    });
    let begun = Instant::now();
    while begun.elapsed() < SPAN {
        for _ in 0..64 {
            // A device that is behind is what is looked for.
            drop(socket.send(&[0; 36]));
        }
    }
    counter.join().unwrap() as f64 / SPAN.as_secs_f64()
}

fn stream(pod: &NetNs, peer: &NetNs, address: &str) -> f64 {
    let listener = peer.run_in(|| TcpListener::bind(at(address, PORT)).unwrap()).unwrap();
    let reader = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = vec![0; 1 << 20];
        let begun = Instant::now();
        let mut bytes = 0_usize;
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            bytes += length;
        }
        bytes as f64 * 8e-6 / begun.elapsed().as_secs_f64()
    });
    let mut stream = pod.run_in(|| TcpStream::connect(at(address, PORT)).unwrap()).unwrap();
    let begun = Instant::now();
    let data = vec![0; 1 << 18];
    while begun.elapsed() < SPAN {
        stream.write_all(&data).unwrap();
    }
    drop(stream);
    reader.join().unwrap()
}

fn plan(flavour: QueueFlavour) -> TablePlan {
    let marked = |set| Match::MarkBits { mask: RESENT_MARK, set };
    let rule = |matches, action| Rule { matches, action, counter: true, comment: None };
    let chain = |name: &str, hook, priority, rules| Chain {
        name: name.into(),
        kind: ChainKind::Filter,
        hook,
        priority,
        rules,
    };
    let shaped = Match::Destination(Address::Network(format!("{SHAPED}/32").parse().unwrap()));
    let queue = Action::Queue { number: QUEUE, flavour };
    TablePlan {
        family: Family::Inet,
        name: TABLE.into(),
        owned: true,
        userdata: Vec::new(),
        sets: Vec::new(),
        chains: vec![
            chain("resent", Hook::Output, -310, vec![rule(vec![marked(true)], Action::NoTrack)]),
            chain("egress", Hook::Postrouting, 300, vec![rule(vec![shaped, marked(false)], queue)]),
        ],
    }
}
