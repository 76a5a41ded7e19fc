//! Squall's share of the API server (API Priority and Fairness): which requests wait where.

use std::collections::BTreeMap;

use http::Request;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use kube::api::ListParams;
use kube::client::Body;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use squall::api::SYSTEM_NAMESPACE;
use squall::install::{self, CONTROLLER, DAEMON};
use test_cluster::Cluster;

use super::fleet::accounts;
use super::{eventually, install as crds};

/// A control plane with Squall's accounts and flows.
async fn start() -> (Cluster, Client) {
    let cluster = Cluster::start().await.unwrap();
    let admin = cluster.client("default").await.unwrap();
    crds::squalls(&admin).await;
    accounts::make(&admin).await;
    (cluster, admin)
}

async fn client(cluster: &Cluster, admin: &Client, account: &str) -> Client {
    accounts::client(cluster, accounts::token(admin, account).await).await
}

fn request(method: &str, path: &str, body: &Value) -> Request<Body> {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    Request::builder().method(method).uri(path).header("content-type", kind).body(body.into()).unwrap()
}

/// The names of flow schema and priority level that a request was given, by the UIDs in the answer.
async fn place(client: &Client, names: &BTreeMap<String, String>, asked: Request<Body>) -> [String; 2] {
    let answer = client.send(asked).await.unwrap();
    ["x-kubernetes-pf-flowschema-uid", "x-kubernetes-pf-prioritylevel-uid"].map(|header| {
        let uid = answer.headers().get(header).map_or("", |uid| uid.to_str().unwrap());
        names.get(uid).cloned().unwrap_or_else(|| format!("none: {} {uid:?}", answer.status()))
    })
}

async fn names(admin: &Client) -> BTreeMap<String, String> {
    let schemas = Api::<FlowSchema>::all(admin.clone()).list(&ListParams::default()).await.unwrap();
    let levels =
        Api::<PriorityLevelConfiguration>::all(admin.clone()).list(&ListParams::default()).await.unwrap();
    let schemas = schemas.items.iter().map(|one| (one.uid().unwrap(), one.name_any()));
    schemas.chain(levels.items.iter().map(|one| (one.uid().unwrap(), one.name_any()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_faults_waits_for_nothing_else() {
    let (cluster, admin) = start().await;
    let [daemon, controller] =
        [client(&cluster, &admin, DAEMON).await, client(&cluster, &admin, CONTROLLER).await];
    let ours = format!("/apis/squall.dev/v1alpha1/namespaces/{SYSTEM_NAMESPACE}/injections");
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{SYSTEM_NAMESPACE}/leases");
    let lease = format!("{leases}/squall-controller");
    let watch = "watch=true&timeoutSeconds=1";
    let halts = "/apis/squall.dev/v1alpha1/halts";
    let names = names(&admin).await;
    // The API server takes them up a moment after they were made.
    eventually("the flows are not in force", async || {
        place(&daemon, &names, request("GET", halts, &Value::Null)).await[0] == "squall-signals"
    })
    .await;
    for (client, method, path, schema, level) in [
        (&daemon, "GET", halts.to_owned(), "squall-signals", "squall"),
        (&daemon, "GET", format!("{halts}?{watch}"), "squall-signals", "squall"),
        (
            &daemon,
            "GET",
            format!("{leases}?{watch}&fieldSelector=metadata.name%3Dsquall-controller"),
            "squall-signals",
            "squall",
        ),
        (&daemon, "GET", format!("{ours}?{watch}&fieldSelector=spec.node%3Dn"), "squall-daemon", "squall"),
        (&daemon, "PUT", format!("{ours}/i/status"), "squall-daemon", "squall"),
        (&daemon, "PATCH", format!("{ours}/i/status"), "squall-daemon", "squall"),
        // Refused, and in its place all the same: a token that somebody took has no better one.
        (&daemon, "PUT", lease.clone(), "squall-daemon", "squall"),
        (&controller, "GET", lease.clone(), "squall-leader", "leader-election"),
        (&controller, "PUT", lease.clone(), "squall-leader", "leader-election"),
        (&controller, "POST", leases.clone(), "squall-leader", "leader-election"),
        (&controller, "GET", "/api/v1/pods?limit=1".to_owned(), "squall-controller", "squall"),
        (&controller, "POST", ours.clone(), "squall-controller", "squall"),
        (
            &controller,
            "GET",
            "/apis/coordination.k8s.io/v1/namespaces/default/leases".to_owned(),
            "squall-controller",
            "squall",
        ),
    ] {
        let body = if method == "GET" { Value::Null } else { json!({}) };
        let found = place(client, &names, request(method, &path, &body)).await;
        assert_eq!(found, [schema, level], "{method} {path}");
    }
    let schemas: Api<FlowSchema> = Api::all(admin.clone());
    for part in install::flows().iter().filter(|part| part.resource.kind == "FlowSchema") {
        let conditions =
            schemas.get(&part.name).await.unwrap().status.unwrap().conditions.unwrap_or_default();
        let dangling = conditions.iter().find(|one| one.type_.as_deref() == Some("Dangling")).unwrap();
        assert_eq!(dangling.status.as_deref(), Some("False"), "{}: {:?}", part.name, dangling.message);
    }
}
