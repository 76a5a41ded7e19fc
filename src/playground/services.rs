//! Services: addresses, endpoints, names, and the translation of a Service's address into a pod's.
//!
//! The translation is one `nf_tables` table in the sandbox's root network namespace, which every packet between two
//! pods passes: outside the pods, like kube-proxy. It is replaced as a whole and belongs to this process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ObjectList, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::json;
use tokio::sync::watch;

use super::dns::Records;
use super::network::{NAME_SERVER, Network, SERVICES};
use super::replicaset::is_ready;
use crate::daemon::sys::netlink::{Protocol, Socket};
use crate::daemon::sys::nft::{self, NftError};
use crate::network::table::{
    Action, Address, Chain, ChainKind, Family, Hook, Match, Rule, TablePlan, Transport,
};

/// `NF_IP_PRI_NAT_DST` (`linux/netfilter_ipv4.h`).
const DESTINATION_NAT: i32 = -100;
/// The zone that Kubernetes gives to Services.
const ZONE: &str = "svc.cluster.local.";

/// Why Services are not as they should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    #[error("cannot read or write Services")]
    Api(#[source] kube::Error),
    #[error("cannot translate Service addresses")]
    Table(#[source] NftError),
    #[error("cannot route Service addresses")]
    Route(#[source] super::network::NetworkError),
    #[error("the translation of Service addresses was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
    #[error("all Service addresses are taken")]
    NoAddress,
}

impl From<kube::Error> for ServiceError {
    fn from(source: kube::Error) -> Self {
        Self::Api(source)
    }
}

/// A port of a Service and the pods behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Forward {
    address: Ipv4Addr,
    port: u16,
    transport: Transport,
    targets: Vec<(Ipv4Addr, u16)>,
}

/// What is in the kernel and in the name server now.
pub(super) struct Services {
    client: Client,
    network: Network,
    socket: Arc<Mutex<Socket>>,
    installed: Option<Vec<Forward>>,
    routed: BTreeSet<Ipv4Addr>,
    records: watch::Sender<Arc<Records>>,
}

impl Services {
    /// No Services yet. `records` goes to the name server.
    pub(super) fn new(
        client: Client,
        network: Network,
        records: watch::Sender<Arc<Records>>,
    ) -> Result<Self, ServiceError> {
        let socket = Socket::open(Protocol::Netfilter).map_err(|error| ServiceError::Table(error.into()))?;
        let socket = Arc::new(Mutex::new(socket));
        Ok(Self { client, network, socket, installed: None, routed: BTreeSet::new(), records })
    }

    /// One step: addresses for new Services, endpoints from ready pods, kernel and names from both.
    pub(super) async fn reconcile(
        &mut self,
        services: &mut [Service],
        pods: &[Pod],
    ) -> Result<(), ServiceError> {
        self.allocate(services).await?;
        let slices: Api<EndpointSlice> = Api::all(self.client.clone());
        let slices = slices.list(&kube::api::ListParams::default()).await?;
        let mut forwards = Vec::new();
        for service in services.iter() {
            let backends = backends(service, pods);
            self.write_slice(service, &backends, &slices).await?;
            forwards.extend(forwards_of(service, &backends));
        }
        self.translate(forwards).await?;
        let records = Arc::new(records_of(services, pods));
        self.records.send_if_modified(|known| {
            let changed = **known != *records;
            *known = Arc::clone(&records);
            changed
        });
        Ok(())
    }

    /// Gives each Service that wants one a free address, or keeps the one that it asks for.
    async fn allocate(&self, services: &mut [Service]) -> Result<(), ServiceError> {
        let mut taken: BTreeSet<Ipv4Addr> = services.iter().filter_map(cluster_ip).collect();
        taken.insert(NAME_SERVER);
        for service in services.iter_mut() {
            let spec = service.spec.as_ref();
            let kind = spec.and_then(|spec| spec.type_.as_deref()).unwrap_or("ClusterIP");
            if spec.and_then(|spec| spec.cluster_ip.as_ref()).is_some() || kind == "ExternalName" {
                continue;
            }
            // From .1.0 on: what people fix by hand (the API server, the name server) lies below.
            let free = SERVICES.hosts().skip(255).find(|address| !taken.contains(address));
            let address = free.ok_or(ServiceError::NoAddress)?;
            taken.insert(address);
            let api: Api<Service> =
                Api::namespaced(self.client.clone(), &service.namespace().unwrap_or_default());
            let fields = json!({ "clusterIP": address, "clusterIPs": [address], "type": kind });
            let patch = Patch::Merge(json!({ "spec": fields }));
            *service = api.patch(&service.name_any(), &PatchParams::default(), &patch).await?;
        }
        Ok(())
    }

    async fn write_slice(
        &self,
        service: &Service,
        backends: &[Backend<'_>],
        known: &ObjectList<EndpointSlice>,
    ) -> Result<(), ServiceError> {
        if service.spec.as_ref().is_none_or(|spec| spec.selector.is_none()) {
            return Ok(());
        }
        let wanted = slice_of(service, backends);
        let api: Api<EndpointSlice> =
            Api::namespaced(self.client.clone(), &service.namespace().unwrap_or_default());
        let name = wanted.name_any();
        let existing =
            known.iter().find(|slice| slice.name_any() == name && slice.namespace() == service.namespace());
        match existing {
            Some(old) if old.endpoints == wanted.endpoints && old.ports == wanted.ports => {}
            Some(_) => {
                let patch = Patch::Merge(json!({ "endpoints": wanted.endpoints, "ports": wanted.ports }));
                api.patch(&name, &PatchParams::default(), &patch).await?;
            }
            None => drop(api.create(&PostParams::default(), &wanted).await?),
        }
        Ok(())
    }

    /// Makes the kernel translate exactly these.
    async fn translate(&mut self, forwards: Vec<Forward>) -> Result<(), ServiceError> {
        if self.installed.as_ref() == Some(&forwards) {
            return Ok(());
        }
        let (socket, plan) = (Arc::clone(&self.socket), plan(&forwards));
        let install = move || nft::install(&mut socket.lock().unwrap_or_else(PoisonError::into_inner), &plan);
        tokio::task::spawn_blocking(install)
            .await
            .map_err(ServiceError::Interrupted)?
            .map_err(ServiceError::Table)?;
        let reachable: BTreeSet<_> =
            forwards.iter().filter(|f| !f.targets.is_empty()).map(|f| f.address).collect();
        for address in reachable.symmetric_difference(&self.routed) {
            self.network
                .route_service(*address, reachable.contains(address))
                .await
                .map_err(ServiceError::Route)?;
        }
        self.routed = reachable;
        self.installed = Some(forwards);
        Ok(())
    }
}

/// A pod behind a Service.
struct Backend<'a> {
    pod: &'a Pod,
    address: Ipv4Addr,
    ready: bool,
}

fn backends<'a>(service: &Service, pods: &'a [Pod]) -> Vec<Backend<'a>> {
    let Some(selector) = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else {
        return Vec::new();
    };
    let selected = |pod: &&Pod| {
        pod.namespace() == service.namespace()
            && selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value))
    };
    let mut backends: Vec<_> = pods
        .iter()
        .filter(selected)
        .filter_map(|pod| {
            let address = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
            Some(Backend { pod, address, ready: is_ready(pod) && pod.metadata.deletion_timestamp.is_none() })
        })
        .collect();
    backends.sort_by_key(|backend| backend.address);
    backends
}

/// The Service's own address; `None` before it has one and for headless Services.
fn cluster_ip(service: &Service) -> Option<Ipv4Addr> {
    service.spec.as_ref()?.cluster_ip.as_ref()?.parse().ok()
}

fn ports(service: &Service) -> &[ServicePort] {
    service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default()
}

/// The port of the pod that a Service's port means.
fn target_port(port: &ServicePort, pod: &Pod) -> Option<u16> {
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
            let mut ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
            ports.find(|port| port.name.as_ref() == Some(name))?.container_port
        }
    };
    u16::try_from(number).ok()
}

fn forwards_of(service: &Service, backends: &[Backend<'_>]) -> Vec<Forward> {
    let Some(address) = cluster_ip(service) else { return Vec::new() };
    let forward = |port: &ServicePort| {
        let ready = backends.iter().filter(|backend| backend.ready);
        Some(Forward {
            address,
            port: u16::try_from(port.port).ok()?,
            transport: match port.protocol.as_deref() {
                None | Some("TCP") => Transport::Tcp,
                Some("UDP") => Transport::Udp,
                Some(_) => return None,
            },
            targets: ready.filter_map(|b| Some((b.address, target_port(port, b.pod)?))).collect(),
        })
    };
    ports(service).iter().filter_map(forward).collect()
}

/// The table that does the translation, for packets of pods and for those of the sandbox's own processes.
fn plan(forwards: &[Forward]) -> TablePlan {
    let rules: Vec<Rule> = forwards.iter().flat_map(rules_of).collect();
    let chain = |name: &str, hook| Chain {
        name: name.to_owned(),
        kind: ChainKind::Nat,
        hook,
        priority: DESTINATION_NAT,
        rules: rules.clone(),
    };
    TablePlan {
        family: Family::Ip,
        name: "squall_services".to_owned(),
        owned: true,
        userdata: Vec::new(),
        sets: Vec::new(),
        chains: vec![chain("pods", Hook::Prerouting), chain("node", Hook::Output)],
    }
}

/// One rule per endpoint. The first of n is taken with probability 1/n, the next with 1/(n-1) of what is left, and
/// so on: each gets an equal share.
fn rules_of(forward: &Forward) -> Vec<Rule> {
    let count = u32::try_from(forward.targets.len()).unwrap_or(u32::MAX);
    let rule = |(remaining, (address, port)): (u32, &(Ipv4Addr, u16))| {
        let mut matches = vec![
            Match::Destination(Address::Network(IpNet::from(IpAddr::V4(forward.address)))),
            Match::Protocol(forward.transport),
            Match::DestinationPort(forward.port),
        ];
        if remaining > 1 {
            matches.push(Match::Random { modulus: remaining, equals: 0 });
        }
        Rule {
            matches,
            action: Action::Dnat { address: IpAddr::V4(*address), port: *port },
            counter: true,
            comment: None,
        }
    };
    (1..=count).rev().zip(&forward.targets).map(rule).collect()
}

fn slice_of(service: &Service, backends: &[Backend<'_>]) -> EndpointSlice {
    let endpoint = |backend: &Backend<'_>| Endpoint {
        addresses: vec![backend.address.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(backend.ready),
            serving: Some(is_ready(backend.pod)),
            terminating: Some(backend.pod.metadata.deletion_timestamp.is_some()),
        }),
        node_name: backend.pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        target_ref: Some(backend.pod.object_ref(&())),
        ..Endpoint::default()
    };
    let port = |port: &ServicePort| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: backends.iter().find_map(|backend| target_port(port, backend.pod)).map(i32::from),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        app_protocol: None,
    };
    let label = |key: &str, value: String| (key.to_owned(), value);
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(service.name_any()),
            namespace: service.namespace(),
            labels: Some(BTreeMap::from([
                label("kubernetes.io/service-name", service.name_any()),
                label("endpointslice.kubernetes.io/managed-by", "squall-playground".to_owned()),
            ])),
            owner_references: service.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".to_owned(),
        endpoints: backends.iter().map(endpoint).collect(),
        ports: Some(ports(service).iter().map(port).collect()),
    }
}

/// The names of Services: their address, or those of the ready pods if they are headless.
fn records_of(services: &[Service], pods: &[Pod]) -> Records {
    let mut addresses = HashMap::new();
    for service in services {
        let name = format!("{}.{}.{ZONE}", service.name_any(), service.namespace().unwrap_or_default());
        let own = match cluster_ip(service) {
            Some(address) => vec![address],
            None => backends(service, pods).iter().filter(|b| b.ready).map(|b| b.address).collect(),
        };
        addresses.insert(name, own);
    }
    Records { addresses }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: serde_json::Value) -> Service {
        let metadata = json!({ "name": "db", "namespace": "default" });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
    }

    fn pod(host: u8, ready: bool) -> Pod {
        let ready = if ready { "True" } else { "False" };
        serde_json::from_value(json!({
            "metadata": { "name": format!("db-{host}"), "namespace": "default", "labels": { "app": "db" } },
            "spec": { "containers": [{ "name": "c", "ports": [{ "name": "wire", "containerPort": 27017 }] }] },
            "status": {
                "podIP": format!("10.244.1.{host}"),
                "conditions": [{ "type": "Ready", "status": ready }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn every_ready_endpoint_gets_an_equal_share() {
        let service = service(json!({
            "clusterIP": "10.96.1.0", "selector": { "app": "db" }, "ports": [{ "port": 80, "targetPort": "wire" }],
        }));
        let pods = [pod(4, true), pod(2, true), pod(3, false), pod(5, true)];
        let forwards = forwards_of(&service, &backends(&service, &pods));
        let targets: Vec<_> = [2, 4, 5].map(|host| (Ipv4Addr::new(10, 244, 1, host), 27017)).into();
        assert_eq!(forwards[0].targets, targets);
        let chance = |rule: &Rule| {
            let random = rule.matches.iter().find_map(|condition| match condition {
                Match::Random { modulus, .. } => Some(1.0 / f64::from(*modulus)),
                _ => None,
            });
            random.unwrap_or(1.0)
        };
        let mut left = 1.0;
        for rule in rules_of(&forwards[0]) {
            let share = left * chance(&rule);
            assert!((share - 1.0 / 3.0).abs() < 1e-9, "{rule:?} gets {share}");
            left -= share;
        }
        plan(&forwards).check().unwrap();
    }

    #[test]
    fn names_follow_the_kind_of_service() {
        let pods = [pod(2, true), pod(3, false)];
        let cases = [
            (json!({ "clusterIP": "10.96.1.0" }), vec![Ipv4Addr::new(10, 96, 1, 0)]),
            (json!({ "clusterIP": "None", "selector": { "app": "db" } }), vec![Ipv4Addr::new(10, 244, 1, 2)]),
            (json!({}), vec![]),
        ];
        for (spec, expected) in cases {
            let records = records_of(&[service(spec.clone())], &pods);
            assert_eq!(records.addresses["db.default.svc.cluster.local."], expected, "{spec}");
        }
    }
}
