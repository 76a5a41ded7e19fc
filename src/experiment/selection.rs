//! Which pods an experiment acts on: the selector's fields, then the arithmetic of its mode.
//!
//! The draw is the caller's: seeded by the experiment's UID it gives the same pods again after a
//! restart of the controller. Nothing here remembers an earlier selection but what `keep` says.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::core::{Expression, Selector, SelectorExt};
use rand::{Rng, RngExt};

use super::world::{World, has_finished};
use crate::api::{LabelRequirement, Mode, PodSelector};

/// What is asked for.
pub struct Request<'a> {
    /// The fields that must hold.
    pub selector: &'a PodSelector,
    /// The experiment's namespace: the one to look in where the selector names none.
    pub own_namespace: &'a str,
    /// How many of the candidates.
    pub mode: Mode,
    /// The number or percentage of the modes that need one, as [`Mode::amount`] reads it.
    pub amount: u32,
    /// Namespaces whose pods are never candidates.
    pub protected: &'a [String],
    /// Why this experiment cannot act on a pod that every experiment could act on.
    pub unfit: &'a dyn Fn(&Pod) -> Option<Exclusion>,
    /// UIDs of pods that are picked before others: those that already have the fault.
    pub keep: &'a BTreeSet<String>,
}

/// What came out.
#[derive(Debug, Default)]
pub struct Selection {
    /// The picked pods, ordered by namespace and name.
    pub pods: Vec<Arc<Pod>>,
    /// How many pods could have been picked.
    pub candidates: usize,
    /// Pods that the selector matches and that cannot be targets.
    pub excluded: Vec<Excluded>,
}

/// A pod that matches and cannot be a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// `namespace/name`.
    pub pod: String,
    /// Why not.
    pub reason: Exclusion,
}

/// Why a pod cannot be a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// Its network namespace is the node's.
    HostNetwork,
    /// A kernel of its own runs it: the node's does not see its processes and packets.
    OwnKernel,
    /// Its namespace is protected.
    Protected,
    /// It is being deleted.
    Terminating,
    /// Its containers have ended for good.
    Finished,
    /// It runs on no node that is known.
    NoNode,
    /// It has no address yet.
    NoAddress,
    /// It is not ready: nothing joins a running experiment before that.
    NotReady,
    /// None of the named containers runs in it.
    NoContainer,
    /// It stands for a pod that the node runs on its own (`kubernetes.io/config.mirror`).
    Mirror,
    /// Nobody would start it anew.
    Bare,
}

impl Exclusion {
    /// Whether this pod can never be a target, however long one waits.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::HostNetwork | Self::OwnKernel | Self::Protected | Self::Mirror | Self::Bare)
    }

    /// What to write instead.
    pub const fn cure(self) -> &'static str {
        match self {
            Self::HostNetwork => "select pods with a network of their own",
            Self::OwnKernel => "select pods of a RuntimeClass that the node's kernel runs",
            Self::Protected => "select pods outside the protected namespaces",
            Self::Mirror => "select pods that the API server decides on; static pods are files of their node",
            Self::Bare => "select pods of a Deployment, StatefulSet, DaemonSet or Job",
            Self::NoContainer => "name containers that the pods have and that run",
            Self::Terminating | Self::Finished | Self::NoNode | Self::NoAddress | Self::NotReady => {
                "wait for other pods"
            }
        }
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HostNetwork => "uses the network of its node (hostNetwork)",
            Self::OwnKernel => "runs on a kernel of its own (gVisor or Kata, by its RuntimeClass)",
            Self::Protected => "is in a protected namespace",
            Self::Terminating => "is being deleted",
            Self::Finished => "has finished",
            Self::NoNode => "runs on no known node",
            Self::NoAddress => "has no address yet",
            Self::NotReady => "is not ready yet",
            Self::NoContainer => "runs none of the named containers",
            Self::Mirror => "is a static pod of its node",
            Self::Bare => "belongs to no controller that would mend it (a bare pod)",
        })
    }
}

/// Selects pods of `world`.
pub fn select(request: &Request<'_>, world: &World, rng: &mut impl Rng) -> Selection {
    let matcher = Matcher::new(request, world);
    let mut candidates = Vec::new();
    let mut excluded = Vec::new();
    // One namespace after the other: there is no need to look at the pods of all others.
    for namespace in &matcher.namespaces {
        let is_protected = request.protected.iter().any(|protected| protected == namespace);
        for pod in world.pods_of(namespace).iter().filter(|pod| matcher.matches(pod)) {
            match exclusion(pod, is_protected, world, request) {
                None => candidates.push(pod),
                Some(reason) => excluded.push(Excluded { pod: full_name(pod), reason }),
            }
        }
    }
    let count = picked(request.mode, request.amount, candidates.len(), rng);
    Selection { candidates: candidates.len(), pods: draw(candidates, count, request.keep, rng), excluded }
}

/// `namespace/name`, the identity of a pod in messages and records.
pub fn full_name(pod: &Pod) -> String {
    format!("{}/{}", pod.metadata.namespace.as_deref().unwrap_or_default(), pod.name_any())
}

/// How many of `candidates` the mode picks.
fn picked(mode: Mode, amount: u32, candidates: usize, rng: &mut impl Rng) -> usize {
    let share = |percent: u32| candidates.saturating_mul(percent as usize).div_ceil(100);
    match mode {
        Mode::One => candidates.min(1),
        Mode::All => candidates,
        Mode::Fixed => candidates.min(amount as usize),
        Mode::FixedPercent => share(amount),
        Mode::RandomMaxPercent => share(rng.random_range(0..=amount)),
    }
    .min(candidates)
}

/// Draws `count` pods, those to keep before all others, in the order of `candidates`.
fn draw(
    candidates: Vec<&Arc<Pod>>,
    count: usize,
    keep: &BTreeSet<String>,
    rng: &mut impl Rng,
) -> Vec<Arc<Pod>> {
    if count == candidates.len() {
        return candidates.into_iter().map(Arc::clone).collect();
    }
    let kept = |pod: &Arc<Pod>| pod.metadata.uid.as_ref().is_some_and(|uid| keep.contains(uid));
    let (old, new): (Vec<usize>, Vec<usize>) =
        (0..candidates.len()).partition(|index| candidates.get(*index).is_some_and(|pod| kept(pod)));
    let from_old = count.min(old.len());
    let mut indices = sample(&old, from_old, rng);
    indices.extend(sample(&new, count - from_old, rng));
    indices.sort_unstable();
    indices.into_iter().filter_map(|index| candidates.get(index)).map(|pod| Arc::clone(pod)).collect()
}

/// A uniform sample of distinct items.
fn sample(items: &[usize], count: usize, rng: &mut impl Rng) -> Vec<usize> {
    let indices = rand::seq::index::sample(rng, items.len(), count);
    indices.iter().filter_map(|index| items.get(index)).copied().collect()
}

fn exclusion(pod: &Pod, is_protected: bool, world: &World, request: &Request<'_>) -> Option<Exclusion> {
    if is_protected {
        return Some(Exclusion::Protected);
    }
    let spec = pod.spec.as_ref();
    let node = spec.and_then(|spec| spec.node_name.as_deref());
    let unfit = (request.unfit)(pod);
    if unfit.is_some_and(Exclusion::is_final) {
        unfit
    } else if pod.metadata.deletion_timestamp.is_some() {
        Some(Exclusion::Terminating)
    } else if has_finished(pod) {
        Some(Exclusion::Finished)
    } else if pod.metadata.uid.is_none() || node.is_none_or(|node| world.node(node).is_none()) {
        Some(Exclusion::NoNode)
    } else {
        unfit
    }
}

/// Whether a kernel of its own runs the pod, as far as the name of its `RuntimeClass` tells. What runs it under another name is
/// found out by the daemon, which sees its processes.
pub(super) fn has_own_kernel(pod: &Pod) -> bool {
    const NAMES: [&str; 3] = ["gvisor", "runsc", "kata"];
    let class = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref()).unwrap_or_default();
    let class = class.to_ascii_lowercase();
    NAMES.iter().any(|name| class.split(['-', '.']).any(|part| part == *name))
}

/// A selector made ready for many pods.
struct Matcher<'a> {
    selector: &'a PodSelector,
    /// In whose pods it looks, in the order of [`World::pods`].
    namespaces: BTreeSet<&'a str>,
    labels: Selector,
    nodes: Option<HashSet<String>>,
}

impl<'a> Matcher<'a> {
    fn new(request: &Request<'a>, world: &World) -> Self {
        let selector = request.selector;
        let equal =
            selector.label_selectors.iter().map(|(key, value)| Expression::Equal(key.clone(), value.clone()));
        let labels = equal.chain(selector.expression_selectors.iter().filter_map(expression)).collect();
        let namespaces = if selector.pods.is_empty() {
            selector.namespaces_or(request.own_namespace).into_iter().collect()
        } else {
            selector.pods.keys().map(String::as_str).collect()
        };
        Self { selector, namespaces, labels, nodes: node_names(selector, world) }
    }

    /// Whether it means this pod of one of its namespaces.
    fn matches(&self, pod: &Pod) -> bool {
        if !self.selector.pods.is_empty() {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let names = self.selector.pods.get(namespace);
            return names
                .is_some_and(|names| pod.metadata.name.as_ref().is_some_and(|name| names.contains(name)));
        }
        self.labels.matches(pod.labels())
            && contains_all(pod.annotations(), &self.selector.annotation_selectors)
            && self.selector.field_selectors.iter().all(|(path, value)| field(pod, path) == Some(value))
            && self
                .nodes
                .as_ref()
                .is_none_or(|nodes| field(pod, "spec.nodeName").is_some_and(|node| nodes.contains(node)))
            && phase_matches(&self.selector.pod_phase_selectors, pod)
    }
}

/// Operators that the schema lets through and nobody knows are reported before anything is selected.
fn expression(requirement: &LabelRequirement) -> Option<Expression> {
    let key = requirement.key.clone();
    let values = || requirement.values.iter().cloned().collect();
    Some(match requirement.operator.as_str() {
        "In" => Expression::In(key, values()),
        "NotIn" => Expression::NotIn(key, values()),
        "Exists" => Expression::Exists(key),
        "DoesNotExist" => Expression::DoesNotExist(key),
        _ => return None,
    })
}

/// The named nodes and those with matching labels; `None` if the selector says nothing of nodes.
fn node_names(selector: &PodSelector, world: &World) -> Option<HashSet<String>> {
    if selector.nodes.is_empty() && selector.node_selectors.is_empty() {
        return None;
    }
    let labelled = world
        .nodes()
        .filter(|node| {
            !selector.node_selectors.is_empty() && contains_all(node.labels(), &selector.node_selectors)
        })
        .map(|node| node.name_any());
    Some(selector.nodes.iter().cloned().chain(labelled).collect())
}

fn contains_all(have: &BTreeMap<String, String>, want: &BTreeMap<String, String>) -> bool {
    want.iter().all(|(key, value)| have.get(key) == Some(value))
}

/// Positive phases are alternatives; every negative one must hold.
fn phase_matches(wanted: &[String], pod: &Pod) -> bool {
    if wanted.is_empty() {
        return true;
    }
    let phase = field(pod, "status.phase").unwrap_or_default();
    let mut positive = wanted.iter().filter(|word| !word.starts_with('!')).peekable();
    let negative = wanted.iter().filter_map(|word| word.strip_prefix('!'));
    (positive.peek().is_none() || positive.any(|word| word == phase))
        && negative.into_iter().all(|word| word != phase)
}

/// One of [`crate::api::POD_FIELDS`]; a field without a value is the empty text, as in the API server.
fn field<'a>(pod: &'a Pod, path: &str) -> Option<&'a str> {
    let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
    let value = match path {
        "metadata.name" => pod.metadata.name.as_deref(),
        "metadata.namespace" => pod.metadata.namespace.as_deref(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.as_deref()),
        "spec.restartPolicy" => spec.and_then(|spec| spec.restart_policy.as_deref()),
        "spec.schedulerName" => spec.and_then(|spec| spec.scheduler_name.as_deref()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.as_deref()),
        "status.phase" => status.and_then(|status| status.phase.as_deref()),
        "status.podIP" => status.and_then(|status| {
            let first = status.pod_ips.as_ref().and_then(|all| all.first()).map(|first| first.ip.as_str());
            first.or(status.pod_ip.as_deref())
        }),
        "status.nominatedNodeName" => status.and_then(|status| status.nominated_node_name.as_deref()),
        _ => return None,
    };
    Some(value.unwrap_or_default())
}

#[cfg(test)]
#[path = "selection_tests.rs"]
mod tests;
