//! What a write means: the rules of metadata, versions, subresources, finalizers and graceful deletion.
//!
//! Follows `k8s.io/apiserver/pkg/registry` (`rest.BeforeCreate`, `BeforeUpdate`, `BeforeDelete`, `generic/registry.Store`).
//! Each write runs under the store's lock from its read to its commit, so a patch is never computed from a stale object.
//! Owner references are not followed: garbage collection is a controller's work, not the server's.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::{Value, json};

use super::patch::Update;
use super::request::check_kind;
use super::selectors::Selector;
use super::store::{Key, Object, Scope, Store, meta, set_member, set_meta};
use super::{Cause, Config, Resource, StatusError};

/// Grace of a pod that names none: the API's default for `spec.terminationGracePeriodSeconds`.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// Metadata that only the server writes; the last two with the deletion.
const SYSTEM_FIELDS: [&str; 4] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];

/// A longer `generateName` is cut, so that the name fits a DNS label.
const MAX_GENERATE_NAME: usize = 58;

/// The object as a write left it.
type Stored = Result<Arc<Object>, StatusError>;

/// What was deleted, and whether it is gone already.
type Deleted = (Arc<Object>, bool);

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
    pub(super) fn create(&mut self, namespace: &str, mut object: Value) -> Stored {
        check_kind(self.resource, &mut object)?;
        set_namespace(self.resource, &mut object, namespace)?;
        if !meta(&object, "resourceVersion").is_empty() {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(StatusError::bad_request(message));
        }
        let base: String = meta(&object, "generateName").chars().take(MAX_GENERATE_NAME).collect();
        let mut key = (namespace.to_owned(), meta(&object, "name").to_owned());
        if key.1.is_empty() && !base.is_empty() {
            while key.1.is_empty() || self.store.get(self.table, &key).is_some() {
                key.1 = format!("{base}{}", random_suffix());
            }
            set_meta(&mut object, "name", Some(key.1.clone().into()));
        }
        self.check_namespace(&key)?;
        prepare_for_create(self.resource, &mut object);
        self.admit(None, &mut object)?;
        if self.store.get(self.table, &key).is_some() {
            return Err(StatusError::already_exists(self.resource, &key.1));
        }
        self.make_room_for_event();
        self.commit(&key, object)
    }

    /// Replaces or patches an object; through the status subresource nothing but the status changes.
    pub(super) fn update(&mut self, key: &Key, update: Update, status: bool) -> Stored {
        let old = self.find(key)?;
        let is_patch = !matches!(update, Update::Replace(_));
        let mut new = update.apply(&old.value)?;
        check_kind(self.resource, &mut new)?;
        set_namespace(self.resource, &mut new, &key.0)?;
        if meta(&new, "name") != key.1 {
            let (found, expected) = (meta(&new, "name"), &key.1);
            let message =
                format!("the name of the object ({found}) does not match the name on the URL ({expected})");
            return Err(StatusError::bad_request(message));
        }
        self.check_version(&old, &new, is_patch)?;
        if status {
            let status = new.get("status").cloned();
            new = old.value.clone();
            set_member(&mut new, "status", status);
        } else {
            self.check_metadata(&old.value, &new)?;
            keep_system_fields(self.resource, &old.value, &mut new);
        }
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
        if grace(&new) == Some(0) && finalizers(&new).is_empty() && !self.dry_run {
            self.remove(key);
            return Ok(Object::new(new, self.store.version()));
        }
        self.commit(key, new)
    }

    /// Deletes an object, or starts to: one with finalizers stays until they are gone, a pod on a node until its kubelet
    /// deletes it with a grace period of zero.
    pub(super) fn delete(&mut self, key: &Key, options: &DeleteOptions) -> Result<Deleted, StatusError> {
        let old = self.find(key)?;
        self.check_preconditions(&old, options)?;
        let asked = options.grace_period_seconds;
        let is_namespace = self.resource.is_core("namespaces");
        let seconds = if self.resource.is_core("pods") { pod_grace(&old.value, asked) } else { 0 };
        // Once deletion is under way, it can only be made shorter.
        let pending = grace(&old.value).is_some_and(|running| asked.is_none() || seconds >= running);
        let tried_only = options.dry_run.as_ref().is_some_and(|stages| !stages.is_empty());
        if pending || self.dry_run || tried_only {
            return Ok((old, false));
        }
        if seconds == 0 && finalizers(&old.value).is_empty() && !is_namespace {
            self.remove(key);
            return Ok((old, true));
        }
        let mut new = old.value.clone();
        set_meta(&mut new, "deletionTimestamp", Some(seconds_from_now(seconds).into()));
        set_meta(&mut new, "deletionGracePeriodSeconds", Some(seconds.into()));
        raise_generation(&mut new);
        if is_namespace {
            set_member(&mut new, "status", Some(json!({ "phase": "Terminating" })));
        }
        let marked = self.commit(key, new)?;
        if is_namespace {
            self.empty_namespace(&key.1);
        }
        Ok((marked, false))
    }

    fn find(&self, key: &Key) -> Stored {
        let found = self.store.get(self.table, key).cloned();
        found.ok_or_else(|| StatusError::not_found(self.resource, &key.1))
    }

    fn commit(&mut self, key: &Key, object: Value) -> Stored {
        if self.dry_run {
            return Ok(Object::new(object, self.store.version()));
        }
        let stored = self.store.commit(self.table, key.clone(), Some(object));
        stored.ok_or_else(|| StatusError::internal("no such table"))
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
        let invalid = || Err(StatusError::invalid(self.resource, meta(new, "name"), &causes));
        if causes.is_empty() { Ok(()) } else { invalid() }
    }

    fn invalid<T>(&self, name: &str, field: &str, message: String) -> Result<T, StatusError> {
        let cause = Cause { field: field.to_owned(), message };
        Err(StatusError::invalid(self.resource, name, &[cause]))
    }

    fn check_namespace(&self, key: &Key) -> Result<(), StatusError> {
        let namespaces = self.config.find("", "namespaces").filter(|_| self.resource.namespaced);
        let Some((table, resource)) = namespaces else { return Ok(()) };
        match self.store.get(table, &(String::new(), key.0.clone())) {
            None => Err(StatusError::not_found(resource, &key.0)),
            Some(found) if is_deleted(&found.value) => {
                Err(StatusError::namespace_terminating(self.resource, &key.1, &key.0))
            }
            Some(_) => Ok(()),
        }
    }

    fn check_version(&self, old: &Object, new: &Value, is_patch: bool) -> Result<(), StatusError> {
        let name = old.meta("name");
        let (version, uid) = (meta(new, "resourceVersion"), meta(new, "uid"));
        // Leases and custom kinds do not allow an update that ignores what happened in between.
        let conditional = self.resource.is_custom() || self.resource.plural == "leases";
        if version.is_empty() && !is_patch && conditional {
            let message = "Invalid value: 0: must be specified for an update".to_owned();
            return self.invalid(name, "metadata.resourceVersion", message);
        }
        if !version.is_empty() && version != old.meta("resourceVersion") {
            let why =
                "the object has been modified; please apply your changes to the latest version and try again";
            return Err(StatusError::conflict(self.resource, name, why));
        }
        if !is_patch && !uid.is_empty() && uid != old.meta("uid") {
            let found = old.meta("uid");
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
            return Err(StatusError::conflict(self.resource, name, &why));
        }
        Ok(())
    }

    fn check_metadata(&self, old: &Value, new: &Value) -> Result<(), StatusError> {
        let name = meta(old, "name");
        // What a deleted object says about its deletion is kept whatever the update says.
        for field in SYSTEM_FIELDS.iter().take(if is_deleted(old) { 2 } else { 4 }) {
            let pointer = format!("/metadata/{field}");
            if let Some(value) = new.pointer(&pointer).filter(|value| !value.is_null())
                && Some(value) != old.pointer(&pointer)
            {
                let message = format!("Invalid value: {value}: field is immutable");
                return self.invalid(name, &format!("metadata.{field}"), message);
            }
        }
        let before = finalizers(old);
        let added: Vec<&str> = finalizers(new).into_iter().filter(|name| !before.contains(name)).collect();
        if is_deleted(old) && !added.is_empty() {
            let why = "no new finalizers can be added if the object is being deleted, found new finalizers";
            return self.invalid(name, "metadata.finalizers", format!("Forbidden: {why} {added:?}"));
        }
        Ok(())
    }

    /// A pod is what its kubelet started: of its spec only images and few other fields may change.
    fn check_pod_spec(&self, old: &Value, new: &Value) -> Result<(), StatusError> {
        // A scheduler binds the pod once, here by a patch; real servers have a subresource for it (`pods/binding`).
        let bound = old.pointer("/spec/nodeName").is_some();
        if !self.resource.is_core("pods") || fixed_pod_spec(old, bound) == fixed_pod_spec(new, bound) {
            return Ok(());
        }
        let message = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
            `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
            tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        self.invalid(meta(old, "name"), "spec", message.to_owned())
    }

    fn check_preconditions(&self, old: &Object, options: &DeleteOptions) -> Result<(), StatusError> {
        let wanted = options.preconditions.as_ref();
        let (uid, version) =
            (wanted.and_then(|w| w.uid.as_ref()), wanted.and_then(|w| w.resource_version.as_ref()));
        for (what, wanted, field) in [("UID", uid, "uid"), ("ResourceVersion", version, "resourceVersion")] {
            let found = old.meta(field);
            if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
                let why = format!(
                    "the {what} in the precondition ({wanted}) does not match the one in record ({found})"
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

/// Removes a namespace that is being deleted once nothing is left in it.
fn finish_namespace(config: &Config, store: &mut Store, namespace: &str) {
    let Some((table, _)) = config.find("", "namespaces") else { return };
    let key = (String::new(), namespace.to_owned());
    let terminating = store.get(table, &key).is_some_and(|found| is_deleted(&found.value));
    let scope = Scope { namespace: namespace.to_owned(), selector: Selector::default() };
    let mut tables = config.resources.iter().enumerate().filter(|(_, resource)| resource.namespaced);
    if terminating && !tables.any(|(table, _)| store.list(table, &scope).next().is_some()) {
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
    for field in SYSTEM_FIELDS {
        set_meta(object, field, None);
    }
    set_meta(object, "uid", Some(uuid::Uuid::new_v4().to_string().into()));
    set_meta(object, "creationTimestamp", Some(seconds_from_now(0).into()));
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
        let labels = json!({ "kubernetes.io/metadata.name": meta(object, "name") });
        json_patch::merge(object, &json!({ "metadata": { "labels": labels } }));
    }
}

/// Carries over what an update cannot change.
fn keep_system_fields(resource: &Resource, old: &Value, new: &mut Value) {
    for field in SYSTEM_FIELDS.into_iter().chain(["generation", "resourceVersion"]) {
        set_meta(new, field, old.pointer(&format!("/metadata/{field}")).cloned());
    }
    if resource.status {
        set_member(new, "status", old.get("status").cloned());
    }
}

/// Kinds of the core group do not count generations (pods do, but nothing reads it).
fn has_generation(resource: &Resource) -> bool {
    resource.status && !resource.group.is_empty()
}

fn raise_generation(object: &mut Value) {
    if let Some(generation) = object.pointer("/metadata/generation").and_then(Value::as_i64) {
        set_meta(object, "generation", Some((generation + 1).into()));
    }
}

fn differ_outside_status(old: &Value, new: &Value) -> bool {
    let rest = |object: &Value| {
        let mut rest = object.clone();
        set_member(&mut rest, "metadata", None);
        set_member(&mut rest, "status", None);
        rest
    };
    rest(old) != rest(new)
}

fn finalizers(object: &Value) -> Vec<&str> {
    let list = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The grace period of an object that is being deleted.
fn grace(object: &Value) -> Option<i64> {
    object.pointer("/metadata/deletionGracePeriodSeconds")?.as_i64()
}

fn is_deleted(object: &Value) -> bool {
    !meta(object, "deletionTimestamp").is_empty()
}

/// The pod's spec without the fields that may change.
fn fixed_pod_spec(pod: &Value, bound: bool) -> Value {
    let mut spec = pod.get("spec").cloned().unwrap_or_default();
    let fields = ["nodeName", "activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"];
    for field in fields.into_iter().skip(usize::from(bound)) {
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
    let label = |text: &str| {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        plain && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
    };
    let is_label = resource.is_core("namespaces") || resource.is_core("services");
    let (what, dot, longest) = if is_label { ("label", "", 63) } else { ("subdomain", " '.'", 253) };
    if name.len() <= longest && name.split('.').all(label) && !(is_label && name.contains('.')) {
        return None;
    }
    let message = if name.is_empty() {
        "Required value: name or generateName is required".to_owned()
    } else {
        format!(
            "Invalid value: {name:?}: a lowercase RFC 1123 {what} must consist of at most {longest} lower case alphanumeric \
             characters, '-'{dot}, and must start and end with an alphanumeric character"
        )
    };
    Some(Cause { field: "metadata.name".to_owned(), message })
}

/// Five characters, which with the server's retry is enough for any number of objects that fits in memory.
fn random_suffix() -> String {
    uuid::Uuid::new_v4().simple().to_string().chars().take(5).collect()
}

/// A time in UTC as `meta/v1.Time` is written.
fn seconds_from_now(seconds: i64) -> String {
    let time = Timestamp::now().saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
