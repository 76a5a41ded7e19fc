//! What a large cluster costs, on a real control plane with fake nodes. Prints figures and asserts little:
//! `cargo bench --bench cluster_scale`, or only one part of it, `-- console` or `-- faults [NODES TARGETS]`.
//!
//! *Faults*: 10,000 targets on 500 nodes, each with the real daemon on a kernel that only writes down what is done to it; the
//! controller is a process of its own, this program once more. Last the API server is away for a minute.
//!
//! *Console*: the real program on a pseudo terminal, with 20,000 pods on 1,000 nodes, of which 500 change each second.
//!
//! All of it shares the machine with the API server and etcd, which take most of it.

#![expect(clippy::expect_used, clippy::panic, reason = "a measurement that went wrong is none")]
#![expect(clippy::print_stdout, reason = "it is made to print")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the fleet is the tests'")]

mod console;
mod etcd;
#[expect(dead_code, reason = "shared with a test that asserts more")]
#[path = "../../tests/fleet/mod.rs"]
mod fleet;
#[path = "../../tests/kubernetes/install.rs"]
mod install;
#[expect(dead_code, reason = "shared with tests that do more on a terminal")]
#[path = "../../tests/pty/mod.rs"]
mod pty;
#[path = "../console/terminal.rs"]
mod terminal;

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use squall::controller::{self, Options};
use squall::experiment::Limits;
use test_cluster::Cluster;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

use fleet::rig::Rig;

/// Nodes that have a daemon.
const NODES: usize = 500;

/// Pods on them, all of them targets.
const TARGETS: usize = 10_000;

/// How long any step is waited for.
const PATIENCE: Duration = Duration::from_mins(3);

/// How long the API server is away.
const OUTAGE: Duration = Duration::from_mins(1);

/// The run that ends meanwhile.
const RUN: Duration = Duration::from_secs(40);

/// How long nothing happens.
const REST: Duration = Duration::from_secs(10);

/// The lease of experiments, unless they say otherwise.
const LEASE: Duration = Duration::from_secs(30);

/// The argument that makes this program the controller; the kubeconfig follows.
const CONTROLLER: &str = "--controller";

/// Where that process finds the token of the controller's account.
const TOKEN: &str = "SQUALL_BENCH_TOKEN";

fn main() {
    // Each of 1,500 watches says so when the API server is away, each time that it tries.
    let quiet = "error,kube_client::client::builder=off";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new(quiet));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = Runtime::new().expect("a runtime");
    // Cargo adds a word of its own.
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [order, kubeconfig, ..] = arguments.as_slice()
        && order == CONTROLLER
    {
        runtime.block_on(control(Path::new(kubeconfig)));
        return;
    }
    let only = arguments.first().map_or("", String::as_str);
    if only != "console" {
        let number =
            |place: usize, usual| arguments.get(place).map_or(usual, |text| text.parse().expect("a number"));
        runtime.block_on(faults(number(1, NODES), number(2, TARGETS)));
    }
    if only != "faults" {
        console::run(&runtime);
    }
}

async fn faults(nodes: usize, targets: usize) {
    println!("{targets} targets on {nodes} nodes");
    let mut cluster = Cluster::start().await.expect("a cluster");
    install::squalls(&cluster.client("default").await.expect("a client")).await;
    let rig = Rig::new(&cluster, nodes, targets, PATIENCE).await;
    let controller = Controller::start(&cluster.kubeconfig(), rig.controller().await);
    // Its watches and those of the daemons are to be open before anything is asked of them.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let folder = cluster.kubeconfig();
    let folder = folder.parent().expect("the cluster's folder");
    controller.weigh("nothing to do", folder);
    tokio::time::sleep(REST).await;
    controller.weigh("after ten seconds of rest", folder);
    let life = rig.life().await;
    assert_eq!(life.injected, targets);
    assert!(life.object < 64 * 1024, "{} bytes", life.object);
    controller.weigh("after an experiment", folder);
    drop(rig.halt().await);
    controller.weigh("after a Halt", folder);
    let outage = rig.outage(&mut cluster, OUTAGE, RUN, LEASE).await;
    assert_eq!(outage.left, 0, "faults outlived their deadline or their lease");
    controller.weigh("after the outage", folder);
}

/// Runs the controller until the process is killed.
async fn control(kubeconfig: &Path) {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let token = std::env::var(TOKEN).expect("a token");
    let mut config = config.expect("a configuration");
    config.auth_info = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
    let client = Client::try_from(config).expect("a client");
    let limits = Limits { targets: usize::MAX, ..Limits::default() };
    let options = Options { limits, ..Options::new("bench") };
    controller::run(client, options, std::future::pending()).await.expect("the controller");
}

/// The process of the controller.
struct Controller(Child);

impl Controller {
    #[expect(clippy::disallowed_methods, reason = "the controller is measured as a process of its own")]
    fn start(kubeconfig: &Path, token: String) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.arg(CONTROLLER).arg(kubeconfig).env(TOKEN, token);
        Self(command.spawn().expect("the controller starts"))
    }

    /// What it weighs, and the processor time that it, the daemons (this process) and the servers of the cluster, whose
    /// command lines have its folder, have used so far.
    fn weigh(&self, when: &str, cluster: &Path) {
        let process = self.0.id().to_string();
        let seconds = |process: &str| terminal::processor_time(process).as_secs_f64();
        let servers = servers(cluster);
        let all = [("controller", process.as_str()), ("daemons", "self")].into_iter();
        let all = all.chain(servers.iter().map(|(name, id)| (name.as_str(), id.as_str())));
        let used: Vec<_> = all.map(|(name, id)| format!("{name} {:.1} s", seconds(id))).collect();
        let weight = terminal::weight(&process);
        println!("{when}: controller {weight}; processor time so far: {}", used.join(", "));
    }
}

/// The servers of a cluster, with their process ids.
fn servers(cluster: &Path) -> Vec<(String, String)> {
    let needle = cluster.to_str().expect("a path of text").as_bytes();
    let of = |entry: std::io::Result<std::fs::DirEntry>| {
        let id = entry.ok()?.file_name().into_string().ok().filter(|id| id.parse::<u32>().is_ok())?;
        let line = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
        let name = std::fs::read_to_string(format!("/proc/{id}/comm")).ok()?.trim().to_owned();
        let is_server = ["kube-", "etcd"].iter().any(|start| name.starts_with(start));
        (is_server && line.windows(needle.len()).any(|part| part == needle)).then_some((name, id))
    };
    std::fs::read_dir("/proc").expect("/proc").filter_map(of).collect()
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.0.kill().expect("kill the controller");
        self.0.wait().expect("wait for the controller");
    }
}
