//! What a real Kubernetes says: the API contract, our CRDs, and the manifests that we refuse. `./test --api` runs it.
//!
//! One control plane serves all tests but those that are about its life. The first that needs it starts it (and builds its
//! programs, if nobody did); it ends with this process.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a test that cannot go on fails, and its tables read better with plain values"
)]

#[path = "../api_contract/cases/mod.rs"]
mod cases;
mod connection;
mod contract;
mod definitions;
mod installed;
mod life;
#[path = "../manifest_table/mod.rs"]
mod manifest_table;
mod manifests;
mod outage;
mod program;
#[path = "../pty/mod.rs"]
#[expect(dead_code, reason = "shared with tests of the terminal itself")]
mod pty;
mod rights;
#[path = "../api_contract/step.rs"]
mod step;

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use kube::{Api, Client, ResourceExt};
use test_cluster::Cluster;
use tokio::sync::OnceCell;

/// How long the API server may take for what it does in the background.
const PATIENCE: Duration = Duration::from_secs(20);

/// The common control plane.
async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let start = || async { Cluster::start().await.unwrap_or_else(|error| panic!("{error:?}")) };
    CLUSTER.get_or_init(start).await
}

/// The same, where Squall's CRDs are installed.
async fn client_with_crds() -> Client {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let client = cluster().await.client("default").await.unwrap();
    let install = || async {
        for kind in squall::api::custom_kinds() {
            install(&client, kind.definition()).await;
        }
    };
    INSTALLED.get_or_init(install).await;
    client
}

/// Waits until it is so; `what` says what is wrong where it never is.
async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let begun = std::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Applies a CRD as `squall install` will, and waits until its kind is served.
async fn install(client: &Client, definition: &CustomResourceDefinition) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = definition.name_any();
    let params = PatchParams::apply("squall").force();
    let applied = definitions.patch(&name, &params, &Patch::Apply(definition)).await;
    applied.unwrap_or_else(|error| panic!("{name} is refused: {error}"));
    let established = await_condition(definitions, &name, is_crd_established());
    tokio::time::timeout(PATIENCE, established).await.expect("it is not established").unwrap();
    // Every group's handler learns of it a little later.
    let spec = &definition.spec;
    let path = format!("/apis/{}/{}/{}", spec.group, spec.versions[0].name, spec.names.plural);
    let served = async {
        while client.request_text(http::Request::get(&path).body(Vec::new()).unwrap()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, served).await.expect("it is not served");
}
