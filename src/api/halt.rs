//! Halt: the emergency stop. While one exists, everything that it covers is undone and nothing starts.
//!
//! One object for all nodes: each daemon watches Halts itself and needs no controller to obey. What a Halt
//! means for a fault is decided in `experiment::wanted` and nowhere else.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Problem;

/// Most namespaces that one Halt may name.
const MAX_NAMESPACES: usize = 1_000;

/// Longest reason, in bytes.
const MAX_REASON: usize = 1_024;

/// Longest name of a namespace (RFC 1123, label), in bytes.
const MAX_LABEL: usize = 63;

/// What is stopped, and why.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "squall.dev", version = "v1alpha1", kind = "Halt", derive = "PartialEq")]
#[schemars(transform = super::rules::halt)]
pub struct HaltSpec {
    /// Faults with a target in one of these namespaces; everything if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = "MAX_NAMESPACES"), inner(length(max = "MAX_LABEL")))]
    pub namespaces: Vec<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "MAX_REASON"))]
    pub reason: Option<String>,
}

impl HaltSpec {
    /// What is wrong with it. A namespace that cannot exist is refused: somebody would believe it stopped.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.namespaces.len() > MAX_NAMESPACES {
            let what = format!("{} namespaces are too many", self.namespaces.len());
            let cure = format!("write {MAX_NAMESPACES} or fewer, or none to stop everything");
            problems.push(Problem::new("spec.namespaces", what, cure));
        }
        let wrong = self.namespaces.iter().enumerate().filter(|(_, name)| !is_label(name));
        problems.extend(wrong.map(|(index, name)| {
            let what = format!("\"{name}\" cannot be the name of a namespace");
            let cure = "write lower-case letters, digits and -, or no namespaces at all to stop everything";
            Problem::new(format!("spec.namespaces[{index}]"), what, cure)
        }));
        if let Some(length) = self.reason.as_ref().map(String::len).filter(|length| *length > MAX_REASON) {
            let cure = format!("write {MAX_REASON} bytes or fewer");
            problems.push(Problem::new("spec.reason", format!("{length} bytes are too many"), cure));
        }
        problems
    }
}

/// RFC 1123: what the name of a namespace looks like.
fn is_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=MAX_LABEL).contains(&name.len())
        && name.chars().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_stop_anything_is_refused() {
        let paths = |namespaces: &[&str], reason: Option<String>| -> Vec<String> {
            let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
            let problems = HaltSpec { namespaces, reason }.problems();
            problems.into_iter().map(|problem| problem.path).collect()
        };
        assert_eq!(paths(&[], None), Vec::<String>::new());
        assert_eq!(paths(&["default", "team-7", "0"], Some("x".repeat(MAX_REASON))), Vec::<String>::new());
        for name in ["", "Default", "a b", "a.b", "-a", "a-", "*", &"a".repeat(64)] {
            assert_eq!(paths(&["default", name], None), ["spec.namespaces[1]"], "{name:?}");
        }
        assert_eq!(paths(&["a"; MAX_NAMESPACES + 1], None), ["spec.namespaces"]);
        assert_eq!(paths(&[], Some("x".repeat(MAX_REASON + 1))), ["spec.reason"]);
    }
}
