//! The console with all pods of a large cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;
use test_cluster::{Cluster, FakeNodes};
use tokio::runtime::Runtime;

use super::etcd::{Etcd, Stored};
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

/// So many pods change, each in turn, so many at once every so often: 500 a second.
const CHANGED: usize = 2_000;
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
    // From here on this is the terminal: it is not to wait for a processor among the threads of the API server, which the kernel
    // gives one share with all of this session.
    if let Err(errno) = nix::unistd::setsid() {
        println!("in the session of the cluster ({errno}): keys seem to take longer");
    }
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
    let etcd = {
        let _inside = runtime.enter();
        Etcd::of(cluster.kubeconfig().parent().expect("the cluster's folder"))
    };
    let pairs = runtime.block_on(pairs(&client, &etcd));
    let changes = runtime.spawn(change(etcd, pairs, Arc::clone(&stop), Arc::clone(&made)));
    terminal::keys(&mut pty, &rows(), CHANGING, &made);
    stop.store(true, Ordering::SeqCst);
    runtime.block_on(changes).expect("the changes");
    println!("memory after {} changes: {}", made.load(Ordering::SeqCst), weight(&process));
}

fn rows() -> Rows {
    Rows { count: PODS, first: pod_name(0), last: pod_name(PODS - 1) }
}

fn pod_name(number: usize) -> String {
    format!("pod-{number:05}")
}

/// What the API server stores for each pod that will change, while its container runs and while it waits.
async fn pairs(client: &Client, etcd: &Etcd) -> Vec<[Stored; 2]> {
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    let pairs = (0..CHANGED).map(|number| {
        let api = &api;
        let name = pod_name(number * (PODS / CHANGED));
        async move {
            let before = etcd.pod(NAMESPACE, &name).await;
            let mut pod = api.get_status(&name).await.expect("a pod");
            crash(&mut pod);
            api.replace_status(&name, &PostParams::default(), &pod).await.expect("a status");
            let after = etcd.pod(NAMESPACE, &name).await;
            assert!(before != after, "{name} did not change");
            [before, after]
        }
    });
    futures::stream::iter(pairs).buffer_unordered(STEP_PODS).collect().await
}

/// Changes these pods in turn, to and fro, until it is stopped. In the API server's store: its write path needs 8 ms of processor
/// time for a pod, and on two processors nothing would be left for whom this is about.
async fn change(etcd: Etcd, pairs: Vec<[Stored; 2]>, stop: Arc<AtomicBool>, made: Arc<AtomicUsize>) {
    let mut steps = tokio::time::interval(STEP);
    for round in 0.. {
        for some in pairs.chunks(STEP_PODS) {
            steps.tick().await;
            if stop.load(Ordering::SeqCst) {
                return;
            }
            etcd.put(some.iter().map(|pair| pair[round % 2].clone())).await;
            made.fetch_add(some.len(), Ordering::SeqCst);
        }
    }
}

/// Turns a pod's container from running to waiting.
fn crash(pod: &mut Pod) {
    let statuses = pod.status.as_mut().and_then(|status| status.container_statuses.as_mut());
    let container = statuses.and_then(|all| all.first_mut()).expect("a container");
    container.restart_count += 1;
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    container.state = Some(serde_json::from_value(waiting).expect("a state"));
}
