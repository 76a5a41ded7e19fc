//! A node that is cut off, in a cluster of its own: what is done to it is not to reach the others.

use std::time::Duration;

use test_cluster::{Cluster, node_name};

use super::{cluster, eventually, kubectl, pod, ready, serves, shell, started, within};

fn is_ready(cluster: &Cluster, node: u8) -> String {
    let condition = "{.status.conditions[?(@.type==\"Ready\")].status}";
    kubectl(cluster, &format!("get node {} -o jsonpath={condition}", node_name(node)))
}

#[tokio::test]
async fn a_node_that_is_cut_off_is_missed_and_comes_back() {
    let cluster = started(2).await;
    let server = ready(&cluster, &pod("server", 2, &serves("here")));
    ready(&cluster, &pod("client", 1, "exec sleep 1000"));
    let ask = format!("timeout 2 wget -qO- {server}:8080");
    let reached = || shell(&cluster, "client", &ask).stdout == b"here\n";
    assert!(reached());
    let container = "get pod server -o jsonpath={.status.containerStatuses[0].containerID}";
    let before = kubectl(&cluster, container);

    cluster.cut(2).unwrap();
    assert!(!reached(), "a pod of it is out of reach at once");
    // The controller manager waits 50 s for a sign of life.
    let missed = within(Duration::from_mins(3), "it is not ready", || is_ready(&cluster, 2) == "Unknown");
    println!("a node that was cut off is not ready after {:.0} s", missed.as_secs_f64());
    assert_eq!(is_ready(&cluster, 1), "True", "its neighbour has nothing to do with it");

    cluster.heal(2).unwrap();
    eventually("its pod is reached", reached);
    let back = eventually("it is ready again", || is_ready(&cluster, 2) == "True");
    println!("and ready again {:.0} s after it was healed", back.as_secs_f64());
    assert_eq!(kubectl(&cluster, container), before, "its pod ran all the time");
}

#[tokio::test]
async fn two_clusters_run_side_by_side_and_know_nothing_of_each_other() {
    let (one, two) = tokio::join!(cluster(), started(1));
    assert_ne!(one.block(), two.block());
    let server = ready(one, &pod("apart", 1, &serves("apart")));
    ready(&two, &pod("apart", 1, "exec sleep 1000"));
    assert_eq!(shell_says_in_one(one, &server), "apart");
    let across = format!("timeout 3 wget -qO- {server}:8080");
    assert!(!shell(&two, "apart", &across).status.success(), "a pod reaches a pod of another cluster");
    drop(two);
    assert_eq!(is_ready(one, 1), "True");
    assert_eq!(shell_says_in_one(one, &server), "apart", "the end of one is nothing to the other");
}

fn shell_says_in_one(cluster: &Cluster, server: &str) -> String {
    super::shell_says(cluster, "apart", &format!("wget -qO- {server}:8080"))
}
