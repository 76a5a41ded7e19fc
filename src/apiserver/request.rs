//! From an HTTP path and query to what is asked for: which resource, which object, which options.
//!
//! Only reads; whether the object exists is the store's business. Paths as in the Kubernetes API reference:
//! `/api/v1/…` for the core group, `/apis/GROUP/VERSION/…` for all others, `namespaces/NAME/` before namespaced kinds.

use std::time::Duration;

use http::Uri;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

use super::selectors::Selector;
use super::{Cause, LogOptions, Resource, StatusError};

/// A watch that names no timeout ends after this time, so that a forgotten connection does not stay for ever.
const DEFAULT_WATCH_TIMEOUT: Duration = Duration::from_mins(30);

/// What a path points at.
#[derive(Debug, PartialEq)]
pub(super) struct Target {
    /// Index into `Config::resources`.
    pub(super) table: usize,
    /// Empty for cluster-scoped kinds, and for a list over all namespaces.
    pub(super) namespace: String,
    /// `None` for the collection.
    pub(super) name: Option<String>,
    pub(super) part: Part,
}

/// The subresource that a path ends in.
#[derive(Debug, PartialEq)]
pub(super) enum Part {
    Object,
    Status,
    Log,
    /// `rest` is the path behind `/proxy`, with its leading slash and as the client escaped it.
    Proxy {
        port: Option<u16>,
        rest: String,
    },
}

impl Target {
    pub(super) fn parse(resources: &[Resource], path: &str) -> Result<Self, StatusError> {
        Self::find(resources, path).ok_or_else(StatusError::no_such_path)
    }

    fn find(resources: &[Resource], path: &str) -> Option<Self> {
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
        let table = resources.iter().position(|resource| {
            resource.group == group
                && resource.version == version
                && resource.plural == *plural
                && (resource.namespaced || namespace.is_empty())
        })?;
        let resource = resources.get(table)?;
        let is_pod = group.is_empty() && *plural == "pods";
        let (name, part) = match rest {
            [] => (None, Part::Object),
            [name] => (Some(decode(name)), Part::Object),
            [name, "status"] if resource.status => (Some(decode(name)), Part::Status),
            [name, "log"] if is_pod => (Some(decode(name)), Part::Log),
            [name, "proxy", ..] if is_pod => {
                let (name, port) = pod_and_port(&decode(name))?;
                let rest = path.split_once("/proxy").map_or("", |(_, rest)| rest);
                (Some(name), Part::Proxy { port, rest: if rest.is_empty() { "/" } else { rest }.to_owned() })
            }
            _ => return None,
        };
        // A namespaced object has a namespace in its path; only its collection can be asked for without.
        (name.is_none() || resource.namespaced != namespace.is_empty()).then_some(Self {
            table,
            namespace,
            name,
            part,
        })
    }
}

fn decode(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// `[SCHEME:]NAME[:PORT]`; only the scheme `http` is served.
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
        matches!(self.get(name), Some("1" | "t" | "T" | "true" | "True" | "TRUE"))
    }

    fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, StatusError> {
        let parse = |text: &str| {
            text.parse().map_err(|_not_a_number| {
                StatusError::bad_request(format!("invalid value {text:?} for the query parameter {name}"))
            })
        };
        self.get(name).map(parse).transpose()
    }

    /// Whether the write is only to be tried. `All` is the only stage there is.
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

    /// The version of a get or list: `(version, exactly that one)`.
    pub(super) fn version(&self) -> Result<(Option<u64>, bool), StatusError> {
        let version = self.number("resourceVersion")?;
        let refuse =
            |text: &str| Err(StatusError::invalid_list_options("resourceVersionMatch", text.to_owned()));
        // `limit` is answered with everything, which a server may do, so no token of ours exists.
        if self.get("continue").is_some() {
            return Err(StatusError::bad_request("continue key is not valid"));
        }
        match (self.get("resourceVersionMatch"), version) {
            (None | Some("NotOlderThan"), Some(_)) | (None, None) => Ok((version, false)),
            (Some("Exact"), Some(0)) => {
                refuse("Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
            }
            (Some("Exact"), Some(_)) => Ok((version, true)),
            (Some("Exact" | "NotOlderThan"), None) => {
                refuse("Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided")
            }
            (Some(_), _) => refuse("Unsupported value: supported values: \"Exact\", \"NotOlderThan\""),
        }
    }

    pub(super) fn watch(&self) -> Result<WatchOptions, StatusError> {
        let forbidden =
            |field, text: &str| Err(StatusError::invalid_list_options(field, format!("Forbidden: {text}")));
        let initial_events = self.flag("sendInitialEvents");
        match (self.get("resourceVersionMatch"), initial_events) {
            (Some("NotOlderThan"), true) | (None, false) => {}
            (Some(_), false) => {
                return forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden for watch");
            }
            (_, true) => {
                let text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                return forbidden("resourceVersionMatch", text);
            }
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

/// How a watch is to run.
pub(super) struct WatchOptions {
    /// Changes after this version; `None` starts with one `ADDED` for each object there is.
    pub(super) since: Option<u64>,
    pub(super) bookmarks: bool,
    /// Streaming list: a bookmark tells where the objects there were end and the changes begin.
    pub(super) mark_initial_end: bool,
    pub(super) timeout: Duration,
}

/// The body of a DELETE, `meta/v1.DeleteOptions`; propagation is the garbage collector's, which is not part of a server.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DeleteOptions {
    pub(super) grace_period_seconds: Option<i64>,
    pub(super) preconditions: Option<Preconditions>,
    dry_run: Vec<String>,
}

/// What must still be true of the object.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Preconditions {
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
}

impl DeleteOptions {
    pub(super) fn parse(query: &Query, body: &[u8]) -> Result<Self, StatusError> {
        let mut options = if body.is_empty() { Self::default() } else { json_body(body)? };
        if options.grace_period_seconds.is_none() {
            options.grace_period_seconds = query.number("gracePeriodSeconds")?;
        }
        if query.dry_run() {
            options.dry_run.push("All".to_owned());
        }
        Ok(options)
    }

    pub(super) fn dry_run(&self) -> bool {
        !self.dry_run.is_empty()
    }
}

/// A request body as JSON.
pub(super) fn json_body<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, StatusError> {
    serde_json::from_slice(body)
        .map_err(|error| StatusError::bad_request(format!("the request body is not valid JSON: {error}")))
}

/// Checks that the body is an object of the kind that the path names, and completes what a client may leave out.
pub(super) fn check_kind(resource: &Resource, object: &mut Value) -> Result<(), StatusError> {
    let Value::Object(map) = object else {
        return Err(StatusError::bad_request("the request body is not a JSON object"));
    };
    for (field, expected) in [("apiVersion", resource.api_version()), ("kind", resource.kind.to_owned())] {
        match map.get(field).and_then(Value::as_str) {
            Some(found) if found == expected => {}
            Some(found) => {
                let message = format!(
                    "the {field} in the data ({found}) does not match the expected {field} ({expected})"
                );
                return Err(StatusError::bad_request(message));
            }
            // Built-in kinds are decoded into the type that the path implies; custom ones must name theirs.
            None if resource.is_custom() => {
                return Err(StatusError::bad_request(format!(
                    "Object '{field}' is missing in the request body"
                )));
            }
            None => {
                map.insert(field.to_owned(), expected.into());
            }
        }
    }
    if !map.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new())).is_object() {
        let cause =
            Cause { field: "metadata".to_owned(), message: "Invalid value: must be an object".to_owned() };
        return Err(StatusError::invalid(resource, "", &[cause]));
    }
    Ok(())
}
