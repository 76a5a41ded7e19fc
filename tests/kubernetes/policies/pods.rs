//! What the controller can do to pods, whatever it is told.

use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use squall::install::DEFAULT_IMAGE;

use super::{Answer, User, allowed, denied, governed};

const MARK: &str = "squall.dev/pod-failure";

fn pod(name: &str, more: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name }, "annotations": { "of": "others" } },
        "spec": {
            "nodeName": "fake-0000",
            "initContainers": [{ "name": "init", "image": "init:1" }],
            "containers": [{ "name": "a", "image": "a:1" }, { "name": "b", "image": "b:1" }],
        },
    });
    for (key, value) in more.as_object().unwrap() {
        pod[key] = value.clone();
    }
    pod
}

/// What `experiment::pod_faults` writes: the images that were there, and those of nobody else.
fn mark(a: &str, b: &str, init: &str) -> String {
    json!({
        "experiment": "u", "image": DEFAULT_IMAGE, "containers": { "a": a, "b": b }, "initContainers": { "init": init },
        "ids": { "a": "containerd://1" },
    })
    .to_string()
}

/// A patch of images and of the annotation, as the controller makes it.
fn patch(images: [&str; 3], mark: Option<&str>) -> Value {
    let path = format!("/metadata/annotations/{}", MARK.replace('/', "~1"));
    let annotation = match mark {
        Some(mark) => json!({ "op": "add", "path": path, "value": mark }),
        None => json!({ "op": "remove", "path": path }),
    };
    json!([
        { "op": "replace", "path": "/spec/containers/0/image", "value": images[0] },
        { "op": "replace", "path": "/spec/containers/1/image", "value": images[1] },
        { "op": "replace", "path": "/spec/initContainers/0/image", "value": images[2] },
        annotation,
    ])
}

async fn send(user: &User, name: &str, patch: Value, dry_run: bool) -> Answer {
    let api = user.api(Some("faulted"), &json!({ "apiVersion": "v1", "kind": "Pod" }));
    let params = PatchParams { dry_run, ..PatchParams::default() };
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).unwrap());
    api.patch(name, &params, &patch).await.map(drop).map_err(super::why)
}

async fn prepare() -> (&'static super::Governed, User) {
    let governed = governed().await;
    let admin = governed.admin().await;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "faulted" } });
    // One of the tests is first.
    drop(admin.store(None, namespace).await);
    super::eventually("the namespace has no account", async || {
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount" });
        admin.api(Some("faulted"), &account).get_opt("default").await.unwrap().is_some()
    })
    .await;
    (governed, governed.controller().await)
}

const WAITING: [&str; 3] = [DEFAULT_IMAGE; 3];

#[tokio::test]
async fn a_pod_is_failed_and_restored_and_nothing_else_of_it_changed() {
    let (governed, controller) = prepare().await;
    governed.admin().await.store(Some("faulted"), pod("p", &json!({}))).await.unwrap();
    let was = mark("a:1", "b:1", "init:1");
    let images = "gives a pod the image that waits, or the one that it had";
    let written = "writes down the images that a pod has, and only once";
    for (what, step, reason) in [
        ("an image of nobody", patch(["evil:1", "b:1", "init:1"], Some(&was)), images),
        ("an init image of nobody", patch(["a:1", "b:1", "evil:1"], Some(&was)), images),
        ("what was not there, written down", patch(WAITING, Some(&mark("evil:1", "b:1", "init:1"))), written),
        (
            "what was not there, of an init container",
            patch(WAITING, Some(&mark("a:1", "b:1", "evil:1"))),
            written,
        ),
        (
            "a container's name twice",
            patch(WAITING, Some(&was.replace("\"b\":", "\"a\":\"evil:1\",\"b\":"))),
            written,
        ),
        ("nothing written down", patch(WAITING, Some("{}")), written),
        (
            "the waiting image without a word",
            json!([{ "op": "replace", "path": "/spec/containers/0/image", "value": DEFAULT_IMAGE }]),
            images,
        ),
        (
            "another's image",
            json!([{ "op": "replace", "path": "/spec/containers/0/image", "value": "b:1" }]),
            images,
        ),
    ] {
        denied(what, send(&controller, "p", step, true).await, reason);
    }
    allowed("a pod-failure", send(&controller, "p", patch(WAITING, Some(&was)), false).await);
    for (what, step, reason) in [
        (
            "what was there, written anew",
            json!([{ "op": "add", "path": "/metadata/annotations/squall.dev~1pod-failure", "value": mark("evil:1", "b:1", "init:1") }]),
            written,
        ),
        ("restored to what was not there", patch(["evil:1", "b:1", "init:1"], None), images),
        ("restored the other way round", patch(["b:1", "a:1", "init:1"], None), images),
        (
            "restored in one with another word",
            patch(["evil:1", "b:1", "init:1"], Some(&mark("evil:1", "b:1", "init:1"))),
            written,
        ),
    ] {
        denied(what, send(&controller, "p", step, true).await, reason);
    }
    allowed(
        "restored in part",
        send(&controller, "p", patch(["a:1", DEFAULT_IMAGE, "init:1"], Some(&was)), true).await,
    );
    allowed("restored", send(&controller, "p", patch(["a:1", "b:1", "init:1"], None), false).await);
}

#[tokio::test]
async fn what_else_can_be_changed_of_a_pod_is_not_the_controllers() {
    let (governed, controller) = prepare().await;
    let admin = governed.admin().await;
    admin.store(Some("faulted"), pod("q", &json!({}))).await.unwrap();
    let (nothing, annotations) = ("images and its own annotation, nothing else", "its own, no other");
    for (what, step, reason) in [
        ("a label", json!({ "op": "add", "path": "/metadata/labels/x", "value": "y" }), nothing),
        ("a finalizer", json!({ "op": "add", "path": "/metadata/finalizers", "value": ["a/b"] }), nothing),
        (
            "an owner",
            json!({ "op": "add", "path": "/metadata/ownerReferences", "value": [{ "apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u" }] }),
            nothing,
        ),
        (
            "a toleration",
            json!({ "op": "add", "path": "/spec/tolerations/-", "value": { "operator": "Exists" } }),
            nothing,
        ),
        ("a deadline", json!({ "op": "add", "path": "/spec/activeDeadlineSeconds", "value": 1 }), nothing),
        (
            "an annotation",
            json!({ "op": "add", "path": "/metadata/annotations/x", "value": "y" }),
            annotations,
        ),
        (
            "an annotation changed",
            json!({ "op": "replace", "path": "/metadata/annotations/of", "value": "y" }),
            annotations,
        ),
        ("an annotation removed", json!({ "op": "remove", "path": "/metadata/annotations/of" }), annotations),
    ] {
        let step = json!([step]);
        denied(what, send(&controller, "q", step.clone(), true).await, reason);
        allowed(what, send(&admin, "q", step, true).await);
    }
}

#[tokio::test]
async fn pods_of_protected_namespaces_are_not_killed() {
    let (governed, controller) = prepare().await;
    let admin = governed.admin().await;
    let object = pod("killed", &json!({}));
    super::eventually("kube-system has no account", async || {
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount" });
        admin.api(Some("kube-system"), &account).get_opt("default").await.unwrap().is_some()
    })
    .await;
    for namespace in ["faulted", "kube-system"] {
        admin.store(Some(namespace), object.clone()).await.unwrap();
    }
    let reason = "pods of protected namespaces are no targets";
    allowed("a neighbour", controller.delete(Some("faulted"), &object).await);
    denied("one of the cluster's", controller.delete(Some("kube-system"), &object).await, reason);
    allowed("evicted", evict(&controller, "faulted").await);
    denied("evicted from kube-system", evict(&controller, "kube-system").await, reason);
    let mark = json!({ "metadata": { "annotations": { MARK: "{}" } } });
    denied("failed", controller.patch("kube-system", &object, mark).await, "denied request");
    // One of our own.
    let own =
        admin.api(Some("squall-system"), &object).list(&ListParams::default()).await.unwrap().items.remove(0);
    let own = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": own.metadata.name } });
    denied("one of ours", controller.delete(Some("squall-system"), &own).await, reason);
    allowed("by an administrator", admin.delete(Some("kube-system"), &object).await);
}

/// Whether the pod could be evicted.
async fn evict(user: &User, namespace: &str) -> Answer {
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": { "name": "killed", "namespace": namespace }, "deleteOptions": { "dryRun": ["All"] } });
    let path = format!("/api/v1/namespaces/{namespace}/pods/killed/eviction?dryRun=All");
    let request = http::Request::post(path).header("content-type", "application/json");
    let request = request.body(eviction.to_string().into_bytes()).unwrap();
    user.client.request::<Value>(request).await.map(drop).map_err(super::why)
}
