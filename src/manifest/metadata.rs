//! `metadata` and the other fields that every Kubernetes object has.

use serde_json::{Map, Value};

use super::finding::Finding;
use super::{MAX_DIAGNOSTICS, unknown};
use crate::api::Problem;

/// What stands at the root of an object.
const ROOT: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// Fields of `metav1.ObjectMeta` that a user writes.
const WRITTEN: [&str; 4] = ["name", "namespace", "labels", "annotations"];

/// Fields of `metav1.ObjectMeta` that the API server or controllers write; files made by `get -o yaml`
/// have them.
const SERVER: [&str; 11] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The longest name of an object (RFC 1123 subdomain, as Kubernetes restricts it).
const MAX_NAME: usize = 253;

/// The longest name of a namespace (RFC 1123 label).
const MAX_LABEL: usize = 63;

/// Checks the root and `metadata` of `object`, and takes away what only the server writes. `spec` is the
/// schema of its spec, for fields that have slipped out of it.
pub(super) fn check(object: &mut Map<String, Value>, spec: &Value, findings: &mut Vec<Finding>) {
    let in_spec = |key: &str| spec.get("properties").is_some_and(|fields| fields.get(key).is_some());
    for key in object.keys().filter(|key| !ROOT.contains(&key.as_str())).take(MAX_DIAGNOSTICS) {
        let parent = match key.as_str() {
            key if WRITTEN.contains(&key) => "metadata",
            key if in_spec(key) => "spec",
            _ => {
                findings.push(unknown::finding(key.clone(), key, ROOT.into_iter()));
                continue;
            }
        };
        let cure = format!("it belongs below {parent}; check the indentation");
        findings.push(Finding::error_at_key(Problem::new(key.clone(), "unknown field", cure)));
    }
    object.remove("status");
    let mut problems = Vec::new();
    match object.get_mut("metadata") {
        Some(Value::Object(metadata)) => fields(metadata, findings, &mut problems),
        Some(_) => problems.push(Problem::new("metadata", "must be a mapping", "write name: NAME below it")),
        None => problems.push(Problem::new(
            "metadata",
            "required, but missing",
            "add it, with name: NAME below it",
        )),
    }
    findings.extend(problems.into_iter().map(Finding::error));
}

fn fields(metadata: &mut Map<String, Value>, findings: &mut Vec<Finding>, problems: &mut Vec<Problem>) {
    metadata.retain(|key, _| !SERVER.contains(&key.as_str()));
    for key in metadata.keys().filter(|key| !WRITTEN.contains(&key.as_str())).take(MAX_DIAGNOSTICS) {
        findings.push(unknown::finding(format!("metadata.{key}"), key, WRITTEN.into_iter()));
    }
    name(metadata.get("name"), problems);
    namespace(metadata.get("namespace"), problems);
    for field in ["labels", "annotations"] {
        strings(metadata.get(field), &format!("metadata.{field}"), problems);
    }
}

fn name(name: Option<&Value>, problems: &mut Vec<Problem>) {
    const CURE: &str = "write lower-case letters, digits, '-' and '.', with a letter or digit at both ends";
    let what = match name {
        None | Some(Value::Null) => "required, but missing".to_owned(),
        Some(Value::String(name)) if name.len() > MAX_NAME => format!("longer than {MAX_NAME} characters"),
        Some(Value::String(name)) if name.split('.').all(is_label) => return,
        Some(Value::String(name)) => format!("\"{name}\" cannot be a name"),
        Some(other) => {
            problems.push(Problem::new("metadata.name", "must be text", format!("quote it: \"{other}\"")));
            return;
        }
    };
    problems.push(Problem::new("metadata.name", what, CURE));
}

fn namespace(namespace: Option<&Value>, problems: &mut Vec<Problem>) {
    match namespace {
        None | Some(Value::Null) => {}
        Some(Value::String(name)) if name.len() <= MAX_LABEL && is_label(name) => {}
        Some(other) => problems.push(Problem::new(
            "metadata.namespace",
            format!("{other} cannot be a namespace"),
            "write lower-case letters, digits and '-', 63 at most",
        )),
    }
}

fn is_label(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| legal(b) || b == b'-')
}

/// Labels and annotations: `pause: true` without quotes is refused by every API server.
fn strings(value: Option<&Value>, path: &str, problems: &mut Vec<Problem>) {
    match value {
        None | Some(Value::Null) => {}
        Some(Value::Object(entries)) => {
            for (key, value) in entries.iter().filter(|(_, value)| !value.is_string()) {
                problems.push(Problem::new(
                    format!("{path}.{key}"),
                    format!("must be text, is {value}"),
                    format!("quote it: \"{value}\""),
                ));
            }
        }
        Some(_) => {
            problems.push(Problem::new(path, "must be a mapping", "write KEY: \"VALUE\" lines below it"));
        }
    }
}
