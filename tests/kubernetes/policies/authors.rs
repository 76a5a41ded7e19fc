//! An experiment reaches only where its author could have made it.

use std::time::Instant;

use serde_json::{Value, json};

use super::{allowed, denied, governed, makes};

/// Names of namespaces from `first` on.
fn named(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number}")).collect()
}

fn strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn network(spec: &Value) -> Value {
    experiment("NetworkChaos", json!({ "action": "partition", "mode": "all" }), spec)
}

fn pods(spec: &Value) -> Value {
    experiment("PodChaos", json!({ "action": "pod-kill", "mode": "all" }), spec)
}

fn experiment(kind: &str, mut spec: Value, more: &Value) -> Value {
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": kind, "metadata": { "name": "x" }, "spec": spec,
    })
}

/// An experiment on pods with a label in these namespaces.
fn on(namespaces: &[&str]) -> Value {
    network(&json!({ "selector": { "namespaces": namespaces, "labelSelectors": { "a": "b" } } }))
}

#[tokio::test]
async fn one_three_sixteen_and_seventeen_namespaces() {
    let governed = governed().await;
    let names = named("far", 17);
    governed.namespaces(&["near"]).await;
    governed.namespaces(&strs(&names)).await;
    let user = governed.user("author-of-many").await;
    for namespace in names.iter().map(String::as_str).chain(["near"]) {
        governed.grant("author-of-many", Some(namespace), makes(&["networkchaos"])).await;
    }
    for count in [1, 3, 16] {
        let reached = strs(&names[..count]);
        allowed(&format!("{count} with the right in each"), user.create("near", on(&reached)).await);
    }
    // The own one does not count.
    allowed("16 and its own", user.create("near", on(&[&strs(&names[..16])[..], &["near"]].concat())).await);
    let seventeen = on(&strs(&names));
    let scope = "cannot create resource \"networkchaos\" in API group \"chaos-mesh.org\" at the cluster scope: it \
                 reaches 17 other namespaces";
    denied("17 with the right in each", user.create("near", seventeen.clone()).await, scope);
    let everywhere = governed.user("author-everywhere").await;
    governed.grant("author-everywhere", None, makes(&["networkchaos"])).await;
    allowed("17 with the right everywhere", everywhere.create("near", seventeen).await);
    let most = named("some", 256);
    allowed("256 with the right everywhere", everywhere.create("near", on(&strs(&most))).await);

    for (what, object) in [("its own namespace", on(&["near"])), ("16 others", on(&strs(&names[..16])))] {
        let begun = Instant::now();
        for _ in 0..20 {
            user.create("near", object.clone()).await.unwrap();
        }
        println!("an experiment that reaches {what}: {:.1} ms", begun.elapsed().as_secs_f64() * 50.0);
    }

    // One that is missing is found wherever it stands.
    let partly = governed.user("author-of-most").await;
    for namespace in names[..16].iter().map(String::as_str).chain(["near"]) {
        governed.grant("author-of-most", Some(namespace), makes(&["networkchaos"])).await;
    }
    let last = &names[16];
    let reason = format!(
        "User \"system:serviceaccount:default:author-of-most\" cannot create resource \"networkchaos\" in API group \
         \"chaos-mesh.org\" in the namespace \"{last}\", which it reaches"
    );
    for place in [0, 1, 2, 7, 15] {
        let mut reached = strs(&names[..15]);
        reached.insert(place, last);
        denied(&format!("at {place}"), partly.create("near", on(&reached)).await, &reason);
    }
    allowed("the same without it", partly.create("near", on(&strs(&names[..16]))).await);
}

#[tokio::test]
async fn every_way_to_name_a_namespace_counts() {
    let governed = governed().await;
    governed.namespaces(&["own", "granted", "foreign"]).await;
    let user = governed.user("author").await;
    for namespace in ["own", "granted"] {
        governed.grant("author", Some(namespace), makes(&["networkchaos", "podchaos"])).await;
    }
    let mine = json!({ "labelSelectors": { "a": "b" } });
    let target =
        |selector: Value| json!({ "selector": mine, "target": { "mode": "all", "selector": selector } });
    for (what, object) in [
        ("namespaces", |n: &str| network(&json!({ "selector": { "namespaces": [n] } }))),
        ("pods", |n: &str| network(&json!({ "selector": { "pods": { n: ["p"] } } }))),
        ("of a PodChaos", |n: &str| pods(&json!({ "selector": { "namespaces": [n] } }))),
        ("pods of a PodChaos", |n: &str| pods(&json!({ "selector": { "pods": { n: ["p"] } } }))),
        ("namespaces that pods make void", |n: &str| {
            network(&json!({ "selector": { "pods": { "own": ["p"] }, "namespaces": [n] } }))
        }),
    ] as [(&str, fn(&str) -> Value); 5]
    {
        allowed(&format!("{what}, granted"), user.create("own", object("granted")).await);
        allowed(&format!("{what}, its own"), user.create("own", object("own")).await);
        denied(what, user.create("own", object("foreign")).await, "in the namespace \"foreign\"");
    }
    for (what, named) in [
        ("namespaces of the target", (|n: &str| json!({ "namespaces": [n] })) as fn(&str) -> Value),
        ("pods of the target", |n: &str| json!({ "pods": { n: ["p"] } })),
    ] {
        allowed(what, user.create("own", network(&target(named("granted")))).await);
        let foreign = user.create("own", network(&target(named("foreign")))).await;
        denied(what, foreign, "in the namespace \"foreign\"");
    }
    // A right to another kind is none to this one.
    governed.grant("author", Some("foreign"), makes(&["podchaos"])).await;
    let killed = pods(&json!({ "selector": { "namespaces": ["foreign"] } }));
    allowed("a PodChaos where that may be made", user.create("own", killed).await);
    denied("a NetworkChaos there", user.create("own", on(&["foreign"])).await, "\"networkchaos\"");
}

#[tokio::test]
async fn who_changes_an_experiment_is_its_author() {
    let governed = governed().await;
    governed.namespaces(&["home", "away"]).await;
    let admin = governed.admin().await;
    let mut running = on(&["away"]);
    running["spec"]["duration"] = json!("1h");
    admin.store(Some("home"), running.clone()).await.unwrap();
    let (local, both) = (governed.user("local").await, governed.user("both").await);
    governed.grant("local", Some("home"), makes(&["networkchaos"])).await;
    for namespace in ["home", "away"] {
        governed.grant("both", Some(namespace), makes(&["networkchaos"])).await;
    }
    let foreign = "in the namespace \"away\"";
    let annotate = |key: &str, value: &str| json!({ "metadata": { "annotations": { key: value } } });
    let pause = "experiment.chaos-mesh.org/pause";
    for (what, patch) in [
        ("longer", json!({ "spec": { "duration": "2h" } })),
        ("a longer lease", annotate("squall.dev/lease", "1h")),
        ("resumed", annotate(pause, "false")),
        (
            "paused and something else",
            json!({ "metadata": { "annotations": { pause: "true", "squall.dev/lease": "1h" } } }),
        ),
    ] {
        denied(what, local.patch("home", &running, patch.clone()).await, foreign);
        allowed(what, both.patch("home", &running, patch).await);
    }
    // Faults are taken away by whoever may touch the experiment at all.
    allowed("paused", local.patch("home", &running, annotate(pause, "true")).await);
    allowed("deleted", local.delete(Some("home"), &running).await);
    let labelled = json!({ "metadata": { "labels": { "team": "a" } } });
    allowed("labelled", local.patch("home", &running, labelled).await);
    // Within its own namespace RBAC has the last word.
    let mut own = network(&json!({ "selector": { "labelSelectors": { "a": "b" } }, "duration": "1h" }));
    own["metadata"]["name"] = json!("own");
    admin.store(Some("home"), own.clone()).await.unwrap();
    allowed("its own", local.patch("home", &own, json!({ "spec": { "duration": "2h" } })).await);
}

#[tokio::test]
async fn the_controller_sets_finalizers_of_all() {
    let governed = governed().await;
    governed.namespaces(&["finalized", "beyond"]).await;
    let mut object = on(&["beyond"]);
    object["metadata"]["name"] = json!("finalized");
    governed.admin().await.store(Some("finalized"), object.clone()).await.unwrap();
    let controller = governed.controller().await;
    let patch = json!({ "metadata": { "finalizers": ["chaos-mesh/records"] } });
    allowed("its finalizer", controller.patch("finalized", &object, patch).await);
    let status = json!({ "status": { "experiment": { "desiredPhase": "Run" } } });
    allowed("its status", controller.patch_status("finalized", &object, status).await);
    denied("one of its own", controller.create("finalized", on(&["beyond"])).await, "cannot create");
}

#[tokio::test]
async fn nobody_reaches_a_protected_namespace() {
    let governed = governed().await;
    governed.namespaces(&["unprotected"]).await;
    let admin = governed.admin().await;
    allowed("a neighbour", admin.create("unprotected", on(&["default"])).await);
    for namespace in ["kube-system", "squall-system"] {
        let reason = format!("no experiment reaches {namespace}, which is protected");
        let target = json!({ "mode": "all", "selector": { "pods": { namespace: ["p"] } } });
        for (what, object) in [
            ("one", on(&[namespace])),
            ("among others", on(&["default", namespace])),
            ("its pods", pods(&json!({ "selector": { "pods": { namespace: ["p"] } } }))),
            (
                "as a target",
                network(&json!({ "selector": { "labelSelectors": { "a": "b" } }, "target": target })),
            ),
        ] {
            denied(what, admin.create("unprotected", object).await, &reason);
        }
        let within = network(&json!({ "selector": { "labelSelectors": { "a": "b" } } }));
        denied("from within", admin.create(namespace, within).await, &reason);
    }
    // Those are patched that were there before the policy; and they can be ended.
    let mut object = on(&["default"]);
    object["metadata"]["name"] = json!("patched");
    admin.store(Some("unprotected"), object.clone()).await.unwrap();
    let patch = json!({ "spec": { "selector": { "namespaces": ["kube-system"] } } });
    denied(
        "by a patch",
        admin.patch("unprotected", &object, patch).await,
        "no experiment reaches kube-system",
    );
    allowed("deleted", admin.delete(Some("unprotected"), &object).await);
}
