//! The console with all pods of a large cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
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

/// So many change pods side by side, each [`STEP_PODS`] of them every so often: 500 a second.
const LANES: usize = 4;
const STEP: Duration = Duration::from_millis(80);
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
    let mut pods = runtime.block_on(list(&client));
    let lanes: Vec<_> = std::iter::from_fn(|| Some(pods.split_off(pods.len().checked_sub(PODS / LANES)?)))
        .take(LANES)
        .map(|pods| runtime.spawn(change(client.clone(), pods, Arc::clone(&stop), Arc::clone(&made))))
        .collect();
    terminal::keys(&mut pty, &rows(), CHANGING, &made);
    stop.store(true, Ordering::SeqCst);
    for lane in lanes {
        runtime.block_on(lane).expect("the changes");
    }
    println!("memory after {} changes: {}", made.load(Ordering::SeqCst), weight(&process));
}

fn rows() -> Rows {
    Rows { count: PODS, first: pod_name(0), last: pod_name(PODS - 1) }
}

fn pod_name(number: usize) -> String {
    format!("pod-{number:05}")
}

async fn list(client: &Client) -> Vec<Pod> {
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    let mut pods = api.list(&ListParams::default()).await.expect("a list").items;
    for pod in &mut pods {
        pod.metadata.managed_fields = None;
    }
    pods
}

/// Changes these pods in turn, as fast as was said if the API server can, until it is stopped. As a kubelet that knows what it
/// wrote last: a patch costs the API server more.
async fn change(client: Client, mut pods: Vec<Pod>, stop: Arc<AtomicBool>, made: Arc<AtomicUsize>) {
    let api: Api<Pod> = Api::default_namespaced(client);
    let mut steps = tokio::time::interval(STEP);
    let mut next = 0;
    while !stop.load(Ordering::SeqCst) {
        steps.tick().await;
        let changes = (next..next + STEP_PODS).map(|place| place * 7_919 % pods.len()).map(|place| {
            let (api, mut pod) = (&api, pods[place].clone());
            crash_or_run(&mut pod);
            async move {
                let name = pod.name_any();
                (place, api.replace_status(&name, &PostParams::default(), &pod).await.expect("a status"))
            }
        });
        let written: Vec<_> = futures::stream::iter(changes).buffer_unordered(STEP_PODS).collect().await;
        for (place, mut pod) in written {
            pod.metadata.managed_fields = None;
            pods[place] = pod;
            made.fetch_add(1, Ordering::SeqCst);
        }
        next += STEP_PODS;
    }
}

/// Turns a pod's container from running to waiting, or back.
fn crash_or_run(pod: &mut Pod) {
    let statuses = pod.status.as_mut().and_then(|status| status.container_statuses.as_mut());
    let container = statuses.and_then(|all| all.first_mut()).expect("a container");
    container.restart_count += 1;
    let state = if container.restart_count % 2 == 1 {
        json!({"waiting": {"reason": "CrashLoopBackOff"}})
    } else {
        json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})
    };
    container.state = Some(serde_json::from_value(state).expect("a state"));
}
