//! What a plan says: the same for scripts and for people.

use schemars::JsonSchema;
use serde::Serialize;

use crate::api::Peer;

/// How many peers a line names before it counts the others.
const NAMED: usize = 4;

/// What would become of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Verdict {
    /// It would be injected as described.
    Runs,
    /// Nothing to act on now; it would wait for pods.
    Waits,
    /// It could not run as it is written.
    Refused,
}

/// The plan of one experiment.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// `networkchaos.chaos-mesh.org/NAME`.
    pub(super) experiment: String,
    /// The namespace that it would go to.
    pub(super) namespace: String,
    /// What it does.
    pub(super) action: String,
    /// `runs`, `waits` or `refused`.
    pub(super) verdict: Verdict,
    /// How long it would last, as the file says it; absent: until it is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) duration: Option<String>,
    /// What would be changed, by node.
    pub(super) nodes: Vec<OnNode>,
    /// Pods that match and are left out.
    pub(super) excluded: Vec<LeftOut>,
    /// What is in the way, or acts on the same pods.
    pub(super) conflicts: Vec<Conflict>,
    /// The expected effect, in words.
    pub(super) effect: Vec<String>,
    /// What to beware of.
    pub(super) warnings: Vec<String>,
    /// Why it could not run.
    pub(super) problems: Vec<Wrong>,
}

/// The part of one node.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct OnNode {
    /// Its name.
    pub(super) node: String,
    /// The pods on it.
    pub(super) targets: Vec<OnTarget>,
}

/// One pod.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OnTarget {
    /// `namespace/pod`.
    pub(super) pod: String,
    /// `.` for `spec.selector`, `.Target` for `spec.target.selector`.
    pub(super) selector_key: String,
    /// Its addresses.
    pub(super) addresses: Vec<String>,
    /// What would be changed in it; empty: nothing.
    pub(super) changes: Vec<Change>,
}

/// One change of a pod's network.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Change {
    /// `drop`.
    pub(super) effect: String,
    /// `egress` or `ingress`, seen from the pod.
    pub(super) direction: String,
    /// The interface in the pod.
    pub(super) device: String,
    /// To or from whom; absent: everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peers: Option<Vec<Peer>>,
}

/// A pod that matches and cannot be a target.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LeftOut {
    /// `namespace/pod`.
    pub(super) pod: String,
    /// Which selector matches it.
    pub(super) selector_key: String,
    /// Why it cannot be a target.
    pub(super) reason: String,
}

/// Another experiment on the same pods, or one of the same name.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Conflict {
    /// Its kind, namespace and name: `NetworkChaos default/partition`.
    pub(super) experiment: String,
    /// The pods that both act on.
    pub(super) pods: Vec<String>,
    /// What comes of it.
    pub(super) what: String,
}

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Wrong {
    /// The field.
    pub(super) path: String,
    /// What is wrong.
    pub(super) what: String,
    /// What to write instead.
    pub(super) cure: String,
}

impl Report {
    /// As text.
    pub(super) fn lines(&self) -> Vec<String> {
        let targets: usize = self.nodes.iter().map(|node| node.targets.len()).sum();
        let time =
            self.duration.as_ref().map_or("until it is stopped".to_owned(), |time| format!("for {time}"));
        let verdict = match self.verdict {
            Verdict::Runs => format!(
                "{} on {} of {}, {time}",
                self.action,
                counted(targets, "target"),
                counted(self.nodes.len(), "node")
            ),
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
            lines.push(format!("  {} ({})", target.pod, target.addresses.join(", ")));
            if target.changes.is_empty() {
                lines.push("    nothing; the fault is at the other end".to_owned());
            }
            lines.extend(target.changes.iter().map(|change| format!("    {}", change.line())));
        }
        lines
    }
}

impl Change {
    fn line(&self) -> String {
        let (what, towards) = match self.direction.as_str() {
            "egress" => ("leaves on", "for"),
            _ => ("arrives on", "from"),
        };
        let peers = match &self.peers {
            None => "anybody".to_owned(),
            Some(peers) if peers.is_empty() => "nobody: no peer has an address".to_owned(),
            Some(peers) => {
                let mut named: Vec<_> = peers.iter().take(NAMED).map(peer).collect();
                if peers.len() > NAMED {
                    named.push(format!("and {} more", peers.len() - NAMED));
                }
                named.join(", ")
            }
        };
        format!("{} what {what} {} {towards} {peers}", self.effect, self.device)
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
