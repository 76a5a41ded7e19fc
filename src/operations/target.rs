//! One experiment on the API server: where it is, and the smaller writes to it.

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::Kind;
use crate::api::PAUSE_ANNOTATION;
use crate::manifest::Object;
use crate::report::{Trouble, Turn};

/// Where an experiment is, or goes.
#[derive(Clone)]
pub struct Target {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The API of its kind in its namespace.
    pub api: Api<DynamicObject>,
}

impl Target {
    /// The place of `object`: in the namespace that it names, else in `namespace`, else in the client's own.
    ///
    /// # Errors
    /// The object is of a kind without a word.
    pub fn new(client: &Client, object: &Object, namespace: Option<&str>) -> Result<Self, Trouble> {
        let kind = Kind::known(object.kind)
            .ok_or_else(|| Trouble::new(format!("the kind {} is not known here", object.kind)))?;
        let namespace = object.namespace.as_deref().or(namespace);
        let namespace = namespace.unwrap_or_else(|| client.default_namespace()).to_owned();
        Ok(Self::named(client, kind, namespace, object.name.clone()))
    }

    /// An object by its name.
    pub fn named(client: &Client, kind: Kind, namespace: String, name: String) -> Self {
        let api = kind.api(client, Some(&namespace));
        Self { kind, namespace, name, api }
    }

    /// `networkchaos.chaos-mesh.org/partition`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.kind.singular(), self.name)
    }

    /// It should be there and is not.
    pub(super) fn missing(&self) -> Trouble {
        Trouble::new(format!("{} does not exist in namespace {}", self.label(), self.namespace))
            .cure("`squall status` lists the experiments of all namespaces")
    }

    /// Begins to end the experiment: deletes it, and does not wait until it is undone. Its UID, by which
    /// [`follow::gone`](super::follow::gone) knows it.
    ///
    /// # Errors
    /// What the API server answers, as where there is no such experiment.
    pub async fn stop(&self) -> Result<Option<String>, Trouble> {
        let failed = |error| Trouble::api(format!("stop {}", self.label()), &error);
        let uid = self.api.get(&self.name).await.map_err(failed)?.uid();
        self.delete(uid.as_deref()).await?;
        Ok(uid)
    }

    /// Deletes the object, if it is still the one with this UID; gone is as good.
    ///
    /// # Errors
    /// What the API server answers.
    pub async fn delete(&self, uid: Option<&str>) -> Result<(), Trouble> {
        let mut parameters = DeleteParams::default();
        if let Some(uid) = uid {
            parameters =
                parameters.preconditions(Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        }
        match self.api.delete(&self.name, &parameters).await {
            Ok(_) => Ok(()),
            // A conflict means that another object has the name now.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
            Err(error) => Err(Trouble::api(format!("delete {}", self.label()), &error)),
        }
    }

    /// The UID of the experiment, if it can be turned.
    async fn turnable(&self, turn: Turn) -> Result<String, Trouble> {
        let label = self.label();
        let failed = |error| Trouble::api(format!("{} {label}", turn.verb()), &error);
        let object = self.api.get_opt(&self.name).await.map_err(failed)?.ok_or_else(|| self.missing())?;
        match turn.hindrance(&object, &label, &self.kind.resource.plural) {
            Some(trouble) => Err(trouble),
            None => Ok(object.uid().unwrap_or_default()),
        }
    }
}

/// Pauses or resumes these experiments, none of them if one cannot be; does not wait until their faults are gone or back.
/// Their UIDs.
///
/// # Errors
/// The first that cannot be turned, and why; what the API server answers.
pub async fn turn(turn: Turn, targets: &[Target]) -> Result<Vec<String>, Trouble> {
    let mut uids = Vec::new();
    for target in targets {
        uids.push(target.turnable(turn).await?);
    }
    let annotation = match turn {
        Turn::Pause => json!("true"),
        Turn::Resume => json!(null),
    };
    let patch = Patch::Merge(json!({"metadata": {"annotations": {PAUSE_ANNOTATION: annotation}}}));
    for target in targets {
        let patched = target.api.patch(&target.name, &PatchParams::default(), &patch).await;
        patched.map_err(|error| Trouble::api(format!("{} {}", turn.verb(), target.label()), &error))?;
    }
    Ok(uids)
}
