//! Carries out actions on the API server.
//!
//! Conflicts, objects that are gone and objects that already exist are ordinary: the store is brought
//! up to date and the step is taken again. Patches are merge or JSON patches only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::events::Events;
use super::kinds::{ExperimentKey, Kind, Served};
use super::stores::{Key, Store, Stores};
use crate::api::{
    ChaosStatus, Injection, NetworkChaos, PodChaos, RECORDS_FINALIZER, RECOVERED_FINALIZER, SYSTEM_NAMESPACE,
};
use crate::experiment::kind::Experiment;
use crate::experiment::lifecycle::Action;

/// How many objects of one step are written at once.
pub(super) const PARALLEL_WRITES: usize = 16;

/// How long the counts and records of an experiment may lag behind for each of its records. A status of two hundred of them is
/// as dear to the API server as eight Injections: written at each of their answers it would hold them up.
const LAG_OF_A_RECORD: Duration = Duration::from_millis(10);

/// The API server refused, or was not reached.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {object}")]
pub(super) struct ActError {
    operation: &'static str,
    object: String,
    source: kube::Error,
}

/// How a row of actions ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of them were done.
    Done,
    /// All of them were done, and in so long there will be something to do by the passing of time alone.
    Wait(Duration),
    /// The objects were not as the step believed; it is to be taken again.
    Again,
}

/// The API server, and the stores that learn from its answers.
pub(super) struct Actor {
    client: Client,
    stores: Arc<Stores>,
    events: Events,
    /// When the status of each experiment was written last.
    told: Mutex<HashMap<ExperimentKey, Instant>>,
}

impl Actor {
    pub(super) fn new(client: Client, stores: Arc<Stores>, identity: &str) -> Self {
        Self { events: Events::new(client.clone(), identity), client, stores, told: Mutex::default() }
    }

    /// Forgets what it knows of experiments that are no more.
    pub(super) fn forget_others(&self, living: &[ExperimentKey]) {
        self.told().retain(|key, _| living.contains(key));
    }

    fn told(&self) -> MutexGuard<'_, HashMap<ExperimentKey, Instant>> {
        // Every change of the map is one call: a panic cannot leave it half done.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long this status, which says no more than how far an experiment is, may still wait; nothing if it is to be written
    /// now.
    fn lag(
        &self,
        experiment: &ExperimentKey,
        old: Option<&ChaosStatus>,
        new: &ChaosStatus,
    ) -> Option<Duration> {
        if !old?.differs_in_progress_alone(new) {
            return None;
        }
        let records = u32::try_from(new.experiment.container_records.len()).unwrap_or(u32::MAX);
        let next = *self.told().get(experiment)? + LAG_OF_A_RECORD * records;
        next.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
    }

    /// Whether an experiment of this UID exists on the API server itself, whatever the store says.
    pub(super) async fn exists(&self, experiment: &ExperimentKey, uid: &str) -> Result<bool, ActError> {
        let found = match experiment.kind {
            Kind::NetworkChaos => self.uid_of::<NetworkChaos>(experiment).await?,
            Kind::PodChaos => self.uid_of::<PodChaos>(experiment).await?,
        };
        Ok(found.as_deref() == Some(uid))
    }

    async fn uid_of<K: Served>(&self, experiment: &ExperimentKey) -> Result<Option<String>, ActError> {
        let (namespace, name) = &experiment.key;
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(name).await;
        let found = found.map_err(|source| error("read", experiment.to_string(), source))?;
        Ok(found.and_then(|found| found.uid()))
    }

    /// Does `actions` in their order; those on Injections that stand side by side, at once.
    pub(super) async fn execute(
        &self,
        experiment: &ExperimentKey,
        chaos: &dyn Experiment,
        actions: Vec<Action>,
    ) -> Result<Outcome, ActError> {
        let mut lag = None;
        let mut rest = actions.into_iter().peekable();
        while let Some(action) = rest.next() {
            if let Action::PatchStatus(new) = &action {
                lag = self.lag(experiment, chaos.status(), new);
                if lag.is_some() {
                    continue;
                }
                self.told().insert(experiment.clone(), Instant::now());
            }
            let outcome = if is_of_injection(&action) {
                let mut row = vec![action];
                while let Some(next) = rest.next_if(is_of_injection) {
                    row.push(next);
                }
                self.on_injections(row).await?
            } else {
                match experiment.kind {
                    Kind::NetworkChaos => {
                        self.on_experiment::<NetworkChaos>(experiment, chaos, action).await?
                    }
                    Kind::PodChaos => self.on_experiment::<PodChaos>(experiment, chaos, action).await?,
                }
            };
            if outcome == Outcome::Again {
                return Ok(outcome);
            }
        }
        Ok(lag.map_or(Outcome::Done, Outcome::Wait))
    }

    /// Does actions on Injections, several at once.
    pub(super) async fn on_injections(&self, actions: Vec<Action>) -> Result<Outcome, ActError> {
        let outcomes: Vec<Outcome> = futures::stream::iter(actions)
            .map(|action| self.on_injection(action))
            .buffer_unordered(PARALLEL_WRITES)
            .try_collect()
            .await?;
        Ok(if outcomes.contains(&Outcome::Again) { Outcome::Again } else { Outcome::Done })
    }

    async fn on_experiment<K: Served>(
        &self,
        experiment: &ExperimentKey,
        chaos: &dyn Experiment,
        action: Action,
    ) -> Result<Outcome, ActError> {
        let on: On<'_, K> = On {
            api: Api::namespaced(self.client.clone(), &experiment.key.0),
            store: K::store(&self.stores),
            key: experiment.key.clone(),
        };
        match action {
            Action::AddFinalizer => on.set_finalizer(RECORDS_FINALIZER, true).await,
            Action::RemoveFinalizer => on.set_finalizer(RECORDS_FINALIZER, false).await,
            Action::PatchStatus(status) => on.replace_status(&*status).await,
            Action::Emit(event) => {
                self.events.publish(&event, chaos).await;
                Ok(Outcome::Done)
            }
            other => self.on_injection(other).await,
        }
    }

    async fn on_injection(&self, action: Action) -> Result<Outcome, ActError> {
        let on = |name: String| On {
            api: Api::namespaced(self.client.clone(), SYSTEM_NAMESPACE),
            store: &self.stores.injections,
            key: (SYSTEM_NAMESPACE.to_owned(), name),
        };
        match action {
            Action::CreateInjection(injection) => {
                let on = on(injection.name_any());
                let created = on.api.create(&PostParams::default(), &injection).await;
                on.learn("create", created).await
            }
            Action::UpdateInjection(name, spec) => {
                let on = on(name);
                let Some(known) = on.store.get(&on.key) else { return Ok(Outcome::Again) };
                // Not a patch: it takes an API server a third more work. Without a status this leaves that as it is.
                let metadata = ObjectMeta { managed_fields: None, ..known.metadata.clone() };
                let wanted = Injection { metadata, spec: *spec, status: None };
                let replaced = on.api.replace(&on.key.1, &PostParams::default(), &wanted).await;
                on.learn("replace", replaced).await
            }
            Action::DeleteInjection(name) => {
                let on = on(name);
                match on.api.delete(&on.key.1, &DeleteParams::default()).await {
                    Ok(answer) => {
                        answer
                            .map_left(|injection| on.store.put(injection))
                            .map_right(|_gone| on.store.forget(&on.key));
                        Ok(Outcome::Done)
                    }
                    Err(source) => on.learn("delete", Err(source)).await,
                }
            }
            Action::ReleaseInjection(name) => on(name).set_finalizer(RECOVERED_FINALIZER, false).await,
            Action::AddFinalizer | Action::RemoveFinalizer | Action::PatchStatus(_) | Action::Emit(_) => {
                Ok(Outcome::Done)
            }
        }
    }
}

const fn is_of_injection(action: &Action) -> bool {
    matches!(
        action,
        Action::CreateInjection(_)
            | Action::UpdateInjection(..)
            | Action::DeleteInjection(_)
            | Action::ReleaseInjection(_)
    )
}

/// One object on the API server and in its store.
pub(super) struct On<'a, K> {
    pub(super) api: Api<K>,
    pub(super) store: &'a Store<K>,
    pub(super) key: Key,
}

impl<K> On<'_, K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    /// Puts a finalizer on, or takes it off. The resource version guards the others' finalizers, and
    /// guards against letting go of what has changed since it was looked at.
    async fn set_finalizer(&self, name: &str, wanted: bool) -> Result<Outcome, ActError> {
        let Some(object) = self.store.get(&self.key) else { return Ok(Outcome::Again) };
        let mut finalizers = object.finalizers().to_vec();
        finalizers.retain(|finalizer| finalizer != name);
        if wanted {
            finalizers.push(name.to_owned());
        }
        let version = object.meta().resource_version.clone();
        let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
        let patched = self.api.patch(&self.key.1, &PatchParams::default(), &Patch::Merge(patch)).await;
        self.learn("set the finalizers of", patched).await
    }

    /// Replaces the whole status: a merge patch could not take anything away from it.
    pub(super) async fn replace_status(&self, status: &impl Serialize) -> Result<Outcome, ActError> {
        let patch = self.patch(json!([{"op": "add", "path": "/status", "value": status}]))?;
        let patched = self.api.patch_status(&self.key.1, &PatchParams::default(), &patch).await;
        self.learn("write the status of", patched).await
    }

    fn patch(&self, patch: Value) -> Result<Patch<()>, ActError> {
        let patch = serde_json::from_value(patch);
        patch.map(Patch::Json).map_err(|source| self.error("patch", kube::Error::SerdeError(source)))
    }

    /// Puts what came back into the store. What was not as believed is read again.
    async fn learn(
        &self,
        operation: &'static str,
        answer: Result<K, kube::Error>,
    ) -> Result<Outcome, ActError> {
        match answer {
            Ok(object) => {
                self.store.put(object);
                Ok(Outcome::Done)
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                self.store.forget(&self.key);
                Ok(Outcome::Again)
            }
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                match self.api.get_opt(&self.key.1).await {
                    Ok(Some(object)) => self.store.put(object),
                    Ok(None) => self.store.forget(&self.key),
                    Err(source) => return Err(self.error("read", source)),
                }
                Ok(Outcome::Again)
            }
            Err(source) => Err(self.error(operation, source)),
        }
    }

    fn error(&self, operation: &'static str, source: kube::Error) -> ActError {
        let (namespace, name) = &self.key;
        error(operation, format!("{} {namespace}/{name}", K::kind(&())), source)
    }
}

pub(super) const fn error(operation: &'static str, object: String, source: kube::Error) -> ActError {
    ActError { operation, object, source }
}
