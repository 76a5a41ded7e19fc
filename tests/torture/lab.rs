//! Two pods, and a neighbour that echoes datagrams at three addresses of each: one that is near, one behind the wall of a
//! partition, and one that no fault is about.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::process::{Child, Command};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use squall::daemon::sys::fingerprint::Fingerprint;
use squall::daemon::sys::netlink::{Protocol, Socket};
use squall::daemon::sys::netns::NetNs;
use squall::daemon::sys::{nft, tc};
use squall::network::layout::TABLE;
use squall::network::table::Family;

use super::sandbox::{at, connect, ip, namespace, run};

const PORT: u16 = 7001;
/// The interface of each pod.
pub(crate) const DEVICE: &str = "eth0";
/// How long anything is waited for that must come before the first fault.
const PATIENCE: Duration = Duration::from_secs(20);

/// The last number of a neighbour's address.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    Near = 2,
    Wall = 3,
    Far = 4,
}

/// What a round is about.
pub(crate) struct Lab {
    pub(crate) pods: Vec<Pod>,
    /// Whether the kernel has netem: then the guardian works, else the shaper does all.
    pub(crate) netem: bool,
    _neighbour: NetNs,
}

pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) uid: String,
    index: usize,
    namespace: NetNs,
    route: Socket,
    netfilter: Socket,
    holder: Child,
    pings: Vec<Ping>,
    before: Fingerprint,
    /// What nft and tc said before the first fault.
    witnessed: String,
}

/// The address of a pod's neighbour.
pub(crate) fn address(pod: usize, to: To) -> String {
    format!("10.80.{pod}.{}", to as u8)
}

impl Lab {
    pub(crate) fn new() -> Self {
        let netem = tc::probe().unwrap().is_complete();
        let neighbour = namespace();
        let pods = (0..2).map(|index| Pod::new(index, &neighbour, netem)).collect();
        Self { pods, netem, _neighbour: neighbour }
    }

    /// The first half of what undoes a tree of queueing disciplines.
    pub(crate) fn half_undo(&self) {
        for pod in &self.pods {
            pod.namespace.run_in(|| run("tc", &["qdisc", "del", "dev", DEVICE, "root"])).unwrap();
        }
    }

    /// What is left of any fault.
    pub(crate) fn clean(&mut self) -> Result<(), String> {
        self.pods.iter_mut().try_for_each(|pod| pod.clean().map_err(|left| format!("{}: {left}", pod.name)))
    }

    /// The same by programs that are not ours.
    pub(crate) fn clean_by_witness(&self) -> Result<(), String> {
        self.pods.iter().try_for_each(|pod| {
            let now = witness(&pod.namespace);
            if now == pod.witnessed {
                return Ok(());
            }
            Err(format!("{}: nft and tc list\n{now}\nand before\n{}", pod.name, pod.witnessed))
        })
    }

    /// Everything about the pods' networks, for people.
    pub(crate) fn listing(&self) -> String {
        let of_pod =
            |pod: &Pod| format!("-- {}\n{}\nqueues: {:?}\n", pod.name, witness(&pod.namespace), pod.queues());
        self.pods.iter().map(of_pod).collect()
    }
}

impl Pod {
    fn new(index: usize, neighbour: &NetNs, netem: bool) -> Self {
        let (name, uid) = (format!("pod-{index}"), format!("uid-{index}"));
        let namespace = namespace();
        let peer = format!("p{index}");
        connect(Some(&namespace), DEVICE, neighbour, &peer);
        ip(&namespace, &format!("addr add 10.80.{index}.1/24 dev {DEVICE}"));
        for to in [To::Near, To::Wall, To::Far] {
            let address = address(index, to);
            ip(neighbour, &format!("addr add {address}/24 dev {peer}"));
            echo(neighbour, &address);
        }
        if netem && index == 1 {
            // Somebody else's, which must come back.
            let add = ["qdisc", "add", "dev", DEVICE, "root", "handle", "7:", "pfifo", "limit", "77"];
            namespace.run_in(|| run("tc", &add)).unwrap();
        }
        let hold =
            || Command::new("sleep").arg("1000000").env("SQUALL_CONTAINER", format!("{uid}/c")).spawn();
        let holder = namespace.run_in(hold).unwrap().unwrap();
        let pings = [To::Near, To::Wall, To::Far].map(|to| Ping::new(&namespace, &address(index, to)));
        let (mut route, mut netfilter) =
            (namespace.socket(Protocol::Route).unwrap(), namespace.socket(Protocol::Netfilter).unwrap());
        let mut pod = Self {
            before: Fingerprint::take(&mut route, &mut netfilter).unwrap(),
            witnessed: witness(&namespace),
            pings: pings.into(),
            name,
            uid,
            index,
            namespace,
            route,
            netfilter,
            holder,
        };
        for to in [To::Near, To::Wall, To::Far] {
            assert!(
                pod.ping(to).flows(PATIENCE).is_some(),
                "{to:?} does not answer before anything was done"
            );
        }
        pod
    }

    pub(crate) fn ping(&mut self, to: To) -> &mut Ping {
        self.pings.get_mut(to as usize - To::Near as usize).unwrap()
    }

    /// Measures from now, on a thread of its own, when traffic to the near peer is answered.
    pub(crate) fn flow(&self, limit: Duration) -> JoinHandle<Option<Duration>> {
        let mut ping = Ping::new(&self.namespace, &address(self.index, To::Near));
        thread::spawn(move || ping.flows(limit))
    }

    fn clean(&mut self) -> Result<(), String> {
        let error = |error: &dyn std::error::Error| error.to_string();
        if nft::read_back(&mut self.netfilter, Family::Inet, TABLE).map_err(|e| error(&e))?.is_some() {
            return Err(format!("table inet {TABLE} is there"));
        }
        let now = Fingerprint::take(&mut self.route, &mut self.netfilter).map_err(|e| error(&e))?;
        if let Some(difference) = self.before.difference(&now) {
            return Err(difference);
        }
        let queues = self.queues();
        if queues.is_empty() { Ok(()) } else { Err(format!("bound queues: {queues}")) }
    }

    /// Bound netfilter queues; a kernel that knows none has no file of them.
    fn queues(&self) -> String {
        let path = format!("/proc/{}/net/netfilter/nfnetlink_queue", self.holder.id());
        match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text.unwrap_or_else(|error| panic!("{path}: {error}")),
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.holder.kill().unwrap();
        self.holder.wait().unwrap();
    }
}

fn witness(namespace: &NetNs) -> String {
    let tell = |program: &str, arguments: &[&str]| {
        let output =
            Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    namespace.run_in(|| tell("nft", &["list", "ruleset"]) + &tell("tc", &["qdisc", "show"])).unwrap()
}

fn echo(namespace: &NetNs, address: &str) {
    let socket = namespace.run_in(|| UdpSocket::bind(at(address, PORT)).unwrap()).unwrap();
    thread::spawn(move || -> ! {
        let mut buffer = [0; 64];
        loop {
            // An error is about a datagram before this one.
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            drop(buffer.get(..length).map(|datagram| socket.send_to(datagram, from)));
        }
    });
}

/// Datagrams from a pod to one address of its neighbour, and their answers.
pub(crate) struct Ping {
    socket: UdpSocket,
    next: u32,
}

impl Ping {
    fn new(namespace: &NetNs, to: &str) -> Self {
        let socket = namespace.run_in(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
        socket.connect(at(to, PORT)).unwrap();
        Self { socket, next: 0 }
    }

    fn send(&mut self) -> u32 {
        self.next += 1;
        // A partition makes it fail.
        drop(self.socket.send(&self.next.to_be_bytes()));
        self.next
    }

    /// Waits for an answer to this one or a later one.
    fn answer(&self, first: u32, patience: Duration) -> bool {
        let begun = Instant::now();
        let mut buffer = [0; 64];
        loop {
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return false;
            }
            self.socket.set_read_timeout(Some(left)).unwrap();
            if self.socket.recv(&mut buffer).is_ok()
                && buffer.first_chunk().is_some_and(|number| u32::from_be_bytes(*number) >= first)
            {
                return true;
            }
        }
    }

    /// How long one datagram and its answer take.
    pub(crate) fn round_trip(&mut self, patience: Duration) -> Option<Duration> {
        let begun = Instant::now();
        let number = self.send();
        self.answer(number, patience).then(|| begun.elapsed())
    }

    /// When the first of many datagrams was answered.
    pub(crate) fn flows(&mut self, limit: Duration) -> Option<Duration> {
        const EVERY: Duration = Duration::from_millis(10);
        let begun = Instant::now();
        let first = self.next + 1;
        while begun.elapsed() < limit {
            self.send();
            if self.answer(first, EVERY) {
                return Some(begun.elapsed());
            }
        }
        None
    }
}
