//! Taking an installation away, in an order in which whoever undoes faults goes after the faults.
//!
//! Each step can be taken again: what is gone already is no error.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::time::Instant;

use super::api;
use crate::api::{
    Halt, HaltSpec, Injection, PART_OF_LABEL, RECORDS_FINALIZER, RECOVERED_FINALIZER, SYSTEM_NAMESPACE,
};
use crate::experiment::lifecycle::{Release, release};
use crate::experiment::world::World;
use crate::install::{PART_OF, Part};
use crate::operations::{Kind, halt};
use crate::report::Trouble;

/// The Halt that stands while Squall is being removed.
pub const HALT: &str = "uninstall";

/// How often it is looked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a policy that was taken away may still be in force: until every API server has heard of it.
const IN_FORCE_FOR: Duration = Duration::from_secs(20);

/// Which of the parts are there, and ours.
///
/// # Errors
/// What the API server answers.
pub async fn present(client: &Client, parts: &[Part]) -> Result<Vec<Part>, Trouble> {
    let mut found = Vec::new();
    for part in parts {
        let object = api(client, part).get_metadata_opt(&part.name).await;
        let object = match object {
            Ok(object) => object,
            Err(kube::Error::Api(status)) if status.is_not_found() => None,
            Err(error) => return Err(Trouble::api(format!("read {}", part.label()), &error)),
        };
        let ours = |labels: &std::collections::BTreeMap<String, String>| {
            labels.get(PART_OF_LABEL).is_some_and(|of| of == PART_OF)
        };
        if object.is_some_and(|object| ours(object.labels())) {
            found.push(part.clone());
        }
    }
    Ok(found)
}

/// One experiment.
pub struct Experiment {
    /// `networkchaos.chaos-mesh.org/NAME -n NAMESPACE`.
    pub label: String,
    resource: ApiResource,
    object: DynamicObject,
}

impl Experiment {
    fn api(&self, client: &Client) -> Api<DynamicObject> {
        let namespace = self.object.namespace().unwrap_or_default();
        Api::namespaced_with(client.clone(), &namespace, &self.resource)
    }
}

/// Every experiment in the cluster. A kind that is not served has none.
///
/// # Errors
/// What the API server answers.
pub async fn experiments(client: &Client) -> Result<Vec<Experiment>, Trouble> {
    let mut all = Vec::new();
    for kind in Kind::experiments() {
        let plural = kind.resource.plural.clone();
        let objects = listed(&kind.api(client, None), &plural).await?;
        all.extend(objects.into_iter().map(|object| {
            let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
            let label = format!("{plural} {namespace}/{name}");
            Experiment { label, resource: kind.resource.clone(), object }
        }));
    }
    Ok(all)
}

/// Every Injection.
///
/// # Errors
/// What the API server answers.
pub async fn injections(client: &Client) -> Result<Vec<Injection>, Trouble> {
    listed(&Api::namespaced(client.clone(), SYSTEM_NAMESPACE), "injections").await
}

async fn listed<K>(api: &Api<K>, plural: &str) -> Result<Vec<K>, Trouble>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    match api.list(&ListParams::default()).await {
        Ok(list) => Ok(list.items),
        // An unknown path is answered in plain text: only the code tells.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(error) => Err(Trouble::api(format!("list {plural}"), &error)),
    }
}

/// Stops everything, with a Halt that one of an earlier try may be.
///
/// # Errors
/// What the API server answers.
pub async fn halt_everything(client: &Client) -> Result<(), Trouble> {
    let spec = HaltSpec { reason: Some("Squall is being uninstalled".to_owned()), ..HaltSpec::default() };
    if halt::list(client).await?.iter().any(|halt| halt.name_any() == HALT) {
        return Ok(());
    }
    halt::create(client, spec, Some(HALT)).await.map(drop)
}

/// Whether faults can be stopped: where the kind of a Halt is not served, an earlier try has come as far as the kinds.
///
/// # Errors
/// What the API server answers.
pub async fn is_served(client: &Client) -> Result<bool, Trouble> {
    match Api::<Halt>::all(client.clone()).list(&ListParams::default()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(Trouble::api("list halts", &error)),
    }
}

/// Deletes every experiment; the controller lets go of each when nothing is left of it.
///
/// # Errors
/// What the API server answers.
pub async fn delete_experiments(client: &Client, experiments: &[Experiment]) -> Result<(), Trouble> {
    for experiment in experiments {
        let name = experiment.object.name_any();
        match experiment.api(client).delete(&name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(Trouble::api(format!("delete {}", experiment.label), &error)),
        }
    }
    Ok(())
}

/// What is left of experiments whose Injections are no more: nobody may be there who would let go of them.
///
/// # Errors
/// What the API server answers.
pub async fn release_experiments(client: &Client, experiments: &[Experiment]) -> Result<(), Trouble> {
    for experiment in experiments {
        let api = experiment.api(client);
        let label = &experiment.label;
        strip(&api, &experiment.object.name_any(), RECORDS_FINALIZER, label).await?;
    }
    Ok(())
}

/// How far the Injections are whose experiments are gone.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// Those that may go, with what is not known of them, if something is not.
    pub free: Vec<(Injection, Option<String>)>,
    /// Those that nobody knows to be undone, one line each.
    pub held: Vec<String>,
}

/// Looks at what is left, by the very rule of the controller.
///
/// # Errors
/// What the API server answers.
pub async fn leftovers(client: &Client) -> Result<Leftovers, Trouble> {
    let nodes: Vec<Node> = listed(&Api::all(client.clone()), "nodes").await?;
    let world = World::new(Vec::new(), nodes.into_iter().map(Arc::new).collect(), Vec::new(), Vec::new());
    let mut left = Leftovers::default();
    for injection in injections(client).await? {
        match release(&injection, &world, Timestamp::now(), false) {
            Some(Release::Clear) => left.free.push((injection, None)),
            Some(Release::Unread(why)) => left.free.push((injection, Some(why))),
            Some(Release::Left) | None => left.held.push(line_of(&injection)),
        }
    }
    Ok(left)
}

/// Which fault it is, where, and what its daemon says.
fn line_of(injection: &Injection) -> String {
    let of = &injection.spec.experiment;
    let mut errors = injection.status.iter().flat_map(|status| &status.targets);
    let error = errors.find_map(|target| target.error.as_deref());
    let says = match (error, &injection.status) {
        (Some(error), _) => error,
        (None, Some(_)) => "its daemon has not said that it is undone",
        (None, None) => "its daemon has said nothing yet",
    };
    let kind = of.kind.to_ascii_lowercase();
    format!("{kind} {}/{} on {}: {says}", of.namespace, of.name, injection.spec.node)
}

/// Takes the finalizer off an Injection, once no policy is against it any more.
///
/// # Errors
/// What the API server answers.
pub async fn release_injection(client: &Client, injection: &Injection) -> Result<(), Trouble> {
    let api: Api<Injection> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let name = injection.name_any();
    let label = format!("injection.squall.dev/{name}");
    let end = Instant::now() + IN_FORCE_FOR;
    loop {
        match strip(&api, &name, RECOVERED_FINALIZER, &label).await {
            Err(_denied) if Instant::now() < end => tokio::time::sleep(LOOK_EVERY).await,
            done => break done?,
        }
    }
    match api.delete(&name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Trouble::api(format!("delete {label}"), &error)),
    }
}

/// Takes one finalizer off.
async fn strip<K>(api: &Api<K>, name: &str, finalizer: &str, label: &str) -> Result<(), Trouble>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let failed = |error: &kube::Error| Trouble::api(format!("let go of {label}"), error);
    let Some(object) = api.get_metadata_opt(name).await.map_err(|error| failed(&error))? else {
        return Ok(());
    };
    let finalizers = object.metadata.finalizers.unwrap_or_default();
    let kept: Vec<_> = finalizers.iter().filter(|one| *one != finalizer).collect();
    if kept.len() == finalizers.len() {
        return Ok(());
    }
    let version = &object.metadata.resource_version;
    let patch = json!({ "metadata": { "finalizers": kept, "resourceVersion": version } });
    match api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(failed(&error)),
    }
}

/// Deletes a part; `false` if it is not there.
///
/// # Errors
/// What the API server answers.
pub async fn delete(client: &Client, part: &Part) -> Result<bool, Trouble> {
    match api(client, part).delete(&part.name, &DeleteParams::foreground()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
        Err(error) => Err(Trouble::api(format!("delete {}", part.label()), &error)),
    }
}

/// Waits until no pod of ours runs any more: each daemon undoes what it may still have before it ends.
pub async fn pods_gone(client: &Client, within: Duration) -> bool {
    let pods: Api<Pod> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let ours = ListParams::default().labels(&format!("{PART_OF_LABEL}={PART_OF}"));
    until(within, async || pods.list_metadata(&ours).await.is_ok_and(|list| list.items.is_empty())).await
}

/// Waits until these parts are gone.
pub async fn gone(client: &Client, parts: &[Part], within: Duration) -> bool {
    until(within, async || {
        for part in parts {
            if !matches!(api(client, part).get_metadata_opt(&part.name).await, Ok(None)) {
                return false;
            }
        }
        true
    })
    .await
}

/// Waits until it is so; `false` if it never is.
pub async fn until(within: Duration, mut holds: impl AsyncFnMut() -> bool) -> bool {
    let end = Instant::now() + within;
    loop {
        if holds().await {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
