//! `metadata` and the other fields that every Kubernetes object has.

use serde_json::{Map, Value};

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

/// Checks the root and `metadata` of `object`, and takes away what only the server writes.
pub(super) fn check(object: &mut Map<String, Value>, problems: &mut Vec<Problem>) {
    for key in object.keys().filter(|key| !ROOT.contains(&key.as_str())).take(MAX_DIAGNOSTICS) {
        problems.push(unknown::problem(key.clone(), key, ROOT.into_iter()));
    }
    object.remove("status");
    let metadata = match object.get_mut("metadata") {
        Some(Value::Object(metadata)) => metadata,
        Some(_) => {
            problems.push(Problem::new("metadata", "must be a mapping", "write name: NAME below it"));
            return;
        }
        None => {
            problems.push(Problem::new(
                "metadata",
                "required, but missing",
                "add it, with name: NAME below it",
            ));
            return;
        }
    };
    metadata.retain(|key, _| !SERVER.contains(&key.as_str()));
    for key in metadata.keys().filter(|key| !WRITTEN.contains(&key.as_str())).take(MAX_DIAGNOSTICS) {
        problems.push(unknown::problem(format!("metadata.{key}"), key, WRITTEN.into_iter()));
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
