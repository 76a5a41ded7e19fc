//! docs/output.md explains every field that is printed, and no other.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde_json::Value;

use super::Overview;

/// What `T` prints and the section of docs/output.md under `heading` does not explain, and the other way round.
pub(crate) fn undocumented<T: JsonSchema>(heading: &str) -> Vec<String> {
    let page = include_str!("../../docs/output.md");
    let section = page.split("\n## ").find(|section| section.starts_with(&format!("`{heading}`"))).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let explained: BTreeSet<String> = rows.map(str::to_owned).collect();
    let schema = serde_json::to_value(schemars::schema_for!(T)).unwrap();
    let mut printed = BTreeSet::new();
    paths(&schema, &schema, "", &mut printed);
    printed.symmetric_difference(&explained).cloned().collect()
}

/// The paths of all fields that a schema names.
fn paths(root: &Value, schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        return paths(root, root.pointer(name.trim_start_matches('#')).unwrap(), at, found);
    }
    for option in schema["anyOf"].as_array().into_iter().flatten() {
        paths(root, option, at, found);
    }
    if let Some(properties) = schema["properties"].as_object() {
        for (name, schema) in properties {
            let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            paths(root, schema, &path, found);
            found.insert(path);
        }
    }
    if schema["items"].is_object() {
        paths(root, &schema["items"], &format!("{at}[]"), found);
    }
}

#[test]
fn the_overview_is_documented() {
    assert_eq!(undocumented::<Overview>("squall status -o json"), Vec::<String>::new());
}
