//! Fields that a kind does not have. An API server drops them silently; a typing error would then be
//! an experiment that does something else than its author wrote.

use serde_json::Value;

use super::MAX_DIAGNOSTICS;
use super::finding::Finding;
use crate::api::Problem;

/// Finds the fields of `spec` that `schema` does not know: the first [`MAX_DIAGNOSTICS`].
pub(super) fn fields(schema: &Value, spec: &Value, findings: &mut Vec<Finding>) {
    let mut places = Vec::new();
    collect(schema, "spec", &mut places);
    Search { places, findings }.fields(schema, spec, "spec");
}

struct Search<'a> {
    /// Every field that there is: its path and its name.
    places: Vec<(String, &'a str)>,
    findings: &'a mut Vec<Finding>,
}

impl Search<'_> {
    fn fields(&mut self, schema: &Value, value: &Value, path: &str) {
        match value {
            Value::Object(object) => {
                let properties = schema.get("properties").and_then(Value::as_object);
                let additional = schema.get("additionalProperties");
                for (key, value) in object {
                    if self.findings.len() >= MAX_DIAGNOSTICS {
                        return;
                    }
                    let below = format!("{path}.{key}");
                    if let Some(schema) = properties.and_then(|all| all.get(key)).or(additional) {
                        self.fields(schema, value, &below);
                    } else if let Some(properties) = properties {
                        let elsewhere = self.elsewhere(key, path);
                        self.findings.push(match elsewhere {
                            Some(cure) => Finding::error_at_key(Problem::new(below, UNKNOWN, cure)),
                            None => finding(below, key, properties.keys().map(String::as_str)),
                        });
                    }
                }
            }
            Value::Array(items) => {
                if let Some(schema) = schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.fields(schema, item, &format!("{path}[{index}]"));
                    }
                }
            }
            _ => {}
        }
    }

    /// Where a field of that name belongs: below `path` if it can, else as near to the root as it can.
    fn elsewhere(&self, key: &str, path: &str) -> Option<String> {
        let all: Vec<&str> =
            self.places.iter().filter(|(_, name)| *name == key).map(|(place, _)| place.as_str()).collect();
        let below = |place: &&str| place.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
        let inner: Vec<_> = all.iter().copied().filter(below).collect();
        let mut found = if inner.is_empty() { all } else { inner };
        let depth = |place: &str| place.matches('.').count();
        let least = found.iter().map(|place| depth(place)).min()?;
        found.retain(|place| depth(place) == least);
        Some(match found.as_slice() {
            [one] => format!("it belongs below {one}; check the indentation"),
            several => format!("it belongs below one of {}", several.join(", ")),
        })
    }
}

/// Every named field below `path`, as its parent's path and its own name.
fn collect<'a>(schema: &'a Value, path: &str, places: &mut Vec<(String, &'a str)>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, schema) in properties.into_iter().flatten() {
        places.push((path.to_owned(), name));
        collect(schema, &format!("{path}.{name}"), places);
    }
}

const UNKNOWN: &str = "unknown field";

/// The unknown field `key` at `path`, where `known` are the known ones.
pub(super) fn finding<'a>(path: String, key: &str, known: impl Iterator<Item = &'a str>) -> Finding {
    let known: Vec<_> = known.collect();
    let cure = match nearest(key, known.iter().copied()) {
        Some(near) => format!("write {near}"),
        None => format!("remove it; the fields here are {}", known.join(", ")),
    };
    Finding::error_at_key(Problem::new(path, UNKNOWN, cure))
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
