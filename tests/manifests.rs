//! Experiment files and what is said about them: each `NAME.yaml` under `tests/manifests` has a `NAME.expected` with the
//! diagnostics, one a line, and the objects that were read.
//!
//! After a deliberate change of a message run with `SQUALL_UPDATE_EXPECTED=1` and read the difference.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what is wrong")]

#[path = "manifests/invariants.rs"]
mod invariants;
#[path = "manifests/mutate.rs"]
mod mutate;

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
    let diagnostics = manifest.diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n"));
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

/// Breaking text is done by the thousand in files that are read as they should be, and in those that are not.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let folders = ["tests/manifests/valid", "tests/manifests/invalid", "templates"];
    let files = folders.into_iter().flat_map(files);
    files.map(|file| (file.display().to_string(), fs::read(file).unwrap())).collect()
}

#[test]
fn valid_files_are_read() {
    for file in files("tests/manifests/valid") {
        compare(&file);
        let manifest = read(&file);
        assert_eq!(manifest.count(|severity| severity == Severity::Error), 0, "{}", file.display());
    }
}

#[test]
fn there_are_sixty_broken_files() {
    assert!(files("tests/manifests/invalid").len() >= 60);
}

#[test]
fn whatever_is_read_keeps_the_rules_of_the_reader() {
    for (name, bytes) in corpus() {
        invariants::hold(&bytes).unwrap_or_else(|broken| panic!("{name}: {broken}"));
    }
}

/// Bounded and repeatable, for every run of the tests; `fuzz/` has the search without an end. More of it:
/// `SQUALL_FUZZ_COUNT=1000000 SQUALL_FUZZ_SEED=7 cargo test --test manifests mutated`.
#[test]
fn mutated_files_keep_the_rules_of_the_reader() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
    };
    let (seed, count) = (number("SQUALL_FUZZ_SEED", 1), number("SQUALL_FUZZ_COUNT", 4_000));
    println!("{count} mutations, SQUALL_FUZZ_SEED={seed}");
    let corpus: Vec<_> = corpus().into_iter().map(|(_, bytes)| bytes).collect();
    let (mut taken, mut refused) = (0, 0);
    for index in 0..count {
        // Each has a seed of its own, so that one alone can be repeated.
        let own = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(index);
        let bytes = mutate::mutated(&corpus, own);
        let result = std::panic::catch_unwind(|| invariants::hold(&bytes))
            .unwrap_or_else(|_| Err("it panics".to_owned()));
        match result {
            Ok(true) => taken += 1,
            Ok(false) => refused += 1,
            Err(broken) => {
                panic!(
                    "mutation {index} of seed {seed}: {broken}\n{}",
                    String::from_utf8_lossy(&bytes).escape_debug()
                )
            }
        }
    }
    assert!(
        taken > 0 && refused > 0,
        "mutations that all do the same test little: {taken} taken, {refused} refused"
    );
}

#[test]
fn invalid_files_are_refused_with_place_and_cure() {
    for file in files("tests/manifests/invalid") {
        compare(&file);
        let manifest = read(&file);
        assert!(!manifest.is_usable(), "{} was taken", file.display());
        for diagnostic in manifest.diagnostics.iter().filter(|said| said.severity.refuses()) {
            assert!(!diagnostic.cure.is_empty(), "{}: {diagnostic} has no cure", file.display());
        }
    }
}

/// `squall validate` in a folder of its own, without a cluster: exit code, standard output, standard error.
fn validate(folder: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let mut all = vec![env!("CARGO_BIN_EXE_squall"), "validate"];
    all.extend(words);
    run(folder, &all)
}

#[expect(clippy::disallowed_methods, reason = "a test runs the program as its users do")]
fn run(folder: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let (program, words) = words.split_first().unwrap();
    let output = std::process::Command::new(program)
        .args(words)
        .current_dir(folder)
        .env_clear()
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const GOOD: &str = "apiVersion: chaos-mesh.org/v1alpha1\nkind: NetworkChaos\nmetadata: {name: cut, namespace: shop}\nspec:\n  \
                    action: partition\n  mode: all\n  selector: {labelSelectors: {app: web}}\n  \
                    externalTargets: [192.0.2.1]\n";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("good/a.yaml", &format!("{GOOD}  duration: 1m\n"));
    write("good/below/b.yml", GOOD);
    write("good/.git/c.yaml", "not: looked at");
    write("good/readme.md", "not looked at");
    write("bad/d.json", "{\"apiVersion\": \"chaos-mesh.org/v1alpha1\", \"kind\": \"NetworkChoas\"}");
    write("foreign/pod.yaml", "apiVersion: v1\nkind: Pod\n");
    folder
}

#[test]
fn validate_says_what_is_wrong_and_ends_with_a_code_for_scripts() {
    let folder = folder();
    let no_duration = "good/below/b.yml:4:1: warning: spec.duration: no duration: it runs until you delete it; add \
                       duration: 5m, or remember `squall stop`\n";
    let misspelt = "bad/d.json:1:51: error: kind: unknown kind \"NetworkChoas\"; write NetworkChaos\n";
    for (words, code, said, total) in [
        (&["good/a.yaml"][..], 0, String::new(), "1 file, 1 experiment, 0 errors, 0 warnings"),
        (&["good"], 0, no_duration.to_owned(), "2 files, 2 experiments, 0 errors, 1 warning"),
        (
            &["-f", "good/a.yaml", "-f", "bad"],
            2,
            misspelt.to_owned(),
            "2 files, 1 experiment, 1 error, 0 warnings",
        ),
        (
            &["bad/d.json", "-f", "good"],
            2,
            format!("{misspelt}{no_duration}"),
            "3 files, 2 experiments, 1 error, 1 warning",
        ),
        (
            &["foreign"],
            2,
            "foreign/pod.yaml:1:1: note: Pod is not an experiment; passed over\n".to_owned(),
            "there is no experiment",
        ),
        (&["-"], 2, String::new(), "there is no experiment"),
        (&["missing.yaml"], 1, String::new(), "cannot read missing.yaml"),
        (&[], 2, String::new(), "required arguments"),
    ] {
        let (ended, out, err) = validate(folder.path(), words);
        assert_eq!((ended, out), (Some(code), said), "{words:?}: {err}");
        assert!(err.contains(total), "{words:?}: {err}");
    }
}

#[test]
fn validate_prints_the_documented_json() {
    let folder = folder();
    let (code, out, _) = validate(folder.path(), &["-o", "json", "good/below", "bad"]);
    let expected = serde_json::json!({
        "usable": false,
        "total": {"files": 2, "experiments": 1, "errors": 1, "unbuilt": 0, "warnings": 1, "notes": 0},
        "files": [
            {
                "file": "good/below/b.yml",
                "usable": true,
                "experiments": [{"kind": "NetworkChaos", "namespace": "shop", "name": "cut", "line": 1}],
                "diagnostics": [{
                    "severity": "warning", "line": 4, "column": 1, "path": "spec.duration",
                    "what": "no duration: it runs until you delete it",
                    "cure": "add duration: 5m, or remember `squall stop`",
                }],
            },
            {
                "file": "bad/d.json",
                "usable": false,
                "experiments": [],
                "diagnostics": [{
                    "severity": "error", "line": 1, "column": 51, "path": "kind",
                    "what": "unknown kind \"NetworkChoas\"", "cure": "write NetworkChaos",
                }],
            },
        ],
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap(), expected);
    assert_eq!(code, Some(2));
}

fn many(count: usize, piece: impl Fn(usize) -> String) -> String {
    (0..count).map(piece).collect::<Vec<_>>().concat()
}

/// What a hostile sender writes. The program has an address space of 1 GiB and two minutes of processor time; beyond
/// either the kernel ends it, and there is no exit code.
#[test]
fn hostile_files_are_refused_within_bounded_time_and_memory() {
    let full = |piece: &str| piece.repeat(manifest::MAX_BYTES / piece.len());
    let levels = (1..200).fold("a0: &a0 [x, x]\n".to_owned(), |text, level| {
        format!("{text}a{level}: &a{level} [*a{0}, *a{0}, *a{0}]\n", level - 1)
    });
    let merged = (1..200).fold("a0: &a0 {k: v}\n".to_owned(), |text, level| {
        format!("{text}a{level}: &a{level} {{<<: [*a{0}, *a{0}, *a{0}], k{level}: *a{0}}}\n", level - 1)
    });
    let half = manifest::MAX_BYTES / 2;
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(half), "*a,".repeat(half / 4));
    let long_keys = format!(
        "a: &a {{{}}}\nb: [{}]\n",
        many(1_000, |i| format!("{i:01000}: 1, ")),
        "*a,".repeat(1 << 20),
    );
    let (values, deep) = ("more than 500000 values", "more than 64 levels deep");
    let folder = tempfile::tempdir().unwrap();
    for (name, text, said) in [
        ("alias bomb", levels, values),
        ("bomb of merge keys", merged, values),
        ("aliases of a long text", long, values),
        ("aliases of long keys", long_keys, values),
        ("many values", full("- 1\n"), values),
        ("many keys", many(300_000, |i| format!("{i:06}: 1\n")), values),
        ("many documents", full("---\n"), values),
        ("many anchors", full("- &a b\n"), values),
        ("deep flow", full("["), "recursion limit"),
        ("deep maps", full("{a: "), "recursion limit"),
        ("deep lists", full("- "), deep),
        ("deep block", many(4_000, |depth| format!("{}a:\n", " ".repeat(depth))), deep),
        ("one long word", full("x"), "a Kubernetes object is a mapping"),
        ("an unfinished quotation", format!("a: \"{}", "x".repeat(half)), "this is not YAML"),
        ("spaces", full(" "), "there is no experiment"),
        ("comments", full("# a comment of some length, and many of them\n"), "there is no experiment"),
        ("too large", full("x") + "xxxxxxxxx", "larger than 10 MiB"),
        ("a number", "3\n".to_owned(), "a Kubernetes object is a mapping"),
        ("a list", "- kind: NetworkChaos\n".to_owned(), "a Kubernetes object is a mapping"),
    ] {
        fs::write(folder.path().join("hostile.yaml"), text).unwrap();
        let limited = "ulimit -v 1048576 && ulimit -t 120 && exec \"$0\" validate hostile.yaml";
        let (code, out, err) = run(folder.path(), &["/bin/sh", "-c", limited, env!("CARGO_BIN_EXE_squall")]);
        let all = out + &err;
        assert_eq!(code, Some(2), "{name}: {all}");
        assert!(all.contains(said), "{name}: {all}");
        assert!(all.len() < 200_000, "{name}: {} bytes of messages", all.len());
    }
}
