//! `squall apply`: experiments from files to the API server.

use std::path::PathBuf;

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Map, Value, json};

use super::exit::{EXIT_CODES, Exit, Failure, Result};
use super::kinds::Kind;
use super::world::{World, WorldArgs};
use super::{Out, files};
use crate::api;
use crate::manifest::Object;

/// Create the experiments of a file, or change those that exist
///
/// Every file is checked first: what is wrong is reported with line and column, and then nothing is
/// applied. An experiment begins as soon as it exists. `apply` does not wait for it: `squall get networkchaos`
/// shows how it goes, `squall stop` ends it.
#[derive(clap::Args, Debug)]
#[command(after_long_help = format!("Examples:
  squall apply -f templates/partition.yaml
  squall apply -n staging -f a.yaml -f b.yaml
  generate-experiment | squall apply -f -

{EXIT_CODES}"))]
pub(crate) struct Args {
    /// File with experiments, - for standard input; may be repeated
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    file: Vec<PathBuf>,
    /// Namespace of experiments that name none
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        let objects = files::read(&self.file, out)?;
        let world = World::find(world).await?;
        world.announce(out);
        for object in &objects {
            let target = Target::new(object, &world, self.namespace.as_deref())?;
            let change = target.apply(object).await?;
            out.line(&format!("{} {}", target.label(), change.word()))?;
        }
        Ok(Exit::Success)
    }
}

/// Where an experiment of a file goes.
pub(crate) struct Target {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// The API of its kind in its namespace.
    pub(crate) api: Api<DynamicObject>,
}

/// What became of the stored object.
enum Change {
    Created,
    Configured,
    Unchanged,
}

impl Change {
    const fn word(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

impl Target {
    /// The place of `object` in `world`.
    pub(crate) fn new(object: &Object, world: &World, namespace: Option<&str>) -> Result<Self> {
        let namespace = world.namespace(object.namespace.as_deref(), namespace);
        let kind = Kind::known(object.kind)
            .ok_or_else(|| Failure::message(format!("the kind {} is not known here", object.kind)))?;
        Ok(Self::named(kind, &world.client, namespace, object.name.clone()))
    }

    /// An object by its name.
    pub(crate) fn named(kind: Kind, client: &Client, namespace: String, name: String) -> Self {
        let api = kind.api(client, Some(&namespace));
        Self { kind, namespace, name, api }
    }

    /// `networkchaos.chaos-mesh.org/partition`.
    pub(crate) fn label(&self) -> String {
        format!("{}/{}", self.kind.singular(), self.name)
    }

    /// Creates the object.
    ///
    /// # Errors
    /// The client's own error: callers tell apart that it exists already.
    pub(crate) async fn create(&self, object: &Object) -> kube::Result<DynamicObject> {
        let mut new = object.value.clone();
        if let Some(Value::Object(metadata)) = new.get_mut("metadata") {
            metadata.insert("namespace".to_owned(), self.namespace.clone().into());
        }
        let new = serde_json::from_value(new).map_err(kube::Error::SerdeError)?;
        self.api.create(&PostParams::default(), &new).await
    }

    async fn apply(&self, object: &Object) -> Result<Change> {
        match self.create(object).await {
            Ok(_) => return Ok(Change::Created),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => return Err(Failure::api(format!("create {}", self.label()), &error)),
        }
        let failed = |error| Failure::api(format!("change {}", self.label()), &error);
        let stored = self.api.get(&self.name).await.map_err(failed)?;
        if stored.metadata.deletion_timestamp.is_some() {
            return Err(Failure::message(format!("{} is being deleted", self.label()))
                .cure("apply it again when `squall get networkchaos` no longer shows it"));
        }
        let stored = serde_json::to_value(&stored)?;
        let Some(patch) = patch(object, &stored) else { return Ok(Change::Unchanged) };
        self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(failed)?;
        Ok(Change::Configured)
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
