//! The objects, their versions and the recent changes of each kind.
//!
//! One counter numbers all writes, as etcd's revision does. The store knows nothing of HTTP, of rules about objects or of
//! time; a change becomes visible to readers and to watches in the same critical section, so neither can be ahead.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;

use super::selectors::Selector;
use super::watch::Event;

/// A stored object with its encoding, which lists, gets and watches share.
pub(super) struct Object {
    pub(super) value: Value,
    pub(super) json: Bytes,
    pub(super) version: u64,
}

impl Object {
    /// The object as of `version`.
    pub(super) fn new(mut value: Value, version: u64) -> Arc<Self> {
        set_meta(&mut value, "resourceVersion", Some(version.to_string().into()));
        let json = Bytes::from(value.to_string());
        Arc::new(Self { value, json, version })
    }

    /// A string of the metadata, empty when it is not there.
    pub(super) fn meta(&self, field: &str) -> &str {
        meta(&self.value, field)
    }
}

/// A string of an object's metadata, empty when it is not there.
pub(super) fn meta<'v>(object: &'v Value, field: &str) -> &'v str {
    object.get("metadata").and_then(|metadata| metadata.get(field)?.as_str()).unwrap_or_default()
}

/// Sets or removes a member of the metadata.
pub(super) fn set_meta(object: &mut Value, field: &str, value: Option<Value>) {
    if let Some(metadata) = object.get_mut("metadata") {
        set_member(metadata, field, value);
    }
}

/// Sets or removes a member of an object.
pub(super) fn set_member(object: &mut Value, field: &str, value: Option<Value>) {
    if let Some(map) = object.as_object_mut() {
        match value {
            Some(value) => map.insert(field.to_owned(), value),
            None => map.remove(field),
        };
    }
}

/// Namespace (empty for cluster-scoped kinds) and name.
pub(super) type Key = (String, String);

/// Which objects a list or watch is about.
pub(super) struct Scope {
    /// Empty: all namespaces.
    pub(super) namespace: String,
    pub(super) selector: Selector,
}

impl Scope {
    fn contains(&self, object: &Object) -> bool {
        (self.namespace.is_empty() || object.meta("namespace") == self.namespace)
            && self.selector.matches(&object.value)
    }
}

/// One write: what was there, what is there now.
struct Change {
    version: u64,
    old: Option<Arc<Object>>,
    new: Option<Arc<Object>>,
    /// The old state with the version of the change: what `DELETED` carries.
    last: OnceLock<Bytes>,
}

impl Change {
    /// The event that a watch over the scope sees: an object that starts or stops matching is added or deleted for it.
    fn event(&self, scope: &Scope) -> Option<Event> {
        let old = self.old.as_ref().filter(|old| scope.contains(old));
        let new = self.new.as_ref().filter(|new| scope.contains(new));
        let (kind, object) = match (old, new) {
            (None, None) => return None,
            (None, Some(new)) => ("ADDED", &new.json),
            (Some(_), Some(new)) => ("MODIFIED", &new.json),
            (Some(old), None) => {
                let last = || Object::new(old.value.clone(), self.version).json.clone();
                ("DELETED", self.last.get_or_init(last))
            }
        };
        Some(Event { kind, object: object.clone() })
    }

    fn size(&self) -> usize {
        self.new.as_ref().or(self.old.as_ref()).map_or(0, |object| object.json.len())
    }
}

struct Watcher {
    scope: Scope,
    events: mpsc::Sender<Event>,
}

/// All objects of one resource.
#[derive(Default)]
struct Table {
    objects: BTreeMap<Key, Arc<Object>>,
    history: VecDeque<Arc<Change>>,
    history_bytes: usize,
    /// The newest version that the history does not tell about any more.
    floor: u64,
    watchers: Vec<Watcher>,
}

/// What bounds the memory of histories and watches.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Changes of one resource that a watch can resume over; older versions are `Expired`.
    pub history_events: usize,
    /// The same bound in bytes of JSON.
    pub history_bytes: usize,
    /// Events that may wait for one watch; a slower client is disconnected and resumes.
    pub watch_queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { history_events: 4096, history_bytes: 8 * 1024 * 1024, watch_queue: 1024 }
    }
}

/// The events that a watch begins with, and the queue of all that follow.
pub(super) type Opened = (Vec<Event>, mpsc::Receiver<Event>);

/// Every table, and the counter.
pub(super) struct Store {
    version: u64,
    tables: Vec<Table>,
    limits: Limits,
}

impl Store {
    pub(super) fn new(tables: usize, first_version: u64, limits: Limits) -> Self {
        let tables = (0..tables).map(|_| Table { floor: first_version, ..Table::default() }).collect();
        Self { version: first_version, tables, limits }
    }

    /// The version of the newest write.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, table: usize, key: &Key) -> Option<&Arc<Object>> {
        self.tables.get(table)?.objects.get(key)
    }

    pub(super) fn count(&self, table: usize) -> usize {
        self.tables.get(table).map_or(0, |table| table.objects.len())
    }

    /// The objects in the scope, ordered by namespace and name.
    pub(super) fn list<'s>(
        &'s self,
        table: usize,
        scope: &'s Scope,
    ) -> impl Iterator<Item = (&'s Key, &'s Arc<Object>)> {
        self.list_after(table, scope, None)
    }

    /// Those of them that stand behind this key.
    pub(super) fn list_after<'s>(
        &'s self,
        table: usize,
        scope: &'s Scope,
        after: Option<&Key>,
    ) -> impl Iterator<Item = (&'s Key, &'s Arc<Object>)> + use<'s> {
        let first = || Bound::Included((scope.namespace.clone(), String::new()));
        let begin = after.map_or_else(first, |key| Bound::Excluded(key.clone()));
        self.tables
            .get(table)
            .into_iter()
            .flat_map(move |table| table.objects.range((begin.clone(), Bound::Unbounded)))
            .take_while(|((namespace, _), _)| scope.namespace.is_empty() || *namespace == scope.namespace)
            .filter(|(_, object)| scope.contains(object))
    }

    /// Stores the object, or removes it (`None`), under a new version and tells every watch.
    pub(super) fn commit(&mut self, table: usize, key: Key, value: Option<Value>) -> Option<Arc<Object>> {
        let limits = self.limits;
        let table = self.tables.get_mut(table)?;
        self.version += 1;
        let version = self.version;
        let new = value.map(|value| Object::new(value, version));
        let old = match &new {
            Some(new) => table.objects.insert(key, Arc::clone(new)),
            None => table.objects.remove(&key),
        };
        let stored = new.clone();
        let change = Arc::new(Change { version, old, new, last: OnceLock::new() });
        // A watch that is full is too slow: it ends, and its client resumes from history or lists again.
        table.watchers.retain(|watcher| match change.event(&watcher.scope) {
            Some(event) => watcher.events.try_send(event).is_ok(),
            None => true,
        });
        table.history_bytes += change.size();
        table.history.push_back(change);
        while table.history.len() > limits.history_events || table.history_bytes > limits.history_bytes {
            let Some(oldest) = table.history.pop_front() else { break };
            table.history_bytes -= oldest.size();
            table.floor = oldest.version;
        }
        stored
    }

    /// Opens a watch. With `since`, it begins with the changes after that version, else with one `ADDED` for each object;
    /// `Err` is the oldest version that `since` could be.
    pub(super) fn watch(&mut self, table: usize, scope: Scope, since: Option<u64>) -> Result<Opened, u64> {
        let first = match since {
            None => {
                let added = |object: &Object| Event { kind: "ADDED", object: object.json.clone() };
                self.list(table, &scope).map(|(_, object)| added(object)).collect()
            }
            Some(since) => self.history(table, &scope, since)?,
        };
        let (events, queue) = mpsc::channel(self.limits.watch_queue);
        if let Some(table) = self.tables.get_mut(table) {
            table.watchers.retain(|watcher| !watcher.events.is_closed());
            table.watchers.push(Watcher { scope, events });
        }
        Ok((first, queue))
    }

    /// The oldest version that a watch of the table can begin at.
    pub(super) fn floor(&self, table: usize) -> u64 {
        self.tables.get(table).map_or(0, |table| table.floor)
    }

    fn history(&self, table: usize, scope: &Scope, since: u64) -> Result<Vec<Event>, u64> {
        let Some(table) = self.tables.get(table) else { return Ok(Vec::new()) };
        // A version that was never given out comes from another server's life. The real server would wait for it in
        // silence; this one starts anew with every playground, so the client is told to list again.
        if since < table.floor || since > self.version {
            return Err(table.floor);
        }
        let start = table.history.partition_point(|change| change.version <= since);
        Ok(table.history.range(start..).filter_map(|change| change.event(scope)).collect())
    }
}
