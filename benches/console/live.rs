//! The real program on a terminal.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use squall::api::SYSTEM_NAMESPACE;

use super::pty::{Launch, Pty};
use super::terminal::{self, Rows, SIZE, processor_time, weight};
use super::{NODES, PODS, node_name, pod_name, simulated};

/// How long pods change: long enough for both segments of the recorder to be full of changes.
const CHANGING: Duration = Duration::from_secs(100);

/// How long nothing happens.
const REST: Duration = Duration::from_secs(20);

/// Every so often ten pods change: 500 a second.
const STEP: Duration = Duration::from_millis(20);

pub(crate) fn run() {
    println!("\nthe program on a terminal of {}x{}: {PODS} pods on {NODES} nodes", SIZE.0, SIZE.1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let server = simulated::server(&[]);
    let client = runtime.block_on(async { server.client("default") });
    runtime.block_on(fill(&client));
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket");
    let listener = runtime.block_on(async { tokio::net::UnixListener::bind(&socket) }).expect("a socket");
    runtime.spawn(server.serve_unix(listener));
    for _ in 0..4 {
        drop(start(&socket, folder.path()));
    }
    let mut pty = start(&socket, folder.path());
    pty.watch(Duration::from_secs(1));
    let process = pty.pid().to_string();
    println!("memory with all listed: {}", weight(&process));
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let changing = runtime.spawn(change(client, Arc::clone(&stop), Arc::clone(&made)));
    terminal::keys(&mut pty, &rows(), CHANGING, &made);
    stop.store(true, Ordering::SeqCst);
    runtime.block_on(changing).expect("the changes");
    println!("memory after {} changes: {}", made.load(Ordering::SeqCst), weight(&process));
    pty.watch(Duration::from_secs(3));
    let (bytes, used) = (pty.received(), processor_time(&process));
    pty.watch(REST);
    let used = processor_time(&process).saturating_sub(used);
    println!(
        "{} s of rest: {} bytes written, {used:.0?} of processor time: {:.2} % of a core",
        REST.as_secs(),
        pty.received() - bytes,
        100.0 * used.as_secs_f64() / REST.as_secs_f64()
    );
}

/// A pod of about the size that a small Deployment's pods have.
fn pod(number: usize) -> Value {
    json!({
        "metadata": {"name": pod_name(number), "namespace": "default",
            "labels": {"app": format!("app-{}", number / 10), "pod-template-hash": "7d9c6b8f5d"}},
        "spec": {
            "nodeName": node_name(number % NODES), "serviceAccountName": "default", "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "dnsPolicy": "ClusterFirst",
            "containers": [{
                "name": "main", "image": "docker.example/team/service:1.2.3", "imagePullPolicy": "IfNotPresent",
                "env": [{"name": "DATABASE", "value": "mongodb://mongo:27017"}, {"name": "LOG", "value": "info"}],
                "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}},
                "resources": {"limits": {"memory": "128Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
                "volumeMounts": [{"name": "kube-api-access", "readOnly": true,
                    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
            }],
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"},
            ],
        },
    })
}

fn status(number: usize, restarts: usize) -> Value {
    let address = format!("10.{}.{}.{}", number >> 16, (number >> 8) & 255, number & 255);
    let state = if restarts % 2 == 1 {
        json!({"waiting": {"reason": "CrashLoopBackOff"}})
    } else {
        json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})
    };
    json!({"status": {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "qosClass": "Burstable",
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}],
        "containerStatuses": [{"name": "main", "ready": restarts.is_multiple_of(2), "restartCount": restarts,
            "image": "docker.example/team/service:1.2.3", "imageID": "sha256:0", "started": true, "state": state}],
    }})
}

async fn patch(api: &Api<Pod>, number: usize, restarts: usize) {
    let patch = Patch::Merge(status(number, restarts));
    api.patch_status(&pod_name(number), &PatchParams::default(), &patch).await.expect("a status");
}

async fn fill(client: &Client) {
    let whole = |name: String| json!({"metadata": {"name": name}});
    simulated::make::<Namespace>(&Api::all(client.clone()), whole(SYSTEM_NAMESPACE.to_owned())).await;
    for number in 0..NODES {
        simulated::make::<Node>(&Api::all(client.clone()), whole(node_name(number))).await;
    }
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    let all = futures::stream::iter(0..PODS).for_each(|number| {
        let api = &api;
        async move {
            simulated::make(api, pod(number)).await;
            patch(api, number, 0).await;
        }
    });
    all.await;
}

/// Changes pods everywhere, 500 a second, until it is stopped.
async fn change(client: Client, stop: Arc<AtomicBool>, made: Arc<AtomicUsize>) {
    let api: Api<Pod> = Api::default_namespaced(client);
    let mut steps = tokio::time::interval(STEP);
    while !stop.load(Ordering::SeqCst) {
        steps.tick().await;
        for _ in 0..10 {
            let next = made.fetch_add(1, Ordering::SeqCst) + 1;
            patch(&api, next * 7_919 % PODS, next / PODS + 1).await;
        }
    }
}

/// Opens the console and waits until it shows everything.
fn start(socket: &Path, folder: &Path) -> Pty {
    let launch = Launch::squall(&["console"])
        .env("SQUALL_API_SOCKET", socket)
        .env("XDG_RUNTIME_DIR", folder)
        .env("XDG_STATE_HOME", folder);
    terminal::start(launch, &rows())
}

fn rows() -> Rows {
    Rows { count: PODS, first: pod_name(0), last: pod_name(PODS - 1) }
}
