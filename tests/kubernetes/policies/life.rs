//! The real controller and the real daemons, each with the account that its pod has, under all policies: what they are held
//! to must not keep them from what they do. The daemons' kernels only write down what is done to them.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use squall::api::{NetworkChaos, PodChaos, RESPECT_BUDGETS_ANNOTATION};
use squall::controller::{self, Options};
use squall::install::DEFAULT_IMAGE;
use test_cluster::FakeNodes;

use super::super::fleet::Fleet;
use super::{Governed, NODES, eventually};

/// How long each step may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

const PODS: usize = 4;

fn experiment(kind: &str, name: &str, spec: Value) -> Value {
    json!({ "apiVersion": "chaos-mesh.org/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec })
}

/// A pod of a Deployment, which pod-failure wants.
fn deployment() -> Value {
    let labels = json!({ "app": "web" });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": { "replicas": 1, "selector": { "matchLabels": labels }, "template": {
            "metadata": { "labels": labels },
            "spec": { "containers": [{ "name": "web", "image": "web:1" }], "initContainers": [{ "name": "init", "image": "init:1" }] },
        } },
    })
}

fn images(pod: &Pod) -> Vec<String> {
    let spec = pod.spec.as_ref().unwrap();
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    all.map(|container| container.image.clone().unwrap()).collect()
}

/// The one pod with this label.
async fn one(client: &Client, label: &str) -> Option<Pod> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "shop");
    let found = pods.list(&ListParams::default().labels(label)).await.unwrap().items;
    found.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_do_all_that_they_do_with_their_own_accounts() {
    let governed = Governed::start().await;
    let admin = governed.admin().await;
    governed.nodes.pods("shop", PODS).await.unwrap();
    admin.store(Some("shop"), deployment()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut fleets = Vec::new();
    for node in (0..NODES).map(FakeNodes::name) {
        let client = governed.daemon(Some(&node)).await.client;
        fleets.push(Fleet::start(&client, folder.path(), std::iter::once(node)));
    }
    let options = Options { failure_image: Some(DEFAULT_IMAGE.to_owned()), ..Options::new("controller") };
    let client = governed.controller().await.client;
    let controller = tokio::spawn(controller::run(client, options, std::future::pending()));

    let author = governed.user("shopkeeper").await;
    governed.bind("shopkeeper", "edit", Some("shop")).await;
    let cut =
        json!({ "action": "partition", "mode": "all", "selector": { "labelSelectors": { "app": "app-0" } } });
    let cut = experiment("NetworkChaos", "cut", cut);
    eventually("the author may not", async || author.create("shop", cut.clone()).await.is_ok()).await;
    author.store(Some("shop"), cut.clone()).await.unwrap();
    for fleet in &fleets {
        fleet.until("shop/cut", PODS / NODES, Instant::now(), PATIENCE).await;
    }
    let networks: Api<NetworkChaos> = Api::namespaced(author.client.clone(), "shop");
    eventually("the daemons' word does not arrive", async || {
        let status = networks.get("cut").await.unwrap().status.unwrap_or_default();
        status.experiment.injected.as_deref() == Some("4/4")
    })
    .await;
    networks.delete("cut", &DeleteParams::default()).await.unwrap();
    for fleet in &fleets {
        fleet.until("shop/cut", 0, Instant::now(), PATIENCE).await;
    }
    eventually("it is not let go of", async || networks.get_opt("cut").await.unwrap().is_none()).await;

    let failed =
        json!({ "action": "pod-failure", "mode": "one", "selector": { "labelSelectors": { "app": "web" } } });
    author.store(Some("shop"), experiment("PodChaos", "failed", failed)).await.unwrap();
    eventually("the pod is not failed", async || {
        let pod = one(&admin.client, "app=web").await;
        pod.is_some_and(|pod| images(&pod) == [DEFAULT_IMAGE; 2])
    })
    .await;
    let pods: Api<PodChaos> = Api::namespaced(author.client.clone(), "shop");
    pods.delete("failed", &DeleteParams::default()).await.unwrap();
    eventually("the pod is not restored", async || {
        let pod = one(&admin.client, "app=web").await.unwrap();
        images(&pod) == ["web:1", "init:1"] && !pod.annotations().contains_key("squall.dev/pod-failure")
    })
    .await;

    for (name, evict) in [("killed", "false"), ("evicted", "true")] {
        let before = one(&admin.client, "app=web").await.unwrap().uid();
        let kill = json!({ "action": "pod-kill", "mode": "one", "selector": { "labelSelectors": { "app": "web" } } });
        let mut kill = experiment("PodChaos", name, kill);
        kill["metadata"]["annotations"] = json!({ RESPECT_BUDGETS_ANNOTATION: evict });
        author.store(Some("shop"), kill).await.unwrap();
        eventually(name, async || one(&admin.client, "app=web").await.is_some_and(|pod| pod.uid() != before))
            .await;
    }
    let events: Api<Event> = Api::namespaced(admin.client.clone(), "shop");
    eventually("no event is published", async || {
        let found = events.list(&ListParams::default()).await.unwrap().items;
        found.iter().any(|event| event.reporting_controller.as_deref() == Some("squall-controller"))
    })
    .await;
    assert!(!controller.is_finished());
}
