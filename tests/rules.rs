//! The rules that the CRDs carry in CEL, held to the validators: what one refuses the other refuses.
//!
//! An API server sees only the CRD; the command line and the controller have the validators, with better words. One
//! table of manifests goes through both and through admission as the playground does it; `tests/kubernetes` sends the
//! same table through a real API server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what is wrong"
)]

mod manifest_table;

use std::collections::BTreeSet;

use kube::core::CustomResourceExt;
use kube::core::cel::{validate_cel, validate_cel_update};
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use serde_json::{Value, json};
use squall::api::{Halt, NetworkChaos, PodChaos, Problem, admit, custom_kinds};

use manifest_table::By::{Both, Schema, Validator};
use manifest_table::{NO_RULE, bad, files, good, network};

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

#[test]
fn files_that_are_read_pass_the_rules() {
    let mut seen = 0;
    for folder in ["templates", "tests/manifests/valid"] {
        for (file, refused, mut object) in files(folder) {
            assert!(!refused, "{file}");
            assert_eq!(admitted(&mut object), Ok(()), "{file}");
            assert_eq!(by_rules(&object), Some(Ok(())), "{file}");
            seen += 1;
        }
    }
    assert!(seen >= 15, "only {seen} files");
}

#[test]
fn files_that_are_refused_are_refused_by_an_api_server_too_or_named_here() {
    let mut passed = BTreeSet::new();
    let mut refused = 0;
    for (file, by_validator, mut object) in files("tests/manifests/invalid") {
        assert!(by_validator, "{file}");
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
