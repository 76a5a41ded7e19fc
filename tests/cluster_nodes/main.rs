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
mod life;
mod network;
mod pods;
mod vm;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_cluster::{BUSYBOX, Cluster, Shape, node_name};
use tokio::sync::OnceCell;

/// How long a cluster may take for what takes seconds on an idle machine.
const PATIENCE: Duration = Duration::from_mins(5);

const NODES: u8 = 3;

/// The common cluster.
async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER.get_or_init(|| started(NODES)).await
}

async fn started(nodes: u8) -> Cluster {
    start(Shape { nodes, ..Shape::default() }).await
}

async fn start(shape: Shape) -> Cluster {
    let start = Instant::now();
    let cluster = Cluster::start_as(shape).await.unwrap_or_else(|error| panic!("{error:?}"));
    println!("{shape:?} and a control plane, ready from nothing: {:.1} s", start.elapsed().as_secs_f64());
    cluster
}

/// What kubectl says to a successful order.
fn kubectl(cluster: &Cluster, order: &str) -> String {
    told(&mut ordered(cluster, order), order)
}

fn ordered(cluster: &Cluster, order: &str) -> Command {
    let mut kubectl = cluster.kubectl();
    kubectl.args(order.split(' '));
    kubectl
}

/// The output of a command that succeeds.
fn told(command: &mut Command, what: &str) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{what}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// Runs a shell script in a pod, by way of the API server and the kubelet.
fn shell(cluster: &Cluster, pod: &str, script: &str) -> Output {
    ordered(cluster, &format!("exec {pod} -- sh -c")).arg(script).output().unwrap()
}

/// The output of a script that succeeds in a pod.
fn shell_says(cluster: &Cluster, pod: &str, script: &str) -> String {
    let Output { status, stdout, stderr } = shell(cluster, pod, script);
    assert!(status.success(), "{pod}: {script}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap().trim().to_owned()
}

/// A pod of busybox on a node, that runs a script.
fn pod(name: &str, node: u8, script: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": {
            "nodeSelector": { "kubernetes.io/hostname": node_name(node) },
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sh", "-c", script],
            }],
        },
    })
}

/// A script that serves a text on port 8080, and logs who asks.
fn serves(text: &str) -> String {
    format!("mkdir /www && echo {text} >/www/index.html && exec httpd -f -vv -p 8080 -h /www")
}

/// Creates an object as kubectl would from a file.
fn apply(cluster: &Cluster, object: &Value) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), object.to_string()).unwrap();
    kubectl(cluster, &format!("apply -f {}", file.path().display()));
}

/// Creates a pod and waits until it is ready; gives its address.
fn ready(cluster: &Cluster, pod: &Value) -> String {
    apply(cluster, pod);
    let name = pod["metadata"]["name"].as_str().unwrap();
    kubectl(cluster, &format!("wait --for=condition=Ready --timeout={}s pod/{name}", PATIENCE.as_secs()));
    kubectl(cluster, &format!("get pod {name} -o jsonpath={{.status.podIP}}"))
}

/// Waits until something holds, and tells how long that took.
fn eventually(what: &str, holds: impl FnMut() -> bool) -> Duration {
    within(PATIENCE, what, holds)
}

fn within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "not in {limit:?}: {what}");
        pause();
    }
    start.elapsed()
}

#[expect(clippy::disallowed_methods, reason = "these tests have their threads to themselves")]
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}
