//! How an experiment names its pods: selector and mode, common to every kind that acts on pods.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Problem;

/// Which pods may be picked. All given fields must hold, except `pods`, which replaces all others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSelector {
    /// Namespaces to look in; the object's own if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Labels that must be equal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub label_selectors: BTreeMap<String, String>,
    /// Set-based label requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expression_selectors: Vec<LabelRequirement>,
    /// Annotations that must be equal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotation_selectors: BTreeMap<String, String>,
    /// Pod fields that must be equal: `metadata.name`, `spec.nodeName`, `status.phase` and the others
    /// that the API server can select by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub field_selectors: BTreeMap<String, String>,
    /// Names of nodes; the pod must run on one of these or of those that `nodeSelectors` matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// Labels of nodes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selectors: BTreeMap<String, String>,
    /// Phases that the pod may be in; `!Running` excludes one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_phase_selectors: Vec<String>,
    /// Pods by namespace and name; replaces every other field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pods: BTreeMap<String, Vec<String>>,
}

/// One set-based label requirement (`metav1.LabelSelectorRequirement`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LabelRequirement {
    /// The label's key.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// The values of `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// How many of the candidates are picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// One, at random.
    One,
    /// All of them.
    All,
    /// `value` of them, at random.
    Fixed,
    /// `value` percent of them, rounded up.
    FixedPercent,
    /// A random percentage between 0 and `value`, rounded up.
    RandomMaxPercent,
}

/// Most pods that `fixed` can ask for: nine digits, as the rule in the CRD has it.
const MOST_PODS: u32 = 999_999_999;

impl Mode {
    /// Reads `value` as this mode needs it: 0 for the modes that need none.
    ///
    /// # Errors
    /// What is wrong and what to write, at the path `value` below `path`.
    pub fn amount(self, value: Option<&str>, path: &str) -> Result<u32, Problem> {
        let (cure, range) = match self {
            Self::One | Self::All => return Ok(0),
            Self::Fixed => ("write the number of pods, quoted: value: \"2\"", 1..=MOST_PODS),
            Self::FixedPercent | Self::RandomMaxPercent => {
                ("write a percentage from 1 to 100, quoted: value: \"50\"", 1..=100)
            }
        };
        let problem = |what: String| Problem::new(format!("{path}value"), what, cure);
        let value = value.ok_or_else(|| problem("this mode needs a value".to_owned()))?;
        let number: u32 =
            value.parse().map_err(|_e| problem(format!("\"{value}\" is not a whole number")))?;
        if range.contains(&number) { Ok(number) } else { Err(problem(format!("{number} is out of range"))) }
    }
}

/// Phases of a pod (`v1.PodPhase`).
const PHASES: [&str; 5] = ["Pending", "Running", "Succeeded", "Failed", "Unknown"];

/// Pod fields that can be selected by, as in the API server's `SelectableFields` of pods.
pub const POD_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
];

impl PodSelector {
    /// Checks what the schema cannot: operators, phases, field names. `path` ends in a dot.
    pub fn problems(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (index, requirement) in self.expression_selectors.iter().enumerate() {
            let path = format!("{path}expressionSelectors[{index}]");
            match (requirement.operator.as_str(), requirement.values.is_empty()) {
                ("In" | "NotIn", false) | ("Exists" | "DoesNotExist", true) => {}
                ("In" | "NotIn", true) => problems.push(Problem::new(
                    format!("{path}.values"),
                    format!("operator {} needs values", requirement.operator),
                    "list at least one, or use Exists",
                )),
                ("Exists" | "DoesNotExist", false) => problems.push(Problem::new(
                    format!("{path}.values"),
                    format!("operator {} takes no values", requirement.operator),
                    "remove them, or use In",
                )),
                (other, _) => problems.push(Problem::new(
                    format!("{path}.operator"),
                    format!("unknown operator \"{other}\""),
                    "write In, NotIn, Exists or DoesNotExist",
                )),
            }
        }
        for (index, phase) in self.pod_phase_selectors.iter().enumerate() {
            if !PHASES.contains(&phase.strip_prefix('!').unwrap_or(phase)) {
                problems.push(Problem::new(
                    format!("{path}podPhaseSelectors[{index}]"),
                    format!("unknown phase \"{phase}\""),
                    "write Pending, Running, Succeeded, Failed or Unknown, with a ! before it to exclude",
                ));
            }
        }
        for field in self.field_selectors.keys().filter(|field| !POD_FIELDS.contains(&field.as_str())) {
            problems.push(Problem::new(
                format!("{path}fieldSelectors"),
                format!("pods cannot be selected by \"{field}\""),
                format!("use one of {}", POD_FIELDS.join(", ")),
            ));
        }
        problems
    }

    /// The namespaces it looks in, for an object of namespace `own`.
    pub fn namespaces_or<'a>(&'a self, own: &'a str) -> Vec<&'a str> {
        if self.namespaces.is_empty() {
            vec![own]
        } else {
            self.namespaces.iter().map(String::as_str).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        assert_eq!(Mode::One.amount(Some("nonsense"), "spec."), Ok(0));
        assert_eq!(Mode::Fixed.amount(Some("2"), "spec."), Ok(2));
        assert_eq!(Mode::FixedPercent.amount(Some("100"), "spec."), Ok(100));
        for (mode, value) in [
            (Mode::Fixed, None),
            (Mode::Fixed, Some("0")),
            (Mode::Fixed, Some("-1")),
            (Mode::FixedPercent, Some("101")),
            (Mode::RandomMaxPercent, Some("0")),
            (Mode::RandomMaxPercent, Some("12.5")),
        ] {
            let problem = mode.amount(value, "spec.target.").unwrap_err();
            assert_eq!(problem.path, "spec.target.value", "{mode:?} {value:?}");
        }
    }

    #[test]
    fn finds_what_the_schema_cannot() {
        let selector: PodSelector = serde_json::from_value(serde_json::json!({
            "expressionSelectors": [
                {"key": "a", "operator": "In"},
                {"key": "a", "operator": "Exists", "values": ["x"]},
                {"key": "a", "operator": "Equals"},
                {"key": "a", "operator": "NotIn", "values": ["x"]},
            ],
            "podPhaseSelectors": ["Running", "!Failed", "Happy"],
            "fieldSelectors": {"spec.nodeName": "n", "spec.hostname": "h"},
        }))
        .unwrap();
        let paths: Vec<_> = selector.problems("spec.selector.").into_iter().map(|p| p.path).collect();
        assert_eq!(
            paths,
            [
                "spec.selector.expressionSelectors[0].values",
                "spec.selector.expressionSelectors[1].values",
                "spec.selector.expressionSelectors[2].operator",
                "spec.selector.podPhaseSelectors[2]",
                "spec.selector.fieldSelectors",
            ]
        );
    }
}
