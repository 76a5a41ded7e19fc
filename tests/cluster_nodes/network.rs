//! The network between pods, Services and nodes.

use serde_json::{Value, json};

use super::{apply, cluster, eventually, kubectl, pod, ready, serves, shell, shell_says};

/// A Service for the pods of an application, port 80 to 8080.
pub(super) fn service(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": { "selector": { "app": app }, "ports": [{ "port": 80, "targetPort": 8080 }] },
    })
}

#[tokio::test]
async fn pods_reach_each_other_across_nodes_by_their_own_addresses() {
    let cluster = cluster().await;
    let server = ready(cluster, &pod("server1", 1, &serves("hello")));
    let client = ready(cluster, &pod("client2", 2, "exec sleep 1000"));
    assert_eq!(shell_says(cluster, "client2", &format!("wget -qO- {server}:8080")), "hello");
    // The address that a server sees is the client's: nothing in between translates it.
    let log = kubectl(cluster, "logs server1");
    assert!(log.contains(&format!("[::ffff:{client}]")), "{log}");
}

#[tokio::test]
async fn a_service_is_reached_from_every_node_and_from_behind_itself() {
    let cluster = cluster().await;
    ready(cluster, &pod("behind", 1, &serves("served")));
    apply(cluster, &service("front", "behind"));
    let address = kubectl(cluster, "get service front -o jsonpath={.spec.clusterIP}");
    let ask = format!("wget -qO- {address}");
    ready(cluster, &pod("near", 1, "exec sleep 1000"));
    ready(cluster, &pod("far", 3, "exec sleep 1000"));
    for client in ["near", "far", "behind"] {
        let answers = || shell(cluster, client, &ask).stdout == b"served\n";
        eventually(&format!("{client} reaches the Service"), answers);
    }
    kubectl(cluster, "delete pod behind");
    eventually("a Service without a pod refuses", || !shell(cluster, "far", &ask).status.success());
}

#[tokio::test]
async fn a_node_port_is_served_by_every_node() {
    let cluster = cluster().await;
    ready(cluster, &pod("ported", 3, &serves("ported")));
    let mut service = service("ported", "ported");
    service["spec"]["type"] = json!("NodePort");
    apply(cluster, &service);
    let port = kubectl(cluster, "get service ported -o jsonpath={.spec.ports[0].nodePort}");
    ready(cluster, &pod("outside", 2, "exec sleep 1000"));
    let block = cluster.block().unwrap();
    for node in 1..=super::NODES {
        let ask = format!("wget -qO- {}:{port}", block.node(node));
        eventually("the node answers", || shell(cluster, "outside", &ask).stdout == b"ported\n");
    }
}
