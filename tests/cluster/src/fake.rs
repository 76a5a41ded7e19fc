//! Nodes without a machine, for tests of size: their objects look alive, and what is bound to them runs as far as the API
//! server can tell. A thousand of them cost what their renewed Leases cost.
//!
//! They do of a kubelet what others can see: a Node that is Ready, a Lease that is renewed, pods that start with an address
//! and container ids, and deletions that come to an end. Everything is made so from what the objects say now, also after a time
//! in which the API server was away.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{
    ApiResource, DeleteParams, Object, ObjectMeta, Patch, PatchParams, PostParams, Preconditions,
};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{ClusterError, PATIENCE, PAUSE};

/// On every such node.
const LABEL: &str = "test-cluster/fake";

/// In so long all Leases are renewed. The controller manager is patient for 50 s.
const RENEW_WITHIN: Duration = Duration::from_secs(20);

/// Leases that are renewed together.
const TOGETHER: usize = 10;

/// Requests that are under way at once.
const PARALLEL: usize = 32;

/// Addresses of pods on a node: the last byte of an address, without those of the network and of everybody.
const ADDRESSES: std::ops::RangeInclusive<u8> = 1..=254;

/// Networks that pods can have, 10.0.0.0/24 to 10.63.255.0/24: most nodes that there can be.
const MOST: usize = 64 * 256;

/// Nodes that are alive as long as this is not dropped. Their objects, and those of their pods, stay.
pub struct FakeNodes {
    client: Client,
    count: usize,
    running: watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

impl FakeNodes {
    /// Makes nodes from `fake-0000` on. They are Ready when this is done. Must be called inside a tokio runtime.
    pub async fn start(client: Client, count: usize) -> Result<Self, ClusterError> {
        if count > MOST {
            return Err(ClusterError::Io {
                what: format!("give {count} nodes a network each"),
                source: std::io::ErrorKind::InvalidInput.into(),
            });
        }
        let api: Api<Node> = Api::all(client.clone());
        futures::stream::iter(0..count)
            .map(|number| make(&api, node(number)))
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        let (count_running, running) = watch::channel(0);
        let kubelets = Arc::new(Kubelets { client: client.clone(), pods: Mutex::default(), count_running });
        let mut tasks = JoinSet::new();
        tasks.spawn(renew(client.clone(), count));
        tasks.spawn(stay_ready(client.clone()));
        tasks.spawn(kubelets.run());
        Ok(Self { client, count, running, _tasks: tasks })
    }

    /// The name of one of them.
    pub fn name(number: usize) -> String {
        format!("fake-{number:04}")
    }

    /// Makes pods from `pod-00000` on in a namespace, which is made too, on each node in its turn, and waits until they run.
    /// Ten share `app: app-0` and so on, as pods of a Deployment do; `place-on-node` counts those of a node, from 0.
    pub async fn pods(&self, namespace: &str, count: usize) -> Result<(), ClusterError> {
        if self.count == 0 || count == 0 {
            return Ok(());
        }
        make(&Api::<Namespace>::all(self.client.clone()), json!({ "metadata": { "name": namespace } }))
            .await?;
        // The controller manager makes it; without it no pod is taken.
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        while accounts
            .get_opt("default")
            .await
            .map_err(|error| refused("get", "ServiceAccount", error))?
            .is_none()
        {
            tokio::time::sleep(PAUSE).await;
        }
        let before = *self.running.borrow();
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        futures::stream::iter(0..count)
            .map(|number| make(&api, pod(number, self.count)))
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        let mut running = self.running.clone();
        let all = running.wait_for(|running| *running >= before + count).await;
        all.map(drop).map_err(|_ended| ClusterError::Supervisor)
    }
}

/// Makes an object, unless it is there. A busy API server may break a connection; whether it took the object is found out by
/// asking again.
async fn make<K>(api: &Api<K>, value: Value) -> Result<(), ClusterError>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let refused = |error| refused("make", &K::kind(&()), error);
    let object = serde_json::from_value(value).map_err(|error| refused(kube::Error::SerdeError(error)))?;
    let begun = Instant::now();
    loop {
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_already_exists() => return Ok(()),
            Err(kube::Error::Service(_) | kube::Error::HyperError(_)) if begun.elapsed() < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(refused(error)),
        }
    }
}

fn refused(operation: &str, kind: &str, error: kube::Error) -> ClusterError {
    ClusterError::Api { what: format!("{operation} a {kind}"), source: Box::new(error) }
}

/// The first three bytes of the addresses of a node's pods, where neither Services nor real nodes have one.
fn network(node: usize) -> String {
    format!("10.{}.{}", node / 256, node % 256)
}

/// As a kubelet registers it.
fn node(number: usize) -> Value {
    let name = FakeNodes::name(number);
    let network = format!("{}.0/24", network(number));
    let resources = json!({ "cpu": "32", "memory": "256Gi", "pods": "250", "ephemeral-storage": "1Ti" });
    json!({
        "metadata": { "name": name, "labels": {
            LABEL: "", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "topology.kubernetes.io/zone": format!("zone-{}", number % 3),
        } },
        "spec": { "podCIDR": network, "podCIDRs": [network] },
        "status": {
            "capacity": resources, "allocatable": resources, "conditions": conditions(),
            "addresses": [{ "type": "InternalIP", "address": host(number) }, { "type": "Hostname", "address": name }],
            "nodeInfo": {
                "kubeletVersion": "v0.0.0-fake", "operatingSystem": "linux", "architecture": "amd64",
                "containerRuntimeVersion": "fake://0", "machineID": "", "systemUUID": "", "bootID": "",
                "kernelVersion": "", "osImage": "", "kubeProxyVersion": "",
            },
        },
    })
}

/// The node's own address, of the block for tests of network devices (RFC 2544).
fn host(number: usize) -> String {
    format!("198.18.{}.{}", number / 256, number % 256)
}

/// Conditions of a node that does well.
fn conditions() -> Value {
    let now = now();
    let condition = |(name, status): (&str, &str)| {
        json!({ "type": name, "status": status, "reason": "Fake", "message": "nothing is behind it",
            "lastHeartbeatTime": now, "lastTransitionTime": now })
    };
    let all =
        [("Ready", "True"), ("MemoryPressure", "False"), ("DiskPressure", "False"), ("PIDPressure", "False")];
    all.into_iter().map(condition).collect()
}

/// As the API server writes it: whole seconds.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A pod of about the size that a small Deployment's pods have.
fn pod(number: usize, nodes: usize) -> Value {
    json!({
        "metadata": { "name": format!("pod-{number:05}"), "labels": {
            "app": format!("app-{}", number / 10), "pod-template-hash": "7d9c6b8f5d",
            "place-on-node": (number / nodes).to_string(),
        } },
        "spec": {
            "nodeName": FakeNodes::name(number % nodes),
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{
                "name": "main", "image": "docker.example/team/service:1.2.3",
                "env": [{ "name": "DATABASE", "value": "mongodb://mongo:27017" }, { "name": "LOG", "value": "info" }],
                "ports": [{ "containerPort": 8080 }],
                "readinessProbe": { "httpGet": { "path": "/healthz", "port": 8080 } },
                "resources": { "limits": { "memory": "128Mi" }, "requests": { "cpu": "100m", "memory": "128Mi" } },
            }],
        },
    })
}

// ---- nodes -------------------------------------------------------------------------------------

/// Renews the Leases of all nodes, for ever and evenly; as fast as it can at first, and after a failure: then all are late.
async fn renew(client: Client, count: usize) {
    let api: Api<Lease> = Api::namespaced(client, "kube-node-lease");
    let mut leases: Vec<_> = (0..count).map(|number| new_lease(FakeNodes::name(number))).collect();
    let share = u32::try_from(count.div_ceil(TOGETHER)).unwrap_or(u32::MAX).max(1);
    let mut ticks = tokio::time::interval(RENEW_WITHIN / share);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut late = count;
    loop {
        for together in leases.chunks_mut(TOGETHER) {
            if late == 0 {
                ticks.tick().await;
            }
            let size = together.len();
            let renewals = together.iter_mut().map(|lease| renew_one(&api, lease));
            if futures::future::try_join_all(renewals).await.is_ok() {
                late = late.saturating_sub(size);
            } else {
                late = count;
                tokio::time::sleep(PAUSE).await;
            }
        }
        if count == 0 {
            return;
        }
    }
}

fn new_lease(node: String) -> Lease {
    let spec = LeaseSpec {
        holder_identity: Some(node.clone()),
        lease_duration_seconds: Some(40),
        ..LeaseSpec::default()
    };
    let metadata = ObjectMeta { name: Some(node), ..ObjectMeta::default() };
    Lease { metadata, spec: Some(spec) }
}

/// As kubelets do: replaces the Lease that was written last, which is less work for the API server than a patch.
async fn renew_one(api: &Api<Lease>, lease: &mut Lease) -> kube::Result<()> {
    lease.spec.get_or_insert_default().renew_time = Some(MicroTime(Timestamp::now()));
    let name = lease.metadata.name.clone().unwrap_or_default();
    let written = if lease.metadata.resource_version.is_some() {
        api.replace(&name, &PostParams::default(), lease).await
    } else {
        api.create(&PostParams::default(), lease).await
    };
    match written {
        Ok(written) => {
            *lease = written;
            lease.metadata.managed_fields = None;
        }
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
            *lease = api.get(&name).await?;
            lease.metadata.managed_fields = None;
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => *lease = new_lease(name),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Says again that a node is Ready where the controller manager came to doubt it.
async fn stay_ready(client: Client) {
    let api: Api<Node> = Api::all(client);
    let nodes =
        watcher(api.clone(), watcher::Config::default().labels(LABEL)).default_backoff().applied_objects();
    let is_doubted = |node: &Node| {
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref());
        !conditions.unwrap_or_default().iter().any(|one| one.type_ == "Ready" && one.status == "True")
    };
    let mend = |node: Node| {
        let api = &api;
        async move {
            let (name, params) = (node.name_any(), PatchParams::default());
            let status = Patch::Strategic(json!({ "status": { "conditions": conditions() } }));
            until_taken(|| api.patch_status(&name, &params, &status)).await;
        }
    };
    // Failed watches are begun anew.
    let doubted = nodes.filter_map(|node| ready(node.ok().filter(is_doubted)));
    doubted.for_each_concurrent(PARALLEL, mend).await;
}

/// Tries until the API server answers. What is gone or has changed meanwhile needs nothing more.
async fn until_taken<T, F: Future<Output = kube::Result<T>>>(write: impl Fn() -> F) {
    while let Err(error) = write().await {
        if matches!(error, kube::Error::Api(status) if status.code < 500) {
            return;
        }
        tokio::time::sleep(10 * PAUSE).await;
    }
}

// ---- pods --------------------------------------------------------------------------------------

/// What is read of a pod; the rest is not even taken apart.
type BoundPod = Object<BoundSpec, BoundStatus>;

#[derive(Clone, Debug, Default, Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct BoundSpec {
    #[serde(default)]
    node_name: String,
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Clone, Debug, Deserialize, serde::Serialize)]
struct Container {
    name: String,
    image: String,
}

#[derive(Clone, Debug, Default, Deserialize, serde::Serialize)]
struct BoundStatus {
    #[serde(default)]
    phase: String,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize, serde::Serialize)]
struct Condition {
    #[serde(rename = "type")]
    name: String,
    status: String,
}

/// All of them, as far as pods go.
struct Kubelets {
    client: Client,
    pods: Mutex<BTreeMap<String, Addresses>>,
    count_running: watch::Sender<usize>,
}

/// Of one node: the last byte of each pod's address, by the pod's UID, and the UIDs of those that run.
#[derive(Default)]
struct Addresses {
    given: BTreeMap<String, u8>,
    running: BTreeSet<String>,
}

impl Kubelets {
    async fn run(self: Arc<Self>) {
        let kind = ApiResource::erase::<Pod>(&());
        let api: Api<BoundPod> = Api::all_with(self.client.clone(), &kind);
        let config = watcher::Config::default().fields("spec.nodeName!=");
        let events = watcher(api, config).default_backoff();
        // Failed watches are begun anew.
        let events = events.filter_map(|event| ready(event.ok()));
        events
            .for_each_concurrent(PARALLEL, |event| async {
                match event {
                    watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => self.settle(&pod).await,
                    watcher::Event::Delete(pod) => self.forget(&pod),
                    watcher::Event::Init | watcher::Event::InitDone => {}
                }
            })
            .await;
    }

    /// Makes a pod be what its object asks for.
    async fn settle(&self, pod: &BoundPod) {
        let Some(number) = number_of(&pod.spec.node_name) else { return };
        let (Some(uid), Some(namespace)) = (pod.uid(), pod.namespace()) else { return };
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let name = pod.name_any();
        if pod.metadata.deletion_timestamp.is_some() {
            let only = Preconditions { uid: Some(uid), resource_version: None };
            let now = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(only),
                ..DeleteParams::default()
            };
            until_taken(|| api.delete(&name, &now)).await;
            return;
        }
        let status = pod.status.as_ref();
        let phase = status.map_or("", |status| status.phase.as_str());
        let is_ready = status.is_some_and(|status| {
            status.conditions.iter().any(|one| one.name == "Ready" && one.status == "True")
        });
        match phase {
            "Running" if is_ready => self.runs(&pod.spec.node_name, uid),
            "" | "Pending" | "Running" => {
                let Some(address) = self.address(&pod.spec.node_name, &uid) else { return };
                let address = format!("{}.{address}", network(number));
                let status = running(pod, &uid, &address, &host(number));
                let status = Patch::Strategic(json!({ "metadata": { "uid": uid }, "status": status }));
                let params = PatchParams::default();
                until_taken(|| api.patch_status(&name, &params, &status)).await;
            }
            _ => {}
        }
    }

    fn change<T>(&self, node: &str, change: impl FnOnce(&mut Addresses) -> T) -> T {
        // Every change is one call: a panic cannot leave it half done.
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        change(pods.entry(node.to_owned()).or_default())
    }

    /// The address of a pod, which keeps it; `None` where the node has no more.
    fn address(&self, node: &str, uid: &str) -> Option<u8> {
        self.change(node, |of| {
            if let Some(known) = of.given.get(uid) {
                return Some(*known);
            }
            let taken: BTreeSet<_> = of.given.values().collect();
            let free = ADDRESSES.into_iter().find(|address| !taken.contains(address))?;
            of.given.insert(uid.to_owned(), free);
            Some(free)
        })
    }

    fn runs(&self, node: &str, uid: String) {
        if self.change(node, |of| of.running.insert(uid)) {
            self.count_running.send_modify(|running| *running += 1);
        }
    }

    fn forget(&self, pod: &BoundPod) {
        let uid = pod.uid().unwrap_or_default();
        let ran = self.change(&pod.spec.node_name, |of| {
            of.given.remove(&uid);
            of.running.remove(&uid)
        });
        if ran {
            self.count_running.send_modify(|running| *running -= 1);
        }
    }
}

/// The number of one of our nodes.
fn number_of(node: &str) -> Option<usize> {
    node.strip_prefix("fake-")?.parse().ok().filter(|number| *number < MOST)
}

/// The status of a pod that runs.
fn running(pod: &BoundPod, uid: &str, address: &str, host: &str) -> Value {
    let now = now();
    let condition = |name: &str| json!({ "type": name, "status": "True", "lastProbeTime": null, "lastTransitionTime": now });
    let conditions = ["PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"];
    // As long as real ones: 64 hexadecimal digits, the UID's 32 twice but for the last ones.
    let digits: String = uid.chars().filter(char::is_ascii_hexdigit).collect();
    let containers = pod.spec.containers.iter().enumerate().map(|(number, container)| {
        json!({
            "name": container.name, "image": container.image, "ready": true, "started": true, "restartCount": 0,
            "imageID": format!("{}@sha256:{digits}{digits}", container.image),
            "containerID": format!("containerd://{digits}{digits:.28}{number:04x}"),
            "state": { "running": { "startedAt": now } },
        })
    });
    json!({
        "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
        "hostIP": host, "hostIPs": [{ "ip": host }], "startTime": now,
        "conditions": conditions.map(condition), "containerStatuses": containers.collect::<Value>(),
    })
}
