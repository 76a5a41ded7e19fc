//! That nothing of a cluster with nodes outlives whoever started it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use test_cluster::Shape;

use super::{STARTING, eventually, pod, ready, serves, start, vm};

/// Set in a process that is to hold a cluster until it is killed: the file that tells when it is up.
const HOLDS: &str = "SQUALL_TEST_HOLDS";

/// Set beside it: how many nodes the cluster has, and how many machines.
const SHAPE: &str = "SQUALL_TEST_SHAPE";

/// Not a test of its own: what the next ones start, to kill it.
#[tokio::test]
async fn holds_a_cluster_until_it_is_killed() {
    let Some(file) = std::env::var_os(HOLDS) else { return };
    let shape = std::env::var(SHAPE).unwrap();
    let (nodes, machines) = shape.split_once(' ').unwrap();
    let shape = Shape { nodes: nodes.parse().unwrap(), machines: machines.parse().unwrap() };
    let mut cluster = start(shape).await;
    for node in 1..=shape.nodes {
        ready(&cluster, &pod(&format!("left{node}"), node, &serves("left")));
    }
    let folder = cluster.kubeconfig().parent().unwrap().to_owned();
    let name = cluster.block().unwrap().name();
    let text = format!("{}\n{name}\n{}\n", folder.display(), cluster.id());
    std::fs::write(file, text).unwrap();
    cluster.wait().unwrap();
}

const NODES: Shape = Shape { nodes: 2, machines: 0 };

/// A cluster that another process holds.
struct Held {
    holder: Child,
    folder: PathBuf,
    /// What its link and its control groups are called.
    name: String,
    /// The process that the rest hangs on.
    first: Pid,
}

#[expect(clippy::disallowed_methods, reason = "the test starts itself, to be killed")]
fn held(shape: Shape) -> Held {
    let _one = STARTING.blocking_lock();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("up");
    let holder = Command::new(std::env::current_exe().unwrap())
        .args(["life::holds_a_cluster_until_it_is_killed", "--exact", "--nocapture"])
        .env(HOLDS, &file)
        .env(SHAPE, format!("{} {}", shape.nodes, shape.machines))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let read = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("the cluster starts", || read().lines().count() == 3);
    let text = read();
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap().to_owned();
    Held { holder, folder: next().into(), name: next(), first: Pid::from_raw(next().parse().unwrap()) }
}

/// The processes of a cluster: those in the control groups of its nodes, and those that are told its folder.
fn processes(of: &Held) -> Vec<String> {
    let folder = of.folder.to_str().unwrap();
    let of_it = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.ok()?.path();
        let read = |file: &str| {
            std::fs::read(path.join(file)).ok().map(|text| String::from_utf8_lossy(&text).into_owned())
        };
        let (line, groups) = (read("cmdline")?.replace('\0', " "), read("cgroup")?);
        (line.contains(folder) || groups.contains(&format!("/{}/", of.name))).then_some(line)
    };
    std::fs::read_dir("/proc").unwrap().filter_map(of_it).collect()
}

/// What is on the host that a cluster could leave there, without the other clusters' that run at the same time.
fn host() -> BTreeSet<String> {
    let own = |text: &str| !text.contains("squall-1") && !text.contains("squall-cluster.");
    let lines = |text: String| text.lines().map(ToOwned::to_owned).collect::<Vec<_>>();
    let mut all = BTreeSet::new();
    all.extend(lines(std::fs::read_to_string("/proc/self/mounts").unwrap()));
    for witness in [
        "ip -o -br link",
        "ip route show table all",
        "ip rule",
        "ip netns",
        "nft list ruleset",
        "find /sys/fs/cgroup -type d",
    ] {
        all.extend(lines(output(witness)));
    }
    // Where programs of nodes would leave files if they were not kept from it.
    all.extend(lines(output(
        "find /run /opt /etc /usr/libexec /var/lib /var/log /var/run/ -maxdepth 3 -not -path */apt/*",
    )));
    all.extend(lines(output(
        "grep -r . /proc/sys/vm/overcommit_memory /proc/sys/vm/panic_on_oom /proc/sys/kernel/panic",
    )));
    all.extend(lines(output("grep -r . /proc/sys/kernel/panic_on_oops /proc/sys/kernel/keys")));
    all.into_iter().filter(|line| own(line)).collect()
}

#[expect(clippy::disallowed_methods, reason = "independent witnesses of what the kernel holds")]
fn output(command: &str) -> String {
    let mut words = command.split(' ');
    let output =
        Command::new(words.next().unwrap()).args(words).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output();
    String::from_utf8_lossy(&output.unwrap_or_else(|error| panic!("{command}: {error}")).stdout).into_owned()
}

/// Waits until nothing of it is left, and compares the host with what it was.
fn is_gone(cluster: &Held, before: &BTreeSet<String>) {
    let started = std::time::Instant::now();
    eventually("no process is left", || processes(cluster).is_empty());
    eventually("the folder is gone", || !cluster.folder.exists());
    let link = Path::new("/sys/class/net").join(&cluster.name);
    eventually("the link is gone", || !link.exists());
    let groups = format!("find /sys/fs/cgroup -name {}", cluster.name);
    eventually("the control groups are gone", || output(&groups).is_empty());
    println!("gone after {:.1} s", started.elapsed().as_secs_f64());
    let after = host();
    let differences: Vec<_> = after.symmetric_difference(before).collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn whoever_is_killed_takes_nodes_and_pods_along() {
    let before = host();
    let mut cluster = held(NODES);
    let count = processes(&cluster).len();
    // Each node: two of the script, containerd, kubelet, kube-proxy, a pod's shim, its pause and its server.
    assert!(count >= 2 * 8 + 4, "{:#?}", processes(&cluster));
    // SIGKILL: nothing of it can clean up.
    cluster.holder.kill().unwrap();
    cluster.holder.wait().unwrap();
    is_gone(&cluster, &before);
}

#[test]
fn a_cluster_whose_first_process_is_killed_is_gone_too() {
    let before = host();
    let mut cluster = held(NODES);
    kill(cluster.first, Signal::SIGKILL).unwrap();
    assert!(cluster.holder.wait().unwrap().success(), "its holder learns of it");
    is_gone(&cluster, &before);
}

#[test]
fn a_machine_is_gone_with_whoever_is_killed() {
    if !vm::can_be_had() {
        return;
    }
    let before = host();
    let mut cluster = held(Shape { nodes: 0, machines: 1 });
    let machine = |line: &String| line.starts_with("qemu-system-x86_64 ");
    assert!(processes(&cluster).iter().any(machine), "{:#?}", processes(&cluster));
    cluster.holder.kill().unwrap();
    cluster.holder.wait().unwrap();
    is_gone(&cluster, &before);
}
