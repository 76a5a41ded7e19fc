//! What an experiment does and to whom, a line each, from its spec as the API server has it.

use kube::api::DynamicObject;
use serde_json::Value;

/// The blocks of a network fault's spec that hold magnitudes.
const BLOCKS: [&str; 6] = ["delay", "loss", "duplicate", "corrupt", "rate", "bandwidth"];

/// The fields of a block that say how much; what refines them stands behind them.
const MAIN: [&str; 5] = ["latency", "loss", "duplicate", "corrupt", "rate"];

/// The action and its parameters: `delay latency=150ms jitter=10ms`.
pub(super) fn what(object: &DynamicObject) -> String {
    let Some(spec) = object.data.get("spec") else { return String::new() };
    let mut words: Vec<String> =
        spec.get("action").and_then(Value::as_str).map(str::to_owned).into_iter().collect();
    for block in BLOCKS.iter().filter_map(|block| spec.get(block)?.as_object()) {
        let mut fields: Vec<_> =
            block.iter().filter(|(_, value)| !value.is_object() && !value.is_array()).collect();
        fields.sort_by_key(|(name, _)| !MAIN.contains(&name.as_str()));
        words.extend(fields.into_iter().map(|(name, value)| format!("{name}={}", plain(value))));
    }
    words.join(" ")
}

/// Whom it hits: `all of app=server-app, to all of app=mongo`.
pub(super) fn whom(object: &DynamicObject) -> String {
    let Some(spec) = object.data.get("spec") else { return String::new() };
    let mut line = selected(spec);
    if let Some(target) = spec.get("target").filter(|target| target.is_object()) {
        let direction = spec.get("direction").and_then(Value::as_str).unwrap_or("to");
        line = format!("{line}, {direction} {}", selected(target));
    }
    line
}

/// The mode and the selector in `block`.
fn selected(block: &Value) -> String {
    let text = |name: &str| block.get(name).map(plain);
    let mode = match (text("mode"), text("value").filter(|value| !value.is_empty())) {
        (Some(mode), Some(value)) => format!("{mode} {value}"),
        (Some(mode), None) => mode,
        (None, _) => "all".to_owned(),
    };
    let words = block.get("selector").map(words).unwrap_or_default();
    if words.is_empty() { mode } else { format!("{mode} of {}", words.join(" ")) }
}

/// The parts of a selector: labels as they are, everything else under its name.
fn words(selector: &Value) -> Vec<String> {
    let mut words = Vec::new();
    for (name, value) in selector.as_object().into_iter().flatten() {
        match (name.as_str(), value) {
            ("labelSelectors", Value::Object(labels)) => {
                words.extend(labels.iter().map(|(key, value)| format!("{key}={}", plain(value))));
            }
            (_, Value::Object(map)) if map.is_empty() => {}
            (_, Value::Array(list)) if list.is_empty() => {}
            (_, Value::Array(list)) => {
                words.push(format!("{name}={}", list.iter().map(plain).collect::<Vec<_>>().join(",")));
            }
            _ => words.push(format!("{name}={}", plain(value))),
        }
    }
    words
}

/// A value as the user wrote it: text without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_it_does_and_to_whom() {
        for (spec, expected) in [
            (
                json!({"action": "delay", "mode": "all", "selector": {"labelSelectors": {"app": "web"}},
                    "delay": {"correlation": "25", "jitter": "10ms", "latency": "150ms", "reorder": {"gap": 1}},
                    "direction": "both", "target": {"mode": "one", "selector": {"labelSelectors": {"app": "db"}}}}),
                ("delay latency=150ms correlation=25 jitter=10ms", "all of app=web, both one of app=db"),
            ),
            (
                json!({"action": "pod-kill", "mode": "fixed", "value": "2",
                    "selector": {"namespaces": ["a", "b"], "pods": {}}}),
                ("pod-kill", "fixed 2 of namespaces=a,b"),
            ),
            (json!({"mode": "one"}), ("", "one")),
        ] {
            let object = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            assert_eq!((what(&object).as_str(), whom(&object).as_str()), expected);
        }
    }
}
