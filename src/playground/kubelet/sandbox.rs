//! A pod's sandbox: the namespaces that its containers share, held by a process that does nothing else.
//!
//! Containers come and go; what is done to the pod's network stays with the sandbox, as on a real node.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Volume};
use kube::ResourceExt as _;
use nix::sys::signal::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use uuid::Uuid;

use super::Node;
use crate::playground::network::{self, NAME_SERVER};
use crate::playground::process::{Namespaces, Process};
use crate::playground::{CONTAINER_ENV, DATABASE_FOLDER, RUN_FOLDER, exec};

/// How long the holder may take to make its namespaces.
const START_TIME: Duration = Duration::from_secs(10);

/// Why a sandbox could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum PodSandboxError {
    #[error("the node has no free pod address")]
    NoAddress,
    #[error("cannot make the pod's folder {path}")]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot start the pod's sandbox")]
    Start(#[source] io::Error),
    #[error("cannot attach the pod to the network")]
    Network(#[source] network::NetworkError),
}

/// The sandbox of one pod.
pub(super) struct Sandbox {
    node: Arc<Node>,
    /// The pod's address.
    pub(super) address: Ipv4Addr,
    /// What containers join; `None` for pods with hostNetwork, which share everything with the node.
    pub(super) namespaces: Option<Namespaces>,
    holder: Option<Process>,
}

impl Sandbox {
    /// Makes the sandbox of `pod`.
    pub(super) async fn start(node: Arc<Node>, pod: &Pod) -> Result<Self, PodSandboxError> {
        if is_on_host(pod) {
            return Ok(Self { address: node.address, namespaces: None, holder: None, node });
        }
        let folder = pod_folder(pod);
        let failed = |source| PodSandboxError::Folder { path: folder.clone(), source };
        tokio::fs::create_dir_all(&folder).await.map_err(failed)?;
        tokio::fs::write(folder.join("resolv.conf"), resolver(&pod.namespace().unwrap_or_default()))
            .await
            .map_err(failed)?;
        let address = lock(&node).take().ok_or(PodSandboxError::NoAddress)?;
        let mut sandbox = Self { node, address, namespaces: None, holder: None };
        let holder = hold(pod).await.map_err(PodSandboxError::Start)?;
        let pid = holder.pid();
        // From here on the drop of the sandbox ends the holder.
        sandbox.holder = Some(holder);
        let namespaces = Namespaces::of(pid).map_err(PodSandboxError::Start)?;
        let netns = namespaces.network().map_err(PodSandboxError::Start)?;
        let network = sandbox.node.network.clone();
        network
            .attach(pid.as_raw().cast_unsigned(), netns, address)
            .await
            .map_err(PodSandboxError::Network)?;
        sandbox.namespaces = Some(namespaces);
        Ok(sandbox)
    }

    /// Waits until the holder has ended, which nobody but an outsider causes.
    pub(super) async fn lost(&self) {
        match &self.holder {
            Some(holder) => drop(holder.ended().await),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(holder) = &self.holder {
            holder.signal(Signal::SIGKILL);
        }
        if self.address != self.node.address {
            lock(&self.node).release(self.address);
        }
    }
}

fn lock(node: &Node) -> std::sync::MutexGuard<'_, network::Addresses> {
    node.addresses.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the holder and waits until its namespaces exist.
async fn hold(pod: &Pod) -> io::Result<Process> {
    let (reader, writer) = io::pipe()?;
    let mut command = exec::builtin("sandbox");
    command
        .arg(pod.name_any())
        .env_clear()
        .env(CONTAINER_ENV, format!("{}/sandbox", pod.uid().unwrap_or_default()))
        .stdin(Stdio::null())
        .stdout(writer);
    let holder = Process::start(command, None, Vec::new()).await?;
    let mut ready = pipe::Receiver::from_owned_fd(reader.into())?;
    match tokio::time::timeout(START_TIME, ready.read_u8()).await {
        Ok(Ok(_)) => Ok(holder),
        Ok(Err(error)) => {
            holder.signal(Signal::SIGKILL);
            Err(error)
        }
        Err(late) => {
            holder.signal(Signal::SIGKILL);
            Err(io::Error::new(io::ErrorKind::TimedOut, late))
        }
    }
}

/// Whether the pod shares the node's namespaces.
pub(super) fn is_on_host(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false)
}

fn resolver(namespace: &str) -> String {
    format!(
        "search {namespace}.svc.cluster.local svc.cluster.local cluster.local\nnameserver {NAME_SERVER}\n\
         options ndots:5\n"
    )
}

/// The folder with what the pod's containers are shown.
pub(super) fn pod_folder(pod: &Pod) -> PathBuf {
    // A pod without a UID was never stored; the name keeps even that apart.
    let uid = pod.uid().unwrap_or_else(|| pod.name_any());
    Path::new(RUN_FOLDER).join("pods").join(uid)
}

/// Where each of the pod's volumes lies; the error names a volume of a kind that the playground does not have.
pub(super) fn volumes(pod: &Pod) -> Result<BTreeMap<String, PathBuf>, String> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    volumes.iter().map(|volume| Ok((volume.name.clone(), volume_folder(pod, volume)?))).collect()
}

fn volume_folder(pod: &Pod, volume: &Volume) -> Result<PathBuf, String> {
    if volume.empty_dir.is_some() {
        return Ok(pod_folder(pod).join("volumes").join(&volume.name));
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        return Ok(Path::new(DATABASE_FOLDER).join(&claim.claim_name));
    }
    Err(format!(
        "volume '{}': the playground has only emptyDir and persistentVolumeClaim volumes",
        volume.name
    ))
}

/// An identifier like those of container runtimes: 64 hexadecimal digits.
pub(super) fn new_container_id() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}
