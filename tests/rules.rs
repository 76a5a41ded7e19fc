//! The rules that the CRDs carry in CEL, held to the validators: what one refuses the other refuses.
//!
//! An API server sees only the CRD; the command line and the controller have the validators, with better words. One
//! table of manifests goes through both, through admission as the playground does it, and, where a test
//! cluster is at hand, through a real API server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what is wrong"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kube::core::CustomResourceExt;
use kube::core::cel::{validate_cel, validate_cel_update};
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use serde_json::{Value, json};
use squall::api::{Halt, NetworkChaos, PodChaos, Problem, admit, custom_kinds};
use squall::manifest;

/// Who can refuse a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
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

fn network(changes: &Value) -> Value {
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
fn bad() -> Vec<(Value, By)> {
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
fn good() -> Vec<Value> {
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

/// What admission says: the schema, the defaults and the validator, as the playground's API server has them.
fn admitted(object: &mut Value) -> Result<(), Vec<Problem>> {
    let group = object["apiVersion"].as_str().unwrap().split('/').next().unwrap().to_owned();
    let kind = object["kind"].as_str().unwrap().to_owned();
    admit(&group, &kind, None, object)
}

/// What the rules say of a whole object; nothing if it cannot be read as its kind.
fn by_rules(object: &Value) -> Option<Result<(), String>> {
    fn of<K: DeserializeOwned + Serialize + CustomResourceExt>(object: &Value) -> Option<Result<(), String>> {
        let object = K::deserialize(object).ok()?;
        Some(validate_cel(&object).map_err(|errors| errors.to_string()))
    }
    match object["kind"].as_str().unwrap() {
        "NetworkChaos" => of::<NetworkChaos>(object),
        "PodChaos" => of::<PodChaos>(object),
        "Halt" => of::<Halt>(object),
        other => panic!("{other}"),
    }
}

#[test]
fn what_one_refuses_the_other_refuses() {
    for (object, by) in bad() {
        let mut stored = object.clone();
        let refused = admitted(&mut stored).expect_err(&object.to_string());
        assert!(!refused.is_empty(), "{object}");
        match by {
            Schema => {}
            Both => {
                let says = by_rules(&stored).unwrap_or_else(|| panic!("cannot be read: {stored}"));
                let says = says.expect_err(&format!("no rule refuses {stored}: {refused:?}"));
                assert!(says.contains(';'), "a rule says what is wrong and what to write: {says}");
            }
            Validator(why) => {
                assert_eq!(by_rules(&stored), Some(Ok(())), "a rule can, although {why}: {stored}");
            }
        }
    }
}

#[test]
fn what_is_right_passes_both() {
    for mut object in good() {
        assert_eq!(admitted(&mut object), Ok(()), "{object}");
        assert_eq!(by_rules(&object), Some(Ok(())), "{object}");
    }
}

/// The experiments in the files of a folder, one a file.
fn files(folder: &str) -> Vec<(String, Value)> {
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
            found.push((path.file_name().unwrap().to_string_lossy().into_owned(), json!([refuses, object])));
        }
    }
    found
}

#[test]
fn files_that_are_read_pass_the_rules() {
    let mut seen = 0;
    for folder in ["templates", "tests/manifests/valid"] {
        for (file, row) in files(folder) {
            let mut object = row[1].clone();
            assert_eq!(row[0], false, "{file}");
            assert_eq!(admitted(&mut object), Ok(()), "{file}");
            assert_eq!(by_rules(&object), Some(Ok(())), "{file}");
            seen += 1;
        }
    }
    assert!(seen >= 15, "only {seen} files");
}

/// Files that no rule refuses, and why that is all right.
const NO_RULE: [(&str, &str); 11] = [
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

#[test]
fn files_that_are_refused_are_refused_by_an_api_server_too_or_named_here() {
    let mut passed = BTreeSet::new();
    let mut refused = 0;
    for (file, row) in files("tests/manifests/invalid") {
        assert_eq!(row[0], true, "{file}");
        let mut object = row[1].clone();
        let by_schema = admitted(&mut object).is_err() && by_rules(&object).is_none_or(|says| says.is_err());
        if by_schema {
            refused += 1;
        } else {
            passed.insert(file);
        }
    }
    let named: BTreeSet<String> = NO_RULE.iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(passed, named);
    assert!(refused >= 20, "only {refused} files");
}

#[test]
fn once_targets_are_selected_the_selection_stays() {
    let with = |spec: &Value, selected: u32| {
        let mut object = network(spec);
        admitted(&mut object).unwrap();
        object["status"] = json!({"experiment": {"targets":
            {"selected": selected, "injected": 0, "recovered": 0, "failed": 0}}});
        object
    };
    let delay = json!({"action": "delay", "delay": {"latency": "150ms"}, "duration": "1m"});
    let changed = |field: &str, value: Value| {
        let mut spec = delay.clone();
        spec[field] = value;
        spec
    };
    let typed = |object: &Value| NetworkChaos::deserialize(object).unwrap();
    for (field, value, fixed) in [
        ("delay", json!({"latency": "300ms"}), false),
        ("duration", json!("2m"), false),
        ("duration", Value::Null, false),
        ("action", json!("netem"), true),
        ("mode", json!("one"), true),
        ("selector", json!({"labelSelectors": {"a": "c"}}), true),
        ("target", json!({"mode": "all", "selector": {"labelSelectors": {"a": "c"}}}), true),
        ("externalTargets", json!(["10.0.0.1"]), true),
        ("device", json!("eth1"), true),
    ] {
        for selected in [0, 3] {
            let (old, mut new) = (with(&delay, selected), with(&changed(field, value.clone()), selected));
            let by_rules = validate_cel_update(&typed(&new), &typed(&old));
            let by_admission = admit("chaos-mesh.org", "NetworkChaos", Some(&old), &mut new);
            let expected = fixed && selected > 0;
            assert_eq!(by_rules.is_err(), expected, "{field} with {selected} targets: {by_rules:?}");
            assert_eq!(by_admission.is_err(), expected, "{field} with {selected} targets: {by_admission:?}");
        }
    }
}

#[test]
fn a_null_is_nothing() {
    for field in ["duration", "value", "target", "delay", "device", "remoteCluster"] {
        let mut object = network(&json!({field: null}));
        assert_eq!(admitted(&mut object), Ok(()), "{field}");
        assert!(object["spec"].get(field).is_none(), "an API server drops {field}, and no rule meets it");
    }
}

#[test]
fn every_text_list_and_map_that_users_write_has_a_bound() {
    fn unbounded(schema: &Value, path: &str, found: &mut Vec<String>) {
        let has = |key: &str| schema.get(key).is_some();
        let lacks = match schema["type"].as_str() {
            Some("string") => !has("enum") && !has("maxLength"),
            Some("array") => !has("maxItems"),
            Some("object") => has("additionalProperties") && !has("maxProperties"),
            _ => false,
        };
        if lacks {
            found.push(path.to_owned());
        }
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            unbounded(below, &format!("{path}.{key}"), found);
        }
        for key in ["items", "additionalProperties"] {
            if schema[key].is_object() {
                unbounded(&schema[key], &format!("{path}[]"), found);
            }
        }
    }
    for kind in custom_kinds().iter().filter(|kind| kind.kind != "Injection") {
        let mut found = Vec::new();
        unbounded(&kind.schema()["properties"]["spec"], "spec", &mut found);
        assert_eq!(found, Vec::<String>::new(), "{}", kind.kind);
    }
}
