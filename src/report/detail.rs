//! One experiment in depth: what its controller, its daemons and its events say of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::DynamicObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Overview, Remaining, Table, age, status};
use crate::api::{
    ChaosStatus, Condition, ConditionKind, Injection, Record, RecordPhase, TargetPhase, TargetStatus,
};

/// How long the controller may say nothing before that is worth a word, in seconds.
const SILENCE: i64 = 5;

/// An experiment in depth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// What `squall status` without a name says of it.
    #[serde(flatten)]
    pub overview: Overview,
    /// As in its status: type, status, reason, message.
    pub conditions: Vec<Condition>,
    /// Its targets by node, with what the daemons read back.
    pub nodes: Vec<OnNode>,
    /// Its Kubernetes events, oldest first.
    pub timeline: Vec<Happening>,
    /// What to do, if something is to be done.
    pub to_do: Vec<String>,
}

/// The part of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnNode {
    /// The node; absent when the nodes' own reports are gone and only the experiment's records are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Whether the fault should be there by the daemon's reckoning: `Present` or why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// How often the fault was taken away because the controller was not heard from.
    pub interruptions: u32,
    /// The targets on it.
    pub targets: Vec<OnTarget>,
}

/// One target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnTarget {
    /// `namespace/pod`, or `namespace/pod/container`.
    pub id: String,
    /// `.` for `spec.selector`, `.Target` for `spec.target.selector`.
    pub selector_key: String,
    /// `Waiting`, `Injected`, `Done`, `Recovered`, `Failed` or `Stuck`.
    pub phase: String,
    /// What was read back from the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// What went wrong last, with what cures it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Since when it is in this phase, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Happening {
    /// When it happened last, RFC 3339.
    pub time: String,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
    /// One word, such as `Applied`.
    pub reason: String,
    /// What happened.
    pub message: String,
    /// How often.
    pub count: i32,
}

impl Happening {
    /// In one line.
    pub fn line(&self, now: Timestamp) -> String {
        let age = age::of(Some(&self.time), now);
        let times = if self.count > 1 { format!(" (×{})", self.count) } else { String::new() };
        format!("{age} ago {} {}: {}{times}", self.kind, self.reason, self.message.replace('\n', "; "))
    }
}

/// Whether the event is about the object with this UID.
pub fn is_about(event: &Event, uid: &str) -> bool {
    event.regarding.as_ref().and_then(|about| about.uid.as_deref()) == Some(uid)
}

fn by_node(injections: &[&Injection]) -> Vec<OnNode> {
    let mut nodes = BTreeMap::new();
    for injection in injections {
        let status = injection.status.clone().unwrap_or_default();
        let of_target = |target| {
            let known = status.targets.iter().find(|known| &known.target == target);
            on_target(target, known)
        };
        let targets = injection.spec.targets.iter().map(of_target).collect();
        let on_node = OnNode {
            node: Some(injection.spec.node.clone()),
            wanted: status.wanted.clone(),
            interruptions: status.interruptions,
            targets,
        };
        nodes.insert(injection.spec.node.clone(), on_node);
    }
    nodes.into_values().collect()
}

fn on_target(target: &crate::api::InjectionTarget, known: Option<&TargetStatus>) -> OnTarget {
    let pod = format!("{}/{}", target.namespace, target.pod);
    OnTarget {
        id: target.container.as_ref().map_or_else(|| pod.clone(), |container| format!("{pod}/{container}")),
        selector_key: target.selector_key.clone(),
        phase: match known.map_or(TargetPhase::Waiting, |known| known.phase) {
            TargetPhase::Waiting => "Waiting",
            TargetPhase::Injected => "Injected",
            TargetPhase::Done => "Done",
            TargetPhase::Recovered => "Recovered",
            TargetPhase::Failed => "Failed",
            TargetPhase::Stuck => "Stuck",
        }
        .to_owned(),
        evidence: known.and_then(|known| known.evidence.clone()),
        error: known.and_then(|known| known.error.clone()),
        since: known.map(|known| known.since.0.to_string()),
    }
}

/// What the experiment's own records keep once the nodes' reports are gone.
fn recorded(status: &ChaosStatus) -> Vec<OnNode> {
    let targets: Vec<_> = status.experiment.container_records.iter().map(of_record).collect();
    if targets.is_empty() { Vec::new() } else { vec![OnNode { targets, ..OnNode::default() }] }
}

fn of_record(record: &Record) -> OnTarget {
    let last = record.events.last();
    let failed = last.filter(|event| event.kind == "Failed");
    let message = |event: &crate::api::RecordEvent| event.message.clone();
    let phase = match (record.phase, failed) {
        (RecordPhase::Injected, Some(_)) => "Stuck",
        (RecordPhase::Injected, None) => "Injected",
        (RecordPhase::NotInjected, Some(_)) => "Failed",
        (RecordPhase::NotInjected, None) if record.recovered_count > 0 => "Recovered",
        (RecordPhase::NotInjected, None) => "Waiting",
    };
    OnTarget {
        id: record.id.clone(),
        selector_key: record.selector_key.clone(),
        phase: phase.to_owned(),
        evidence: last.filter(|_| failed.is_none()).and_then(message),
        error: failed.and_then(message),
        since: last.map(|event| event.timestamp.0.to_string()),
    }
}

/// What happened, from these events, oldest first.
pub fn timeline<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<Happening> {
    let mut all: Vec<_> = events
        .filter_map(|event| {
            let series = event.series.as_ref();
            let observed = series.map(|series| series.last_observed_time.0);
            let time = observed.or(event.event_time.as_ref().map(|time| time.0)).or(event
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|time| time.0))?;
            Some((
                time,
                Happening {
                    time: time.to_string(),
                    kind: event.type_.clone().unwrap_or_default(),
                    reason: event.reason.clone().unwrap_or_default(),
                    message: event.note.as_deref().unwrap_or_default().trim().to_owned(),
                    count: series.map_or(1, |series| series.count),
                },
            ))
        })
        .collect();
    all.sort_by_key(|(time, _)| *time);
    all.into_iter().map(|(_, happening)| happening).collect()
}

/// What somebody should do, beyond what conditions and errors say themselves.
fn advice(overview: &Overview, status: &ChaosStatus, nodes: &[OnNode], age: i64) -> Vec<String> {
    let command = |verb: &str| {
        let Overview { kind, namespace, name, .. } = overview;
        format!("`squall {verb} {} {name} -n {namespace}`", kind.to_lowercase())
    };
    let mut to_do = Vec::new();
    match overview.phase.as_str() {
        "Paused" => to_do.push(format!("{} lets it go on", command("resume"))),
        "Invalid" => {
            to_do.push(format!("change the file and apply it again, or end it: {}", command("stop")));
        }
        "Waiting" if status.conditions.is_empty() && age > SILENCE => {
            to_do
                .push("the controller has not said a word: `squall doctor` shows whether it runs".to_owned());
        }
        _ => {}
    }
    if status.condition(ConditionKind::Selected).is_some_and(|condition| condition.status == "False")
        && overview.phase == "Waiting"
    {
        to_do.push(
            "compare the selector with the pods: `squall plan -f FILE` shows who is left out and why"
                .to_owned(),
        );
    }
    let interruptions: u32 = nodes.iter().map(|node| node.interruptions).sum();
    if interruptions > 0 {
        to_do.push(format!(
            "the fault was interrupted {interruptions} times because a node did not hear from the controller: `squall doctor`"
        ));
    }
    let stuck = nodes.iter().filter(|node| node.targets.iter().any(|target| target.phase == "Stuck"));
    to_do.extend(stuck.filter_map(|node| node.node.as_deref()).map(|node| {
        format!(
            "node {node} could not undo everything; it tries again, and its log says more: `squall doctor`"
        )
    }));
    to_do
}

impl Detail {
    /// From the object of this kind, its Injections and the events about its name, or why these cannot be read, in one
    /// line each.
    pub fn new(
        kind: &str,
        object: &DynamicObject,
        injections: Result<Vec<&Injection>, String>,
        events: Result<Vec<&Event>, String>,
        now: Timestamp,
    ) -> Self {
        let mut to_do = Vec::new();
        let injections = injections.unwrap_or_else(|why| {
            to_do.push(format!("{why}: ask for the right to list injections in squall-system"));
            Vec::new()
        });
        let events = events.unwrap_or_else(|why| {
            to_do.push(why);
            Vec::new()
        });
        let status = status(object);
        let overview = Overview::new(kind, object, Remaining::of(injections.iter().copied(), now));
        let age = object.creation_timestamp().map_or(0, |created| now.as_second() - created.0.as_second());
        let nodes = if injections.is_empty() { recorded(&status) } else { by_node(&injections) };
        to_do.extend(advice(&overview, &status, &nodes, age));
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        let timeline = timeline(events.into_iter().filter(|event| is_about(event, uid)));
        Self { conditions: status.conditions, nodes, timeline, to_do, overview }
    }

    /// As text.
    pub fn lines(&self, now: Timestamp) -> Vec<String> {
        let overview = &self.overview;
        let age = age::of(overview.created.as_deref(), now);
        let mut lines = vec![
            format!("{}/{} in {}", overview.kind.to_lowercase(), overview.name, overview.namespace),
            format!("  phase       {}", overview.phase),
        ];
        let mut fact = |name: &str, value: Option<&str>| {
            lines.extend(value.map(|value| format!("  {name:10}  {value}")));
        };
        fact("action", overview.action.as_deref());
        fact("ended", overview.ended.as_deref());
        fact("remaining", Some(&overview.time()));
        fact("age", Some(&age));
        lines.push("conditions".to_owned());
        lines.extend(table(self.conditions.iter().map(|condition| {
            let said = condition.message.as_ref().or(condition.reason.as_ref());
            let said = said.map(|said| said.replace('\n', "; ")).unwrap_or_default();
            vec![format!("{:?}", condition.kind), condition.status.clone(), said]
        })));
        lines.push("targets".to_owned());
        for node in &self.nodes {
            lines.push(node.heading());
            lines.extend(
                table(node.targets.iter().map(|target| target.row(now))).map(|line| format!("  {line}")),
            );
        }
        lines.push("timeline".to_owned());
        lines.extend(table(self.timeline.iter().map(|happening| {
            let age = age::of(Some(&happening.time), now);
            let times = if happening.count > 1 { format!(" (×{})", happening.count) } else { String::new() };
            let message = happening.message.replace('\n', "; ");
            vec![format!("{age} ago"), happening.kind.clone(), happening.reason.clone(), message + &times]
        })));
        lines.extend(self.to_do.iter().map(|line| format!("to do: {line}")));
        lines
    }
}

impl OnNode {
    fn heading(&self) -> String {
        let name = self.node.as_deref().unwrap_or("as recorded");
        let wanted = self.wanted.as_ref().map(|wanted| format!(": wanted {wanted}")).unwrap_or_default();
        let interruptions = match self.interruptions {
            0 => String::new(),
            count => format!(", interrupted {count} times"),
        };
        format!("  {name}{wanted}{interruptions}")
    }
}

impl OnTarget {
    fn row(&self, now: Timestamp) -> Vec<String> {
        let end = if self.selector_key == crate::api::TARGET_KEY { "target" } else { "selector" };
        let since = self.since.as_deref().map(|since| age::of(Some(since), now)).unwrap_or_default();
        let said = self.error.as_ref().or(self.evidence.as_ref()).cloned().unwrap_or_default();
        vec![self.id.clone(), end.to_owned(), self.phase.clone(), since, said]
    }
}

fn table(rows: impl Iterator<Item = Vec<String>>) -> impl Iterator<Item = String> {
    let rows: Vec<_> = rows.collect();
    let rows = if rows.is_empty() { vec![vec!["none".to_owned()]] } else { rows };
    Table::default().lines(&rows).into_iter().map(|line| format!("  {line}"))
}

#[cfg(test)]
#[path = "detail_tests.rs"]
mod tests;
