//! The processes of a container, without asking the container runtime.

use std::collections::HashMap;
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

/// Most of a list of cgroups that is read: a line of a path (`PATH_MAX`) for each of a dozen controllers, and more.
const CGROUP_MAX: u64 = 128 * 1024;

/// Most of a command line that is read: the program's name is all that is wanted.
const COMMAND_MAX: u64 = 4 * 1024;

/// Bytes that there is room for at first.
const USUAL: usize = 8 * 1024;

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

/// A process of a pod as it was seen, which may have ended since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub(super) pid: u32,
    pub(super) container_id: String,
}

/// The first process of every pod of this node, by the pod's UID, of one look at all processes.
pub fn look_around(finder: Finder) -> io::Result<HashMap<String, Sighting>> {
    look_around_in(Path::new("/proc"), finder)
}

pub(super) fn look_around_in(proc: &Path, finder: Finder) -> io::Result<HashMap<String, Sighting>> {
    let mut all = HashMap::<_, Sighting>::new();
    for entry in fs::read_dir(proc)? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        for (pod, container_id) in containers_of(proc, finder, &name) {
            let first = all.get(&pod).is_none_or(|known| pid < known.pid);
            if first {
                all.insert(pod, Sighting { pid, container_id });
            }
        }
    }
    Ok(all)
}

impl Sighting {
    /// The number that the process had. It may have passed to another one: take hold of it ([`super::PidFd`]) before
    /// anything else.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Id of the container that it was in.
    pub fn container_id(&self) -> &str {
        &self.container_id
    }

    /// Whether the process of this number is of the same container of the pod.
    pub fn is_still_of(&self, finder: Finder, pod_uid: &str) -> bool {
        self.is_still_of_in(Path::new("/proc"), finder, pod_uid)
    }

    pub(super) fn is_still_of_in(&self, proc: &Path, finder: Finder, pod_uid: &str) -> bool {
        let name = self.pid.to_string();
        let mut containers = containers_of(proc, finder, OsStr::new(&name)).into_iter();
        containers.any(|(pod, container)| pod == pod_uid && container == self.container_id)
    }
}

/// What runs the processes of a container in the node's stead, if something does: the node's kernel sees that one's process
/// and not the container's, nor its packets.
pub fn own_kernel(pid: u32, container_id: &str) -> Option<&'static str> {
    own_kernel_in(Path::new("/proc"), pid, container_id)
}

pub(super) fn own_kernel_in(proc: &Path, pid: u32, container_id: &str) -> Option<&'static str> {
    // Kata Containers has a machine and its helpers in a cgroup that it calls so.
    if container_id.starts_with("kata_") {
        return Some("Kata Containers");
    }
    // gVisor's two processes are this program, whatever the file of it is called.
    let line = read(&proc.join(pid.to_string()).join("cmdline"), COMMAND_MAX)?;
    let program = line.split(|byte| *byte == 0).next()?.rsplit(|byte| *byte == b'/').next()?;
    (program == b"runsc" || program.starts_with(b"runsc-")).then_some("gVisor")
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
        let mut containers = containers_of(proc, finder, &name).into_iter();
        let container = containers.find(|(pod, _)| pod == pod_uid).map(|(_, container)| container);
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

/// UID of the pod and id of the container that a process is in. More than one where a pod runs a node of its own.
fn containers_of(proc: &Path, finder: Finder, process: &OsStr) -> Vec<(String, String)> {
    let folder = proc.join(process);
    match finder {
        Finder::Cgroup => by_cgroup(&folder).unwrap_or_default(),
        Finder::Environment => by_environment(&folder).into_iter().collect(),
    }
}

fn without_scheme(id: &str) -> &str {
    id.split_once("://").map_or(id, |(_, id)| id)
}

fn by_cgroup(process: &Path) -> Option<Vec<(String, String)>> {
    let text = String::from_utf8(read(&process.join("cgroup"), CGROUP_MAX)?).ok()?;
    // hierarchy:controllers:path (cgroups(7)); the path may have colons
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    Some(paths.flat_map(containers_in_cgroup).collect())
}

/// The pods' UIDs and container ids in a cgroup path. Forms:
///
/// * cgroupfs driver: `…/pod<uid>/<id>` (cri-o: `…/pod<uid>/crio-<id>`)
/// * systemd driver: `…/kubepods-burstable-pod<uid with _>.slice/cri-containerd-<id>.scope` (also crio-, docker-)
/// * containerd with the drivers mixed up: `…/kubepods-burstable-pod<uid with _>.slice:cri-containerd:<id>`
///
/// Below the container there may be cgroups that it made itself. Above the pod there is whatever the node is in; with a cgroup
/// namespace of our own the path begins at our own cgroup, `/../../pod<uid>/<id>`. A static pod's UID is a hash.
pub(super) fn containers_in_cgroup(path: &str) -> Vec<(String, String)> {
    let mut components = path.split(['/', ':']);
    let mut found = Vec::new();
    while let Some(component) = components.next() {
        let Some(pod) = pod_of(component) else { continue };
        found.extend(container_of(components.clone()).map(|container| (pod, container)));
    }
    found
}

/// The UID of the pod whose cgroup has this name.
fn pod_of(component: &str) -> Option<String> {
    match component.strip_suffix(".slice") {
        Some(slice) => {
            let uid = slice.strip_prefix("pod").or_else(|| Some(slice.rsplit_once("-pod")?.1))?;
            Some(uid.replace('_', "-"))
        }
        None => component.strip_prefix("pod").map(str::to_owned),
    }
}

/// The id of the container whose cgroup is the first of these below its pod's.
fn container_of<'a>(mut components: impl Iterator<Item = &'a str>) -> Option<String> {
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

fn by_environment(process: &Path) -> Option<(String, String)> {
    container_in_environment(&read(&process.join("environ"), ENVIRONMENT_MAX)?)
}

/// What a file of /proc says, at most so much of it. Such a file has no length of its own: with room for all of it from
/// the beginning, it is read in one call and not in many that begin with 32 bytes.
fn read(path: &Path, most: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(USUAL);
    File::open(path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The pod's UID and the container's id in an environment (strings ended by NUL).
pub(super) fn container_in_environment(environment: &[u8]) -> Option<(String, String)> {
    let value = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(VARIABLE))?;
    let (pod, container) = std::str::from_utf8(value).ok()?.split_once('/')?;
    let container = without_scheme(container);
    (!container.is_empty()).then(|| (pod.to_owned(), container.to_owned()))
}
