//! Experiments to the API server: created, changed, or started again.

use std::time::Duration;

use kube::ResourceExt;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Map, Value, json};

use super::{Target, follow};
use crate::api;
use crate::manifest::Object;
use crate::report::{Change, Stage, Trouble, stage, status};

impl Target {
    /// Creates the object, or makes the spec of the stored one that of `object`.
    ///
    /// # Errors
    /// What the API server answers, and an object that is being deleted.
    pub async fn apply(&self, object: &Object) -> Result<Change, Trouble> {
        match self.create(object).await {
            Ok(_) => return Ok(Change::Created),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => return Err(Trouble::api(format!("create {}", self.label()), &error)),
        }
        let failed = |error| Trouble::api(format!("change {}", self.label()), &error);
        let stored = self.api.get(&self.name).await.map_err(failed)?;
        if stored.metadata.deletion_timestamp.is_some() {
            return Err(Trouble::new(format!("{} is being deleted", self.label()))
                .cure("apply it again when `squall get networkchaos` no longer shows it"));
        }
        let stored = serde_json::to_value(&stored).map_err(|error| Trouble::new(error.to_string()))?;
        let Some(patch) = patch(object, &stored) else { return Ok(Change::Unchanged) };
        self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(failed)?;
        Ok(Change::Configured)
    }

    /// Creates the experiment; takes the place of one of the same name that is over, for whose end it waits `timeout`
    /// at most. The stored object.
    ///
    /// # Errors
    /// What the API server answers, and an experiment of that name that is not over.
    pub async fn start(&self, object: &Object, timeout: Duration) -> Result<DynamicObject, Trouble> {
        let failed = |error| Trouble::api(format!("create {}", self.label()), &error);
        match self.create(object).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            result => return result.map_err(failed),
        }
        if let Some(old) = self.api.get_opt(&self.name).await.map_err(failed)? {
            if old.metadata.deletion_timestamp.is_none() {
                match stage(&status(&old)) {
                    Stage::Recovered { .. } | Stage::Invalid(_) => {}
                    Stage::Active | Stage::Recovering => return Err(self.active()),
                }
            }
            self.delete(old.uid().as_deref()).await?;
            if !follow::gone(self, old.uid().as_deref(), timeout).await {
                return Err(self.active());
            }
        }
        self.create(object).await.map_err(failed)
    }

    fn active(&self) -> Trouble {
        let (word, name) = (&self.kind.resource.plural, &self.name);
        Trouble::new(format!("{} is active already", self.label())).cure(format!(
            "end it with `squall stop {word} {name} -n {}`, or give this one another name",
            self.namespace
        ))
    }

    /// Creates the object. The client's own error: callers tell apart that it exists already.
    async fn create(&self, object: &Object) -> kube::Result<DynamicObject> {
        let mut new = object.value.clone();
        if let Some(Value::Object(metadata)) = new.get_mut("metadata") {
            metadata.insert("namespace".to_owned(), self.namespace.clone().into());
        }
        let new = serde_json::from_value(new).map_err(kube::Error::SerdeError)?;
        self.api.create(&PostParams::default(), &new).await
    }
}

/// The merge patch (RFC 7396) that makes the spec of `stored` that of the file, and adds the file's labels and
/// annotations; nothing if that is how it is.
///
/// A field that the file no longer has is removed, but labels and annotations that others have set stay.
fn patch(object: &Object, stored: &Value) -> Option<Value> {
    // With defaults, as the stored object has them: a default that is not written out is no difference.
    let mut wanted = object.value.clone();
    if let Some(kind) = api::custom_kinds().iter().find(|kind| kind.kind == object.kind) {
        // The file was checked when it was read.
        if api::admit(kind.group, kind.kind, None, &mut wanted).is_err() {
            wanted = object.value.clone();
        }
    }
    let mut patch = Map::new();
    if let Some(spec) = difference(stored.get("spec"), wanted.get("spec"), true) {
        patch.insert("spec".to_owned(), spec);
    }
    let mut metadata = Map::new();
    for field in ["labels", "annotations"] {
        let of = |object: &Value| object.pointer(&format!("/metadata/{field}")).cloned();
        if let Some(new) = difference(of(stored).as_ref(), of(&wanted).as_ref(), false) {
            metadata.insert(field.to_owned(), new);
        }
    }
    if !metadata.is_empty() {
        patch.insert("metadata".to_owned(), Value::Object(metadata));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// The merge patch from `old` to `new`. What `new` does not have goes away if `removes`.
fn difference(old: Option<&Value>, new: Option<&Value>, removes: bool) -> Option<Value> {
    match (old, new) {
        (old, Some(new)) if old == Some(new) => None,
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let mut patch = Map::new();
            for (key, value) in new {
                if let Some(value) = difference(old.get(key), Some(value), removes) {
                    patch.insert(key.clone(), value);
                }
            }
            for key in old.keys().filter(|key| removes && !new.contains_key(*key)) {
                patch.insert(key.clone(), json!(null));
            }
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        (_, Some(new)) => Some(new.clone()),
        (_, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;

    const FILE: &str = "
apiVersion: chaos-mesh.org/v1alpha1
kind: NetworkChaos
metadata: {name: p, labels: {team: a}}
spec:
  action: partition
  mode: all
  selector: {labelSelectors: {app: mongo}}
  duration: 1m
";

    fn object(text: &str) -> Object {
        manifest::read(text.as_bytes()).objects.remove(0)
    }

    fn stored(text: &str) -> Value {
        let mut stored = object(text).value;
        api::admit("chaos-mesh.org", "NetworkChaos", None, &mut stored).unwrap();
        stored["metadata"]["labels"]["others"] = json!("stay");
        stored["status"] = json!({"experiment": {}});
        stored
    }

    #[test]
    fn the_same_file_changes_nothing() {
        assert_eq!(patch(&object(FILE), &stored(FILE)), None);
    }

    #[test]
    fn what_the_file_changes_is_patched_and_what_it_drops_is_removed() {
        let changed = FILE
            .replace("  duration: 1m\n", "")
            .replace("mode: all", "mode: one")
            .replace("team: a", "team: b");
        assert_eq!(
            patch(&object(&changed), &stored(FILE)),
            Some(json!({"spec": {"duration": null, "mode": "one"}, "metadata": {"labels": {"team": "b"}}}))
        );
    }

    #[test]
    fn a_selector_is_replaced_not_added_to() {
        let changed = FILE.replace("app: mongo", "tier: db");
        let patch = patch(&object(&changed), &stored(FILE)).unwrap();
        assert_eq!(patch["spec"]["selector"]["labelSelectors"], json!({"app": null, "tier": "db"}));
    }
}
