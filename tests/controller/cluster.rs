//! An API server with a few objects, controllers on it, and daemons that do as they are told.

use std::cell::RefCell;
use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use squall::api::{ChaosStatus, Halt, Injection, NetworkChaos, SYSTEM_NAMESPACE};
use squall::controller::{self, LeaseTimes, Options};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::simulated::{make, obey, server};

/// How long anything is waited for; nothing takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Cluster {
    client: Client,
    tasks: RefCell<JoinSet<()>>,
}

/// A controller under way.
pub(crate) struct Controller {
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<Result<(), controller::ControllerError>>,
}

impl Controller {
    /// Ends it in order.
    pub(crate) async fn stop(self) {
        self.shutdown.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    /// Ends it without a chance to give anything back.
    pub(crate) fn kill(self) {
        self.task.abort();
    }
}

impl Cluster {
    /// Two nodes, two web pods, a database with its Service, and the API server's own Service.
    pub(crate) async fn start() -> Self {
        Self::start_without(&[]).await
    }

    /// [`Self::start`] on an API server on which the CRDs of these kinds are not installed.
    pub(crate) async fn start_without(kinds: &[&str]) -> Self {
        let server = server(kinds);
        let cluster = Self { client: server.client("default"), tasks: RefCell::default() };
        let client = &cluster.client;
        make::<k8s_openapi::api::core::v1::Namespace>(
            &Api::all(client.clone()),
            json!({"metadata": {"name": SYSTEM_NAMESPACE}}),
        )
        .await;
        for name in ["n1", "n2"] {
            make::<k8s_openapi::api::core::v1::Node>(
                &Api::all(client.clone()),
                json!({"metadata": {"name": name}}),
            )
            .await;
        }
        cluster.pod("web-1", "web", "n1", "10.0.1.1").await;
        cluster.pod("web-2", "web", "n2", "10.0.2.1").await;
        cluster.pod("db", "db", "n2", "10.0.2.2").await;
        for (name, address) in [("db", "10.96.0.2"), ("kubernetes", "10.96.0.99")] {
            let spec = json!({"clusterIP": address, "clusterIPs": [address], "ports": [{"port": 80}]});
            make::<k8s_openapi::api::core::v1::Service>(
                &cluster.api("default"),
                json!({"metadata": {"name": name}, "spec": spec}),
            )
            .await;
        }
        make::<k8s_openapi::api::discovery::v1::EndpointSlice>(
            &cluster.api("default"),
            json!({"metadata": {"name": "db-1", "labels": {"kubernetes.io/service-name": "db"}},
                "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.2.2"], "conditions": {"ready": true}}]}),
        )
        .await;
        cluster
    }

    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(crate) async fn pod(&self, name: &str, app: &str, node: &str, address: &str) {
        let pods: Api<k8s_openapi::api::core::v1::Pod> = self.api("default");
        make(
            &pods,
            json!({"metadata": {"name": name, "labels": {"app": app}},
                "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}}),
        )
        .await;
        let status = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}});
        pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    pub(crate) fn controller(&self, identity: &str) -> Controller {
        self.controller_with(identity, LeaseTimes::default())
    }

    pub(crate) fn controller_with(&self, identity: &str, lease: LeaseTimes) -> Controller {
        let (shutdown, asked) = oneshot::channel::<()>();
        let options = Options { lease, ..Options::new(identity) };
        // A dropped handle leaves the controller running until the test is over.
        let asked = async move {
            if asked.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let task = tokio::spawn(controller::run(self.client.clone(), options, asked));
        Controller { shutdown, task }
    }

    /// Starts the daemons of all nodes.
    pub(crate) fn daemons(&self) {
        self.tasks.borrow_mut().spawn(daemons(self.client.clone()));
    }

    pub(crate) async fn create(&self, name: &str, spec: Value) {
        let mut whole = json!({
            "action": "partition", "mode": "all", "selector": {"labelSelectors": {"app": "web"}},
            "target": {"mode": "all", "selector": {"labelSelectors": {"app": "db"}}},
        });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        make::<NetworkChaos>(&self.api("default"), json!({"metadata": {"name": name}, "spec": whole})).await;
    }

    /// An experiment with this spec and nothing of the usual one but its action and mode, in this namespace.
    pub(crate) async fn create_in(&self, namespace: &str, name: &str, spec: Value) {
        make::<k8s_openapi::api::core::v1::Namespace>(
            &Api::all(self.client.clone()),
            json!({"metadata": {"name": namespace}}),
        )
        .await;
        let mut whole = json!({"action": "partition", "mode": "all"});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        make::<NetworkChaos>(&self.api(namespace), json!({"metadata": {"name": name}, "spec": whole})).await;
    }

    pub(crate) async fn remove_pod(&self, name: &str) {
        let pods: Api<k8s_openapi::api::core::v1::Pod> = self.api("default");
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        drop(pods.delete(name, &now).await.unwrap());
    }

    /// Takes the leader Lease away, as if the one who held it had given it back.
    pub(crate) async fn release_lease(&self) {
        let leases: Api<k8s_openapi::api::coordination::v1::Lease> = self.api(SYSTEM_NAMESPACE);
        drop(leases.delete("squall-controller", &DeleteParams::default()).await.unwrap());
    }

    pub(crate) async fn halt(&self, name: &str, namespaces: &[&str]) {
        let spec = json!({"namespaces": namespaces});
        make::<Halt>(&Api::all(self.client.clone()), json!({"metadata": {"name": name}, "spec": spec})).await;
    }

    pub(crate) async fn release(&self, name: &str) {
        let api: Api<Halt> = Api::all(self.client.clone());
        drop(api.delete(name, &DeleteParams::default()).await.unwrap());
    }

    pub(crate) async fn patch(&self, name: &str, patch: Value) {
        let api: Api<NetworkChaos> = self.api("default");
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub(crate) async fn delete(&self, name: &str) {
        let api: Api<NetworkChaos> = self.api("default");
        drop(api.delete(name, &DeleteParams::default()).await.unwrap());
    }

    /// Waits until the status of an experiment is as `wanted`, and gives it.
    pub(crate) async fn experiment(&self, name: &str, wanted: impl Fn(&ChaosStatus) -> bool) -> ChaosStatus {
        let api: Api<NetworkChaos> = self.api("default");
        let last = RefCell::new(ChaosStatus::default());
        let reached = tokio::time::timeout(PATIENCE, async {
            loop {
                let status = api.get_status(name).await.unwrap().status.unwrap_or_default();
                let good = wanted(&status);
                *last.borrow_mut() = status;
                if good {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(reached.await.is_ok(), "{name} stays at {:#?}", last.borrow());
        last.into_inner()
    }

    pub(crate) async fn gone(&self, name: &str) {
        let api: Api<NetworkChaos> = self.api("default");
        self.until("the experiment is gone", async || api.get_opt(name).await.unwrap().is_none()).await;
    }

    pub(crate) async fn no_injections(&self) {
        self.until("no Injection is left", async || self.injections().await.is_empty()).await;
    }

    /// All Injections, by node.
    pub(crate) async fn injections(&self) -> Vec<Injection> {
        let mut all = list::<Injection>(&self.api(SYSTEM_NAMESPACE)).await;
        all.sort_by(|a, b| a.spec.node.cmp(&b.spec.node));
        all
    }

    pub(crate) async fn until(&self, what: &str, good: impl AsyncFn() -> bool) {
        let reached = tokio::time::timeout(PATIENCE, async {
            while !good().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(reached.await.is_ok(), "not in time: {what}");
    }

    async fn events(&self, experiment: &str) -> Vec<Event> {
        let about = |event: &Event| {
            event.regarding.as_ref().and_then(|about| about.name.as_deref()) == Some(experiment)
        };
        list::<Event>(&self.api("default")).await.into_iter().filter(about).collect()
    }

    pub(crate) async fn event(&self, experiment: &str, reason: &str) {
        let there = async || {
            self.events(experiment).await.iter().any(|event| event.reason.as_deref() == Some(reason))
        };
        self.until(reason, there).await;
    }

    /// Waits for the last event of an experiment's life, and gives all reasons in alphabetical order.
    pub(crate) async fn event_reasons(&self, experiment: &str) -> Vec<String> {
        self.event(experiment, "Deleted").await;
        let mut reasons: Vec<_> =
            self.events(experiment).await.into_iter().filter_map(|event| event.reason).collect();
        reasons.sort_unstable();
        reasons
    }

    /// The controllers that published events on an experiment.
    pub(crate) async fn event_reporters(&self, experiment: &str) -> Vec<String> {
        self.event(experiment, "Applied").await;
        let all = self.events(experiment).await.into_iter().filter_map(|event| event.reporting_instance);
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

async fn list<K: Clone + DeserializeOwned + Debug>(api: &Api<K>) -> Vec<K> {
    api.list(&kube::api::ListParams::default()).await.unwrap().items
}

/// The daemons of all nodes: each Injection is done at once and reported.
async fn daemons(client: Client) {
    let api: Api<Injection> = Api::namespaced(client, SYSTEM_NAMESPACE);
    let mut watch =
        Box::pin(watcher(api.clone(), watcher::Config::default()).default_backoff().applied_objects());
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        tokio::select! {
            _ = watch.next() => {}
            _ = tick.tick() => {}
        }
        for injection in list(&api).await {
            let status = obey(&injection);
            if injection.status.as_ref() != Some(&status) {
                let patch = Patch::Merge(json!({"status": status}));
                // It may be gone by now.
                drop(api.patch_status(&injection.name_any(), &PatchParams::default(), &patch).await);
            }
        }
    }
}
