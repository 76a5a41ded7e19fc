//! From an experiment to its pods, and from its pods to the Injections of their nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::core::ObjectMeta;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::Limits;
use super::kind::Experiment;
use super::selection::{Request, Selection, select};
use super::world::{World, pod_addresses};
use crate::api::{
    EXPERIMENT_UID_LABEL, ExperimentReference, Fault, Injection, InjectionSpec, InjectionTarget, Mode,
    PodSelector, Problem, RECOVERED_FINALIZER, SYSTEM_NAMESPACE,
};
use crate::network::stable_hash;

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

/// Selects the targets of all selectors. `current` are the Injections that already are: their pods are taken
/// again where the mode leaves a choice.
///
/// # Errors
/// Why there is nothing to act on.
pub fn choose(
    chaos: &dyn Experiment,
    current: &[Arc<Injection>],
    world: &World,
    limits: &Limits,
) -> Result<Vec<Chosen>, Refusal> {
    let mut chosen = Vec::new();
    for end in chaos.ends() {
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

/// One selector of a spec, with its mode.
pub struct End<'a> {
    /// The selector key of its targets.
    pub key: &'static str,
    /// Where it stands in the object, with a dot behind.
    pub path: &'static str,
    /// Which pods may be picked.
    pub selector: &'a PodSelector,
    /// How many of them.
    pub mode: Mode,
    /// The value of modes that need one.
    pub value: Option<&'a str>,
}

fn choose_end(
    chaos: &dyn Experiment,
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
        own_namespace: chaos.namespace(),
        mode: end.mode,
        amount,
        protected: &limits.protected_namespaces,
        unfit: &|pod| chaos.exclusion(pod),
        keep: &keep,
    };
    let selection = select(&request, world, &mut draw_of(chaos, end));
    if selection.pods.is_empty() {
        return Err(nothing_selected(end, &selection));
    }
    Ok(selection.pods.iter().flat_map(|pod| chosen(chaos, pod, end.key)).collect())
}

/// The UID is random; seeding by it makes the draw repeatable for a controller that starts again.
pub(super) fn draw_of(chaos: &dyn Experiment, end: &End<'_>) -> StdRng {
    StdRng::seed_from_u64(stable_hash(&format!("{}{}", chaos.uid(), end.key)))
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
        return Refusal::Nothing(format!("{path} matches no pod"));
    };
    let more = match selection.excluded.len() - 1 {
        0 => String::new(),
        others => format!(" (and {others} more)"),
    };
    let what = format!("matches only pods that cannot be targets: {} {}{more}", first.pod, first.reason);
    if selection.excluded.iter().all(|excluded| excluded.reason.is_final()) {
        Refusal::Invalid(vec![Problem::new(path, what, first.reason.cure())])
    } else {
        Refusal::Nothing(format!("{path} {what}"))
    }
}

/// A picked pod with everything of it that is acted on.
pub(super) fn chosen(chaos: &dyn Experiment, pod: &Pod, key: &str) -> Vec<Chosen> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    let target = InjectionTarget {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        pod: pod.name_any(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        node_uid: static_uid(pod),
        selector_key: key.to_owned(),
        container: None,
        container_id: None,
    };
    let parts = chaos.parts(pod, target).into_iter();
    parts.map(|target| Chosen { target, node: node.clone(), addresses: pod_addresses(pod) }).collect()
}

/// The UID that the node gives a static pod: the API server's picture of it, a mirror pod, has one of its own.
///
/// Who may create pods can write these annotations on one. A hash has no dashes, as every UID of the API server has, so that
/// they can name no pod that the API server decides on.
fn static_uid(pod: &Pod) -> Option<String> {
    /// `k8s.io/kubernetes/pkg/kubelet/types`, `ConfigHashAnnotationKey`.
    const HASH_ANNOTATION: &str = "kubernetes.io/config.hash";
    /// Hexadecimal digits of an MD5 sum.
    const LENGTH: usize = 32;
    let hash = pod.annotations().get(HASH_ANNOTATION).filter(|_| is_mirror(pod))?;
    let is_hash = hash.len() == LENGTH && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hash.then(|| hash.clone())
}

/// Whether this is the API server's picture of a static pod.
pub(super) fn is_mirror(pod: &Pod) -> bool {
    /// `k8s.io/api/core/v1`, `MirrorPodAnnotationKey`.
    const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
    pod.annotations().contains_key(MIRROR_ANNOTATION)
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

/// Sorts targets by their nodes; `fault` says what happens to those of one node.
pub(super) fn by_node(
    chosen: &[Chosen],
    fault: impl Fn(&[InjectionTarget]) -> Fault,
) -> BTreeMap<String, NodePlan> {
    let mut nodes: BTreeMap<String, Vec<InjectionTarget>> = BTreeMap::new();
    for pod in chosen {
        nodes.entry(pod.node.clone()).or_default().push(pod.target.clone());
    }
    let plan_of = |mut targets: Vec<InjectionTarget>| {
        targets.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
        NodePlan { fault: fault(&targets), targets }
    };
    nodes.into_iter().map(|(node, targets)| (node, plan_of(targets))).collect()
}

fn sort_key(target: &InjectionTarget) -> (&str, &str, &str, Option<&str>) {
    (&target.selector_key, &target.namespace, &target.pod, target.container.as_deref())
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
