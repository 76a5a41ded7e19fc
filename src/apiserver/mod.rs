//! An in-memory Kubernetes API server: the bus of the playground and of the tests.
//!
//! It serves what Squall's own code uses, with the codes, reasons and words of a real server, so that console, controller
//! and daemon cannot tell which world they are in: list, get, watch (bookmarks, `Expired`, streaming lists), create,
//! update, JSON patch and merge patch, delete, deletecollection, the status subresource, label and field selectors,
//! optimistic concurrency, finalizers, graceful deletion of pods, pod log and pod proxy. `tests/api_contract` holds the
//! answers it shares with a kube-apiserver.
//!
//! Not served, and refused rather than imitated: server-side apply, strategic merge patch, YAML, CBOR, protobuf, tables,
//! discovery, authentication. `limit` is ignored, which the API allows. Nothing is kept on disk; no controller runs here
//! (garbage collection of owner references included), with one exception: a deleted namespace empties itself.

mod patch;
mod request;
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
use futures::stream::{BoxStream, StreamExt};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use serde_json::{Value, json};
use tower::BoxError;

pub use status::StatusError;

use patch::Patch;
use request::{DeleteOptions, Part, Query, Target, json_body};
use store::{Key, Limits, Object, Scope, Store};
use write::{Deleted, Update, Writer};

/// Largest request body, as in the real server.
const MAX_BODY: usize = 3 * 1024 * 1024;

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
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `plural.group`, as messages name a resource.
    fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
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

/// Reaches into pods for the server: whoever runs the pods implements it. The pod exists when these are called.
pub trait NodeAccess: Send + Sync {
    /// A container's log.
    fn log(
        &self,
        namespace: &str,
        pod: &str,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<ByteStream, StatusError>>;

    /// An HTTP request to a pod's port (`None`: its first); the request's URI is the path behind `/proxy`.
    fn proxy(
        &self,
        namespace: &str,
        pod: &str,
        port: Option<u16>,
        request: Request<Bytes>,
    ) -> BoxFuture<'static, Result<Response<Bytes>, StatusError>>;
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
    /// Changes of one resource that a watch can resume over; older versions are `Expired`.
    pub history_events: usize,
    /// The same bound in encoded bytes.
    pub history_bytes: usize,
    /// Events that may wait for one watch; a slower client is disconnected and resumes.
    pub watch_queue: usize,
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
            history_events: 4096,
            history_bytes: 8 * 1024 * 1024,
            watch_queue: 1024,
            max_events: 1000,
            bookmark_interval: Duration::from_mins(1),
        }
    }

    fn find(&self, group: &str, plural: &str) -> Option<(usize, &Resource)> {
        let mut resources = self.resources.iter().enumerate();
        resources.find(|(_, resource)| resource.group == group && resource.plural == plural)
    }
}

type Body = UnsyncBoxBody<Bytes, BoxError>;
type Answer = Result<Response<Body>, StatusError>;

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
        let limits = Limits {
            history_events: config.history_events,
            history_bytes: config.history_bytes,
            watch_queue: config.watch_queue,
        };
        // Versions start at the clock's milliseconds: one that a client kept from an earlier server is then too old
        // here, and the client lists again instead of resuming in a history that is not its own.
        let first = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(1);
        let store = Store::new(config.resources.len(), first, limits);
        let server = Self(Arc::new(Inner { config, store: Mutex::new(store) }));
        if let Some((table, resource)) = server.0.config.find("", "namespaces") {
            for name in FIRST_NAMESPACES {
                let namespace = json!({ "metadata": { "name": name } });
                if let Err(error) =
                    server.write(table, resource, false, |mut writer| writer.create("", namespace))
                {
                    tracing::error!(%error, name, "cannot make the namespace");
                }
            }
        }
        server
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

    /// Answers one request. Failures become `Status` objects here and nowhere else.
    async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let answer = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => self.dispatch(&Request::from_parts(parts, body.to_bytes())).await,
            Err(error) if error.is::<LengthLimitError>() => Err(StatusError::too_large_body(MAX_BODY)),
            Err(error) => Err(StatusError::bad_request(format!("cannot read the request body: {error}"))),
        };
        answer.unwrap_or_else(|error| respond(error.code(), error.to_value().to_string().into()))
    }

    async fn dispatch(&self, request: &Request<Bytes>) -> Answer {
        let path = request.uri().path();
        if matches!(path, "/healthz" | "/livez" | "/readyz") {
            return Ok(respond(StatusCode::OK, Bytes::from_static(b"ok")));
        }
        if path == "/version" {
            let version = json!({ "major": "1", "minor": "33", "gitVersion": concat!("v1.33.0-squall-", env!("CARGO_PKG_VERSION")) });
            return Ok(respond(StatusCode::OK, version.to_string().into()));
        }
        let target = Target::parse(&self.0.config.resources, path)?;
        let resource = self.0.config.resources.get(target.table).ok_or_else(StatusError::no_such_path)?;
        if let (Some(name), Part::Log | Part::Proxy { .. }) = (&target.name, &target.part) {
            return self.reach_pod(request, &target, resource, name).await;
        }
        if !accepts_json(request.headers()) {
            return Err(StatusError::not_acceptable());
        }
        let query = Query::parse(request.uri());
        match &target.name {
            Some(name) => self.object(request, &query, &target, resource, name),
            None => self.collection(request, &query, &target, resource),
        }
    }

    fn object(
        &self,
        request: &Request<Bytes>,
        query: &Query,
        target: &Target,
        resource: &Resource,
        name: &str,
    ) -> Answer {
        let key = (target.namespace.clone(), name.to_owned());
        let status = target.part == Part::Status;
        let update = match *request.method() {
            Method::GET => {
                let store = self.0.store();
                check_reachable(query.version()?.0, &store)?;
                let object =
                    store.get(target.table, &key).ok_or_else(|| StatusError::not_found(resource, name))?;
                return Ok(respond(StatusCode::OK, object.json.clone()));
            }
            Method::DELETE if !status => {
                let options = DeleteOptions::parse(query, json_or_empty(request)?)?;
                let deleted = self.write(target.table, resource, options.dry_run(), |mut writer| {
                    writer.delete(&key, &options)
                })?;
                return Ok(respond(StatusCode::OK, deleted_body(resource, &deleted)));
            }
            Method::PUT => Update::Replace(json_body(json_or_empty(request)?)?),
            Method::PATCH => Update::Patch(Patch::parse(content_type(request.headers()), request.body())?),
            _ => return Err(StatusError::method_not_allowed()),
        };
        let updated = self.write(target.table, resource, query.dry_run(), |mut writer| {
            writer.update(&key, update, status)
        })?;
        Ok(respond(StatusCode::OK, updated.json.clone()))
    }

    fn collection(
        &self,
        request: &Request<Bytes>,
        query: &Query,
        target: &Target,
        resource: &Resource,
    ) -> Answer {
        let scope = Scope { namespace: target.namespace.clone(), selector: query.selector(resource)? };
        match *request.method() {
            Method::GET if query.flag("watch") => {
                let lines = watch::open(&self.0, target.table, scope, &query.watch()?);
                Ok(stream(lines.map(|line| Ok(Frame::data(line)))))
            }
            Method::GET => {
                let (version, exact) = query.version()?;
                let store = self.0.store();
                check_reachable(version, &store)?;
                // Only the present is kept, so an exact version of the past is gone.
                if let Some(asked) = version.filter(|asked| exact && *asked != store.version()) {
                    return Err(StatusError::expired(asked, store.version()));
                }
                let objects = store.list(target.table, &scope).map(|(_, object)| object);
                Ok(respond(StatusCode::OK, list(resource, store.version(), objects)))
            }
            Method::POST if resource.namespaced != target.namespace.is_empty() => {
                let object = json_body(json_or_empty(request)?)?;
                let created = self.write(target.table, resource, query.dry_run(), |mut writer| {
                    writer.create(&target.namespace, object)
                })?;
                Ok(respond(StatusCode::CREATED, created.json.clone()))
            }
            Method::DELETE if resource.namespaced != target.namespace.is_empty() => {
                let options = DeleteOptions::parse(query, json_or_empty(request)?)?;
                self.write(target.table, resource, options.dry_run(), |mut writer| {
                    let found: Vec<(Key, Arc<Object>)> = writer
                        .store
                        .list(target.table, &scope)
                        .map(|(k, o)| (k.clone(), Arc::clone(o)))
                        .collect();
                    for (key, _) in &found {
                        writer.delete(key, &options)?;
                    }
                    let objects = found.iter().map(|(_, object)| object);
                    Ok(respond(StatusCode::OK, list(resource, writer.store.version(), objects)))
                })
            }
            _ => Err(StatusError::method_not_allowed()),
        }
    }

    /// Runs a write under the store's lock.
    fn write<T>(
        &self,
        table: usize,
        resource: &Resource,
        dry_run: bool,
        write: impl FnOnce(Writer<'_>) -> Result<T, StatusError>,
    ) -> Result<T, StatusError> {
        let mut store = self.0.store();
        write(Writer { config: &self.0.config, store: &mut store, table, resource, dry_run })
    }

    async fn reach_pod(
        &self,
        request: &Request<Bytes>,
        target: &Target,
        resource: &Resource,
        name: &str,
    ) -> Answer {
        let key = (target.namespace.clone(), name.to_owned());
        let pod = self.0.store().get(target.table, &key).cloned();
        let pod = pod.ok_or_else(|| StatusError::not_found(resource, name))?;
        let node = &self.0.config.node;
        if let Part::Proxy { port, rest } = &target.part {
            let mut inner = request.clone();
            let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
            *inner.uri_mut() = format!("{rest}{query}")
                .parse()
                .map_err(|error| StatusError::bad_request(format!("invalid path behind /proxy: {error}")))?;
            let answer = node.proxy(&target.namespace, name, *port, inner).await?;
            return Ok(answer.map(|body| Full::new(body).map_err(BoxError::from).boxed_unsync()));
        }
        if request.method() != Method::GET {
            return Err(StatusError::method_not_allowed());
        }
        let mut options = Query::parse(request.uri()).log_options()?;
        options.container = Some(container_of(&pod, options.container)?);
        let log = node.log(&target.namespace, name, options).await?;
        let mut answer = stream(log.map(|piece| piece.map(Frame::data).map_err(BoxError::from)));
        answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
        Ok(answer)
    }
}

fn respond(code: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).map_err(BoxError::from).boxed_unsync());
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn stream(
    frames: impl futures::Stream<Item = Result<Frame<Bytes>, BoxError>> + Send + 'static,
) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn list<'o>(resource: &Resource, version: u64, objects: impl Iterator<Item = &'o Arc<Object>>) -> Bytes {
    let (kind, api_version) = (resource.kind, resource.api_version());
    let mut body = format!(
        r#"{{"kind":"{kind}List","apiVersion":"{api_version}","metadata":{{"resourceVersion":"{version}"}},"items":["#
    )
    .into_bytes();
    for (index, object) in objects.enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&object.json);
    }
    body.extend_from_slice(b"]}");
    body.into()
}

/// As in the real server: an object that is gone is told by a `Status`, one that stays for a while by itself.
fn deleted_body(resource: &Resource, deleted: &Deleted) -> Bytes {
    match deleted {
        Deleted::Pending(object) => object.json.clone(),
        Deleted::Gone(object) => {
            let mut details =
                json!({ "name": object.meta("name"), "kind": resource.plural, "uid": object.meta("uid") });
            if let (false, Some(details)) = (resource.group.is_empty(), details.as_object_mut()) {
                details.insert("group".to_owned(), resource.group.into());
            }
            let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details });
            status.to_string().into()
        }
    }
}

/// A version that this server has not reached cannot be read.
fn check_reachable(version: Option<u64>, store: &Store) -> Result<(), StatusError> {
    match version.filter(|version| *version > store.version()) {
        Some(version) => Err(StatusError::too_large(version, store.version())),
        None => Ok(()),
    }
}

fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// The body of a request that carries an object; without a content type it counts as JSON, as in the real server.
fn json_or_empty(request: &Request<Bytes>) -> Result<&[u8], StatusError> {
    match content_type(request.headers()) {
        "" | "application/json" => Ok(request.body()),
        _ => Err(StatusError::unsupported_media_type("application/json")),
    }
}

/// Whether an answer in plain JSON is among what the client takes. One that asks for a table, for metadata only or for
/// protobuf nearly always names JSON as well; one that does not is told so.
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut accepted =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    accepted.peek().is_none()
        || accepted.flat_map(|value| value.split(',')).any(|media| {
            let mut parts = media.split(';').map(str::trim);
            matches!(parts.next(), Some("application/json" | "application/*" | "*/*"))
                && !parts.any(|parameter| parameter.starts_with("as="))
        })
}

/// The container whose log is meant.
fn container_of(pod: &Object, asked: Option<String>) -> Result<String, StatusError> {
    let containers = ["/spec/containers", "/spec/initContainers"].map(|list| {
        let list = pod.value.pointer(list).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|container| container.get("name")?.as_str()).collect::<Vec<_>>()
    });
    let [main, init] = &containers;
    let name = pod.meta("name");
    match (asked, main.as_slice()) {
        (Some(asked), _) if main.contains(&asked.as_str()) || init.contains(&asked.as_str()) => Ok(asked),
        (Some(asked), _) => {
            Err(StatusError::bad_request(format!("container {asked} is not valid for pod {name}")))
        }
        (None, [only]) => Ok((*only).to_owned()),
        (None, several) => Err(StatusError::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            several.join(" ")
        ))),
    }
}
