//! The watches: one task for each kind, which never gives up.
//!
//! A watch that fails is begun anew with a new list: only that proves that what is shown is what is. Until then the
//! rows stay as they were, and the console says how old they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::DynamicObject;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pulse::{Heard, pulse};
use super::slots::{AllRows, AnyRow, Slots};
use crate::api::{Fault, Halt, Injection, SYSTEM_NAMESPACE, custom_kinds};
use crate::app::event::Event;
use crate::app::list::Row;
use crate::app::store::{Experiment, HaltRow, Link, NodeRow, Part, PodRow, Topic};
use crate::client::{Lean, is_expired, is_not_served, is_refused};
use crate::operations::Kind;
use crate::report::Trouble;

/// After this time the API server ends a watch that had nothing to say, in seconds: a dead connection is found out.
const WATCH_SECONDS: u32 = 20;

/// The wait after the first failure; it doubles with each.
const SHORTEST: Duration = Duration::from_millis(250);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);
/// How often a kind that the API server does not have, or does not let us see, is asked for again.
const ABSENT: Duration = Duration::from_secs(10);

/// What all watches need.
#[derive(Clone)]
pub(super) struct Watches {
    /// The API server.
    pub(super) client: Client,
    /// The namespace that is watched where all of them may not be.
    pub(super) namespace: String,
    /// Where changes go.
    pub(super) slots: Arc<Slots>,
    /// Where news about the watches themselves goes.
    pub(super) events: mpsc::Sender<Event>,
    /// Ends them.
    pub(super) cancel: CancellationToken,
}

/// How the objects of a kind become rows.
trait Watched: Send + 'static {
    type Object: Resource + Clone + Debug + DeserializeOwned + Send + 'static;
    type Row: Row + Send + Sync + 'static;

    fn topic(&self) -> Topic;
    fn row(&mut self, object: Self::Object) -> Self::Row;
    fn one(&self, row: Arc<Self::Row>) -> AnyRow;
    fn all(&self, rows: Vec<Arc<Self::Row>>) -> AllRows;

    /// Those of one namespace, where all of them may not be listed. Nothing for what is in no namespace, or always in one.
    fn within(&self, _client: &Client, _namespace: &str) -> Option<Api<Self::Object>> {
        None
    }
}

/// Pods, and the labels that they share. Each has some hundred bytes, and the recorder keeps rows that are no more.
#[derive(Default)]
struct Pods {
    labels: BTreeSet<Arc<BTreeMap<String, String>>>,
    /// How many labels there may be before those that no pod has any more are looked for.
    most: usize,
}

impl Pods {
    fn shared(&mut self, labels: Arc<BTreeMap<String, String>>) -> Arc<BTreeMap<String, String>> {
        if let Some(known) = self.labels.get(&labels) {
            return Arc::clone(known);
        }
        if self.labels.len() >= self.most {
            self.labels.retain(|labels| Arc::strong_count(labels) > 1);
            self.most = (2 * self.labels.len()).max(1_000);
        }
        self.labels.insert(Arc::clone(&labels));
        labels
    }
}

impl Watched for Pods {
    type Object = Lean<Pod>;
    type Row = PodRow;

    fn topic(&self) -> Topic {
        Topic::Pods
    }

    fn row(&mut self, object: Lean<Pod>) -> PodRow {
        let row = PodRow::new(&object.0);
        PodRow { labels: self.shared(Arc::clone(&row.labels)), ..row }
    }

    fn one(&self, row: Arc<PodRow>) -> AnyRow {
        AnyRow::Pod(row)
    }

    fn all(&self, rows: Vec<Arc<PodRow>>) -> AllRows {
        AllRows::Pods(rows)
    }

    fn within(&self, client: &Client, namespace: &str) -> Option<Api<Lean<Pod>>> {
        Some(Api::namespaced(client.clone(), namespace))
    }
}

struct Nodes;

impl Watched for Nodes {
    type Object = Lean<Node>;
    type Row = NodeRow;

    fn topic(&self) -> Topic {
        Topic::Nodes
    }

    fn row(&mut self, object: Lean<Node>) -> NodeRow {
        NodeRow::new(&object.0)
    }

    fn one(&self, row: Arc<NodeRow>) -> AnyRow {
        AnyRow::Node(row)
    }

    fn all(&self, rows: Vec<Arc<NodeRow>>) -> AllRows {
        AllRows::Nodes(rows)
    }
}

struct Experiments(Kind);

impl Watched for Experiments {
    type Object = DynamicObject;
    type Row = Experiment;

    fn topic(&self) -> Topic {
        Topic::Experiments(self.0.resource.kind.clone())
    }

    fn row(&mut self, mut object: DynamicObject) -> Experiment {
        object.metadata.managed_fields = None;
        // Items of a list do not name their kind.
        object.types = Some(kube::api::TypeMeta {
            api_version: self.0.resource.api_version.clone(),
            kind: self.0.resource.kind.clone(),
        });
        Experiment::from(object)
    }

    fn one(&self, row: Arc<Experiment>) -> AnyRow {
        AnyRow::Experiment(self.0.resource.kind.clone(), row)
    }

    fn all(&self, rows: Vec<Arc<Experiment>>) -> AllRows {
        AllRows::Experiments(self.0.resource.kind.clone(), rows)
    }

    fn within(&self, client: &Client, namespace: &str) -> Option<Api<DynamicObject>> {
        Some(self.0.api(client, Some(namespace)))
    }
}

struct Parts;

impl Watched for Parts {
    type Object = Injection;
    type Row = Part;

    fn topic(&self) -> Topic {
        Topic::Injections
    }

    fn row(&mut self, mut object: Injection) -> Part {
        object.metadata.managed_fields = None;
        object.spec.fault = Fault::default();
        Part(object)
    }

    fn one(&self, row: Arc<Part>) -> AnyRow {
        AnyRow::Part(row)
    }

    fn all(&self, rows: Vec<Arc<Part>>) -> AllRows {
        AllRows::Parts(rows)
    }
}

struct Halts;

impl Watched for Halts {
    type Object = Halt;
    type Row = HaltRow;

    fn topic(&self) -> Topic {
        Topic::Halts
    }

    fn row(&mut self, object: Halt) -> HaltRow {
        HaltRow(object)
    }

    fn one(&self, row: Arc<HaltRow>) -> AnyRow {
        AnyRow::Halt(row)
    }

    fn all(&self, rows: Vec<Arc<HaltRow>>) -> AllRows {
        AllRows::Halts(rows)
    }
}

impl Watches {
    /// Begins all of them.
    pub(super) fn start(self, tasks: &TaskTracker) {
        let client = &self.client;
        let (asking, heard) = pulse(client.clone());
        let cancel = self.cancel.clone();
        tasks.spawn(async move { cancel.run_until_cancelled(asking).await });
        // What is seen first is asked for first.
        tasks.spawn(self.clone().follow(heard.clone(), Pods::default(), Api::all(client.clone())));
        tasks.spawn(self.clone().follow(heard.clone(), Nodes, Api::all(client.clone())));
        for kind in custom_kinds().iter().filter(|kind| kind.group == "chaos-mesh.org") {
            if let Some(kind) = Kind::known(kind.kind) {
                let api = kind.api(client, None);
                tasks.spawn(self.clone().follow(heard.clone(), Experiments(kind), api));
            }
        }
        tasks.spawn(self.clone().follow(
            heard.clone(),
            Parts,
            Api::namespaced(client.clone(), SYSTEM_NAMESPACE),
        ));
        tasks.spawn(self.clone().follow(heard, Halts, Api::all(client.clone())));
    }

    async fn follow<W>(self, pulse: Heard, watched: W, api: Api<W::Object>)
    where
        W: Watched,
    {
        let cancel = self.cancel.clone();
        // What it waits for is the network; when it is not wanted any more there is nothing to finish.
        cancel.run_until_cancelled(self.for_ever(pulse, watched, api)).await;
    }

    async fn for_ever<W: Watched>(self, mut pulse: Heard, mut watched: W, everywhere: Api<W::Object>) {
        let mut wait = SHORTEST;
        let (mut api, mut live) = (everywhere.clone(), Link::Live);
        loop {
            let (heard, error) = tokio::select! {
                failure = self.until_failure(&mut watched, &api, &live) => failure,
                since = pulse.silence() => {
                    self.tell(&watched, Link::Lost { since, trouble: silence() }).await;
                    pulse.answer().await;
                    continue;
                }
            };
            if heard {
                wait = SHORTEST;
            }
            if heard && is_expired(&error) {
                continue;
            }
            let is_refused = is_refused(&error);
            let narrow = watched.within(&self.client, &self.namespace);
            if let Some(narrow) = narrow.filter(|_| is_refused && live == Link::Live) {
                (api, live) = (narrow, Link::Narrow { namespace: self.namespace.clone() });
                continue;
            }
            let absent = is_not_served(&error);
            let trouble = Trouble::watch(format!("watch {}", watched.topic().words()), error);
            let link = if absent {
                Link::Absent
            } else if is_refused {
                (api, live) = (everywhere.clone(), Link::Live);
                Link::Refused { trouble }
            } else {
                Link::Lost { since: Timestamp::now(), trouble }
            };
            self.tell(&watched, link).await;
            tokio::time::sleep(if absent || is_refused { ABSENT } else { wait }).await;
            wait = (wait * 2).min(LONGEST);
        }
    }

    /// Watches until something fails; also says whether anything was heard.
    async fn until_failure<W: Watched>(
        &self,
        watched: &mut W,
        api: &Api<W::Object>,
        live: &Link,
    ) -> (bool, watcher::Error) {
        let config = watcher::Config::default().timeout(WATCH_SECONDS);
        let mut stream = pin!(watcher(api.clone(), config));
        let (mut heard, mut list, mut first) = (false, Vec::new(), true);
        loop {
            match stream.next().await {
                Some(Ok(event)) => {
                    heard = true;
                    match event {
                        watcher::Event::Init => list.clear(),
                        watcher::Event::InitApply(object) => {
                            // Shown at once: a long list takes its time. What is not in it goes when it is whole.
                            let row = Arc::new(watched.row(object));
                            self.slots.put(watched.one(Arc::clone(&row)));
                            list.push(row);
                        }
                        watcher::Event::InitDone => {
                            self.slots.replace(watched.all(std::mem::take(&mut list)));
                            if first {
                                first = false;
                                self.tell(watched, live.clone()).await;
                            }
                        }
                        watcher::Event::Apply(object) => {
                            let row = Arc::new(watched.row(object));
                            self.slots.put(watched.one(row));
                        }
                        watcher::Event::Delete(object) => {
                            let row = Arc::new(watched.row(object));
                            self.slots.remove(watched.one(row));
                        }
                    }
                }
                Some(Err(error)) => return (heard, error),
                None => return (heard, watcher::Error::NoResourceVersion),
            }
        }
    }

    async fn tell<W: Watched>(&self, watched: &W, link: Link) {
        let event = Event::Linked { topic: watched.topic(), link };
        // Nobody listens when the console ends.
        drop(self.events.send(event).await);
    }
}

/// What it means that nothing is answered any more.
fn silence() -> Trouble {
    Trouble::new("the API server does not answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_share_labels_and_those_of_none_are_forgotten() {
        let labels = |app: usize| Arc::new(BTreeMap::from([("app".to_owned(), app.to_string())]));
        let mut pods = Pods::default();
        let (one, other) = (pods.shared(labels(7)), pods.shared(labels(7)));
        assert!(Arc::ptr_eq(&one, &other));
        for app in 10..5_000 {
            drop(pods.shared(labels(app)));
        }
        assert!(pods.labels.len() <= 1_000, "{}", pods.labels.len());
        assert!(Arc::ptr_eq(&one, &pods.shared(labels(7))));
    }
}
