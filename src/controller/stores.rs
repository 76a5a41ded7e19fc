//! What the controller knows: one watch per kind, and a signal when something changed.
//!
//! A store also takes the objects that our own writes came back with. A step that follows a write by a
//! millisecond then sees it, instead of the world as it was before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Container, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_kind};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::kinds::{ExperimentKey, Served};
use crate::api::{Halt, Injection, NetworkChaos, PodChaos, SYSTEM_NAMESPACE};
use crate::client::{WatchPauses, is_not_served, tally};
use crate::experiment::world::World;

/// How long a watch is asked to last, in seconds. A dead connection looks alive for no longer than this.
const WATCH_SECONDS: u32 = 20;

/// Namespace and name.
pub(super) type Key = (String, String);

/// The objects of one kind.
pub(super) struct Store<K> {
    objects: Mutex<BTreeMap<Key, Arc<K>>>,
    synced: watch::Sender<bool>,
    /// Whether an API server that does not know the kind counts as one that has no objects of it.
    optional: bool,
}

impl<K: Resource<DynamicType = ()>> Store<K> {
    fn new() -> Self {
        Self { objects: Mutex::default(), synced: watch::Sender::new(false), optional: false }
    }

    fn optional() -> Self {
        Self { optional: true, ..Self::new() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<K>>> {
        // Every change of the map is one call: a panic cannot leave it half done.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All objects, ordered by namespace and name.
    pub(super) fn all(&self) -> Vec<Arc<K>> {
        self.lock().values().cloned().collect()
    }

    /// The objects that `wanted` holds for.
    pub(super) fn filter(&self, wanted: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        self.lock().values().filter(|object| wanted(object)).cloned().collect()
    }

    /// One object.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.lock().get(key).cloned()
    }

    /// The names of all objects.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.lock().keys().cloned().collect()
    }

    /// Takes an object as a write or read of ours came back with, unless a newer one is known. One that
    /// was being deleted and has lost its last finalizer is gone.
    pub(super) fn put(&self, object: K) {
        let gone = object.meta().deletion_timestamp.is_some() && object.finalizers().is_empty();
        let key = key_of(&object);
        let mut objects = self.lock();
        if objects.get(&key).is_some_and(|known| is_newer(&**known, &object)) {
            return;
        }
        if gone {
            objects.remove(&key);
        } else {
            objects.insert(key, Arc::new(object));
        }
    }

    /// Forgets an object that the API server does not have.
    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn remove(&self, object: &K) {
        let key = key_of(object);
        let mut objects = self.lock();
        if objects.get(&key).is_some_and(|known| !is_newer(&**known, object)) {
            objects.remove(&key);
        }
    }

    fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    async fn wait(&self) {
        // The sender lives as long as the store: there is always an answer.
        drop(self.synced.subscribe().wait_for(|synced| *synced).await);
    }
}

/// Whether `a` was written after `b`. Resource versions of custom and built-in resources are numbers
/// that grow; where they are not, the later answer wins.
fn is_newer<K: Resource>(a: &K, b: &K) -> bool {
    let version = |object: &K| object.meta().resource_version.as_deref()?.parse::<u64>().ok();
    matches!((version(a), version(b)), (Some(a), Some(b)) if a > b)
}

/// Namespace and name of an object.
pub(super) fn key_of<K: Resource>(object: &K) -> Key {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// What has changed since it was last asked.
#[derive(Default)]
pub(super) struct Changes {
    /// Experiments that changed themselves or whose Injections did.
    pub experiments: BTreeSet<ExperimentKey>,
    /// Pods, nodes, Services or endpoints changed.
    pub world: bool,
    /// A Halt came, changed or went: it may concern every experiment.
    pub halts: bool,
}

/// Everything the controller watches.
pub(super) struct Stores {
    pub networkchaos: Store<NetworkChaos>,
    pub podchaos: Store<PodChaos>,
    pub injections: Store<Injection>,
    pub halts: Store<Halt>,
    pub pods: Store<Pod>,
    nodes: Store<Node>,
    services: Store<Service>,
    slices: Store<EndpointSlice>,
    changes: Mutex<Changes>,
    changed: Notify,
    world: Mutex<Option<Arc<World>>>,
    world_is_stale: AtomicBool,
}

impl Stores {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            networkchaos: Store::new(),
            podchaos: Store::new(),
            injections: Store::new(),
            halts: Store::optional(),
            pods: Store::new(),
            nodes: Store::new(),
            services: Store::new(),
            slices: Store::new(),
            changes: Mutex::default(),
            changed: Notify::new(),
            world: Mutex::default(),
            world_is_stale: AtomicBool::new(false),
        })
    }

    /// Starts the watches; they end when `tasks` is dropped.
    pub(super) fn watch(self: &Arc<Self>, client: &Client, tasks: &mut JoinSet<()>) {
        self.watch_experiments::<NetworkChaos>(client, tasks);
        self.watch_experiments::<PodChaos>(client, tasks);
        let stores = Arc::clone(self);
        let api = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
        tasks.spawn(follow(
            api,
            Arc::clone(self),
            |all| &all.injections,
            move |injection: &Injection| {
                if let Some(experiment) = ExperimentKey::of(&injection.spec.experiment) {
                    stores.experiment_changed(experiment);
                }
            },
        ));
        let stores = Arc::clone(self);
        let api = Api::all(client.clone());
        tasks.spawn(follow(
            api,
            Arc::clone(self),
            |all| &all.halts,
            move |_| {
                stores.lock_changes().halts = true;
                stores.changed.notify_one();
            },
        ));
        let api = Api::all(client.clone());
        tasks.spawn(follow_trimmed(api, Arc::clone(self), |all| &all.pods, trim, self.on_world()));
        let api = Api::all(client.clone());
        tasks.spawn(follow(api, Arc::clone(self), |all| &all.nodes, self.on_world()));
        let api = Api::all(client.clone());
        tasks.spawn(follow(api, Arc::clone(self), |all| &all.services, self.on_world()));
        let api = Api::all(client.clone());
        tasks.spawn(follow(api, Arc::clone(self), |all| &all.slices, self.on_world()));
    }

    fn watch_experiments<K: Served>(self: &Arc<Self>, client: &Client, tasks: &mut JoinSet<()>) {
        let stores = Arc::clone(self);
        let changed = move |chaos: &K| {
            stores.experiment_changed(ExperimentKey { kind: K::KIND, key: key_of(chaos) });
        };
        tasks.spawn(follow(Api::all(client.clone()), Arc::clone(self), K::store, changed));
    }

    fn on_world<K>(self: &Arc<Self>) -> impl Fn(&K) + Send + 'static {
        let stores = Arc::clone(self);
        move |_| {
            stores.lock_changes().world = true;
            stores.world_is_stale.store(true, Ordering::Release);
            stores.changed.notify_one();
        }
    }

    /// Waits until every store holds what the API server had.
    pub(super) async fn synced(&self) {
        self.networkchaos.wait().await;
        self.podchaos.wait().await;
        self.injections.wait().await;
        self.halts.wait().await;
        self.pods.wait().await;
        self.nodes.wait().await;
        self.services.wait().await;
        self.slices.wait().await;
    }

    /// Whether [`Self::synced`] would not wait.
    pub(super) fn is_synced(&self) -> bool {
        let experiments = self.networkchaos.is_synced() && self.podchaos.is_synced();
        let ours = self.injections.is_synced() && self.halts.is_synced();
        let world = self.pods.is_synced() && self.nodes.is_synced();
        experiments && ours && world && self.services.is_synced() && self.slices.is_synced()
    }

    /// Waits until something has changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What has changed since the last call.
    pub(super) fn take_changes(&self) -> Changes {
        std::mem::take(&mut *self.lock_changes())
    }

    /// The cluster as it was at the last [`Self::refresh_world`].
    pub(super) fn world(&self) -> Arc<World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(world.get_or_insert_with(|| Arc::new(self.build_world())))
    }

    /// Looks at the cluster anew when it is next asked for, if something in it changed.
    pub(super) fn refresh_world(&self) {
        if !self.world_is_stale.swap(false, Ordering::AcqRel) {
            return;
        }
        *self.world.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn build_world(&self) -> World {
        World::new(self.pods.all(), self.nodes.all(), self.services.all(), self.slices.all())
    }

    fn experiment_changed(&self, key: ExperimentKey) {
        self.lock_changes().experiments.insert(key);
        self.changed.notify_one();
    }

    fn lock_changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops what nobody here reads of a pod: most of it, and there are more pods than anything else.
fn trim(pod: &mut Pod) {
    if let Some(spec) = &mut pod.spec {
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            let Container { name, image, .. } = std::mem::take(container);
            *container = Container { name, image, ..Container::default() };
        }
        spec.volumes = None;
        spec.tolerations = None;
        spec.affinity = None;
    }
    if let Some(status) = &mut pod.status {
        status.conditions = None;
    }
}

/// Keeps one store equal to the API server for ever.
async fn follow<K>(
    api: Api<K>,
    stores: Arc<Stores>,
    pick: fn(&Stores) -> &Store<K>,
    changed: impl Fn(&K) + Send + 'static,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    follow_trimmed(api, stores, pick, |_| {}, changed).await;
}

/// [`follow`], with objects that `trim` has been at.
async fn follow_trimmed<K>(
    api: Api<K>,
    stores: Arc<Stores>,
    pick: fn(&Stores) -> &Store<K>,
    trim: fn(&mut K),
    changed: impl Fn(&K) + Send + 'static,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let store = pick(&stores);
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    // Nobody here reads who wrote which field, and it is half of a pod.
    let stream = watch_kind(api, config).backoff(WatchPauses::default()).modify(|object| {
        object.meta_mut().managed_fields = None;
        trim(object);
    });
    let mut stream = std::pin::pin!(stream);
    let mut listed = BTreeMap::new();
    let mut failing = false;
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                failing = false;
                take(store, &mut listed, event, &changed);
            }
            Err(error) => {
                // The backoff tries again for as long as it takes; once is enough to be told.
                if !failing {
                    tracing::warn!(error = &error as &dyn std::error::Error, kind = %K::kind(&()), "watch failed");
                }
                failing = true;
                tally::watch_failed(&K::kind(&()));
                if store.optional && is_not_served(&error) {
                    // There is nothing to wait for. What was known before, if anything, stands.
                    store.synced.send_replace(true);
                }
            }
        }
    }
}

/// Applies one event of a watch.
fn take<K>(store: &Store<K>, listed: &mut BTreeMap<Key, Arc<K>>, event: Event<K>, changed: &impl Fn(&K))
where
    K: Resource<DynamicType = ()>,
{
    match event {
        Event::Apply(object) => {
            changed(&object);
            store.put(object);
        }
        Event::Delete(object) => {
            store.remove(&object);
            changed(&object);
        }
        Event::Init => listed.clear(),
        Event::InitApply(object) => {
            listed.insert(key_of(&object), Arc::new(object));
        }
        Event::InitDone => {
            let before = std::mem::replace(&mut *store.lock(), std::mem::take(listed));
            let now = store.all();
            before.values().chain(&now).for_each(|object| changed(object));
            store.synced.send_replace(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, version: &str) -> Node {
        serde_json::from_value(serde_json::json!({"metadata": {"name": name, "resourceVersion": version}}))
            .unwrap()
    }

    fn version(store: &Store<Node>) -> Option<String> {
        store.get(&(String::new(), "n".to_owned()))?.resource_version()
    }

    #[test]
    fn the_newest_object_stays_whoever_brought_it() {
        let store = Store::new();
        let mut listed = BTreeMap::new();
        let mut event = |event| take(&store, &mut listed, event, &|_| {});
        store.put(node("n", "12"));
        event(Event::Apply(node("n", "9")));
        assert_eq!(version(&store).as_deref(), Some("12"), "the watch was behind our own write");
        event(Event::Apply(node("n", "100")));
        assert_eq!(version(&store).as_deref(), Some("100"));
        event(Event::Delete(node("n", "99")));
        assert_eq!(version(&store).as_deref(), Some("100"), "it was made again before the watch said so");
        event(Event::Delete(node("n", "101")));
        assert_eq!(version(&store), None);
    }

    #[test]
    fn a_new_list_replaces_what_was_known() {
        let store = Store::new();
        let changed = std::cell::RefCell::new(Vec::new());
        let mut listed = BTreeMap::new();
        let mut event = |event| {
            take(&store, &mut listed, event, &|node: &Node| changed.borrow_mut().push(node.name_any()));
        };
        store.put(node("gone", "1"));
        event(Event::Init);
        event(Event::InitApply(node("n", "2")));
        event(Event::InitDone);
        assert_eq!(store.keys(), [(String::new(), "n".to_owned())]);
        assert_eq!(*changed.borrow(), ["gone", "n"]);
        assert!(*store.synced.borrow());
    }

    #[test]
    fn of_a_pod_is_kept_what_experiments_read() {
        let whole = serde_json::json!({
            "metadata": {"name": "p", "labels": {"app": "a"}, "annotations": {"k": "v"}},
            "spec": {
                "nodeName": "n", "restartPolicy": "Always", "serviceAccountName": "s", "schedulerName": "d",
                "hostNetwork": true, "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "c", "image": "i", "env": [{"name": "K", "value": "v"}]}],
                "initContainers": [{"name": "init", "image": "j", "command": ["x"]}],
            },
            "status": {
                "phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0}],
            },
        });
        let mut pod: Pod = serde_json::from_value(whole.clone()).unwrap();
        trim(&mut pod);
        let mut kept = whole;
        for path in [
            ("/spec", "tolerations"),
            ("/spec/containers/0", "env"),
            ("/spec/initContainers/0", "command"),
            ("/status", "conditions"),
        ] {
            kept.pointer_mut(path.0).unwrap().as_object_mut().unwrap().remove(path.1);
        }
        let expected: Pod = serde_json::from_value(kept).unwrap();
        assert_eq!(pod, expected);
    }

    #[test]
    fn what_loses_its_last_finalizer_is_gone() {
        let store = Store::new();
        store.put(node("n", "1"));
        let mut last = node("n", "2");
        last.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
        store.put(last);
        assert_eq!(version(&store), None);
    }
}
