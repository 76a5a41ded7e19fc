use serde_json::{Value, json};

use super::*;

/// The lints of a spec of `kind`.
fn lints(kind: &str, spec: &Value) -> Vec<String> {
    let schema = json!({"properties": {"duration": {}}});
    let mut findings = Vec::new();
    object(kind, &schema, spec, &Value::Null, &mut findings);
    findings.iter().map(|finding| format!("{}: {}", finding.problem.path, finding.problem.what)).collect()
}

#[test]
fn pod_chaos() {
    let base = json!({"mode": "all", "selector": {"namespaces": ["a"]}});
    for (changes, expected) in [
        (json!({"action": "pod-kill", "gracePeriod": 5}), vec![]),
        (json!({"action": "container-kill", "containerNames": ["web"]}), vec![]),
        (json!({"action": "pod-failure", "duration": "30s", "gracePeriod": 0}), vec![]),
        (json!({"action": "pod-failure"}), vec!["spec.duration: no duration: it runs until you delete it"]),
        (
            json!({"action": "pod-kill", "duration": "30s"}),
            vec!["spec.duration: action pod-kill is done at once; its duration is passed over"],
        ),
        (
            json!({"action": "pod-failure", "duration": "1s", "gracePeriod": 1, "containerNames": ["web"]}),
            vec![
                "spec.gracePeriod: only action pod-kill reads it",
                "spec.containerNames: only action container-kill reads it",
            ],
        ),
    ] {
        let mut spec = base.clone();
        spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        assert_eq!(lints("PodChaos", &spec), expected, "{changes}");
    }
}

#[test]
fn a_kind_without_duration_is_not_asked_for_one() {
    let mut findings = Vec::new();
    object("StatusCheck", &json!({"properties": {}}), &json!({"type": "HTTP"}), &Value::Null, &mut findings);
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn semantics_that_nobody_knows_are_warned_of() {
    for (value, expected) in [
        ("chaos-mesh", vec![]),
        (
            "Chaos-Mesh",
            vec!["metadata.annotations.squall.dev/semantics: \"Chaos-Mesh\" is not known; it is passed over"],
        ),
    ] {
        let mut findings = Vec::new();
        let metadata = json!({"annotations": {SEMANTICS_ANNOTATION: value}});
        object("StatusCheck", &json!({"properties": {}}), &json!({"type": "HTTP"}), &metadata, &mut findings);
        let found: Vec<_> = findings
            .iter()
            .map(|finding| format!("{}: {}", finding.problem.path, finding.problem.what))
            .collect();
        assert_eq!(found, expected, "{value}");
    }
}
