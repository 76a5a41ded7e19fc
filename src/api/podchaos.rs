//! PodChaos: the fields, defaults and admission rules of `chaos-mesh.org/v1alpha1`.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::networkchaos::{duration_problem, remote_cluster_problem};
use super::rules;
use super::{ChaosStatus, GoDuration, Mode, PodSelector, Problem};

/// One fault of the pods of a selector, or of their containers.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "chaos-mesh.org",
    version = "v1alpha1",
    kind = "PodChaos",
    plural = "podchaos",
    namespaced,
    status = "ChaosStatus",
    derive = "PartialEq",
    validation = rules::fixed(&FIXED_FIELDS)
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::pod_chaos)]
pub struct PodChaosSpec {
    /// What is done.
    pub action: PodAction,
    /// The pods that it is done to.
    pub selector: PodSelector,
    /// How many of them.
    pub mode: Mode,
    /// Number or percentage for the modes `fixed`, `fixed-percent` and `random-max-percent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How long a `pod-failure` lasts, from the first injection; until it is deleted if unset or empty. The
    /// other actions are done once, and take no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// The containers of a `container-kill`; the other actions are done to whole pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub container_names: Vec<String>,
    /// Seconds that a `pod-kill` leaves the pod to end by itself; none by default.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub grace_period: i64,
    /// The name of another cluster; kept in the schema only to be refused. Without the field an API
    /// server would drop it silently and the fault would run here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_cluster: Option<String>,
}

/// What a PodChaos does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PodAction {
    /// Pods are deleted, once.
    PodKill,
    /// The containers of the pods are replaced by ones that do nothing, for a time.
    PodFailure,
    /// Containers are killed, once.
    ContainerKill,
}

/// What tells who is hit, and by what: it stays as it is once targets were selected.
pub(super) const FIXED_FIELDS: [&str; 5] = ["action", "mode", "value", "selector", "containerNames"];

impl PodAction {
    /// The word that experiment files use.
    pub const fn word(self) -> &'static str {
        match self {
            Self::PodKill => "pod-kill",
            Self::PodFailure => "pod-failure",
            Self::ContainerKill => "container-kill",
        }
    }

    /// Whether it is done once and leaves nothing to undo.
    pub const fn is_one_shot(self) -> bool {
        matches!(self, Self::PodKill | Self::ContainerKill)
    }
}

impl PodChaosSpec {
    /// How long the fault lasts; `None` means until it is deleted, and for what is done once that there is
    /// nothing to last.
    pub fn effective_duration(&self) -> Option<GoDuration> {
        let text = self.duration.as_deref().filter(|text| !text.is_empty() && !self.action.is_one_shot());
        text?.parse().ok()
    }

    /// Everything that is wrong with it, beyond what the schema says.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        problems.extend(remote_cluster_problem(self.remote_cluster.as_deref()));
        problems.extend(self.mode.amount(self.value.as_deref(), "spec.").err());
        problems.extend(self.selector.problems("spec.selector."));
        problems.extend(duration_problem(self.duration.as_deref()));
        if self.action == PodAction::ContainerKill && self.container_names.is_empty() {
            problems.push(Problem::new(
                "spec.containerNames",
                "action container-kill needs the names of the containers",
                "list at least one container of the pods",
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::admit;
    use super::*;

    fn admitted(changes: &Value) -> Result<PodChaos, Vec<String>> {
        let mut object = json!({
            "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "PodChaos", "metadata": {"name": "p"},
            "spec": {"action": "pod-kill", "mode": "one", "selector": {"labelSelectors": {"app": "web"}}},
        });
        object["spec"].as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        admit("chaos-mesh.org", "PodChaos", None, &mut object)
            .map_err(|problems| problems.into_iter().map(|problem| problem.path).collect::<Vec<_>>())?;
        Ok(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn defaults() {
        let chaos = admitted(&json!({"foo": "bar"})).unwrap();
        assert_eq!((chaos.spec.grace_period, chaos.spec.container_names.len()), (0, 0));
        let whole = admitted(&json!({
            "action": "container-kill", "mode": "fixed", "value": "2", "duration": "30s",
            "containerNames": ["c"], "gracePeriod": 5, "remoteCluster": "",
        }));
        assert_eq!(whole.unwrap().spec.grace_period, 5);
    }

    #[test]
    fn rules() {
        for (path, changes) in [
            ("spec.action", json!({"action": "pod-explode"})),
            ("spec.mode", json!({"mode": "some"})),
            ("spec.value", json!({"mode": "fixed"})),
            ("spec.value", json!({"mode": "fixed-percent", "value": "101"})),
            ("spec.duration", json!({"action": "pod-failure", "duration": "1d"})),
            ("spec.duration", json!({"duration": "0s"})),
            ("spec.gracePeriod", json!({"gracePeriod": -1})),
            ("spec.gracePeriod", json!({"gracePeriod": "5"})),
            ("spec.containerNames", json!({"action": "container-kill"})),
            ("spec.containerNames", json!({"action": "container-kill", "containerNames": []})),
            ("spec.remoteCluster", json!({"remoteCluster": "x"})),
            ("spec.selector.podPhaseSelectors[0]", json!({"selector": {"podPhaseSelectors": ["Happy"]}})),
        ] {
            assert_eq!(admitted(&changes).unwrap_err(), [path], "{changes}");
        }
    }

    #[test]
    fn what_is_done_once_has_no_duration() {
        for (action, lasts) in [("pod-kill", false), ("pod-failure", true), ("container-kill", false)] {
            let changes = json!({"action": action, "duration": "30s", "containerNames": ["c"]});
            let spec = admitted(&changes).unwrap().spec;
            assert_eq!(spec.effective_duration().is_some(), lasts, "{action}");
            assert_eq!((spec.action.word(), spec.action.is_one_shot()), (action, !lasts));
        }
    }
}
