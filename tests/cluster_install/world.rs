//! The clusters that these tests work on: nodes, images, Squall and the tutorial's system.

use std::ops::{Deref, DerefMut};
use std::process::{Command, Output};
use std::time::Instant;

use serde_json::Value;
use test_cluster::{Cluster, ClusterError, Shape, machine_image, node_name, programs};
use tokio::sync::{Mutex, MutexGuard};

use super::experiment::SOON;
use super::kubectl::{self, PATIENCE, told};
use super::{images, system};

/// Of the experiments.
const KINDS: [&str; 2] = ["networkchaos", "podchaos"];

/// Nodes on the host's kernel.
pub(crate) const NODES: u8 = 3;

/// The node with Debian's kernel, where there is one.
pub(crate) const MACHINE: u8 = NODES + 1;

/// A cluster, and what is in it.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) shape: Shape,
    /// Whether its API server was ended.
    is_down: bool,
}

/// A world while one test has it.
pub(crate) struct Turn(MutexGuard<'static, Option<World>>);

impl Deref for Turn {
    type Target = World;

    fn deref(&self) -> &World {
        self.0.as_ref().unwrap()
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut World {
        self.0.as_mut().unwrap()
    }
}

/// The common cluster, with nothing under way in it.
pub(crate) async fn world() -> Turn {
    taken(Shape { nodes: NODES, machines: 0 }).await
}

/// The one with a virtual machine; nothing where there can be none, which is said.
pub(crate) async fn with_machine() -> Option<Turn> {
    let shape = Shape { nodes: NODES, machines: 1 };
    match machine_image(&programs(shape).unwrap()) {
        Err(ClusterError::Missing(script)) => {
            eprintln!(
                "SKIPPED: faults on Debian's kernel: a virtual machine cannot be had here, {script} says why"
            );
            None
        }
        Err(error) => panic!("{error}"),
        Ok(_) => Some(taken(shape).await),
    }
}

async fn taken(shape: Shape) -> Turn {
    /// One at a time, as they share a machine and measure times.
    static WORLD: Mutex<Option<World>> = Mutex::const_new(None);
    let mut world = WORLD.lock().await;
    if let Some(world) = world.as_mut().filter(|world| world.shape == shape) {
        world.calm().await;
    } else {
        drop(world.take());
        *world = Some(start(shape).await);
    }
    Turn(world)
}

async fn start(shape: Shape) -> World {
    let archives = images::archives();
    let start = Instant::now();
    let cluster = Cluster::start_as(shape, &archives).await.unwrap_or_else(|error| panic!("{error:?}"));
    println!("{shape:?}, ready from nothing, four images imported: {:.1} s", start.elapsed().as_secs_f64());
    let world = World { cluster, shape, is_down: false };
    world.install();
    system::deploy(&world);
    world
}

impl World {
    /// Installs Squall as its users do: the program ends when all of it is ready.
    pub(crate) fn install(&self) {
        let start = Instant::now();
        let said = self.squall(&["install"]);
        assert!(said.status.success(), "{said:?}");
        println!(
            "squall install, until all is ready on {} nodes: {:.1} s",
            self.shape.all(),
            start.elapsed().as_secs_f64()
        );
    }

    /// Uninstalls it, whatever is under way.
    pub(crate) fn uninstall(&self) {
        let start = Instant::now();
        let said = self.squall(&["uninstall", "--yes"]);
        assert!(said.status.success(), "{said:?}");
        println!("squall uninstall: {:.1} s", start.elapsed().as_secs_f64());
    }

    pub(crate) fn until_squall_is_ready(&self) {
        for what in ["daemonset/squall-daemon", "deployment/squall-controller"] {
            self.kubectl(&format!(
                "-n squall-system rollout status {what} --timeout={}s",
                PATIENCE.as_secs()
            ));
        }
    }

    /// Ends what an earlier test left under way, if it failed.
    async fn calm(&mut self) {
        for node in 1..=self.shape.all() {
            self.cluster.heal(node).unwrap();
        }
        self.start_api_server().await;
        // It may be gone, or be another than was installed.
        let strategy =
            "get daemonset squall-daemon --ignore-not-found -o jsonpath={.spec.updateStrategy.type}";
        if self.kubectl(&format!("-n squall-system {strategy}")) != "RollingUpdate" {
            self.install();
        }
        self.until_squall_is_ready();
        for kind in KINDS {
            self.kubectl(&format!("delete {kind} --all --all-namespaces --timeout=60s"));
        }
        system::until_steady(self);
    }

    /// Ends the API server as a crash would.
    pub(crate) fn stop_api_server(&mut self) {
        self.cluster.stop_api_server().unwrap();
        self.is_down = true;
    }

    /// Starts it again, if it was ended.
    pub(crate) async fn start_api_server(&mut self) {
        if std::mem::take(&mut self.is_down) {
            self.cluster.start_api_server().await.unwrap();
        }
    }

    /// What kubectl says to a successful order.
    pub(crate) fn kubectl(&self, order: &str) -> String {
        kubectl::kubectl(&self.cluster, order)
    }

    /// The object or the list that kubectl gives for an order.
    pub(crate) fn json(&self, order: &str) -> Value {
        serde_json::from_str(&self.kubectl(&format!("{order} -o json"))).unwrap()
    }

    /// What the program says to its user, who is an administrator.
    #[expect(clippy::disallowed_methods, reason = "the program is run as its user does")]
    pub(crate) fn squall(&self, arguments: &[&str]) -> Output {
        let mut squall = Command::new(env!("CARGO_BIN_EXE_squall"));
        squall.args(arguments).env("KUBECONFIG", self.cluster.kubeconfig()).output().unwrap()
    }

    /// The output of a line of shell as root on a node.
    pub(crate) fn on_node(&self, node: u8, script: &str) -> String {
        if node > self.shape.nodes {
            return self.cluster.order(node, script, b"").unwrap_or_else(|error| panic!("{error}"));
        }
        let mut shell = self.cluster.in_node(node).unwrap();
        told(shell.args(["env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-c", script]), script)
    }

    /// The names of the pods with a label, in a namespace.
    pub(crate) fn pods(&self, namespace: &str, label: &str) -> Vec<String> {
        let order = format!("-n {namespace} get pods -l {label} -o jsonpath={{.items[*].metadata.name}}");
        self.kubectl(&order).split_whitespace().map(ToOwned::to_owned).collect()
    }

    /// The daemon's pod on a node.
    pub(crate) fn daemon(&self, node: u8) -> String {
        let order = format!(
            "-n squall-system get pods -l app.kubernetes.io/component=daemon --field-selector=spec.nodeName={} \
             -o jsonpath={{.items[*].metadata.name}}",
            node_name(node)
        );
        self.kubectl(&order)
    }
    /// Has the daemon of a node make room for another one, as its `DaemonSet` says now, and waits for that.
    pub(crate) fn replace_daemon(&self, node: u8) {
        let old = self.daemon(node);
        self.kubectl(&format!("-n squall-system delete pod {old}"));
        kubectl::within(SOON, "another daemon is there", || {
            let new = self.daemon(node);
            !new.is_empty() && new != old
        });
        let (new, limit) = (self.daemon(node), SOON.as_secs());
        self.kubectl(&format!("-n squall-system wait --for=condition=Ready --timeout={limit}s pod/{new}"));
    }
}
