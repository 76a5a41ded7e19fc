//! A real Kubernetes for the tests: a control plane on loopback, ready in seconds and gone with whoever started it.
//!
//! A package beside Squall's own, since tests and people start the same thing: tests through this library, people through
//! its program (`cargo xtask cluster up`). It knows nothing of Squall. The programs come from `build`, which makes them from
//! the modules in `go.mod`. Several clusters run side by side: the API server's port is any that is free, and etcd has
//! a socket in the cluster's own folder.

mod certificates;
mod control_plane;
mod fake;
mod supervisor;

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use http::Request;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, setsockopt, socket, sockopt::ReusePort,
};

use control_plane::{API_SERVER, CONTROLLER_MANAGER, ETCD, SCHEDULER};
pub use fake::FakeNodes;
use supervisor::{Supervisor, command};

/// Names the folder of the programs, where they are not to be built.
pub const PROGRAMS: &str = "SQUALL_KUBERNETES";

/// How long a server may take until it answers. A busy machine needs 10 s.
const PATIENCE: Duration = Duration::from_mins(2);

/// Between two looks whether a server answers already.
const PAUSE: Duration = Duration::from_millis(50);

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "what it shows says it")]
pub enum ClusterError {
    #[error("the programs of Kubernetes cannot be had: {0}")]
    Programs(String),
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
    #[error("{server} {what}; it said:\n{log}")]
    Server { server: &'static str, what: &'static str, log: String },
}

impl ClusterError {
    fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Io { what: format!("write {}", path.display()), source }
    }
}

/// Where the programs of the control plane are; builds them if it must, which takes minutes once.
pub fn programs() -> Result<PathBuf, ClusterError> {
    if let Some(folder) = std::env::var_os(PROGRAMS) {
        return Ok(folder.into());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("build");
    let output = command(&script).arg("control").stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output =
        output.map_err(|source| ClusterError::Io { what: format!("run {}", script.display()), source })?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !folder.is_empty() {
        Ok(folder.into())
    } else {
        Err(ClusterError::Programs("the build failed, see above".to_owned()))
    }
}

/// A control plane. Dropping it ends every process of it and removes its folder; so does the end of this process.
#[derive(Debug)]
pub struct Cluster {
    supervisor: Supervisor,
    folder: PathBuf,
    /// Keeps the API server's port from others while no API server has it.
    _port: OwnedFd,
    kubeconfig: Kubeconfig,
}

impl Cluster {
    /// Starts a control plane in a folder of its own, and waits until it can be used: until the API server is ready, and a
    /// pod could be made.
    pub async fn start() -> Result<Self, ClusterError> {
        let folder = tempfile::Builder::new().prefix("squall-cluster.").tempdir_in("/tmp");
        let folder = folder.map_err(|source| ClusterError::write(Path::new("/tmp"), source))?;
        Self::start_in(folder.keep()).await
    }

    /// As [`start`](Self::start), in an empty folder that only this user may read; it is removed in the end.
    pub async fn start_in(folder: PathBuf) -> Result<Self, ClusterError> {
        let (socket, port) = reserve_port().map_err(ClusterError::Port)?;
        let supervisor = Supervisor::start(&folder)?;
        // From here on the folder is removed whatever happens.
        control_plane::write(&folder, &programs()?, port)?;
        let path = folder.join("kubeconfig");
        let kubeconfig = Kubeconfig::read_from(path).map_err(|error| ClusterError::Client(error.into()))?;
        let mut cluster = Self { supervisor, folder, _port: socket, kubeconfig };
        for server in [ETCD, API_SERVER] {
            cluster.supervisor.run(server)?;
        }
        cluster.until(API_SERVER, "/readyz").await?;
        for server in [CONTROLLER_MANAGER, SCHEDULER] {
            cluster.supervisor.run(server)?;
        }
        // A pod wants a service account, which the controller manager makes; kubectl wants the document.
        cluster.until(CONTROLLER_MANAGER, "/api/v1/namespaces/default/serviceaccounts/default").await?;
        cluster.until(API_SERVER, "/openapi/v2").await?;
        Ok(cluster)
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
    async fn until(&mut self, server: &'static str, path: &str) -> Result<(), ClusterError> {
        let client = self.client("default").await?;
        let start = Instant::now();
        loop {
            let request =
                Request::get(path).body(Body::empty()).map_err(|error| ClusterError::Client(error.into()))?;
            let answer = tokio::time::timeout(PATIENCE, client.send(request)).await;
            if answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status().is_success())) {
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
            let log = fs::read_to_string(self.folder.join("log").join(server)).unwrap_or_default();
            let mut last: Vec<_> = log.lines().rev().take(20).collect();
            last.reverse();
            return Err(ClusterError::Server { server, what, log: last.join("\n") });
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.supervisor.end();
        // Its own work, unless it was killed.
        if self.folder.exists() {
            drop(fs::remove_dir_all(&self.folder));
        }
    }
}

/// A port of 127.0.0.1, and the socket that keeps it from everybody but a process of the same user that also shares it.
fn reserve_port() -> nix::Result<(OwnedFd, u16)> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, ReusePort, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)))?;
    let port = getsockname::<SockaddrIn>(socket.as_raw_fd())?.port();
    Ok((socket, port))
}
