//! The words that the table of cases is written in, and their execution against any API server.
//!
//! A case is a list of HTTP requests with what each must answer. Texts may hold variables: `$ns` and `$n` (the fixture's
//! namespace, a name unique to the case), a collection's path (`$cm`, `$pods`, …), and what an earlier step saved.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;

/// No answer of a server may take longer than this; a watch that misses an event is given up after it.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where the cases run.
pub(crate) struct Fixture {
    pub(crate) client: kube::Client,
    /// A namespace that exists and that the cases may fill.
    pub(crate) namespace: String,
    /// Makes names unique among all runs against one server.
    pub(crate) run: String,
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) steps: Vec<Step>,
}

pub(crate) fn case(name: &'static str, steps: impl IntoIterator<Item = Step>) -> Case {
    Case { name, steps: steps.into_iter().collect() }
}

enum Check {
    Is(Value),
    Set,
    Unset,
    StartsWith(&'static str),
}

/// One request and its answer.
pub(crate) struct Step {
    method: Method,
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
    code: u16,
    checks: Vec<(&'static str, Check)>,
    saves: Vec<(&'static str, &'static str)>,
    /// For a watch: the types and the checks of the events that must come, in this order.
    events: Vec<(&'static str, Vec<(&'static str, Value)>)>,
}

fn step(method: Method, path: &'static str, content_type: &'static str, body: String) -> Step {
    let headers = if content_type.is_empty() { vec![] } else { vec![("content-type", content_type)] };
    let code = if method == Method::POST { 201 } else { 200 };
    Step { method, path, headers, body, code, checks: vec![], saves: vec![], events: vec![] }
}

pub(crate) fn get(path: &'static str) -> Step {
    step(Method::GET, path, "", String::new())
}

pub(crate) fn post(path: &'static str, body: Value) -> Step {
    step(Method::POST, path, "application/json", body.to_string())
}

pub(crate) fn put(path: &'static str, body: Value) -> Step {
    step(Method::PUT, path, "application/json", body.to_string())
}

pub(crate) fn merge_patch(path: &'static str, body: Value) -> Step {
    step(Method::PATCH, path, "application/merge-patch+json", body.to_string())
}

pub(crate) fn json_patch(path: &'static str, body: Value) -> Step {
    step(Method::PATCH, path, "application/json-patch+json", body.to_string())
}

pub(crate) fn delete(path: &'static str, options: Value) -> Step {
    step(Method::DELETE, path, "application/json", options.to_string())
}

/// A request whose body or content type is not what the other words make.
pub(crate) fn raw(
    method: Method,
    path: &'static str,
    content_type: &'static str,
    body: impl Into<String>,
) -> Step {
    step(method, path, content_type, body.into())
}

impl Step {
    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The answer is a `Status` with this code and reason.
    pub(crate) fn fails(mut self, code: u16, reason: &'static str) -> Self {
        self.code = code;
        self.is("/kind", "Status").is("/status", "Failure").is("/code", code).is("/reason", reason)
    }

    /// Only the code is the same in all servers.
    pub(crate) fn code(mut self, code: u16) -> Self {
        self.code = code;
        self
    }

    pub(crate) fn is(mut self, pointer: &'static str, value: impl Into<Value>) -> Self {
        self.checks.push((pointer, Check::Is(value.into())));
        self
    }

    pub(crate) fn starts(mut self, pointer: &'static str, start: &'static str) -> Self {
        self.checks.push((pointer, Check::StartsWith(start)));
        self
    }

    pub(crate) fn set(mut self, pointer: &'static str) -> Self {
        self.checks.push((pointer, Check::Set));
        self
    }

    pub(crate) fn unset(mut self, pointer: &'static str) -> Self {
        self.checks.push((pointer, Check::Unset));
        self
    }

    /// Keeps a string of the answer as a variable.
    pub(crate) fn save(mut self, variable: &'static str, pointer: &'static str) -> Self {
        self.saves.push((variable, pointer));
        self
    }

    pub(crate) fn sees<const N: usize>(
        mut self,
        kind: &'static str,
        checks: [(&'static str, &'static str); N],
    ) -> Self {
        self.events.push((kind, checks.map(|(pointer, value)| (pointer, value.into())).into()));
        self
    }
}

/// Longer names first, so that `$n` does not eat the start of `$ns`.
fn expand(text: &str, variables: &BTreeMap<&str, String>) -> String {
    let mut names: Vec<_> = variables.iter().collect();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    names.into_iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value))
}

/// Runs every case and gives the failures.
pub(crate) async fn run(fixture: &Fixture, cases: &[Case]) -> Vec<String> {
    let mut failures = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let namespace = &fixture.namespace;
        let mut variables = BTreeMap::from([
            ("ns", namespace.clone()),
            ("n", format!("c{index}-{}", fixture.run)),
            ("cm", format!("/api/v1/namespaces/{namespace}/configmaps")),
            ("access", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned()),
            ("self", "/apis/authentication.k8s.io/v1/selfsubjectreviews".to_owned()),
            ("pods", format!("/api/v1/namespaces/{namespace}/pods")),
            ("leases", format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")),
            ("events", format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events")),
            ("widgets", format!("/apis/contract.squall.dev/v1/namespaces/{namespace}/widgets")),
        ]);
        for (number, step) in case.steps.iter().enumerate() {
            let outcome = tokio::time::timeout(PATIENCE, execute(fixture, step, &mut variables)).await;
            if let Err(why) = outcome.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}"))) {
                let path = expand(step.path, &variables);
                failures.push(format!("{}: step {}, {} {path}: {why}", case.name, number + 1, step.method));
                break;
            }
        }
    }
    failures
}

async fn execute(
    fixture: &Fixture,
    step: &Step,
    variables: &mut BTreeMap<&'static str, String>,
) -> Result<(), String> {
    let mut request = Request::builder().method(step.method.clone()).uri(expand(step.path, variables));
    for (name, value) in &step.headers {
        request = request.header(*name, *value);
    }
    let body = Body::from(expand(&step.body, variables).into_bytes());
    let request = request.body(body).map_err(|error| error.to_string())?;
    let response = fixture.client.send(request).await.map_err(|error| error.to_string())?;
    let code = response.status().as_u16();
    if step.events.is_empty() || code != step.code {
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        return check_answer(step, code, &body, variables);
    }
    let mut lines = Lines { body: response.into_body(), rest: Vec::new() };
    for (kind, checks) in &step.events {
        let event = lines.next().await.ok_or_else(|| format!("the watch ended without {kind}"))?;
        let checks = checks.iter().map(|(pointer, value)| (*pointer, expand(&value.to_string(), variables)));
        let object = &event["object"];
        if event["type"] != **kind {
            return Err(format!("expected {kind}, got {event}"));
        }
        for (pointer, value) in checks {
            if object.pointer(pointer).map(Value::to_string) != Some(value.clone()) {
                return Err(format!("expected {kind} with {pointer} = {value}, got {event}"));
            }
        }
    }
    Ok(())
}

fn check_answer(
    step: &Step,
    code: u16,
    body: &Bytes,
    variables: &mut BTreeMap<&'static str, String>,
) -> Result<(), String> {
    let text = String::from_utf8_lossy(body);
    if code != step.code {
        return Err(format!("expected {}, got {code}: {text}", step.code));
    }
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    for (pointer, check) in &step.checks {
        let found = answer.pointer(pointer).filter(|value| !value.is_null());
        let (holds, wanted) = match check {
            Check::Is(value) => {
                let value = expand(&value.to_string(), variables);
                (found.map(Value::to_string).as_ref() == Some(&value), value)
            }
            Check::StartsWith(start) => {
                let start = expand(start, variables);
                (
                    found.and_then(Value::as_str).is_some_and(|text| text.starts_with(&start)),
                    format!("{start}…"),
                )
            }
            Check::Set => (found.is_some(), "something".to_owned()),
            Check::Unset => (found.is_none(), "nothing".to_owned()),
        };
        if !holds {
            return Err(format!("expected {pointer} to be {wanted}, got {text}"));
        }
    }
    for (variable, pointer) in &step.saves {
        let value =
            answer.pointer(pointer).and_then(Value::as_str).ok_or(format!("no {pointer} in {text}"))?;
        variables.insert(variable, value.to_owned());
    }
    Ok(())
}

/// The JSON lines of a watch.
pub(crate) struct Lines {
    pub(crate) body: Body,
    pub(crate) rest: Vec<u8>,
}

impl Lines {
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return serde_json::from_slice(&line).ok();
            }
            let mut frames = (&mut self.body).into_data_stream();
            self.rest.extend_from_slice(&frames.next().await?.ok()?);
        }
    }
}
