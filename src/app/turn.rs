//! `+` and `-`: what a fault's magnitude would be some steps up or down, and the patch that makes it so.
//!
//! Steps are round numbers: 100, 150, 200, 300, 500, 750 ms, 1 s; 5, 10, 15 … 100 %. A value in between goes to the
//! next round one first.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::api::GoDuration;

/// What a turn makes of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Turned {
    /// What is turned, such as `latency`.
    pub name: &'static str,
    /// What it is.
    pub from: String,
    /// What it would be.
    pub to: String,
    /// The merge patch (RFC 7396) that makes it so.
    pub patch: Value,
}

/// Magnitudes by the action that they belong to: its block in the spec, its field, and whether it is a time.
const MAGNITUDES: [(&str, &str, &str, bool); 4] = [
    ("delay", "delay", "latency", true),
    ("loss", "loss", "loss", false),
    ("duplicate", "duplicate", "duplicate", false),
    ("corrupt", "corrupt", "corrupt", false),
];

/// The magnitude of this experiment `steps` up, or down if they are negative. Nothing if it has none.
pub fn turned(experiment: &DynamicObject, steps: i32) -> Option<Turned> {
    let spec = experiment.data.get("spec")?;
    let action = spec.get("action")?.as_str()?;
    // `netem` is all of them at once: the first that is there is turned.
    let of_action = MAGNITUDES.iter().filter(|(name, ..)| *name == action || action == "netem");
    of_action.copied().find_map(|(_, block, field, is_time)| {
        let from = spec.get(block)?.get(field)?.as_str()?;
        let to = if is_time { time(from, steps)? } else { percent(from, steps)? };
        let patch = json!({"spec": {block: {field: to}}});
        Some(Turned { name: field, from: from.to_owned(), to, patch })
    })
}

/// The least time, in nanoseconds: less is lost in what the shaper itself needs.
const LEAST: i64 = 100_000;
/// The most: a minute.
const MOST: i64 = 60_000_000_000;
/// The round numbers of each power of ten, in hundredths.
const ROUND: [i64; 6] = [100, 150, 200, 300, 500, 750];

fn time(text: &str, steps: i32) -> Option<String> {
    let mut nanos = text.parse::<GoDuration>().ok()?.as_nanos();
    let mut all = Vec::new();
    let mut power = 1_000;
    while power <= MOST {
        all.extend(ROUND.iter().map(|round| round * power / 100));
        power *= 10;
    }
    all.retain(|round| (LEAST..=MOST).contains(round));
    for _ in 0..steps.unsigned_abs() {
        nanos = if steps > 0 {
            all.iter().copied().find(|round| *round > nanos).unwrap_or(nanos)
        } else {
            all.iter().rev().copied().find(|round| *round < nanos).unwrap_or(nanos)
        };
    }
    Some(GoDuration::from_nanos(nanos).to_string())
}

fn percent(text: &str, steps: i32) -> Option<String> {
    let mut percent: f64 = text.parse().ok()?;
    let fine = [0.1, 0.5, 1.0, 2.0, 3.0];
    let all: Vec<f64> = fine.into_iter().chain((1..=20).map(|step| f64::from(step) * 5.0)).collect();
    for _ in 0..steps.unsigned_abs() {
        percent = if steps > 0 {
            all.iter().copied().find(|round| *round > percent).unwrap_or(percent)
        } else {
            all.iter().rev().copied().find(|round| *round < percent).unwrap_or(percent)
        };
    }
    Some(percent.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment(spec: &Value) -> DynamicObject {
        serde_json::from_value(json!({"metadata": {"name": "e"}, "spec": spec})).unwrap()
    }

    #[test]
    fn to_the_next_round_number() {
        for (from, steps, to) in [
            ("150ms", 1, "200ms"),
            ("150ms", 3, "500ms"),
            ("150ms", -1, "100ms"),
            ("160ms", 1, "200ms"),
            ("160ms", -1, "150ms"),
            ("750ms", 1, "1s"),
            ("1s", -1, "750ms"),
            ("100us", -1, "100µs"),
            ("59s", 5, "59s"),
            ("150ms", 0, "150ms"),
        ] {
            let delay = json!({"action": "delay", "delay": {"latency": from, "jitter": "10ms"}});
            let turned = turned(&experiment(&delay), steps).unwrap();
            assert_eq!((turned.name, turned.to.as_str()), ("latency", to), "{from} by {steps}");
            assert_eq!(turned.patch, json!({"spec": {"delay": {"latency": to}}}));
        }
        for (from, steps, to) in
            [("25", 1, "30"), ("25", -1, "20"), ("5", -1, "3"), ("100", 1, "100"), ("0.1", -1, "0.1")]
        {
            let turned =
                turned(&experiment(&json!({"action": "loss", "loss": {"loss": from}})), steps).unwrap();
            assert_eq!(turned.to, to, "{from} by {steps}");
        }
    }

    #[test]
    fn what_has_no_magnitude_is_not_turned() {
        for spec in [
            json!({"action": "partition"}),
            json!({"action": "pod-kill"}),
            json!({"action": "delay"}),
            json!({"action": "delay", "delay": {"latency": "soon"}}),
        ] {
            assert_eq!(turned(&experiment(&spec), 1), None, "{spec}");
        }
        let netem = json!({"action": "netem", "loss": {"loss": "5"}, "delay": {"latency": "20ms"}});
        assert_eq!(turned(&experiment(&netem), 1).unwrap().name, "latency");
    }
}
