//! Pause and resume: which of them an experiment can have, and the words for it.

use kube::ResourceExt;
use kube::api::DynamicObject;
use serde::{Deserialize, Serialize};

use super::{Stage, Trouble, stage, status};
use crate::api::PAUSE_ANNOTATION;

/// Which way the pause annotation is turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Turn {
    /// The fault goes, the time stands still.
    Pause,
    /// The fault comes back for the rest of the time.
    Resume,
}

impl Turn {
    /// The verb.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    /// What an experiment is when it is done.
    pub const fn done(self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Resume => "resumed",
        }
    }

    /// Why this experiment cannot be turned, and what to do; nothing if it can. `label` is what a message calls the
    /// experiment, `plural` the word for its kind on the command line.
    pub fn hindrance(self, object: &DynamicObject, label: &str, plural: &str) -> Option<Trouble> {
        let paused = object.annotations().get(PAUSE_ANNOTATION).is_some_and(|value| value == "true");
        let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
        let command = |verb: &str| format!("`squall {verb} {plural} {name} -n {namespace}`");
        let trouble = |what: &str, cure: String| Some(Trouble::new(format!("{label} {what}")).cure(cure));
        if object.metadata.deletion_timestamp.is_some() {
            return trouble("is being stopped", format!("{} waits until it is gone", command("stop")));
        }
        match stage(&status(object)) {
            Stage::Recovered { reason, .. } => {
                let cure = "start it again with `squall run -f FILE`";
                return trouble(&format!("is over already: {reason}"), cure.to_owned());
            }
            Stage::Recovering => {
                let cure = format!("{} shows what is still being undone", command("status"));
                return trouble("is over and being undone", cure);
            }
            Stage::Invalid(why) => {
                return trouble(
                    &format!("cannot run: {why}"),
                    "change the file and apply it again".to_owned(),
                );
            }
            Stage::Active => {}
        }
        match self {
            Self::Pause if paused => {
                trouble("is paused already", format!("{} lets it go on", command("resume")))
            }
            Self::Resume if !paused => {
                trouble("is not paused", format!("{} shows how it stands", command("status")))
            }
            Self::Pause | Self::Resume => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn experiment(metadata: &Value, status: &Value) -> DynamicObject {
        let mut object = json!({"apiVersion": "chaos-mesh.org/v1alpha1", "kind": "NetworkChaos",
            "metadata": {"namespace": "default", "name": "cut"}, "spec": {}, "status": status});
        for (key, value) in metadata.as_object().unwrap() {
            object["metadata"][key] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn only_what_runs_can_be_turned_and_each_way_once() {
        let paused = json!({"annotations": {PAUSE_ANNOTATION: "true"}});
        let none = json!({});
        let over = json!({"experiment": {"ended": "Halted"}});
        let targets = json!({"selected": 1, "injected": 1, "recovered": 0, "failed": 0});
        let undone = json!({"experiment": {"ended": "DurationElapsed", "targets": targets}});
        let invalid = json!({"conditions": [{"type": "Invalid", "status": "True", "message": "write x"}]});
        let deleted = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        for (turn, metadata, status, what, cure) in [
            (Turn::Pause, &none, &none, "", ""),
            (Turn::Resume, &paused, &none, "", ""),
            (Turn::Pause, &paused, &none, "is paused already", "`squall resume networkchaos cut -n default`"),
            (Turn::Resume, &none, &none, "is not paused", "`squall status networkchaos cut -n default`"),
            (Turn::Pause, &none, &over, "is over already: Halted", "`squall run -f FILE`"),
            (
                Turn::Resume,
                &paused,
                &undone,
                "is over and being undone",
                "`squall status networkchaos cut -n default`",
            ),
            (Turn::Pause, &none, &invalid, "cannot run: write x", "apply it again"),
            (
                Turn::Resume,
                &deleted,
                &none,
                "is being stopped",
                "`squall stop networkchaos cut -n default` waits",
            ),
        ] {
            let found = turn.hindrance(&experiment(metadata, status), "networkchaos/cut", "networkchaos");
            let Some(found) = found else {
                assert_eq!(what, "", "{metadata} {status}");
                continue;
            };
            assert_eq!(found.what, format!("networkchaos/cut {what}"));
            let said = found.cure.unwrap_or_default();
            assert!(said.contains(cure), "{metadata} {status}: {said}");
        }
    }
}
