//! What could be written at the cursor: keys of the schema, its words, and names that the cluster has.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::outline::{self, Spot, Step};
use super::schema::{self, Shape};
use crate::app::store::Data;

/// The most that are offered.
const MOST: usize = 100;

/// One thing that could be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// What is shown.
    pub label: String,
    /// What is written.
    pub text: String,
    /// What it is for.
    pub about: String,
}

/// What is offered at the cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The column where it is written, in the place of what stands from there to the cursor.
    pub start: usize,
    /// What could be written; what fits best comes first.
    pub candidates: Vec<Candidate>,
    /// The selected one.
    pub index: usize,
}

/// The kind of the document that this line is in.
pub fn kind(lines: &[String], row: usize) -> String {
    let range = outline::document(lines, row);
    let mut lines = lines.iter().take(range.end).skip(range.start);
    let kind = lines.find_map(|line| line.strip_prefix("kind:")).unwrap_or_default();
    kind.split('#').next().unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned()
}

/// What could be written at this place.
pub fn offer(lines: &[String], place: (usize, usize), data: &Data) -> Option<Offer> {
    let spot = outline::spot(lines, place);
    let kind = kind(lines, place.0);
    let mut candidates = match &spot.key {
        Some(key) => values(&kind, &path_of(&spot, key), data),
        None => keys(&kind, &spot, lines, place.0, data),
    };
    let typed = spot.typed.to_lowercase();
    let typed = typed.trim_start_matches(['"', '\'']);
    candidates.retain(|candidate| candidate.label.to_lowercase().contains(typed));
    // Who typed the beginning means that; the order is else the schema's.
    candidates.sort_by_key(|candidate| !candidate.label.to_lowercase().starts_with(typed));
    candidates.truncate(MOST);
    (!candidates.is_empty()).then_some(Offer { start: spot.start, candidates, index: 0 })
}

fn path_of(spot: &Spot, key: &str) -> Vec<Step> {
    let mut path = spot.parent.clone();
    path.push(Step::Key(key.to_owned()));
    path
}

/// Keys that may stand here and do not yet; for an item of a list without keys: what it may be.
fn keys(kind: &str, spot: &Spot, lines: &[String], row: usize, data: &Data) -> Vec<Candidate> {
    let Some(parent) = schema::at(kind, &spot.parent) else { return Vec::new() };
    let there = outline::siblings(lines, row, &spot.parent);
    let indent = " ".repeat(spot.indent + 2);
    match parent.shape() {
        Shape::Object => {
            let absent = |(name, _): &(&str, _)| !there.iter().any(|key| key == name);
            let candidate = |(name, field): (&str, schema::Field<'_>)| {
                let text = match field.shape() {
                    Shape::Scalar => format!("{name}: "),
                    Shape::Object | Shape::Map => format!("{name}:\n{indent}"),
                    Shape::List => format!("{name}:\n{indent}- "),
                };
                let must = if field.required { "required. " } else { "" };
                Candidate { label: name.to_owned(), text, about: format!("{must}{}", field.about()) }
            };
            parent.keys().into_iter().filter(absent).map(candidate).collect()
        }
        Shape::Map => {
            let is_list = parent.key("").is_some_and(|value| value.shape() == Shape::List);
            let behind = if is_list { format!(":\n{indent}- ") } else { ": ".to_owned() };
            let (names, about) = map_keys(&spot.parent, data);
            let absent = names.into_iter().filter(|name| !there.contains(name));
            absent
                .map(|name| Candidate {
                    text: format!("{}{behind}", quoted(&name)),
                    label: name,
                    about: about.to_owned(),
                })
                .collect()
        }
        Shape::Scalar if spot.item => values(kind, &spot.parent, data),
        Shape::Scalar | Shape::List => Vec::new(),
    }
}

/// What the value at this path may be.
fn values(kind: &str, path: &[Step], data: &Data) -> Vec<Candidate> {
    let Some(field) = schema::at(kind, path) else { return Vec::new() };
    let words = field.words();
    let is_words = !words.is_empty();
    let (names, about) = if is_words { (words, field.about()) } else { value_names(path, data) };
    let candidate = |name: String| {
        // A word of a text that reads like another type needs quotes; a boolean must not have any.
        let text = if is_words { name.clone() } else { quoted(&name) };
        Candidate { text, label: name, about: about.to_owned() }
    };
    names.into_iter().map(candidate).collect()
}

/// The last keys of a path, the innermost first.
fn names_of(path: &[Step]) -> (&str, &str) {
    let mut keys = path.iter().rev().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Item(_) => None,
    });
    (keys.next().unwrap_or_default(), keys.next().unwrap_or_default())
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
}

fn namespaces(data: &Data) -> Vec<String> {
    sorted(data.pods.iter().map(|pod| pod.namespace.as_str()))
}

/// The keys that a map of the cluster's names could have.
fn map_keys(path: &[Step], data: &Data) -> (Vec<String>, &'static str) {
    match names_of(path).0 {
        "labelSelectors" => {
            let keys = data.pods.iter().flat_map(|pod| pod.labels.keys().map(String::as_str));
            (sorted(keys), "a label that pods have")
        }
        "nodeSelectors" => {
            let keys = data.nodes.iter().flat_map(|node| node.labels.keys().map(String::as_str));
            (sorted(keys), "a label that nodes have")
        }
        "fieldSelectors" => (sorted(api_fields()), "a field of pods"),
        "pods" => (namespaces(data), "a namespace that has pods"),
        _ => (Vec::new(), ""),
    }
}

fn api_fields() -> impl Iterator<Item = &'static str> {
    crate::api::POD_FIELDS.into_iter()
}

/// The names of the cluster that a value could be.
fn value_names(path: &[Step], data: &Data) -> (Vec<String>, &'static str) {
    let (name, above) = names_of(path);
    match (name, above) {
        ("namespaces" | "namespace", _) => (namespaces(data), "a namespace that has pods"),
        ("nodes", _) => (sorted(data.nodes.iter().map(|node| node.name.as_str())), "a node"),
        ("containerNames", _) => {
            let names = data.pods.iter().flat_map(|pod| pod.containers.iter().map(String::as_str));
            (sorted(names), "a container")
        }
        ("operator", _) => {
            (["In", "NotIn", "Exists", "DoesNotExist"].map(str::to_owned).into(), "how it is compared")
        }
        ("podPhaseSelectors", _) => {
            (["Running", "Pending", "Succeeded", "Failed"].map(str::to_owned).into(), "a phase of pods")
        }
        ("key", "expressionSelectors") => map_keys(&[Step::Key("labelSelectors".to_owned())], data),
        (label, "labelSelectors") => {
            let values = data.pods.iter().filter_map(|pod| pod.labels.get(label).map(String::as_str));
            (sorted(values), "pods have it")
        }
        (label, "nodeSelectors") => {
            let values = data.nodes.iter().filter_map(|node| node.labels.get(label).map(String::as_str));
            (sorted(values), "nodes have it")
        }
        (namespace, "pods") => {
            let pods = data.pods.iter().filter(|pod| pod.namespace == namespace);
            (sorted(pods.map(|pod| pod.name.as_str())), "a pod")
        }
        _ => (Vec::new(), ""),
    }
}

/// A text as a value of YAML: in quotes where it would be taken for something else.
pub fn quoted(text: &str) -> String {
    let is_plain = text.chars().all(|char| char.is_alphanumeric() || "-_./".contains(char))
        && text.starts_with(char::is_alphanumeric)
        && text.parse::<f64>().is_err()
        && !matches!(
            text.to_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n" | "inf" | "nan"
        );
    if is_plain {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing::Console;

    fn offered(text: &str) -> Vec<String> {
        let console = Console::playground();
        let lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
        let row = lines.iter().position(|line| line.contains('|')).unwrap();
        let column = lines[row].find('|').unwrap();
        let lines: Vec<String> = lines.iter().map(|line| line.replace('|', "")).collect();
        let offer = offer(&lines, (row, column), &console.state.data).unwrap_or_default();
        offer.candidates.into_iter().map(|candidate| candidate.label).collect()
    }

    #[test]
    fn only_what_fits_the_place_is_offered() {
        let head = "kind: NetworkChaos\nspec:\n  action: delay\n";
        for (text, expected) in [
            ("|", vec!["apiVersion", "kind", "metadata", "spec"]),
            ("kind: |", vec!["NetworkChaos", "PodChaos"]),
            ("kind: Pod|", vec!["PodChaos"]),
            ("kind: PodChaos\nspec:\n  action: k|", vec!["pod-kill", "container-kill"]),
            (&format!("{head}  mod|"), vec!["mode"]),
            (&format!("{head}  act|\n  mode: all"), vec![]),
            (&format!("{head}  mode: f|"), vec!["fixed", "fixed-percent"]),
            (&format!("{head}  selector:\n    namespaces:\n      - |"), vec!["default"]),
            (&format!("{head}  selector:\n    namespaces:\n    - |"), vec!["default"]),
            (&format!("{head}  selector:\n    labelSelectors:\n      |"), vec!["app"]),
            (
                &format!("{head}  selector:\n    labelSelectors:\n      app: |"),
                vec!["mongo", "server-app", "traffic"],
            ),
            (&format!("{head}  selector:\n    nodes:\n      - |"), vec!["machine1", "machine2", "machine3"]),
            (
                &format!("{head}  selector:\n    pods:\n      default:\n        - mon|"),
                vec!["mongo-596c7bf7bd-tkwpx"],
            ),
            (&format!("{head}  {{ broken: [\n  target:\n    mode: a|"), vec!["all", "random-max-percent"]),
            ("kind: Unheard\nspec:\n  |", vec![]),
        ] {
            assert_eq!(offered(text), expected, "{text}");
        }
    }

    #[test]
    fn a_key_that_is_there_is_not_offered_again() {
        let keys = offered("kind: NetworkChaos\nspec:\n  action: delay\n  |\n  mode: all\n");
        assert!(keys.iter().any(|key| key == "delay") && keys.iter().any(|key| key == "selector"));
        assert!(!keys.iter().any(|key| key == "action" || key == "mode"), "{keys:?}");
    }

    #[test]
    fn a_text_that_reads_like_something_else_is_quoted() {
        for (text, expected) in [
            ("mongo", "mongo"),
            ("app.kubernetes.io/name", "app.kubernetes.io/name"),
            ("1", "\"1\""),
            ("true", "\"true\""),
            ("", "\"\""),
            ("a: b", "\"a: b\""),
            ("a\"b", "\"a\\\"b\""),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
