//! Squall's own parts and what they do: a line for each node and one for each controller, what runs, and what stops it.
//!
//! Everything comes from objects of the API and from what kubelets measure of containers: no part of Squall is asked, and none
//! has to listen for it.

mod lines;
mod node;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Trouble;
use crate::api::{Halt, Injection};

/// The container of a daemon's pod; a controller's is [`CONTROLLER`]. Both are what the verb is called.
pub const DAEMON: &str = "daemon";

/// The container of a controller's pod.
pub const CONTROLLER: &str = "controller";

/// What was read of the cluster.
#[derive(Debug, Default)]
pub struct Seen {
    /// The nodes; `None` where they may not be listed: then those of the pods are all that is known.
    pub nodes: Option<Vec<Node>>,
    /// The pods of our namespace.
    pub pods: Vec<Pod>,
    /// Who leads.
    pub lease: Option<Lease>,
    /// All Injections.
    pub injections: Vec<Injection>,
    /// All Halts.
    pub halts: Vec<Halt>,
    /// How many experiments are in each phase, by the words of [`super::word`].
    pub experiments: BTreeMap<String, u32>,
    /// What the containers of a pod use, by the pod's name; or why that is not known.
    pub usage: BTreeMap<String, Usage>,
    /// What could not be read, and what cures it.
    pub unknown: Vec<Trouble>,
}

/// What the containers of one pod use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor time per time: 1 is a whole core. It takes two samples.
    pub cpu_cores: Option<f64>,
    /// The working set, as the kubelet reckons it.
    pub memory_bytes: Option<u64>,
    /// Why one of them is not known, in a word or two.
    pub unknown: Option<String>,
}

/// All of it at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Top {
    /// One for each node, and for each node that only an Injection or a daemon knows of.
    pub nodes: Vec<OnNode>,
    /// One for each controller, whether it leads or not.
    pub controllers: Vec<Controller>,
    /// How many experiments are in each phase.
    pub experiments: BTreeMap<String, u32>,
    /// What is halted.
    pub halts: Vec<Halted>,
    /// What could not be read.
    pub unknown: Vec<Trouble>,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnNode {
    /// Its name.
    pub node: String,
    /// Its daemon, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daemon: Option<Part>,
    /// Targets on which a fault was read back and stands.
    pub targets_injected: u32,
    /// Targets on which a fault is asked for now.
    pub targets_asked: u32,
    /// Seconds since the oldest fault that stands was first in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_seconds: Option<i64>,
    /// What is wrong, one sentence each.
    pub problems: Vec<String>,
}

/// One controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Controller {
    /// Its pod.
    #[serde(flatten)]
    pub part: Part,
    /// Whether it is the one that acts.
    pub leads: bool,
    /// Its node, once it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// The pod of one of Squall's parts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// The pod's name.
    pub pod: String,
    /// `Ready`, or why it is not.
    pub state: String,
    /// The tag of its image, which is its release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How often its container was started anew.
    pub restarts: i32,
    /// When the pod was made, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Processor time per time: 1 is a whole core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_cores: Option<f64>,
    /// The working set, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Why one of the two is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_unknown: Option<String>,
}

/// A Halt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Halted {
    /// Its name.
    pub name: String,
    /// The namespaces that it covers; all without one.
    pub namespaces: Vec<String>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// By what the lines are ordered. Amounts: the largest first; what is not known comes last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By name.
    #[default]
    Name,
    /// By processor time.
    Cpu,
    /// By memory.
    Memory,
    /// By targets with a fault.
    Targets,
    /// By the age of the oldest fault.
    Oldest,
    /// By restarts.
    Restarts,
    /// The youngest pod first.
    Age,
    /// By the number of problems.
    Problems,
}

impl Top {
    /// What is seen at this time.
    pub fn new(seen: &Seen, order: Order, now: Timestamp) -> Self {
        let leader = seen.lease.as_ref().and_then(leader_of);
        let mut controllers: Vec<_> = parts(seen, CONTROLLER)
            .map(|pod| Controller {
                part: Part::new(pod, CONTROLLER, seen),
                leads: leader.is_some_and(|leader| leader == pod.name_any()),
                node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            })
            .collect();
        let mut nodes = node::all(seen, now);
        nodes.sort_by(|a, b| order.of_nodes(a, b));
        controllers.sort_by(|a, b| {
            let ordered = order.of_parts(Some(&a.part), Some(&b.part));
            ordered.then_with(|| a.part.pod.cmp(&b.part.pod))
        });
        let halted = |halt: &Halt| Halted {
            name: halt.name_any(),
            namespaces: halt.spec.namespaces.clone(),
            reason: halt.spec.reason.clone(),
        };
        Self {
            nodes,
            controllers,
            experiments: seen.experiments.clone(),
            halts: seen.halts.iter().map(halted).collect(),
            unknown: seen.unknown.clone(),
        }
    }
}

/// The pod that holds the leader Lease. The holder is named by its pod and the number of its process.
pub fn leader_of(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())?;
    Some(holder.rsplit_once('_').map_or(holder, |(pod, _)| pod))
}

/// The pods with this container.
fn parts<'a>(seen: &'a Seen, container: &'static str) -> impl Iterator<Item = &'a Pod> {
    seen.pods.iter().filter(move |pod| {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        containers.into_iter().any(|one| one.name == container)
    })
}

impl Part {
    fn new(pod: &Pod, container: &str, seen: &Seen) -> Self {
        let usage = seen.usage.get(&pod.name_any()).cloned().unwrap_or_default();
        let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        let mut containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let image = containers.find(|one| one.name == container).and_then(|one| one.image.as_deref());
        Self {
            pod: pod.name_any(),
            state: state(pod),
            version: image.and_then(tag).map(str::to_owned),
            restarts: statuses.filter(|one| one.name == container).map(|one| one.restart_count).sum(),
            created: pod.creation_timestamp().map(|created| created.0.to_string()),
            cpu_cores: usage.cpu_cores,
            memory_bytes: usage.memory_bytes,
            usage_unknown: usage.unknown,
        }
    }
}

/// `Ready`, or why it is not: that it is being deleted, what its container waits for or ended by, else its phase.
fn state(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let Some(status) = &pod.status else { return "Pending".to_owned() };
    let mut conditions = status.conditions.iter().flatten();
    if conditions.any(|one| one.type_ == "Ready" && one.status == "True") {
        return "Ready".to_owned();
    }
    let mut states = status.container_statuses.iter().flatten().filter_map(|one| one.state.as_ref());
    let reason = states.find_map(|state| {
        let waiting = state.waiting.as_ref().and_then(|waiting| waiting.reason.clone());
        waiting.or_else(|| state.terminated.as_ref().and_then(|ended| ended.reason.clone()))
    });
    reason
        .or_else(|| status.phase.clone().filter(|phase| phase != "Running"))
        .unwrap_or_else(|| "NotReady".to_owned())
}

/// The tag of an image. A digest tells nobody anything, and the port of a registry is no tag.
fn tag(image: &str) -> Option<&str> {
    let image = image.split_once('@').map_or(image, |(image, _digest)| image);
    image.rsplit('/').next()?.split_once(':').map(|(_, tag)| tag)
}

impl Order {
    fn of_nodes(self, a: &OnNode, b: &OnNode) -> Ordering {
        let ordered = match self {
            Self::Targets => b.targets_injected.cmp(&a.targets_injected),
            Self::Oldest => b.oldest_seconds.cmp(&a.oldest_seconds),
            Self::Problems => b.problems.len().cmp(&a.problems.len()),
            Self::Name => Ordering::Equal,
            Self::Cpu | Self::Memory | Self::Restarts | Self::Age => {
                self.of_parts(a.daemon.as_ref(), b.daemon.as_ref())
            }
        };
        ordered.then_with(|| a.node.cmp(&b.node))
    }

    fn of_parts(self, a: Option<&Part>, b: Option<&Part>) -> Ordering {
        let cpu = |part: Option<&Part>| part.and_then(|part| part.cpu_cores).unwrap_or(-1.0);
        let memory = |part: Option<&Part>| part.and_then(|part| part.memory_bytes);
        let restarts = |part: Option<&Part>| part.map(|part| part.restarts);
        // RFC 3339 in UTC: the order of the texts is that of the times.
        let created = |part: Option<&Part>| part.and_then(|part| part.created.clone());
        match self {
            Self::Cpu => cpu(b).total_cmp(&cpu(a)),
            Self::Memory => memory(b).cmp(&memory(a)),
            Self::Restarts => restarts(b).cmp(&restarts(a)),
            Self::Age => created(b).cmp(&created(a)),
            Self::Name | Self::Targets | Self::Oldest | Self::Problems => Ordering::Equal,
        }
    }
}

#[cfg(test)]
mod tests;
