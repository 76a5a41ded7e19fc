//! How long it takes to validate 1,000 experiment files: the reader alone, and the program with files and output.
//! Prints figures and asserts nothing: `cargo bench --bench manifests`.

#![expect(clippy::expect_used, reason = "a measurement that went wrong is none")]
#![expect(clippy::print_stdout, reason = "it is made to print")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use squall::manifest;

/// Files that are validated.
const FILES: usize = 1_000;

/// Times that the program is run.
const ROUNDS: usize = 20;

fn main() {
    let corpus = corpus();
    let folder = tempfile::tempdir().expect("a folder");
    let mut bytes = 0;
    for index in 0..FILES {
        let text = corpus.get(index % corpus.len()).expect("a file");
        bytes += text.len();
        fs::write(folder.path().join(format!("{index:04}.yaml")), text).expect("a file is written");
    }
    println!("{FILES} files, {bytes} bytes, from {} of tests/manifests and templates", corpus.len());
    // The first reading makes the schemas.
    drop(manifest::read(b"apiVersion: chaos-mesh.org/v1alpha1\nkind: NetworkChaos\nspec: {}\n"));
    let mut times: Vec<_> = (0..FILES)
        .map(|index| {
            let text = fs::read(folder.path().join(format!("{index:04}.yaml"))).expect("a file");
            let start = Instant::now();
            drop(std::hint::black_box(manifest::read(&text)));
            start.elapsed()
        })
        .collect();
    println!("reader, all files: {:?}", times.iter().sum::<Duration>());
    report("reader, one file", &mut times);
    let mut times: Vec<_> = (0..ROUNDS).map(|_| validate(folder.path())).collect();
    report("squall validate FOLDER, the whole process", &mut times);
}

/// Every experiment file of the project, broken or not.
fn corpus() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["tests/manifests/valid", "tests/manifests/invalid", "templates"];
    let mut paths: Vec<_> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        // The bomb is made to reach the limit of the work; a thousand experiments hold none.
        .filter(|path| {
            path.extension().is_some_and(|end| end == "yaml") && !path.ends_with("alias-bomb.yaml")
        })
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a file")).collect()
}

#[expect(clippy::disallowed_methods, reason = "the program is measured as its users run it")]
fn validate(folder: &Path) -> Duration {
    let start = Instant::now();
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_squall")).arg("validate").arg(folder).output();
    drop(output.expect("squall runs"));
    start.elapsed()
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |percent: usize| times.get((times.len() - 1) * percent / 100).copied().unwrap_or_default();
    println!("{what}: p50 {:?}, p99 {:?}, max {:?}", at(50), at(99), at(100));
}
