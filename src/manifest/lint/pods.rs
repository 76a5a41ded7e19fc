//! Lints of PodChaos.

use serde_json::Value;

use super::Lint;

/// Actions that are done when they have begun.
const ONE_SHOT: [&str; 2] = ["pod-kill", "container-kill"];

/// Fields that one action alone reads.
const OF_ONE_ACTION: [(&str, &str); 2] = [("gracePeriod", "pod-kill"), ("containerNames", "container-kill")];

/// Whether the action has no end of its own, so that a duration says nothing.
pub(super) fn is_one_shot(spec: &Value) -> bool {
    spec.get("action").and_then(Value::as_str).is_some_and(|action| ONE_SHOT.contains(&action))
}

pub(super) fn lint(lint: &mut Lint<'_>) {
    let Some(action) = lint.text("/action") else { return };
    if is_one_shot(lint.spec) && lint.text("/duration").is_some_and(|text| !text.is_empty()) {
        lint.warn(
            "spec.duration",
            format!("action {action} is done at once; its duration is passed over"),
            "remove it",
        );
    }
    for (field, owner) in OF_ONE_ACTION.into_iter().filter(|(_, owner)| *owner != action) {
        let empty = match lint.get(&format!("/{field}")) {
            None => true,
            Some(Value::Array(names)) => names.is_empty(),
            // The default, which a file may write out.
            Some(value) => value.as_i64() == Some(0),
        };
        if !empty {
            lint.warn(format!("spec.{field}"), format!("only action {owner} reads it"), "remove it");
        }
    }
}
