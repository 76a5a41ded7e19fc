//! What a write means: the rules of metadata, versions, subresources, finalizers and graceful deletion.
//!
//! Follows `k8s.io/apiserver/pkg/registry` (`rest.BeforeCreate`, `BeforeUpdate`, `BeforeDelete`, `generic/registry.Store`).
//! Each write runs under the store's lock from its read to its commit, so a patch is never computed from a stale object.
//! Owner references are not followed: garbage collection is a controller's work, not the server's.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::patch::Patch;
use super::request::{DeleteOptions, check_kind};
use super::selectors::Selector;
use super::store::{Key, Object, Scope, Store, meta, set_meta};
use super::{Cause, Config, Resource, StatusError};

/// Grace of a pod that names none: the API's default for `spec.terminationGracePeriodSeconds`.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// How a stored object is to change.
pub(super) enum Update {
    Replace(Value),
    Patch(Patch),
}

/// Writes to the objects of one resource.
pub(super) struct Writer<'a> {
    pub(super) config: &'a Config,
    pub(super) store: &'a mut Store,
    pub(super) table: usize,
    pub(super) resource: &'a Resource,
    /// Go through all checks, change nothing.
    pub(super) dry_run: bool,
}

impl Writer<'_> {
    pub(super) fn create(&mut self, namespace: &str, mut object: Value) -> Result<Arc<Object>, StatusError> {
        check_kind(self.resource, &mut object)?;
        set_namespace(self.resource, &mut object, namespace)?;
        if !meta(&object, "resourceVersion").is_empty() {
            return Err(StatusError::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        let base: String = meta(&object, "generateName").chars().take(58).collect();
        let generate = meta(&object, "name").is_empty() && !base.is_empty();
        if generate {
            set_meta(&mut object, "name", Some(format!("{base}{}", random_suffix()).into()));
        }
        self.check_namespace(namespace, meta(&object, "name"))?;
        prepare_for_create(self.resource, &mut object);
        self.admit(None, &mut object)?;
        let mut key = (namespace.to_owned(), meta(&object, "name").to_owned());
        while generate && self.store.get(self.table, &key).is_some() {
            key.1 = format!("{base}{}", random_suffix());
            set_meta(&mut object, "name", Some(key.1.clone().into()));
        }
        if self.store.get(self.table, &key).is_some() {
            return Err(StatusError::already_exists(self.resource, &key.1));
        }
        self.make_room_for_event();
        self.commit(key, object)
    }

    /// Replaces or patches an object; through the status subresource nothing but the status changes.
    pub(super) fn update(
        &mut self,
        key: &Key,
        update: Update,
        status: bool,
    ) -> Result<Arc<Object>, StatusError> {
        let old = self.find(key)?;
        let (mut new, is_patch) = match update {
            Update::Replace(new) => (new, false),
            Update::Patch(patch) => (patch.apply(&old.value)?, true),
        };
        check_kind(self.resource, &mut new)?;
        set_namespace(self.resource, &mut new, &key.0)?;
        if meta(&new, "name") != key.1 {
            let (found, expected) = (meta(&new, "name"), &key.1);
            let message =
                format!("the name of the object ({found}) does not match the name on the URL ({expected})");
            return Err(StatusError::bad_request(message));
        }
        self.check_version(&old, &new, is_patch)?;
        let mut new = if status {
            let mut merged = old.value.clone();
            set_member(&mut merged, "status", new.get("status").cloned());
            merged
        } else {
            self.check_metadata(&old, &new)?;
            keep_system_fields(self.resource, &old.value, &mut new);
            new
        };
        self.admit(Some(&old.value), &mut new)?;
        if !status {
            self.check_pod_spec(&old.value, &new)?;
            if has_generation(self.resource) && differ_outside_status(&old.value, &new) {
                raise_generation(&mut new);
            }
        }
        if new == old.value {
            return Ok(old);
        }
        let grace = old.value.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
        if is_deleted(&old.value) && grace == Some(0) && finalizers(&new).is_empty() && !self.dry_run {
            self.remove(key);
            return Ok(Object::new(new, self.store.version()));
        }
        self.commit(key.clone(), new)
    }

    /// Deletes an object, or starts to: one with finalizers stays until they are gone, a pod on a node until its kubelet
    /// deletes it with a grace period of zero.
    pub(super) fn delete(&mut self, key: &Key, options: &DeleteOptions) -> Result<Deleted, StatusError> {
        let old = self.find(key)?;
        self.check_preconditions(&old, options)?;
        let is_pod = self.resource.is_core("pods");
        let is_namespace = self.resource.is_core("namespaces");
        let grace = if is_pod { pod_grace(&old.value, options.grace_period_seconds) } else { 0 };
        if is_deleted(&old.value) {
            let running = old.value.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
            // Deletion is under way: it can only be made shorter.
            if !is_pod
                || options.grace_period_seconds.is_none()
                || running.is_none_or(|running| grace >= running)
            {
                return Ok(Deleted::Pending(old));
            }
        }
        if self.dry_run {
            return Ok(Deleted::Pending(old));
        }
        if grace == 0 && finalizers(&old.value).is_empty() && !is_namespace {
            self.remove(key);
            return Ok(Deleted::Gone(old));
        }
        let mut new = old.value.clone();
        let at = Timestamp::now().saturating_add(SignedDuration::from_secs(grace)).unwrap_or(Timestamp::MAX);
        set_meta(&mut new, "deletionTimestamp", Some(rfc3339(at).into()));
        set_meta(&mut new, "deletionGracePeriodSeconds", Some(grace.into()));
        raise_generation(&mut new);
        if is_namespace {
            set_member(&mut new, "status", Some(json!({ "phase": "Terminating" })));
        }
        let marked = self.commit(key.clone(), new)?;
        if is_namespace {
            self.empty_namespace(&key.1);
        }
        Ok(Deleted::Pending(marked))
    }

    fn find(&self, key: &Key) -> Result<Arc<Object>, StatusError> {
        let found = self.store.get(self.table, key).cloned();
        found.ok_or_else(|| StatusError::not_found(self.resource, &key.1))
    }

    fn commit(&mut self, key: Key, object: Value) -> Result<Arc<Object>, StatusError> {
        if self.dry_run {
            return Ok(Object::new(object, self.store.version()));
        }
        self.store.commit(self.table, key, Some(object)).ok_or_else(|| StatusError::internal("no such table"))
    }

    fn remove(&mut self, key: &Key) {
        self.store.commit(self.table, key.clone(), None);
        finish_namespace(self.config, self.store, &key.0);
    }

    fn admit(&self, old: Option<&Value>, new: &mut Value) -> Result<(), StatusError> {
        let mut causes = self.config.admission.admit(self.resource, old, new).err().unwrap_or_default();
        if old.is_none() {
            causes.extend(name_cause(self.resource, new));
        }
        if causes.is_empty() {
            return Ok(());
        }
        Err(StatusError::invalid(self.resource, meta(new, "name"), &causes))
    }

    fn invalid<T>(&self, name: &str, field: &str, message: String) -> Result<T, StatusError> {
        let cause = Cause { field: field.to_owned(), message };
        Err(StatusError::invalid(self.resource, name, &[cause]))
    }

    fn check_namespace(&self, namespace: &str, name: &str) -> Result<(), StatusError> {
        if !self.resource.namespaced {
            return Ok(());
        }
        let Some((table, resource)) = self.config.find("", "namespaces") else { return Ok(()) };
        match self.store.get(table, &(String::new(), namespace.to_owned())) {
            None => Err(StatusError::not_found(resource, namespace)),
            Some(found) if is_deleted(&found.value) => {
                Err(StatusError::namespace_terminating(self.resource, name, namespace))
            }
            Some(_) => Ok(()),
        }
    }

    fn check_version(&self, old: &Object, new: &Value, is_patch: bool) -> Result<(), StatusError> {
        let name = old.meta("name");
        let version = meta(new, "resourceVersion");
        if version.is_empty() {
            // Leases and custom kinds do not allow an update that ignores what happened in between.
            if !is_patch && (self.resource.is_custom() || self.resource.plural == "leases") {
                let message = "Invalid value: 0: must be specified for an update".to_owned();
                return self.invalid(name, "metadata.resourceVersion", message);
            }
        } else if version != old.meta("resourceVersion") {
            return Err(StatusError::modified(self.resource, name));
        }
        let uid = meta(new, "uid");
        if !is_patch && !uid.is_empty() && uid != old.meta("uid") {
            let found = old.meta("uid");
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
            return Err(StatusError::conflict(self.resource, name, &why));
        }
        Ok(())
    }

    fn check_metadata(&self, old: &Object, new: &Value) -> Result<(), StatusError> {
        let deleted = is_deleted(&old.value);
        let get =
            |object: &Value, field: &str| object.get("metadata").and_then(|meta| meta.get(field)).cloned();
        for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
            let kept = deleted && field.starts_with("deletion");
            let wanted = get(new, field).filter(|value| !value.is_null() && !kept);
            if let Some(value) = wanted.filter(|value| Some(value) != get(&old.value, field).as_ref()) {
                let message = format!("Invalid value: {value}: field is immutable");
                return self.invalid(old.meta("name"), &format!("metadata.{field}"), message);
            }
        }
        let (before, after) = (finalizers(&old.value), finalizers(new));
        let added: Vec<&str> = after.into_iter().filter(|name| !before.contains(name)).collect();
        if deleted && !added.is_empty() {
            let message = format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
            );
            return self.invalid(old.meta("name"), "metadata.finalizers", message);
        }
        Ok(())
    }

    /// A pod is what its kubelet started: of its spec only images and few other fields may change.
    fn check_pod_spec(&self, old: &Value, new: &Value) -> Result<(), StatusError> {
        let mut wanted = fixed_pod_spec(new);
        if old.pointer("/spec/nodeName").is_none() {
            // A scheduler binds the pod once. Real servers have a subresource for it (`pods/binding`).
            set_member(&mut wanted, "nodeName", None);
        }
        if !self.resource.is_core("pods") || fixed_pod_spec(old) == wanted {
            return Ok(());
        }
        let message = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
            `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
            tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        self.invalid(meta(old, "name"), "spec", message.to_owned())
    }

    fn check_preconditions(&self, old: &Object, options: &DeleteOptions) -> Result<(), StatusError> {
        let Some(preconditions) = &options.preconditions else { return Ok(()) };
        for (what, why, field, wanted) in [
            ("UID", "deleted and then recreated", "uid", &preconditions.uid),
            ("ResourceVersion", "modified", "resourceVersion", &preconditions.resource_version),
        ] {
            if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != old.meta(field)) {
                let found = old.meta(field);
                let why = format!(
                    "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). \
                     The object might have been {why}"
                );
                return Err(StatusError::conflict(self.resource, old.meta("name"), &why));
            }
        }
        Ok(())
    }

    /// Events are the one kind that nobody deletes; the oldest makes room.
    fn make_room_for_event(&mut self) {
        if self.resource.plural != "events" || self.store.count(self.table) < self.config.max_events {
            return;
        }
        let all = Scope { namespace: String::new(), selector: Selector::default() };
        let oldest = self.store.list(self.table, &all).min_by_key(|(_, event)| event.version);
        if let Some(key) = oldest.map(|(key, _)| key.clone()).filter(|_| !self.dry_run) {
            self.remove(&key);
        }
    }

    /// Deletes all that is in the namespace; what has finalizers or a kubelet goes later and takes the namespace along.
    fn empty_namespace(&mut self, namespace: &str) {
        for (table, resource) in self.config.resources.iter().enumerate().filter(|(_, r)| r.namespaced) {
            let scope = Scope { namespace: namespace.to_owned(), selector: Selector::default() };
            let keys: Vec<Key> = self.store.list(table, &scope).map(|(key, _)| key.clone()).collect();
            let mut writer =
                Writer { config: self.config, store: self.store, table, resource, dry_run: false };
            for key in keys {
                if let Err(error) = writer.delete(&key, &DeleteOptions::default()) {
                    tracing::warn!(%error, "an object of a namespace that is being deleted stays");
                }
            }
        }
        finish_namespace(self.config, self.store, namespace);
    }
}

/// What became of an object that was to be deleted.
pub(super) enum Deleted {
    Gone(Arc<Object>),
    Pending(Arc<Object>),
}

/// Removes a namespace that is being deleted once nothing is left in it.
fn finish_namespace(config: &Config, store: &mut Store, namespace: &str) {
    let Some((table, _)) = config.find("", "namespaces") else { return };
    let key = (String::new(), namespace.to_owned());
    let terminating = store.get(table, &key).is_some_and(|found| is_deleted(&found.value));
    let scope = Scope { namespace: namespace.to_owned(), selector: Selector::default() };
    let inside = |(table, resource): (usize, &Resource)| {
        resource.namespaced && store.list(table, &scope).next().is_some()
    };
    if terminating && !config.resources.iter().enumerate().any(inside) {
        store.commit(table, key, None);
    }
}

fn set_namespace(resource: &Resource, object: &mut Value, namespace: &str) -> Result<(), StatusError> {
    if !resource.namespaced {
        set_meta(object, "namespace", None);
    } else if !meta(object, "namespace").is_empty() && meta(object, "namespace") != namespace {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(StatusError::bad_request(message));
    } else {
        set_meta(object, "namespace", Some(namespace.into()));
    }
    Ok(())
}

/// What the server itself writes into a new object.
fn prepare_for_create(resource: &Resource, object: &mut Value) {
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "selfLink"] {
        set_meta(object, field, None);
    }
    set_meta(object, "uid", Some(uuid::Uuid::new_v4().to_string().into()));
    set_meta(object, "creationTimestamp", Some(rfc3339(Timestamp::now()).into()));
    set_meta(object, "generation", has_generation(resource).then(|| 1.into()));
    // A kubelet registers its node together with the status; everywhere else status is for the subresource.
    if resource.status && !resource.is_core("nodes") {
        let phase = match (resource.group, resource.plural) {
            ("", "namespaces") => Some("Active"),
            ("", "pods" | "persistentvolumes" | "persistentvolumeclaims") => Some("Pending"),
            _ => None,
        };
        set_member(object, "status", phase.map(|phase| json!({ "phase": phase })));
    }
    if resource.is_core("namespaces") {
        let name = meta(object, "name").to_owned();
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        let labels = metadata.map(|metadata| metadata.entry("labels").or_insert_with(|| json!({})));
        if let Some(labels) = labels.and_then(Value::as_object_mut) {
            labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
        }
    }
}

/// Carries over what an update cannot change.
fn keep_system_fields(resource: &Resource, old: &Value, new: &mut Value) {
    let metadata = old.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    for field in [
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
        "managedFields",
    ] {
        set_meta(new, field, metadata.get(field).cloned());
    }
    if resource.status {
        set_member(new, "status", old.get("status").cloned());
    }
}

fn set_member(object: &mut Value, field: &str, value: Option<Value>) {
    if let Some(map) = object.as_object_mut() {
        match value {
            Some(value) => map.insert(field.to_owned(), value),
            None => map.remove(field),
        };
    }
}

/// Kinds of the core group do not count generations (pods do, but nothing reads it).
fn has_generation(resource: &Resource) -> bool {
    resource.status && !resource.group.is_empty()
}

fn raise_generation(object: &mut Value) {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    if let Some(generation) = generation {
        set_meta(object, "generation", Some((generation + 1).into()));
    }
}

fn differ_outside_status(old: &Value, new: &Value) -> bool {
    let rest = |object: &Value| -> Option<Map<String, Value>> {
        let mut map = object.as_object()?.clone();
        map.retain(|key, _| key != "metadata" && key != "status");
        Some(map)
    };
    rest(old) != rest(new)
}

fn finalizers(object: &Value) -> Vec<&str> {
    let list = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn is_deleted(object: &Value) -> bool {
    !meta(object, "deletionTimestamp").is_empty()
}

/// The pod's spec without the fields that may change.
fn fixed_pod_spec(pod: &Value) -> Value {
    let mut spec = pod.get("spec").cloned().unwrap_or_default();
    for field in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"] {
        set_member(&mut spec, field, None);
    }
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            set_member(container, "image", None);
        }
    }
    spec
}

/// The seconds a kubelet has to stop a pod: none when no kubelet has it or it has already ended.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let text = |pointer| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/spec/nodeName").is_empty() || matches!(text("/status/phase"), "Failed" | "Succeeded") {
        return 0;
    }
    let own = pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    let seconds = asked.or(own).unwrap_or(DEFAULT_GRACE_SECONDS);
    if seconds < 0 { 1 } else { seconds }
}

/// `metadata.name` as RFC 1123 subdomain, or label for the kinds that become one DNS label.
fn name_cause(resource: &Resource, object: &Value) -> Option<Cause> {
    let name = meta(object, "name");
    let is_label = resource.is_core("namespaces") || resource.is_core("services");
    let label = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-')
    };
    let valid = if is_label {
        name.len() <= 63 && label(name)
    } else {
        name.len() <= 253 && name.split('.').all(label)
    };
    let message = match (name, is_label) {
        _ if valid => return None,
        ("", _) => "Required value: name or generateName is required".to_owned(),
        (_, true) => format!(
            "Invalid value: {name:?}: a lowercase RFC 1123 label must consist of at most 63 lower case alphanumeric \
             characters or '-', and must start and end with an alphanumeric character"
        ),
        (_, false) => format!(
            "Invalid value: {name:?}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
             characters, '-' or '.', and must start and end with an alphanumeric character"
        ),
    };
    Some(Cause { field: "metadata.name".to_owned(), message })
}

/// Five characters of the alphabet that Kubernetes uses: nothing that spells a word or looks like another.
fn random_suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let random = uuid::Uuid::new_v4().into_bytes();
    random
        .iter()
        .take(5)
        .filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()))
        .map(|c| char::from(*c))
        .collect()
}

/// Whole seconds in UTC, as `meta/v1.Time` is written.
fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
