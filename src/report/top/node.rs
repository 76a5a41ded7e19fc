//! What there is to say about a node.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use super::{DAEMON, OnNode, Part, Seen, parts};
use crate::api::{Injection, TargetPhase};
use crate::report::age;

/// How long a daemon may take to say anything of a new Injection before that is a problem, in seconds.
const SILENCE: i64 = 10;

/// How many problems of one node are listed; the last line says how many more there are.
const MOST: usize = 8;

/// Everything that is known about one node.
#[derive(Default)]
struct Known<'a> {
    node: Option<&'a Node>,
    daemon: Option<&'a Pod>,
    injections: Vec<&'a Injection>,
}

/// A line for each node that anything knows of.
pub(super) fn all(seen: &Seen, now: Timestamp) -> Vec<OnNode> {
    let mut known: BTreeMap<String, Known<'_>> = BTreeMap::new();
    for node in seen.nodes.iter().flatten().filter(|node| has_daemon(node)) {
        known.entry(node.name_any()).or_default().node = Some(node);
    }
    for pod in parts(seen, DAEMON) {
        let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) else { continue };
        let daemon = &mut known.entry(node).or_default().daemon;
        // While one replaces another the one that stays is shown.
        if daemon.is_none_or(|other| other.metadata.deletion_timestamp.is_some()) {
            *daemon = Some(pod);
        }
    }
    for injection in &seen.injections {
        known.entry(injection.spec.node.clone()).or_default().injections.push(injection);
    }
    known.into_iter().map(|(name, known)| known.line(name, seen, now)).collect()
}

/// Daemons run on Linux.
fn has_daemon(node: &Node) -> bool {
    node.labels().get("kubernetes.io/os").is_none_or(|os| os == "linux")
}

/// Whether the fault is asked for now: its run is not over, and it is neither paused nor being deleted.
fn is_asked(injection: &Injection) -> bool {
    let over = injection.status.as_ref().is_some_and(|status| status.ended.is_some());
    !over && !injection.spec.paused && injection.metadata.deletion_timestamp.is_none()
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Known<'_> {
    fn line(&self, name: String, seen: &Seen, now: Timestamp) -> OnNode {
        let standing = |injection: &&&Injection| {
            let targets = injection.status.iter().flat_map(|status| &status.targets);
            targets.filter(|target| target.phase.may_be_present()).count()
        };
        let asked = self.injections.iter().filter(|injection| is_asked(injection));
        let begun = self.injections.iter().filter(|injection| standing(injection) > 0);
        let begun = begun.filter_map(|injection| injection.status.as_ref()?.started_at.as_ref());
        let daemon = self.daemon.map(|pod| Part::new(pod, DAEMON, seen));
        OnNode {
            targets_injected: count(self.injections.iter().map(|injection| standing(&injection)).sum()),
            targets_asked: count(asked.map(|injection| injection.spec.targets.len()).sum()),
            oldest_seconds: begun.map(|time| time.0.as_second()).min().map(|begun| now.as_second() - begun),
            problems: self.problems(daemon.as_ref(), seen.nodes.is_some(), now),
            node: name,
            daemon,
        }
    }

    fn problems(&self, daemon: Option<&Part>, nodes_are_known: bool, now: Timestamp) -> Vec<String> {
        let mut all = Vec::new();
        match self.node {
            None if nodes_are_known => all.push("the node is gone".to_owned()),
            Some(node) => all.extend(not_ready(node)),
            None => {}
        }
        match daemon {
            None => {
                all.push("no daemon: nothing can be injected here, and nobody undoes anything".to_owned());
            }
            Some(daemon) if daemon.state != "Ready" => {
                all.push(format!("{} is {}", daemon.pod, daemon.state));
            }
            Some(_) => {}
        }
        all.extend(self.injections.iter().flat_map(|injection| troubles(injection, now)));
        let more = all.len().saturating_sub(MOST);
        if more > 0 {
            all.truncate(MOST);
            all.push(format!("and {more} more"));
        }
        all
    }
}

fn not_ready(node: &Node) -> Option<String> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|one| one.type_ == "Ready");
    match ready {
        Some(ready) if ready.status == "True" => None,
        Some(ready) => {
            let why = ready.message.as_deref().or(ready.reason.as_deref()).unwrap_or("no reason is given");
            Some(format!("the node is not ready: {why}"))
        }
        None => Some("the node does not say whether it is ready".to_owned()),
    }
}

/// What is wrong with a fault on its node.
fn troubles(injection: &Injection, now: Timestamp) -> Vec<String> {
    let of = &injection.spec.experiment;
    let name = format!("{} {}/{}", of.kind.to_lowercase(), of.namespace, of.name);
    let Some(status) = &injection.status else {
        let made = injection.creation_timestamp().map_or(now, |created| created.0);
        let silent = now.as_second() - made.as_second() > SILENCE;
        return silent
            .then(|| format!("{name}: no answer for {}", age::since(made, now)))
            .into_iter()
            .collect();
    };
    let mut all = Vec::new();
    // The controller's own word comes from the controller: a lease that ended is the daemon's.
    if status.wanted.as_deref() == Some("LeaseLost") {
        all.push(format!("{name}: taken away, as no controller is heard"));
    } else if status.interruptions > 0 && is_asked(injection) {
        all.push(format!("{name}: was taken away {} for want of a heartbeat", times(status.interruptions)));
    }
    let failed = |phase| matches!(phase, TargetPhase::Failed | TargetPhase::Stuck);
    all.extend(status.targets.iter().filter(|target| failed(target.phase)).map(|target| {
        let error = target.error.as_deref().unwrap_or("no reason is given");
        let what = if target.phase == TargetPhase::Stuck { "not undone" } else { "not injected" };
        format!("{name}: {}/{} {what}: {error}", target.target.namespace, target.target.pod)
    }));
    all
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}
