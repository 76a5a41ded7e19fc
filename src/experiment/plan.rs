//! From an experiment and its pods to what each node is to do.
//!
//! A partition drops at both ends, as Chaos Mesh does: whichever end an address is lost at on the way,
//! the other still knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::core::ObjectMeta;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::peers::{self, Hosts, PeerSet};
use super::selection::{Request, Selection, select};
use super::world::{World, pod_addresses};
use super::{Limits, stable_hash};
use crate::api::{
    EXPERIMENT_UID_LABEL, ExperimentReference, Fault, Injection, InjectionSpec, InjectionTarget, Mode,
    NetworkAction, NetworkChaos, NetworkChaosSpec, NetworkEffect, NetworkEnd, NetworkFault, NetworkRule,
    Peer, PodSelector, Problem, RECOVERED_FINALIZER, SOURCE_KEY, SYSTEM_NAMESPACE, TARGET_KEY,
};

/// The actions that this release injects.
const SUPPORTED: [NetworkAction; 1] = [NetworkAction::Partition];

/// One pod that the experiment acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// As the Injection names it.
    pub target: InjectionTarget,
    /// The node it runs on.
    pub node: String,
    /// Its addresses; none once it is gone.
    pub addresses: Vec<IpAddr>,
}

/// What one node is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// The pods.
    pub targets: Vec<InjectionTarget>,
    /// What happens to them.
    pub fault: Fault,
}

/// Why nothing is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing to act on at this moment; a pod may come.
    Nothing(String),
    /// The experiment cannot run as it is written.
    Invalid(Vec<Problem>),
}

/// Why this experiment's action is not injected, if it is not.
pub fn unsupported(spec: &NetworkChaosSpec) -> Option<Problem> {
    (!SUPPORTED.contains(&spec.action)).then(|| {
        Problem::new(
            "spec.action",
            format!("this release of Squall does not inject \"{}\" yet", spec.action.word()),
            format!("use one of {}", SUPPORTED.map(NetworkAction::word).join(", ")),
        )
    })
}

/// Selects the pods of both ends. `current` are the Injections that already are: their pods are taken
/// again where the mode leaves a choice.
///
/// # Errors
/// Why there is nothing to act on.
pub fn choose(
    chaos: &NetworkChaos,
    current: &[Arc<Injection>],
    world: &World,
    limits: &Limits,
) -> Result<Vec<Chosen>, Refusal> {
    let spec = &chaos.spec;
    let mut chosen = choose_end(
        chaos,
        current,
        world,
        limits,
        &End::new(SOURCE_KEY, "spec.", &spec.selector, spec.mode, spec.value.as_deref()),
    )?;
    if let Some(target) = &spec.target {
        let end =
            End::new(TARGET_KEY, "spec.target.", &target.selector, target.mode, target.value.as_deref());
        chosen.extend(choose_end(chaos, current, world, limits, &end)?);
    }
    if chosen.len() > limits.targets {
        return Err(Refusal::Invalid(vec![Problem::new(
            "spec.selector",
            format!("{} targets are selected, and the limit is {}", chosen.len(), limits.targets),
            "narrow the selectors, or raise the controller's limit of targets",
        )]));
    }
    Ok(chosen)
}

/// One end's part of the spec.
struct End<'a> {
    key: &'static str,
    path: &'static str,
    selector: &'a PodSelector,
    mode: Mode,
    value: Option<&'a str>,
}

impl<'a> End<'a> {
    const fn new(
        key: &'static str,
        path: &'static str,
        selector: &'a PodSelector,
        mode: Mode,
        value: Option<&'a str>,
    ) -> Self {
        Self { key, path, selector, mode, value }
    }
}

fn choose_end(
    chaos: &NetworkChaos,
    current: &[Arc<Injection>],
    world: &World,
    limits: &Limits,
    end: &End<'_>,
) -> Result<Vec<Chosen>, Refusal> {
    let amount = end.mode.amount(end.value, end.path).map_err(|problem| Refusal::Invalid(vec![problem]))?;
    let keep: BTreeSet<String> = current
        .iter()
        .flat_map(|injection| &injection.spec.targets)
        .filter(|target| target.selector_key == end.key)
        .map(|target| target.uid.clone())
        .collect();
    let request = Request {
        selector: end.selector,
        own_namespace: chaos.metadata.namespace.as_deref().unwrap_or_default(),
        mode: end.mode,
        amount,
        protected: &limits.protected_namespaces,
        keep: &keep,
    };
    // The UID is random; seeding by it makes the draw repeatable for a controller that starts again.
    let uid = chaos.metadata.uid.as_deref().unwrap_or_default();
    let mut rng = StdRng::seed_from_u64(stable_hash(&format!("{uid}{}", end.key)));
    let selection = select(&request, world, &mut rng);
    if selection.pods.is_empty() {
        return Err(nothing_selected(end, &selection));
    }
    Ok(selection.pods.iter().map(|pod| chosen(pod, end.key)).collect())
}

fn nothing_selected(end: &End<'_>, selection: &Selection) -> Refusal {
    let path = format!("{}selector", end.path);
    if selection.candidates > 0 {
        return Refusal::Nothing(format!(
            "{}mode: random-max-percent drew 0 percent of {} pods, so nothing is done",
            end.path, selection.candidates
        ));
    }
    let Some(first) = selection.excluded.first() else {
        return Refusal::Nothing(format!("{path} matches no pod; it is tried again when pods change"));
    };
    let more = match selection.excluded.len() - 1 {
        0 => String::new(),
        others => format!(" (and {others} more)"),
    };
    let what = format!("matches only pods that cannot be targets: {} {}{more}", first.pod, first.reason);
    if selection.excluded.iter().all(|excluded| excluded.reason.is_final()) {
        let cure = "select pods with a network of their own, outside the protected namespaces";
        Refusal::Invalid(vec![Problem::new(path, what, cure)])
    } else {
        Refusal::Nothing(format!("{path} {what}; it is tried again when pods change"))
    }
}

fn chosen(pod: &Pod, key: &str) -> Chosen {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    let target = InjectionTarget {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        pod: pod.name_any(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        selector_key: key.to_owned(),
        container: None,
    };
    Chosen { target, node, addresses: pod_addresses(pod) }
}

/// The pods that the Injections name, with the addresses that they have now.
pub fn already_chosen(current: &[Arc<Injection>], world: &World) -> Vec<Chosen> {
    let of = |injection: &Arc<Injection>| {
        let node = injection.spec.node.clone();
        let with_addresses = move |target: &InjectionTarget| Chosen {
            target: target.clone(),
            node: node.clone(),
            addresses: world.pod(&target.uid).map(|pod| pod_addresses(pod)).unwrap_or_default(),
        };
        injection.spec.targets.iter().map(with_addresses).collect::<Vec<_>>()
    };
    current.iter().flat_map(of).collect()
}

/// What each node is to do.
///
/// # Errors
/// What is wrong with the external targets.
pub fn plan(
    spec: &NetworkChaosSpec,
    chosen: &[Chosen],
    world: &World,
    hosts: &Hosts,
) -> Result<BTreeMap<String, NodePlan>, Vec<Problem>> {
    let external = peers::external(&spec.external_targets, hosts)?;
    let ends = ends(spec, chosen, world, external);
    let exempt = peers::api_server(world);
    let mut nodes: BTreeMap<String, Vec<InjectionTarget>> = BTreeMap::new();
    for pod in chosen {
        nodes.entry(pod.node.clone()).or_default().push(pod.target.clone());
    }
    let plan_of = |mut targets: Vec<InjectionTarget>| {
        targets.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
        let used = |end: &&NetworkEnd| targets.iter().any(|target| target.selector_key == end.selector_key);
        let network =
            NetworkFault { ends: ends.iter().filter(used).cloned().collect(), exempt: exempt.clone() };
        NodePlan { fault: Fault { network: Some(network) }, targets }
    };
    Ok(nodes.into_iter().map(|(node, targets)| (node, plan_of(targets))).collect())
}

fn sort_key(target: &InjectionTarget) -> (&str, &str, &str) {
    (&target.selector_key, &target.namespace, &target.pod)
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

/// The experiment, as its Injections name it.
pub fn reference(chaos: &NetworkChaos) -> ExperimentReference {
    ExperimentReference {
        kind: "NetworkChaos".to_owned(),
        namespace: chaos.metadata.namespace.clone().unwrap_or_default(),
        name: chaos.name_any(),
        uid: chaos.metadata.uid.clone().unwrap_or_default(),
    }
}

/// The name of the Injection of one experiment and node. Node names may be longer than what is left of
/// a name, so a hash stands for them.
pub fn injection_name(experiment: &ExperimentReference, node: &str) -> String {
    let uid: String = experiment.uid.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    format!("{}-{uid}-{:016x}", experiment.kind, stable_hash(node)).to_ascii_lowercase()
}

/// A new Injection. It belongs to its node: an owner in another namespace would have the garbage
/// collector delete it within seconds.
pub fn injection(spec: InjectionSpec, node: &Node) -> Injection {
    let mut injection = Injection::new(&injection_name(&spec.experiment, &spec.node), spec);
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.name_any(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    };
    injection.metadata = ObjectMeta {
        namespace: Some(SYSTEM_NAMESPACE.to_owned()),
        labels: Some([(EXPERIMENT_UID_LABEL.to_owned(), injection.spec.experiment.uid.clone())].into()),
        finalizers: Some(vec![RECOVERED_FINALIZER.to_owned()]),
        owner_references: Some(vec![owner]),
        ..injection.metadata
    };
    injection
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
