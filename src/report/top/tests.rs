use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::report::documented::undocumented;

const NOW: &str = "2026-01-01T00:10:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn read<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn pod(name: &str, container: &str, node: &str, status: &Value) -> Pod {
    read(json!({
        "metadata": { "name": name, "namespace": "squall-system", "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": { "nodeName": node, "containers": [{ "name": container, "image": "registry.test:5000/squall:0.1.0" }] },
        "status": status,
    }))
}

fn ready(container: &str, restarts: i32) -> Value {
    json!({
        "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }],
        "containerStatuses": [{
            "name": container, "ready": true, "restartCount": restarts, "image": "", "imageID": "",
            "state": { "running": {} },
        }],
    })
}

fn node(name: &str, ready: &str) -> Node {
    read(json!({ "metadata": { "name": name }, "status": { "conditions": [
        { "type": "Ready", "status": ready, "reason": "KubeletReady", "message": "kubelet stopped posting" },
    ] } }))
}

fn injection(name: &str, node: &str, spec: &Value, status: Value) -> Injection {
    let target = |pod: &str| json!({ "namespace": "default", "pod": pod, "uid": pod });
    let mut all = json!({
        "metadata": { "name": name, "creationTimestamp": "2026-01-01T00:09:00Z" },
        "spec": {
            "experiment": { "kind": "NetworkChaos", "namespace": "default", "name": name, "uid": "u" },
            "node": node, "targets": [target("a"), target("b")], "fault": {}, "run": 1,
            "notAfter": NOW, "lease": "30s",
        },
    });
    all["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    if !status.is_null() {
        all["status"] = status;
    }
    read(all)
}

fn target(pod: &str, phase: &str, error: Option<&str>) -> Value {
    json!({ "namespace": "default", "pod": pod, "uid": pod, "phase": phase, "error": error, "since": NOW })
}

/// Three nodes that are well in different ways, two controllers and an emergency stop of one namespace.
fn seen() -> Seen {
    let injected = json!({
        "startedAt": "2026-01-01T00:09:15Z", "wanted": "Present", "interruptions": 2,
        "targets": [target("a", "Injected", None), target("b", "Failed", Some("no such interface"))],
    });
    let over = json!({ "ended": "DurationElapsed", "targets": [target("a", "Recovered", None)] });
    Seen {
        nodes: Some(vec![node("machine1", "True"), node("machine2", "Unknown"), node("machine3", "True")]),
        pods: vec![
            pod("squall-daemon-1", DAEMON, "machine1", &ready(DAEMON, 0)),
            pod("squall-daemon-2", DAEMON, "machine2", &json!({ "phase": "Running" })),
            pod("squall-controller-b", CONTROLLER, "machine2", &ready(CONTROLLER, 3)),
            pod("squall-controller-a", CONTROLLER, "machine1", &ready(CONTROLLER, 0)),
            pod("other", "web", "machine1", &ready("web", 0)),
        ],
        lease: Some(read(json!({ "spec": { "holderIdentity": "squall-controller-a_1" } }))),
        injections: vec![
            injection("cut", "machine1", &json!({}), injected),
            injection("over", "machine1", &json!({}), over),
            injection("paused", "machine1", &json!({ "paused": true }), json!({})),
            injection("new", "machine2", &json!({}), Value::Null),
        ],
        halts: vec![read(
            json!({ "metadata": { "name": "stop" }, "spec": { "namespaces": ["shop"], "reason": "too much" } }),
        )],
        experiments: BTreeMap::from([("Injecting".to_owned(), 2), ("Finished".to_owned(), 1)]),
        usage: BTreeMap::from([
            (
                "squall-daemon-1".to_owned(),
                Usage { cpu_cores: Some(0.0021), memory_bytes: Some(12_900_000), unknown: None },
            ),
            (
                "squall-daemon-2".to_owned(),
                Usage { cpu_cores: None, memory_bytes: None, unknown: Some("no answer".to_owned()) },
            ),
        ]),
        unknown: vec![Trouble::new("CPU and memory on machine2").cure("see to its kubelet")],
    }
}

#[test]
fn everything_is_there_at_a_glance() {
    let top = Top::new(&seen(), Order::Name, now());
    let lines = [top.head(), top.tables(now()), top.foot()].concat();
    assert_eq!(
        lines.join("\n"),
        "\
Controllers: 2 of 2 ready, squall-controller-a leads
Daemons:     1 of 3 ready; 1 of 4 targets injected
Experiments: 3: 1 Finished, 2 Injecting
HALT stop stops shop: too much
CONTROLLER            LEADS   STATE   CPU   MEMORY   AGE   RESTARTS   VERSION   NODE
squall-controller-a   yes     Ready   -     -        10m   0          0.1.0     machine1
squall-controller-b   -       Ready   -     -        10m   3          0.1.0     machine2

NODE       DAEMON     TARGETS   OLDEST   CPU         MEMORY      PROBLEMS   AGE   RESTARTS   VERSION
machine1   Ready      1/2       45s      2.1m        12.3Mi      2          10m   0          0.1.0
machine2   NotReady   0/2       -        no answer   no answer   3          10m   0          0.1.0
machine3   none       -         -        -           -           1          -     -          -
machine1: networkchaos default/cut: was taken away 2 times for want of a heartbeat
machine1: networkchaos default/cut: default/b not injected: no such interface
machine2: the node is not ready: kubelet stopped posting
machine2: squall-daemon-2 is NotReady
machine2: networkchaos default/new: no answer for 60s
machine3: no daemon: nothing can be injected here, and nobody undoes anything
not known: CPU and memory on machine2
  to do: see to its kubelet"
    );
}

#[test]
fn lines_are_ordered_by_what_is_asked_for_and_then_by_name() {
    let seen = seen();
    let nodes = |order| -> Vec<String> {
        Top::new(&seen, order, now()).nodes.into_iter().map(|node| node.node).collect()
    };
    for (order, expected) in [
        (Order::Name, ["machine1", "machine2", "machine3"]),
        (Order::Problems, ["machine2", "machine1", "machine3"]),
        (Order::Targets, ["machine1", "machine2", "machine3"]),
        (Order::Memory, ["machine1", "machine2", "machine3"]),
        (Order::Restarts, ["machine1", "machine2", "machine3"]),
    ] {
        assert_eq!(nodes(order), expected, "{order:?}");
    }
    let controllers = Top::new(&seen, Order::Restarts, now()).controllers;
    assert_eq!(controllers[0].part.pod, "squall-controller-b");
}

/// Who may see little is shown little, and nothing wrong.
#[test]
fn what_is_not_known_is_no_problem_of_a_node() {
    let alone = Seen { nodes: None, lease: None, ..seen() };
    let top = Top::new(&alone, Order::Name, now());
    assert_eq!(top.nodes.len(), 2, "nodes of daemons and Injections only");
    assert!(
        top.nodes.iter().all(|node| !node.problems.iter().any(|problem| problem.contains("node is"))),
        "{top:?}"
    );
    assert!(top.head()[0].ends_with("none is known to lead"), "{:?}", top.head());
    let mut gone = seen();
    gone.nodes.as_mut().unwrap().retain(|node| node.name_any() != "machine2");
    let top = Top::new(&gone, Order::Name, now());
    assert_eq!(top.nodes[1].problems[0], "the node is gone");
    assert_eq!(Top::new(&Seen::default(), Order::Name, now()).head()[2], "Experiments: none");
}

#[test]
fn a_long_list_of_problems_is_cut() {
    let failed: Vec<_> = (0..20).map(|number| target(&number.to_string(), "Stuck", Some("busy"))).collect();
    let mut seen = seen();
    seen.injections = vec![injection("cut", "machine1", &json!({}), json!({ "targets": failed }))];
    let problems = &Top::new(&seen, Order::Name, now()).nodes[0].problems;
    assert_eq!((problems.len(), problems[8].as_str()), (9, "and 12 more"));
    assert_eq!(problems[0], "networkchaos default/cut: default/0 not undone: busy");
}

#[test]
fn releases_are_the_tags_of_images() {
    for (image, version) in [
        ("squall:0.1.0", Some("0.1.0")),
        ("registry.test:5000/team/squall:next", Some("next")),
        ("registry.test:5000/squall", None),
        ("squall:0.1.0@sha256:abc", Some("0.1.0")),
        ("squall", None),
    ] {
        assert_eq!(tag(image), version, "{image}");
    }
}

#[test]
fn every_field_is_documented() {
    assert_eq!(undocumented::<Top>("squall top -o json"), Vec::<String>::new());
}
