//! The processes of a container, without asking the container runtime.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::start_time_in;

/// Variable that names the container where cgroups cannot: `<pod uid>/<container id>`.
const VARIABLE: &[u8] = b"SQUALL_CONTAINER=";

/// Most of an environment that is read. The kernel gives a new process at most a quarter of its stack's limit,
/// 2 MiB by default.
const ENVIRONMENT_MAX: u64 = 4 * 1024 * 1024;

/// How to tell which processes belong to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finder {
    /// By the pod UID and container id in `/proc/PID/cgroup`, as kubelet and container runtimes name cgroups.
    Cgroup,
    /// By `SQUALL_CONTAINER=<pod uid>/<container id>` in `/proc/PID/environ`, which children inherit.
    Environment,
}

/// One process of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number, as this process's `/proc` has it.
    pub pid: u32,
    /// When it started, in clock ticks since boot: with the number its identity.
    pub start_time: u64,
    /// Id of its container, without the runtime's scheme. For a pod's sandbox, the sandbox's.
    pub container_id: String,
}

/// The processes of a pod, or of one of its containers, by number. `container_id` may have the scheme that the
/// Kubernetes API puts before it ("containerd://"). Processes that end meanwhile, and those that we may not look
/// at, are left out.
pub fn find(finder: Finder, pod_uid: &str, container_id: Option<&str>) -> io::Result<Vec<Process>> {
    find_in(Path::new("/proc"), finder, pod_uid, container_id)
}

/// Whether a process that was found for a pod still is of the same container of it. Its number may have passed to
/// another process of that container: compare the start time after what is done with it.
pub fn is_still_of(finder: Finder, process: &Process, pod_uid: &str) -> bool {
    let name = process.pid.to_string();
    let container = container_of(Path::new("/proc"), finder, OsStr::new(&name), pod_uid);
    container.as_ref() == Some(&process.container_id)
}

pub(super) fn find_in(
    proc: &Path,
    finder: Finder,
    pod_uid: &str,
    container_id: Option<&str>,
) -> io::Result<Vec<Process>> {
    let wanted = container_id.map(without_scheme);
    let mut found = Vec::new();
    for entry in fs::read_dir(proc)? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        let container = container_of(proc, finder, &name, pod_uid);
        let Some(container_id) = container.filter(|id| wanted.is_none_or(|wanted| wanted == id)) else {
            continue;
        };
        if let Ok(start_time) = start_time_in(proc, pid) {
            found.push(Process { pid, start_time, container_id });
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The container that a process is in, if it is one of the pod's.
fn container_of(proc: &Path, finder: Finder, process: &OsStr, pod_uid: &str) -> Option<String> {
    match finder {
        Finder::Cgroup => by_cgroup(proc, process, pod_uid),
        Finder::Environment => by_environment(proc, process, pod_uid),
    }
}

fn without_scheme(id: &str) -> &str {
    id.split_once("://").map_or(id, |(_, id)| id)
}

fn by_cgroup(proc: &Path, process: &OsStr, pod_uid: &str) -> Option<String> {
    let text = fs::read_to_string(proc.join(process).join("cgroup")).ok()?;
    text.lines().find_map(|line| {
        // hierarchy:controllers:path (cgroups(7)); the path may have colons
        let path = line.splitn(3, ':').nth(2)?;
        container_in_cgroup(path, pod_uid)
    })
}

/// The container id in a cgroup path, if the path is in the pod's cgroup. Forms:
///
/// * cgroupfs driver: `…/pod<uid>/<id>`
/// * systemd driver: `…/kubepods-burstable-pod<uid with _>.slice/cri-containerd-<id>.scope` (also crio-, docker-)
/// * containerd with the drivers mixed up: `…/kubepods-burstable-pod<uid with _>.slice:cri-containerd:<id>`
///
/// Below the container there may be cgroups that it made itself.
pub(super) fn container_in_cgroup(path: &str, pod_uid: &str) -> Option<String> {
    let plain = format!("pod{pod_uid}");
    let slice = format!("pod{}.slice", pod_uid.replace('-', "_"));
    let mut components = path.split(['/', ':']);
    components.find(|component| {
        *component == plain || *component == slice || component.ends_with(&format!("-{slice}"))
    })?;
    let container = match components.next()? {
        "cri-containerd" => components.next()?, // what was before the second colon
        component => component.strip_suffix(".scope").unwrap_or(component),
    };
    // cri-o has cgroups for its monitors beside those of the containers.
    if container.starts_with("crio-conmon-") || container.is_empty() {
        return None;
    }
    let prefixes = ["cri-containerd-", "crio-", "docker-"];
    let id = prefixes.iter().find_map(|prefix| container.strip_prefix(prefix)).unwrap_or(container);
    Some(id.to_owned())
}

fn by_environment(proc: &Path, process: &OsStr, pod_uid: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let file = File::open(proc.join(process).join("environ")).ok()?;
    file.take(ENVIRONMENT_MAX).read_to_end(&mut bytes).ok()?;
    container_in_environment(&bytes, pod_uid)
}

/// The container id in an environment (strings ended by NUL), if it names the pod.
pub(super) fn container_in_environment(environment: &[u8], pod_uid: &str) -> Option<String> {
    let value = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(VARIABLE))?;
    let (pod, container) = std::str::from_utf8(value).ok()?.split_once('/')?;
    let container = without_scheme(container);
    (pod == pod_uid && !container.is_empty()).then(|| container.to_owned())
}
