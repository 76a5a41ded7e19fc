//! An in-memory server with the contract's custom kind: its admission interprets the schema of `widgets.yaml`, so that the
//! same file describes the kind here and in a real cluster.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use http::{Request, Response};
use serde_json::{Map, Value, json};
use squall::apiserver::{
    Admission, ApiServer, ByteStream, Cause, Config, LogOptions, NodeAccess, Resource, StatusError,
};
use tokio::net::UnixListener;

pub(crate) fn start() -> ApiServer {
    ApiServer::new(config())
}

pub(crate) fn config() -> Config {
    let definition: Value = serde_yaml::from_str(include_str!("widgets.yaml")).unwrap();
    let schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    let mut resources = Resource::builtin();
    resources.push(Resource {
        group: "contract.squall.dev",
        version: "v1",
        plural: "widgets",
        kind: "Widget",
        namespaced: true,
        status: true,
        selectable: &["spec.node"],
    });
    Config::new(resources, Arc::new(SchemaAdmission(schema)), Arc::new(EchoNode))
}

/// A server's socket in a folder of its own.
pub(crate) struct Socket {
    pub(crate) path: PathBuf,
    _folder: tempfile::TempDir,
    _server: tokio_util::task::AbortOnDropHandle<()>,
}

impl Socket {
    pub(crate) fn serve(server: ApiServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(server.serve_unix(listener));
        Self { path, _folder: folder, _server: tokio_util::task::AbortOnDropHandle::new(server) }
    }
}

struct SchemaAdmission(Value);

impl Admission for SchemaAdmission {
    fn admit(&self, resource: &Resource, _old: Option<&Value>, new: &mut Value) -> Result<(), Vec<Cause>> {
        let mut causes = Vec::new();
        if resource.kind == "Widget" {
            let object = new.as_object_mut().unwrap();
            let kept = ["apiVersion", "kind", "metadata"].map(|key| (key, object.remove(key)));
            apply_schema(&self.0, "", new, &mut causes);
            let object = new.as_object_mut().unwrap();
            object.extend(kept.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        }
        if causes.is_empty() { Ok(()) } else { Err(causes) }
    }
}

/// Prunes, sets defaults and validates as a structural schema does, as far as `widgets.yaml` needs it.
fn apply_schema(schema: &Value, path: &str, value: &mut Value, causes: &mut Vec<Cause>) {
    let mut refuse = |field: &str, message: String| causes.push(Cause { field: field.to_owned(), message });
    let text = value.to_string();
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        refuse(path, format!("Unsupported value: {text}: supported values: {}", schema["enum"]));
    }
    if schema["maximum"].as_i64().is_some_and(|maximum| value.as_i64() > Some(maximum)) {
        refuse(
            path,
            format!(
                "Invalid value: {text}: {path} in body should be less than or equal to {}",
                schema["maximum"]
            ),
        );
    }
    if schema["minimum"].as_i64().is_some_and(|minimum| value.as_i64() < Some(minimum)) {
        refuse(
            path,
            format!(
                "Invalid value: {text}: {path} in body should be greater than or equal to {}",
                schema["minimum"]
            ),
        );
    }
    let (Some(properties), Value::Object(object)) = (schema["properties"].as_object(), value) else { return };
    object.retain(|key, _| properties.contains_key(key));
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !object.contains_key(key) {
            refuse(&join(key), "Required value".to_owned());
        }
    }
    for (key, schema) in properties {
        match (object.get_mut(key), schema.get("default")) {
            (Some(value), _) => apply_schema(schema, &join(key), value, causes),
            (None, Some(default)) => drop(object.insert(key.clone(), default.clone())),
            (None, None) => {}
        }
    }
}

/// A node whose pods say what they were asked.
struct EchoNode;

impl NodeAccess for EchoNode {
    fn log(
        &self,
        namespace: &str,
        pod: &str,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<ByteStream, StatusError>> {
        let line = format!(
            "{namespace}/{pod}/{} tail {:?} previous {}\n",
            options.container.as_deref().unwrap_or("no container"),
            options.tail_lines,
            options.previous
        );
        let first = stream::iter([Ok(Bytes::from(line))]);
        let log = if options.follow { first.chain(stream::pending()).boxed() } else { first.boxed() };
        async move { Ok(log) }.boxed()
    }

    fn proxy(
        &self,
        namespace: &str,
        pod: &str,
        port: Option<u16>,
        request: Request<Bytes>,
    ) -> BoxFuture<'static, Result<Response<Bytes>, StatusError>> {
        let mut said = Map::new();
        said.insert("pod".into(), json!(format!("{namespace}/{pod}")));
        said.insert("port".into(), json!(port));
        said.insert("method".into(), json!(request.method().as_str()));
        said.insert("uri".into(), json!(request.uri().to_string()));
        said.insert("body".into(), json!(String::from_utf8_lossy(request.body())));
        let answer = if port == Some(1) {
            Err(StatusError::unavailable(format!("pod {pod} does not answer on port 1")))
        } else {
            Ok(Response::builder().status(418).body(Bytes::from(Value::Object(said).to_string())).unwrap())
        };
        async move { answer }.boxed()
    }
}
