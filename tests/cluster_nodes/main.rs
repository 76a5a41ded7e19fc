//! What the nodes of the test cluster can do, seen by the pods on them and by whoever asks the API server. `./test --cluster`
//! runs it, as root.
//!
//! One cluster of three nodes serves most tests; the first that needs it starts it, and it ends with this process. Tests that
//! cut cables or kill have clusters of their own beside it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails, and how long a cluster takes is told where it was started"
)]

mod cut;
#[path = "../kubectl/mod.rs"]
mod kubectl;
mod life;
mod network;
mod pods;
mod vm;

use std::time::Instant;

use kubectl::{apply, eventually, kubectl, ordered, pod, ready, shell, shell_says, told, within};
use test_cluster::{Cluster, Shape};
use tokio::sync::{Mutex, OnceCell};

const NODES: u8 = 3;

/// Held while a cluster starts: two at once take longer than one after the other.
static STARTING: Mutex<()> = Mutex::const_new(());

/// The common cluster.
async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER.get_or_init(|| started(NODES)).await
}

async fn started(nodes: u8) -> Cluster {
    start(Shape { nodes, ..Shape::default() }).await
}

async fn start(shape: Shape) -> Cluster {
    let _one = STARTING.lock().await;
    let start = Instant::now();
    let cluster = Cluster::start_as(shape, &[]).await.unwrap_or_else(|error| panic!("{error:?}"));
    println!("{shape:?} and a control plane, ready from nothing: {:.1} s", start.elapsed().as_secs_f64());
    cluster
}

/// A script that serves a text on port 8080, and logs who asks.
fn serves(text: &str) -> String {
    format!("mkdir /www && echo {text} >/www/index.html && exec httpd -f -vv -p 8080 -h /www")
}
