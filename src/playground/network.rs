//! The network of the sandbox: one bridge, one pair of virtual interfaces per pod, and routes.
//!
//! Pods have an address of their own (/32) and know only the gateway. So every packet between two pods is routed by
//! the sandbox's root namespace, where Service addresses are translated: outside the pods, as on a real node, and
//! on the way back too. A pod on the same link as its peer would answer it directly and the reply would never be
//! translated back.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::{fs, thread};

use futures::TryStreamExt as _;
use ipnet::Ipv4Net;
use nix::sched::{CloneFlags, setns};
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::packet_route::route::RouteType;
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tokio::sync::oneshot;

/// The bridge, as it is called in the sandbox's root namespace.
const BRIDGE: &str = "sq0";
/// The pods' gateway: the bridge's own address.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// Prefix length of all pods' addresses together.
const POD_PREFIX: u8 = 16;
/// Addresses of Services.
pub(crate) const SERVICES: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16);
/// The name server's address: the one that kubeadm gives to its name server.
pub(crate) const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// The interface of a pod, as it is called inside.
const POD_INTERFACE: &str = "eth0";

/// Why the network is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    /// No netlink socket.
    #[error("cannot open a netlink socket{place}")]
    Socket {
        place: &'static str,
        #[source]
        source: io::Error,
    },
    /// The kernel refused a change.
    #[error("cannot {action}")]
    Netlink {
        action: String,
        #[source]
        source: rtnetlink::Error,
    },
    /// A switch under /proc/sys cannot be set.
    #[error("cannot set {path}")]
    Sysctl {
        path: &'static str,
        #[source]
        source: io::Error,
    },
    /// An interface that was just made is not there.
    #[error("interface {0} is missing")]
    Missing(&'static str),
}

fn netlink(action: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> NetworkError {
    move |source| NetworkError::Netlink { action: action.into(), source }
}

/// The sandbox's root network namespace.
#[derive(Clone)]
pub(crate) struct Network {
    handle: Handle,
    bridge: u32,
}

impl Network {
    /// Configures the namespace that this process is in, which must be new.
    pub(crate) async fn create() -> Result<Self, NetworkError> {
        let handle = spawn_connection(rtnetlink::new_connection(), "")?;
        let loopback = index_of(&handle, "lo").await?;
        set_up(&handle, loopback).await?;
        let bridge = LinkBridge::new(BRIDGE).up().build();
        handle.link().add(bridge).execute().await.map_err(netlink("make the bridge"))?;
        let bridge = index_of(&handle, BRIDGE).await?;
        for (index, address, prefix) in [(bridge, GATEWAY, POD_PREFIX), (loopback, NAME_SERVER, 32)] {
            let request = handle.address().add(index, IpAddr::V4(address), prefix);
            request.execute().await.map_err(netlink(format!("add the address {address}")))?;
        }
        set_switches()?;
        // A Service without endpoints must answer at once, and no Service address may leave the sandbox.
        let nowhere = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(SERVICES.addr(), SERVICES.prefix_len())
            .kind(RouteType::Unreachable)
            .build();
        handle.route().add(nowhere).execute().await.map_err(netlink("add the route for Services"))?;
        Ok(Self { handle, bridge })
    }

    /// Gives the network namespace of process `pid` an interface with `address`, joined to the bridge.
    ///
    /// The outer end is named after the address, so it is the same after a restart and unique.
    pub(crate) async fn attach(
        &self,
        pid: u32,
        netns: OwnedFd,
        address: Ipv4Addr,
    ) -> Result<(), NetworkError> {
        let [_, _, node, host] = address.octets();
        let peer = LinkMessageBuilder::<LinkUnspec>::new().name(POD_INTERFACE).setns_by_pid(pid).build();
        let outer = format!("pod{node}.{host}");
        let pair = LinkVeth::new(&outer, POD_INTERFACE)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .controller(self.bridge)
            .up()
            .build();
        self.handle
            .link()
            .add(pair)
            .execute()
            .await
            .map_err(netlink(format!("make the interface {outer}")))?;
        let inside = connection_in(netns).await?;
        set_up(&inside, index_of(&inside, "lo").await?).await?;
        let index = index_of(&inside, POD_INTERFACE).await?;
        let request = inside.address().add(index, IpAddr::V4(address), 32);
        request.execute().await.map_err(netlink(format!("give a pod the address {address}")))?;
        set_up(&inside, index).await?;
        let route =
            RouteMessageBuilder::<Ipv4Addr>::new().gateway(GATEWAY).output_interface(index).onlink().build();
        inside.route().add(route).execute().await.map_err(netlink("give a pod its default route"))
    }

    /// Makes a Service's address routable (its packets are translated) or unreachable (it has no endpoints).
    ///
    /// Packets of the sandbox's own processes are routed before they are translated, so they need a route too.
    pub(crate) async fn route_service(&self, address: Ipv4Addr, reachable: bool) -> Result<(), NetworkError> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(address, 32)
            .output_interface(self.bridge)
            .build();
        let routes = self.handle.route();
        if reachable {
            let request = routes.add(route).replace();
            request.execute().await.map_err(netlink(format!("route the Service address {address}")))
        } else {
            let request = routes.del(route);
            request.execute().await.map_err(netlink(format!("stop routing the Service address {address}")))
        }
    }
}

/// Runs the connection of a netlink socket as a task; it ends with its last handle.
fn spawn_connection<C, M>(
    connection: io::Result<(C, Handle, M)>,
    place: &'static str,
) -> Result<Handle, NetworkError>
where
    C: Future<Output = ()> + Send + 'static,
{
    let (connection, handle, _messages) =
        connection.map_err(|source| NetworkError::Socket { place, source })?;
    tokio::spawn(connection);
    Ok(handle)
}

/// A netlink connection to another network namespace: a socket belongs to the namespace that its maker was in, so
/// it is made by a thread that enters the namespace and ends.
async fn connection_in(netns: OwnedFd) -> Result<Handle, NetworkError> {
    let runtime = tokio::runtime::Handle::current();
    let (answer, socket) = oneshot::channel();
    let thread = thread::Builder::new().name("netns".to_owned()).spawn(move || {
        let _context = runtime.enter();
        let connection = setns(netns, CloneFlags::CLONE_NEWNET)
            .map_err(io::Error::from)
            .and_then(|()| rtnetlink::new_connection());
        // The receiver is gone when the pod was given up meanwhile; then nobody wants the socket.
        drop(answer.send(connection));
    });
    let place = " in a pod";
    thread.map_err(|source| NetworkError::Socket { place, source })?;
    let connection =
        socket.await.map_err(|gone| NetworkError::Socket { place, source: io::Error::other(gone) })?;
    spawn_connection(connection, place)
}

async fn index_of(handle: &Handle, name: &'static str) -> Result<u32, NetworkError> {
    let mut links = std::pin::pin!(handle.link().get().match_name(name).execute());
    let link = links.try_next().await.map_err(netlink(format!("find the interface {name}")))?;
    Ok(link.ok_or(NetworkError::Missing(name))?.header.index)
}

async fn set_up(handle: &Handle, index: u32) -> Result<(), NetworkError> {
    let link = LinkMessageBuilder::<LinkUnspec>::new().index(index).up().build();
    handle.link().set(link).execute().await.map_err(netlink("set an interface up"))
}

/// Switches of the root namespace: forward, never tell a pod a shorter way past the translation, and refuse every
/// packet to a Service without endpoints (by default only a few ICMP errors per second are sent, icmp(7)).
fn set_switches() -> Result<(), NetworkError> {
    let switches = [
        ("/proc/sys/net/ipv4/ip_forward", "1"),
        ("/proc/sys/net/ipv4/conf/all/send_redirects", "0"),
        ("/proc/sys/net/ipv4/conf/sq0/send_redirects", "0"),
        ("/proc/sys/net/ipv4/icmp_ratelimit", "0"),
    ];
    for (path, value) in switches {
        fs::write(path, value).map_err(|source| NetworkError::Sysctl { path, source })?;
    }
    // Where br_netfilter is loaded (Docker does), bridged packets would be translated a second time.
    let bridge = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    match fs::write(bridge, "0") {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(NetworkError::Sysctl { path: bridge, source })
        }
        _ => Ok(()),
    }
}

/// The addresses of one node's pods: 10.244.N.0/24.
#[derive(Debug)]
pub(crate) struct Addresses {
    node: u8,
    used: std::collections::BTreeSet<u8>,
    next: u8,
}

impl Addresses {
    const FIRST: u8 = 2;
    const LAST: u8 = 254;

    /// The range of the node with this number, counted from 0.
    pub(crate) fn new(node: u8) -> Self {
        Self { node, used: std::collections::BTreeSet::new(), next: Self::FIRST }
    }

    /// An address that no pod has, as long not used as can be: peers may remember the last holder of one.
    pub(crate) fn take(&mut self) -> Option<Ipv4Addr> {
        let candidates = (self.next..=Self::LAST).chain(Self::FIRST..self.next);
        let host = candidates.into_iter().find(|host| !self.used.contains(host))?;
        self.used.insert(host);
        self.next = if host == Self::LAST { Self::FIRST } else { host + 1 };
        Some(Ipv4Addr::new(10, 244, self.node, host))
    }

    /// Gives an address back.
    pub(crate) fn release(&mut self, address: Ipv4Addr) {
        self.used.remove(&address.octets()[3]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_unique_and_reused_last() {
        let mut addresses = Addresses::new(1);
        let first = addresses.take().unwrap();
        assert_eq!(first, Ipv4Addr::new(10, 244, 1, 2));
        addresses.release(first);
        let rest: Vec<_> = (0..253).map(|_| addresses.take().unwrap()).collect();
        assert_eq!(rest.last(), Some(&first), "the freed address must come last");
        assert_eq!(rest.iter().collect::<std::collections::BTreeSet<_>>().len(), 253);
        assert_eq!(addresses.take(), None, "the range is exhausted");
    }

    #[test]
    fn the_gateway_is_no_pod_address() {
        let mut addresses = Addresses::new(0);
        assert!((0..253).all(|_| addresses.take() != Some(GATEWAY)));
    }
}
