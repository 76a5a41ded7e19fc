//! NetworkChaos: what happens at each end of a pair of pods.
//!
//! A partition drops at both ends, as Chaos Mesh does: whichever end an address is lost at on the way,
//! the other still knows it. Shaping acts at exactly one end, or a packet would be shaped twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::core::ObjectMeta;

use super::kind::Experiment;
use super::peers::{self, Hosts, PeerSet};
use super::plan::{Chosen, End, NodePlan, by_node};
use super::selection::{Exclusion, has_own_kernel};
use super::world::{World, has_address};
use crate::api::{
    ChaosStatus, Fault, GoDuration, InjectionTarget, NetworkAction, NetworkChaos, NetworkChaosSpec,
    NetworkEffect, NetworkEnd, NetworkFault, NetworkRule, Problem, SOURCE_KEY, TARGET_KEY,
};

/// The actions that this release injects.
const SUPPORTED: [NetworkAction; 6] = [
    NetworkAction::Netem,
    NetworkAction::Delay,
    NetworkAction::Loss,
    NetworkAction::Duplicate,
    NetworkAction::Corrupt,
    NetworkAction::Partition,
];

impl Experiment for NetworkChaos {
    fn kind(&self) -> &'static str {
        "NetworkChaos"
    }

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn status(&self) -> Option<&ChaosStatus> {
        self.status.as_ref()
    }

    fn duration(&self) -> Option<Duration> {
        self.spec.effective_duration().and_then(GoDuration::to_std)
    }

    fn problems(&self) -> Vec<Problem> {
        self.spec.problems()
    }

    fn unsupported(&self) -> Option<Problem> {
        let action = self.spec.action;
        (!SUPPORTED.contains(&action)).then(|| {
            Problem::new(
                "spec.action",
                format!("this release of Squall does not inject \"{}\" yet", action.word()),
                format!("use one of {}", SUPPORTED.map(NetworkAction::word).join(", ")),
            )
        })
    }

    fn ends(&self) -> Vec<End<'_>> {
        let spec = &self.spec;
        let source = End {
            key: SOURCE_KEY,
            path: "spec.",
            selector: &spec.selector,
            mode: spec.mode,
            value: spec.value.as_deref(),
        };
        let target = spec.target.as_ref().map(|target| End {
            key: TARGET_KEY,
            path: "spec.target.",
            selector: &target.selector,
            mode: target.mode,
            value: target.value.as_deref(),
        });
        [source].into_iter().chain(target).collect()
    }

    fn host_names(&self) -> BTreeSet<String> {
        peers::host_names(&self.spec.external_targets)
    }

    fn exclusion(&self, pod: &Pod) -> Option<Exclusion> {
        if pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true) {
            Some(Exclusion::HostNetwork)
        } else if has_own_kernel(pod) {
            Some(Exclusion::OwnKernel)
        } else {
            (!has_address(pod)).then_some(Exclusion::NoAddress)
        }
    }

    fn parts(&self, _pod: &Pod, target: InjectionTarget) -> Vec<InjectionTarget> {
        vec![target]
    }

    fn plan(
        &self,
        chosen: &[Chosen],
        world: &World,
        hosts: &Hosts,
    ) -> Result<BTreeMap<String, NodePlan>, Vec<Problem>> {
        let external = peers::external(&self.spec.external_targets, hosts)?;
        let ends = ends(&self.spec, chosen, world, external);
        let exempt = peers::api_server(world);
        Ok(by_node(chosen, |targets| {
            let used =
                |end: &&NetworkEnd| targets.iter().any(|target| target.selector_key == end.selector_key);
            let network =
                NetworkFault { ends: ends.iter().filter(used).cloned().collect(), exempt: exempt.clone() };
            Fault { network: Some(network), ..Fault::default() }
        }))
    }
}

/// Pods of the two selectors, as each other's peers, and what else is meant.
struct Peers<'a> {
    spec: &'a NetworkChaosSpec,
    world: &'a World,
    sources: BTreeSet<IpAddr>,
    targets: BTreeSet<IpAddr>,
    external: PeerSet,
}

impl Peers<'_> {
    /// The addresses that packets for these pods, or from them, carry at the other end.
    fn seen_from_afar(&self, pods: &BTreeSet<IpAddr>) -> PeerSet {
        let mut peers = peers::of_services(self.world, pods);
        peers.extend(peers::of_addresses(pods.iter().copied()));
        peers
    }

    /// The targets, as the sources see them; `None` for everybody.
    fn of_sources(&self) -> Option<PeerSet> {
        if self.spec.target.is_none() && self.spec.external_targets.is_empty() {
            return None;
        }
        let mut peers = self.external.clone();
        if self.spec.target.is_some() {
            peers.extend(self.seen_from_afar(&self.targets));
        }
        Some(peers)
    }
}

fn ends(spec: &NetworkChaosSpec, chosen: &[Chosen], world: &World, external: PeerSet) -> Vec<NetworkEnd> {
    let addresses = |key: &str| -> BTreeSet<IpAddr> {
        let of_key = chosen.iter().filter(|pod| pod.target.selector_key == key);
        of_key.flat_map(|pod| pod.addresses.iter().copied()).collect()
    };
    let (sources, targets) = (addresses(SOURCE_KEY), addresses(TARGET_KEY));
    let peers = Peers { spec, world, sources, targets, external };
    match spec.action {
        NetworkAction::Partition => partition(&peers),
        _ => shape(&peers),
    }
}

/// The direction table: at the source what goes to or comes from the targets, at the targets the same
/// packets seen from there. Without any peer named, everybody.
fn partition(peers: &Peers<'_>) -> Vec<NetworkEnd> {
    let spec = peers.spec;
    let rule = |peers: Option<&PeerSet>| NetworkRule {
        action: NetworkEffect::Drop,
        shaping: None,
        peers: peers.map(|peers| peers.iter().copied().collect()),
    };
    let of_sources = peers.of_sources();
    let drop_at_source = |meant: bool| meant.then(|| rule(of_sources.as_ref()));
    let (outgoing, incoming) = (spec.direction.outgoing(), spec.direction.incoming());
    let mut ends =
        vec![end(SOURCE_KEY, spec.source_device(), drop_at_source(outgoing), drop_at_source(incoming))];
    if spec.target.is_some() {
        let sources = peers::of_addresses(peers.sources.iter().copied());
        let drop_at_target = |meant: bool| meant.then(|| rule(Some(&sources)));
        ends.push(end(TARGET_KEY, spec.peer_device(), drop_at_target(incoming), drop_at_target(outgoing)));
    }
    ends
}

/// Each packet is shaped where it leaves, if its address tells there whose it is. A Service that leads to one of
/// the receivers and to others too hides that; then all packets between the two are shaped where they
/// arrive, by the sender's address.
fn shape(peers: &Peers<'_>) -> Vec<NetworkEnd> {
    let spec = peers.spec;
    let rule = |peers: Option<PeerSet>| {
        Some(NetworkRule {
            action: NetworkEffect::Shape,
            shaping: Some(spec.shaping()),
            peers: peers.map(|peers| peers.into_iter().collect()),
        })
    };
    let mut source = end(SOURCE_KEY, spec.source_device(), None, None);
    let mut target = end(TARGET_KEY, spec.peer_device(), None, None);
    if spec.direction.outgoing() {
        if peers::hidden_by_services(peers.world, &peers.targets) {
            target.ingress = rule(Some(peers.seen_from_afar(&peers.sources)));
            source.egress = rule(Some(peers.external.clone())).filter(|_| !peers.external.is_empty());
        } else {
            source.egress = rule(peers.of_sources());
        }
    }
    if spec.direction.incoming() {
        if peers::hidden_by_services(peers.world, &peers.sources) {
            source.ingress = rule(Some(peers.seen_from_afar(&peers.targets)));
        } else {
            target.egress = rule(Some(peers.seen_from_afar(&peers.sources)));
        }
    }
    let mut ends = vec![source];
    ends.extend(spec.target.is_some().then_some(target));
    ends
}

fn end(key: &str, device: &str, egress: Option<NetworkRule>, ingress: Option<NetworkRule>) -> NetworkEnd {
    NetworkEnd { selector_key: key.to_owned(), device: device.to_owned(), egress, ingress }
}
