//! Fields that a kind does not have. An API server drops them silently; a typing error would then be
//! an experiment that does something else than its author wrote.

use serde_json::Value;

use super::MAX_DIAGNOSTICS;
use crate::api::Problem;

/// Finds the fields of `value` that `schema` does not know: the first [`MAX_DIAGNOSTICS`].
pub(super) fn fields(schema: &Value, value: &Value, path: &str, problems: &mut Vec<Problem>) {
    match value {
        Value::Object(object) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let additional = schema.get("additionalProperties");
            for (key, value) in object {
                if problems.len() >= MAX_DIAGNOSTICS {
                    return;
                }
                let path = format!("{path}.{key}");
                if let Some(schema) = properties.and_then(|all| all.get(key)).or(additional) {
                    fields(schema, value, &path, problems);
                } else if let Some(properties) = properties {
                    problems.push(problem(path, key, properties.keys().map(String::as_str)));
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    fields(schema, item, &format!("{path}[{index}]"), problems);
                }
            }
        }
        _ => {}
    }
}

/// The unknown field `key` at `path`, where `known` are the known ones.
pub(super) fn problem<'a>(path: String, key: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let known: Vec<_> = known.collect();
    let cure = match nearest(key, known.iter().copied()) {
        Some(near) => format!("write {near}"),
        None => format!("remove it; the fields here are {}", known.join(", ")),
    };
    Problem::new(path, "unknown field", cure)
}

/// The known word that `word` was probably meant to be: one error in three letters at most.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The comparison is quadratic; no name of ours is near one that long.
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let lower = word.to_lowercase();
    known
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| distance * 3 <= candidate.len().max(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn nearest_words() {
        let known = ["selector", "mode", "value", "labelSelectors", "delay"];
        for (word, expected) in [
            ("selectors", Some("selector")),
            ("Mode", Some("mode")),
            ("labelSelector", Some("labelSelectors")),
            ("dealy", Some("delay")),
            ("scheduler", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), expected, "{word}");
        }
    }
}
