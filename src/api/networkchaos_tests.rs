use super::*;
use serde_json::{Value, json};

fn spec(changes: &Value) -> NetworkChaosSpec {
    let mut value = json!({"action": "partition", "mode": "all", "selector": {}});
    for (key, change) in changes.as_object().unwrap() {
        value[key] = change.clone();
    }
    serde_json::from_value(value).unwrap()
}

#[test]
fn admission_rules() {
    let target = json!({"mode": "all", "selector": {}});
    let cases: [(&str, Value, &[&str]); 24] = [
        ("plain partition", json!({}), &[]),
        ("partition from without target", json!({"direction": "from"}), &[]),
        ("partition both with external", json!({"direction": "both", "externalTargets": ["10.0.0.1"]}), &[]),
        ("delay", json!({"action": "delay", "delay": {"latency": "150ms"}}), &[]),
        ("any netem block will do", json!({"action": "delay", "loss": {"loss": "25"}}), &[]),
        ("no block", json!({"action": "delay"}), &["spec.delay"]),
        ("no netem block", json!({"action": "netem"}), &["spec.delay"]),
        ("no bandwidth block", json!({"action": "bandwidth"}), &["spec.bandwidth"]),
        (
            "delay from without target",
            json!({"action": "delay", "direction": "from", "delay": {"latency": "1ms"}}),
            &["spec.direction"],
        ),
        (
            "delay both with external",
            json!({"action": "delay", "direction": "both", "target": target, "externalTargets": ["a.b"], "delay": {"latency": "1ms"}}),
            &["spec.direction"],
        ),
        ("fixed without value", json!({"mode": "fixed"}), &["spec.value"]),
        ("percent above 100", json!({"mode": "fixed-percent", "value": "101"}), &["spec.value"]),
        (
            "target without value",
            json!({"target": {"mode": "fixed", "selector": {}}}),
            &["spec.target.value"],
        ),
        ("bad duration", json!({"duration": "1d"}), &["spec.duration"]),
        ("empty duration", json!({"duration": ""}), &[]),
        ("negative duration", json!({"duration": "-1m"}), &["spec.duration"]),
        ("remote cluster", json!({"remoteCluster": "elsewhere"}), &["spec.remoteCluster"]),
        ("long device", json!({"device": "a-very-long-device"}), &["spec.device"]),
        ("device as ip prints it", json!({"targetDevice": "eth1@if12"}), &[]),
        (
            "external target",
            json!({"externalTargets": ["10.0.0.1", "no host"]}),
            &["spec.externalTargets[1]"],
        ),
        (
            "percentages",
            json!({"loss": {"loss": "x", "correlation": "101"}}),
            &["spec.loss.loss", "spec.loss.correlation"],
        ),
        ("rate", json!({"rate": {"rate": "1.5mbit"}}), &["spec.rate.rate"]),
        (
            "reorder",
            json!({"delay": {"latency": "1ms", "reorder": {"reorder": "-1", "gap": -1}}}),
            &["spec.delay.reorder.reorder", "spec.delay.reorder.gap"],
        ),
        (
            "selector",
            json!({"selector": {"podPhaseSelectors": ["Sad"]}}),
            &["spec.selector.podPhaseSelectors[0]"],
        ),
    ];
    for (name, changes, expected) in cases {
        let problems = spec(&changes).problems();
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, expected, "{name}: {problems:?}");
    }
}

#[test]
fn effective_values() {
    let plain = spec(&json!({}));
    assert_eq!((plain.source_device(), plain.peer_device()), ("eth0", "eth0"));
    assert_eq!(plain.direction, Direction::To);
    assert_eq!(plain.effective_duration(), None);
    let full = spec(&json!({"device": "net1@if3", "duration": "1m", "delay": {"latency": "1ms"}}));
    assert_eq!((full.source_device(), full.peer_device()), ("net1", "eth0"));
    assert_eq!(full.effective_duration().map(GoDuration::as_nanos), Some(60_000_000_000));
    let delay = full.delay.unwrap();
    assert_eq!((delay.jitter.as_str(), delay.correlation.as_str()), ("0ms", "0"));
}
