//! Targets that go, come back, or never stay: what is followed, and that nothing hangs on what is gone.

use std::time::Duration;

use serde_json::{Value, json};

use super::experiment::{BEYOND_LEASE, SOON, delay, network, no_injection_is_left};
use super::kubectl::{apply, pod, ready, shell, within};
use super::traces;
use super::world::{NODES, World, world};

const LEASE: &str = "5s";
const LEASE_TIME: Duration = Duration::from_secs(5);

/// A Deployment of one pod of busybox on a node, that runs a script.
fn deployment(name: &str, namespace: &str, node: u8, script: &str) -> Value {
    let mut template = pod(name, node, script);
    let spec = template["spec"].take();
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "replicas": 1, "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": spec },
        },
    })
}

fn deployed(world: &World, name: &str, script: &str) {
    apply(&world.cluster, &deployment(name, "default", NODES, script));
    world.kubectl(&format!("rollout status deployment/{name} --timeout=60s"));
}

/// How long a pod's way to the API server and back is, in milliseconds, at the least of three.
fn round_trip(world: &World, app: &str) -> f64 {
    let name = world.pods("default", &format!("app={app}")).remove(0);
    let gateway = world.cluster.block().unwrap().switch();
    let said = shell(&world.cluster, &name, &format!("ping -c 3 -W 5 {gateway}"));
    let said = String::from_utf8(said.stdout).unwrap();
    // round-trip min/avg/max = 0.058/0.123/0.300 ms
    let least = said.rsplit("= ").next().and_then(|rest| rest.split('/').next()).unwrap_or_default();
    least.parse().unwrap_or_else(|error| panic!("{said}: {error}"))
}

#[tokio::test]
async fn a_target_that_is_deleted_or_evicted_is_followed_to_the_pod_that_takes_its_place() {
    let world = world().await;
    deployed(&world, "followed", "exec sleep 100000");
    let before = traces::everywhere(&world);
    let experiment = network(&world, "follow", None, &delay("followed", 300));
    experiment.injected(&world);
    assert!(round_trip(&world, "followed") >= 300.0);
    for order in ["delete pod", "evict"] {
        let old = world.pods("default", "app=followed").remove(0);
        if order == "evict" {
            let eviction = json!({
                "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": old, "namespace": "default" },
            });
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), eviction.to_string()).unwrap();
            world.kubectl(&format!(
                "create --raw /api/v1/namespaces/default/pods/{old}/eviction -f {}",
                file.path().display()
            ));
        } else {
            world.kubectl(&format!("{order} {old}"));
        }
        let took = within(SOON, "the new pod has the fault", || {
            let pods = world.pods("default", "app=followed");
            pods.len() == 1
                && pods[0] != old
                && experiment.is(&world, "AllInjected")
                && {
                    let evidence = experiment.injections(&world);
                    evidence.iter().any(|one| one["status"]["targets"].to_string().contains(&pods[0]))
                }
                && traces::of(&world, NODES).faulted() == 1
        });
        assert!(round_trip(&world, "followed") >= 300.0, "{order}");
        println!("{order}: the pod in its place has the fault after {took:.1?}");
    }
    experiment.delete(&world, SOON);
    traces::nothing_is_left(&world, &before);
    world.kubectl("delete deployment followed");
}

#[tokio::test]
async fn a_container_that_is_started_again_keeps_the_fault_of_its_pods_network() {
    let world = world().await;
    deployed(&world, "restarted", "trap 'exit 1' TERM; sleep 100000 & wait");
    let experiment = network(&world, "restart", None, &delay("restarted", 300));
    experiment.injected(&world);
    let name = world.pods("default", "app=restarted").remove(0);
    shell(&world.cluster, &name, "kill -TERM 1");
    let restarts = format!("get pod {name} -o jsonpath={{.status.containerStatuses[0].restartCount}}");
    within(SOON, "it runs again", || world.kubectl(&restarts) == "1");
    world.kubectl(&format!("wait --for=condition=Ready --timeout=60s pod/{name}"));
    assert!(round_trip(&world, "restarted") >= 300.0);
    let injections = experiment.injections(&world);
    assert_eq!(
        injections[0]["status"]["targets"][0]["injectedCount"], 1,
        "it was never away: {injections:?}"
    );
    experiment.delete(&world, SOON);
    world.kubectl("delete deployment restarted");
}

#[tokio::test]
async fn a_pod_whose_containers_crash_is_found_by_its_sandbox() {
    let world = world().await;
    apply(&world.cluster, &deployment("crashing", "default", NODES, "exit 1"));
    // The kubelet waits 10 s before the second new start, and 20 s before the third.
    within(SOON, "it is not started again at once", || {
        let pods = world.json("get pods -l app=crashing");
        let container = &pods["items"][0]["status"]["containerStatuses"][0];
        container["restartCount"] == 2 && container["state"]["running"].is_null()
    });
    let before = traces::everywhere(&world);
    let experiment = network(&world, "crash", None, &delay("crashing", 300));
    experiment.injected(&world);
    let running =
        "get pods -l app=crashing -o jsonpath={.items[0].status.containerStatuses[0].state.running}";
    assert_eq!(world.kubectl(running), "", "there is no process but the sandbox's");
    assert_eq!(traces::of(&world, NODES).faulted(), 1);
    experiment.delete(&world, SOON);
    traces::nothing_is_left(&world, &before);
    world.kubectl("delete deployment crashing");
}

#[tokio::test]
async fn a_namespace_that_is_deleted_takes_its_experiments_along() {
    let world = world().await;
    world.kubectl("create namespace doomed");
    apply(&world.cluster, &deployment("doomed", "doomed", NODES, "exec sleep 100000"));
    world.kubectl("-n doomed rollout status deployment/doomed --timeout=60s");
    let before = traces::everywhere(&world);
    let mut spec = delay("doomed", 300);
    spec["selector"]["namespaces"] = json!(["doomed"]);
    let object = json!({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "NetworkChaos",
        "metadata": { "namespace": "doomed", "name": "inside", "annotations": { "squall.dev/lease": LEASE } },
        "spec": spec,
    });
    apply(&world.cluster, &object);
    world.kubectl("-n doomed wait networkchaos/inside --for=condition=AllInjected --timeout=60s");
    let outside = network(&world, "outside", Some(LEASE), &spec);
    outside.injected(&world);
    // Every pod of it may take its thirty seconds to end.
    world.kubectl("delete namespace doomed --timeout=60s");
    outside.delete(&world, LEASE_TIME + BEYOND_LEASE);
    no_injection_is_left(&world);
    traces::nothing_is_left(&world, &before);
}

#[tokio::test]
async fn pods_of_the_nodes_network_and_static_pods_are_told_apart() {
    let world = world().await;
    let mut host = pod("on-host", NODES, "exec sleep 100000");
    host["spec"]["hostNetwork"] = json!(true);
    ready(&world.cluster, &host);
    let refused = network(&world, "host", None, &delay("on-host", 300));
    refused.wait(&world, "Invalid");
    let said = refused.status(&world).to_string();
    assert!(said.contains("hostNetwork"), "{said}");
    refused.delete(&world, SOON);
    world.kubectl("delete pod on-host");

    // A file of its node: the API server's picture of it has another UID than the node's control groups.
    let mut file = pod("static", NODES, "exec sleep 100000");
    file["metadata"]["namespace"] = json!("default");
    file["spec"].as_object_mut().unwrap().remove("nodeSelector");
    let folder = "/run/kubernetes/static";
    world.on_node(NODES, &format!("mkdir -p {folder} && cat >{folder}/static.json <<'END'\n{file}\nEND"));
    within(SOON, "the API server knows it", || {
        world.kubectl("get pods -l app=static -o jsonpath={.items[*].status.phase}") == "Running"
    });
    let experiment = network(&world, "static", None, &delay("static", 300));
    experiment.injected(&world);
    assert!(round_trip(&world, "static") >= 300.0);
    experiment.delete(&world, SOON);
    assert!(round_trip(&world, "static") < 200.0);
    world.on_node(NODES, &format!("rm {folder}/static.json"));
    within(SOON, "it is gone", || world.pods("default", "app=static").is_empty());
}
