//! A structural schema (`apiextensions/v1`) applied to an object, as an API server does it: fields
//! that the schema does not know are dropped, defaults are filled in, the rest is checked.

use serde_json::{Map, Value};

use super::Problem;

/// Drops what `schema` does not know. Kubernetes calls it pruning.
pub(super) fn prune(schema: &Value, value: &mut Value) {
    if schema.get("x-kubernetes-preserve-unknown-fields").and_then(Value::as_bool) == Some(true) {
        return;
    }
    match value {
        Value::Object(object) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let additional = schema.get("additionalProperties");
            if additional.is_none() {
                object.retain(|key, _| properties.is_some_and(|properties| properties.contains_key(key)));
            }
            for (key, value) in object.iter_mut() {
                if let Some(schema) = properties.and_then(|all| all.get(key)).or(additional) {
                    prune(schema, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    prune(schema, item);
                }
            }
        }
        _ => {}
    }
}

/// Fills in the defaults of fields that are missing, and of those that are null where null is not allowed.
pub(super) fn default(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
                default_properties(properties, object);
            }
            if let Some(additional) = schema.get("additionalProperties").filter(|schema| schema.is_object()) {
                object.values_mut().for_each(|value| default(additional, value));
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    default(schema, item);
                }
            }
        }
        _ => {}
    }
}

fn default_properties(properties: &Map<String, Value>, object: &mut Map<String, Value>) {
    for (key, schema) in properties {
        let nullable = schema.get("nullable").and_then(Value::as_bool) == Some(true);
        if object.get(key).is_some_and(Value::is_null) && !nullable {
            object.remove(key);
        }
        if let Some(value) = object.get_mut(key) {
            default(schema, value);
        } else if let Some(value) = schema.get("default") {
            object.insert(key.clone(), value.clone());
        }
    }
}

/// Checks types, required fields, enums, bounds and patterns; `path` is where `value` stands.
pub(super) fn check(schema: &Value, value: &Value, path: &str, problems: &mut Vec<Problem>) {
    if value.is_null() && schema.get("nullable").and_then(Value::as_bool) == Some(true) {
        return;
    }
    if let Some(expected) = schema.get("type").and_then(Value::as_str)
        && !is_of_type(value, expected)
    {
        let cure = if expected == "string" && (value.is_number() || value.is_boolean()) {
            format!("quote it: \"{value}\"")
        } else {
            format!("write a value of type {expected}")
        };
        problems.push(Problem::new(path, format!("must be of type {expected}, is {value}"), cure));
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let words: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
        problems.push(Problem::new(
            path,
            format!("unsupported value {value}"),
            format!("write one of {}", words.join(", ")),
        ));
    }
    match value {
        Value::Object(object) => check_object(schema, object, path, problems),
        Value::Array(items) => {
            check_size(schema, "maxItems", items.len(), "items", path, problems);
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    check(schema, item, &format!("{path}[{index}]"), problems);
                }
            }
        }
        Value::Number(number) => check_bounds(schema, number.as_f64().unwrap_or_default(), path, problems),
        Value::String(text) => {
            check_size(schema, "maxLength", text.chars().count(), "characters", path, problems);
            check_pattern(schema, text, path, problems);
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn check_object(schema: &Value, object: &Map<String, Value>, path: &str, problems: &mut Vec<Problem>) {
    check_size(schema, "maxProperties", object.len(), "entries", path, problems);
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for key in
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        if !object.contains_key(key) {
            problems.push(Problem::new(below(key), "required, but missing", "add it"));
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let additional = schema.get("additionalProperties").filter(|schema| schema.is_object());
    for (key, value) in object {
        if let Some(schema) = properties.and_then(|all| all.get(key)).or(additional) {
            check(schema, value, &below(key), problems);
        }
    }
}

/// Checks how long a text, list or map is.
fn check_size(schema: &Value, key: &str, size: usize, of: &str, path: &str, problems: &mut Vec<Problem>) {
    let most = schema.get(key).and_then(Value::as_u64).and_then(|most| usize::try_from(most).ok());
    if let Some(most) = most.filter(|most| size > *most) {
        let cure = format!("write {most} or fewer");
        problems.push(Problem::new(path, format!("{size} {of} are too many"), cure));
    }
}

fn check_bounds(schema: &Value, number: f64, path: &str, problems: &mut Vec<Problem>) {
    if let Some(least) = schema.get("minimum").and_then(Value::as_f64).filter(|least| number < *least) {
        problems.push(Problem::new(path, format!("{number} is too small"), format!("write {least} or more")));
    }
    if let Some(most) = schema.get("maximum").and_then(Value::as_f64).filter(|most| number > *most) {
        problems.push(Problem::new(path, format!("{number} is too large"), format!("write {most} or less")));
    }
}

/// The only patterns in our schemas are those of one-unit durations; they are compared by grammar, so
/// that no expression engine is needed for them. A test holds the schemas to it.
fn check_pattern(schema: &Value, text: &str, path: &str, problems: &mut Vec<Problem>) {
    if schema.get("pattern").and_then(Value::as_str) == Some(ONE_UNIT_DURATION) && !is_one_unit_duration(text)
    {
        problems.push(Problem::new(
            path,
            format!("\"{text}\" is not one number with one unit"),
            "write something like \"150ms\"; units are ns, us, ms, s, m, h",
        ));
    }
}

/// The pattern of `latency` and `jitter` in the schema of Chaos Mesh.
pub(super) const ONE_UNIT_DURATION: &str = r"^[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h)$";

fn is_one_unit_duration(text: &str) -> bool {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = match number.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(number),
    };
    number && ["ns", "us", "ms", "s", "m", "h"].contains(&unit)
}

fn is_of_type(value: &Value, expected: &str) -> bool {
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    }
}
