//! What a plan says: the same for scripts and for people.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{NetworkEffect, NetworkEnd, NetworkRule, Peer, PodKill, Shaping};
use crate::network::netem::Netem;

/// How many peers a line names before it counts the others.
const NAMED: usize = 4;

/// What would become of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It would be injected as described.
    Runs,
    /// Nothing to act on now, or halted: it would wait.
    Waits,
    /// It could not run as it is written.
    Refused,
}

/// The plan of one experiment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `networkchaos.chaos-mesh.org/NAME`.
    pub experiment: String,
    /// The namespace that it would go to.
    pub namespace: String,
    /// What it does.
    pub action: String,
    /// `runs`, `waits` or `refused`.
    pub verdict: Verdict,
    /// Whether it is done once and leaves nothing to undo.
    pub one_shot: bool,
    /// How long it would last, as the file says it; absent: until it is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// What would be changed, by node.
    pub nodes: Vec<OnNode>,
    /// Pods that match and are left out.
    pub excluded: Vec<LeftOut>,
    /// What is in the way, or acts on the same pods.
    pub conflicts: Vec<Conflict>,
    /// The expected effect, in words.
    pub effect: Vec<String>,
    /// What to beware of.
    pub warnings: Vec<String>,
    /// Why it could not run.
    pub problems: Vec<Wrong>,
    /// The Halt that holds it back, and what ends that; absent: none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halt: Option<String>,
}

/// The part of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OnNode {
    /// Its name.
    pub node: String,
    /// The pods on it.
    pub targets: Vec<OnTarget>,
}

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnTarget {
    /// `namespace/pod`.
    pub pod: String,
    /// The container, for faults that act on one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// `.` for `spec.selector`, `.Target` for `spec.target.selector`.
    pub selector_key: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// What would be changed in it; empty: nothing.
    pub changes: Vec<Change>,
}

/// One change of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// `drop` (packets), `delete` or `evict` (the pod), `replace` (its images) or `kill` (a container).
    pub effect: String,
    /// The same in words.
    pub what: String,
    /// Of packets: `egress` or `ingress`, seen from the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// Of packets: the interface in the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Of packets: to or from whom; absent: everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<Peer>>,
}

/// A pod that matches and cannot be a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// `namespace/pod`.
    pub pod: String,
    /// Which selector matches it.
    pub selector_key: String,
    /// Why it cannot be a target.
    pub reason: String,
}

/// Another experiment on the same pods, or one of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Conflict {
    /// Its kind, namespace and name: `NetworkChaos default/partition`.
    pub experiment: String,
    /// The pods that both act on.
    pub pods: Vec<String>,
    /// What comes of it.
    pub what: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Wrong {
    /// The field.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub cure: String,
}

impl Report {
    /// As text.
    pub fn lines(&self) -> Vec<String> {
        let targets: usize = self.nodes.iter().map(|node| node.targets.len()).sum();
        let time = match &self.duration {
            _ if self.one_shot => "once".to_owned(),
            Some(time) => format!("for {time}"),
            None => "until it is stopped".to_owned(),
        };
        let verdict = match self.verdict {
            Verdict::Runs => format!(
                "{} on {} of {}, {time}",
                self.action,
                counted(targets, "target"),
                counted(self.nodes.len(), "node")
            ),
            Verdict::Waits if self.halt.is_some() => {
                format!("{} would wait: {}", self.action, self.halt.as_deref().unwrap_or_default())
            }
            Verdict::Waits => format!("{} would wait, for there is nothing to act on now", self.action),
            Verdict::Refused => format!("{} could not run", self.action),
        };
        let mut lines = vec![format!("{} in {}: {verdict}", self.experiment, self.namespace)];
        let mut section = |title: &str, entries: Vec<String>| {
            if !entries.is_empty() {
                lines.push(title.to_owned());
                lines.extend(entries.into_iter().map(|entry| format!("  {entry}")));
            }
        };
        let wrong = |wrong: &Wrong| format!("{}: {}; {}", wrong.path, wrong.what, wrong.cure);
        section("problems", self.problems.iter().map(wrong).collect());
        section("would change", self.nodes.iter().flat_map(OnNode::lines).collect());
        let left_out = |out: &LeftOut| format!("{} {}", out.pod, out.reason);
        section("left out", self.excluded.iter().map(left_out).collect());
        let conflict = |conflict: &Conflict| match conflict.pods.as_slice() {
            [] => format!("{}: {}", conflict.experiment, conflict.what),
            pods => format!("{} on {}: {}", conflict.experiment, pods.join(", "), conflict.what),
        };
        section("conflicts", self.conflicts.iter().map(conflict).collect());
        section("expect", self.effect.clone());
        section("beware", self.warnings.clone());
        lines
    }
}

impl OnNode {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.node.clone()];
        for target in &self.targets {
            let container = target.container.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
            lines.push(format!("  {}{container} ({})", target.pod, target.addresses.join(", ")));
            if target.changes.is_empty() {
                lines.push("    nothing; the fault is at the other end".to_owned());
            }
            lines.extend(target.changes.iter().map(|change| format!("    {}", change.what)));
        }
        lines
    }
}

impl Change {
    /// What happens at one end of a network fault.
    pub(super) fn network(end: &NetworkEnd) -> Vec<Self> {
        let rules = [("egress", &end.egress), ("ingress", &end.ingress)];
        let change = |(direction, rule): (&str, &Option<NetworkRule>)| {
            let NetworkRule { action, shaping, peers } = rule.as_ref()?;
            let (leaves, towards) =
                if direction == "egress" { ("leaves", "for") } else { ("arrives", "from") };
            let (effect, verb) = match action {
                NetworkEffect::Drop => ("drop", "drop".to_owned()),
                NetworkEffect::Shape => ("shape", format!("shape ({})", how(shaping.as_ref()))),
            };
            Some(Self {
                effect: effect.to_owned(),
                what: format!("{verb} what {leaves} on {} {towards} {}", end.device, named(peers.as_deref())),
                direction: Some(direction.to_owned()),
                device: Some(end.device.clone()),
                peers: peers.clone(),
            })
        };
        rules.into_iter().filter_map(change).collect()
    }

    /// The pod is deleted or evicted.
    pub(super) fn pod_kill(kill: &PodKill) -> Self {
        let effect = if kill.evict { "evict" } else { "delete" };
        Self::whole(effect, &format!("{effect} it, with {} s to end by itself", kill.grace_period_seconds))
    }

    /// The pod's images are replaced.
    pub(super) fn pod_failure() -> Self {
        Self::whole("replace", "replace the image of every container by one that only waits")
    }

    /// A container is killed.
    pub(super) fn container_kill() -> Self {
        Self::whole("kill", "kill its processes (SIGKILL)")
    }

    fn whole(effect: &str, what: &str) -> Self {
        let (effect, what) = (effect.to_owned(), what.to_owned());
        Self { effect, what, direction: None, device: None, peers: None }
    }
}

/// How packets are shaped, in a line.
pub(super) fn how(shaping: Option<&Shaping>) -> String {
    let netem = Netem::of(&shaping.cloned().unwrap_or_default());
    netem.map_or_else(|what| what, |netem| netem.to_string())
}

/// The first few peers, and how many more there are.
fn named(peers: Option<&[Peer]>) -> String {
    match peers {
        None => "anybody".to_owned(),
        Some([]) => "nobody: no peer has an address".to_owned(),
        Some(peers) => {
            let mut named: Vec<_> = peers.iter().take(NAMED).map(peer).collect();
            if peers.len() > NAMED {
                named.push(format!("and {} more", peers.len() - NAMED));
            }
            named.join(", ")
        }
    }
}

fn peer(peer: &Peer) -> String {
    let network = peer.network;
    let whole = network.prefix_len() == network.max_prefix_len();
    let text = if whole { network.addr().to_string() } else { network.to_string() };
    peer.port.map_or_else(|| text.clone(), |port| format!("{text} port {port}"))
}

/// `1 target`, `2 targets`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
