//! NetworkChaos: what happens at each end of a pair of pods.
//!
//! A partition drops at both ends, as Chaos Mesh does: whichever end an address is lost at on the way,
//! the other still knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::core::ObjectMeta;

use super::kind::Experiment;
use super::peers::{self, Hosts, PeerSet};
use super::plan::{Chosen, End, NodePlan, by_node};
use super::selection::Exclusion;
use super::world::{World, pod_addresses};
use crate::api::{
    ChaosStatus, Fault, GoDuration, InjectionTarget, NetworkAction, NetworkChaos, NetworkChaosSpec,
    NetworkEffect, NetworkEnd, NetworkFault, NetworkRule, Peer, Problem, SOURCE_KEY, TARGET_KEY,
};

/// The actions that this release injects.
const SUPPORTED: [NetworkAction; 1] = [NetworkAction::Partition];

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
        } else {
            pod_addresses(pod).is_empty().then_some(Exclusion::NoAddress)
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

/// The direction table: at the source what goes to or comes from the targets, at the targets the same
/// packets seen from there. Without any peer named, everybody.
fn ends(spec: &NetworkChaosSpec, chosen: &[Chosen], world: &World, external: PeerSet) -> Vec<NetworkEnd> {
    let addresses = |key: &str| -> BTreeSet<IpAddr> {
        let of_key = chosen.iter().filter(|pod| pod.target.selector_key == key);
        of_key.flat_map(|pod| pod.addresses.iter().copied()).collect()
    };
    let drop_if = |meant: bool, peers: Option<&PeerSet>| {
        let rule = || NetworkRule {
            action: NetworkEffect::Drop,
            peers: peers.map(|peers| peers.iter().copied().collect::<Vec<Peer>>()),
        };
        meant.then(rule)
    };
    let mut seen_from_source = external;
    if spec.target.is_some() {
        let targets = addresses(TARGET_KEY);
        seen_from_source.extend(peers::of_services(world, &targets));
        seen_from_source.extend(peers::of_addresses(targets));
    }
    let everybody = spec.target.is_none() && spec.external_targets.is_empty();
    let peers_of_source = (!everybody).then_some(&seen_from_source);
    let mut ends = vec![NetworkEnd {
        selector_key: SOURCE_KEY.to_owned(),
        device: spec.source_device().to_owned(),
        egress: drop_if(spec.direction.outgoing(), peers_of_source),
        ingress: drop_if(spec.direction.incoming(), peers_of_source),
    }];
    if spec.target.is_some() {
        let sources = peers::of_addresses(addresses(SOURCE_KEY));
        ends.push(NetworkEnd {
            selector_key: TARGET_KEY.to_owned(),
            device: spec.peer_device().to_owned(),
            egress: drop_if(spec.direction.incoming(), Some(&sources)),
            ingress: drop_if(spec.direction.outgoing(), Some(&sources)),
        });
    }
    ends
}
