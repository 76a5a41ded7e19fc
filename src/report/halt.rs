//! What a Halt stops.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::Injection;
use crate::experiment::wanted::HaltScope;

/// One line for each experiment that the Halt stops.
pub fn stopped<'a>(scope: &HaltScope, injections: impl IntoIterator<Item = &'a Injection>) -> Vec<String> {
    let over = |injection: &Injection| injection.status.as_ref().is_some_and(|status| status.ended.is_some());
    let mut experiments: BTreeMap<_, (usize, BTreeSet<&str>)> = BTreeMap::new();
    let covered = |injection: &&Injection| scope.covers(&injection.spec) && !over(injection);
    for injection in injections.into_iter().filter(covered) {
        let of = &injection.spec.experiment;
        let (targets, nodes) = experiments.entry((&of.kind, &of.namespace, &of.name)).or_default();
        *targets += injection.spec.targets.len();
        nodes.insert(&injection.spec.node);
    }
    let line = |((kind, namespace, name), (targets, nodes)): (
        (&String, &String, &String),
        (usize, BTreeSet<&str>),
    )| {
        let nodes = nodes.into_iter().collect::<Vec<_>>().join(", ");
        let word = if targets == 1 { "target" } else { "targets" };
        format!("stops {} {namespace}/{name}: {targets} {word} on {nodes}", kind.to_ascii_lowercase())
    };
    experiments.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn injection(experiment: &str, node: &str, namespaces: &[&str], status: &Value) -> Injection {
        let target = |namespace| json!({"namespace": namespace, "pod": "p", "uid": "u", "selectorKey": "."});
        let targets: Vec<_> = namespaces.iter().map(target).collect();
        serde_json::from_value(json!({
            "apiVersion": "squall.dev/v1alpha1", "kind": "Injection", "metadata": {"name": "i"},
            "spec": {
                "experiment": {"kind": "NetworkChaos", "namespace": "default", "name": experiment, "uid": "u"},
                "node": node, "targets": targets, "fault": {}, "run": 1,
                "notAfter": "2026-01-01T00:00:00Z", "lease": "30s",
            },
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn what_it_stops_is_summed_up_by_experiment() {
        let over = json!({"ended": "DurationElapsed"});
        let all = [
            injection("cut", "m1", &["a", "b"], &Value::Null),
            injection("cut", "m2", &["b"], &Value::Null),
            injection("other", "m1", &["c"], &Value::Null),
            injection("over", "m1", &["a"], &over),
        ];
        let everything = [
            "stops networkchaos default/cut: 3 targets on m1, m2",
            "stops networkchaos default/other: 1 target on m1",
        ];
        assert_eq!(stopped(&HaltScope::All, &all), everything);
        let some = HaltScope::Namespaces(vec!["b".to_owned()]);
        assert_eq!(stopped(&some, &all), everything[..1]);
    }
}
