//! NetworkChaos: the fields, defaults and admission rules of `chaos-mesh.org/v1alpha1`.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use super::scalar::{external_target, percent, rate};
use super::{ChaosStatus, GoDuration, Mode, PodSelector, Problem, Shaping};

/// One network fault on the pods of a selector.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "chaos-mesh.org",
    version = "v1alpha1",
    kind = "NetworkChaos",
    plural = "networkchaos",
    namespaced,
    status = "ChaosStatus",
    derive = "PartialEq",
    validation = rules::fixed(&FIXED_FIELDS)
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::network_chaos)]
pub struct NetworkChaosSpec {
    /// What is done.
    pub action: NetworkAction,
    /// The pods that it is done to: the source of every direction.
    pub selector: PodSelector,
    /// How many of them.
    pub mode: Mode,
    /// Number or percentage for the modes `fixed`, `fixed-percent` and `random-max-percent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How long, from the first injection; until it is deleted if unset or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Which of the traffic between source and target is meant, seen from the source.
    #[serde(default)]
    pub direction: Direction,
    /// The peers whose traffic is meant; all traffic if neither this nor `externalTargets` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Peers outside the cluster: addresses, CIDRs, host names, each with an optional port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external_targets: Vec<String>,
    /// Interface in the source pods; `eth0` if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Interface in the target pods; `eth0` if unset, whatever `device` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_device: Option<String>,
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
    /// The token bucket of action `bandwidth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
    /// The name of another cluster; kept in the schema only to be refused. Without the field an API
    /// server would drop it silently and the fault would run here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_cluster: Option<String>,
}

/// What a NetworkChaos does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkAction {
    /// Any mix of the netem blocks.
    Netem,
    /// Packets wait. Like every action of the netem family it applies all blocks that are filled.
    Delay,
    /// Packets are lost.
    Loss,
    /// Packets arrive twice.
    Duplicate,
    /// Packets are damaged.
    Corrupt,
    /// Nothing passes.
    Partition,
    /// A token bucket limits the rate.
    Bandwidth,
}

impl NetworkAction {
    /// The word that experiment files use.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Netem => "netem",
            Self::Delay => "delay",
            Self::Loss => "loss",
            Self::Duplicate => "duplicate",
            Self::Corrupt => "corrupt",
            Self::Partition => "partition",
            Self::Bandwidth => "bandwidth",
        }
    }
}

/// Which traffic is meant, seen from the pods of `selector`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the source to the target.
    #[default]
    To,
    /// From the target to the source.
    From,
    /// Both.
    Both,
}

impl Direction {
    /// Whether packets from source to target are meant.
    pub const fn outgoing(self) -> bool {
        matches!(self, Self::To | Self::Both)
    }

    /// Whether packets from target to source are meant.
    pub const fn incoming(self) -> bool {
        matches!(self, Self::From | Self::Both)
    }
}

/// The peers of the faulted pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// Which pods.
    pub selector: PodSelector,
    /// How many of them.
    pub mode: Mode,
    /// As in the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// `spec.delay`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delay {
    /// How long each packet waits.
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h)$"))]
    pub latency: String,
    /// How far it varies, up and down.
    #[serde(default = "zero_milliseconds")]
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h)$"))]
    pub jitter: String,
    /// How much a packet's delay depends on that of the one before, in percent.
    #[serde(default = "zero")]
    pub correlation: String,
    /// Some packets overtake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reorder: Option<Reorder>,
}

/// `spec.delay.reorder`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reorder {
    /// Percent of the packets that are sent at once.
    pub reorder: String,
    /// Correlation in percent.
    #[serde(default = "zero")]
    pub correlation: String,
    /// Every gap-th packet is the one that overtakes.
    pub gap: i32,
}

/// `spec.loss`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Loss {
    /// Percent of the packets.
    pub loss: String,
    /// Correlation in percent.
    #[serde(default = "zero")]
    pub correlation: String,
}

/// `spec.duplicate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Duplicate {
    /// Percent of the packets.
    pub duplicate: String,
    /// Correlation in percent.
    #[serde(default = "zero")]
    pub correlation: String,
}

/// `spec.corrupt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Corrupt {
    /// Percent of the packets.
    pub corrupt: String,
    /// Correlation in percent.
    #[serde(default = "zero")]
    pub correlation: String,
}

/// `spec.rate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// In tc's grammar: `bit` units are bits, `bps` units bytes per second.
    pub rate: String,
}

/// `spec.bandwidth`: tbf's parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bandwidth {
    /// In tc's grammar: `bit` units are bits, `bps` units bytes per second.
    pub rate: String,
    /// Bytes that may wait.
    #[schemars(range(min = 1))]
    pub limit: u32,
    /// Bytes of the bucket: tbf's burst.
    #[schemars(range(min = 1))]
    pub buffer: u32,
    /// The highest rate of the bucket's emptying, in bits per second; needs `minburst`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peakrate: Option<u64>,
    /// Bytes: the bucket of the peak rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minburst: Option<u32>,
}

fn zero() -> String {
    "0".to_owned()
}

fn zero_milliseconds() -> String {
    "0ms".to_owned()
}

/// What tells who is hit, and by what: it stays as it is once targets were selected.
pub(super) const FIXED_FIELDS: [&str; 9] = [
    "action",
    "mode",
    "value",
    "selector",
    "direction",
    "target",
    "externalTargets",
    "device",
    "targetDevice",
];

/// The device that is meant when none is named.
pub const DEFAULT_DEVICE: &str = "eth0";

/// IFNAMSIZ of linux/if.h, less the closing zero.
const MAX_DEVICE: usize = 15;

impl NetworkChaosSpec {
    /// The interface in the source pods. `eth0@if12`, as ip(8) prints it, means `eth0`.
    pub fn source_device(&self) -> &str {
        effective_device(self.device.as_deref())
    }

    /// The interface in the target pods.
    pub fn peer_device(&self) -> &str {
        effective_device(self.target_device.as_deref())
    }

    /// The duration; `None` means until it is deleted. A text that is no duration is reported by
    /// [`Self::problems`] and means the same here.
    pub fn effective_duration(&self) -> Option<GoDuration> {
        self.duration.as_deref().filter(|text| !text.is_empty())?.parse().ok()
    }

    /// What the actions of the netem family do: every block that is filled, whichever of them is named.
    pub fn shaping(&self) -> Shaping {
        Shaping {
            delay: self.delay.clone(),
            loss: self.loss.clone(),
            duplicate: self.duplicate.clone(),
            corrupt: self.corrupt.clone(),
            rate: self.rate.clone(),
        }
    }

    /// Everything that is wrong with it, beyond what the schema says.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        problems.extend(remote_cluster_problem(self.remote_cluster.as_deref()));
        problems.extend(self.mode.amount(self.value.as_deref(), "spec.").err());
        problems.extend(self.selector.problems("spec.selector."));
        if let Some(target) = &self.target {
            problems.extend(target.mode.amount(target.value.as_deref(), "spec.target.").err());
            problems.extend(target.selector.problems("spec.target.selector."));
        }
        problems.extend(duration_problem(self.duration.as_deref()));
        for (path, device) in [("spec.device", &self.device), ("spec.targetDevice", &self.target_device)] {
            problems.extend(device_problem(path, device.as_deref()));
        }
        for (index, text) in self.external_targets.iter().enumerate() {
            if let Err(what) = external_target(text) {
                problems.push(Problem::new(
                    format!("spec.externalTargets[{index}]"),
                    what,
                    "write an address, a CIDR or a host name, with :port behind it if only one is meant",
                ));
            }
        }
        problems.extend(self.direction_problem());
        self.block_problems(&mut problems);
        self.action_problem(&mut problems);
        problems
    }

    /// The admission rules that tie the direction to the peers. A partition is free of them.
    fn direction_problem(&self) -> Option<Problem> {
        if self.action == NetworkAction::Partition || self.direction == Direction::To {
            return None;
        }
        let problem = |what: &str, cure: &str| Some(Problem::new("spec.direction", what, cure));
        if !self.external_targets.is_empty() {
            return problem(
                "traffic from external targets cannot be shaped at their end",
                "write direction: to, or remove externalTargets",
            );
        }
        if self.target.is_none() {
            return problem(
                "directions from and both need a target",
                "add spec.target, or write direction: to",
            );
        }
        None
    }

    fn block_problems(&self, problems: &mut Vec<Problem>) {
        let percentages = [
            ("spec.delay.correlation", self.delay.as_ref().map(|delay| &delay.correlation)),
            ("spec.delay.reorder.reorder", self.reorder().map(|reorder| &reorder.reorder)),
            ("spec.delay.reorder.correlation", self.reorder().map(|reorder| &reorder.correlation)),
            ("spec.loss.loss", self.loss.as_ref().map(|loss| &loss.loss)),
            ("spec.loss.correlation", self.loss.as_ref().map(|loss| &loss.correlation)),
            ("spec.duplicate.duplicate", self.duplicate.as_ref().map(|duplicate| &duplicate.duplicate)),
            ("spec.duplicate.correlation", self.duplicate.as_ref().map(|duplicate| &duplicate.correlation)),
            ("spec.corrupt.corrupt", self.corrupt.as_ref().map(|corrupt| &corrupt.corrupt)),
            ("spec.corrupt.correlation", self.corrupt.as_ref().map(|corrupt| &corrupt.correlation)),
        ];
        for (path, text) in percentages {
            if let Some(Err(what)) = text.map(|text| percent(text)) {
                problems.push(Problem::new(path, what, "write a percentage, quoted: \"25\""));
            }
        }
        let rates = [
            ("spec.rate.rate", self.rate.as_ref().map(|block| &block.rate)),
            ("spec.bandwidth.rate", self.bandwidth.as_ref().map(|block| &block.rate)),
        ];
        for (path, text) in rates {
            if let Some(Err(what)) = text.map(|text| rate(text)) {
                problems.push(Problem::new(
                    path,
                    what,
                    "write a whole number and bit, kbit, mbit, gbit, tbit (bits) or bps, kbps, mbps, gbps, tbps (bytes)",
                ));
            }
        }
        let times = [
            ("spec.delay.latency", self.delay.as_ref().map(|delay| &delay.latency)),
            ("spec.delay.jitter", self.delay.as_ref().map(|delay| &delay.jitter)),
        ];
        for (path, text) in times {
            if let Some(Err(error)) = text.map(|text| text.parse::<GoDuration>()) {
                problems.push(Problem::new(path, error.to_string(), "write a number and a unit: \"150ms\""));
            }
        }
        if self.reorder().is_some_and(|reorder| reorder.gap < 0) {
            problems.push(Problem::new("spec.delay.reorder.gap", "a gap is not negative", "write 1 or more"));
        }
    }

    /// An action without anything to do would report itself as injected and do nothing.
    fn action_problem(&self, problems: &mut Vec<Problem>) {
        let netem = self.delay.is_some()
            || self.loss.is_some()
            || self.duplicate.is_some()
            || self.corrupt.is_some()
            || self.rate.is_some();
        match self.action {
            NetworkAction::Bandwidth if self.bandwidth.is_none() => problems.push(Problem::new(
                "spec.bandwidth",
                "action bandwidth needs this block",
                "add rate, limit and buffer",
            )),
            NetworkAction::Partition | NetworkAction::Bandwidth => {}
            action if !netem => problems.push(Problem::new(
                format!("spec.{}", if action == NetworkAction::Netem { "delay" } else { action.word() }),
                format!("action {} has nothing to do", action.word()),
                "fill at least one of delay, loss, duplicate, corrupt, rate",
            )),
            _ => {}
        }
    }

    fn reorder(&self) -> Option<&Reorder> {
        self.delay.as_ref().and_then(|delay| delay.reorder.as_ref())
    }
}

fn effective_device(device: Option<&str>) -> &str {
    let name = device.unwrap_or_default().split('@').next().unwrap_or_default().trim();
    if name.is_empty() { DEFAULT_DEVICE } else { name }
}

fn device_problem(path: &str, device: Option<&str>) -> Option<Problem> {
    let name = effective_device(device);
    let legal = name.len() <= MAX_DEVICE && !name.contains(|c: char| c == '/' || c.is_whitespace());
    (!legal).then(|| {
        Problem::new(
            path,
            format!("\"{name}\" cannot be an interface"),
            "write a name like eth0, 15 bytes at most",
        )
    })
}

/// `spec.remoteCluster` of every kind: refused.
pub(crate) fn remote_cluster_problem(name: Option<&str>) -> Option<Problem> {
    name.filter(|name| !name.is_empty()).map(|_| {
        Problem::new(
            "spec.remoteCluster",
            "Squall injects only in the cluster that the object is in",
            "apply the file to that cluster instead",
        )
    })
}

/// `spec.duration` of every kind: Go's grammar, more than nothing.
pub(crate) fn duration_problem(text: Option<&str>) -> Option<Problem> {
    let text = text.filter(|text| !text.is_empty())?;
    let what = match text.parse::<GoDuration>() {
        Ok(duration) if duration.as_nanos() > 0 => return None,
        Ok(_) => format!("\"{text}\" is no time at all"),
        Err(error) => format!("\"{text}\" is not a duration: {error}"),
    };
    Some(Problem::new("spec.duration", what, "write hours, minutes and seconds like 1h30m or 90s"))
}

#[cfg(test)]
#[path = "networkchaos_tests.rs"]
mod tests;
