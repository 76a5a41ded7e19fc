//! The network of a cluster with nodes: a switch, a port for each node, and one for the host.
//!
//! The switch is a bridge in a network namespace of its own, and routes between the nodes' pods. The host has one end of a
//! pair of virtual links in it, so that it is to the nodes what a control-plane node is: the API server listens there,
//! reaches kubelets, and any program of the host reaches pods. Nothing else of the host is changed, and that link goes
//! with the namespace.

use std::net::Ipv4Addr;
use std::process::Command;

use serde::Deserialize;

use super::ClusterError;
use super::supervisor::{Supervisor, run};

/// The namespace that holds the bridge.
pub(crate) const SWITCH: &str = "switch";

/// The link of each node that is in the switch, as the node names it.
pub(crate) const LINK: &str = "eth0";

const BRIDGE: &str = "bridge";

/// What the addresses of a cluster may begin with: A, and B from .. to. Away from what networks at home and Kubernetes itself
/// prefer; the second for machines that have routes to all of 10.0.0.0/8.
const BLOCKS: [(u8, std::ops::Range<u8>); 2] = [(10, 130..230), (172, 20..32)];

/// Most nodes of a cluster.
pub(crate) const MOST: u8 = 100;

/// The addresses of one cluster, A.B.0.0/16: nodes in A.B.0.0/24, the pods of node I in A.B.I.0/24.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block(u8, u8);

impl Block {
    /// All of it.
    pub fn all(self) -> String {
        format!("{}.{}.0.0/16", self.0, self.1)
    }

    /// The switch, which is every node's gateway.
    pub fn switch(self) -> Ipv4Addr {
        Ipv4Addr::new(self.0, self.1, 0, 1)
    }

    /// The host, where the API server is.
    pub fn host(self) -> Ipv4Addr {
        Ipv4Addr::new(self.0, self.1, 0, 2)
    }

    /// A node, counted from 1.
    pub fn node(self, node: u8) -> Ipv4Addr {
        Ipv4Addr::new(self.0, self.1, 0, 10 + node)
    }

    /// The pods of a node.
    pub fn pods(self, node: u8) -> String {
        format!("{}.{}.{node}.0/24", self.0, self.1)
    }

    /// What bears the cluster's name on the host: its link, and its control group. No other has it.
    pub fn name(self) -> String {
        format!("squall-{}-{}", self.0, self.1)
    }

    /// Whether a destination, such as 10.0.0.0/8 or 10.1.2.3, lies in this block or holds it.
    fn meets(self, destination: &str) -> bool {
        let (address, length) = destination.split_once('/').unwrap_or((destination, "32"));
        let (Ok(address), Ok(length)) = (address.parse::<Ipv4Addr>(), length.parse::<u32>()) else {
            return false;
        };
        let mask = u32::MAX.checked_shl(32 - length.min(16)).unwrap_or(0);
        address.to_bits() & mask == Ipv4Addr::new(self.0, self.1, 0, 0).to_bits() & mask
    }
}

/// The name of a node, of its network namespace, and of its port.
pub fn node_name(node: u8) -> String {
    format!("machine{node}")
}

/// A switch that runs. It lives as long as the supervisor in whose namespaces it was made.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) block: Block,
}

#[derive(Deserialize)]
struct Route {
    dst: String,
}

impl Network {
    /// Makes the switch and the host's link, with addresses that nothing of the host uses.
    pub(crate) fn start(supervisor: &Supervisor) -> Result<Self, ClusterError> {
        let ip = |line: &str| ip(supervisor, line);
        for line in [
            "netns add switch",
            "-n switch link set lo up",
            "-n switch link add bridge type bridge forward_delay 0",
            "-n switch link set bridge up",
        ] {
            ip(line)?;
        }
        // Pods are reached through their nodes, which are all behind the same link: no reason to tell anybody.
        let settings = "cd /proc/sys/net/ipv4 && echo 1 >ip_forward && echo 0 >conf/all/send_redirects && echo 0 >conf/bridge/send_redirects";
        let mut shell = supervisor.enter();
        shell.args(within(SWITCH)).args(["sh", "-c", settings]);
        run(shell)?;
        let routes: Vec<Route> =
            serde_json::from_str(&ip("-4 -json route show table all")?).map_err(|error| {
                ClusterError::Io { what: "read the host's routes".to_owned(), source: error.into() }
            })?;
        let block = reserve(supervisor, &routes)?;
        let (name, host, switch) = (block.name(), block.host(), block.switch());
        for line in [
            format!("-n {SWITCH} addr add {switch}/24 dev {BRIDGE}"),
            format!("-n {SWITCH} link set host master {BRIDGE} up"),
            format!("addr add {host}/24 dev {name}"),
            format!("link set {name} up"),
            format!("route add {} via {switch}", block.all()),
        ] {
            ip(&line)?;
        }
        Ok(Self { block })
    }

    /// Makes a node's namespace with its link, its address and its routes.
    pub(crate) fn add(&self, supervisor: &Supervisor, node: u8) -> Result<(), ClusterError> {
        let (name, address, switch) = (node_name(node), self.block.node(node), self.block.switch());
        for line in [
            format!("netns add {name}"),
            format!("-n {name} link set lo up"),
            format!("-n {SWITCH} link add {name} type veth peer name {LINK} netns {name}"),
            format!("-n {SWITCH} link set {name} master {BRIDGE} up"),
            format!("-n {name} addr add {address}/24 dev {LINK}"),
            format!("-n {name} link set {LINK} up"),
            format!("-n {name} route add default via {switch}"),
        ] {
            ip(supervisor, &line)?;
        }
        self.attach(supervisor, node)
    }

    /// Makes the port of a node that is a virtual machine: the link, whose other end is the machine's network card.
    pub(crate) fn plug(&self, supervisor: &Supervisor, node: u8) -> Result<(), ClusterError> {
        let name = node_name(node);
        ip(supervisor, &format!("-n {SWITCH} tuntap add {name} mode tap"))?;
        ip(supervisor, &format!("-n {SWITCH} link set {name} master {BRIDGE} up"))?;
        self.attach(supervisor, node)
    }

    /// Sends what is for a node's pods to that node, whatever it is that has its address.
    pub(crate) fn attach(&self, supervisor: &Supervisor, node: u8) -> Result<(), ClusterError> {
        let (pods, node) = (self.block.pods(node), self.block.node(node));
        ip(supervisor, &format!("-n {SWITCH} route replace {pods} via {node}")).map(drop)
    }
}

/// Takes or gives the carrier of a node's port in the switch.
pub(crate) fn set_port(supervisor: &Supervisor, node: u8, up: bool) -> Result<(), ClusterError> {
    let state = if up { "up" } else { "down" };
    ip(supervisor, &format!("-n {SWITCH} link set {} {state}", node_name(node))).map(drop)
}

/// What goes before a command that is to run in a network namespace of the cluster, within its mount namespace. Not `ip
/// netns exec`, which would put another /sys over the one with the control groups.
pub(crate) fn within(namespace: &str) -> [String; 3] {
    ["nsenter".to_owned(), format!("--net=/run/netns/{namespace}"), "--".to_owned()]
}

/// Runs ip(8) where the cluster's network namespaces have names; without `-n`, on the host's network.
pub(crate) fn ip(supervisor: &Supervisor, line: &str) -> Result<String, ClusterError> {
    let mut ip: Command = supervisor.enter();
    ip.arg("ip").args(line.split(' '));
    run(ip)
}

/// Makes the host's link, whose name keeps the addresses from every other cluster.
fn reserve(supervisor: &Supervisor, routes: &[Route]) -> Result<Block, ClusterError> {
    // Clusters that start at the same time begin at different ones.
    let start = usize::try_from(std::process::id()).unwrap_or(0);
    let candidates = BLOCKS.into_iter().flat_map(|(first, second)| {
        let count = second.len();
        second.cycle().skip(start % count).take(count).map(move |second| Block(first, second))
    });
    for block in candidates.filter(|block| !routes.iter().any(|route| block.meets(&route.dst))) {
        let line = format!("link add {} type veth peer name host netns {SWITCH}", block.name());
        match ip(supervisor, &line) {
            Err(ClusterError::Command { said, .. }) if said.contains("File exists") => {}
            made => return made.map(|_| block),
        }
    }
    Err(ClusterError::Addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_meets_what_it_shares_addresses_with() {
        let block = Block(10, 140);
        for (destination, meets) in [
            ("10.140.0.0/16", true),
            ("10.140.7.9", true),
            ("10.140.7.0/24", true),
            ("10.0.0.0/8", true),
            ("0.0.0.0/0", true),
            ("10.141.0.0/16", false),
            ("10.14.0.0", false),
            ("11.140.0.0/24", false),
            ("default", false),
        ] {
            assert_eq!(block.meets(destination), meets, "{destination}");
        }
    }
}
