//! One pod from its first sight to its last: sandbox, containers, status, end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Node;
use super::access::{ContainerLogs, Reach, address_of};
use super::container::{Cell, Runner};
use super::sandbox::{self, Sandbox};
use super::status::{self, Place};

/// Time between attempts to make a sandbox or to reach the API server.
const RETRY: Duration = Duration::from_secs(1);
/// What each pod gets when the whole node goes down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// How the time in one sandbox ended.
enum End {
    /// The pod is to go, or the node goes down.
    Stopped,
    /// The sandbox was killed from outside.
    SandboxLost,
}

/// Takes care of one pod.
pub(super) struct Worker {
    node: Arc<Node>,
    pod: watch::Receiver<Arc<Pod>>,
    removed: CancellationToken,
    api: Api<Pod>,
    name: String,
    namespace: String,
    uid: String,
    cells: Vec<Arc<Cell>>,
    dirty: Arc<Notify>,
    place: Place,
    /// The status that the API server has from us. What the watch shows of it may be older.
    written: Option<PodStatus>,
}

impl Worker {
    /// A worker for the pod in `pod`; `removed` tells that its object is gone.
    pub(super) fn new(node: Arc<Node>, pod: watch::Receiver<Arc<Pod>>, removed: CancellationToken) -> Self {
        let first = Arc::clone(&pod.borrow());
        let namespace = first.namespace().unwrap_or_default();
        let dirty = Arc::new(Notify::new());
        let cell = |container: &Container| {
            let logs = Arc::new(ContainerLogs::default());
            Arc::new(Cell::new(container.clone(), Arc::clone(&dirty), logs))
        };
        Self {
            api: Api::namespaced(node.client.clone(), &namespace),
            name: first.name_any(),
            namespace,
            uid: first.uid().unwrap_or_default(),
            cells: containers(&first).iter().map(cell).collect(),
            dirty,
            place: Place {
                node_address: node.address.to_string(),
                started: Some(Time(Timestamp::now())),
                ..Place::default()
            },
            node,
            pod,
            removed,
            written: first.status.clone(),
        }
    }

    /// Runs the pod until it is gone or the node goes down.
    pub(super) async fn run(mut self) {
        while !self.is_ending() {
            if matches!(self.live().await, End::Stopped) {
                break;
            }
        }
        self.node.registry.remove(&self.namespace, &self.name, &self.uid);
        if !self.node.shutdown.is_cancelled() {
            self.delete().await;
        }
        remove_folder(&sandbox::pod_folder(&self.current())).await;
    }

    fn current(&self) -> Arc<Pod> {
        Arc::clone(&self.pod.borrow())
    }

    /// How long the containers have to stop, if they are to.
    fn ordered_stop(&self) -> Option<Duration> {
        if self.node.shutdown.is_cancelled() {
            return Some(SHUTDOWN_GRACE);
        }
        if self.removed.is_cancelled() {
            return Some(Duration::ZERO);
        }
        let pod = self.pod.borrow();
        let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or(30).unsigned_abs();
        pod.metadata.deletion_timestamp.as_ref().map(|_| Duration::from_secs(seconds))
    }

    fn is_ending(&self) -> bool {
        self.ordered_stop().is_some()
    }

    /// Waits for a change of the pod's object or an order to end.
    async fn news(&mut self) {
        let known = self.removed.is_cancelled();
        tokio::select! {
            () = self.node.shutdown.cancelled() => {}
            () = self.removed.cancelled(), if !known => {}
            // An error means that the kubelet has forgotten the pod: then it was removed as well.
            changed = self.pod.changed() => if changed.is_err() { self.removed.cancelled().await },
        }
    }

    /// One sandbox and everything in it.
    async fn live(&mut self) -> End {
        self.register(None);
        match Sandbox::start(Arc::clone(&self.node), &self.current()).await {
            Ok(sandbox) => {
                self.place.address = Some(sandbox.address.to_string());
                self.place.problem = None;
                self.live_in(&sandbox).await
            }
            Err(error) => {
                tracing::warn!(%error, cause = ?std::error::Error::source(&error), pod = self.name, "no sandbox");
                self.place.problem = Some(error.to_string());
                self.push().await;
                tokio::select! { () = sleep(RETRY) => {}, () = self.news() => {} }
                End::SandboxLost
            }
        }
    }

    async fn live_in(&mut self, sandbox: &Sandbox) -> End {
        self.register(Some(sandbox));
        let (order, stop) = watch::channel(None);
        let mut running = self.start_containers(sandbox, &stop);
        self.dirty.notify_one();
        let mut end = End::Stopped;
        loop {
            if let Some(grace) = self.ordered_stop() {
                order.send_replace(Some(grace));
            } else {
                self.hand_on();
            }
            let dirty = Arc::clone(&self.dirty);
            tokio::select! {
                ended = running.join_next() => if ended.is_none() { break },
                () = sandbox.lost(), if order.borrow().is_none() => {
                    tracing::info!(pod = self.name, "the pod's sandbox is gone: another is made");
                    end = End::SandboxLost;
                    order.send_replace(Some(Duration::ZERO));
                }
                () = dirty.notified() => self.push().await,
                () = self.news(), if !self.node.shutdown.is_cancelled() => {}
            }
        }
        self.push().await;
        end
    }

    fn start_containers(&self, sandbox: &Sandbox, stop: &watch::Receiver<Option<Duration>>) -> JoinSet<()> {
        let mut running = JoinSet::new();
        for cell in &self.cells {
            let runner = Runner {
                cell: Arc::clone(cell),
                pod: self.current(),
                images: self.node.images.clone(),
                namespaces: sandbox.namespaces.clone(),
                address: sandbox.address,
                node_address: self.node.address,
                stop: stop.clone(),
            };
            running.spawn(runner.run());
        }
        running
    }

    /// Gives the containers what the object says they should be now.
    fn hand_on(&self) {
        let pod = self.current();
        for (cell, wanted) in self.cells.iter().zip(containers(&pod)) {
            cell.spec.send_if_modified(|spec| {
                let changed = spec != wanted;
                if changed {
                    spec.clone_from(wanted);
                }
                changed
            });
        }
    }

    /// Lets the API server reach the pod's logs and, once it has one, its address.
    fn register(&self, sandbox: Option<&Sandbox>) {
        let pod = self.current();
        let port = containers(&pod).iter().find_map(|container| container.ports.as_ref()?.first());
        let reach = Reach {
            uid: self.uid.clone(),
            address: sandbox.map(|sandbox| address_of(sandbox::is_on_host(&pod), sandbox.address)),
            first_port: port.and_then(|port| u16::try_from(port.container_port).ok()),
            logs: self
                .cells
                .iter()
                .map(|cell| (cell.spec.borrow().name.clone(), Arc::clone(&cell.logs)))
                .collect(),
        };
        self.node.registry.insert(&self.namespace, &self.name, reach);
    }

    /// Writes the pod's status, if it says something new.
    async fn push(&mut self) {
        if self.removed.is_cancelled() || self.node.shutdown.is_cancelled() {
            return;
        }
        let pod = self.current();
        let containers = self.cells.iter().map(|cell| cell.status.borrow().clone()).collect();
        let old = self.written.as_ref();
        let wanted = status::of_pod(&pod, old, &self.place, containers, Timestamp::now());
        if old == Some(&wanted) {
            return;
        }
        let patch = Patch::Merge(json!({ "metadata": { "uid": self.uid }, "status": wanted }));
        match self.api.patch_status(&self.name, &PatchParams::default(), &patch).await {
            Ok(_) => self.written = Some(wanted),
            Err(kube::Error::Api(status)) if status.is_not_found() => self.removed.cancel(),
            Err(error) => {
                tracing::warn!(%error, pod = self.name, "cannot write a pod's status");
                let dirty = Arc::clone(&self.dirty);
                tokio::spawn(async move {
                    sleep(RETRY).await;
                    dirty.notify_one();
                });
            }
        }
    }

    /// Tells the API server that nothing of the pod is left.
    async fn delete(&self) {
        let preconditions = Preconditions { uid: Some(self.uid.clone()), resource_version: None };
        let now =
            DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default().grace_period(0) };
        while !self.removed.is_cancelled() {
            match self.api.delete(&self.name, &now).await {
                Ok(_) => return,
                Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => return,
                Err(error) => tracing::warn!(%error, pod = self.name, "cannot delete a pod that has stopped"),
            }
            sleep(RETRY).await;
        }
    }
}

/// The folder lies in the sandbox's memory; a failure costs some of that and nothing else.
async fn remove_folder(folder: &Path) {
    match tokio::fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, folder = %folder.display(), "cannot remove a pod's folder");
        }
        _ => {}
    }
}

fn containers(pod: &Pod) -> &[Container] {
    pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default()
}
