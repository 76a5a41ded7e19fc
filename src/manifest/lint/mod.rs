//! Experiments that are right and perhaps not meant: what can be told from the file alone.
//!
//! Lints read the object as the API server would store it, with defaults, and by the fields that its
//! schema has: a kind that gets a type gets those of its fields.

mod network;
mod pods;

use serde_json::{Map, Value};

use super::finding::Finding;
use crate::api::{
    CHAOS_MESH_SEMANTICS, GoDuration, LEASE_ANNOTATION, MIN_LEASE, PAUSE_ANNOTATION, PROTECTED_NAMESPACES,
    Problem, SEMANTICS_ANNOTATION, effective_lease,
};

/// Lints one experiment of `kind`, without errors and with its defaults; `schema` is that of its spec.
pub(super) fn object(
    kind: &str,
    schema: &Value,
    spec: &Value,
    metadata: &Value,
    findings: &mut Vec<Finding>,
) {
    let mut lint = Lint { spec, findings };
    let has = |field: &str| schema.pointer("/properties").is_some_and(|fields| fields.get(field).is_some());
    let one_shot = kind == "PodChaos" && pods::is_one_shot(spec);
    if has("duration") && !one_shot {
        lint.no_duration();
    }
    for path in ["", "/target"] {
        lint.value_without_use(path);
        lint.selector(path);
    }
    lint.annotations(metadata);
    match kind {
        "NetworkChaos" => network::lint(&mut lint),
        "PodChaos" => pods::lint(&mut lint),
        _ => {}
    }
}

/// A spec, and what is said about it. Places in the spec are JSON pointers (RFC 6901): "" is the spec.
struct Lint<'a> {
    spec: &'a Value,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Lint<'a> {
    fn get(&self, pointer: &str) -> Option<&'a Value> {
        self.spec.pointer(pointer).filter(|value| !value.is_null())
    }

    fn text(&self, pointer: &str) -> Option<&'a str> {
        self.get(pointer)?.as_str()
    }

    fn mapping(&self, pointer: &str) -> Option<&'a Map<String, Value>> {
        self.get(pointer)?.as_object()
    }

    /// A list, or nothing where there is none.
    fn list(&self, pointer: &str) -> impl Iterator<Item = (usize, &'a str)> + use<'a> {
        let items = self.get(pointer).and_then(Value::as_array).into_iter().flatten();
        items.enumerate().filter_map(|(index, item)| Some((index, item.as_str()?)))
    }

    /// Warns of the field at `path`, the object's own way to write a place.
    fn warn(&mut self, path: impl Into<String>, what: impl Into<String>, cure: impl Into<String>) {
        self.findings.push(Finding::warning(Problem::new(path, what, cure)));
    }

    fn no_duration(&mut self) {
        if self.text("/duration").is_none_or(str::is_empty) {
            self.warn(
                "spec.duration",
                "no duration: it runs until you delete it",
                "add duration: 5m, or remember `squall stop`",
            );
        }
    }

    fn value_without_use(&mut self, owner: &str) {
        let mode = self.text(&format!("{owner}/mode"));
        if let Some(mode @ ("one" | "all")) = mode
            && self.text(&format!("{owner}/value")).is_some_and(|value| !value.is_empty())
        {
            self.warn(
                format!("{}.value", place(owner)),
                format!("mode {mode} takes no value; it is passed over"),
                "remove it, or write mode: fixed",
            );
        }
    }

    fn selector(&mut self, owner: &str) {
        let at = format!("{owner}/selector");
        let Some(selector) = self.mapping(&at) else { return };
        let path = format!("{}.selector", place(owner));
        if selector.is_empty() {
            self.warn(
                &path,
                "an empty selector matches every pod of the experiment's namespace",
                "add labelSelectors, if fewer are meant",
            );
        }
        for (index, namespace) in self.list(&format!("{at}/namespaces")) {
            self.protected(format!("{path}.namespaces[{index}]"), namespace);
        }
        let Some(pods) = self.mapping(&format!("{at}/pods")).filter(|pods| !pods.is_empty()) else { return };
        for namespace in pods.keys() {
            self.protected(format!("{path}.pods.{namespace}"), namespace);
        }
        let others: Vec<_> = selector.keys().map(String::as_str).filter(|field| *field != "pods").collect();
        if !others.is_empty() {
            self.warn(
                format!("{path}.pods"),
                format!("pods replaces every other field; passed over: {}", others.join(", ")),
                "remove pods, or the others",
            );
        }
    }

    fn protected(&mut self, path: String, namespace: &str) {
        if PROTECTED_NAMESPACES.contains(&namespace) {
            self.warn(
                path,
                format!("pods of {namespace} are never targets, so that the cluster can end the experiment"),
                "name other namespaces",
            );
        }
    }

    fn annotations(&mut self, metadata: &Value) {
        let annotation = |key: &str| metadata.get("annotations")?.get(key)?.as_str();
        if let Some(text) = annotation(PAUSE_ANNOTATION).filter(|text| !matches!(*text, "true" | "false")) {
            self.warn(
                format!("metadata.annotations.{PAUSE_ANNOTATION}"),
                format!("only \"true\" pauses; \"{text}\" does not"),
                "write \"true\", or remove it",
            );
        }
        if let Some(text) = annotation(SEMANTICS_ANNOTATION).filter(|text| *text != CHAOS_MESH_SEMANTICS) {
            self.warn(
                format!("metadata.annotations.{SEMANTICS_ANNOTATION}"),
                format!("\"{text}\" is not known; it is passed over"),
                format!("write \"{CHAOS_MESH_SEMANTICS}\", or remove it"),
            );
        }
        if let Some(text) = annotation(LEASE_ANNOTATION) {
            let given = text.parse::<GoDuration>().ok().and_then(GoDuration::to_std);
            let used = effective_lease(Some(text));
            if given != Some(used) {
                self.warn(
                    format!("metadata.annotations.{LEASE_ANNOTATION}"),
                    format!("\"{text}\" is no lease; {} is used", GoDuration::from_std(used)),
                    format!("write {} or more", GoDuration::from_std(MIN_LEASE)),
                );
            }
        }
    }
}

/// The path of a part of the spec that a JSON pointer names.
fn place(pointer: &str) -> String {
    format!("spec{}", pointer.replace('/', "."))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
