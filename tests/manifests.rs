//! Experiment files and what is said about them: each `NAME.yaml` under `tests/manifests` has a `NAME.expected` with the
//! diagnostics, one a line, and the objects that were read.
//!
//! After a deliberate change of a message run with `SQUALL_UPDATE_EXPECTED=1` and read the difference.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what is wrong")]

use std::fs;
use std::path::{Path, PathBuf};

use squall::manifest::{self, Manifest, Severity};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds no file", folder.display());
    files
}

fn read(file: &Path) -> Manifest {
    manifest::read(&fs::read(file).unwrap())
}

fn described(manifest: &Manifest) -> String {
    let diagnostics = manifest.diagnostics.iter().map(|diagnostic| match diagnostic.severity {
        Severity::Note => format!("note: {diagnostic}\n"),
        Severity::Unbuilt => format!("unbuilt: {diagnostic}\n"),
        Severity::Error => format!("{diagnostic}\n"),
    });
    let objects = manifest.objects.iter().map(|object| {
        let namespace = object.namespace.as_deref().unwrap_or("-");
        format!("object: {} {namespace}/{} in line {}\n", object.kind, object.name, object.position.line)
    });
    diagnostics.chain(objects).collect()
}

fn compare(file: &Path) {
    let actual = described(&read(file));
    let expected_file = file.with_extension("expected");
    if std::env::var_os("SQUALL_UPDATE_EXPECTED").is_some() {
        fs::write(&expected_file, &actual).unwrap();
    }
    let expected = fs::read_to_string(&expected_file).unwrap_or_default();
    assert_eq!(actual, expected, "{}", file.display());
}

#[test]
fn valid_files_are_read() {
    for file in files("tests/manifests/valid") {
        compare(&file);
        let manifest = read(&file);
        let error = manifest.diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error);
        assert_eq!(error, None, "{}", file.display());
    }
}

#[test]
fn invalid_files_are_refused_with_place_and_cure() {
    for file in files("tests/manifests/invalid") {
        compare(&file);
        let manifest = read(&file);
        assert!(!manifest.is_usable(), "{} was taken", file.display());
        for diagnostic in &manifest.diagnostics {
            assert!(!diagnostic.cure.is_empty(), "{}: {diagnostic} has no cure", file.display());
        }
    }
}

#[test]
fn every_template_is_one_experiment_with_a_header() {
    for file in files("templates") {
        let manifest = read(&file);
        assert!(manifest.diagnostics.is_empty(), "{}: {:?}", file.display(), manifest.diagnostics);
        assert_eq!(manifest.objects.len(), 1, "{}", file.display());
        let text = fs::read_to_string(&file).unwrap();
        for part in ["# What it does:", "# What to expect:", "# How it ends:"] {
            assert!(text.contains(part), "{} lacks \"{part}\"", file.display());
        }
    }
}
