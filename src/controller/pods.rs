//! Faults that are calls of the API: does to pods what their Injections say, and writes down what it reads
//! back, as a daemon does for its node. All decisions are taken in [`crate::experiment::pod_faults`].

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::core::Status;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::act::{ActError, On, Outcome, PARALLEL_WRITES, error};
use super::stores::{Key, Stores, key_of};
use crate::api::{
    EXPERIMENT_UID_LABEL, Injection, InjectionTarget, POD_FAILURE_ANNOTATION, PodKill, SYSTEM_NAMESPACE,
};
use crate::experiment::pod_faults::{self, Act, Attempt, Marked};
use crate::experiment::wanted::{HaltScope, Wanted};

/// The pods of all faults that the controller injects itself.
pub(super) struct PodFaults {
    client: Client,
    stores: Arc<Stores>,
    /// The image of failed pods.
    image: Option<String>,
}

/// What became of one call.
enum Done {
    /// It was made, or there was nothing to do it to.
    Yes,
    /// The pod was not as believed.
    Again,
    /// The API server refused, for the reason given.
    Refused(String),
}

impl PodFaults {
    pub(super) const fn new(client: Client, stores: Arc<Stores>, image: Option<String>) -> Self {
        Self { client, stores, image }
    }

    /// Makes the pods look like their Injection. Gives how long that is enough if nothing changes.
    pub(super) async fn settle(
        &self,
        injection: &Injection,
        halts: &[HaltScope],
    ) -> Result<(Outcome, Option<Duration>), ActError> {
        let (wanted, change) = pod_faults::decide(injection, halts, Timestamp::now());
        let targets = pod_faults::targets(injection);
        let mut attempts = Vec::with_capacity(targets.len());
        for some in targets.chunks(PARALLEL_WRITES) {
            let together = some.iter().map(|target| self.attempt(injection, wanted, target));
            attempts.extend(futures::future::try_join_all(together).await?);
        }
        let Some(errors) = attempts.into_iter().collect::<Option<Vec<_>>>() else {
            return Ok((Outcome::Again, None));
        };
        let pods: Vec<_> = targets.iter().map(|target| self.pod(target)).collect();
        let attempts: Vec<_> = targets
            .iter()
            .zip(&pods)
            .zip(errors)
            .map(|((target, pod), error)| Attempt { target, pod: pod.as_deref(), error })
            .collect();
        let status = pod_faults::report(injection, wanted, &attempts, Timestamp::now());
        if injection.status.as_ref() == Some(&status) {
            return Ok((Outcome::Done, change));
        }
        let on = On {
            api: Api::namespaced(self.client.clone(), SYSTEM_NAMESPACE),
            store: &self.stores.injections,
            key: key_of(injection),
        };
        // The deadline of a run that has just begun is known only now.
        on.replace_status(&status).await?;
        Ok((Outcome::Again, None))
    }

    /// Undoes pod-failures whose Injection is no more: somebody took its finalizer away by hand.
    pub(super) async fn mend_forgotten(&self) -> Result<(), ActError> {
        let marked = self.stores.pods.filter(|pod| pod.annotations().contains_key(POD_FAILURE_ANNOTATION));
        for pod in marked {
            let Marked::Yes(failed) = Marked::of(&pod) else { continue };
            if !self.is_forgotten(&failed.experiment).await? {
                continue;
            }
            let key = key_of(&*pod);
            tracing::warn!(pod = %name_of(&key), experiment = failed.experiment, "undoing a forgotten pod-failure");
            if let Done::Refused(why) = self.patch(&pod, pod_faults::restore(&pod, &failed)).await? {
                tracing::warn!(pod = %name_of(&key), why, "cannot undo a forgotten pod-failure");
            }
        }
        Ok(())
    }

    /// Whether no Injection of this experiment exists, on the API server itself: a watch may only be late.
    async fn is_forgotten(&self, experiment: &str) -> Result<bool, ActError> {
        let known = |injection: &Injection| injection.spec.experiment.uid == experiment;
        if !self.stores.injections.filter(known).is_empty() {
            return Ok(false);
        }
        let api: Api<Injection> = Api::namespaced(self.client.clone(), SYSTEM_NAMESPACE);
        let listed =
            api.list(&ListParams::default().labels(&format!("{EXPERIMENT_UID_LABEL}={experiment}"))).await;
        let listed = listed
            .map_err(|source| error("list", format!("the Injections of experiment {experiment}"), source))?;
        Ok(listed.items.is_empty())
    }

    /// Does what is to be done about one target. Gives what went wrong; nothing at all if the pod was not as
    /// believed.
    async fn attempt(
        &self,
        injection: &Injection,
        wanted: Wanted,
        target: &InjectionTarget,
    ) -> Result<Option<Option<String>>, ActError> {
        let Some(pod) = self.pod(target) else { return Ok(Some(None)) };
        let done = match pod_faults::act(injection, wanted, Some(&pod), target, self.image.as_deref()) {
            Ok(None) => Done::Yes,
            Ok(Some(Act::Kill(kill))) if kill.evict => self.evict(&pod, &kill).await?,
            Ok(Some(Act::Kill(kill))) => self.delete(&pod, &kill).await?,
            Ok(Some(Act::Patch(patch))) => self.patch(&pod, patch).await?,
            Err(why) => Done::Refused(why),
        };
        Ok(match done {
            Done::Yes => Some(None),
            Done::Again => None,
            Done::Refused(why) => Some(Some(why)),
        })
    }

    fn pod(&self, target: &InjectionTarget) -> Option<Arc<Pod>> {
        let pod = self.stores.pods.get(&(target.namespace.clone(), target.pod.clone()));
        pod.filter(|pod| pod.metadata.uid.as_ref() == Some(&target.uid))
    }

    fn api(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default())
    }

    async fn delete(&self, pod: &Pod, kill: &PodKill) -> Result<Done, ActError> {
        let params = DeleteParams {
            grace_period_seconds: Some(u32::try_from(kill.grace_period_seconds).unwrap_or(u32::MAX)),
            // A pod of the same name that came meanwhile is another one.
            preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        let deleted = self.api(pod).delete(&pod.name_any(), &params).await;
        match deleted.map(|answer| answer.left().filter(|left| left.metadata.deletion_timestamp.is_some())) {
            Ok(Some(left)) => self.stores.pods.put(left),
            Ok(_) => self.stores.pods.forget(&key_of(pod)),
            Err(source) => return self.refused("delete", pod, source).await,
        }
        Ok(Done::Yes)
    }

    /// The eviction API (`policy/v1`): the API server refuses where a `PodDisruptionBudget` does.
    async fn evict(&self, pod: &Pod, kill: &PodKill) -> Result<Done, ActError> {
        let (namespace, name) = key_of(pod);
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"namespace": namespace, "name": name},
            "deleteOptions": {
                "gracePeriodSeconds": kill.grace_period_seconds,
                "preconditions": {"uid": pod.metadata.uid},
            },
        });
        let request = Request::post(format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction"))
            .header("Content-Type", "application/json")
            .body(eviction.to_string().into_bytes())
            .map_err(|source| error("evict", name_of(&key_of(pod)), kube::Error::HttpError(source)))?;
        match self.client.request::<Value>(request).await {
            // What became of the pod is read, not believed.
            Ok(_) => self.read(pod).await.map(|_changed| Done::Yes),
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 405 => {
                self.read(pod).await?;
                let (is_there, refused) = (
                    self.stores.pods.get(&key_of(pod)).is_some(),
                    format!(
                        "this API server does not serve evictions; remove the annotation {} to delete the pod instead",
                        crate::api::RESPECT_BUDGETS_ANNOTATION
                    ),
                );
                Ok(if is_there { Done::Refused(refused) } else { Done::Yes })
            }
            Err(kube::Error::Api(status)) if status.code == 429 => {
                Ok(Done::Refused(format!("{}; it is tried again", status.message)))
            }
            Err(source) => self.refused("evict", pod, source).await,
        }
    }

    async fn patch(&self, pod: &Pod, patch: Value) -> Result<Done, ActError> {
        let patch = serde_json::from_value(patch)
            .map_err(|source| error("patch", name_of(&key_of(pod)), kube::Error::SerdeError(source)))?;
        let patch: Patch<()> = Patch::Json(patch);
        match self.api(pod).patch(&pod.name_any(), &PatchParams::default(), &patch).await {
            Ok(patched) => {
                self.stores.pods.put(patched);
                Ok(Done::Yes)
            }
            Err(source) => self.refused("patch", pod, source).await,
        }
    }

    /// The API server said no. It may be right about this pod, or about what we believed of it.
    async fn refused(
        &self,
        operation: &'static str,
        pod: &Pod,
        source: kube::Error,
    ) -> Result<Done, ActError> {
        let kube::Error::Api(status) = source else {
            return Err(error(operation, name_of(&key_of(pod)), source));
        };
        if self.read(pod).await? { Ok(Done::Again) } else { Ok(Done::Refused(explained(operation, &status))) }
    }

    /// Reads a pod anew; whether it is not the one that we knew.
    async fn read(&self, pod: &Pod) -> Result<bool, ActError> {
        let key = key_of(pod);
        let found = self.api(pod).get_opt(&key.1).await;
        let found = found.map_err(|source| error("read", name_of(&key), source))?;
        let changed = found.as_ref().map(ResourceExt::resource_version) != Some(pod.resource_version());
        match found {
            Some(found) => self.stores.pods.put(found),
            None => self.stores.pods.forget(&key),
        }
        Ok(changed)
    }
}

fn name_of((namespace, name): &Key) -> String {
    format!("Pod {namespace}/{name}")
}

fn explained(operation: &str, status: &Status) -> String {
    let cure = if status.is_forbidden() {
        "give the controller's account that right, or see which admission policy is against it"
    } else {
        "it is tried again"
    };
    format!("the API server refused to {operation} the pod: {}; {cure}", status.message)
}
