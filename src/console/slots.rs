//! Changes of the cluster on their way to the state: the latest of each row wins.
//!
//! A watch may report a thousand changes in a second; nobody can see more than ten. They are gathered here and taken as
//! one batch, so that the queue of events stays short and its order means something. What waits is bounded by the
//! number of rows, however long nobody takes it.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::app::list::Row;
use crate::app::store::{Batch, Delta, Experiment, HaltRow, NodeRow, Part, PodRow};

/// Rows of one kind that changed; `None` for one that is gone.
struct Changes<T> {
    reset: bool,
    rows: HashMap<String, Option<Arc<T>>, BuildHasherDefault<std::hash::DefaultHasher>>,
}

impl<T> Default for Changes<T> {
    fn default() -> Self {
        Self { reset: false, rows: HashMap::default() }
    }
}

impl<T: Row> Changes<T> {
    fn put(&mut self, row: Arc<T>) {
        self.rows.insert(row.id().to_owned(), Some(row));
    }

    fn remove(&mut self, uid: &str) {
        // After a reset nothing is there that could be removed.
        if self.reset {
            self.rows.remove(uid);
        } else {
            self.rows.insert(uid.to_owned(), None);
        }
    }

    fn replace(&mut self, rows: Vec<Arc<T>>) {
        self.reset = true;
        self.rows = rows.into_iter().map(|row| (row.id().to_owned(), Some(row))).collect();
    }

    fn take(&mut self) -> Delta<T> {
        let mut delta = Delta { reset: std::mem::take(&mut self.reset), ..Delta::default() };
        for (uid, row) in std::mem::take(&mut self.rows) {
            match row {
                Some(row) => delta.upserted.push(row),
                None => delta.removed.push(uid),
            }
        }
        delta
    }
}

#[derive(Default)]
struct Waiting {
    pods: Changes<PodRow>,
    nodes: Changes<NodeRow>,
    experiments: BTreeMap<String, Changes<Experiment>>,
    injections: Changes<Part>,
    halts: Changes<HaltRow>,
}

/// A row of any kind.
pub(super) enum AnyRow {
    /// Of a pod.
    Pod(Arc<PodRow>),
    /// Of a node.
    Node(Arc<NodeRow>),
    /// Of an experiment of this kind.
    Experiment(String, Arc<Experiment>),
    /// Of an Injection.
    Part(Arc<Part>),
    /// Of a Halt.
    Halt(Arc<HaltRow>),
}

/// Where watches leave what changed.
#[derive(Default)]
pub(super) struct Slots {
    waiting: Mutex<Waiting>,
    /// Whether something waits. Who waits for it may be interrupted, so that the notification alone would be lost.
    something: AtomicBool,
    arrived: Notify,
}

impl Slots {
    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.something.store(true, Ordering::Release);
        self.arrived.notify_one();
    }

    /// A row is new, or another.
    pub(super) fn put(&self, row: AnyRow) {
        self.change(|waiting| match row {
            AnyRow::Pod(row) => waiting.pods.put(row),
            AnyRow::Node(row) => waiting.nodes.put(row),
            AnyRow::Experiment(kind, row) => waiting.experiments.entry(kind).or_default().put(row),
            AnyRow::Part(row) => waiting.injections.put(row),
            AnyRow::Halt(row) => waiting.halts.put(row),
        });
    }

    /// A row is gone.
    pub(super) fn remove(&self, row: AnyRow) {
        self.change(|waiting| match row {
            AnyRow::Pod(row) => waiting.pods.remove(&row.uid),
            AnyRow::Node(row) => waiting.nodes.remove(&row.uid),
            AnyRow::Experiment(kind, row) => {
                waiting.experiments.entry(kind).or_default().remove(row.id());
            }
            AnyRow::Part(row) => waiting.injections.remove(row.id()),
            AnyRow::Halt(row) => waiting.halts.remove(row.id()),
        });
    }

    /// These are all rows that there are of a kind.
    pub(super) fn replace(&self, rows: AllRows) {
        self.change(|waiting| match rows {
            AllRows::Pods(rows) => waiting.pods.replace(rows),
            AllRows::Nodes(rows) => waiting.nodes.replace(rows),
            AllRows::Experiments(kind, rows) => waiting.experiments.entry(kind).or_default().replace(rows),
            AllRows::Parts(rows) => waiting.injections.replace(rows),
            AllRows::Halts(rows) => waiting.halts.replace(rows),
        });
    }

    /// Waits until something is there to be taken. May be dropped at any time.
    pub(super) async fn arrived(&self) {
        while !self.something.load(Ordering::Acquire) {
            self.arrived.notified().await;
        }
    }

    /// Takes what changed.
    pub(super) fn take(&self) -> Batch {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.something.store(false, Ordering::Release);
        Batch {
            pods: waiting.pods.take(),
            nodes: waiting.nodes.take(),
            experiments: std::mem::take(&mut waiting.experiments)
                .into_iter()
                .map(|(kind, mut changes)| (kind, changes.take()))
                .collect(),
            injections: waiting.injections.take(),
            halts: waiting.halts.take(),
        }
    }
}

/// All rows of a kind.
pub(super) enum AllRows {
    /// Pods.
    Pods(Vec<Arc<PodRow>>),
    /// Nodes.
    Nodes(Vec<Arc<NodeRow>>),
    /// Experiments of this kind.
    Experiments(String, Vec<Arc<Experiment>>),
    /// Injections.
    Parts(Vec<Arc<Part>>),
    /// Halts.
    Halts(Vec<Arc<HaltRow>>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, status: &str) -> Arc<PodRow> {
        Arc::new(PodRow { uid: uid.to_owned(), status: status.to_owned(), ..PodRow::default() })
    }

    #[tokio::test]
    async fn the_latest_wins_and_a_list_forgets_what_was_before() {
        let slots = Slots::default();
        slots.put(AnyRow::Pod(pod("a", "Pending")));
        slots.put(AnyRow::Pod(pod("a", "Running")));
        slots.put(AnyRow::Pod(pod("b", "Running")));
        slots.remove(AnyRow::Pod(pod("b", "Running")));
        slots.arrived().await;
        let batch = slots.take();
        assert_eq!(
            (batch.pods.upserted.len(), batch.pods.removed.as_slice()),
            (1, ["b".to_owned()].as_slice())
        );
        assert_eq!(batch.pods.upserted[0].status, "Running");
        assert!(slots.take().is_empty());
        slots.put(AnyRow::Pod(pod("a", "Running")));
        slots.replace(AllRows::Pods(vec![pod("c", "Running")]));
        slots.remove(AnyRow::Pod(pod("c", "Running")));
        let batch = slots.take();
        assert!(batch.pods.reset && batch.pods.upserted.is_empty() && batch.pods.removed.is_empty());
    }
}
