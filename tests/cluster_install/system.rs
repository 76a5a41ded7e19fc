//! The tutorial's system, from the manifests that its users apply.
//!
//! Three things differ: there is no name server, so that programs are told Services by the variables that the kubelet sets; the
//! database is the stand-in, whose image is at hand; and the client asks less often, since this machine is all of the nodes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use test_cluster::node_name;

use super::kubectl::{PATIENCE, apply, within};
use super::samples::{self, MESSAGE, MOVIES};
use super::world::World;

/// Requests that the client sends in a second.
const RATE: &str = "100";

const DEPLOYMENTS: [&str; 3] = ["mongo", "server-app", "traffic"];

/// Applies it and waits until its client is served.
pub(crate) fn deploy(world: &World) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample-services");
    let mut all = Vec::new();
    for service in ["database", "movies", "traffic"] {
        let text = fs::read_to_string(folder.join(service).join("k8s.yaml")).unwrap();
        all.extend(serde_yaml::Deserializer::from_str(&text).map(|part| Value::deserialize(part).unwrap()));
    }
    all.iter_mut().for_each(adapt);
    // A pod is told the Services that were there before it.
    all.sort_by_key(|object| object["kind"] == "Deployment");
    for object in &all {
        apply(&world.cluster, object);
    }
    until_steady(world);
}

fn adapt(object: &mut Value) {
    if object["kind"] != "Deployment" {
        return;
    }
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    let spec = &mut object["spec"]["template"]["spec"];
    let (variables, image) = match name.as_str() {
        "mongo" => (json!([]), Some("database:0.1.0")),
        "server-app" => (variable("MOVIES_MONGO", "mongodb://$(MONGO_SERVICE_HOST):27017"), None),
        _ => (variable("TRAFFIC_URL", "http://$(SERVER_APP_SERVICE_HOST)"), None),
    };
    spec["containers"][0]["env"] = variables;
    if let Some(image) = image {
        spec["containers"][0]["image"] = json!(image);
        // The folder of the node is root's.
        spec["securityContext"] = json!({ "runAsUser": 0 });
    }
}

fn variable(name: &str, value: &str) -> Value {
    json!([{ "name": name, "value": value }, { "name": "TRAFFIC_RATE", "value": RATE }])
}

/// Has all pods of an application run on one node, or, with none, where its manifest says.
pub(crate) fn place(world: &World, app: &str, node: u8) {
    let selector = json!({ "kubernetes.io/hostname": node_name(node) });
    let patch = json!({ "spec": {
        "replicas": 1,
        "template": { "spec": { "nodeSelector": selector, "topologySpreadConstraints": null } },
    } });
    world.kubectl(&format!("patch deployment {app} --patch {patch}"));
    until_steady(world);
}

/// Waits until every pod is ready and the client's requests are answered.
pub(crate) fn until_steady(world: &World) {
    for name in DEPLOYMENTS {
        world.kubectl(&format!("rollout status deployment/{name} --timeout={}s", PATIENCE.as_secs()));
        let label = format!("app={name}");
        within(PATIENCE, "pods that were replaced are gone", || {
            let pods = world.json(&format!("get pods -l {label}"));
            pods["items"].as_array().unwrap().iter().all(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        });
    }
    within(Duration::from_mins(2), "the client is served", || {
        let seen = samples::watch(world, 2);
        let served = |path: &str| seen.count(path) >= 5 && seen.failed(path) == 0;
        served(MOVIES) && served(MESSAGE)
    });
}
