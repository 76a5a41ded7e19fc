//! An in-memory Kubernetes API server: the bus of the playground and of the tests.
//!
//! It serves what Squall's own code uses, with the codes, reasons and words of a real server, so that console, controller
//! and daemon cannot tell which world they are in: list, get, watch (bookmarks, `Expired`, streaming lists), create,
//! update, JSON patch and merge patch, delete, deletecollection, the status subresource, label and field selectors,
//! optimistic concurrency, finalizers, graceful deletion of pods, pod log and pod proxy, and reviews of one's own rights. `tests/api_contract` holds the
//! answers it shares with a kube-apiserver.
//!
//! Not served, and refused rather than imitated: server-side apply, strategic merge patch, YAML, CBOR, protobuf, tables,
//! discovery, authentication. A list in pages (`limit`) is no snapshot: a watch from its version tells what changed while
//! it was read. Nothing is kept on disk; no controller runs here
//! (garbage collection of owner references included), with one exception: a deleted namespace empties itself.

mod handler;
mod patch;
mod request;
mod review;
mod selectors;
mod serve;
mod status;
mod store;
mod watch;
mod write;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::{Request, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

pub use status::StatusError;
pub use store::Limits;

use store::Store;
use write::Writer;

/// The namespaces that a Kubernetes API server makes itself.
const FIRST_NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// A kind of objects that the server stores.
#[derive(Debug, Clone)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version, such as `v1`.
    pub version: &'static str,
    /// Name in paths.
    pub plural: &'static str,
    /// Name in objects.
    pub kind: &'static str,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether there is a status subresource; then status changes only through it.
    pub status: bool,
    /// Paths that a field selector may use besides `metadata.name` and `metadata.namespace`, such as `spec.node`.
    pub selectable: &'static [&'static str],
}

impl Resource {
    /// The built-in kinds that Squall's parts use. Events are those of `events.k8s.io/v1`, which kube's recorder writes;
    /// the same objects under `v1` are not served.
    pub fn builtin() -> Vec<Self> {
        let resource = |group, plural, kind, namespaced, status, selectable| Self {
            group,
            version: "v1",
            plural,
            kind,
            namespaced,
            status,
            selectable,
        };
        vec![
            resource("", "namespaces", "Namespace", false, true, &["status.phase"]),
            resource("", "nodes", "Node", false, true, &[]),
            resource("", "pods", "Pod", true, true, &["spec.nodeName", "status.phase", "status.podIP"]),
            resource("", "services", "Service", true, true, &["spec.clusterIP", "spec.type"]),
            resource("", "configmaps", "ConfigMap", true, false, &[]),
            resource("", "persistentvolumes", "PersistentVolume", false, true, &[]),
            resource("", "persistentvolumeclaims", "PersistentVolumeClaim", true, true, &[]),
            resource("apps", "deployments", "Deployment", true, true, &[]),
            resource("apps", "replicasets", "ReplicaSet", true, true, &[]),
            resource("coordination.k8s.io", "leases", "Lease", true, false, &[]),
            resource("discovery.k8s.io", "endpointslices", "EndpointSlice", true, false, &[]),
            resource("events.k8s.io", "events", "Event", true, false, &["reason", "type", "regarding.name"]),
        ]
    }

    fn api_version(&self) -> String {
        let slash = if self.group.is_empty() { "" } else { "/" };
        format!("{}{slash}{}", self.group, self.version)
    }

    /// `plural.group`, as messages name a resource.
    fn qualified(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        format!("{}{dot}{}", self.plural, self.group)
    }

    fn is_core(&self, plural: &str) -> bool {
        self.group.is_empty() && self.plural == plural
    }

    /// Groups under `k8s.io` belong to Kubernetes; any other group with a dot comes from a custom resource definition.
    fn is_custom(&self) -> bool {
        self.group.contains('.') && !self.group.ends_with(".k8s.io")
    }
}

/// What is wrong with one field of an object.
#[derive(Debug, Clone)]
pub struct Cause {
    /// The path, such as `spec.selector.mode`.
    pub field: String,
    /// What is wrong, starting with its class as in Kubernetes: `Required value: …`, `Invalid value: "x": …`,
    /// `Unsupported value: …`, `Forbidden: …`.
    pub message: String,
}

/// Decides on every create and update before it is stored.
pub trait Admission: Send + Sync {
    /// Sets defaults, prunes unknown fields and validates. `old` is `None` on create; on a write to the status
    /// subresource everything but the status equals `old`. Causes become `422 Invalid`. Runs inside the write, so it has
    /// to be quick and may not call the server.
    fn admit(&self, resource: &Resource, old: Option<&Value>, new: &mut Value) -> Result<(), Vec<Cause>>;
}

/// A body that arrives piece by piece.
pub type ByteStream = BoxStream<'static, std::io::Result<Bytes>>;

/// The query of a pod's log, `core/v1.PodLogOptions`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Which container; unset when the pod has just one.
    pub container: Option<String>,
    /// Stay connected and send what is logged from now on.
    pub follow: bool,
    /// The log of the container's previous run.
    pub previous: bool,
    /// Only so many lines from the end.
    pub tail_lines: Option<u64>,
}

/// What a node answers, or why it does not.
pub type NodeFuture<T> = BoxFuture<'static, Result<T, StatusError>>;

/// Reaches into pods for the server: whoever runs the pods implements it. The pod exists when these are called.
pub trait NodeAccess: Send + Sync {
    /// A container's log.
    fn log(&self, namespace: &str, pod: &str, options: LogOptions) -> NodeFuture<ByteStream>;

    /// An HTTP request to a pod's port (`None`: its first); the request's URI is the path behind `/proxy`.
    fn proxy(
        &self,
        namespace: &str,
        pod: &str,
        port: Option<u16>,
        request: Request<Bytes>,
    ) -> NodeFuture<Response<Bytes>>;
}

/// What a server is made of.
#[derive(Clone)]
pub struct Config {
    /// The kinds it serves; `namespaces` must be among them if any kind is namespaced.
    pub resources: Vec<Resource>,
    /// Decides on writes.
    pub admission: Arc<dyn Admission>,
    /// Reaches into pods.
    pub node: Arc<dyn NodeAccess>,
    /// What bounds the memory of histories and watches.
    pub limits: Limits,
    /// Event objects that are kept; the oldest goes first.
    pub max_events: usize,
    /// Time between the bookmarks of a watch that allows them.
    pub bookmark_interval: Duration,
}

impl Config {
    /// The usual bounds.
    pub fn new(resources: Vec<Resource>, admission: Arc<dyn Admission>, node: Arc<dyn NodeAccess>) -> Self {
        Self {
            resources,
            admission,
            node,
            limits: Limits::default(),
            max_events: 1000,
            bookmark_interval: Duration::from_mins(1),
        }
    }

    fn find(&self, group: &str, plural: &str) -> Option<(usize, &Resource)> {
        let mut resources = self.resources.iter().enumerate();
        resources.find(|(_, resource)| resource.group == group && resource.plural == plural)
    }
}

struct Inner {
    config: Config,
    store: Mutex<Store>,
}

impl Inner {
    fn store(&self) -> MutexGuard<'_, Store> {
        // A panic in an admission leaves the store as it was: commits are the last step of a write.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server. Clones share one store.
#[derive(Clone)]
pub struct ApiServer(Arc<Inner>);

impl ApiServer {
    /// A server that holds nothing but the namespaces that Kubernetes makes itself.
    pub fn new(config: Config) -> Self {
        // Versions start at the clock's milliseconds: one that a client kept from an earlier server is then too old
        // here, and the client lists again instead of resuming in a history that is not its own.
        let first = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(1);
        let mut store = Store::new(config.resources.len(), first, config.limits);
        if let Some((table, resource)) = config.find("", "namespaces") {
            for name in FIRST_NAMESPACES {
                let mut writer =
                    Writer { config: &config, store: &mut store, table, resource, dry_run: false };
                if let Err(error) = writer.create("", json!({ "metadata": { "name": name } })) {
                    tracing::error!(%error, name, "cannot make the namespace");
                }
            }
        }
        Self(Arc::new(Inner { config, store: Mutex::new(store) }))
    }

    /// A client in the same process. Must be called inside a tokio runtime.
    pub fn client(&self, default_namespace: &str) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move { Ok::<_, std::convert::Infallible>(server.answer(request).await) }
        });
        kube::Client::new(service, default_namespace)
    }
}
