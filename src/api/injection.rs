//! Injection: what one node is to do for one experiment, and what it read back.
//!
//! The controller writes the spec, one object per experiment and node; the daemon of that node makes
//! the kernel look like it and writes the status. It carries no secrets: every daemon can read all.

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Corrupt, Delay, Duplicate, GoDuration, Loss, Rate};

/// On this node, these targets, this fault, for so long.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "squall.dev",
    version = "v1alpha1",
    kind = "Injection",
    namespaced,
    status = "InjectionStatus",
    selectable = ".spec.node",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct InjectionSpec {
    /// The experiment that this is a part of.
    pub experiment: ExperimentReference,
    /// The node whose daemon acts.
    pub node: String,
    /// What it acts on.
    pub targets: Vec<InjectionTarget>,
    /// The fault, resolved: no selectors, no names left to look up.
    pub fault: Fault,
    /// Undone and waiting while true; `remaining` stands still.
    #[serde(default)]
    pub paused: bool,
    /// Raised by each resume. A daemon that ended a run on its own does not start it again: it waits
    /// for a higher number.
    pub run: u32,
    /// Time under fault that this run does not have any more, as a Go duration: that of the runs before it, and
    /// of the experiment before this node joined it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
    /// How long this run lasts, on `CLOCK_BOOTTIME` from the daemon's first injection of it, as a Go
    /// duration; until it is deleted if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<String>,
    /// No fault after this moment, whatever else is said. By the node's wall clock.
    pub not_after: Time,
    /// How long the daemon keeps the fault without a sign of life from the controller, as a Go duration.
    pub lease: String,
}

/// Names one experiment object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExperimentReference {
    /// Its kind, `NetworkChaos`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: an experiment of the same name that comes later is another one.
    pub uid: String,
}

/// One target on the node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InjectionTarget {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID; a pod of the same name that comes later is another one.
    pub uid: String,
    /// The UID by which its node knows the pod, where that is not `uid`: the hash of a static pod's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_uid: Option<String>,
    /// Which selector picked it: `.`, which is left out, or `.Target`.
    #[serde(default = "of_selector", skip_serializing_if = "is_of_selector")]
    pub selector_key: String,
    /// The container, for faults that act on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The id of that container as its runtime gave it: a container that was started anew has another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
}

impl InjectionTarget {
    /// The UID that its node gives the pod's control groups.
    pub fn uid_on_node(&self) -> &str {
        self.node_uid.as_deref().unwrap_or(&self.uid)
    }
}

/// A resolved fault; exactly one member is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// A fault of the pod's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkFault>,
    /// The containers are killed, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_kill: Option<ContainerKill>,
    /// The pods are deleted, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_kill: Option<PodKill>,
    /// The pods' containers are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_failure: Option<PodFailure>,
}

impl Fault {
    /// Whether the controller injects it, by calls of the API; the daemon of the node does everything else.
    pub const fn is_of_controller(&self) -> bool {
        self.pod_kill.is_some() || self.pod_failure.is_some()
    }

    /// Whether it is done once and leaves nothing to undo.
    pub const fn is_one_shot(&self) -> bool {
        self.pod_kill.is_some() || self.container_kill.is_some()
    }
}

/// The init process of each target's container gets SIGKILL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerKill {}

/// The pods are deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodKill {
    /// Seconds that the pod has to end by itself.
    pub grace_period_seconds: i64,
    /// Whether it is evicted instead, so that each `PodDisruptionBudget` is respected.
    #[serde(default)]
    pub evict: bool,
}

/// Every container of the pods gets an image that does nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PodFailure {}

/// A network fault: what happens at each end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkFault {
    /// One entry per selector key; a target without an entry is left as it is.
    pub ends: Vec<NetworkEnd>,
    /// Networks that are never touched: the API server's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub exempt: Vec<IpNet>,
}

/// What happens in the pods of one selector key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkEnd {
    /// `.` or `.Target`.
    pub selector_key: String,
    /// The interface in the pod.
    pub device: String,
    /// What happens to packets that leave the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<NetworkRule>,
    /// What happens to packets that reach the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<NetworkRule>,
}

/// What happens to the packets of one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkRule {
    /// What is done with them.
    pub action: NetworkEffect,
    /// How they are shaped, if that is what is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shaping: Option<Shaping>,
    /// To or from whom; everybody if unset, nobody if empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<Peer>>,
}

/// What is done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NetworkEffect {
    /// It is dropped.
    Drop,
    /// It waits or suffers otherwise, as `shaping` says.
    Shape,
}

/// How packets are shaped: the blocks of the experiment that apply, as they are written there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shaping {
    /// Packets wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// Packets are lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// Packets arrive twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<Duplicate>,
    /// One bit of a packet is flipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<Corrupt>,
    /// The rate limit of netem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// One peer of a faulted pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Peer {
    /// Its address or network.
    #[schemars(with = "String")]
    pub network: IpNet,
    /// Only this port of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// What the daemon read back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InjectionStatus {
    /// The generation of the spec that this speaks of.
    #[serde(default)]
    pub observed_generation: i64,
    /// The run that this speaks of.
    #[serde(default)]
    pub observed_run: u32,
    /// Whether the fault should be there by the daemon's own reckoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// Why the run is over, once it is; it does not start again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// When this run was first injected here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// How long this run has been in place so far, as a Go duration; written at each change of phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed: Option<String>,
    /// How often the fault was taken away in mid-run because the controller was not heard from.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interruptions: u32,
    /// What is known of each target, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetStatus>,
}

/// What is known of one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// Which target.
    #[serde(flatten)]
    pub target: InjectionTarget,
    /// Where it stands.
    pub phase: TargetPhase,
    /// What was read back from the kernel, 256 bytes at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// What went wrong last, with what cures it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Since when it is in this phase.
    pub since: Time,
    /// How often it was injected.
    #[serde(default)]
    pub injected_count: u32,
    /// How often it recovered.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub recovered_count: u32,
}

// What is the same for thousands of targets is left out: an API server's work grows with the fields of an object.

fn of_selector() -> String {
    super::SOURCE_KEY.to_owned()
}

fn is_of_selector(key: &str) -> bool {
    key == super::SOURCE_KEY
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Where a target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetPhase {
    /// Nothing was done yet.
    Waiting,
    /// The fault was read back from the kernel.
    Injected,
    /// It was done, once; there is nothing to undo.
    Done,
    /// The fault is gone, and what was there before is back.
    Recovered,
    /// It could not be injected; it is tried again.
    Failed,
    /// It could not be undone; it is tried again.
    Stuck,
}

impl TargetPhase {
    /// Whether the fault was seen to have taken effect, and stands.
    pub const fn took_effect(self) -> bool {
        matches!(self, Self::Injected | Self::Done)
    }

    /// Whether something of the fault may be in the kernel.
    pub const fn may_be_present(self) -> bool {
        matches!(self, Self::Injected | Self::Stuck)
    }
}

impl InjectionSpec {
    /// The lease, [`super::DEFAULT_LEASE`] if it cannot be read, never under [`super::MIN_LEASE`].
    pub fn effective_lease(&self) -> std::time::Duration {
        super::effective_lease(Some(&self.lease))
    }

    /// The time that this run does not have any more.
    pub fn effective_used(&self) -> std::time::Duration {
        let used = self.used.as_deref().and_then(|text| text.parse::<GoDuration>().ok()?.to_std());
        used.unwrap_or_default()
    }

    /// How long the run lasts; `None` until it is deleted.
    pub fn effective_remaining(&self) -> Option<std::time::Duration> {
        self.remaining.as_deref()?.parse::<GoDuration>().ok()?.to_std()
    }
}

impl InjectionStatus {
    /// Whether every target is known to be free of the fault.
    pub fn all_clear(&self) -> bool {
        self.targets.iter().all(|target| !target.phase.may_be_present())
    }
}
