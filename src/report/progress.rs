//! What to say about a running experiment, from its status alone.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::DynamicObject;
use serde::{Deserialize, Serialize};

use super::age;
use crate::api::{ChaosStatus, Condition, ConditionKind, Record, RecordPhase};
use crate::experiment::status::HALTED;

/// The word of an experiment that lasted as long as it was meant to.
const DURATION_ELAPSED: &str = "DurationElapsed";

/// The word of one that did what is done once: there is nothing to recover.
const COMPLETED: &str = "Completed";

/// Where an experiment stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// It runs, or will.
    Active,
    /// It cannot run as it is written; why.
    Invalid(String),
    /// It is over, but not everything is known to be undone.
    Recovering,
    /// It is over and nothing is left of it.
    Recovered {
        /// Whether it lasted as long as it was meant to.
        in_time: bool,
        /// The reason of its end.
        reason: String,
    },
}

/// The status of an experiment; an empty one if it has none that can be read.
pub fn status(object: &DynamicObject) -> ChaosStatus {
    object.data.get("status").and_then(|status| ChaosStatus::deserialize(status).ok()).unwrap_or_default()
}

/// Its conditions without the rest, which may be hundreds of targets.
pub fn conditions(object: &DynamicObject) -> Vec<Condition> {
    let conditions = object.data.pointer("/status/conditions");
    conditions.and_then(|conditions| Vec::deserialize(conditions).ok()).unwrap_or_default()
}

/// Where the experiment with this status stands.
pub fn stage(status: &ChaosStatus) -> Stage {
    if let Some(invalid) =
        status.condition(ConditionKind::Invalid).filter(|condition| condition.status == "True")
    {
        return Stage::Invalid(explained(invalid));
    }
    let Some(reason) = &status.experiment.ended else { return Stage::Active };
    let none_selected = status.experiment.targets.is_none_or(|targets| targets.selected == 0);
    if none_selected || reason == COMPLETED || status.is(ConditionKind::AllRecovered) {
        let in_time = reason == DURATION_ELAPSED || reason == COMPLETED;
        Stage::Recovered { in_time, reason: reason.clone() }
    } else {
        Stage::Recovering
    }
}

/// One word for a table.
pub fn word(status: &ChaosStatus, deleted: bool) -> &'static str {
    let injected = status.experiment.targets.is_some_and(|targets| targets.injected > 0);
    match stage(status) {
        Stage::Invalid(_) => "Invalid",
        Stage::Recovered { .. } => "Finished",
        Stage::Recovering => "Recovering",
        Stage::Active if deleted => "Stopping",
        Stage::Active if status.is(ConditionKind::Paused) => "Paused",
        Stage::Active if status.is(ConditionKind::AllInjected) => "Injected",
        Stage::Active if injected => "Injecting",
        Stage::Active if status.is(ConditionKind::Selected) => "Selected",
        Stage::Active => "Waiting",
    }
}

/// What is left in place: one line per target, with the last failure if there was one.
pub fn left(status: &ChaosStatus) -> Vec<String> {
    let records = status.experiment.container_records.iter();
    records
        .filter(|record| record.phase == RecordPhase::Injected)
        .map(|record| match last_event(record, "Failed") {
            Some(message) => format!("{}: {message}", record.id),
            None => format!("{}: not yet undone", record.id),
        })
        .collect()
}

/// What was said of a target already.
#[derive(Clone, Debug, Default, PartialEq)]
struct Said {
    injected: u32,
    recovered: u32,
    failure: Option<String>,
}

/// Turns one status after the other into lines; each thing is said once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    targets: BTreeMap<(String, String), Said>,
    conditions: BTreeMap<ConditionKind, Condition>,
    selected: u32,
    status: ChaosStatus,
}

impl Progress {
    /// The lines that are new with `status`.
    pub fn update(&mut self, status: ChaosStatus) -> Vec<String> {
        let mut lines = Vec::new();
        let selected = status.experiment.targets.map_or(0, |targets| targets.selected);
        if selected != self.selected {
            self.selected = selected;
            lines.push(format!("selected {selected} {}", if selected == 1 { "target" } else { "targets" }));
        }
        for record in &status.experiment.container_records {
            let said = self.targets.entry((record.selector_key.clone(), record.id.clone())).or_default();
            target_lines(record, said, &mut lines);
        }
        for condition in &status.conditions {
            if self.conditions.get(&condition.kind) != Some(condition) {
                lines.extend(condition_line(condition, &status));
                self.conditions.insert(condition.kind, condition.clone());
            }
        }
        self.status = status;
        lines
    }

    /// Whether the fault is in place anywhere.
    pub fn is_injected(&self) -> bool {
        self.status.experiment.targets.is_some_and(|targets| targets.injected > 0)
    }

    /// The status that was seen last.
    pub const fn status(&self) -> &ChaosStatus {
        &self.status
    }

    /// One line that sums it up; `left` is the time until its end, if it has one.
    pub fn live(&self, stopping: bool, left: Option<Duration>) -> String {
        let counts = self.status.experiment.targets.unwrap_or_default();
        if stopping || self.status.experiment.ended.is_some() {
            return format!("recovered {}/{}  (Ctrl-C leaves it alone)", counts.recovered, counts.selected);
        }
        let left = match left {
            Some(left) => format!("{} left", age::human(i64::try_from(left.as_secs()).unwrap_or(i64::MAX))),
            None if self.is_injected() => "until it is stopped".to_owned(),
            None => "waiting".to_owned(),
        };
        format!("injected {}/{}  {left}  (Ctrl-C stops it)", counts.injected, counts.selected)
    }
}

fn target_lines(record: &Record, said: &mut Said, lines: &mut Vec<String>) {
    if record.injected_count > said.injected {
        lines.push(format!("injected {}: {}", record.id, evidence(record, "Apply")));
    }
    if record.recovered_count > said.recovered {
        lines.push(format!("recovered {}: {}", record.id, evidence(record, "Recover")));
    }
    let failure = last_event(record, "Failed").map(str::to_owned);
    if failure.is_some() && failure != said.failure {
        lines.push(format!("failed {}: {}", record.id, failure.as_deref().unwrap_or_default()));
    }
    *said = Said { injected: record.injected_count, recovered: record.recovered_count, failure };
}

/// What was read back when `operation` succeeded last.
fn evidence<'a>(record: &'a Record, operation: &str) -> &'a str {
    let events = record.events.iter().rev();
    let mut succeeded = events.filter(|event| event.kind == "Succeeded" && event.operation == operation);
    succeeded.next().and_then(|event| event.message.as_deref()).unwrap_or("read back")
}

fn last_event<'a>(record: &'a Record, kind: &str) -> Option<&'a str> {
    record
        .events
        .last()
        .filter(|event| event.kind == kind)
        .map(|event| event.message.as_deref().unwrap_or("no reason given"))
}

fn condition_line(condition: &Condition, status: &ChaosStatus) -> Option<String> {
    let yes = condition.status == "True";
    let counts = status.experiment.targets.unwrap_or_default();
    match condition.kind {
        ConditionKind::Selected if !yes && condition.reason.as_deref() == Some(HALTED) => {
            Some(format!("waiting: {}", explained(condition)))
        }
        ConditionKind::Selected if !yes => Some(format!("no target is selected: {}", explained(condition))),
        ConditionKind::AllInjected if yes => {
            Some(format!("injected {}/{}", counts.injected, counts.selected))
        }
        ConditionKind::Paused if yes => Some("paused".to_owned()),
        ConditionKind::AllRecovered if yes && status.experiment.ended.is_some() => {
            Some(format!("recovered {}/{}", counts.recovered, counts.selected))
        }
        _ => None,
    }
}

fn explained(condition: &Condition) -> String {
    condition
        .message
        .clone()
        .or_else(|| condition.reason.clone())
        .unwrap_or_else(|| "no reason given".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn status(value: Value) -> ChaosStatus {
        serde_json::from_value(value).unwrap()
    }

    fn record(phase: &str, injected: u32, recovered: u32, events: &Value) -> Value {
        json!({"id": "default/mongo", "selectorKey": ".", "phase": phase, "injectedCount": injected,
               "recoveredCount": recovered, "events": events})
    }

    fn event(kind: &str, operation: &str, message: &str) -> Value {
        json!({"type": kind, "operation": operation, "message": message, "timestamp": "2026-01-01T00:00:00Z"})
    }

    #[test]
    fn each_thing_is_said_once() {
        let mut progress = Progress::default();
        let counts = |injected: u32, recovered: u32| json!({"selected": 1, "injected": injected, "recovered": recovered, "failed": 0});
        let selected = status(json!({
            "conditions": [{"type": "Selected", "status": "True"}],
            "experiment": {"targets": counts(0, 0), "containerRecords": [record("Not Injected", 0, 0, &json!([]))]}
        }));
        assert_eq!(progress.update(selected.clone()), ["selected 1 target"]);
        assert_eq!(progress.update(selected), Vec::<String>::new());
        let failed = json!([event("Failed", "Apply", "no nf_tables: load the module")]);
        assert_eq!(
            progress.update(status(json!({"experiment": {
                "targets": counts(0, 0), "containerRecords": [record("Not Injected", 0, 0, &failed)]}}))),
            ["failed default/mongo: no nf_tables: load the module"]
        );
        let injected = json!([event("Succeeded", "Apply", "table squall with 2 rules")]);
        assert_eq!(
            progress.update(status(json!({
                "conditions": [{"type": "AllInjected", "status": "True"}],
                "experiment": {"targets": counts(1, 0), "containerRecords": [record("Injected", 1, 0, &injected)]}}))),
            ["injected default/mongo: table squall with 2 rules", "injected 1/1"]
        );
        assert_eq!(
            progress.live(false, Some(Duration::from_secs(43))),
            "injected 1/1  43s left  (Ctrl-C stops it)"
        );
        let recovered = json!([event("Succeeded", "Recover", "no table")]);
        assert_eq!(
            progress.update(status(json!({
                "conditions": [{"type": "AllInjected", "status": "False"}, {"type": "AllRecovered", "status": "True"}],
                "experiment": {"ended": "DurationElapsed", "targets": counts(0, 1),
                               "containerRecords": [record("Not Injected", 1, 1, &recovered)]}}))),
            ["recovered default/mongo: no table", "recovered 1/1"]
        );
    }

    #[test]
    fn a_halt_is_what_it_waits_for() {
        let waiting = json!({"conditions": [{"type": "Selected", "status": "False", "reason": "Halted",
            "message": "Halt stop covers it"}]});
        assert_eq!(Progress::default().update(status(waiting)), ["waiting: Halt stop covers it"]);
    }

    #[test]
    fn stages() {
        let recovered = |in_time, reason: &str| Stage::Recovered { in_time, reason: reason.to_owned() };
        let targets = json!({"selected": 1, "injected": 0, "recovered": 1, "failed": 0});
        let all = json!([{"type": "AllRecovered", "status": "True"}]);
        for (value, expected, word_of_it) in [
            (json!({}), Stage::Active, "Waiting"),
            // True before the first injection too, as in Chaos Mesh.
            (json!({"conditions": all}), Stage::Active, "Waiting"),
            (
                json!({"experiment": {"ended": "DurationElapsed", "targets": targets}}),
                Stage::Recovering,
                "Recovering",
            ),
            (
                json!({"conditions": all, "experiment": {"ended": "DurationElapsed", "targets": targets}}),
                recovered(true, "DurationElapsed"),
                "Finished",
            ),
            (json!({"experiment": {"ended": "Halted"}}), recovered(false, "Halted"), "Finished"),
            (
                json!({"conditions": [{"type": "Invalid", "status": "True", "message": "write x"}]}),
                Stage::Invalid("write x".into()),
                "Invalid",
            ),
        ] {
            let status = status(value.clone());
            assert_eq!(stage(&status), expected, "{value}");
            assert_eq!(word(&status, false), word_of_it, "{value}");
        }
    }

    #[test]
    fn what_is_left_names_the_failure() {
        let events = json!([event("Failed", "Recover", "the node is gone")]);
        let status = status(json!({"experiment": {"containerRecords": [record("Injected", 1, 0, &events)]}}));
        assert_eq!(left(&status), ["default/mongo: the node is gone"]);
    }
}
