//! The nodes and pods of the cluster.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Pane, Screen};
use crate::api::PROTECTED_NAMESPACES;
use crate::app::effect::ObjectRef;
use crate::app::geometry;
use crate::app::list::{List, Sort};
use crate::app::state::State;
use crate::app::store::{NodeRow, PodRow};

/// The columns of the list of pods; RST are restarts.
pub const POD_COLUMNS: [&str; 9] =
    ["NAMESPACE", "NAME", "READY", "STATUS", "RST", "FAULTS", "NODE", "ADDRESS", "AGE"];

/// The columns of the list of nodes.
pub const NODE_COLUMNS: [&str; 6] = ["NAME", "STATUS", "PODS", "VERSION", "ADDRESS", "AGE"];

/// What the screen remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cluster {
    /// Which list the keys act on.
    pub focus: Pane,
    /// The nodes.
    pub nodes: List<NodeRow>,
    /// The pods.
    pub pods: List<PodRow>,
    /// The one node whose pods are shown, if not those of all.
    pub node: Option<String>,
    /// How many pods each node has.
    #[serde(skip)]
    pub pods_by_node: BTreeMap<String, usize>,
    /// The experiments whose fault is on a pod now, by its UID.
    #[serde(skip)]
    pub faults: BTreeMap<String, Vec<String>>,
}

impl Cluster {
    /// The experiments whose fault is on this pod now.
    pub fn faults_of(&self, pod: &PodRow) -> &[String] {
        self.faults.get(&pod.uid).map_or(&[], Vec::as_slice)
    }
}

/// Works out both lists anew.
pub(in crate::app) fn refresh(state: &mut State) {
    let faults = faults(state);
    let mut pods_by_node = BTreeMap::new();
    for pod in state.data.pods.iter().filter(|pod| !pod.node.is_empty()) {
        match pods_by_node.get_mut(&pod.node) {
            Some(count) => *count += 1,
            None => {
                pods_by_node.insert(pod.node.clone(), 1_usize);
            }
        }
    }
    let cluster = &state.cluster;
    let (namespace, node) = (state.namespace.as_deref(), cluster.node.as_deref());
    let filter = &cluster.pods.filter;
    let shows = |pod: &&Arc<PodRow>| {
        namespace.is_none_or(|namespace| pod.namespace == namespace)
            && node.is_none_or(|node| pod.node == node)
            && (filter.is_empty()
                || filter
                    .shows(&[&pod.name, &pod.namespace, &pod.node, &pod.status, &pod.address], &pod.labels))
    };
    let mut pods: Vec<_> = state.data.pods.iter().filter(shows).cloned().collect();
    let sort = cluster.pods.sort;
    let of_pod = |pod: &PodRow| faults.get(&pod.uid).map_or(0, Vec::len);
    pods.sort_unstable_by(|one, other| {
        ordered(sort, compare_pods(sort.column, one, other, &of_pod), one, other)
    });
    let filter = &cluster.nodes.filter;
    let shows = |node: &&Arc<NodeRow>| filter.shows(&[&node.name, &node.status, &node.address], &node.labels);
    let mut nodes: Vec<_> = state.data.nodes.iter().filter(shows).cloned().collect();
    let sort = cluster.nodes.sort;
    nodes.sort_unstable_by(|one, other| {
        let order = compare_nodes(sort.column, one, other, &pods_by_node);
        let order = if sort.descending { order.reverse() } else { order };
        order.then_with(|| one.name.cmp(&other.name))
    });
    let (pod_rows, node_rows) = (geometry::rows(state, Pane::Pods), geometry::rows(state, Pane::Nodes));
    let cluster = &mut state.cluster;
    cluster.pods.set_rows(pods, pod_rows);
    cluster.nodes.set_rows(nodes, node_rows);
    cluster.pods_by_node = pods_by_node;
    cluster.faults = faults;
}

/// The experiments whose fault is on a pod now, by the pod's UID.
fn faults(state: &State) -> BTreeMap<String, Vec<String>> {
    let mut faults: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in state.data.injections.iter() {
        let Some(status) = &part.0.status else { continue };
        let there = status.targets.iter().filter(|target| target.phase == crate::api::TargetPhase::Injected);
        for target in there {
            let names = faults.entry(target.target.uid.clone()).or_default();
            if !names.contains(&part.0.spec.experiment.name) {
                names.push(part.0.spec.experiment.name.clone());
            }
        }
    }
    faults
}

fn ordered(sort: Sort, order: Ordering, one: &PodRow, other: &PodRow) -> Ordering {
    let order = if sort.descending { order.reverse() } else { order };
    order
        .then_with(|| place(one).cmp(&place(other)))
        .then_with(|| one.name.cmp(&other.name))
        .then_with(|| one.uid.cmp(&other.uid))
}

/// Where a pod stands in the order of namespaces: the system's own, whose pods no fault is for, come last.
fn place(pod: &PodRow) -> (bool, &str) {
    (PROTECTED_NAMESPACES.contains(&pod.namespace.as_str()), &pod.namespace)
}

fn compare_pods(column: usize, one: &PodRow, other: &PodRow, faults: &dyn Fn(&PodRow) -> usize) -> Ordering {
    match column {
        0 => place(one).cmp(&place(other)),
        1 => one.name.cmp(&other.name),
        2 => one.ready.cmp(&other.ready),
        3 => one.status.cmp(&other.status),
        4 => one.restarts.cmp(&other.restarts),
        5 => faults(one).cmp(&faults(other)),
        6 => one.node.cmp(&other.node),
        7 => one.address.cmp(&other.address),
        // The youngest first.
        8 => other.created.cmp(&one.created),
        _ => Ordering::Equal,
    }
}

fn compare_nodes(column: usize, one: &NodeRow, other: &NodeRow, pods: &BTreeMap<String, usize>) -> Ordering {
    match column {
        1 => one.status.cmp(&other.status),
        2 => pods.get(&one.name).cmp(&pods.get(&other.name)),
        3 => one.version.cmp(&other.version),
        4 => one.address.cmp(&other.address),
        5 => other.created.cmp(&one.created),
        _ => Ordering::Equal,
    }
}

/// The selected object of the list that the keys act on.
pub(in crate::app) fn current(state: &State) -> Option<ObjectRef> {
    let cluster = &state.cluster;
    match cluster.focus {
        Pane::Nodes => cluster.nodes.current().map(|node| ObjectRef {
            kind: "Node".to_owned(),
            namespace: None,
            name: node.name.clone(),
            uid: node.uid.clone(),
        }),
        _ => cluster.pods.current().map(|pod| pod_ref(pod)),
    }
}

/// A pod as an object.
pub(in crate::app) fn pod_ref(pod: &PodRow) -> ObjectRef {
    ObjectRef {
        kind: "Pod".to_owned(),
        namespace: Some(pod.namespace.clone()),
        name: pod.name.clone(),
        uid: pod.uid.clone(),
    }
}

/// Enter: of a node, its pods. True if that was it.
pub(in crate::app) fn open(state: &mut State) -> bool {
    if state.cluster.focus != Pane::Nodes || state.screen != Screen::Cluster {
        return false;
    }
    let name = state.cluster.nodes.current().map(|node| node.name.clone());
    state.cluster.node = name;
    state.cluster.focus = Pane::Pods;
    true
}

/// Esc: what was narrowed is widened. True if something was.
pub(in crate::app) fn back(state: &mut State) -> bool {
    state.cluster.node.take().is_some()
}
