//! One line per experiment.

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::DynamicObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Remaining, Table, age, status, word};
use crate::api::TargetCounts;

/// What stands where there is nothing.
const NONE: &str = "-";

/// An experiment at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// Its kind, such as `NetworkChaos`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it does, if its kind has actions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// `Waiting`, `Selected`, `Injecting`, `Injected`, `Paused`, `Stopping`, `Recovering`, `Finished` or `Invalid`.
    pub phase: String,
    /// Why it is over, such as `DurationElapsed`, once it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Counts over all targets, once some were selected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<TargetCounts>,
    /// How long it lasts in all, as the file says it; absent: until it is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Whole seconds that are left on the node that has most left; stands still while it is paused. Absent if it
    /// has no end or nothing was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_seconds: Option<u64>,
    /// When it was created, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// For people: what remains. It is not written out, for `remaining_seconds` says it to scripts.
    #[serde(skip)]
    pub left: Remaining,
}

impl Overview {
    /// From the object of this kind and what its Injections say of the time that it has left.
    pub fn new(kind: &str, object: &DynamicObject, left: Remaining) -> Self {
        let status = status(object);
        let text = |path: &str| object.data.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let overview = Self {
            kind: kind.to_owned(),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            action: text("/spec/action"),
            phase: word(&status, object.metadata.deletion_timestamp.is_some()).to_owned(),
            ended: status.experiment.ended.clone(),
            targets: status.experiment.targets,
            duration: text("/spec/duration").filter(|text| !text.is_empty()),
            remaining_seconds: None,
            created: object.creation_timestamp().map(|created| created.0.to_string()),
            left: Remaining::Unknown,
        };
        overview.with_left(left)
    }

    /// The same at a time when so much is left.
    #[must_use]
    pub fn with_left(self, left: Remaining) -> Self {
        // What is over has nothing left, whatever its parts on the nodes still say.
        let left = if self.ended.is_some() { Remaining::Unknown } else { left };
        Self { remaining_seconds: left.seconds(), left, ..self }
    }

    /// What remains and of how much: `42s/1m`, with a dash for what is not known.
    pub fn time(&self) -> String {
        // One that was read back knows its seconds only.
        let seconds =
            || self.remaining_seconds.map(|left| age::human(i64::try_from(left).unwrap_or(i64::MAX)));
        let left = self.left.text().or_else(seconds);
        match (left, &self.duration) {
            (left, Some(duration)) => format!("{}/{duration}", left.as_deref().unwrap_or(NONE)),
            (_, None) => "until stopped".to_owned(),
        }
    }

    /// The table of all; nothing without an experiment.
    pub fn table(all: &[Self], now: Timestamp) -> Vec<String> {
        if all.is_empty() {
            return Vec::new();
        }
        let headers = ["NAMESPACE", "KIND", "NAME", "PHASE", "TARGETS", "REMAINING/DURATION", "AGE"];
        let mut rows = vec![headers.map(str::to_owned).to_vec()];
        rows.extend(all.iter().map(|overview| overview.row(now)));
        Table::default().lines(&rows)
    }

    fn row(&self, now: Timestamp) -> Vec<String> {
        let targets = self.targets.filter(|targets| targets.selected > 0);
        vec![
            self.namespace.clone(),
            self.kind.to_lowercase(),
            self.name.clone(),
            self.phase.clone(),
            targets
                .map_or_else(|| NONE.to_owned(), |counts| format!("{}/{}", counts.injected, counts.selected)),
            self.time(),
            age::of(self.created.as_deref(), now),
        ]
    }
}
