//! The status that every experiment kind shares: conditions and records, in the shape that scripts
//! written for Chaos Mesh wait for, plus our own condition `Invalid`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many targets are listed one by one in `status.experiment.containerRecords`; the counts cover all.
/// Keeps an experiment of any size under the store's limit for one object.
pub const MAX_RECORDS: usize = 200;

/// Status of an experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChaosStatus {
    /// `Selected`, `AllInjected`, `AllRecovered`, `Paused`, `Invalid`, `TargetUnstable`, `TargetsLimited`; a
    /// type that was never decided is absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What the controller wants and what it knows of each target.
    #[serde(default)]
    pub experiment: ExperimentStatus,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// One condition. Chaos Mesh's have no times and no messages; ours add a message where there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    /// Its name.
    #[serde(rename = "type")]
    pub kind: ConditionKind,
    /// `"True"` or `"False"`.
    pub status: String,
    /// Why, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in a sentence that names the cure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The conditions of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ConditionKind {
    /// Targets were selected.
    Selected,
    /// Every target was read back as injected.
    AllInjected,
    /// Nothing of the fault is left on any target. Also true before the first injection, as in Chaos Mesh.
    AllRecovered,
    /// The pause annotation is set.
    Paused,
    /// The experiment cannot run as it is written; the message says why and what to change.
    Invalid,
    /// Its pods were replaced so often that they are not followed any more.
    TargetUnstable,
    /// More pods match than were confirmed at the start; those beyond are left alone.
    TargetsLimited,
}

/// What the experiment should be doing, and its targets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentStatus {
    /// `Run` or `Stop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_phase: Option<DesiredPhase>,
    /// The first [`MAX_RECORDS`] targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub container_records: Vec<Record>,
    /// Counts over all targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<TargetCounts>,
    /// On how many of its targets the fault is, as `3/5`: kubectl's columns show one field each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injected: Option<String>,
    /// What is left of its duration: `until 2026-01-01T00:00:00Z` while it runs, how long while it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<String>,
    /// Why the experiment is over, once it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What following its targets must remember.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub following: Option<Following>,
    /// The time that it has used, once a fault was in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
}

/// What following the targets must remember, whichever controller goes on with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Following {
    /// Stands for the selectors and modes that were confirmed; others are confirmed anew.
    pub selection: String,
    /// How many pods were chosen at the start, by selector key. There are never more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub confirmed: BTreeMap<String, u32>,
    /// When pods were put in the place of others, oldest first; a few at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Time>,
    /// Since when there are fewer targets than were confirmed, if there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_since: Option<Time>,
}

/// The time that an experiment has used, by the controller's wall clock. What joins it later has only the
/// rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Clock {
    /// Used until it was paused last, as a Go duration.
    pub used: String,
    /// Since when it runs; absent while it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_since: Option<Time>,
}

/// Counts over all targets, whether listed or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetCounts {
    /// Targets selected.
    pub selected: u32,
    /// Targets on which the fault was read back.
    pub injected: u32,
    /// Targets that had the fault and are free of it again.
    pub recovered: u32,
    /// Targets on which injecting or undoing failed last.
    pub failed: u32,
}

/// What an experiment should be doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DesiredPhase {
    /// Its faults should be in place.
    Run,
    /// Its faults should be gone.
    Stop,
}

/// What is known of one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// `namespace/pod`, or `namespace/pod/container` for faults that act on containers.
    pub id: String,
    /// `.` for the selector, `.Target` for `spec.target`.
    pub selector_key: String,
    /// `Injected` or `Not Injected`.
    pub phase: RecordPhase,
    /// How often it was injected.
    pub injected_count: u32,
    /// How often it recovered.
    pub recovered_count: u32,
    /// What happened last: at most the latest failure or the latest success.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<RecordEvent>,
}

/// Chaos Mesh's words for the phase of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RecordPhase {
    /// The fault is not in place.
    #[serde(rename = "Not Injected")]
    NotInjected,
    /// The fault is in place.
    Injected,
}

/// One entry of a record's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordEvent {
    /// `Succeeded` or `Failed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `Apply` or `Recover`.
    pub operation: String,
    /// The evidence read back from the kernel, or the error with its cure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When.
    pub timestamp: Time,
}

impl ChaosStatus {
    /// The condition of this kind, if it was decided.
    pub fn condition(&self, kind: ConditionKind) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// Whether nothing has changed but how far it is: the records of its targets, and their counts.
    pub fn differs_in_progress_alone(&self, new: &Self) -> bool {
        let rest = |status: &Self| {
            let experiment = ExperimentStatus {
                container_records: Vec::new(),
                targets: None,
                injected: None,
                ..status.experiment.clone()
            };
            Self { experiment, ..status.clone() }
        };
        self.experiment.targets.is_some() && self != new && rest(self) == rest(new)
    }

    /// Whether the condition of this kind is `True`.
    pub fn is(&self, kind: ConditionKind) -> bool {
        self.condition(kind).is_some_and(|condition| condition.status == "True")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_counts_and_records_and_nothing_else() {
        let counts = |injected| Some(TargetCounts { selected: 3, injected, ..TargetCounts::default() });
        let experiment = ExperimentStatus {
            targets: counts(1),
            injected: Some("1/3".to_owned()),
            ..ExperimentStatus::default()
        };
        let status = ChaosStatus { experiment, ..ChaosStatus::default() };
        let change = |change: &dyn Fn(&mut ChaosStatus)| {
            let mut new = status.clone();
            change(&mut new);
            status.differs_in_progress_alone(&new)
        };
        assert!(change(&|new| new.experiment.targets = counts(2)));
        assert!(change(&|new| new.experiment.injected = Some("2/3".to_owned())));
        assert!(!change(&|_| {}), "nothing is new");
        assert!(!change(&|new| new.experiment.ended = Some("Halted".to_owned())));
        assert!(!change(&|new| new.observed_generation = Some(2)));
        assert!(!change(&|new| {
            new.experiment.targets = counts(3);
            new.experiment.desired_phase = Some(DesiredPhase::Stop);
        }));
        assert!(!ChaosStatus::default().differs_in_progress_alone(&status), "the first counts are news");
    }
}
