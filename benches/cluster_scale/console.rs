//! The console with all pods of a large cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use test_cluster::{Cluster, FakeNodes};
use tokio::runtime::Runtime;

use super::install;
use super::pty::{Launch, Pty};
use super::terminal::{self, Rows, weight};

const NODES: usize = 1_000;

const PODS: usize = 20_000;

/// Where the pods are.
const NAMESPACE: &str = "fleet";

/// How often the console is started.
const STARTS: usize = 5;

/// How long pods change.
const CHANGING: Duration = Duration::from_mins(1);

/// Every so often [`STEP_PODS`] pods change: 500 a second.
const STEP: Duration = Duration::from_millis(20);
const STEP_PODS: usize = 10;

pub(crate) fn run(runtime: &Runtime) {
    println!("\nthe console: {PODS} pods on {NODES} nodes");
    let cluster = runtime.block_on(Cluster::start()).expect("a cluster");
    let client = runtime.block_on(cluster.client(NAMESPACE)).expect("a client");
    runtime.block_on(install::squalls(&client));
    let begun = Instant::now();
    let nodes = runtime.block_on(FakeNodes::start(client.clone(), NODES)).expect("nodes");
    println!("nodes made: {:.1?}", begun.elapsed());
    let begun = Instant::now();
    runtime.block_on(nodes.pods(NAMESPACE, PODS)).expect("pods");
    println!("pods made and running: {:.1?}", begun.elapsed());
    let folder = tempfile::tempdir().expect("a folder");
    let open = || -> Pty {
        let launch = Launch::squall(&["console"])
            .env("KUBECONFIG", cluster.kubeconfig())
            .env("XDG_RUNTIME_DIR", folder.path())
            .env("XDG_STATE_HOME", folder.path());
        terminal::start(launch, &rows())
    };
    for _ in 1..STARTS {
        drop(open());
    }
    let mut pty = open();
    pty.watch(Duration::from_secs(2));
    let process = pty.pid().to_string();
    println!("memory with all listed: {}", weight(&process));
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let changing = runtime.spawn(change(client, Arc::clone(&stop), Arc::clone(&made)));
    terminal::keys(&mut pty, &rows(), CHANGING, &made);
    stop.store(true, Ordering::SeqCst);
    runtime.block_on(changing).expect("the changes");
    println!("memory after {} changes: {}", made.load(Ordering::SeqCst), weight(&process));
}

fn rows() -> Rows {
    Rows { count: PODS, first: pod_name(0), last: pod_name(PODS - 1) }
}

fn pod_name(number: usize) -> String {
    format!("pod-{number:05}")
}

/// Changes pods everywhere, 500 a second if the API server can, until it is stopped.
async fn change(client: Client, stop: Arc<AtomicBool>, made: Arc<AtomicUsize>) {
    let api: Api<Pod> = Api::default_namespaced(client);
    let mut steps = tokio::time::interval(STEP);
    while !stop.load(Ordering::SeqCst) {
        steps.tick().await;
        let numbers = (0..STEP_PODS).map(|_| made.fetch_add(1, Ordering::SeqCst) + 1);
        let changes = numbers.map(|number| patch(&api, number * 7_919 % PODS, number / PODS + 1));
        futures::stream::iter(changes).for_each_concurrent(STEP_PODS, |change| change).await;
    }
}

async fn patch(api: &Api<Pod>, number: usize, restarts: usize) {
    let state = if restarts % 2 == 1 {
        json!({"waiting": {"reason": "CrashLoopBackOff"}})
    } else {
        json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})
    };
    let of = |field: &str, value| json!({"op": "replace", "path": format!("/status/containerStatuses/0/{field}"), "value": value});
    let patch = json!([of("restartCount", restarts.into()), of("state", state)]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).expect("a patch"));
    api.patch_status(&pod_name(number), &PatchParams::default(), &patch).await.expect("a status");
}
