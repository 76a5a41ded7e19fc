//! Admission: what an API server does to an object of ours before it stores it.
//!
//! In a cluster the CRD does this; the in-memory API server calls [`admit`], which reads the very same
//! schema.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Halt, Injection, NetworkChaos, PodChaos, Problem, crd, networkchaos, podchaos, rules, schema};

/// What an API server must know of one of our kinds.
pub struct CustomKind {
    /// API group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// The word in paths.
    pub plural: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether its status is a subresource.
    pub status: bool,
    /// Fields beside name and namespace that lists and watches can select by.
    pub selectable: &'static [&'static str],
    definition: CustomResourceDefinition,
    schema: Value,
    /// Fields of the spec that stay as they are once targets were selected.
    fixed: &'static [&'static str],
    problems: fn(&Value) -> Vec<Problem>,
}

impl CustomKind {
    /// The `OpenAPI` schema that the CRD of this kind carries.
    pub const fn schema(&self) -> &Value {
        &self.schema
    }

    /// The CRD of this kind, as it is installed.
    pub const fn definition(&self) -> &CustomResourceDefinition {
        &self.definition
    }
}

/// Made once: a schema takes a millisecond to derive, and every write of ours is held against one.
static KINDS: LazyLock<[CustomKind; 4]> = LazyLock::new(|| {
    [
        CustomKind {
            group: "chaos-mesh.org",
            version: "v1alpha1",
            plural: "networkchaos",
            kind: "NetworkChaos",
            namespaced: true,
            status: true,
            selectable: &[],
            schema: schema_of(&crd::definition::<NetworkChaos>()),
            definition: crd::definition::<NetworkChaos>(),
            fixed: &networkchaos::FIXED_FIELDS,
            problems: |value| typed::<NetworkChaos>(value, |object| object.spec.problems()),
        },
        CustomKind {
            group: "chaos-mesh.org",
            version: "v1alpha1",
            plural: "podchaos",
            kind: "PodChaos",
            namespaced: true,
            status: true,
            selectable: &[],
            schema: schema_of(&crd::definition::<PodChaos>()),
            definition: crd::definition::<PodChaos>(),
            fixed: &podchaos::FIXED_FIELDS,
            problems: |value| typed::<PodChaos>(value, |object| object.spec.problems()),
        },
        CustomKind {
            group: "squall.dev",
            version: "v1alpha1",
            plural: "injections",
            kind: "Injection",
            namespaced: true,
            status: true,
            selectable: &["spec.node"],
            schema: schema_of(&crd::definition::<Injection>()),
            definition: crd::definition::<Injection>(),
            fixed: &[],
            problems: |value| typed::<Injection>(value, |_| Vec::new()),
        },
        CustomKind {
            group: "squall.dev",
            version: "v1alpha1",
            plural: "halts",
            kind: "Halt",
            namespaced: false,
            status: false,
            selectable: &[],
            schema: schema_of(&crd::definition::<Halt>()),
            definition: crd::definition::<Halt>(),
            fixed: &[],
            problems: |value| typed::<Halt>(value, |object| object.spec.problems()),
        },
    ]
});

/// Every kind that Squall installs.
pub fn custom_kinds() -> &'static [CustomKind] {
    &*KINDS
}

/// Prunes, defaults and checks `new`. Objects of kinds that are not ours pass as they are. `old` is the
/// stored object of an update.
///
/// # Errors
/// Everything that is wrong with the object.
pub fn admit(group: &str, kind: &str, old: Option<&Value>, new: &mut Value) -> Result<(), Vec<Problem>> {
    let Some(custom) = custom_kinds().iter().find(|custom| custom.group == group && custom.kind == kind)
    else {
        return Ok(());
    };
    let mut problems = Vec::new();
    // What stands beside spec and status belongs to the API server's own rules.
    for part in ["spec", "status"] {
        let Some(schema) = custom.schema.get("properties").and_then(|all| all.get(part)) else { continue };
        let Some(value) = new.get_mut(part) else {
            if part == "spec" {
                problems.push(Problem::new("spec", "required, but missing", "add it"));
            }
            continue;
        };
        schema::prune(schema, value);
        schema::default(schema, value);
        schema::check(schema, value, part, &mut problems);
    }
    // Rules are checked when the spec changes: an object that became invalid by an update of ours must
    // still be able to lose its finalizer.
    let changed = old.is_none_or(|old| old.get("spec") != new.get("spec"));
    if problems.is_empty() && changed {
        problems = (custom.problems)(new);
        problems.extend(old.into_iter().flat_map(|old| fixed_problems(custom, old, new)));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// The transition rule of the CRDs: a changed selection would be another experiment under the same name.
fn fixed_problems(custom: &CustomKind, old: &Value, new: &Value) -> Vec<Problem> {
    let selected = old.pointer("/status/experiment/targets/selected").and_then(Value::as_u64);
    if selected.unwrap_or_default() == 0 {
        return Vec::new();
    }
    let of = |object: &Value, field: &str| object.get("spec").and_then(|spec| spec.get(field)).cloned();
    let changed = custom.fixed.iter().filter(|field| of(old, field) != of(new, field));
    let (what, cure) = rules::FIXED.split_once("; ").unwrap_or((rules::FIXED, ""));
    changed.map(|field| Problem::new(format!("spec.{field}"), what, cure)).collect()
}

/// The schema that a CRD carries. Null, which admits nothing and fails every test of this module, if there is none.
fn schema_of(definition: &CustomResourceDefinition) -> Value {
    let version = definition.spec.versions.first();
    let schema = version.and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    serde_json::to_value(schema).unwrap_or_default()
}

fn typed<K: DeserializeOwned>(value: &Value, problems: fn(&K) -> Vec<Problem>) -> Vec<Problem> {
    match K::deserialize(value) {
        Ok(object) => problems(&object),
        Err(error) => {
            vec![Problem::new("spec", error.to_string(), "see the fields in docs/compatibility.md")]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn partition() -> Value {
        json!({
            "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "NetworkChaos", "metadata": {"name": "p"},
            "spec": {"action": "partition", "mode": "all", "selector": {"labelSelectors": {"app": "mongo"}}},
        })
    }

    fn paths(result: Result<(), Vec<Problem>>) -> Vec<String> {
        result.err().unwrap_or_default().into_iter().map(|problem| problem.path).collect()
    }

    #[test]
    fn fills_in_defaults_and_drops_the_unknown() {
        let mut object = partition();
        object["spec"]["foo"] = json!("bar");
        object["spec"]["delay"] = json!({"latency": "1ms", "typo": 1});
        admit("chaos-mesh.org", "NetworkChaos", None, &mut object).unwrap();
        assert_eq!(object["spec"]["direction"], "to");
        assert_eq!(object["spec"]["delay"], json!({"latency": "1ms", "jitter": "0ms", "correlation": "0"}));
        assert!(object["spec"].get("foo").is_none());
        assert_eq!(
            object["spec"]["selector"],
            json!({"labelSelectors": {"app": "mongo"}}),
            "free-form maps stay"
        );
        assert!(object["spec"].get("externalTargets").is_none(), "an absent list stays absent");
    }

    #[test]
    fn refuses_what_the_schema_refuses() {
        for (path, change) in [
            ("spec.action", json!("explode")),
            ("spec.mode", json!("some")),
            ("spec.value", json!(2)),
            ("spec.direction", json!("sideways")),
            ("spec.delay.latency", json!({"latency": "1h30m"})),
            ("spec.bandwidth.limit", json!({"rate": "1mbit", "limit": 0, "buffer": 1})),
        ] {
            let mut object = partition();
            let field = path.split('.').nth(1).unwrap();
            object["spec"][field] = change;
            assert_eq!(paths(admit("chaos-mesh.org", "NetworkChaos", None, &mut object)), [path]);
        }
        let mut object = partition();
        object["spec"].as_object_mut().unwrap().remove("selector");
        assert_eq!(paths(admit("chaos-mesh.org", "NetworkChaos", None, &mut object)), ["spec.selector"]);
        object.as_object_mut().unwrap().remove("spec");
        assert_eq!(paths(admit("chaos-mesh.org", "NetworkChaos", None, &mut object)), ["spec"]);
    }

    #[test]
    fn an_invalid_object_can_still_lose_its_finalizer() {
        let mut invalid = partition();
        invalid["spec"]["duration"] = json!("1d");
        assert_eq!(
            paths(admit("chaos-mesh.org", "NetworkChaos", None, &mut invalid.clone())),
            ["spec.duration"]
        );
        invalid["spec"]["direction"] = json!("to");
        let old = invalid.clone();
        assert_eq!(admit("chaos-mesh.org", "NetworkChaos", Some(&old), &mut invalid), Ok(()));
    }

    #[test]
    fn the_table_says_what_the_crds_say() {
        for custom in custom_kinds() {
            let crd = custom.definition();
            let version = &crd.spec.versions[0];
            assert_eq!(
                (custom.group, custom.plural),
                (crd.spec.group.as_str(), crd.spec.names.plural.as_str())
            );
            assert_eq!((custom.version, custom.kind), (version.name.as_str(), crd.spec.names.kind.as_str()));
            assert_eq!(custom.namespaced, crd.spec.scope == "Namespaced", "{}", custom.kind);
            assert_eq!(custom.status, version.subresources.is_some(), "{}", custom.kind);
            let fields = version.selectable_fields.iter().flatten();
            // Selectors leave out the dot that the path in a CRD begins with.
            let fields: Vec<_> = fields.map(|field| field.json_path.strip_prefix('.').unwrap()).collect();
            assert_eq!(custom.selectable, fields, "{}", custom.kind);
        }
    }

    #[test]
    fn a_halt_is_checked() {
        let mut halt = json!({"metadata": {"name": "h"}, "spec": {"namespaces": ["default", ""], "typo": 1}});
        assert_eq!(paths(admit("squall.dev", "Halt", None, &mut halt)), ["spec.namespaces[1]"]);
        let mut everything = json!({"metadata": {"name": "h"}, "spec": {}});
        assert_eq!(admit("squall.dev", "Halt", None, &mut everything), Ok(()));
    }

    #[test]
    fn foreign_kinds_pass() {
        let mut object = json!({"kind": "Pod", "spec": {"anything": true}});
        admit("", "Pod", None, &mut object).unwrap();
        assert_eq!(object, json!({"kind": "Pod", "spec": {"anything": true}}));
    }

    #[test]
    fn schemas_use_only_what_the_check_knows() {
        fn walk(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(object) => {
                    for (key, value) in object {
                        let unknown = match key.as_str() {
                            "pattern" => value != schema::ONE_UNIT_DURATION,
                            "oneOf" | "anyOf" | "allOf" | "not" | "minLength" | "minItems"
                            | "minProperties" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf"
                            | "uniqueItems" => true,
                            _ => false,
                        };
                        if unknown {
                            found.push(format!("{key}: {value}"));
                        }
                        walk(value, found);
                    }
                }
                Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
                _ => {}
            }
        }
        for custom in custom_kinds() {
            let mut found = Vec::new();
            assert!(custom.schema.is_object(), "{} has no schema", custom.kind);
            walk(&custom.schema, &mut found);
            assert_eq!(found, Vec::<String>::new(), "{}", custom.kind);
        }
    }
}
