//! Each Deployment becomes a ReplicaSet, each ReplicaSet pods, and what has lost its owner goes.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde_json::json;

/// The label that ties pods to one version of their Deployment's template.
const HASH_LABEL: &str = "pod-template-hash";
/// Letters that cannot form words (`k8s.io/apimachinery/pkg/util/rand`).
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// What the loop works with.
pub(super) struct State<'a> {
    pub(super) client: &'a Client,
    pub(super) deployments: &'a [Deployment],
    pub(super) sets: &'a [ReplicaSet],
    pub(super) pods: &'a [Pod],
}

impl State<'_> {
    /// One step towards what the Deployments ask for. Each write is a change that starts the next step.
    pub(super) async fn reconcile(&self) -> Result<(), kube::Error> {
        self.collect_garbage().await?;
        for deployment in self.deployments.iter().filter(|d| d.metadata.deletion_timestamp.is_none()) {
            self.roll_out(deployment).await?;
        }
        for set in self.sets.iter().filter(|set| set.metadata.deletion_timestamp.is_none()) {
            self.fill(set).await?;
        }
        Ok(())
    }

    /// Deletes each ReplicaSet and pod whose owner is gone.
    async fn collect_garbage(&self) -> Result<(), kube::Error> {
        let deployments: Vec<_> = self.deployments.iter().filter_map(kube::ResourceExt::uid).collect();
        let sets: Vec<_> = self.sets.iter().filter_map(kube::ResourceExt::uid).collect();
        for set in self.sets.iter().filter(|set| lost_owner(*set, "Deployment", &deployments)) {
            delete(self.client, set).await?;
        }
        for pod in self.pods.iter().filter(|pod| lost_owner(*pod, "ReplicaSet", &sets)) {
            delete(self.client, pod).await?;
        }
        Ok(())
    }

    /// The ReplicaSet of the present template gets all replicas at once; those of older ones go when it is ready,
    /// or before if the strategy is `Recreate`.
    async fn roll_out(&self, deployment: &Deployment) -> Result<(), kube::Error> {
        let Some(spec) = &deployment.spec else { return Ok(()) };
        let namespace = deployment.namespace().unwrap_or_default();
        let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &namespace);
        let hash = template_hash(&spec.template);
        let name = format!("{}-{hash}", deployment.name_any());
        let wanted = spec.replicas.unwrap_or(1);
        let own: Vec<_> = self.sets.iter().filter(|set| owned_by(*set, deployment)).collect();
        let old = || own.iter().filter(|set| set.name_any() != name);
        let strategy = spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
        if strategy == Some("Recreate") && self.pods.iter().any(|pod| old().any(|set| owned_by(pod, *set))) {
            for set in old() {
                scale(&api, set, 0).await?;
            }
            return Ok(());
        }
        let Some(current) = own.iter().find(|set| set.name_any() == name) else {
            let set = new_set(deployment, &spec.template, &name, &hash, wanted);
            ignore_conflict(api.create(&PostParams::default(), &set).await)?;
            return Ok(());
        };
        scale(&api, current, wanted).await?;
        if ready_replicas(current) >= wanted {
            for set in old() {
                scale(&api, set, 0).await?;
            }
        }
        let count = |field: fn(&ReplicaSet) -> i32| own.iter().map(|set| field(set)).sum::<i32>();
        let ready = count(ready_replicas);
        let replicas = count(|set| set.status.as_ref().map_or(0, |status| status.replicas));
        let status = json!({
            "observedGeneration": deployment.metadata.generation,
            "replicas": replicas,
            "updatedReplicas": current.status.as_ref().map_or(0, |status| status.replicas),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": (wanted - ready).max(0),
        });
        write_status(&Api::<Deployment>::namespaced(self.client.clone(), &namespace), deployment, status)
            .await
    }

    /// Makes or deletes pods until their number is right.
    async fn fill(&self, set: &ReplicaSet) -> Result<(), kube::Error> {
        let namespace = set.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let spec = set.spec.clone().unwrap_or_default();
        let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
        let mut pods: Vec<_> = self.pods.iter().filter(|pod| owned_by(*pod, set) && is_active(pod)).collect();
        for _ in pods.len()..wanted {
            api.create(&PostParams::default(), &new_pod(set, &spec)).await?;
        }
        // Those that serve nothing go first, then the youngest.
        pods.sort_by_key(|pod| (!is_ready(pod), pod.creation_timestamp()));
        for pod in pods.iter().skip(wanted) {
            delete(self.client, *pod).await?;
        }
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        let status = json!({
            "observedGeneration": set.metadata.generation,
            "replicas": pods.len(),
            "fullyLabeledReplicas": pods.len(),
            "readyReplicas": ready,
            "availableReplicas": ready,
        });
        write_status(&Api::<ReplicaSet>::namespaced(self.client.clone(), &namespace), set, status).await
    }
}

/// Whether a pod's condition `Ready` holds.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn is_active(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
}

fn ready_replicas(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)
}

fn owned_by(object: &impl Resource, owner: &impl Resource) -> bool {
    let uid = owner.meta().uid.as_deref();
    object.owner_references().iter().any(|reference| Some(reference.uid.as_str()) == uid)
}

fn lost_owner(object: &impl Resource, kind: &str, alive: &[String]) -> bool {
    object.meta().deletion_timestamp.is_none()
        && object
            .owner_references()
            .iter()
            .any(|owner| owner.kind == kind && owner.controller == Some(true) && !alive.contains(&owner.uid))
}

async fn delete<K>(client: &Client, object: &K) -> Result<(), kube::Error>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let preconditions = Preconditions { uid: object.uid(), resource_version: None };
    let this_one = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    ignore_conflict(api.delete(&object.name_any(), &this_one).await)
}

/// Somebody else was quicker: the change that they made starts the next step.
fn ignore_conflict<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status))
            if status.is_conflict() || status.is_not_found() || status.is_already_exists() =>
        {
            Ok(())
        }
        other => other.map(drop),
    }
}

async fn scale(api: &Api<ReplicaSet>, set: &ReplicaSet, replicas: i32) -> Result<(), kube::Error> {
    if set.spec.as_ref().and_then(|spec| spec.replicas) == Some(replicas) {
        return Ok(());
    }
    let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
    ignore_conflict(api.patch(&set.name_any(), &PatchParams::default(), &patch).await)
}

/// Writes a status that says something new; a merge patch that changes nothing would still cost a request.
async fn write_status<K>(api: &Api<K>, object: &K, status: serde_json::Value) -> Result<(), kube::Error>
where
    K: Resource + serde::Serialize + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    let known = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
    let same = status.as_object().into_iter().flatten().all(|(field, value)| {
        known.get("status").and_then(|known| known.get(field)).unwrap_or(&json!(0)) == value
    });
    if same {
        return Ok(());
    }
    let patch = Patch::Merge(json!({ "status": status }));
    ignore_conflict(api.patch_status(&object.name_any(), &PatchParams::default(), &patch).await)
}

fn new_set(
    deployment: &Deployment,
    template: &PodTemplateSpec,
    name: &str,
    hash: &str,
    replicas: i32,
) -> ReplicaSet {
    let mut template = template.clone();
    let metadata = template.metadata.get_or_insert_default();
    metadata.labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.to_owned());
    let labels = metadata.labels.clone();
    let selector = deployment.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default();
    let mut match_labels: BTreeMap<_, _> = selector.match_labels.unwrap_or_default();
    match_labels.insert(HASH_LABEL.to_owned(), hash.to_owned());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels,
            owner_references: deployment.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            selector: LabelSelector { match_labels: Some(match_labels), ..selector },
            template: Some(template),
            ..ReplicaSetSpec::default()
        }),
        status: None,
    }
}

fn new_pod(set: &ReplicaSet, spec: &ReplicaSetSpec) -> Pod {
    let template = spec.template.clone().unwrap_or_default();
    let mut metadata = template.metadata.unwrap_or_default();
    metadata.name = Some(format!("{}-{}", set.name_any(), random_suffix()));
    metadata.owner_references = set.controller_owner_ref(&()).map(|owner| vec![owner]);
    Pod { metadata, spec: template.spec, status: None }
}

fn random_suffix() -> String {
    (0..5).map(|_| letter(rand::random::<u32>())).collect()
}

fn letter(number: u32) -> char {
    let index = number as usize % LETTERS.len();
    LETTERS.get(index).copied().map_or('x', char::from)
}

/// A short hash of a template: FNV-1a over its JSON, in the letters that Kubernetes uses.
fn template_hash(template: &PodTemplateSpec) -> String {
    let text = serde_json::to_string(template).unwrap_or_default();
    let hash =
        text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.to_string().bytes().map(|digit| letter(u32::from(digit))).collect()
}
