//! How much of its time an experiment has left, from what the daemons wrote of it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::age;
use crate::api::{GoDuration, Injection};

/// What is left of an experiment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Remaining {
    /// No node has a part of it, or nobody may look.
    #[default]
    Unknown,
    /// It has no duration.
    UntilStopped,
    /// This long; on the node that has most.
    Time(Duration),
}

impl Remaining {
    /// From the experiment's Injections.
    pub fn of<'a>(injections: impl IntoIterator<Item = &'a Injection>, now: Timestamp) -> Self {
        injections.into_iter().map(|injection| on_node(injection, now)).fold(Self::Unknown, Self::longer)
    }

    fn longer(self, other: Self) -> Self {
        match (self, other) {
            (Self::UntilStopped, _) | (_, Self::UntilStopped) => Self::UntilStopped,
            (Self::Time(one), Self::Time(another)) => Self::Time(one.max(another)),
            (Self::Unknown, known) | (known, Self::Unknown) => known,
        }
    }

    /// For a table and the end of a line: `42s`, `until stopped`; nothing if it is not known.
    pub fn text(self) -> Option<String> {
        match self {
            Self::Unknown => None,
            Self::UntilStopped => Some("until stopped".to_owned()),
            Self::Time(left) => Some(age::human(i64::try_from(left.as_secs()).unwrap_or(i64::MAX))),
        }
    }

    /// Whole seconds, if there is an end.
    pub const fn seconds(self) -> Option<u64> {
        match self {
            Self::Time(left) => Some(left.as_secs()),
            Self::Unknown | Self::UntilStopped => None,
        }
    }
}

fn on_node(injection: &Injection, now: Timestamp) -> Remaining {
    let spec = &injection.spec;
    let Some(total) = spec.effective_remaining() else { return Remaining::UntilStopped };
    let status = injection.status.as_ref().filter(|status| status.observed_run == spec.run);
    let Some(status) = status else { return Remaining::Time(total) };
    if status.ended.is_some() {
        return Remaining::Time(Duration::ZERO);
    }
    let used = if spec.paused {
        status.elapsed.as_deref().and_then(|text| text.parse::<GoDuration>().ok()?.to_std())
    } else {
        status.started_at.as_ref().and_then(|started| Duration::try_from(now.duration_since(started.0)).ok())
    };
    Remaining::Time(total.saturating_sub(used.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn injection(paused: bool, remaining: Option<&str>, status: &serde_json::Value) -> Injection {
        serde_json::from_value(json!({
            "apiVersion": "squall.dev/v1alpha1", "kind": "Injection", "metadata": {"name": "i"},
            "spec": {
                "experiment": {"kind": "NetworkChaos", "namespace": "default", "name": "p", "uid": "u"},
                "node": "machine1", "targets": [], "fault": {}, "paused": paused, "run": 2, "remaining": remaining,
                "notAfter": "2026-01-01T01:00:00Z", "lease": "30s",
            },
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn counted_from_the_first_injection_and_standing_still_while_paused() {
        let now: Timestamp = "2026-01-01T00:00:20Z".parse().unwrap();
        let seconds = |seconds| Remaining::Time(Duration::from_secs(seconds));
        let started = json!({"observedRun": 2, "startedAt": "2026-01-01T00:00:05Z"});
        let paused = json!({"observedRun": 2, "startedAt": "2026-01-01T00:00:05Z", "elapsed": "7s"});
        for (what, injection, expected) in [
            ("no duration", injection(false, None, &started), Remaining::UntilStopped),
            ("not begun", injection(false, Some("1m"), &json!({})), seconds(60)),
            ("running", injection(false, Some("1m"), &started), seconds(45)),
            ("paused", injection(true, Some("1m"), &paused), seconds(53)),
            ("late", injection(false, Some("10s"), &started), seconds(0)),
            (
                "of the run before",
                injection(false, Some("9s"), &json!({"observedRun": 1, "ended": "DurationElapsed"})),
                seconds(9),
            ),
        ] {
            assert_eq!(Remaining::of([&injection], now), expected, "{what}");
        }
        assert_eq!(Remaining::of([], now), Remaining::Unknown);
        let short = injection(false, Some("9s"), &json!({}));
        let long = injection(false, Some("90s"), &json!({}));
        assert_eq!(Remaining::of([&short, &long], now).text().as_deref(), Some("90s"));
    }
}
