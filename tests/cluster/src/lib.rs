//! A real Kubernetes for the tests: a control plane, and nodes if wanted, ready in seconds and gone with whoever started it.
//!
//! A package beside Squall's own, since tests and people start the same thing: tests through this library, people through
//! its program (`cargo xtask cluster up`). It knows nothing of Squall. The programs come from `build`, which makes them from
//! the modules in `go.mod`. Several clusters run side by side: the API server's port is any that is free, etcd has
//! a socket in the cluster's own folder, and nodes have addresses that nothing else uses.
//!
//! A control plane alone listens on loopback and needs no rights. Nodes need root, namespaces and control groups.

mod certificates;
mod control_plane;
mod fake;
mod image;
mod network;
mod nodes;
mod programs;
mod supervisor;
mod vm;

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use http::Request;
use k8s_openapi::api::core::v1::Node;
use kube::api::PostParams;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, setsockopt, socket, sockopt::ReusePort,
};

use certificates::Authority;
use control_plane::{API_SERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER};
pub use fake::FakeNodes;
pub use image::{BUSYBOX, archive};
use network::Network;
pub use network::{Block, node_name};
use nodes::Membership;
pub use nodes::PAUSE as PAUSE_IMAGE;
use programs::machine_store;
pub use programs::{MACHINE_IMAGE, PROGRAMS, machine_image, programs};
use supervisor::Supervisor;
pub use supervisor::clear;

/// How long a server may take until it answers. A busy machine needs 10 s, and minutes for a virtual one.
const PATIENCE: Duration = Duration::from_mins(5);

/// Between two looks whether a server answers already.
const PAUSE: Duration = Duration::from_millis(50);

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "what it shows says it")]
pub enum ClusterError {
    #[error("the programs of Kubernetes cannot be had: {0}")]
    Programs(String),
    /// Something that has to be fetched or installed first.
    #[error("what is needed for it cannot be had here: {0} says why")]
    Missing(String),
    #[error("cannot {what}")]
    Io { what: String, source: std::io::Error },
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot reserve a port")]
    Port(#[source] nix::Error),
    #[error("cannot make a client")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot {what}")]
    Api { what: String, source: Box<kube::Error> },
    #[error("the cluster's first process is gone")]
    Supervisor,
    #[error("nodes need {0}")]
    Nodes(&'static str),
    #[error(
        "nothing is left of 10.130.0.0 to 10.229.255.255 and 172.20.0.0 to 172.31.255.255 for the nodes' addresses"
    )]
    Addresses,
    #[error("cannot {what}: {said}")]
    Command { what: String, said: String },
    #[error("{server} {what}; it said:\n{log}")]
    Server { server: String, what: &'static str, log: String },
}

impl ClusterError {
    fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Io { what: format!("write {}", path.display()), source }
    }
}

/// What a cluster has besides its control plane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// Nodes on the host's kernel; they need root.
    pub nodes: u8,
    /// Nodes in virtual machines with Debian's kernel, numbered after the others; they need root, too.
    pub machines: u8,
}

impl Shape {
    /// All nodes, of both kinds.
    pub fn all(self) -> u8 {
        self.nodes.saturating_add(self.machines)
    }

    /// The numbers of those in virtual machines.
    fn machines(self) -> std::ops::RangeInclusive<u8> {
        self.nodes.saturating_add(1)..=self.all()
    }
}

/// A cluster. Dropping it ends every process of it and removes its folder; so does the end of this process.
#[derive(Debug)]
pub struct Cluster {
    supervisor: Supervisor,
    folder: PathBuf,
    /// Keeps the API server's port from others while no API server has it.
    _port: OwnedFd,
    kubeconfig: Kubeconfig,
    programs: PathBuf,
    shape: Shape,
    /// Where there are nodes.
    network: Option<Network>,
}

impl Cluster {
    /// Starts a control plane in a folder of its own, and waits until it can be used: until the API server is ready, and a
    /// pod could be made.
    pub async fn start() -> Result<Self, ClusterError> {
        Self::start_as(Shape::default(), &[]).await
    }

    /// As [`start`](Self::start), with nodes that are ready for pods and have the images of these archives, of different
    /// names, in the layout of the Open Container Initiative or docker's. Pods that name them want `imagePullPolicy: Never`.
    pub async fn start_as(shape: Shape, images: &[PathBuf]) -> Result<Self, ClusterError> {
        let folder = tempfile::Builder::new().prefix("squall-cluster.").tempdir_in("/tmp");
        let folder = folder.map_err(|source| ClusterError::write(Path::new("/tmp"), source))?;
        Self::start_in(folder.keep(), shape, images).await
    }

    /// The same, in an empty folder that only this user may read; it is removed in the end.
    pub async fn start_in(folder: PathBuf, shape: Shape, images: &[PathBuf]) -> Result<Self, ClusterError> {
        if shape.all() > network::MOST {
            return Err(ClusterError::Nodes("to be 100 at most"));
        }
        if shape.all() > 0 && !nix::unistd::geteuid().is_root() {
            return Err(ClusterError::Nodes("root: for namespaces, mounts and control groups"));
        }
        let programs = programs(shape)?;
        let supervisor = Supervisor::start(&folder, shape.all() > 0)?;
        // From here on the folder is removed whatever happens.
        let network = if shape.all() > 0 { Some(Network::start(&supervisor)?) } else { None };
        let host = network.as_ref().map_or(Ipv4Addr::LOCALHOST, |network| network.block.host());
        let (socket, address) = reserve_port(host).map_err(ClusterError::Port)?;
        let authority = control_plane::write(&folder, &programs, address)?;
        let path = folder.join("kubeconfig");
        let kubeconfig = Kubeconfig::read_from(path).map_err(|error| ClusterError::Client(error.into()))?;
        let mut cluster = Self { supervisor, folder, _port: socket, kubeconfig, programs, shape, network };
        for server in [ETCD, API_SERVER] {
            cluster.supervisor.run(server)?;
        }
        if shape.all() > 0 {
            cluster.prepare_nodes(&authority, address, images)?;
        }
        cluster.until(API_SERVER, "/readyz").await?;
        for server in [CONTROLLER_MANAGER, SCHEDULER] {
            cluster.supervisor.run(server)?;
        }
        cluster.start_nodes().await?;
        // A pod wants a service account, which the controller manager makes; kubectl wants the document.
        cluster.until(CONTROLLER_MANAGER, "/api/v1/namespaces/default/serviceaccounts/default").await?;
        cluster.until(API_SERVER, "/openapi/v2").await?;
        for node in 1..=shape.all() {
            cluster.until_ready(node).await?;
        }
        Ok(cluster)
    }

    /// Their images, files and links; nothing runs yet.
    fn prepare_nodes(
        &self,
        authority: &Authority,
        address: SocketAddrV4,
        archives: &[PathBuf],
    ) -> Result<(), ClusterError> {
        let network = self.network.as_ref().ok_or(ClusterError::Supervisor)?;
        let images = self.folder.join("images");
        fs::create_dir(&images).map_err(|source| ClusterError::write(&images, source))?;
        let mut all = Vec::from(image::common(&images)?);
        for archive in archives {
            all.push(self.keep(archive)?);
        }
        let groups = self.folder.join("cgroup");
        fs::write(&groups, network.block.name()).map_err(|source| ClusterError::write(&groups, source))?;
        let url = control_plane::url(address);
        let membership = Membership { authority, url: &url, block: network.block };
        for node in 1..=self.shape.nodes {
            network.add(&self.supervisor, node)?;
            nodes::write(&self.folder, &self.programs, &membership, node)?;
        }
        if self.shape.machines > 0 {
            let image = machine_image(&self.programs)?;
            let store = machine_store(&all)?;
            for node in self.shape.machines() {
                network.plug(&self.supervisor, node)?;
                vm::write(&self.folder, &image, &store, &membership, node)?;
            }
        }
        Ok(())
    }

    async fn start_nodes(&mut self) -> Result<(), ClusterError> {
        let Some(block) = self.block() else { return Ok(()) };
        let objects: Api<Node> = Api::all(self.client("default").await?);
        for node in 1..=self.shape.all() {
            let object = serde_json::from_value(nodes::object(block, node));
            let object = object.map_err(|error| ClusterError::Client(error.into()))?;
            let made = objects.create(&PostParams::default(), &object).await;
            made.map_err(|error| ClusterError::Client(error.into()))?;
            self.supervisor.run(&node_name(node))?;
        }
        Ok(())
    }

    /// The addresses of the nodes and of the host among them; none without nodes.
    pub fn block(&self) -> Option<Block> {
        self.network.as_ref().map(|network| network.block)
    }

    /// A command in the namespaces of a node, counted from 1, as its root: append the program. Not for a virtual machine.
    pub fn in_node(&self, node: u8) -> Result<Command, ClusterError> {
        let path = self.folder.join("nodes").join(node_name(node)).join("pid");
        let pid = fs::read_to_string(&path);
        let pid =
            pid.map_err(|source| ClusterError::Io { what: format!("read {}", path.display()), source })?;
        let mut enter = self.supervisor.enter();
        enter.arg("nsenter");
        for (option, file) in nodes::NAMESPACES {
            enter.arg(format!("--{option}=/proc/{}/ns/{file}", pid.trim()));
        }
        enter.arg("--");
        Ok(enter)
    }

    /// Runs a shell command as root in the virtual machine that is a node, with this input, and gives what it printed.
    pub fn order(&self, node: u8, command: &str, input: &[u8]) -> Result<String, ClusterError> {
        vm::order(&self.folder, node, command, input)
    }

    /// A copy of an archive where nodes look for images when they start.
    fn keep(&self, archive: &Path) -> Result<PathBuf, ClusterError> {
        let copy = self.folder.join("images").join(archive.file_name().unwrap_or(archive.as_os_str()));
        fs::copy(archive, &copy).map_err(|source| ClusterError::write(&copy, source))?;
        Ok(copy)
    }

    /// Gives all nodes the images of one more archive, see [`start_as`](Self::start_as). A virtual machine takes minutes
    /// for tens of megabytes: give it those that are known before at the start.
    pub fn import(&self, archive: &Path) -> Result<(), ClusterError> {
        let copy = self.keep(archive)?;
        let name = copy.file_name().unwrap_or(copy.as_os_str());
        for node in 1..=self.shape.nodes {
            let mut import = self.in_node(node)?;
            import.args(["ctr", "-n", "k8s.io", "images", "import"]).arg(Path::new("/run/images").join(name));
            supervisor::run(import)?;
        }
        for node in self.shape.machines() {
            vm::import(&self.folder, node, &copy)?;
        }
        Ok(())
    }

    /// kubectl, as an administrator: append its arguments.
    pub fn kubectl(&self) -> Command {
        let mut kubectl = supervisor::command(self.programs.join("kubectl"));
        kubectl.env("KUBECONFIG", self.kubeconfig());
        kubectl
    }

    /// Pulls the cable of a node, counted from 1: nothing from it or to it arrives. It goes on running.
    pub fn cut(&self, node: u8) -> Result<(), ClusterError> {
        network::set_port(&self.supervisor, node, false)
    }

    /// Plugs it in again.
    pub fn heal(&self, node: u8) -> Result<(), ClusterError> {
        network::set_port(&self.supervisor, node, true)
    }

    /// The file that kubectl takes: an administrator's, complete in itself.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// How an administrator's client reaches it.
    pub async fn config(&self, namespace: &str) -> Result<Config, ClusterError> {
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(self.kubeconfig.clone(), &options).await;
        let mut config = config.map_err(|error| ClusterError::Client(error.into()))?;
        namespace.clone_into(&mut config.default_namespace);
        Ok(config)
    }

    /// A new client of this kind. Must be called inside a tokio runtime, and lives as long as that.
    pub async fn client(&self, namespace: &str) -> Result<Client, ClusterError> {
        Client::try_from(self.config(namespace).await?).map_err(|error| ClusterError::Client(error.into()))
    }

    /// Ends the API server as a crash would.
    pub fn stop_api_server(&mut self) -> Result<(), ClusterError> {
        self.supervisor.kill(API_SERVER)
    }

    /// Starts it again, on the same port with the same data, and waits until it is ready.
    pub async fn start_api_server(&mut self) -> Result<(), ClusterError> {
        self.supervisor.run(API_SERVER)?;
        self.until(API_SERVER, "/readyz").await
    }

    /// The process that, killed, takes the cluster along.
    pub fn id(&self) -> u32 {
        self.supervisor.id()
    }

    /// Waits until somebody ended the cluster.
    pub fn wait(&mut self) -> Result<(), ClusterError> {
        self.supervisor.wait()
    }

    /// Waits until a path of the API server answers; `server` is who makes it so.
    async fn until(&mut self, server: &str, path: &str) -> Result<(), ClusterError> {
        let log = self.folder.join("log").join(server);
        let answers = async |client: &Client| {
            let Ok(request) = Request::get(path).body(Body::empty()) else { return false };
            client.send(request).await.is_ok_and(|answer| answer.status().is_success())
        };
        self.wait_for(server, &log, answers).await
    }

    /// Waits until pods can be placed on a node.
    async fn until_ready(&mut self, node: u8) -> Result<(), ClusterError> {
        let name = node_name(node);
        let log = nodes::place(&self.folder, node).join("var/log/kubelet.log");
        let ready = async |client: &Client| {
            let node = Api::<Node>::all(client.clone()).get(&name).await;
            node.is_ok_and(|node| nodes::takes_pods(&node))
        };
        self.wait_for(&name, &log, ready).await
    }

    async fn wait_for(
        &mut self,
        server: &str,
        log: &Path,
        holds: impl AsyncFn(&Client) -> bool,
    ) -> Result<(), ClusterError> {
        let client = self.client("default").await?;
        let start = Instant::now();
        loop {
            if tokio::time::timeout(PATIENCE, holds(&client)).await.is_ok_and(|holds| holds) {
                return Ok(());
            }
            let what = if !self.supervisor.runs(server)? {
                "ended"
            } else if start.elapsed() > PATIENCE {
                "does not get ready"
            } else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let own = self.folder.join("log").join(server);
            let mut logs = vec![last_lines(&own)];
            if own != log {
                logs.push(last_lines(log));
            }
            let log = logs.join("\n");
            return Err(ClusterError::Server { server: server.to_owned(), what, log });
        }
    }
}

fn last_lines(log: &Path) -> String {
    let log = fs::read_to_string(log).unwrap_or_default();
    let mut last: Vec<_> = log.lines().rev().take(20).collect();
    last.reverse();
    last.join("\n")
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.supervisor.end();
        // Its own work, unless it was killed.
        drop(clear(&self.folder));
    }
}

/// A port of an address of ours, and the socket that keeps it from everybody but a process of the same user that also shares it.
fn reserve_port(address: Ipv4Addr) -> nix::Result<(OwnedFd, SocketAddrV4)> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, ReusePort, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(address, 0)))?;
    let port = getsockname::<SockaddrIn>(socket.as_raw_fd())?.port();
    Ok((socket, SocketAddrV4::new(address, port)))
}
