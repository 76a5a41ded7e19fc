//! Label and field selectors of list, watch and deletecollection.
//!
//! Grammar: `k8s.io/apimachinery/pkg/labels` (without the `>` and `<` of node affinity) and `pkg/fields` (without escapes:
//! no selectable field holds a comma). Nothing here knows the store; a selector looks at one object.

use serde_json::Value;

use super::{Resource, StatusError};

/// Both selectors of a request, parsed.
#[derive(Default)]
pub(super) struct Selector {
    labels: Vec<LabelRequirement>,
    fields: Vec<FieldRequirement>,
}

struct LabelRequirement {
    key: String,
    /// `None`: any value will do.
    values: Option<Vec<String>>,
    /// `!=`, `notin`, `!key`; an object without the label satisfies these.
    negated: bool,
}

struct FieldRequirement {
    pointer: String,
    equal: bool,
    value: String,
}

impl Selector {
    /// Parses both selectors; only the fields that the resource declares selectable are accepted.
    pub(super) fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Self, StatusError> {
        let labels = split_outside_parentheses(labels)
            .into_iter()
            .map(|text| parse_label(text).ok_or(text))
            .collect::<Result<_, _>>()
            .map_err(|text| StatusError::bad_request(format!("unable to parse requirement: {text:?}")))?;
        let fields = fields.split(',').filter(|text| !text.is_empty());
        let fields = fields.map(|text| parse_field(resource, text)).collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// Whether the object is selected.
    pub(super) fn matches(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        self.labels.iter().all(|requirement| {
            let value = labels.and_then(|labels| labels.get(&requirement.key)?.as_str());
            let found = match &requirement.values {
                None => value.is_some(),
                Some(wanted) => value.is_some_and(|value| wanted.iter().any(|wanted| wanted == value)),
            };
            found != requirement.negated
        }) && self.fields.iter().all(|requirement| {
            let value = match object.pointer(&requirement.pointer) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            (value == requirement.value) == requirement.equal
        })
    }
}

fn parse_label(text: &str) -> Option<LabelRequirement> {
    let (key, values, negated) = if let Some((head, values)) = text.split_once('(') {
        let values =
            values.trim_end().strip_suffix(')')?.split(',').map(label_value).collect::<Option<_>>()?;
        let (key, operator) = head.trim().rsplit_once(char::is_whitespace)?;
        let known = ["in", "notin"].iter().position(|known| *known == operator)?;
        (key, Some(values), known == 1)
    } else if let Some((key, value)) = text.split_once("!=") {
        (key, Some(vec![label_value(value)?]), true)
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        (key, Some(vec![label_value(value)?]), false)
    } else {
        let key = text.trim();
        (key.trim_start_matches('!'), None, key.starts_with('!'))
    };
    let key = key.trim();
    let valid = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    valid.then(|| LabelRequirement { key: key.to_owned(), values, negated })
}

fn label_value(text: &str) -> Option<String> {
    let text = text.trim();
    text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)).then(|| text.to_owned())
}

fn parse_field(resource: &Resource, text: &str) -> Result<FieldRequirement, StatusError> {
    let (equal, pair) = match text.split_once("!=") {
        Some(pair) => (false, Some(pair)),
        None => (true, text.split_once("==").or_else(|| text.split_once('='))),
    };
    let (path, value) = pair.ok_or_else(|| {
        StatusError::bad_request(format!("invalid selector: {text:?}; can't understand {text:?}"))
    })?;
    let path = path.trim();
    let always: &[&str] =
        if resource.namespaced { &["metadata.name", "metadata.namespace"] } else { &["metadata.name"] };
    if !always.contains(&path) && !resource.selectable.contains(&path) {
        return Err(StatusError::bad_request(format!("field label not supported: {path}")));
    }
    Ok(FieldRequirement { pointer: format!("/{}", path.replace('.', "/")), equal, value: value.to_owned() })
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let parts = text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    if text.trim().is_empty() { Vec::new() } else { parts.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pods() -> Resource {
        Resource::builtin().into_iter().find(|resource| resource.plural == "pods").unwrap()
    }

    #[test]
    fn selectors_select_as_in_kubernetes() {
        let object = json!({
            "metadata": { "name": "a", "namespace": "ns", "labels": { "app": "mongo", "tier": "", "x.io/y": "1" } },
            "spec": { "nodeName": "machine2" },
        });
        for (labels, fields, expected) in [
            ("", "", true),
            ("app=mongo", "", true),
            ("app==mongo,tier", "", true),
            ("app = mongo , x.io/y in (0, 1)", "", true),
            ("app!=mongo", "", false),
            ("missing!=mongo", "", true),
            ("app in (movies,mongo),tier in ()", "", true),
            ("app notin (movies)", "", true),
            ("missing notin (movies)", "", true),
            ("missing in (movies)", "", false),
            ("missing", "", false),
            ("!missing", "", true),
            ("!app", "", false),
            ("tier=", "", true),
            ("", "spec.nodeName=machine2", true),
            ("", "spec.nodeName==machine2,metadata.namespace=ns", true),
            ("", "spec.nodeName!=machine2", false),
            ("", "status.phase=", true),
            ("app=mongo", "spec.nodeName=machine1", false),
        ] {
            let selector = Selector::parse(&pods(), labels, fields).unwrap();
            assert_eq!(selector.matches(&object), expected, "labels {labels:?}, fields {fields:?}");
        }
    }

    #[test]
    fn malformed_selectors_are_bad_requests() {
        for (labels, fields) in [
            ("app in (mongo", ""),
            ("app among (mongo)", ""),
            ("=mongo", ""),
            ("app=a b", ""),
            ("a&b", ""),
            ("", "spec.nodeName"),
            ("", "spec.containers=x"),
        ] {
            let error = Selector::parse(&pods(), labels, fields).err().unwrap();
            assert_eq!(error.reason(), "BadRequest", "labels {labels:?}, fields {fields:?}");
        }
    }
}
