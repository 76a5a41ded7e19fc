//! kubectl as the tests of clusters use it, and waiting. Shared by them.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_cluster::{BUSYBOX, Cluster, node_name};

/// How long a cluster may take for what takes seconds on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);

/// What kubectl says to a successful order.
pub(crate) fn kubectl(cluster: &Cluster, order: &str) -> String {
    told(&mut ordered(cluster, order), order)
}

pub(crate) fn ordered(cluster: &Cluster, order: &str) -> Command {
    let mut kubectl = cluster.kubectl();
    kubectl.args(order.split(' '));
    kubectl
}

/// The output of a command that succeeds.
pub(crate) fn told(command: &mut Command, what: &str) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{what}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// Runs a shell script in a pod, by way of the API server and the kubelet.
pub(crate) fn shell(cluster: &Cluster, pod: &str, script: &str) -> Output {
    ordered(cluster, &format!("exec {pod} -- sh -c")).arg(script).output().unwrap()
}

/// The output of a script that succeeds in a pod.
pub(crate) fn shell_says(cluster: &Cluster, pod: &str, script: &str) -> String {
    let Output { status, stdout, stderr } = shell(cluster, pod, script);
    assert!(status.success(), "{pod}: {script}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap().trim().to_owned()
}

/// A pod of busybox on a node, that runs a script.
pub(crate) fn pod(name: &str, node: u8, script: &str) -> Value {
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

/// Creates an object as kubectl would from a file.
pub(crate) fn apply(cluster: &Cluster, object: &Value) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), object.to_string()).unwrap();
    kubectl(cluster, &format!("apply -f {}", file.path().display()));
}

/// Creates a pod and waits until it is ready; gives its address.
pub(crate) fn ready(cluster: &Cluster, pod: &Value) -> String {
    apply(cluster, pod);
    let name = pod["metadata"]["name"].as_str().unwrap();
    kubectl(cluster, &format!("wait --for=condition=Ready --timeout={}s pod/{name}", PATIENCE.as_secs()));
    kubectl(cluster, &format!("get pod {name} -o jsonpath={{.status.podIP}}"))
}

/// Waits until something holds, and tells how long that took.
pub(crate) fn eventually(what: &str, holds: impl FnMut() -> bool) -> Duration {
    within(PATIENCE, what, holds)
}

pub(crate) fn within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "not in {limit:?}: {what}");
        pause(Duration::from_millis(100));
    }
    start.elapsed()
}

#[expect(clippy::disallowed_methods, reason = "these tests have their threads to themselves")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
