//! A small kubelet: makes the pods that are bound to its node run, and says how they are.
//!
//! It does what the experiments need of the real one: sandboxes that outlive containers, restarts with back-off,
//! images that change in place, probes, graceful termination, honest status, logs. It decides nothing about which
//! pods there are; that is the controllers' part.

mod access;
mod container;
mod image;
pub(crate) mod logs;
mod pod;
mod probe;
mod sandbox;
mod status;

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use access::PodRegistry;
pub(crate) use image::Images;

use super::network::{Addresses, Network};

/// What a kubelet knows of its node.
pub(crate) struct Node {
    /// Name of the Node object.
    pub(crate) name: String,
    /// The node's address, which in the playground is for show only.
    pub(crate) address: Ipv4Addr,
    /// Client of the API server.
    pub(crate) client: Client,
    /// The network that pods are attached to.
    pub(crate) network: Network,
    /// The addresses of this node's pods.
    pub(crate) addresses: Mutex<Addresses>,
    /// The programs that images stand for.
    pub(crate) images: Images,
    /// Where logs and addresses of running pods are found.
    pub(crate) registry: Arc<PodRegistry>,
    /// The node goes down: stop all pods quickly, without telling the API server.
    pub(crate) shutdown: CancellationToken,
}

/// One pod that a worker takes care of.
struct Assigned {
    pod: watch::Sender<Arc<Pod>>,
    /// The object is gone from the API server.
    removed: CancellationToken,
}

/// The pods of one node.
pub(crate) struct Kubelet {
    node: Arc<Node>,
    pods: BTreeMap<String, Assigned>,
    workers: TaskTracker,
}

impl Kubelet {
    /// A kubelet without pods.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node, pods: BTreeMap::new(), workers: TaskTracker::new() }
    }

    /// Follows the pods of its node until the node goes down and all its pods have stopped.
    pub(crate) async fn run(mut self) {
        let pods: Api<Pod> = Api::all(self.node.client.clone());
        let own = watcher::Config::default().fields(&format!("spec.nodeName={}", self.node.name));
        let mut events = pin!(watcher(pods, own).default_backoff());
        let mut listed = HashSet::new();
        let shutdown = self.node.shutdown.clone();
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => break,
                event = events.next() => event,
            };
            match event {
                Some(Ok(watcher::Event::Init)) => listed.clear(),
                Some(Ok(watcher::Event::InitApply(pod))) => {
                    listed.extend(pod.metadata.uid.clone());
                    self.assign(pod);
                }
                Some(Ok(watcher::Event::InitDone)) => self.pods.retain(|uid, assigned| {
                    let kept = listed.contains(uid);
                    if !kept {
                        assigned.removed.cancel();
                    }
                    kept
                }),
                Some(Ok(watcher::Event::Apply(pod))) => self.assign(pod),
                Some(Ok(watcher::Event::Delete(pod))) => self.remove(&pod),
                Some(Err(error)) => tracing::warn!(%error, node = self.node.name, "cannot watch pods"),
                None => break,
            }
        }
        self.workers.close();
        self.workers.wait().await;
    }

    fn assign(&mut self, pod: Pod) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        let pod = Arc::new(pod);
        if let Some(assigned) = self.pods.get(&uid) {
            assigned.pod.send_replace(pod);
            return;
        }
        let (sender, receiver) = watch::channel(pod);
        let removed = CancellationToken::new();
        let worker = pod::Worker::new(Arc::clone(&self.node), receiver, removed.clone());
        self.workers.spawn(worker.run());
        self.pods.insert(uid, Assigned { pod: sender, removed });
    }

    fn remove(&mut self, pod: &Pod) {
        if let Some(assigned) = pod.metadata.uid.as_ref().and_then(|uid| self.pods.remove(uid)) {
            assigned.removed.cancel();
        }
    }
}
