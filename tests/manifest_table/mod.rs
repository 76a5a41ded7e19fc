//! One table of manifests, good and bad, for all who judge them: the validators, the rules of the CRDs, and a real
//! API server.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use squall::api::custom_kinds;
use squall::manifest;

/// Who can refuse a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The validator and the rules of the CRD.
    Both,
    /// The schema of the CRD alone: the object cannot even be read.
    Schema,
    /// Only the validator: why no rule can.
    Validator(&'static str),
}
use By::{Both, Schema, Validator};

const ITEMS: &str = "what crosses the items of a list costs more than an API server allows";
const RANGE: &str = "CEL has no arithmetic that would not overflow itself";

pub(crate) fn network(changes: &Value) -> Value {
    object(
        "NetworkChaos",
        &json!({"action": "partition", "mode": "all", "selector": {"labelSelectors": {"a": "b"}}}),
        changes,
    )
}

fn pods(changes: &Value) -> Value {
    object(
        "PodChaos",
        &json!({"action": "pod-kill", "mode": "one", "selector": {"labelSelectors": {"a": "b"}}}),
        changes,
    )
}

fn object(kind: &str, spec: &Value, changes: &Value) -> Value {
    let mut spec = spec.clone();
    for (key, value) in changes.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": kind,
        "metadata": {"name": "x", "namespace": "default"}, "spec": spec,
    })
}

fn halt(spec: &Value) -> Value {
    json!({"apiVersion": "squall.dev/v1alpha1", "kind": "Halt", "metadata": {"name": "x"}, "spec": spec})
}

/// Manifests that are refused, and by whom.
pub(crate) fn bad() -> Vec<(Value, By)> {
    [bad_networks(), bad_blocks(), bad_others()].concat()
}

fn bad_others() -> Vec<(Value, By)> {
    vec![
        (pods(&json!({"action": "pod-explode"})), Schema),
        (pods(&json!({"gracePeriod": -1})), Schema),
        (pods(&json!({"gracePeriod": "5"})), Schema),
        (pods(&json!({"remoteCluster": "x"})), Both),
        (pods(&json!({"mode": "fixed"})), Both),
        (pods(&json!({"duration": "0s"})), Both),
        (pods(&json!({"action": "container-kill"})), Both),
        (pods(&json!({"action": "container-kill", "containerNames": []})), Both),
        (halt(&json!({"namespaces": ["default", ""]})), Both),
        (halt(&json!({"namespaces": ["Default"]})), Both),
        (halt(&json!({"namespaces": ["a-"]})), Both),
        (halt(&json!({"namespaces": ["a".repeat(64)]})), Schema),
        (halt(&json!({"namespaces": vec!["a"; 1001]})), Schema),
        (halt(&json!({"reason": "x".repeat(1025)})), Schema),
    ]
}

fn bad_networks() -> Vec<(Value, By)> {
    let delay = |delay: Value| json!({"action": "delay", "delay": delay});
    let target = |more: Value| {
        let mut target = json!({"mode": "all", "selector": {"labelSelectors": {"a": "c"}}});
        for (key, value) in more.as_object().unwrap() {
            target[key] = value.clone();
        }
        json!({"target": target})
    };
    let ms = json!({"latency": "1ms"});
    vec![
        (network(&json!({"action": "explode"})), Schema),
        (network(&json!({"mode": "some"})), Schema),
        (network(&json!({"value": 2})), Schema),
        (network(&json!({"direction": "sideways"})), Schema),
        (network(&json!({"device": "x".repeat(65)})), Schema),
        (network(&json!({"externalTargets": vec!["10.0.0.1"; 1025]})), Schema),
        (network(&json!({"selector": {"namespaces": ["n".repeat(254)]}})), Schema),
        (network(&delay(json!({"latency": "1h30m"}))), Schema),
        (
            network(&json!({"action": "bandwidth", "bandwidth": {"rate": "1mbit", "limit": 0, "buffer": 1}})),
            Schema,
        ),
        (network(&json!({"remoteCluster": "x"})), Both),
        (network(&json!({"duration": "1d"})), Both),
        (network(&json!({"duration": "0s"})), Both),
        (network(&json!({"duration": "-1s"})), Both),
        (network(&json!({"duration": "ten minutes"})), Both),
        (network(&json!({"duration": "5"})), Both),
        (network(&json!({"duration": "9999999999h"})), Validator(RANGE)),
        (network(&json!({"mode": "fixed"})), Both),
        (network(&json!({"mode": "fixed", "value": "0"})), Both),
        (network(&json!({"mode": "fixed", "value": "-1"})), Both),
        (network(&json!({"mode": "fixed", "value": " 2"})), Both),
        (network(&json!({"mode": "fixed-percent", "value": "101"})), Both),
        (network(&json!({"mode": "fixed-percent", "value": ""})), Both),
        (network(&json!({"mode": "random-max-percent", "value": "12.5"})), Both),
        (network(&target(json!({"mode": "fixed"}))), Both),
        (network(&target(json!({"mode": "random-max-percent", "value": "0"}))), Both),
        (network(&json!({"action": "delay"})), Both),
        (network(&json!({"action": "netem"})), Both),
        (network(&json!({"action": "loss", "bandwidth": {"rate": "1mbit", "limit": 1, "buffer": 1}})), Both),
        (network(&json!({"action": "bandwidth"})), Both),
        (network(&json!({"action": "delay", "delay": ms, "direction": "from"})), Both),
        (network(&json!({"action": "delay", "delay": ms, "direction": "both"})), Both),
        (
            network(&json!({
                "action": "delay", "delay": ms, "direction": "from", "externalTargets": ["10.0.0.1"],
                "target": {"mode": "all", "selector": {}},
            })),
            Both,
        ),
        (network(&json!({"device": "a/b"})), Both),
        (network(&json!({"device": "a b"})), Both),
        (network(&json!({"targetDevice": "sixteen-bytes-xx"})), Both),
        (network(&json!({"externalTargets": ["10.0.0.300"]})), Validator(ITEMS)),
        (network(&json!({"selector": {"podPhaseSelectors": ["Happy"]}})), Validator(ITEMS)),
        (network(&json!({"selector": {"fieldSelectors": {"spec.hostname": "h"}}})), Validator(ITEMS)),
        (
            network(&json!({"selector": {"expressionSelectors": [{"key": "a", "operator": "Equals"}]}})),
            Validator(ITEMS),
        ),
    ]
}

/// Of the blocks of netem, and of the token bucket.
fn bad_blocks() -> Vec<(Value, By)> {
    let delay = |delay: Value| json!({"action": "delay", "delay": delay});
    let mut rows = Vec::new();
    for percent in ["101", "-1", "", "x", "1e1", " 5", "NaN"] {
        rows.extend([
            (network(&json!({"action": "loss", "loss": {"loss": percent}})), Both),
            (network(&json!({"action": "loss", "loss": {"loss": "1", "correlation": percent}})), Both),
            (network(&json!({"action": "duplicate", "duplicate": {"duplicate": percent}})), Both),
            (network(&json!({"action": "corrupt", "corrupt": {"corrupt": percent}})), Both),
            (network(&delay(json!({"latency": "1ms", "correlation": percent}))), Both),
            (network(&delay(json!({"latency": "1ms", "reorder": {"reorder": percent, "gap": 1}}))), Both),
        ]);
    }
    rows.push((network(&delay(json!({"latency": "1ms", "reorder": {"reorder": "1", "gap": -1}}))), Both));
    for rate in ["1.5mbit", "10", "mbit", "10 parsec", "0kbit", "", " 1mbit", "1mbit "] {
        rows.push((network(&json!({"action": "netem", "rate": {"rate": rate}})), Both));
        rows.push((
            network(&json!({"action": "bandwidth", "bandwidth": {"rate": rate, "limit": 1, "buffer": 1}})),
            Both,
        ));
    }
    rows.push((network(&json!({"action": "netem", "rate": {"rate": "99999999999tbps"}})), Validator(RANGE)));
    rows
}

/// Manifests that nobody may refuse.
pub(crate) fn good() -> Vec<Value> {
    let mut rows = vec![
        network(&json!({})),
        network(&json!({"direction": "both"})),
        network(&json!({"direction": "from", "externalTargets": ["10.0.0.1:80", "example.com"]})),
        network(&json!({"duration": ""})),
        network(&json!({"remoteCluster": ""})),
        network(&json!({"device": "eth0@if12", "targetDevice": ""})),
        network(&json!({"action": "loss", "delay": {"latency": "1ms"}})),
        pods(&json!({"action": "container-kill", "containerNames": ["c"], "gracePeriod": 5})),
        halt(&json!({})),
        halt(&json!({"namespaces": ["default", "team-7", "0"], "reason": "x".repeat(1024)})),
    ];
    rows.extend(
        ["1h15m30.5s", "500ms", ".5s", "1.s", "+1m", "1us2µs3μs"]
            .map(|text| network(&json!({"duration": text}))),
    );
    rows.extend(
        ["1", "+3", "007", "999999999"].map(|value| network(&json!({"mode": "fixed", "value": value}))),
    );
    rows.extend(["1", "99", "100"].map(|value| network(&json!({"mode": "fixed-percent", "value": value}))));
    rows.extend(
        ["0", "25", "0.5", "100", "100.0", ".5", "5."]
            .map(|text| network(&json!({"action": "loss", "loss": {"loss": text}}))),
    );
    rows.extend(
        ["1bit", "10mbit", "1Mbps", "7 kbps", "3tbit"]
            .map(|rate| network(&json!({"action": "netem", "rate": {"rate": rate}}))),
    );
    rows
}

/// The experiments in the files of a folder, one a file, and whether the validator refuses them.
pub(crate) fn files(folder: &str) -> Vec<(String, bool, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read(&path).unwrap();
        let refuses = manifest::read(&text).diagnostics.iter().any(|found| found.severity.refuses());
        let Ok(mut yaml) = serde_yaml::from_slice::<serde_yaml::Value>(&text) else { continue };
        yaml.apply_merge().unwrap();
        let Ok(object) = serde_json::to_value(yaml) else { continue };
        let ours =
            object["kind"].as_str().is_some_and(|kind| custom_kinds().iter().any(|known| known.kind == kind));
        if ours && object["spec"].is_object() {
            found.push((path.file_name().unwrap().to_string_lossy().into_owned(), refuses, object));
        }
    }
    found
}

/// Files that no rule refuses, and why that is all right.
pub(crate) const NO_RULE: [(&str, &str); 11] = [
    ("api-version-of-another-group.yaml", "an API server does not serve it"),
    ("bad-name.yaml", "an API server checks names for every kind"),
    ("external-targets.yaml", ITEMS),
    ("latency-of-two-units.yaml", "the pattern in the schema refuses it"),
    ("nested-too-deep.yaml", "an unknown field is dropped"),
    ("old-container-name.yaml", "an unknown field is dropped"),
    ("old-group.yaml", "an API server does not serve it"),
    ("old-match-labels.yaml", "an unknown field is dropped"),
    ("old-scheduler.yaml", "an unknown field is dropped"),
    ("selector-phases-and-fields.yaml", ITEMS),
    ("unknown-field.yaml", "an unknown field is dropped"),
];
