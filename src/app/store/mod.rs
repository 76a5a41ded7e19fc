//! What the console knows of the cluster: rows by UID, and how fresh they are.
//!
//! Watches send changes, several in one [`Batch`]; each row is shared, so that a list of rows, a recording's snapshot
//! and the table itself hold it once.

mod node;
mod pod;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde::{Deserialize, Serialize};

pub use node::NodeRow;
pub use pod::PodRow;

use super::list::Row;
use crate::api::{Halt, Injection};
use crate::report::{Overview, Remaining, Trouble};

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Topic {
    /// Pods.
    Pods,
    /// Nodes.
    Nodes,
    /// Experiments of this kind.
    Experiments(String),
    /// Injections.
    Injections,
    /// Halts.
    Halts,
}

impl Topic {
    /// The plural for sentences.
    pub fn words(&self) -> &str {
        match self {
            Self::Pods => "pods",
            Self::Nodes => "nodes",
            Self::Experiments(_) => "experiments",
            Self::Injections => "injections",
            Self::Halts => "halts",
        }
    }
}

/// How it stands with the watch of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Link {
    /// Nothing was heard yet.
    #[default]
    Connecting,
    /// What is shown is what is.
    Live,
    /// The same, of this namespace: those of all namespaces may not be listed.
    Narrow {
        /// The namespace.
        namespace: String,
    },
    /// The API server does not have the kind: nothing of ours is installed.
    Absent,
    /// This user may not list them.
    Refused {
        /// Which right is missing, and how it is granted.
        trouble: Trouble,
    },
    /// What is shown is as old as this.
    Lost {
        /// Since when.
        since: Timestamp,
        /// Why.
        trouble: Trouble,
    },
}

/// What changed in a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(serialize = "T: Serialize", deserialize = "T: Deserialize<'de>"))]
pub struct Delta<T> {
    /// Whether everything that was there before is gone.
    #[serde(default)]
    pub reset: bool,
    /// New and changed rows.
    pub upserted: Vec<Arc<T>>,
    /// UIDs of rows that are gone.
    #[serde(default)]
    pub removed: Vec<String>,
}

impl<T> Default for Delta<T> {
    fn default() -> Self {
        Self { reset: false, upserted: Vec::new(), removed: Vec::new() }
    }
}

impl<T> Delta<T> {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        !self.reset && self.upserted.is_empty() && self.removed.is_empty()
    }

    /// How many rows it speaks of.
    pub fn len(&self) -> usize {
        self.upserted.len() + self.removed.len()
    }
}

/// What changed since the last batch; at most one change for each row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Batch {
    /// Of pods.
    #[serde(skip_serializing_if = "Delta::is_empty")]
    pub pods: Delta<PodRow>,
    /// Of nodes.
    #[serde(skip_serializing_if = "Delta::is_empty")]
    pub nodes: Delta<NodeRow>,
    /// Of experiments, by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub experiments: BTreeMap<String, Delta<Experiment>>,
    /// Of Injections.
    #[serde(skip_serializing_if = "Delta::is_empty")]
    pub injections: Delta<Part>,
    /// Of Halts.
    #[serde(skip_serializing_if = "Delta::is_empty")]
    pub halts: Delta<HaltRow>,
}

impl Batch {
    /// How many rows it speaks of.
    pub fn len(&self) -> usize {
        let experiments: usize = self.experiments.values().map(Delta::len).sum();
        self.pods.len() + self.nodes.len() + experiments + self.injections.len() + self.halts.len()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty() && self.concerns_pods_alone()
    }

    /// Whether it changes nothing but pods.
    pub fn concerns_pods_alone(&self) -> bool {
        self.nodes.is_empty()
            && self.experiments.values().all(Delta::is_empty)
            && self.injections.is_empty()
            && self.halts.is_empty()
    }
}

/// An experiment, as the API server has it, and what that says at a glance: read once and not for every frame, since a
/// status lists hundreds of targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "DynamicObject", into = "DynamicObject")]
pub struct Experiment(pub DynamicObject, Overview);

/// The part of one node in an experiment. The resolved fault is left out: it lists every peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Part(pub Injection);

/// A Halt.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HaltRow(pub Halt);

impl Row for Experiment {
    fn id(&self) -> &str {
        self.0.metadata.uid.as_deref().unwrap_or_default()
    }
}

impl Row for Part {
    fn id(&self) -> &str {
        self.0.metadata.uid.as_deref().unwrap_or_default()
    }
}

impl Row for HaltRow {
    fn id(&self) -> &str {
        self.0.metadata.uid.as_deref().unwrap_or_default()
    }
}

impl From<DynamicObject> for Experiment {
    fn from(object: DynamicObject) -> Self {
        let kind = object.types.as_ref().map_or("", |types| types.kind.as_str());
        let glance = Overview::new(kind, &object, Remaining::Unknown);
        Self(object, glance)
    }
}

impl From<Experiment> for DynamicObject {
    fn from(experiment: Experiment) -> Self {
        experiment.0
    }
}

impl Experiment {
    /// All that its object alone says at a glance; what is left of its time is its parts' to say.
    pub const fn glance(&self) -> &Overview {
        &self.1
    }

    /// Its kind, such as `NetworkChaos`.
    pub fn kind(&self) -> &str {
        self.0.types.as_ref().map_or("", |types| types.kind.as_str())
    }

    /// Its namespace.
    pub fn namespace(&self) -> String {
        self.0.namespace().unwrap_or_default()
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.0.name_any()
    }
}

/// Rows of one kind by UID.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(serialize = "T: Serialize", deserialize = "T: Deserialize<'de>"))]
pub struct Table<T> {
    rows: BTreeMap<String, Arc<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: BTreeMap::new() }
    }
}

impl<T: Row> Table<T> {
    /// All rows, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.rows.values()
    }

    /// The row with this UID.
    pub fn get(&self, uid: &str) -> Option<&Arc<T>> {
        self.rows.get(uid)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn apply(&mut self, delta: Delta<T>) {
        if delta.reset {
            self.rows.clear();
        }
        for row in delta.upserted {
            self.rows.insert(row.id().to_owned(), row);
        }
        for uid in &delta.removed {
            self.rows.remove(uid);
        }
    }
}

/// Everything that is known of the cluster.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Data {
    /// Pods.
    pub pods: Table<PodRow>,
    /// Nodes.
    pub nodes: Table<NodeRow>,
    /// Experiments, by kind.
    pub experiments: BTreeMap<String, Table<Experiment>>,
    /// Injections.
    pub injections: Table<Part>,
    /// Halts.
    pub halts: Table<HaltRow>,
    /// How fresh each of them is.
    pub links: Vec<(Topic, Link)>,
}

impl Data {
    /// Takes in what changed.
    pub fn apply(&mut self, batch: Batch) {
        self.pods.apply(batch.pods);
        self.nodes.apply(batch.nodes);
        for (kind, delta) in batch.experiments {
            self.experiments.entry(kind).or_default().apply(delta);
        }
        self.injections.apply(batch.injections);
        self.halts.apply(batch.halts);
    }

    /// All experiments of all kinds.
    pub fn all_experiments(&self) -> impl Iterator<Item = &Arc<Experiment>> {
        self.experiments.values().flat_map(Table::iter)
    }

    /// The experiment with this UID.
    pub fn experiment(&self, uid: &str) -> Option<&Arc<Experiment>> {
        self.experiments.values().find_map(|table| table.get(uid))
    }

    /// The parts of the experiment with this UID.
    pub fn parts<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = &'a Injection> {
        self.injections.iter().map(|part| &part.0).filter(move |part| part.spec.experiment.uid == uid)
    }

    /// How it stands with this topic.
    pub fn link(&self, topic: &Topic) -> &Link {
        self.links.iter().find(|(of, _)| of == topic).map_or(&Link::Connecting, |(_, link)| link)
    }

    /// Takes note of how it stands with a topic.
    pub fn set_link(&mut self, topic: Topic, link: Link) {
        match self.links.iter_mut().find(|(of, _)| *of == topic) {
            Some((_, known)) => *known = link,
            None => self.links.push((topic, link)),
        }
    }

    /// The namespace that alone is watched, where all of them may not be.
    pub fn narrowed(&self) -> Option<&str> {
        self.links.iter().find_map(|(_, link)| match link {
            Link::Narrow { namespace } => Some(namespace.as_str()),
            _ => None,
        })
    }

    /// The topic that has been out of date for longest, since when and why.
    pub fn stalest(&self) -> Option<(&Topic, Timestamp, &Trouble)> {
        let lost = self.links.iter().filter_map(|(topic, link)| match link {
            Link::Lost { since, trouble } => Some((topic, *since, trouble)),
            _ => None,
        });
        lost.min_by_key(|(_, since, _)| *since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, status: &str) -> Arc<PodRow> {
        Arc::new(PodRow { uid: uid.to_owned(), status: status.to_owned(), ..PodRow::default() })
    }

    #[test]
    fn changes_are_taken_in_and_a_reset_forgets_the_rest() {
        let mut data = Data::default();
        let upserted =
            |rows| Batch { pods: Delta { upserted: rows, ..Delta::default() }, ..Batch::default() };
        data.apply(upserted(vec![pod("a", "Pending"), pod("b", "Running")]));
        data.apply(upserted(vec![pod("a", "Running")]));
        assert_eq!((data.pods.len(), data.pods.get("a").unwrap().status.as_str()), (2, "Running"));
        let gone = Delta { removed: vec!["a".to_owned(), "unknown".to_owned()], ..Delta::default() };
        data.apply(Batch { pods: gone, ..Batch::default() });
        assert!(data.pods.get("a").is_none());
        let anew = Delta { reset: true, upserted: vec![pod("c", "Running")], removed: vec![] };
        data.apply(Batch { pods: anew, ..Batch::default() });
        assert_eq!(data.pods.iter().map(|row| row.uid.as_str()).collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn the_oldest_loss_is_named() {
        let lost = |second: i64| Link::Lost {
            since: Timestamp::from_second(second).unwrap(),
            trouble: Trouble::new("gone"),
        };
        let mut data = Data::default();
        data.set_link(Topic::Pods, lost(20));
        data.set_link(Topic::Nodes, lost(10));
        assert_eq!(data.stalest().map(|(topic, ..)| topic), Some(&Topic::Nodes));
        data.set_link(Topic::Nodes, Link::Live);
        assert_eq!(data.stalest().map(|(topic, ..)| topic), Some(&Topic::Pods));
    }
}
