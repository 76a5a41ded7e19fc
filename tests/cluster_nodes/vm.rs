//! A node in a virtual machine, beside one on the host's kernel: that it is a node like any other, and has the kernel that it
//! is there for. Everything in it takes ten times as long.

use serde_json::json;
use test_cluster::{BUSYBOX, Cluster, ClusterError, Shape, archive, machine_image, node_name, programs};
use tokio::sync::OnceCell;

use super::network::service;
use super::{apply, eventually, kubectl, pod, ready, serves, shell, shell_says, start};

/// The node on the host's kernel, and the machine.
const NODE: u8 = 1;
const MACHINE: u8 = 2;

const SHAPE: Shape = Shape { nodes: 1, machines: 1 };

/// What is set on the machine's kernel, and how much of it has to be felt at least, in milliseconds.
const DELAY: f64 = 400.0;

/// The cluster of these tests, or none where no machine can be had, which is said.
async fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceCell<Option<Cluster>> = OnceCell::const_new();
    CLUSTER.get_or_init(started).await.as_ref()
}

/// Whether a machine can be had; if not, says why.
pub(super) fn can_be_had() -> bool {
    match machine_image(&programs(SHAPE).unwrap()) {
        Err(ClusterError::Missing(script)) => {
            eprintln!(
                "SKIPPED: nodes in virtual machines: what they need cannot be had here, {script} says why"
            );
            false
        }
        Err(error) => panic!("{error}"),
        Ok(_) => true,
    }
}

async fn started() -> Option<Cluster> {
    if !can_be_had() {
        return None;
    }
    let cluster = start(SHAPE).await;
    let name = node_name(MACHINE);
    // The node's object is made just before the machine is switched on.
    let seconds = |path: &str| {
        let time = kubectl(&cluster, &format!("get node {name} -o jsonpath={path}"));
        time.parse::<jiff::Timestamp>().unwrap_or_else(|error| panic!("{time}: {error}")).as_second()
    };
    let ready = seconds("{.status.conditions[?(@.type==\"Ready\")].lastTransitionTime}");
    println!(
        "{name} was ready {} s after it was switched on",
        ready - seconds("{.metadata.creationTimestamp}")
    );
    Some(cluster)
}

/// Least of ten times from a pod to an address and back, in milliseconds. What a busy machine adds is not in the least one.
fn round_trip(cluster: &Cluster, pod: &str, address: &str) -> f64 {
    let said = shell_says(cluster, pod, &format!("ping -c 10 {address}"));
    // round-trip min/avg/max = 0.058/0.123/0.300 ms
    let least = said.rsplit("= ").next().unwrap().split('/').next().unwrap();
    least.parse().unwrap_or_else(|error| panic!("{said}: {error}"))
}

#[tokio::test]
async fn a_machine_is_a_node_with_a_kernel_of_its_own() {
    let Some(cluster) = cluster().await else { return };
    ready(cluster, &pod("inside", MACHINE, "echo said at start; exec sleep 1000"));
    assert_eq!(kubectl(cluster, "logs inside"), "said at start\n");
    assert_eq!(shell(cluster, "inside", "exit 7").status.code(), Some(7), "what a command ends with");
    let of = |node: u8| {
        kubectl(
            cluster,
            &format!("get node {} -o jsonpath={{.status.nodeInfo.kernelVersion}}", node_name(node)),
        )
    };
    assert_eq!(shell_says(cluster, "inside", "uname -r"), of(MACHINE));
    assert_ne!(of(MACHINE), of(NODE));
    // The second version of control groups, all of whose controllers a pod's limits need are there.
    let mut limited = pod("limited", MACHINE, "exec sleep 1000");
    limited["spec"]["containers"][0]["resources"] = json!({ "limits": { "memory": "32Mi", "cpu": "200m" } });
    ready(cluster, &limited);
    let limits = "cat /sys/fs/cgroup/memory.max; cut -d ' ' -f 1 /sys/fs/cgroup/cpu.max";
    assert_eq!(shell_says(cluster, "limited", limits), format!("{}\n20000", 32 << 20));
}

#[tokio::test]
async fn a_machine_and_a_node_on_the_host_reach_each_other_and_each_others_services() {
    let Some(cluster) = cluster().await else { return };
    let nodes = [(MACHINE, "virtual"), (NODE, "real")];
    let mut addresses = Vec::new();
    for (node, name) in nodes {
        addresses.push(ready(cluster, &pod(name, node, &serves(name))));
        apply(cluster, &service(name, name));
    }
    for ((_, client), (server, address)) in
        [(nodes[0], (nodes[1].1, &addresses[1])), (nodes[1], (nodes[0].1, &addresses[0]))]
    {
        let expected = format!("{server}\n");
        assert_eq!(shell_says(cluster, client, &format!("wget -qO- {address}:8080")), server);
        let service = kubectl(cluster, &format!("get service {server} -o jsonpath={{.spec.clusterIP}}"));
        let ask = format!("wget -qO- {service}");
        eventually("the Service answers", || shell(cluster, client, &ask).stdout == expected.as_bytes());
    }
    // The address that a server sees is the client's, across the kernels too.
    let asked = format!("[::ffff:{}]", addresses[1]);
    eventually("the log says who asked", || kubectl(cluster, "logs virtual").contains(&asked));
}

#[tokio::test]
async fn netem_on_the_machines_kernel_delays_a_pod_and_not_its_neighbour() {
    let Some(cluster) = cluster().await else { return };
    let victim = ready(cluster, &pod("victim", MACHINE, "exec sleep 1000"));
    let bystander = ready(cluster, &pod("bystander", MACHINE, "exec sleep 1000"));
    ready(cluster, &pod("witness", NODE, "exec sleep 1000"));
    let before = round_trip(cluster, "witness", &victim);
    // In the network namespace that has the victim's address.
    let tc = |order: &str| {
        let script = format!(
            "cd /run/netns; for n in *; do ip -n $n -4 addr | grep -qF ' {victim}/' && exec tc -n $n {order}; done; exit 1"
        );
        cluster.order(MACHINE, &script, b"").unwrap_or_else(|error| panic!("{error}"))
    };
    tc(&format!("qdisc add dev eth0 root netem delay {DELAY}ms"));
    let said = tc("qdisc show dev eth0");
    assert!(said.contains("netem") && said.contains("delay 400ms"), "{said}");
    let (during, beside) =
        (round_trip(cluster, "witness", &victim), round_trip(cluster, "witness", &bystander));
    tc("qdisc del dev eth0 root");
    let after = round_trip(cluster, "witness", &victim);
    println!(
        "there and back: {before} ms, with netem {during} ms (its neighbour {beside} ms), after it {after} ms"
    );
    assert!(during >= DELAY, "{during} ms");
    for other in [before, beside, after] {
        assert!(other < DELAY / 2.0, "{other} ms without netem");
    }
}

#[tokio::test]
async fn an_image_of_ones_own_is_imported_into_the_machine_too() {
    let Some(cluster) = cluster().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let (path, name) = (folder.path().join("machine.tar"), "squall.test/machine:3");
    let program = std::path::Path::new("/bin/busybox");
    assert_ne!(name, BUSYBOX);
    archive(&path, name, &["/own/echo", "it is ours"], &[(program, "/own/echo")]).unwrap();
    cluster.import(&path).unwrap();
    for (node, pod_name) in [(MACHINE, "there"), (NODE, "here")] {
        let mut own = pod(pod_name, node, "");
        own["spec"]["containers"] = json!([{ "name": "main", "image": name, "imagePullPolicy": "Never" }]);
        own["spec"]["restartPolicy"] = json!("Never");
        apply(cluster, &own);
        let wait = format!("wait --for=jsonpath={{.status.phase}}=Succeeded --timeout=300s pod/{pod_name}");
        kubectl(cluster, &wait);
        assert_eq!(kubectl(cluster, &format!("logs {pod_name}")), "it is ours\n");
    }
}

#[tokio::test]
async fn an_order_that_fails_says_so_and_the_next_is_taken() {
    let Some(cluster) = cluster().await else { return };
    let error = cluster.order(MACHINE, "cat; echo lost >&2; exit 3", b"input ").unwrap_err().to_string();
    assert!(error.contains("status 3: input lost"), "{error}");
    let long = vec![b'x'; 3_000_000];
    assert_eq!(cluster.order(MACHINE, "wc -c", &long).unwrap().trim(), "3000000");
    assert_eq!(cluster.order(MACHINE, "cat", &long).unwrap().len(), long.len());
}
