//! One document → one experiment, or what is to be said about it.

use std::time::Duration;

use kube::core::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::finding::Finding;
use super::kinds::{self, GROUP, Known, VERSION};
use super::source::{Document, Node};
use super::{Diagnostic, MAX_DIAGNOSTICS, Position, Severity, lint, metadata, migrate, unknown};
use crate::api::{self, CustomKind, GoDuration, Problem};

/// One experiment of a file.
#[derive(Clone, Debug)]
pub struct Object {
    /// Where its document begins.
    pub position: Position,
    /// Its kind, as an API server knows it.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The namespace that the file names, if it names one.
    pub namespace: Option<String>,
    /// The object as it is to be sent: as it was written, without what only the server writes.
    pub value: Value,
}

impl Object {
    /// The object as the type of its kind, with its defaults; nothing if `K` is the type of another kind.
    pub fn typed<K: Resource<DynamicType = ()> + DeserializeOwned>(&self) -> Option<K> {
        (K::kind(&()) == self.kind).then(|| K::deserialize(&self.value).ok()).flatten()
    }

    /// How long it is to last; nothing if until somebody stops it.
    pub fn duration(&self) -> Option<Duration> {
        let text = self.value.pointer("/spec/duration")?.as_str()?;
        text.parse::<GoDuration>().ok()?.to_std()
    }
}

/// Reads one document: the experiment in it, if it is one that can be used, and what is to be said.
pub(super) fn read(document: Document) -> (Option<Object>, Vec<Diagnostic>) {
    let Document { value, root, .. } = document;
    if value.is_null() {
        return (None, Vec::new());
    }
    let mut findings = Vec::new();
    let object = match recognise(&value) {
        Ok(Known::Built(kind)) => experiment(kind, value, &root, &mut findings),
        Ok(Known::Unbuilt(kind)) => {
            findings.push(not_built(kind.kind));
            migrate::old_forms(kind.kind, &value, &mut findings);
            kind.check(&value, &mut findings);
            None
        }
        Ok(Known::Internal) => {
            findings.push(not_for_users(&value));
            None
        }
        Err(finding) => {
            findings.push(finding);
            None
        }
    };
    let mut diagnostics: Vec<_> = first_of_each_place(findings)
        .into_iter()
        .take(2 * MAX_DIAGNOSTICS)
        .map(|finding| finding.located(&root))
        .collect();
    diagnostics.sort_by_key(|diagnostic| diagnostic.position);
    (object, diagnostics)
}

/// The first error at a place says most: what is said later about the same field, or about what is in it,
/// follows from it. Warnings stand side by side.
fn first_of_each_place(findings: Vec<Finding>) -> Vec<Finding> {
    let mut kept: Vec<Finding> = Vec::new();
    for finding in findings.into_iter().take(4 * MAX_DIAGNOSTICS) {
        let is_error = |finding: &Finding| finding.severity == Severity::Error;
        let path = finding.problem.path.as_str();
        let follows = |earlier: &Finding| {
            let rest = path.strip_prefix(earlier.problem.path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if !is_error(&finding) || !kept.iter().any(|earlier| is_error(earlier) && follows(earlier)) {
            kept.push(finding);
        }
    }
    kept
}

fn not_built(kind: &str) -> Finding {
    Finding::unbuilt(Problem::new(
        "kind",
        format!("{kind} is not in this release"),
        "remove this document; docs/compatibility.md tells what is in it",
    ))
}

fn not_for_users(value: &Value) -> Finding {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    let own = kind.strip_prefix("Pod").unwrap_or(kind);
    Finding::error(Problem::new(
        "kind",
        format!("{kind} is what the controller of Chaos Mesh writes for itself"),
        format!("remove it, and write the {own} that it came from").replace("HttpChaos", "HTTPChaos"),
    ))
}

/// Finds out what the document is.
fn recognise(value: &Value) -> Result<Known, Finding> {
    let error = |path: &str, what: String, cure: &str| Finding::error(Problem::new(path, what, cure));
    if !value.is_object() {
        return Err(error(
            "",
            "a Kubernetes object is a mapping".to_owned(),
            "begin with apiVersion: and kind:",
        ));
    }
    let word = |field: &str, cure: &str| match value.get(field) {
        Some(Value::String(word)) => Ok(word.as_str()),
        Some(other) => Err(error(field, format!("must be text, is {other}"), cure)),
        None => Err(error(field, "required, but missing".to_owned(), cure)),
    };
    let api_version = word("apiVersion", "write apiVersion: chaos-mesh.org/v1alpha1")?;
    let kind = word("kind", "write kind: NetworkChaos")?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let is_ours = kinds::find(kind).is_some();
    match (group, kind) {
        (GROUP, _) if version != VERSION => Err(error(
            "apiVersion",
            format!("unknown version \"{version}\""),
            "write chaos-mesh.org/v1alpha1",
        )),
        (GROUP, _) => kinds::find(kind).ok_or_else(|| {
            let cure = unknown::nearest(kind, kinds::names())
                .map_or_else(|| "write kind: NetworkChaos".to_owned(), |near| format!("write {near}"));
            error("kind", format!("unknown kind \"{kind}\""), &cure)
        }),
        ("pingcap.com", _) => Err(error(
            "apiVersion",
            "pingcap.com was the group before Chaos Mesh 1".to_owned(),
            "write chaos-mesh.org/v1alpha1",
        )),
        ("squall.dev", "Injection") => Err(error(
            "kind",
            "an Injection is written by the controller only".to_owned(),
            "remove it, and write the NetworkChaos that it belongs to",
        )),
        ("", "List") => Err(error(
            "kind",
            "lists are not read".to_owned(),
            "write each item as a document of its own, with --- between them",
        )),
        _ if is_ours && !kinds::is_common(kind) => Err(error(
            "apiVersion",
            format!("{kind} is not a kind of \"{api_version}\""),
            "write chaos-mesh.org/v1alpha1",
        )),
        _ => Err(Finding::note(format!("{kind} is not an experiment; passed over"))),
    }
}

fn experiment(
    kind: &'static CustomKind,
    mut value: Value,
    root: &Node,
    findings: &mut Vec<Finding>,
) -> Option<Object> {
    let schema = kind.schema().pointer("/properties/spec").unwrap_or(&Value::Null);
    migrate::old_forms(kind.kind, &value, findings);
    if let Value::Object(object) = &mut value {
        metadata::check(object, schema, findings);
    }
    if let Some(spec) = value.get("spec") {
        unknown::fields(schema, spec, findings);
    }
    let mut admitted = value.clone();
    // Metadata was checked above; what is wrong there is not to be found again.
    let metadata =
        admitted.as_object_mut().and_then(|object| object.insert("metadata".to_owned(), json!({})));
    if let Err(found) = api::admit(kind.group, kind.kind, None, &mut admitted) {
        findings.extend(found.into_iter().map(Finding::error));
    }
    if !findings.is_empty() {
        return None;
    }
    let metadata = metadata.unwrap_or_default();
    lint::object(kind.kind, schema, admitted.get("spec").unwrap_or(&Value::Null), &metadata, findings);
    let text = |field: &str| metadata.get(field).and_then(Value::as_str).map(str::to_owned);
    Some(Object {
        position: root.key_at(""),
        kind: kind.kind,
        name: text("name").unwrap_or_default(),
        namespace: text("namespace"),
        value,
    })
}
