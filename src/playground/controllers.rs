//! The loop around the controllers: any change of any object they care about starts one step of all of them.
//!
//! Each step reads everything anew. The API server is in the same process and the cluster is small, so that is
//! cheap, and a step never acts on a stale cache: no pod is made twice.

use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::objects;
use super::replicaset::{self, is_ready};
use super::scheduler;
use super::services::Services;
use crate::api::SYSTEM_NAMESPACE;

/// Changes that follow each other closely are handled together.
const SETTLE: Duration = Duration::from_millis(5);
/// Time to the next attempt after a failed step.
const RETRY: Duration = Duration::from_millis(200);

/// How far the start has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Pods that should be there.
    pub(super) wanted: usize,
    /// Pods that are ready, as namespace/name, sorted.
    pub(super) ready: Vec<String>,
    /// Pods of Squall itself that have crashed; nobody waits for these.
    pub(super) crashed: Vec<String>,
}

impl Progress {
    /// Whether there is nothing to wait for any more.
    pub(super) fn is_complete(&self) -> bool {
        self.wanted > 0 && self.ready.len() + self.crashed.len() >= self.wanted
    }
}

/// Runs the controllers until the future is dropped.
pub(super) async fn run(client: Client, mut services: Services, progress: watch::Sender<Progress>) {
    let mut changes = stream::select_all([
        changes_of::<Deployment>(&client),
        changes_of::<ReplicaSet>(&client),
        changes_of::<Pod>(&client),
        changes_of::<Service>(&client),
        changes_of::<Node>(&client),
    ]);
    while changes.next().await.is_some() {
        tokio::time::sleep(SETTLE).await;
        while changes.next().now_or_never().flatten().is_some() {}
        while let Err(error) = step(&client, &mut services, &progress).await {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "a step of the controllers failed");
            tokio::time::sleep(RETRY).await;
        }
    }
}

fn changes_of<K>(client: &Client) -> BoxStream<'static, ()>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff().map(drop).boxed()
}

async fn list<K>(client: &Client) -> Result<Vec<K>, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    Ok(Api::<K>::all(client.clone()).list(&ListParams::default()).await?.items)
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("the API server refused a request")]
    Api(#[from] kube::Error),
    #[error("Services are not up to date")]
    Services(#[from] super::services::ServiceError),
}

async fn step(
    client: &Client,
    services: &mut Services,
    progress: &watch::Sender<Progress>,
) -> Result<(), StepError> {
    let nodes: Vec<Node> = list(client).await?;
    let deployments: Vec<Deployment> = list(client).await?;
    let sets: Vec<ReplicaSet> = list(client).await?;
    let mut pods: Vec<Pod> = list(client).await?;
    let state = replicaset::State { client, deployments: &deployments, sets: &sets, pods: &pods };
    state.reconcile().await?;
    objects::ensure_daemons(client, &nodes, &pods).await?;
    scheduler::reconcile(client, &nodes, &mut pods).await?;
    services.reconcile(&mut list::<Service>(client).await?, &pods).await?;
    progress.send_if_modified(|known| {
        let now = progress_of(&deployments, &nodes, &pods);
        let changed = *known != now;
        *known = now;
        changed
    });
    Ok(())
}

fn progress_of(deployments: &[Deployment], nodes: &[Node], pods: &[Pod]) -> Progress {
    let replicas = |deployment: &Deployment| {
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        usize::try_from(wanted).unwrap_or(0)
    };
    let names = |keep: &dyn Fn(&Pod) -> bool| {
        let kept = pods.iter().filter(|pod| keep(pod));
        let mut names: Vec<_> =
            kept.map(|pod| format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())).collect();
        names.sort_unstable();
        names
    };
    let crashed = |pod: &Pod| {
        let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
        let own = pod.namespace().as_deref() == Some(SYSTEM_NAMESPACE);
        own && containers.unwrap_or_default().iter().any(|container| container.restart_count > 0)
    };
    Progress {
        wanted: deployments.iter().map(replicas).sum::<usize>() + nodes.len(),
        ready: names(&|pod| is_ready(pod) && !crashed(pod)),
        crashed: names(&crashed),
    }
}
