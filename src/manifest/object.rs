//! One document → one experiment, or what is to be said about it.

use kube::core::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};

use super::source::{Document, Node};
use super::{Diagnostic, MAX_DIAGNOSTICS, Position, Severity, metadata, unknown};
use crate::api::{self, CustomKind, NetworkChaos, PodChaos, Problem};

/// The group of experiments.
const GROUP: &str = "chaos-mesh.org";

/// The only version of that group.
const VERSION: &str = "v1alpha1";

/// Kinds of the group that are recognised and cannot be run yet.
const UNBUILT: [&str; 18] = [
    "AWSChaos",
    "AzureChaos",
    "BlockChaos",
    "DNSChaos",
    "GCPChaos",
    "HTTPChaos",
    "IOChaos",
    "JVMChaos",
    "KernelChaos",
    "PhysicalMachine",
    "PhysicalMachineChaos",
    "RemoteCluster",
    "Schedule",
    "StatusCheck",
    "StressChaos",
    "TimeChaos",
    "Workflow",
    "WorkflowNode",
];

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
    /// The same, typed, with its defaults.
    pub experiment: Experiment,
}

/// An experiment of a kind that this release runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Experiment {
    /// A network fault.
    NetworkChaos(Box<NetworkChaos>),
    /// A fault of pods or their containers.
    PodChaos(Box<PodChaos>),
}

impl Experiment {
    fn read(kind: &CustomKind, value: &Value) -> Result<(Self, ObjectMeta), serde_json::Error> {
        Ok(if kind.kind == "PodChaos" {
            let typed = PodChaos::deserialize(value)?;
            (Self::PodChaos(Box::new(typed.clone())), typed.metadata)
        } else {
            let typed = NetworkChaos::deserialize(value)?;
            (Self::NetworkChaos(Box::new(typed.clone())), typed.metadata)
        })
    }
}

/// Reads one document; nothing from an empty one.
///
/// # Errors
/// Everything that is to be said about it.
pub(super) fn read(document: Document) -> Result<Option<Object>, Vec<Diagnostic>> {
    let Document { value, root, .. } = document;
    if value.is_null() {
        return Ok(None);
    }
    let kind = recognise(&value, &root).map_err(|diagnostic| vec![diagnostic])?;
    experiment(kind, value, &root).map(Some).map_err(|problems| {
        let first = problems.into_iter().take(MAX_DIAGNOSTICS);
        let mut diagnostics: Vec<_> = first.map(|problem| located(problem, &root)).collect();
        diagnostics.sort_by_key(|diagnostic| diagnostic.position);
        diagnostics
    })
}

/// Finds out whether the document is an experiment that this release knows.
fn recognise(value: &Value, root: &Node) -> Result<&'static CustomKind, Diagnostic> {
    let error = |path: &str, what: String, cure: &str| located(Problem::new(path, what, cure), root);
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
    match (group, kind) {
        (GROUP, _) if version != VERSION => Err(error(
            "apiVersion",
            format!("unknown version \"{version}\""),
            "write chaos-mesh.org/v1alpha1",
        )),
        (GROUP, _) if UNBUILT.contains(&kind) => Err(Diagnostic {
            severity: Severity::Unbuilt,
            ..error(
                "kind",
                format!("{kind} is not in this release"),
                "NetworkChaos and PodChaos are; remove this document",
            )
        }),
        (GROUP, _) => known(kind).ok_or_else(|| {
            let kinds = api::custom_kinds().iter().map(|known| known.kind).chain(UNBUILT);
            let cure = unknown::nearest(kind, kinds)
                .map_or_else(|| "write kind: NetworkChaos".to_owned(), |near| format!("write {near}"));
            error("kind", format!("unknown kind \"{kind}\""), &cure)
        }),
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
        _ => Err(Diagnostic {
            severity: Severity::Note,
            cure: String::new(),
            ..error("", format!("{kind} is not an experiment; passed over"), "")
        }),
    }
}

fn known(kind: &str) -> Option<&'static CustomKind> {
    api::custom_kinds().iter().find(|known| known.group == GROUP && known.kind == kind)
}

fn experiment(kind: &'static CustomKind, mut value: Value, root: &Node) -> Result<Object, Vec<Problem>> {
    let mut problems = Vec::new();
    if let Value::Object(object) = &mut value {
        metadata::check(object, &mut problems);
    }
    let spec_schema = kind.schema().get("properties").and_then(|all| all.get("spec"));
    if let (Some(schema), Some(spec)) = (spec_schema, value.get("spec")) {
        unknown::fields(schema, spec, "spec", &mut problems);
    }
    let mut admitted = value.clone();
    // Metadata was checked above; what is wrong there is not to be found again.
    let metadata = admitted.get_mut("metadata").map(|metadata| std::mem::replace(metadata, json!({})));
    if let Err(found) = api::admit(kind.group, kind.kind, None, &mut admitted) {
        problems.extend(found);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    if let (Some(place), Some(metadata)) = (admitted.get_mut("metadata"), metadata) {
        *place = metadata;
    }
    // It fails only where types and schema disagree.
    let (experiment, metadata) = Experiment::read(kind, &admitted).map_err(|error| {
        vec![Problem::new("spec", error.to_string(), "compare it with a file of templates/")]
    })?;
    Ok(Object {
        position: root.key_at(""),
        kind: kind.kind,
        name: metadata.name.unwrap_or_default(),
        namespace: metadata.namespace,
        value,
        experiment,
    })
}

/// Finds the place of a problem. What is unknown is wrong at its key, everything else at its value.
fn located(problem: Problem, root: &Node) -> Diagnostic {
    let unknown = problem.what.starts_with("unknown field");
    Diagnostic {
        severity: Severity::Error,
        position: if unknown { root.key_at(&problem.path) } else { root.value_at(&problem.path) },
        path: problem.path,
        what: problem.what,
        cure: problem.cure,
    }
}
