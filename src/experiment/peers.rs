//! Whose packets are meant: addresses as they look from inside the faulted pods.
//!
//! A Service's address is translated on the node, after the packet has left the pod. What leaves a pod
//! for a Service carries the ClusterIP, and so do the answers when they reach it again: the set at the
//! source's end needs the cluster addresses. What reaches a pod through its Service carries the sender's own
//! address: the set at the target's end does not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::ResourceExt;

use super::world::World;
use crate::api::scalar::{ExternalTarget, external_target};
use crate::api::{Peer, Problem};

/// Addresses of host names, as they were resolved last. A name that is not in it did not resolve.
pub type Hosts = BTreeMap<String, Vec<IpAddr>>;

/// A set of peers without duplicates, in a stable order.
pub type PeerSet = BTreeSet<Peer>;

/// Peers with these addresses, on every port.
pub fn of_addresses(addresses: impl IntoIterator<Item = IpAddr>) -> PeerSet {
    addresses.into_iter().map(|address| Peer { network: IpNet::from(address), port: None }).collect()
}

/// The cluster addresses of the Services that lead only to `peers`. A Service with other endpoints too is not
/// in it: dropping what goes there would hit bystanders, and the target's own end drops what arrives.
pub fn of_services(world: &World, peers: &BTreeSet<IpAddr>) -> PeerSet {
    let only_peers = world.services().iter().filter(|service| leads_only_to(slices(world, service), peers));
    of_addresses(only_peers.flat_map(|service| cluster_ips(service)))
}

/// Whether a Service with a cluster address leads to one of `peers` and to others too: what is sent there carries
/// an address that does not tell whether a peer will get it.
pub fn hidden_by_services(world: &World, peers: &BTreeSet<IpAddr>) -> bool {
    let leads_to_one = |service: &Service| {
        let endpoints = slices(world, service).flat_map(|slice| &slice.endpoints);
        let mut addresses = endpoints.flat_map(|endpoint| &endpoint.addresses);
        addresses.any(|address| address.parse::<IpAddr>().is_ok_and(|address| peers.contains(&address)))
    };
    world.services().iter().any(|service| {
        !cluster_ips(service).is_empty()
            && leads_to_one(service)
            && !leads_only_to(slices(world, service), peers)
    })
}

fn slices<'a>(world: &'a World, service: &Service) -> impl Iterator<Item = &'a EndpointSlice> {
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    world.slices(namespace, &service.name_any()).iter().map(AsRef::as_ref)
}

/// Whether a Service has endpoints and all that count are `peers`. With none ready, nothing answers
/// there at all; all endpoints count then, so that a target that the fault makes unready does not
/// take its Service out of the set.
fn leads_only_to<'a>(slices: impl Iterator<Item = &'a EndpointSlice>, peers: &BTreeSet<IpAddr>) -> bool {
    let endpoints: Vec<&Endpoint> = slices.flat_map(|slice| &slice.endpoints).collect();
    let any_ready = endpoints.iter().any(|endpoint| is_ready(endpoint));
    let mut counting = endpoints
        .into_iter()
        .filter(|endpoint| !any_ready || is_ready(endpoint))
        .flat_map(|endpoint| &endpoint.addresses)
        .peekable();
    counting.peek().is_some()
        && counting.all(|address| address.parse::<IpAddr>().is_ok_and(|address| peers.contains(&address)))
}

/// Unknown counts as ready (`discovery.k8s.io/v1`, `EndpointConditions.ready`).
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
}

/// All cluster addresses of a Service; none of a headless one.
fn cluster_ips(service: &Service) -> Vec<IpAddr> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let texts = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// The API server's addresses: what the Service `kubernetes` of namespace `default` has and leads to.
pub fn api_server(world: &World) -> Vec<IpNet> {
    let (namespace, name) = ("default", "kubernetes");
    let is_it = |service: &&_| {
        let service: &Service = service;
        service.metadata.namespace.as_deref() == Some(namespace)
            && service.metadata.name.as_deref() == Some(name)
    };
    let own = world.services().iter().map(AsRef::as_ref).filter(is_it).flat_map(cluster_ips);
    let behind = world
        .slices(namespace, name)
        .iter()
        .flat_map(|slice| &slice.endpoints)
        .flat_map(|endpoint| &endpoint.addresses)
        .filter_map(|address| address.parse::<IpAddr>().ok());
    let networks: BTreeSet<IpNet> = own.chain(behind).map(IpNet::from).collect();
    networks.into_iter().collect()
}

/// The host names in `externalTargets`.
pub fn host_names(texts: &[String]) -> BTreeSet<String> {
    let host = |text: &String| match external_target(text) {
        Ok(ExternalTarget::Host(name, _)) => Some(name),
        _ => None,
    };
    texts.iter().filter_map(host).collect()
}

/// The peers outside the cluster.
///
/// # Errors
/// The entries that cannot be read and the names that did not resolve.
pub fn external(texts: &[String], hosts: &Hosts) -> Result<PeerSet, Vec<Problem>> {
    let mut peers = PeerSet::new();
    let mut problems = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let mut problem = |what: String, cure: &str| {
            problems.push(Problem::new(format!("spec.externalTargets[{index}]"), what, cure));
        };
        match external_target(text) {
            Ok(ExternalTarget::Network(network, port)) => {
                peers.insert(Peer { network, port });
            }
            Ok(ExternalTarget::Host(name, port)) => {
                match hosts.get(&name).filter(|addresses| !addresses.is_empty()) {
                    Some(addresses) => peers.extend(
                        addresses.iter().map(|address| Peer { network: IpNet::from(*address), port }),
                    ),
                    None => problem(
                        format!("the name \"{name}\" does not resolve"),
                        "write a name that the controller can resolve, or an address",
                    ),
                }
            }
            Err(what) => problem(what, "write an address, a CIDR or a host name, with :port behind it"),
        }
    }
    if problems.is_empty() { Ok(peers) } else { Err(problems) }
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
