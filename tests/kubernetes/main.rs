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
#[path = "../fleet/mod.rs"]
mod fleet;
mod flows;
mod install;
mod installation;
mod installed;
mod life;
#[path = "../manifest_table/mod.rs"]
mod manifest_table;
mod manifests;
mod outage;
mod policies;
mod program;
#[path = "../pty/mod.rs"]
#[expect(dead_code, reason = "shared with tests of the terminal itself")]
mod pty;
mod rights;
mod scale;
#[path = "../api_contract/step.rs"]
mod step;
mod top;

use std::time::Duration;

use kube::Client;
use test_cluster::Cluster;
use tokio::sync::OnceCell;

use install::{PATIENCE, install};

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
    INSTALLED.get_or_init(|| install::squalls(&client)).await;
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
