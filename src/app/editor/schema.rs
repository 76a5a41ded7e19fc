//! What may stand where in an experiment: the schemas of the CRDs, with the parts that every object has.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::outline::Step;
use crate::api;

/// The group whose objects are written by hand.
const GROUP: &str = "chaos-mesh.org";

/// A field that may stand somewhere.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Its schema.
    schema: &'a Value,
    /// Whether it must be there.
    pub required: bool,
}

/// What is written for a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    Scalar,
    /// Keys of its own.
    Object,
    /// Items.
    List,
    /// Keys that the user chooses.
    Map,
}

/// By kind, the schema of the whole object.
static ROOTS: LazyLock<BTreeMap<&'static str, Value>> = LazyLock::new(|| {
    let kinds: Vec<_> = api::custom_kinds().iter().filter(|kind| kind.group == GROUP).collect();
    let names: Vec<_> = kinds.iter().map(|kind| kind.kind).collect();
    let root = |kind: &api::CustomKind| {
        let spec = kind.schema().pointer("/properties/spec").cloned().unwrap_or_default();
        let texts = json!({"type": "string"});
        json!({
            "type": "object",
            "required": ["apiVersion", "kind", "metadata", "spec"],
            "properties": {
                "apiVersion": {"type": "string", "enum": [format!("{}/{}", kind.group, kind.version)],
                    "description": "The group of the kind, and its version."},
                "kind": {"type": "string", "enum": names, "description": "What is to be done, as a kind of object."},
                "metadata": {"type": "object", "required": ["name"], "description": "What the object is called.",
                    "properties": {
                        "name": {"type": "string", "description":
                            "The name of the experiment: small letters, digits, - and .; one of its kind in a namespace."},
                        "namespace": {"type": "string", "description":
                            "The namespace that the experiment lives in; without it the one that is shown, or `default`."},
                        "labels": {"type": "object", "additionalProperties": texts, "description":
                            "Labels of the experiment itself."},
                        "annotations": {"type": "object", "additionalProperties": texts, "description":
                            "Annotations of the experiment itself."},
                    }},
                "spec": spec,
            },
        })
    };
    kinds.iter().map(|kind| (kind.kind, root(kind))).collect()
});

/// The schema of the whole object of this kind; of any kind, if there is none of that name.
pub fn root(kind: &str) -> Option<Field<'static>> {
    let schema = ROOTS.get(kind).or_else(|| ROOTS.values().next())?;
    Some(Field { schema, required: true })
}

/// Whether there is a kind of this name.
pub fn is_kind(kind: &str) -> bool {
    ROOTS.contains_key(kind)
}

/// The field at this path of an object of this kind.
pub fn at(kind: &str, path: &[Step]) -> Option<Field<'static>> {
    let mut field = root(kind)?;
    for step in path {
        // Without a kind nobody knows what its spec has.
        if matches!(step, Step::Key(key) if key == "spec") && !is_kind(kind) {
            return None;
        }
        field = field.step(step)?;
    }
    Some(field)
}

impl<'a> Field<'a> {
    fn step(&self, step: &Step) -> Option<Self> {
        match step {
            Step::Item(_) => self.items(),
            Step::Key(key) => self.key(key),
        }
    }

    /// The field below this key.
    pub fn key(&self, key: &str) -> Option<Self> {
        let own = self.schema.get("properties").and_then(|properties| properties.get(key));
        let schema = own.or_else(|| self.schema.get("additionalProperties").filter(|any| any.is_object()))?;
        let required = self.schema.get("required").and_then(Value::as_array);
        let required = required.is_some_and(|required| required.iter().any(|name| name == key));
        Some(Self { schema, required })
    }

    fn items(&self) -> Option<Self> {
        self.schema.get("items").map(|schema| Self { schema, required: false })
    }

    /// The keys that may stand in it, those first that must.
    pub fn keys(&self) -> Vec<(&'a str, Self)> {
        let properties = self.schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        let mut keys: Vec<_> =
            properties.filter_map(|(name, _)| Some((name.as_str(), self.key(name)?))).collect();
        keys.sort_by_key(|(_, field)| !field.required);
        keys
    }

    /// What is written for it.
    pub fn shape(&self) -> Shape {
        match self.word() {
            "array" => Shape::List,
            "object" if self.schema.get("properties").is_some() => Shape::Object,
            "object" => Shape::Map,
            _ => Shape::Scalar,
        }
    }

    /// Its type, as the schema calls it.
    pub fn word(&self) -> &'a str {
        self.schema.get("type").and_then(Value::as_str).unwrap_or("string")
    }

    /// The words that it may be, if they are listed.
    pub fn words(&self) -> Vec<String> {
        let listed = self.schema.get("enum").and_then(Value::as_array).into_iter().flatten();
        let mut words: Vec<_> = listed.filter_map(Value::as_str).map(str::to_owned).collect();
        if self.word() == "boolean" {
            words = vec!["true".to_owned(), "false".to_owned()];
        }
        words
    }

    /// What it is for, in words; empty if nobody wrote it down.
    pub fn about(&self) -> &'a str {
        self.schema.get("description").and_then(Value::as_str).unwrap_or_default()
    }

    /// What it is if it is not there.
    pub fn default(&self) -> Option<String> {
        match self.schema.get("default")? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::outline::path;
    use super::*;

    #[test]
    fn every_kind_has_its_fields() {
        for (kind, of, shape, word) in [
            ("NetworkChaos", "spec.action", Shape::Scalar, "delay"),
            ("NetworkChaos", "spec.target.mode", Shape::Scalar, "fixed-percent"),
            ("PodChaos", "spec.action", Shape::Scalar, "pod-kill"),
            ("", "kind", Shape::Scalar, "PodChaos"),
        ] {
            let field = at(kind, &path(of)).unwrap();
            assert_eq!(field.shape(), shape, "{of}");
            assert!(field.words().iter().any(|known| known == word), "{of}: {:?}", field.words());
        }
        assert_eq!(at("NetworkChaos", &path("spec.selector")).unwrap().shape(), Shape::Object);
        assert_eq!(at("NetworkChaos", &path("spec.selector.namespaces")).unwrap().shape(), Shape::List);
        assert_eq!(at("NetworkChaos", &path("spec.selector.labelSelectors")).unwrap().shape(), Shape::Map);
        assert!(at("NetworkChaos", &path("spec.nothing")).is_none());
        assert!(at("Unknown", &path("spec.action")).is_none());
    }

    /// Help for a field is only as good as what the schema says of it.
    #[test]
    fn every_field_says_what_it_is_for() {
        fn below(field: Field<'_>, path: &str) {
            for (key, field) in field.keys() {
                let path = format!("{path}.{key}");
                assert!(!field.about().is_empty(), "{path}");
                below(field, &path);
                field.items().into_iter().for_each(|items| below(items, &path));
            }
        }
        for kind in ROOTS.keys() {
            below(root(kind).unwrap(), kind);
        }
    }
}
