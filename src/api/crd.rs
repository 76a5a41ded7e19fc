//! The CRDs that Squall installs: what the derive makes of the types, and what kubectl shows of their objects.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition as Column, CustomResourceDefinition, JSONSchemaProps,
    JSONSchemaPropsOrArray as Items, JSONSchemaPropsOrBool as Additional,
};
use kube::core::crd::CustomResourceExt;

/// Label of everything that Squall installs, with the value `squall`. A CRD without it is somebody else's.
pub const PART_OF_LABEL: &str = "app.kubernetes.io/part-of";

/// How a kind appears in kubectl.
struct Face {
    kind: &'static str,
    short_names: &'static [&'static str],
    /// Words that list several kinds, beside `squall`.
    categories: &'static [&'static str],
    /// Name, type and path; the age comes after them.
    columns: &'static [(&'static str, &'static str, &'static str)],
}

/// What is shown of an experiment, whatever its kind.
const EXPERIMENT: &[(&str, &str, &str)] = &[
    ("Action", "string", ".spec.action"),
    ("Injected", "string", ".status.experiment.injected"),
    ("Phase", "string", ".status.experiment.desiredPhase"),
    ("Ended", "string", ".status.experiment.ended"),
    ("Duration", "string", ".spec.duration"),
    ("Remaining", "string", ".status.experiment.remaining"),
];

const FACES: &[Face] = &[
    Face { kind: "NetworkChaos", short_names: &["netchaos"], categories: &["chaos"], columns: EXPERIMENT },
    Face { kind: "PodChaos", short_names: &[], categories: &["chaos"], columns: EXPERIMENT },
    Face {
        kind: "Injection",
        short_names: &["inj"],
        categories: &[],
        columns: &[
            ("Node", "string", ".spec.node"),
            ("Experiment", "string", ".spec.experiment.name"),
            ("Namespace", "string", ".spec.experiment.namespace"),
            ("Run", "integer", ".spec.run"),
            ("Remaining", "string", ".spec.remaining"),
            ("Ended", "string", ".status.ended"),
        ],
    },
    Face {
        kind: "Halt",
        short_names: &[],
        categories: &[],
        columns: &[("Namespaces", "string", ".spec.namespaces"), ("Reason", "string", ".spec.reason")],
    },
];

/// The CRD of a kind.
pub(super) fn definition<K: CustomResourceExt>() -> CustomResourceDefinition {
    let mut definition = K::crd();
    definition.metadata.labels.get_or_insert_default().insert(PART_OF_LABEL.to_owned(), "squall".to_owned());
    let names = &mut definition.spec.names;
    let face = FACES.iter().find(|face| face.kind == names.kind);
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let categories = face.map(|face| face.categories).unwrap_or_default();
    names.categories = Some([&["squall"], categories].concat()).as_deref().map(owned);
    names.short_names = face.map(|face| owned(face.short_names)).filter(|names| !names.is_empty());
    let columns = face.map(|face| face.columns).unwrap_or_default();
    let columns = columns.iter().chain(&[("Age", "date", ".metadata.creationTimestamp")]);
    let columns: Vec<_> = columns
        .map(|(name, type_, json_path)| Column {
            name: (*name).to_owned(),
            type_: (*type_).to_owned(),
            json_path: (*json_path).to_owned(),
            ..Column::default()
        })
        .collect();
    let kind = definition.spec.names.kind.clone();
    for version in &mut definition.spec.versions {
        version.additional_printer_columns = Some(columns.clone());
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let Some(schema) = schema else { continue };
        if let Some(spec) = schema.properties.as_mut().and_then(|all| all.get_mut("spec")) {
            // An API server drops a null where none may be. Kept, it would meet rules that speak of a field that is there.
            each(spec, &|schema| schema.nullable = None);
        }
        if kind == "Injection" {
            // Only this program reads and writes them: what is left out of thousands of targets is to stay out.
            each(schema, &|schema| schema.default = None);
        }
        each(schema, &|schema| {
            // Kubernetes knows no unsigned formats, and warns of them; the bounds say the same.
            if schema.format.as_deref().is_some_and(|format| format.starts_with("uint")) {
                schema.format = None;
            }
        });
    }
    definition
}

/// Changes a schema and every one below it.
fn each(schema: &mut JSONSchemaProps, change: &dyn Fn(&mut JSONSchemaProps)) {
    change(schema);
    schema.properties.iter_mut().flat_map(|all| all.values_mut()).for_each(|below| each(below, change));
    for several in [&mut schema.all_of, &mut schema.any_of, &mut schema.one_of] {
        several.iter_mut().flatten().for_each(|below| each(below, change));
    }
    match &mut schema.items {
        Some(Items::Schema(item)) => each(item, change),
        Some(Items::Schemas(items)) => items.iter_mut().for_each(|below| each(below, change)),
        None => {}
    }
    if let Some(Additional::Schema(below)) = &mut schema.additional_properties {
        each(below, change);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::custom_kinds;
    use super::*;

    /// A misspelt path would show an empty column for ever.
    #[test]
    fn columns_show_fields_that_there_are() {
        for kind in custom_kinds() {
            let columns = kind.definition().spec.versions[0].additional_printer_columns.as_ref().unwrap();
            assert!(columns.len() >= 3, "{}: is its face in the table?", kind.kind);
            for column in columns.iter().filter(|column| !column.json_path.starts_with(".metadata.")) {
                let pointer = column.json_path.replace('.', "/properties/");
                let field = kind.schema().pointer(&pointer);
                let field = field.unwrap_or_else(|| panic!("{}: {} is nowhere", kind.kind, column.json_path));
                let wanted = match column.type_.as_str() {
                    "date" => json!(["string", "date-time"]),
                    // kubectl prints a list as JSON.
                    "string" if field["type"] == "array" => json!(["array", null]),
                    other => json!([other, field["format"]]),
                };
                assert_eq!(json!([field["type"], field["format"]]), wanted, "{}: {}", kind.kind, column.name);
            }
        }
    }

    #[test]
    fn a_crd_says_whose_it_is() {
        for kind in custom_kinds() {
            let labels = kind.definition().metadata.labels.as_ref().unwrap();
            assert_eq!(labels.get(PART_OF_LABEL).map(String::as_str), Some("squall"), "{}", kind.kind);
        }
    }
}
