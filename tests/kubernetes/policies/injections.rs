//! Orders to daemons, and their answers.

use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use squall::api::SYSTEM_NAMESPACE;

use super::{allowed, denied, governed};

/// What one node is to do.
pub(super) fn injection(name: &str, node: &str, fault: &Value) -> Value {
    json!({
        "apiVersion": "squall.dev/v1alpha1", "kind": "Injection", "metadata": { "name": name },
        "spec": {
            "experiment": { "kind": "NetworkChaos", "namespace": "default", "name": "x", "uid": "u" },
            "node": node, "targets": [], "fault": fault, "run": 1, "notAfter": "2026-01-01T00:00:00Z", "lease": "30s",
        },
    })
}

const STATUS: &str = "Present";

fn status() -> Value {
    json!({ "status": { "wanted": STATUS } })
}

#[tokio::test]
async fn only_the_controller_gives_orders() {
    let governed = governed().await;
    let (admin, controller) = (governed.admin().await, governed.controller().await);
    let order = injection("ordered", "fake-0000", &json!({}));
    controller.store(Some(SYSTEM_NAMESPACE), order.clone()).await.unwrap();
    let other = injection("other", "fake-0000", &json!({}));
    let change = json!({ "spec": { "paused": true } });
    let only = "only the controller of Squall";
    denied("an administrator's order", admin.create(SYSTEM_NAMESPACE, other.clone()).await, only);
    denied("a change", admin.patch(SYSTEM_NAMESPACE, &order, change.clone()).await, only);
    let finalizer = json!({ "metadata": { "finalizers": [] } });
    allowed(
        "its finalizer",
        controller
            .patch(
                SYSTEM_NAMESPACE,
                &order,
                json!({ "metadata": { "finalizers": ["squall.dev/recovered"] } }),
            )
            .await,
    );
    denied(
        "no finalizer",
        admin.patch(SYSTEM_NAMESPACE, &order, json!({ "metadata": { "finalizers": ["a/b"] } })).await,
        only,
    );
    denied("a deletion", admin.delete(Some(SYSTEM_NAMESPACE), &order).await, only);
    allowed("the controller's order", controller.create(SYSTEM_NAMESPACE, other.clone()).await);
    allowed("its change", controller.patch(SYSTEM_NAMESPACE, &order, change).await);
    allowed("its finalizer", controller.patch(SYSTEM_NAMESPACE, &order, finalizer).await);
    allowed("its deletion", controller.delete(Some(SYSTEM_NAMESPACE), &order).await);
    // Nobody looks for orders elsewhere, so that nobody may think that they mean something.
    let elsewhere = controller.create("default", other).await;
    denied("elsewhere", elsewhere, "cannot create resource \"injections\"");
}

#[tokio::test]
async fn a_daemon_answers_for_its_own_node() {
    let governed = governed().await;
    let (admin, controller) = (governed.admin().await, governed.controller().await);
    let own = injection("own", "fake-0000", &json!({}));
    let other = injection("of-another", "fake-0001", &json!({}));
    for object in [&own, &other] {
        controller.store(Some(SYSTEM_NAMESPACE), object.clone()).await.unwrap();
    }
    let daemon = governed.daemon(Some("fake-0000")).await;
    allowed("its own", daemon.patch_status(SYSTEM_NAMESPACE, &own, status()).await);
    let reason = "this Injection is of fake-0001, and the token is of fake-0000";
    denied("another's", daemon.patch_status(SYSTEM_NAMESPACE, &other, status()).await, reason);
    allowed(
        "by that one",
        governed.daemon(Some("fake-0001")).await.patch_status(SYSTEM_NAMESPACE, &other, status()).await,
    );
    let unbound = governed.daemon(None).await;
    let reason = "the token is not bound to a pod on a node";
    denied("an unbound token", unbound.patch_status(SYSTEM_NAMESPACE, &own, status()).await, reason);
    // Neither the order nor what keeps it.
    for (what, patch) in [
        ("the spec", json!({ "spec": { "node": "fake-0001" } })),
        ("a finalizer", json!({ "metadata": { "finalizers": null } })),
        ("a label", json!({ "metadata": { "labels": { "a": "b" } } })),
    ] {
        denied(
            what,
            daemon.patch(SYSTEM_NAMESPACE, &own, patch).await,
            "cannot patch resource \"injections\"",
        );
    }
    denied("an order", daemon.create(SYSTEM_NAMESPACE, own.clone()).await, "cannot create resource");
    denied("a deletion", daemon.delete(Some(SYSTEM_NAMESPACE), &own).await, "cannot delete resource");
    // By way of the status the API server takes the status alone.
    let smuggled =
        json!({ "spec": { "node": "fake-0001" }, "metadata": { "labels": { "a": "b" } }, "status": {} });
    let api = daemon.api(Some(SYSTEM_NAMESPACE), &own);
    let patched = api.patch_status("own", &PatchParams::default(), &Patch::Merge(smuggled)).await.unwrap();
    assert_eq!((patched.data["spec"]["node"].as_str(), patched.metadata.labels), (Some("fake-0000"), None));
    // People, and the controller where it is not its own fault.
    let only = "only the daemon of a node says";
    denied("an administrator", admin.patch_status(SYSTEM_NAMESPACE, &own, status()).await, only);
    let others = "faults of pods only";
    denied("the controller", controller.patch_status(SYSTEM_NAMESPACE, &own, status()).await, others);
}

#[tokio::test]
async fn the_controller_answers_for_faults_of_pods() {
    let governed = governed().await;
    let controller = governed.controller().await;
    for (name, fault) in [
        ("failure", json!({ "podFailure": {} })),
        ("kill", json!({ "podKill": { "gracePeriodSeconds": 0, "evict": false } })),
    ] {
        let object = injection(name, "fake-0000", &fault);
        controller.store(Some(SYSTEM_NAMESPACE), object.clone()).await.unwrap();
        allowed(name, controller.patch_status(SYSTEM_NAMESPACE, &object, status()).await);
    }
}

#[tokio::test]
async fn what_a_node_owns_goes_with_it() {
    let governed = governed().await;
    let admin = governed.admin().await;
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "short-lived" } });
    admin.store(None, node.clone()).await.unwrap();
    let node = admin.api(None, &node).get("short-lived").await.unwrap();
    let mut order = injection("owned", "short-lived", &json!({}));
    order["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": "v1", "kind": "Node", "name": "short-lived", "uid": node.metadata.uid }]);
    governed.controller().await.store(Some(SYSTEM_NAMESPACE), order.clone()).await.unwrap();
    admin
        .api(None, &json!({ "apiVersion": "v1", "kind": "Node" }))
        .delete("short-lived", &DeleteParams::default())
        .await
        .unwrap();
    let api = admin.api(Some(SYSTEM_NAMESPACE), &order);
    // It looks for new kinds every half a minute.
    let begun = std::time::Instant::now();
    while api.get_opt("owned").await.unwrap().is_some() {
        assert!(begun.elapsed() < Duration::from_secs(90), "the garbage collector may not delete it");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
