//! `deploy/crds` holds the CRDs that the types make, one file for each kind, and `docs/bounds.md` every bound in them.
//!
//! After a change of the types run `cargo xtask crds` and read the difference.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;
use squall::api::custom_kinds;

const HEADER: &str = "# Made from the types in src/api by `cargo xtask crds`; change them, not this.\n";

#[test]
fn the_files_are_what_the_types_make() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds");
    let text = |kind: &squall::api::CustomKind| {
        HEADER.to_owned() + &serde_yaml::to_string(kind.definition()).unwrap()
    };
    let made: BTreeMap<_, _> = custom_kinds()
        .iter()
        .map(|kind| (format!("{}.{}.yaml", kind.plural, kind.group), text(kind)))
        .collect();
    if std::env::var_os("SQUALL_UPDATE_EXPECTED").is_some() {
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in &made {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        found.insert(entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap());
    }
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&made));
    for (name, text) in made {
        assert!(
            found.get(&name) == Some(&text),
            "deploy/crds/{name} is not what the types make: cargo xtask crds"
        );
    }
}

const BOUNDS: &str = "# Bounds

Made from the types in src/api by `cargo xtask crds`; change them, not this.

What an API server refuses because it is too long, too many or too large. The bounds are far above what experiments need; they
are there since an API server reckons from them what checking an object can cost at most. `[]` is an item of a list, `*` a
value of a map.
";

/// What bounds a schema sets, in words.
fn bounds(schema: &Value) -> Vec<String> {
    let number = |key: &str| schema[key].as_f64().map(|number| number.to_string());
    let at_most = |key: &str, what: &str| number(key).map(|most| format!("at most {most} {what}"));
    let characters = match (number("minLength"), number("maxLength")) {
        (Some(least), Some(most)) => Some(format!("{least} to {most} characters")),
        (Some(least), None) => Some(format!("at least {least} characters")),
        (None, _) => at_most("maxLength", "characters"),
    };
    let value = match (number("minimum"), number("maximum")) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        (Some(least), None) => Some(format!("at least {least}")),
        (None, Some(most)) => Some(format!("at most {most}")),
        (None, None) => None,
    };
    let several = [at_most("maxItems", "items"), at_most("maxProperties", "entries")];
    [characters, value].into_iter().chain(several).flatten().collect()
}

/// Every bound of a schema and of those below it, by path.
fn all_bounds(schema: &Value, path: &str, found: &mut BTreeMap<String, String>) {
    let own = bounds(schema);
    if !own.is_empty() {
        found.insert(path.to_owned(), own.join(", "));
    }
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        all_bounds(below, &format!("{path}.{name}"), found);
    }
    for (key, suffix) in [("items", "[]"), ("additionalProperties", ".*")] {
        if schema[key].is_object() {
            all_bounds(&schema[key], &format!("{path}{suffix}"), found);
        }
    }
}

#[test]
fn every_bound_is_documented() {
    let mut text = BOUNDS.to_owned();
    for kind in custom_kinds() {
        let mut found = BTreeMap::new();
        all_bounds(&kind.schema()["properties"]["spec"], "spec", &mut found);
        write!(text, "\n## {}\n\n| field | bound |\n|---|---|\n", kind.kind).unwrap();
        text.extend(found.iter().map(|(path, bound)| format!("| `{path}` | {bound} |\n")));
        assert!(!found.is_empty(), "{}", kind.kind);
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bounds.md");
    if std::env::var_os("SQUALL_UPDATE_EXPECTED").is_some() {
        fs::write(&file, &text).unwrap();
    }
    assert!(
        fs::read_to_string(&file).unwrap() == text,
        "docs/bounds.md is not what the types make: cargo xtask crds"
    );
}

/// Beyond it, client-side `kubectl apply` could not keep the annotation that it needs.
#[test]
fn a_crd_is_small_enough_for_every_way_to_apply_it() {
    for kind in custom_kinds() {
        let size = serde_json::to_string(kind.definition()).unwrap().len();
        assert!(size < 262_144, "{}: {size} bytes", kind.kind);
    }
}
