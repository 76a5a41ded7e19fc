//! One container of a pod: started, probed, restarted with back-off, replaced when its image changes, stopped.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use nix::sys::signal::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::{Notify, watch};

use super::access::ContainerLogs;
use super::image::Images;
use super::logs::Log;
use super::sandbox::new_container_id;
use super::{probe, sandbox, status};
use crate::playground::container::{Files, Setup};
use crate::playground::process::{Namespaces, Process};
use crate::playground::{CONTAINER_ENV, exec};

/// The first restart is at once; these are a kubelet's times from then on.
const FIRST_BACK_OFF: Duration = Duration::from_secs(10);
const LONGEST_BACK_OFF: Duration = Duration::from_mins(5);
/// A container that ran so long starts the back-off anew.
const STABLE: Duration = Duration::from_mins(10);
/// How long the reason `ErrImagePull` stands before it becomes `ImagePullBackOff`.
const PULL_TIME: Duration = Duration::from_millis(500);
/// The search path of container images.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the pod's worker and a container's task share.
pub(super) struct Cell {
    /// What should run.
    pub(super) spec: watch::Sender<Container>,
    /// How it is.
    pub(super) status: watch::Sender<ContainerStatus>,
    /// Told of every change of the status.
    pub(super) dirty: Arc<Notify>,
    /// Its output.
    pub(super) logs: Arc<ContainerLogs>,
}

impl Cell {
    /// A container that has not been started.
    pub(super) fn new(spec: Container, dirty: Arc<Notify>, logs: Arc<ContainerLogs>) -> Self {
        let status = ContainerStatus {
            name: spec.name.clone(),
            image: spec.image.clone().unwrap_or_default(),
            state: Some(status::waiting("ContainerCreating", "")),
            started: Some(false),
            ..ContainerStatus::default()
        };
        Self { spec: watch::channel(spec).0, status: watch::channel(status).0, dirty, logs }
    }

    /// Changes the status.
    fn set(&self, change: impl FnOnce(&mut ContainerStatus)) {
        self.status.send_modify(change);
        self.dirty.notify_one();
    }

    fn wait_for(&self, reason: &str, message: &str) {
        self.set(|status| {
            status.ready = false;
            status.started = Some(false);
            // What was seen last is what `kubectl` and experiments look for.
            if let Some(ContainerState { terminated: Some(end), .. }) = status.state.take() {
                status.last_state = Some(status::terminated(end));
            }
            status.state = Some(status::waiting(reason, message));
        });
    }
}

/// How a run ended.
enum End {
    /// The pod stops.
    Stopped,
    /// Another image is wanted.
    Changed,
    /// The program ended by itself or was killed; whether it succeeded.
    Exited(bool),
    /// It could not be started: reason and message.
    Failed(&'static str, String),
}

/// The task of one container in one sandbox.
pub(super) struct Runner {
    pub(super) cell: Arc<Cell>,
    pub(super) pod: Arc<Pod>,
    pub(super) images: Images,
    pub(super) namespaces: Option<Namespaces>,
    pub(super) address: Ipv4Addr,
    pub(super) node_address: Ipv4Addr,
    /// `Some` orders the stop and gives the time for it.
    pub(super) stop: watch::Receiver<Option<Duration>>,
}

impl Runner {
    /// Keeps the container running until the pod stops.
    pub(super) async fn run(mut self) {
        let mut spec = self.cell.spec.subscribe();
        let mut delay = Duration::ZERO;
        loop {
            let container = spec.borrow_and_update().clone();
            let begun = tokio::time::Instant::now();
            let end = self.run_once(&container, &mut spec).await;
            if begun.elapsed() > STABLE {
                delay = Duration::ZERO;
            }
            match end {
                End::Stopped => return,
                End::Changed => {
                    // The back-off belongs to the old container, not to its name (a kubelet keys it by the hash).
                    delay = Duration::ZERO;
                    continue;
                }
                End::Exited(success) if !self.restarts(success) => delay = Duration::MAX,
                End::Exited(_) if delay.is_zero() => {}
                End::Exited(_) => {
                    let text = format!("back-off {}s restarting failed container", delay.as_secs());
                    self.cell.wait_for("CrashLoopBackOff", &text);
                }
                End::Failed(reason, message) => {
                    self.cell.wait_for(reason, &message);
                    delay = delay.max(FIRST_BACK_OFF);
                    if reason == "ErrImagePull" {
                        if !self.rest(PULL_TIME, &mut spec).await {
                            return;
                        }
                        self.cell.wait_for("ImagePullBackOff", &message);
                    }
                }
            }
            if !self.rest(delay, &mut spec).await {
                return;
            }
            delay = if spec.has_changed().unwrap_or(false) {
                Duration::ZERO
            } else {
                delay.saturating_mul(2).clamp(FIRST_BACK_OFF, LONGEST_BACK_OFF)
            };
        }
    }

    fn restarts(&self, success: bool) -> bool {
        match self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) {
            Some("Never") => false,
            Some("OnFailure") => !success,
            _ => true,
        }
    }

    /// Waits for the time to pass or another image; false if the pod stops.
    async fn rest(&mut self, time: Duration, spec: &mut watch::Receiver<Container>) -> bool {
        let unseen = async {
            let seen = spec.borrow().clone();
            // An error means that the cell is gone, and with it the pod.
            drop(spec.clone().wait_for(|spec| *spec != seen).await);
        };
        tokio::select! {
            biased;
            _ = self.stop.wait_for(Option::is_some) => false,
            () = unseen => true,
            () = tokio::time::sleep(time) => true,
        }
    }

    async fn run_once(&mut self, container: &Container, spec: &mut watch::Receiver<Container>) -> End {
        if self.stop.borrow().is_some() {
            return End::Stopped;
        }
        let Some(program) = self.images.command(container) else {
            let image = container.image.as_deref().unwrap_or_default();
            let text = format!(
                "the playground has no image \"{image}\": it has movies, traffic, mongo, squall, hold and pause"
            );
            return End::Failed("ErrImagePull", text);
        };
        let prepared = self.environment(container).and_then(|env| Ok((env, self.files(container)?)));
        let (environment, files) = match prepared {
            Ok(prepared) => prepared,
            Err(message) => return End::Failed("CreateContainerConfigError", message),
        };
        let id = new_container_id();
        let setup =
            Setup { command: program, working_dir: container.working_dir.clone().map(Into::into), files };
        let log = self.cell.logs.begin();
        let process = match self.start(&id, &setup, environment, Arc::clone(&log)).await {
            Ok(process) => process,
            Err(error) => return End::Failed("RunContainerError", error.to_string()),
        };
        let began = Timestamp::now();
        self.started(&id, container, began);
        let (end, status) = self.live(&process, container, spec).await;
        self.finished(&id, began, status);
        end
    }

    /// Follows a running container to its end.
    async fn live(
        &mut self,
        process: &Process,
        container: &Container,
        spec: &mut watch::Receiver<Container>,
    ) -> (End, ExitStatus) {
        let cell = Arc::clone(&self.cell);
        let probes = probe::Probes::of(container, self.address);
        let mut readiness = probe::Readiness::of(&probes);
        let changed = async {
            let running = container.clone();
            drop(spec.clone().wait_for(|spec| *spec != running).await);
        };
        let (mut changed, mut unhealthy) = (pin!(changed), pin!(probes.unhealthy()));
        let mut stop = self.stop.clone();
        let end = loop {
            tokio::select! {
                biased;
                status = process.ended() => return (End::Exited(status.success()), status),
                _ = stop.wait_for(Option::is_some) => break End::Stopped,
                () = &mut changed => break End::Changed,
                () = &mut unhealthy => break End::Exited(false),
                ready = readiness.change() => cell.set(|status| status.ready = ready),
            }
        };
        (end, self.terminate(process).await)
    }

    /// SIGTERM, time to comply, SIGKILL.
    async fn terminate(&mut self, process: &Process) -> ExitStatus {
        let own = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let grace = *self.stop.borrow();
        let grace = grace.unwrap_or_else(|| Duration::from_secs(own.unwrap_or(30).unsigned_abs()));
        process.signal(Signal::SIGTERM);
        tokio::select! {
            status = process.ended() => return status,
            () = tokio::time::sleep(grace) => {}
            // The order may be tightened meanwhile (`--grace-period 0`).
            _ = self.stop.wait_for(|order| order.is_some_and(|shorter| shorter < grace)) => {}
        }
        process.signal(Signal::SIGKILL);
        process.ended().await
    }

    async fn start(
        &self,
        id: &str,
        setup: &Setup,
        environment: BTreeMap<String, String>,
        log: Arc<Log>,
    ) -> io::Result<Process> {
        let (reader, writer) = io::pipe()?;
        let reader = pipe::Receiver::from_owned_fd(reader.into())?;
        let mut command: Command = exec::builtin("container");
        command
            .env_clear()
            .envs(environment)
            .env(CONTAINER_ENV, format!("{}/{id}", self.pod.uid().unwrap_or_default()))
            .stdin(Stdio::piped())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let input = serde_json::to_vec(setup)?;
        let process = Process::start(command, self.namespaces.clone(), input).await?;
        tokio::spawn(collect(reader, log));
        Ok(process)
    }

    fn started(&self, id: &str, container: &Container, began: Timestamp) {
        let probed = container.readiness_probe.is_some();
        self.cell.set(|status| {
            if let Some(ContainerState { terminated: Some(end), .. }) = status.state.take() {
                status.last_state = Some(status::terminated(end));
            }
            status.restart_count += i32::from(status.container_id.is_some());
            status.container_id = Some(format!("squall://{id}"));
            status.image = container.image.clone().unwrap_or_default();
            status.image_id.clone_from(&status.image);
            status.state = Some(status::running(began));
            status.started = Some(true);
            status.ready = !probed;
        });
    }

    fn finished(&self, id: &str, began: Timestamp, exit: ExitStatus) {
        let code = exit.code().unwrap_or_else(|| 128 + exit.signal().unwrap_or_default());
        let end = ContainerStateTerminated {
            container_id: Some(format!("squall://{id}")),
            exit_code: code,
            signal: exit.signal(),
            reason: Some(if exit.success() { "Completed" } else { "Error" }.to_owned()),
            message: None,
            started_at: Some(Time(began)),
            finished_at: Some(Time(Timestamp::now())),
        };
        self.cell.set(|status| {
            status.ready = false;
            status.started = Some(false);
            status.state = Some(status::terminated(end));
        });
    }

    /// The container's variables; the error names one that the playground cannot fill.
    fn environment(&self, container: &Container) -> Result<BTreeMap<String, String>, String> {
        let hostname = self.pod.name_any();
        let mut environment = BTreeMap::from([
            ("PATH".to_owned(), PATH.to_owned()),
            ("HOME".to_owned(), "/".to_owned()),
            ("HOSTNAME".to_owned(), hostname),
        ]);
        for variable in container.env.iter().flatten() {
            let value = match (&variable.value, &variable.value_from) {
                (_, Some(source)) => {
                    let path = source.field_ref.as_ref().map(|field| field.field_path.as_str());
                    path.and_then(|path| self.field(path)).ok_or_else(|| {
                        format!(
                            "variable {}: the playground fills only fieldRef of names and addresses",
                            variable.name
                        )
                    })?
                }
                (value, None) => value.clone().unwrap_or_default(),
            };
            environment.insert(variable.name.clone(), value);
        }
        Ok(environment)
    }

    /// The value of a downward API field.
    fn field(&self, path: &str) -> Option<String> {
        Some(match path {
            "metadata.name" => self.pod.name_any(),
            "metadata.namespace" => self.pod.namespace()?,
            "metadata.uid" => self.pod.uid()?,
            "spec.nodeName" => self.pod.spec.as_ref()?.node_name.clone()?,
            "status.podIP" => self.address.to_string(),
            "status.hostIP" => self.node_address.to_string(),
            _ => return None,
        })
    }

    /// What the container sees as files: nothing of its own if it shares the node's namespaces.
    fn files(&self, container: &Container) -> Result<Option<Files>, String> {
        if self.namespaces.is_none() {
            return Ok(None);
        }
        let folders = sandbox::volumes(&self.pod)?;
        let mut volumes = BTreeMap::new();
        for mount in container.volume_mounts.iter().flatten() {
            let folder = folders.get(&mount.name).ok_or_else(|| format!("no volume '{}'", mount.name))?;
            let folder = mount.sub_path.as_ref().map_or_else(|| folder.clone(), |sub| folder.join(sub));
            std::fs::create_dir_all(&folder)
                .map_err(|error| format!("cannot make the folder of volume '{}': {error}", mount.name))?;
            volumes.insert(PathBuf::from(&mount.mount_path), folder);
        }
        let resolver = Path::new(&sandbox::pod_folder(&self.pod)).join("resolv.conf");
        Ok(Some(Files { resolver, volumes }))
    }
}

/// Reads what a container prints until all its processes have closed the pipe.
async fn collect(mut reader: pipe::Receiver, log: Arc<Log>) {
    let mut buffer = vec![0; 8192];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        log.push(buffer.get(..count).unwrap_or_default());
    }
    log.close();
}
