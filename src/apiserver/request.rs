//! From an HTTP path and query to what is asked for: which resource, which object, which options.
//!
//! Only reads; whether the object exists is the store's business. Paths as in the Kubernetes API reference:
//! `/api/v1/…` for the core group, `/apis/GROUP/VERSION/…` for all others, `namespaces/NAME/` before namespaced kinds.

use std::time::Duration;

use http::Uri;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::selectors::Selector;
use super::store::Key;
use super::{LogOptions, Resource, StatusError};

/// A watch that names no timeout ends after this time, so that a forgotten connection does not stay for ever.
const DEFAULT_WATCH_TIMEOUT: Duration = Duration::from_mins(30);

/// What a path points at.
pub(super) struct Target<'c> {
    pub(super) resource: &'c Resource,
    /// Index of the resource in `Config::resources`, and so of its table.
    pub(super) table: usize,
    /// The namespace is empty for cluster-scoped kinds and for all namespaces, the name for the collection.
    pub(super) key: Key,
    pub(super) part: Part,
}

/// The subresource that a path ends in.
#[derive(PartialEq)]
pub(super) enum Part {
    Object,
    Status,
    Log,
    /// The port, and the path behind `/proxy` with its leading slash and as the client escaped it.
    Proxy(Option<u16>, String),
}

impl<'c> Target<'c> {
    pub(super) fn parse(resources: &'c [Resource], path: &str) -> Result<Self, StatusError> {
        Self::find(resources, path).ok_or_else(StatusError::no_such_path)
    }

    fn find(resources: &'c [Resource], path: &str) -> Option<Self> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let (group, version) = match segments.next()? {
            "api" => ("", segments.next()?),
            "apis" => (segments.next()?, segments.next()?),
            _ => return None,
        };
        let segments: Vec<&str> = segments.filter(|segment| !segment.is_empty()).collect();
        // `namespaces/NAME` and `namespaces/NAME/status` are the namespace itself, anything longer is inside it.
        let (namespace, rest) = match segments.as_slice() {
            ["namespaces", namespace, rest @ ..] if !matches!(rest, [] | ["status"]) => {
                (decode(namespace), rest)
            }
            all => (String::new(), all),
        };
        let (plural, rest) = rest.split_first()?;
        let (table, resource) = resources.iter().enumerate().find(|(_, resource)| {
            (resource.group, resource.version, resource.plural) == (group, version, *plural)
                && (resource.namespaced || namespace.is_empty())
        })?;
        let is_pod = resource.is_core("pods");
        let (name, part) = match rest {
            [] => (String::new(), Part::Object),
            [name] => (decode(name), Part::Object),
            [name, "status"] if resource.status => (decode(name), Part::Status),
            [name, "log"] if is_pod => (decode(name), Part::Log),
            [name, "proxy", ..] if is_pod => {
                let (name, port) = pod_and_port(&decode(name))?;
                let rest = path.splitn(8, '/').last()?.strip_prefix("proxy")?;
                (name, Part::Proxy(port, if rest.is_empty() { "/" } else { rest }.to_owned()))
            }
            _ => return None,
        };
        // A namespaced object has a namespace in its path; only its collection can be asked for without.
        let complete = name.is_empty() || resource.namespaced != namespace.is_empty();
        complete.then_some(Self { resource, table, key: (namespace, name), part })
    }
}

fn decode(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// `NAME[:PORT]`; the scheme that may stand before is `http`.
fn pod_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [name] | ["http", name, ""] => Some(((*name).to_owned(), None)),
        [name, port] | ["http", name, port] => Some(((*name).to_owned(), Some(port.parse().ok()?))),
        _ => None,
    }
}

/// The query parameters.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(uri: &Uri) -> Self {
        Self(form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The parameter's value; empty counts as not given, as in the real server.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some("1" | "true" | "True"))
    }

    fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, StatusError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let why = || StatusError::bad_request(format!("invalid value {text:?} for the parameter {name}"));
        text.parse().ok().ok_or_else(why).map(Some)
    }

    /// Whether the write is only to be tried; `All` is the only stage there is.
    pub(super) fn dry_run(&self) -> bool {
        self.get("dryRun").is_some()
    }

    pub(super) fn selector(&self, resource: &Resource) -> Result<Selector, StatusError> {
        let text = |name| self.get(name).unwrap_or_default();
        Selector::parse(resource, text("labelSelector"), text("fieldSelector"))
    }

    pub(super) fn log_options(&self) -> Result<LogOptions, StatusError> {
        Ok(LogOptions {
            container: self.get("container").map(ToOwned::to_owned),
            follow: self.flag("follow"),
            previous: self.flag("previous"),
            tail_lines: self.number("tailLines")?,
        })
    }

    /// The version of a get or list, and whether exactly that one is wanted.
    pub(super) fn version(&self) -> Result<(Option<u64>, bool), StatusError> {
        let version = self.number("resourceVersion")?;
        let why = match (self.get("resourceVersionMatch"), version) {
            (None, _) | (Some("NotOlderThan"), Some(_)) => return Ok((version, false)),
            (Some("Exact"), Some(1..)) => return Ok((version, true)),
            (Some("Exact"), Some(0)) => "Forbidden: \"exact\" is forbidden for resourceVersion \"0\"",
            (Some("Exact" | "NotOlderThan"), None) => "Forbidden: it is forbidden without resourceVersion",
            _ => "Unsupported value: supported values: \"Exact\", \"NotOlderThan\"",
        };
        Err(StatusError::invalid_list_options("resourceVersionMatch", why))
    }

    /// The part of a list that is wanted.
    pub(super) fn page(&self) -> Result<Page, StatusError> {
        let limit = self.number("limit")?.filter(|limit| *limit > 0);
        let Some(token) = self.get("continue") else { return Ok(Page { limit, after: None }) };
        if self.get("resourceVersion").is_some_and(|version| version != "0") {
            let why = "specifying resource version is not allowed when using continue";
            return Err(StatusError::bad_request(why));
        }
        let after = Page::read(token).ok_or_else(|| StatusError::bad_request("continue key is not valid"))?;
        Ok(Page { limit, after: Some(after) })
    }

    pub(super) fn watch(&self) -> Result<WatchOptions, StatusError> {
        let initial_events = self.flag("sendInitialEvents");
        if self.get("resourceVersionMatch") != initial_events.then_some("NotOlderThan") {
            let why = "Forbidden: resourceVersionMatch must be NotOlderThan with sendInitialEvents and unset without";
            return Err(StatusError::invalid_list_options("resourceVersionMatch", why));
        }
        let timeout = self.number("timeoutSeconds")?.filter(|seconds| *seconds > 0);
        Ok(WatchOptions {
            since: self.number("resourceVersion")?.filter(|version| *version > 0 && !initial_events),
            bookmarks: self.flag("allowWatchBookmarks"),
            mark_initial_end: initial_events,
            timeout: timeout.map_or(DEFAULT_WATCH_TIMEOUT, Duration::from_secs),
        })
    }
}

/// A part of a list.
pub(super) struct Page {
    /// The most objects that it has.
    pub(super) limit: Option<usize>,
    /// The version of the list's first page, and the last object of the page before.
    pub(super) after: Option<(u64, Key)>,
}

impl Page {
    /// The token that asks for what follows the object. No name contains a slash.
    pub(super) fn token(version: u64, (namespace, name): &Key) -> String {
        format!("{version}/{namespace}/{name}")
    }

    fn read(token: &str) -> Option<(u64, Key)> {
        let (version, key) = token.split_once('/')?;
        let (namespace, name) = key.split_once('/')?;
        Some((version.parse().ok()?, (namespace.to_owned(), name.to_owned())))
    }
}

/// How a watch is to run.
pub(super) struct WatchOptions {
    /// Changes after this version; `None` starts with one `ADDED` for each object there is.
    pub(super) since: Option<u64>,
    pub(super) bookmarks: bool,
    /// Streaming list: a bookmark tells where the objects there were end and the changes begin.
    pub(super) mark_initial_end: bool,
    pub(super) timeout: Duration,
}

/// The options of a DELETE, from its body or its query.
pub(super) fn delete_options(query: &Query, body: &[u8]) -> Result<DeleteOptions, StatusError> {
    let mut options: DeleteOptions =
        if body.is_empty() { DeleteOptions::default() } else { json_body(body)? };
    options.grace_period_seconds = options.grace_period_seconds.or(query.number("gracePeriodSeconds")?);
    Ok(options)
}

/// A request body as JSON.
pub(super) fn json_body<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, StatusError> {
    serde_json::from_slice(body)
        .map_err(|error| StatusError::bad_request(format!("the request body is not valid JSON: {error}")))
}

/// Checks that the body is an object of the kind that the path names, and completes what a client may leave out.
pub(super) fn check_kind(resource: &Resource, object: &mut Value) -> Result<(), StatusError> {
    let refuse = |message| Err(StatusError::bad_request(message));
    let Value::Object(map) = object else {
        return refuse("the request body is not a JSON object".to_owned());
    };
    for (field, expected) in [("apiVersion", resource.api_version()), ("kind", resource.kind.to_owned())] {
        match map.get(field).and_then(Value::as_str) {
            Some(found) if found == expected => {}
            Some(found) => return refuse(format!("the {field} in the data ({found}) is not {expected}")),
            // Built-in kinds are decoded into the type that the path implies; custom ones must name theirs.
            None if resource.is_custom() => return refuse(format!("Object '{field}' is missing")),
            None => drop(map.insert(field.to_owned(), expected.into())),
        }
    }
    let metadata = map.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
    if metadata.is_object() { Ok(()) } else { refuse("metadata is not a JSON object".to_owned()) }
}
