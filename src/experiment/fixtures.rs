//! Objects for the tests of this folder.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::world::World;
use crate::api::{NetworkChaos, PodChaos};

/// UID of [`chaos`].
pub(super) const UID: &str = "0a1b2c3d-0000-4000-8000-000000000000";

/// The moment at which the tests begin.
pub(super) fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// A running pod of namespace `default` with label `app`, UID `uid-NAME`.
pub(super) fn pod(name: &str, app: &str, node: &str, address: &str) -> Pod {
    changed_pod(name, app, node, address, &json!({}))
}

/// [`pod`] with `changes` merged in.
pub(super) fn changed_pod(name: &str, app: &str, node: &str, address: &str, changes: &Value) -> Pod {
    let mut value = json!({
        "metadata": {"namespace": "default", "name": name, "uid": format!("uid-{name}"), "labels": {"app": app}},
        "spec": {"nodeName": node, "containers": []},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    });
    merge(&mut value, changes);
    serde_json::from_value(value).unwrap()
}

/// JSON merge patch (RFC 7396).
pub(super) fn merge(value: &mut Value, changes: &Value) {
    let Some(changes) = changes.as_object() else {
        *value = changes.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    for (key, change) in changes {
        if change.is_null() {
            value.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut value[key], change);
        }
    }
}

/// A node with UID `uid-NAME` and label `zone`.
pub(super) fn node(name: &str, zone: &str) -> Node {
    serde_json::from_value(
        json!({"metadata": {"name": name, "uid": format!("uid-{name}"), "labels": {"zone": zone}}}),
    )
    .unwrap()
}

/// A Service of namespace `default`.
pub(super) fn service(name: &str, addresses: &[&str]) -> Service {
    serde_json::from_value(json!({
        "metadata": {"namespace": "default", "name": name},
        "spec": {"clusterIP": addresses.first(), "clusterIPs": addresses},
    }))
    .unwrap()
}

/// Endpoints of a Service of namespace `default`: addresses, and whether they are ready.
pub(super) fn slice(service: &str, endpoints: &[(&str, bool)]) -> EndpointSlice {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(address, ready)| json!({"addresses": [address], "conditions": {"ready": ready}}))
        .collect();
    serde_json::from_value(json!({
        "metadata": {"namespace": "default", "name": format!("{service}-{}", endpoints.len()),
            "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": endpoints,
    }))
    .unwrap()
}

/// Two nodes, two web pods on `n1` and `n2`, one database on `n2`, a Service for each, and the API server.
pub(super) fn world() -> World {
    world_of(vec![
        pod("web-1", "web", "n1", "10.0.1.1"),
        pod("web-2", "web", "n2", "10.0.2.1"),
        pod("db", "db", "n2", "10.0.2.2"),
        pod("other", "other", "n1", "10.0.1.2"),
    ])
}

/// [`world`] with other pods.
pub(super) fn world_of(pods: Vec<Pod>) -> World {
    World::new(
        pods.into_iter().map(Arc::new).collect(),
        vec![Arc::new(node("n1", "a")), Arc::new(node("n2", "b"))],
        vec![
            Arc::new(service("web", &["10.96.0.1"])),
            Arc::new(service("db", &["10.96.0.2", "fd00::2"])),
            Arc::new(service("everything", &["10.96.0.3"])),
            Arc::new(service("kubernetes", &["10.96.0.99"])),
        ],
        vec![
            Arc::new(slice("web", &[("10.0.1.1", true), ("10.0.2.1", true)])),
            Arc::new(slice("db", &[("10.0.2.2", true)])),
            Arc::new(slice("everything", &[("10.0.2.2", true), ("10.0.1.2", true)])),
            Arc::new(slice("kubernetes", &[("192.168.0.10", true)])),
        ],
    )
}

/// A partition from the web pods to the database, with `changes` merged in.
pub(super) fn chaos(changes: &Value) -> NetworkChaos {
    let mut value = json!({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "NetworkChaos",
        "metadata": {"namespace": "default", "name": "cut", "uid": UID, "generation": 1},
        "spec": {
            "action": "partition", "mode": "all", "selector": {"labelSelectors": {"app": "web"}},
            "target": {"mode": "all", "selector": {"labelSelectors": {"app": "db"}}},
        },
    });
    merge(&mut value, changes);
    serde_json::from_value(value).unwrap()
}

/// A PodChaos on the web pods, with `changes` merged in.
pub(super) fn pod_chaos(changes: &Value) -> PodChaos {
    let mut value = json!({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "PodChaos",
        "metadata": {"namespace": "default", "name": "pods", "uid": UID, "generation": 1},
        "spec": {"action": "pod-failure", "mode": "all", "selector": {"labelSelectors": {"app": "web"}}},
    });
    merge(&mut value, changes);
    serde_json::from_value(value).unwrap()
}
