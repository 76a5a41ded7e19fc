//! The nodes and pods of the cluster.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Pane, Screen};
use crate::api::PROTECTED_NAMESPACES;
use crate::app::effect::ObjectRef;
use crate::app::geometry;
use crate::app::list::List;
use crate::app::state::State;
use crate::app::store::{Batch, NodeRow, PodRow};

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
    let mut pods_by_node: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in state.data.pods.iter().filter(|pod| !pod.node.is_empty()) {
        *pods_by_node.entry(&pod.node).or_default() += 1;
    }
    let pods_by_node = pods_by_node.into_iter().map(|(node, count)| (node.to_owned(), count)).collect();
    state.cluster.pods_by_node = pods_by_node;
    state.cluster.faults = faults;
    let order = Order::of(state);
    let mut pods: Vec<_> = state.data.pods.iter().filter(|pod| order.shows(pod)).cloned().collect();
    pods.sort_unstable_by(|one, other| order.compare(one, other));
    let visible = geometry::rows(state, Pane::Pods);
    state.cluster.pods.set_rows(pods, visible);
    refresh_nodes(state);
}

fn refresh_nodes(state: &mut State) {
    let Cluster { nodes: list, pods_by_node, .. } = &state.cluster;
    let shows =
        |node: &&Arc<NodeRow>| list.filter.shows(&[&node.name, &node.status, &node.address], &node.labels);
    let mut nodes: Vec<_> = state.data.nodes.iter().filter(shows).cloned().collect();
    let sort = list.sort;
    nodes.sort_unstable_by(|one, other| {
        let order = compare_nodes(sort.column, one, other, pods_by_node);
        let order = if sort.descending { order.reverse() } else { order };
        order.then_with(|| one.name.cmp(&other.name))
    });
    let visible = geometry::rows(state, Pane::Nodes);
    state.cluster.nodes.set_rows(nodes, visible);
}

/// Takes in changes of pods alone, while this screen is shown. Of twenty thousand rows most stay where they are: only
/// those that changed are taken out and put where they belong.
pub(in crate::app) fn take_in(state: &mut State, batch: Batch) {
    let delta = &batch.pods;
    let is_small = !delta.reset && delta.len() < state.data.pods.len() / 4;
    let changed = delta.upserted.iter().map(|pod| &pod.uid).chain(&delta.removed);
    let changed: BTreeSet<String> = if is_small { changed.cloned().collect() } else { BTreeSet::new() };
    let known = |state: &State| -> Vec<_> {
        changed.iter().filter_map(|uid| state.data.pods.get(uid).cloned()).collect()
    };
    let before = known(state);
    state.data.apply(batch);
    let after = known(state);
    let rows = std::mem::take(&mut state.cluster.pods.rows);
    let moved = if is_small { moved(&Order::of(state), rows, &before, &after) } else { None };
    let Some(rows) = moved else { return state.refresh() };
    let visible = geometry::rows(state, Pane::Pods);
    let cluster = &mut state.cluster;
    cluster.pods.set_rows(rows, visible);
    for (pods, came) in [(before, false), (after, true)] {
        for pod in pods.iter().filter(|pod| !pod.node.is_empty()) {
            let count = cluster.pods_by_node.entry(pod.node.clone()).or_default();
            *count = if came { *count + 1 } else { count.saturating_sub(1) };
        }
    }
    cluster.pods_by_node.retain(|_, count| *count > 0);
    refresh_nodes(state);
}

/// The rows with those of `before` taken out and those of `after` put in; nothing if one is not where it should be.
fn moved(
    order: &Order<'_>,
    mut rows: Vec<Arc<PodRow>>,
    before: &[Arc<PodRow>],
    after: &[Arc<PodRow>],
) -> Option<Vec<Arc<PodRow>>> {
    let mut gone = BTreeSet::new();
    for pod in before.iter().filter(|pod| order.shows(pod)) {
        gone.insert(rows.binary_search_by(|row| order.compare(row, pod)).ok()?);
    }
    let mut index = 0;
    rows.retain(|_| {
        index += 1;
        !gone.contains(&(index - 1))
    });
    let mut come: Vec<_> = after.iter().filter(|pod| order.shows(pod)).collect();
    come.sort_unstable_by(|one, other| order.compare(one, other));
    let mut all = Vec::with_capacity(rows.len() + come.len());
    let places: Vec<_> =
        come.iter().map(|pod| rows.partition_point(|row| order.compare(row, pod).is_lt())).collect();
    let (mut rest, mut taken) = (rows.into_iter(), 0);
    for (pod, place) in come.into_iter().zip(places) {
        all.extend(rest.by_ref().take(place - taken));
        taken = place;
        all.push(Arc::clone(pod));
    }
    all.extend(rest);
    Some(all)
}

/// Which pods are shown, and in which order.
struct Order<'a> {
    namespace: Option<&'a str>,
    cluster: &'a Cluster,
}

impl<'a> Order<'a> {
    fn of(state: &'a State) -> Self {
        Self { namespace: state.namespace.as_deref(), cluster: &state.cluster }
    }

    fn shows(&self, pod: &PodRow) -> bool {
        let filter = &self.cluster.pods.filter;
        self.namespace.is_none_or(|namespace| pod.namespace == namespace)
            && self.cluster.node.as_ref().is_none_or(|node| pod.node == *node)
            && (filter.is_empty()
                || filter
                    .shows(&[&pod.name, &pod.namespace, &pod.node, &pod.status, &pod.address], &pod.labels))
    }

    /// No two pods are equal.
    fn compare(&self, one: &PodRow, other: &PodRow) -> Ordering {
        let sort = self.cluster.pods.sort;
        let order = match sort.column {
            0 => place(one).cmp(&place(other)),
            1 => one.name.cmp(&other.name),
            2 => one.ready.cmp(&other.ready),
            3 => one.status.cmp(&other.status),
            4 => one.restarts.cmp(&other.restarts),
            5 => self.cluster.faults_of(one).len().cmp(&self.cluster.faults_of(other).len()),
            6 => one.node.cmp(&other.node),
            7 => one.address.cmp(&other.address),
            // The youngest first.
            8 => other.created.cmp(&one.created),
            _ => Ordering::Equal,
        };
        let order = if sort.descending { order.reverse() } else { order };
        order
            .then_with(|| place(one).cmp(&place(other)))
            .then_with(|| one.name.cmp(&other.name))
            .then_with(|| one.uid.cmp(&other.uid))
    }
}

/// Where a pod stands in the order of namespaces: the system's own, whose pods no fault is for, come last.
fn place(pod: &PodRow) -> (bool, &str) {
    (PROTECTED_NAMESPACES.contains(&pod.namespace.as_str()), &pod.namespace)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::app::filter::Filter;
    use crate::app::list::Sort;
    use crate::app::store::Delta;
    use crate::app::testing::Console;

    fn pod(number: usize, look: usize) -> Arc<PodRow> {
        Arc::new(PodRow {
            uid: format!("uid-{}", number * 7 % 61),
            namespace: format!("ns-{}", number % 3),
            name: format!("pod-{number:02}"),
            node: ["", "machine1", "machine2"][look % 3].to_owned(),
            status: ["Running", "Pending"][look % 2].to_owned(),
            restarts: u32::try_from(look).unwrap(),
            created: jiff::Timestamp::from_second(i64::try_from(look * 13 % 7).unwrap()).ok(),
            ..PodRow::default()
        })
    }

    fn batch(changes: &[(usize, Option<usize>)]) -> Batch {
        let mut pods = Delta::default();
        for (number, look) in changes {
            match look {
                Some(look) => pods.upserted.push(pod(*number, *look)),
                None => pods.removed.push(pod(*number, 0).uid.clone()),
            }
        }
        Batch { pods, ..Batch::default() }
    }

    /// What is shown, and what is selected.
    #[derive(Debug, PartialEq)]
    struct Shown {
        pods: Vec<Arc<PodRow>>,
        nodes: Vec<Arc<NodeRow>>,
        pods_by_node: BTreeMap<String, usize>,
        selected: Option<String>,
    }

    fn shown(state: &State) -> Shown {
        let Cluster { pods, nodes, pods_by_node, .. } = state.cluster.clone();
        Shown { pods: pods.rows, nodes: nodes.rows, pods_by_node, selected: pods.selected }
    }

    #[test]
    fn rows_that_are_taken_in_stand_where_sorting_puts_them() {
        let change = (0..60_usize, prop::option::of(0..6_usize));
        let some = prop::collection::vec(prop::collection::vec(change, 0..12), 1..6);
        let order = (0..POD_COLUMNS.len(), any::<bool>(), 0..4_usize);
        proptest!(|(batches in some, (column, descending, narrow) in order)| {
            let mut console = Console::playground();
            console.change(batch(&(0..50).map(|number| (number, Some(number))).collect::<Vec<_>>()));
            console.state.cluster.pods.sort = Sort { column, descending };
            console.state.cluster.nodes.sort = Sort { column: 2, descending };
            match narrow {
                1 => console.state.cluster.pods.filter = Filter::new("running"),
                2 => console.state.namespace = Some("ns-1".to_owned()),
                3 => console.state.cluster.node = Some("machine2".to_owned()),
                _ => {}
            }
            console.state.refresh();
            console.press("j j j");
            for changes in batches {
                console.change(batch(&changes));
                let mut sorted = console.state.clone();
                sorted.refresh();
                prop_assert_eq!(shown(&console.state), shown(&sorted));
            }
        });
    }

    #[test]
    fn a_row_that_is_not_where_it_should_be_makes_all_be_sorted_anew() {
        let mut console = Console::playground();
        console.change(batch(&(0..50).map(|number| (number, Some(0))).collect::<Vec<_>>()));
        console.state.cluster.pods.rows.reverse();
        console.change(batch(&[(3, Some(1))]));
        let mut sorted = console.state.clone();
        sorted.refresh();
        assert_eq!(shown(&console.state), shown(&sorted));
    }
}
