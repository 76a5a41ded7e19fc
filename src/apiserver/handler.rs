//! From a request to its answer: the one place where verbs meet paths and failures become `Status` objects.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{Stream, StreamExt};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tower::BoxError;

use super::patch::Update;
use super::request::{Page, Part, Query, Target, delete_options, json_body};
use super::store::{Key, Object, Scope, Store, set_member};
use super::write::Writer;
use super::{ApiServer, Resource, StatusError, review, watch};

/// Largest request body, as in the real server.
const MAX_BODY: usize = 3 * 1024 * 1024;

const JSON: &str = "application/json";

/// A whole answer, or the stream of a watch or log.
pub(super) type Body = UnsyncBoxBody<Bytes, BoxError>;

type Answer = Result<Response<Body>, StatusError>;

impl ApiServer {
    /// Answers one request.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Body>
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
        answer.unwrap_or_else(|error| respond(error.code(), error.to_value().to_string()))
    }

    async fn dispatch(&self, request: &Request<Bytes>) -> Answer {
        if request.uri().path() == "/version" {
            let version = json!({ "major": "1", "minor": "33", "gitVersion": "v1.33.0+squall" });
            return Ok(respond(StatusCode::OK, version.to_string()));
        }
        if let Some(review) = review::answer(request.method(), request.uri().path(), request.body()) {
            return Ok(respond(StatusCode::CREATED, review?.to_string()));
        }
        let target = Target::parse(&self.0.config.resources, request.uri().path())?;
        if matches!(target.part, Part::Log | Part::Proxy(..)) {
            return self.reach_pod(request, &target).await;
        }
        if !accepts_json(request.headers()) {
            return Err(StatusError::not_acceptable());
        }
        let query = Query::parse(request.uri());
        if target.key.1.is_empty() {
            self.collection(request, &query, &target)
        } else {
            self.object(request, &query, &target)
        }
    }

    fn object(&self, request: &Request<Bytes>, query: &Query, target: &Target<'_>) -> Answer {
        let status = target.part == Part::Status;
        let update = match *request.method() {
            Method::GET => {
                let store = self.0.store();
                check_reachable(query.version()?.0, &store)?;
                let found = store.get(target.table, &target.key);
                let object = found.ok_or_else(|| StatusError::not_found(target.resource, &target.key.1))?;
                return Ok(respond(StatusCode::OK, object.json.clone()));
            }
            Method::DELETE if !status => {
                let options = delete_options(query, json_bytes(request)?)?;
                let mut store = self.0.store();
                let mut writer = self.writer(&mut store, target, query.dry_run());
                let (object, gone) = writer.delete(&target.key, &options)?;
                let body = if gone { success(target.resource, &object) } else { object.json.clone() };
                return Ok(respond(StatusCode::OK, body));
            }
            Method::PUT => Update::Replace(json_body(json_bytes(request)?)?),
            Method::PATCH => Update::parse(content_type(request.headers()), request.body())?,
            _ => return Err(StatusError::method_not_allowed()),
        };
        let mut store = self.0.store();
        let mut writer = self.writer(&mut store, target, query.dry_run());
        Ok(respond(StatusCode::OK, writer.update(&target.key, update, status)?.json.clone()))
    }

    fn collection(&self, request: &Request<Bytes>, query: &Query, target: &Target<'_>) -> Answer {
        let namespace = &target.key.0;
        let scope = Scope { namespace: namespace.clone(), selector: query.selector(target.resource)? };
        // Of a namespaced kind, what is in all namespaces can be read but not written.
        let writable = target.resource.namespaced != namespace.is_empty();
        if request.method() == Method::GET && query.flag("watch") {
            let lines = watch::open(&self.0, target, scope, &query.watch()?);
            return Ok(stream(JSON, lines.map(|line| Ok(Frame::data(line)))));
        }
        match *request.method() {
            Method::GET => {
                let (version, exact) = query.version()?;
                let store = self.0.store();
                check_reachable(version, &store)?;
                // Only the present is kept, so an exact version of the past is gone.
                if let Some(asked) = version.filter(|asked| exact && *asked != store.version()) {
                    return Err(StatusError::expired(asked, store.version()));
                }
                Ok(respond(StatusCode::OK, page(&store, target, &scope, &query.page()?)?))
            }
            Method::POST if writable => {
                let object = json_body(json_bytes(request)?)?;
                let mut store = self.0.store();
                let mut writer = self.writer(&mut store, target, query.dry_run());
                Ok(respond(StatusCode::CREATED, writer.create(namespace, object)?.json.clone()))
            }
            Method::DELETE if writable => {
                let options = delete_options(query, json_bytes(request)?)?;
                let mut store = self.0.store();
                let keys: Vec<Key> = store.list(target.table, &scope).map(|(key, _)| key.clone()).collect();
                let mut writer = self.writer(&mut store, target, query.dry_run());
                let deleted = keys.iter().map(|key| Ok(writer.delete(key, &options)?.0));
                let deleted = deleted.collect::<Result<Vec<_>, StatusError>>()?;
                Ok(respond(StatusCode::OK, list(target.resource, store.version(), None, deleted.iter())))
            }
            _ => Err(StatusError::method_not_allowed()),
        }
    }

    fn writer<'w>(&'w self, store: &'w mut Store, target: &Target<'w>, dry_run: bool) -> Writer<'w> {
        Writer { config: &self.0.config, store, table: target.table, resource: target.resource, dry_run }
    }

    async fn reach_pod(&self, request: &Request<Bytes>, target: &Target<'_>) -> Answer {
        let (namespace, name) = &target.key;
        let pod = self.0.store().get(target.table, &target.key).cloned();
        let pod = pod.ok_or_else(|| StatusError::not_found(target.resource, name))?;
        let node = &self.0.config.node;
        if let Part::Proxy(port, rest) = &target.part {
            let mut inner = request.clone();
            let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
            let uri = format!("{rest}{query}").parse();
            *inner.uri_mut() =
                uri.map_err(|error| StatusError::bad_request(format!("path behind /proxy: {error}")))?;
            let answer = node.proxy(namespace, name, *port, inner).await?;
            return Ok(answer.map(|body| Full::new(body).map_err(BoxError::from).boxed_unsync()));
        }
        if request.method() != Method::GET {
            return Err(StatusError::method_not_allowed());
        }
        let mut options = Query::parse(request.uri()).log_options()?;
        options.container = Some(container_of(&pod, options.container)?);
        let log = node.log(namespace, name, options).await?;
        Ok(stream("text/plain", log.map(|piece| piece.map(Frame::data).map_err(BoxError::from))))
    }
}

fn respond(code: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).map_err(BoxError::from).boxed_unsync());
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

fn stream(
    content_type: &'static str,
    frames: impl Stream<Item = Result<Frame<Bytes>, BoxError>> + Send + 'static,
) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A part of a list. Every page shows the present, and has the version of the first one: a watch from there tells what
/// changed between them.
fn page(store: &Store, target: &Target<'_>, scope: &Scope, page: &Page) -> Result<Bytes, StatusError> {
    let (version, after) = match &page.after {
        Some((version, key)) => (*version, Some(key)),
        None => (store.version(), None),
    };
    let oldest = store.floor(target.table);
    if version < oldest || version > store.version() {
        return Err(StatusError::expired(version, oldest));
    }
    let mut rest = store.list_after(target.table, scope, after).peekable();
    let mut objects = Vec::new();
    let mut last = None;
    while page.limit.is_none_or(|limit| objects.len() < limit)
        && let Some((key, object)) = rest.next()
    {
        objects.push(object);
        last = Some(key);
    }
    let token = last.filter(|_| rest.peek().is_some()).map(|key| Page::token(version, key));
    Ok(list(target.resource, version, token, objects.into_iter()))
}

fn list<'o>(
    resource: &Resource,
    version: u64,
    token: Option<String>,
    objects: impl Iterator<Item = &'o Arc<Object>>,
) -> Bytes {
    let (kind, api_version) = (resource.kind, resource.api_version());
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    set_member(&mut metadata, "continue", token.map(Value::from));
    let start =
        format!(r#"{{"kind":"{kind}List","apiVersion":"{api_version}","metadata":{metadata},"items":["#);
    let mut body = start.into_bytes();
    for (index, object) in objects.enumerate() {
        body.extend_from_slice(if index > 0 { b"," } else { b"" });
        body.extend_from_slice(&object.json);
    }
    body.extend_from_slice(b"]}");
    body.into()
}

/// What a delete is answered with when the object is gone at once.
fn success(resource: &Resource, object: &Object) -> Bytes {
    let (name, uid) = (object.meta("name"), object.meta("uid"));
    let details = json!({ "name": name, "group": resource.group, "kind": resource.plural, "uid": uid });
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details });
    status.to_string().into()
}

/// A version that this server has not reached cannot be read.
fn check_reachable(version: Option<u64>, store: &Store) -> Result<(), StatusError> {
    let ahead = version.filter(|version| *version > store.version());
    ahead.map_or(Ok(()), |version| Err(StatusError::too_large(version, store.version())))
}

fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// The body of a request that carries an object; without a content type it counts as JSON, as in the real server.
fn json_bytes(request: &Request<Bytes>) -> Result<&[u8], StatusError> {
    let is_json = matches!(content_type(request.headers()), "" | JSON);
    if is_json { Ok(request.body()) } else { Err(StatusError::unsupported_media_type(JSON)) }
}

/// Whether an answer in plain JSON is among what the client takes. One that asks for a table, for metadata only or for
/// protobuf nearly always names JSON as well; one that does not is told so.
fn accepts_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    accepted.split(',').any(|media| {
        let mut parts = media.split(';').map(str::trim);
        matches!(parts.next(), Some(JSON | "application/*" | "*/*"))
            && !parts.any(|part| part.starts_with("as="))
    })
}

/// The container whose log is meant.
fn container_of(pod: &Object, asked: Option<String>) -> Result<String, StatusError> {
    let names = |list| {
        let containers = pod.value.pointer(list).and_then(Value::as_array).into_iter().flatten();
        containers.filter_map(|container| container.get("name")?.as_str()).collect::<Vec<_>>()
    };
    let (mut all, name) = (names("/spec/containers"), pod.meta("name"));
    let Some(asked) = asked else {
        let why =
            format!("a container name must be specified for pod {name}, choose one of: [{}]", all.join(" "));
        return if all.len() == 1 { Ok(all.concat()) } else { Err(StatusError::bad_request(why)) };
    };
    all.extend(names("/spec/initContainers"));
    let why = format!("container {asked} is not valid for pod {name}");
    if all.contains(&&*asked) { Ok(asked) } else { Err(StatusError::bad_request(why)) }
}
