//! What to expect of an experiment and what to beware of, in words.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, Probe};
use kube::ResourceExt;

use super::report::{counted, how};
use super::subject::Experiment;
use crate::api::{
    Direction, GoDuration, InjectionTarget, NetworkAction, NetworkChaosSpec, NetworkEnd, NetworkRule, Peer,
    PodAction, PodChaosSpec, SOURCE_KEY, TARGET_KEY,
};
use crate::experiment::plan::{Chosen, NodePlan};
use crate::experiment::world::World;
use crate::network::netem::Netem;

/// The kubelet's defaults of a probe (`core/v1`, `Probe`).
const PERIOD: i32 = 10;
const FAILURES: i32 = 3;
const TIMEOUT: i32 = 1;

/// What happens at the end that a target belongs to.
pub(super) fn end_of<'a>(plan: &'a NodePlan, target: &InjectionTarget) -> Option<&'a NetworkEnd> {
    let ends = &plan.fault.network.as_ref()?.ends;
    ends.iter().find(|end| end.selector_key == target.selector_key)
}

/// Whether it is done once and leaves nothing to undo.
pub(super) const fn is_one_shot(experiment: &Experiment) -> bool {
    match experiment {
        Experiment::NetworkChaos(_) => false,
        Experiment::PodChaos(chaos) => chaos.spec.action.is_one_shot(),
    }
}

/// The expected effect.
pub(super) fn effect(
    experiment: &Experiment,
    chosen: &[Chosen],
    nodes: &BTreeMap<String, NodePlan>,
    world: &World,
) -> Vec<String> {
    match experiment {
        Experiment::NetworkChaos(chaos) => of_network(&chaos.spec, chosen, nodes, world),
        Experiment::PodChaos(chaos) => of_pods(&chaos.spec, chosen),
    }
}

fn of_pods(spec: &PodChaosSpec, chosen: &[Chosen]) -> Vec<String> {
    let lines = match spec.action {
        PodAction::PodKill => [
            format!("{} end, and what they are working on with them", counted(chosen.len(), "pod")),
            "their controllers start others in their place, under other names and addresses".to_owned(),
        ],
        PodAction::PodFailure => [
            format!("{} run a program that only waits: they answer nothing", counted(chosen.len(), "pod")),
            "the containers restart at the start and at the end; their restart counts rise".to_owned(),
        ],
        PodAction::ContainerKill => [
            format!(
                "{} end at once, without a signal that they could handle",
                counted(chosen.len(), "container")
            ),
            "the kubelet starts them again as the pod's restart policy says, later and later if it goes on"
                .to_owned(),
        ],
    };
    lines.into()
}

/// The expected effect of a fault of the network.
fn of_network(
    spec: &NetworkChaosSpec,
    chosen: &[Chosen],
    nodes: &BTreeMap<String, NodePlan>,
    world: &World,
) -> Vec<String> {
    let count = |key: &str| chosen.iter().filter(|pod| pod.target.selector_key == key).count();
    let sources = format!("{} of spec.selector", counted(count(SOURCE_KEY), "pod"));
    let mut peers = Vec::new();
    if spec.target.is_some() {
        peers.push(format!("{} of spec.target", counted(count(TARGET_KEY), "pod")));
    }
    if !spec.external_targets.is_empty() {
        peers.push(counted(spec.external_targets.len(), "external target"));
    }
    let peers = if peers.is_empty() { "anybody".to_owned() } else { peers.join(" and ") };
    let mut lines = match spec.action {
        NetworkAction::Partition => cut_off(spec.direction, &sources, &peers),
        _ => shaped(spec, &sources, &peers),
    };
    let services = services(nodes, world);
    if !services.is_empty() {
        lines.push(format!("calls through the ClusterIP of {} are hit too", services.join(", ")));
    }
    if peers != "anybody" {
        lines.push("what these pods exchange with others, and the API server, is left alone".to_owned());
    }
    lines
}

fn cut_off(direction: Direction, sources: &str, peers: &str) -> Vec<String> {
    let reach = match direction {
        Direction::To => format!("nothing that the {sources} send reaches {peers}"),
        Direction::From => format!("nothing that {peers} send reaches the {sources}"),
        Direction::Both => format!("nothing passes between the {sources} and {peers}, in either direction"),
    };
    vec![
        format!("{reach}; TCP needs both directions, so connections hang and new ones time out"),
        "when it is over, TCP goes on by itself with its next attempt, which may take some seconds"
            .to_owned(),
    ]
}

fn shaped(spec: &NetworkChaosSpec, sources: &str, peers: &str) -> Vec<String> {
    let shaping = spec.shaping();
    let what = how(Some(&shaping));
    let reach = match spec.direction {
        Direction::To => format!("what the {sources} send to {peers} is shaped: {what}"),
        Direction::From => format!("what {peers} send to the {sources} is shaped: {what}"),
        Direction::Both => {
            format!("what passes between the {sources} and {peers} is shaped, each way: {what}")
        }
    };
    let mut lines = vec![reach];
    if let Some(delay) = shaping.delay {
        let times = if spec.direction == Direction::Both { "twice " } else { "" };
        lines.push(format!(
            "each exchange of the two takes {times}{} longer; opening a connection is one exchange too",
            delay.latency
        ));
        lines.push("what waits when it is over arrives up to that much later".to_owned());
    }
    lines
}

/// The Services whose cluster addresses are among the peers.
fn services(nodes: &BTreeMap<String, NodePlan>, world: &World) -> Vec<String> {
    let rules = nodes
        .values()
        .filter_map(|plan| plan.fault.network.as_ref())
        .flat_map(|network| &network.ends)
        .flat_map(|end| end.egress.iter().chain(&end.ingress));
    let peers: Vec<&Peer> = rules.filter_map(|rule| rule.peers.as_ref()).flatten().collect();
    let is_peer = |address: &String| {
        address.parse::<IpAddr>().is_ok_and(|address| peers.iter().any(|peer| peer.network.addr() == address))
    };
    let hit = world.services().iter().filter(|service| {
        let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_ref());
        address.is_some_and(is_peer)
    });
    hit.map(|service| format!("Service {}/{}", service.namespace().unwrap_or_default(), service.name_any()))
        .collect()
}

/// What to beware of.
pub(super) fn warnings(
    experiment: &Experiment,
    chosen: &[Chosen],
    nodes: &BTreeMap<String, NodePlan>,
    world: &World,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let duration = experiment.as_kind().duration();
    if duration.is_none() && !is_one_shot(experiment) {
        warnings.push("spec.duration is not set: it runs until it is stopped".to_owned());
    }
    if let Experiment::PodChaos(chaos) = experiment
        && chaos.spec.action == PodAction::PodKill
    {
        warnings
            .extend(chosen.iter().filter_map(|pod| world.pod(&pod.target.uid)).filter_map(|pod| bare(pod)));
    }
    for pod in chosen {
        let Some(plan) = nodes.get(&pod.node) else { continue };
        let (Some(end), Some(object), Some(node)) =
            (end_of(plan, &pod.target), world.pod(&pod.target.uid), world.node(&pod.node))
        else {
            continue;
        };
        if let Some(wait) = hits_kubelet(end, node) {
            warnings.extend(probes(object, duration, wait));
        }
    }
    warnings.sort();
    warnings.dedup();
    warnings
}

/// Said of a pod that nobody starts again.
fn bare(pod: &Pod) -> Option<String> {
    let is_owned = pod.owner_references().iter().any(|owner| owner.controller == Some(true));
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    (!is_owned).then(|| format!("{namespace}/{name} belongs to no controller: nobody starts it again"))
}

/// How long what passes between the pod and its own node waits, as a probe of the kubelet does: for ever if
/// it is dropped, `None` if it is left alone.
fn hits_kubelet(end: &NetworkEnd, node: &Node) -> Option<Duration> {
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let addresses: Vec<IpAddr> = addresses.filter_map(|address| address.address.parse().ok()).collect();
    // A probe comes from a port of the kubelet's choice: a peer with a port is not it.
    let meant =
        |peer: &Peer| peer.port.is_none() && addresses.iter().any(|address| peer.network.contains(address));
    let hit = |rule: &&NetworkRule| rule.peers.as_ref().is_none_or(|peers| peers.iter().any(meant));
    let wait = |rule: &NetworkRule| match &rule.shaping {
        None => Some(Duration::MAX),
        Some(shaping) => Netem::of(shaping).ok().map(|netem| netem.longest()),
    };
    let waits = end.egress.iter().chain(&end.ingress).filter(hit).filter_map(wait);
    waits.reduce(Duration::saturating_add)
}

/// What failing probes do to a pod, if they fail for long enough. `wait` is how much later they are answered.
fn probes(pod: &Pod, duration: Option<Duration>, wait: Duration) -> Vec<String> {
    let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let mut lines = Vec::new();
    for container in containers {
        let restarts = [("liveness", &container.liveness_probe), ("startup", &container.startup_probe)];
        for (word, probe) in restarts {
            if let Some(patience) = fails_after(probe.as_ref(), duration, wait) {
                lines.push(format!(
                    "{name} will restart: the {word} probe of container {} cannot pass and gives up after {}",
                    container.name,
                    GoDuration::from_std(patience)
                ));
            }
        }
        if let Some(patience) = fails_after(container.readiness_probe.as_ref(), duration, wait) {
            lines.push(format!(
                "{name} becomes unready after {} because container {}'s readiness probe cannot pass: its Services leave it out",
                GoDuration::from_std(patience),
                container.name
            ));
        }
    }
    lines
}

/// How long a probe over the network fails before it counts, if the fault lasts that long.
fn fails_after(probe: Option<&Probe>, duration: Option<Duration>, wait: Duration) -> Option<Duration> {
    let probe = probe
        .filter(|probe| probe.http_get.is_some() || probe.tcp_socket.is_some() || probe.grpc.is_some())?;
    let or = |value: Option<i32>, default| value.filter(|value| *value > 0).unwrap_or(default).unsigned_abs();
    if wait < Duration::from_secs(or(probe.timeout_seconds, TIMEOUT).into()) {
        return None;
    }
    let patience = or(probe.period_seconds, PERIOD).saturating_mul(or(probe.failure_threshold, FAILURES));
    let patience = Duration::from_secs(patience.into());
    duration.is_none_or(|duration| duration >= patience).then_some(patience)
}
