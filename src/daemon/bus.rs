//! The daemon's side of the bus: what it watches and what it writes.
//!
//! It watches its own Injections, the leader Lease and Halts, and writes only the status of its own Injections.

use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams, PostParams, Request};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::mpsc::Receiver;

use super::engine::Input;
use crate::api::{CONTROLLER_LEASE, Halt, Injection, InjectionStatus, SYSTEM_NAMESPACE};
use crate::client::{WatchPauses, is_not_served};
use crate::experiment::wanted::HaltScope;

/// A watch is asked for anew after so long. The transport finds a dead connection in less time; this is for one that something
/// in between keeps alive. With a thousand daemons each watch is a request every so often: three of 20 s were 150 a second.
const WATCH_SECONDS: u32 = 60;

/// The same of the heartbeat, which tells by itself that it is there: a renewal comes every other second.
const HEARTBEAT_WATCH_SECONDS: u32 = 290;

/// After so long without a renewal the heartbeat is asked for anew.
const SILENT: Duration = Duration::from_secs(20);

/// First pause after a refused status write; it doubles up to [`WRITE_PAUSE_MOST`].
const WRITE_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause between tries of a status write.
const WRITE_PAUSE_MOST: Duration = Duration::from_secs(5);

/// The resource versions of this node's Injections as they were seen last, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions(Arc<Mutex<BTreeMap<String, String>>>);

impl Versions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        // Every change of the map is one call: a panic cannot leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An older one than is known does no harm: the write that it is for is refused, and made otherwise.
    fn saw(&self, injection: &Injection) {
        if let (Some(name), Some(version)) = (&injection.metadata.name, &injection.metadata.resource_version)
        {
            self.lock().insert(name.clone(), version.clone());
        }
    }

    fn of(&self, name: &str) -> Option<String> {
        self.lock().get(name).cloned()
    }

    fn forget(&self, name: &str) {
        self.lock().remove(name);
    }
}

/// Carries this node's Injections to the engine until the engine is gone.
pub(super) async fn watch_injections(
    client: Client,
    node: &str,
    inputs: SyncSender<Input>,
    versions: Versions,
) {
    let api: Api<Injection> = Api::namespaced(client, SYSTEM_NAMESPACE);
    let config = watcher::Config::default().timeout(WATCH_SECONDS).fields(&format!("spec.node={node}"));
    let mut fresh: Option<Vec<Injection>> = None;
    let events = watch(api, config).inspect_ok(|event| match event {
        Event::Init => versions.lock().clear(),
        Event::InitApply(injection) | Event::Apply(injection) => versions.saw(injection),
        Event::Delete(injection) => versions.forget(&injection.name_any()),
        Event::InitDone => {}
    });
    forward(events, inputs, |event| match event.ok()? {
        Event::Init => {
            fresh = Some(Vec::new());
            None
        }
        // The controller is the daemon of these.
        Event::InitApply(injection) | Event::Apply(injection) if injection.spec.fault.is_of_controller() => {
            None
        }
        Event::InitApply(injection) => {
            fresh.get_or_insert_default().push(injection);
            None
        }
        Event::InitDone => Some(Input::Snapshot(fresh.take().unwrap_or_default())),
        Event::Apply(injection) => Some(Input::Applied(Box::new(injection))),
        Event::Delete(injection) => injection.metadata.name.map(Input::Deleted),
    })
    .await;
}

/// Carries every renewal of the leader Lease to the engine until the engine is gone.
pub(super) async fn watch_heartbeat(client: Client, inputs: SyncSender<Input>) {
    let api: Api<Lease> = Api::namespaced(client, SYSTEM_NAMESPACE);
    let config = watcher::Config::default()
        .timeout(HEARTBEAT_WATCH_SECONDS)
        .fields(&format!("metadata.name={CONTROLLER_LEASE}"));
    let next = || until_silent(watch(api.clone(), config.clone()), SILENT);
    while forward(next(), inputs.clone(), |event| heartbeat(event.ok()?)).await == Engine::There {}
}

fn heartbeat(event: Event<Lease>) -> Option<Input> {
    match event {
        Event::Apply(lease) | Event::InitApply(lease) => {
            let spec = lease.spec.unwrap_or_default();
            let renewed = spec.renew_time.map(|time| time.0.to_string())?;
            // A lease that was given up says that its holder is gone, not that it lives.
            spec.holder_identity
                .filter(|holder| !holder.is_empty())
                .map(|holder| Input::Heartbeat(format!("{holder} {renewed}")))
        }
        Event::Init | Event::InitDone | Event::Delete(_) => None,
    }
}

/// The events until there is none for so long.
fn until_silent<T>(
    events: impl Stream<Item = T> + Send + 'static,
    silent: Duration,
) -> impl Stream<Item = T> {
    futures::stream::unfold(Box::pin(events), move |mut events| async move {
        let event = tokio::time::timeout(silent, events.next()).await.ok()??;
        Some((event, events))
    })
}

/// Whether there is still somebody to tell.
#[derive(PartialEq, Eq)]
enum Engine {
    There,
    Gone,
}

/// Carries what the Halts cover to the engine until the engine is gone. Where the API server does not know the
/// kind, there is none; it is asked again all the same.
pub(super) async fn watch_halts(client: Client, inputs: SyncSender<Input>) {
    let api: Api<Halt> = Api::all(client);
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let mut known: BTreeMap<Option<String>, HaltScope> = BTreeMap::new();
    let mut fresh = BTreeMap::new();
    let mut listed = false;
    forward(watch(api, config), inputs, |event| {
        match event {
            Ok(Event::Init) => {
                fresh.clear();
                return None;
            }
            Ok(Event::InitApply(halt)) => {
                fresh.insert(halt.metadata.name, HaltScope::from(&halt.spec));
                return None;
            }
            Ok(Event::InitDone) => {
                known = std::mem::take(&mut fresh);
                listed = true;
            }
            Ok(Event::Apply(halt)) => drop(known.insert(halt.metadata.name, HaltScope::from(&halt.spec))),
            Ok(Event::Delete(halt)) => drop(known.remove(&halt.metadata.name)),
            Err(error) if !listed && is_not_served(&error) => {}
            Err(_) => return None,
        }
        Some(Input::Halts(known.values().cloned().collect()))
    })
    .await;
}

/// Sends what `take` makes of each event and of each failure, until there are no more or the engine is gone.
async fn forward<T>(
    events: impl Stream<Item = watcher::Result<Event<T>>>,
    inputs: SyncSender<Input>,
    mut take: impl FnMut(watcher::Result<Event<T>>) -> Option<Input>,
) -> Engine
where
    T: Send + 'static,
{
    let events = events.backoff(WatchPauses::default()).inspect_err(|error| {
        tracing::warn!(error = %super::engine::error_chain(error), "a watch failed; it is made anew");
    });
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let Some(input) = take(event) else { continue };
        let inputs = inputs.clone();
        let sent = tokio::task::spawn_blocking(move || inputs.send(input)).await;
        if !matches!(sent, Ok(Ok(()))) {
            return Engine::Gone;
        }
    }
    Engine::There
}

/// Writes statuses as they come, the latest of each Injection; ends when the engine is gone and all are
/// written.
pub(super) async fn write_statuses(
    client: Client,
    mut statuses: Receiver<(String, InjectionStatus)>,
    versions: Versions,
) {
    let api: Api<Injection> = Api::namespaced(client, SYSTEM_NAMESPACE);
    let mut waiting = BTreeMap::new();
    let mut pause = WRITE_PAUSE;
    loop {
        if waiting.is_empty() {
            match statuses.recv().await {
                Some((name, status)) => waiting.insert(name, status),
                None => return,
            };
        }
        while let Ok((name, status)) = statuses.try_recv() {
            waiting.insert(name, status);
        }
        let Some((name, status)) = waiting.pop_first() else { continue };
        match write(&api, &name, &status, &versions).await {
            Ok(()) => pause = WRITE_PAUSE,
            Err(error) => {
                tracing::warn!(injection = name, error = %super::engine::error_chain(&error), "a status was not taken");
                waiting.entry(name).or_insert(status);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(WRITE_PAUSE_MOST);
            }
        }
    }
}

/// Replaces the status of the Injection as it was seen last, which an API server does with a third less work than a patch;
/// if it has changed since, by a patch.
async fn write(
    api: &Api<Injection>,
    name: &str,
    status: &InjectionStatus,
    versions: &Versions,
) -> Result<(), kube::Error> {
    let written = match versions.of(name) {
        None => patch(api, name, status).await,
        Some(version) => match replace(api, name, status, &version).await {
            Err(kube::Error::Api(answer)) if answer.is_conflict() => patch(api, name, status).await,
            other => other,
        },
    };
    match written {
        Ok(injection) => {
            versions.saw(&injection);
            Ok(())
        }
        // Deleted meanwhile: there is nobody left to tell.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

async fn replace(
    api: &Api<Injection>,
    name: &str,
    status: &InjectionStatus,
    version: &str,
) -> Result<Injection, kube::Error> {
    let body = json!({
        "apiVersion": Injection::api_version(&()), "kind": Injection::kind(&()),
        "metadata": { "name": name, "namespace": SYSTEM_NAMESPACE, "resourceVersion": version },
        "status": status,
    });
    let body = serde_json::to_vec(&body).map_err(kube::Error::SerdeError)?;
    // Not `Api::replace_status`, which would send the spec as well.
    let request = Request::new(api.resource_url());
    let request = request.replace_subresource("status", name, &PostParams::default(), body);
    api.clone().into_client().request(request.map_err(kube::Error::BuildRequest)?).await
}

/// A merge patch of the whole status: what is not there any more is null in it.
async fn patch(api: &Api<Injection>, name: &str, status: &InjectionStatus) -> Result<Injection, kube::Error> {
    let mut body = json!({ "status": status });
    for optional in ["wanted", "ended", "startedAt", "elapsed", "interruptions", "targets"] {
        if let Some(status) = body.get_mut("status").and_then(|status| status.as_object_mut()) {
            status.entry(optional).or_insert(serde_json::Value::Null);
        }
    }
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&body)).await
}

#[cfg(test)]
mod tests {
    use http::Response;
    use kube::client::Body;

    use super::*;

    /// An API server on which somebody installs a CRD at the second question.
    #[tokio::test]
    async fn a_kind_that_is_not_installed_has_no_objects_until_it_is() {
        let mut questions = 0;
        let server = tower::service_fn(move |request: http::Request<Body>| {
            questions += 1;
            let watched = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            async move {
                let answer = match questions {
                    1 => Response::builder().status(404).body(Body::from(b"404 page not found\n".to_vec())),
                    _ if watched => std::future::pending().await,
                    _ => Response::builder().body(Body::from(
                        json!({"kind": "HaltList", "apiVersion": "squall.dev/v1alpha1",
                            "metadata": {"resourceVersion": "1"},
                            "items": [{"metadata": {"name": "h"}, "spec": {"namespaces": ["default"]}}]})
                        .to_string()
                        .into_bytes(),
                    )),
                };
                Ok::<_, std::convert::Infallible>(answer.unwrap())
            }
        });
        let (inputs, heard) = std::sync::mpsc::sync_channel(4);
        let watching = tokio::spawn(watch_halts(Client::new(server, "default"), inputs));
        let hear = tokio::task::spawn_blocking(move || {
            [(); 2].map(|()| heard.recv_timeout(Duration::from_secs(20)).unwrap())
        });
        let [first, second] = hear.await.unwrap();
        assert!(matches!(&first, Input::Halts(none) if none.is_empty()), "{first:?}");
        let scope = HaltScope::Namespaces(vec!["default".to_owned()]);
        assert!(matches!(&second, Input::Halts(some) if *some == [scope]), "{second:?}");
        watching.abort();
    }

    #[tokio::test]
    async fn what_falls_silent_ends() {
        let beats = futures::stream::iter(0..3).then(|beat| async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            beat
        });
        let heard = until_silent(beats.chain(futures::stream::pending()), Duration::from_millis(500));
        assert_eq!(heard.collect::<Vec<_>>().await, [0, 1, 2]);
    }

    /// What an API server is asked, one line each: what with, and the resource version that it names.
    #[tokio::test]
    async fn a_status_is_replaced_and_patched_only_if_the_injection_has_changed() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let server = tower::service_fn(move |request: http::Request<Body>| {
            let seen = Arc::clone(&seen);
            async move {
                let method = request.method().to_string();
                let body = request.into_body().collect_bytes().await.unwrap();
                let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
                let version = body.pointer("/metadata/resourceVersion").and_then(|version| version.as_str());
                seen.lock().unwrap().push(format!("{method} {}", version.unwrap_or("-")));
                let answer = if version == Some("1") {
                    let refused = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "code": 409});
                    Response::builder().status(409).body(Body::from(refused.to_string().into_bytes()))
                } else {
                    Response::builder().body(Body::from(injection("3").to_string().into_bytes()))
                };
                Ok::<_, std::convert::Infallible>(answer.unwrap())
            }
        });
        let versions = Versions::default();
        let (statuses, to_write) = tokio::sync::mpsc::channel(4);
        let writing =
            tokio::spawn(write_statuses(Client::new(server, "default"), to_write, versions.clone()));
        let write = async |name: &str, known: usize| {
            statuses.send((name.to_owned(), InjectionStatus::default())).await.unwrap();
            while asked.lock().unwrap().len() < known {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        versions.saw(&serde_json::from_value(injection("1")).unwrap());
        write("i", 2).await;
        write("i", 3).await;
        drop(statuses);
        tokio::time::timeout(Duration::from_secs(5), writing).await.unwrap().unwrap();
        assert_eq!(*asked.lock().unwrap(), ["PUT 1", "PATCH -", "PUT 3"]);
    }

    fn injection(version: &str) -> serde_json::Value {
        json!({
            "metadata": {"name": "i", "namespace": SYSTEM_NAMESPACE, "resourceVersion": version},
            "spec": {"experiment": {"kind": "NetworkChaos", "namespace": "default", "name": "e", "uid": "u"}, "node": "n",
                "targets": [], "fault": {}, "run": 1, "paused": false, "lease": "30s",
                "notAfter": "2026-01-01T00:00:00Z"},
        })
    }
}
