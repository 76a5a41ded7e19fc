//! `deploy/crds` holds the CRDs that the types make, one file for each kind.
//!
//! After a change of the types run `cargo xtask crds` and read the difference.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

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

/// Beyond it, client-side `kubectl apply` could not keep the annotation that it needs.
#[test]
fn a_crd_is_small_enough_for_every_way_to_apply_it() {
    for kind in custom_kinds() {
        let size = serde_json::to_string(kind.definition()).unwrap().len();
        assert!(size < 262_144, "{}: {size} bytes", kind.kind);
    }
}
