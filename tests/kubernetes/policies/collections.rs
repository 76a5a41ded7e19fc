//! Schedules and Workflows: what the controller will make of them is judged when they are written.

use serde_json::{Value, json};

use super::{allowed, denied, governed, makes};

fn schedule(field: &str, experiment: Value) -> Value {
    collection("Schedule", json!({ "schedule": "* * * * *", "type": "x", field: experiment }))
}

fn workflow(templates: Value) -> Value {
    collection("Workflow", json!({ "entry": "first", "templates": templates }))
}

fn collection(kind: &str, spec: Value) -> Value {
    json!({ "apiVersion": "chaos-mesh.org/v1alpha1", "kind": kind, "metadata": { "name": "x" }, "spec": spec })
}

fn on(namespace: &str) -> Value {
    json!({ "action": "pod-kill", "mode": "one", "selector": { "namespaces": [namespace] } })
}

/// Every place where an experiment can stand.
fn places(experiment: &Value) -> Vec<(&'static str, Value)> {
    let in_template = json!({ "name": "t", "templateType": "PodChaos", "podChaos": experiment });
    let in_schedule = json!({ "name": "t", "templateType": "Schedule", "schedule": { "schedule": "@daily", "podChaos": experiment } });
    let harmless = json!({ "name": "first", "templateType": "Serial", "children": ["t"] });
    vec![
        ("a Schedule", schedule("podChaos", experiment.clone())),
        (
            "a Schedule's workflow",
            schedule("workflow", json!({ "entry": "first", "templates": [harmless, in_template] })),
        ),
        (
            "a Schedule's workflow's schedule",
            schedule("workflow", json!({ "entry": "t", "templates": [in_schedule] })),
        ),
        ("a Workflow", workflow(json!([harmless, in_template]))),
        ("a Workflow's schedule", workflow(json!([harmless, in_schedule]))),
    ]
}

const ALL: &[&str] = &["schedules", "workflows", "podchaos", "networkchaos"];

#[tokio::test]
async fn they_reach_their_own_namespace_or_their_author_everywhere() {
    let governed = governed().await;
    governed.namespaces(&["planned", "other"]).await;
    let local = governed.user("planner").await;
    for namespace in ["planned", "other"] {
        governed.grant("planner", Some(namespace), makes(ALL)).await;
    }
    let everywhere = governed.user("planner-everywhere").await;
    governed.grant("planner-everywhere", None, makes(ALL)).await;
    let scope = "cannot create resource \"podchaos\" in API group \"chaos-mesh.org\" at the cluster scope: this reaches \
                 beyond its own namespace";
    let own = json!({ "action": "pod-kill", "mode": "one", "selector": { "labelSelectors": { "a": "b" } } });
    for (what, object) in places(&own).into_iter().chain(places(&on("planned"))) {
        allowed(&format!("{what}, its own"), local.create("planned", object).await);
    }
    // The right in that namespace is not enough: nobody could ask about each of a workflow's.
    for (what, object) in places(&on("other")) {
        denied(what, local.create("planned", object.clone()).await, scope);
        allowed(&format!("{what}, everywhere"), everywhere.create("planned", object).await);
    }
    let peers = json!({ "action": "partition", "mode": "all", "selector": { "labelSelectors": { "a": "b" } },
        "target": { "mode": "all", "selector": { "pods": { "other": ["p"] } } } });
    let network = schedule("networkChaos", peers);
    denied("a target", local.create("planned", network.clone()).await, "\"networkchaos\"");
    allowed("a target, everywhere", everywhere.create("planned", network).await);
}

#[tokio::test]
async fn they_hold_nothing_that_their_author_could_not_make() {
    let governed = governed().await;
    governed.namespaces(&["narrow"]).await;
    let user = governed.user("scheduler").await;
    governed.grant("scheduler", Some("narrow"), makes(&["schedules", "workflows"])).await;
    let own = json!({ "action": "pod-kill", "mode": "one", "selector": { "labelSelectors": { "a": "b" } } });
    for (what, object) in places(&own) {
        let reason =
            "cannot create resource \"podchaos\" in API group \"chaos-mesh.org\" in the namespace \"narrow\"";
        denied(what, user.create("narrow", object).await, reason);
    }
    governed.grant("scheduler", Some("narrow"), makes(&["podchaos"])).await;
    for (what, object) in places(&own) {
        allowed(what, user.create("narrow", object).await);
    }
    let stress = schedule("stressChaos", own.clone());
    denied("another kind", user.create("narrow", stress).await, "\"stresschaos\"");
    let strange = schedule("strangeChaos", own.clone());
    denied("a kind that nobody knows", user.create("narrow", strange).await, "a kind that is not known");
    let task = workflow(json!([{ "name": "first", "templateType": "Task", "task": { "container": {} } }]));
    let pods = "cannot create resource \"pods\" in API group \"\" in the namespace \"narrow\"";
    denied("a task", user.create("narrow", task.clone()).await, pods);
    let rule = json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["create"] }]);
    governed.grant("scheduler", Some("narrow"), rule).await;
    allowed("a task of who may make pods", user.create("narrow", task).await);
}

#[tokio::test]
async fn who_changes_them_is_their_author_too() {
    let governed = governed().await;
    governed.namespaces(&["edited"]).await;
    let mut object = schedule("podChaos", on("edited"));
    object["metadata"]["name"] = json!("edited");
    governed.admin().await.store(Some("edited"), object.clone()).await.unwrap();
    let user = governed.user("editor").await;
    governed.grant("editor", Some("edited"), makes(ALL)).await;
    let to =
        |namespace: &str| json!({ "spec": { "podChaos": { "selector": { "namespaces": [namespace] } } } });
    denied("to another", user.patch("edited", &object, to("default")).await, "at the cluster scope");
    let faster = json!({ "spec": { "schedule": "*/5 * * * *" } });
    allowed("more often", user.patch("edited", &object, faster).await);
}

#[tokio::test]
async fn none_reaches_a_protected_namespace() {
    let governed = governed().await;
    let admin = governed.admin().await;
    for (what, object) in places(&on("kube-system")) {
        denied(what, admin.create("default", object).await, "which is protected");
    }
    for (what, object) in places(&on("kube-public")) {
        allowed(what, admin.create("default", object).await);
    }
    let own = json!({ "action": "pod-kill", "mode": "one", "selector": { "labelSelectors": { "a": "b" } } });
    denied(
        "from within",
        admin.create("kube-system", schedule("podChaos", own)).await,
        "no experiment reaches",
    );
}

#[tokio::test]
async fn what_the_controller_makes_of_them_it_may_make() {
    // As long as no kind of this release needs it, its account has no right to: RBAC denies what the policy would let in.
    let governed = governed().await;
    let child = json!({ "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "PodChaos", "metadata": { "name": "x" }, "spec": on("kube-public") });
    let controller = governed.controller().await;
    denied("a child", controller.create("default", child.clone()).await, "cannot create resource");
    let binding = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "controller-makes-children" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "squall-edit" },
        "subjects": [{ "kind": "ServiceAccount", "name": "squall-controller", "namespace": "squall-system" }] });
    governed.namespaces(&["children"]).await;
    governed.admin().await.store(Some("children"), binding).await.unwrap();
    super::eventually("a child of the controller is refused", async || {
        controller.create("children", child.clone()).await.is_ok()
    })
    .await;
    let mut protected = child;
    protected["spec"] = on("kube-system");
    denied(
        "a child in a protected namespace",
        controller.create("children", protected).await,
        "no experiment reaches",
    );
}
