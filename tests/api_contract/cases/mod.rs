//! The table: every verb with success, conflict, not found, too old and invalid.
//!
//! Only what every Kubernetes API server answers belongs here. A case leaves nothing behind that another could trip over
//! except objects under its own name in the fixture's namespace.

mod delete;
mod read;
mod review;
mod watch;
mod write;

use serde_json::{Value, json};

use crate::step::Case;

pub(crate) fn all() -> Vec<Case> {
    [
        write::create(),
        write::update(),
        write::patch(),
        write::status(),
        read::cases(),
        delete::cases(),
        review::cases(),
        watch::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A configmap named after the case.
fn config_map(value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "$n" }, "data": { "key": value } })
}

/// A custom object named after the case.
fn widget(spec: Value) -> Value {
    json!({
        "apiVersion": "contract.squall.dev/v1", "kind": "Widget", "metadata": { "name": "$n" }, "spec": spec,
    })
}

/// A pod that no scheduler takes; with a node it is some kubelet's that does not exist.
fn pod(spec: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "$n" },
        "spec": { "schedulerName": "none", "containers": [{ "name": "main", "image": "example.invalid/main:1" }] },
    });
    json_patch::merge(&mut pod, &json!({ "spec": spec }));
    pod
}
