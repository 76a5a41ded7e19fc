//! `squall validate`: what is wrong with experiment files, without any API server.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use super::exit::{Exit, Failure, Result};
use super::{Out, files};
use crate::manifest::{self, Diagnostic, Manifest, Object, Severity};

/// Files that are looked for in a folder.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// How deep folders are searched: far beyond any that people make, and an end to what loops.
const MAX_DEPTH: usize = 32;

/// Check experiment files without applying them
///
/// Prints what is wrong, with file, line, column, and what to write instead, and warns of what is allowed and
/// perhaps not meant. Reads no cluster: what depends on the pods that there are, only the controller can tell. Of a
/// folder, it reads every .yaml, .yml and .json file in it and below it.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  squall validate templates/partition.yaml
  squall validate experiments/ -o json
  generate-experiment | squall validate -

Exit codes:
  0  every experiment can be applied; there may be warnings
  1  a file cannot be read
  2  something is wrong, not in this release, or there is no experiment")]
pub(crate) struct Args {
    /// Files and folders, - for standard input
    #[arg(value_name = "PATH", required_unless_present = "file")]
    paths: Vec<PathBuf>,
    /// The same, as other verbs take it; may be repeated
    #[arg(short, long = "filename", value_name = "PATH")]
    file: Vec<PathBuf>,
    /// Form of the output; docs/manifests.md has the fields of json
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// One line for each thing to say, as compilers print it
    #[default]
    Text,
    /// One JSON object
    Json,
}

impl Args {
    pub(super) fn run(self, out: &mut Out) -> Result<Exit> {
        let mut files = Vec::new();
        for path in self.paths.into_iter().chain(self.file) {
            collect(path, 0, &mut files)?;
        }
        let mut total = Total { files: files.len(), ..Total::default() };
        let mut checked = Vec::new();
        for file in &files {
            let manifest = manifest::read(&files::bytes(file)?);
            total.add(&manifest);
            match self.output {
                Output::Text => {
                    for diagnostic in &manifest.diagnostics {
                        out.line(&format!("{}:{diagnostic}", file.display()))?;
                    }
                }
                Output::Json => checked.push((file.display().to_string(), manifest)),
            }
        }
        if self.output == Output::Json {
            let files = checked.iter().map(|(file, manifest)| Checked::new(file, manifest)).collect();
            let report = Report { usable: total.usable(), total: &total, files };
            out.line(&serde_json::to_string_pretty(&report)?)?;
        } else {
            out.say(&total.line());
        }
        if total.experiments + total.errors + total.unbuilt == 0 {
            return Err(Failure::bad_input("there is no experiment to be found").cure(
                "an experiment begins with apiVersion: chaos-mesh.org/v1alpha1 and kind: NetworkChaos",
            ));
        }
        Ok(if total.usable() { Exit::Success } else { Exit::BadInput })
    }
}

/// The files that `path` means, in the order of their names. What was named is taken whatever it is called;
/// links and hidden entries in folders are not followed.
fn collect(path: PathBuf, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    if path == Path::new("-") || !path.is_dir() {
        files.push(path);
        return Ok(());
    }
    let unreadable =
        |error: std::io::Error| Failure::from(error).context(format!("cannot read {}", path.display()));
    let mut entries =
        fs::read_dir(&path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let kind = entry.file_type().map_err(unreadable)?;
        let below = entry.path();
        let is_ours = below.extension().is_some_and(|end| EXTENSIONS.iter().any(|ours| end == *ours));
        if kind.is_dir() && depth < MAX_DEPTH {
            collect(below, depth + 1, files)?;
        } else if is_ours && (kind.is_file() || below.is_file()) {
            files.push(below);
        }
    }
    Ok(())
}

/// What was found in all files together.
#[derive(Debug, Default, Serialize)]
struct Total {
    files: usize,
    experiments: usize,
    errors: usize,
    unbuilt: usize,
    warnings: usize,
    notes: usize,
}

impl Total {
    fn add(&mut self, manifest: &Manifest) {
        self.experiments += manifest.objects.len();
        let of = |severity| manifest.count(|other| other == severity);
        self.errors += of(Severity::Error);
        self.unbuilt += of(Severity::Unbuilt);
        self.warnings += of(Severity::Warning);
        self.notes += of(Severity::Note);
    }

    const fn usable(&self) -> bool {
        self.experiments > 0 && self.errors == 0 && self.unbuilt == 0
    }

    fn line(&self) -> String {
        let of = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        let mut parts = vec![of(self.files, "file"), of(self.experiments, "experiment")];
        parts.push(of(self.errors, "error"));
        if self.unbuilt > 0 {
            parts.push(format!("{} not in this release", self.unbuilt));
        }
        parts.push(of(self.warnings, "warning"));
        parts.join(", ")
    }
}

/// The object that `-o json` prints; docs/manifests.md describes it.
#[derive(Serialize)]
struct Report<'a> {
    usable: bool,
    total: &'a Total,
    files: Vec<Checked<'a>>,
}

#[derive(Serialize)]
struct Checked<'a> {
    file: &'a str,
    usable: bool,
    experiments: Vec<Experiment<'a>>,
    diagnostics: Vec<Said<'a>>,
}

#[derive(Serialize)]
struct Experiment<'a> {
    kind: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
    line: usize,
}

#[derive(Serialize)]
struct Said<'a> {
    severity: &'static str,
    line: usize,
    column: usize,
    path: &'a str,
    what: &'a str,
    cure: &'a str,
}

impl<'a> Checked<'a> {
    fn new(file: &'a str, manifest: &'a Manifest) -> Self {
        Self {
            file,
            usable: manifest.is_usable(),
            experiments: manifest.objects.iter().map(Experiment::from).collect(),
            diagnostics: manifest.diagnostics.iter().map(Said::from).collect(),
        }
    }
}

impl<'a> From<&'a Object> for Experiment<'a> {
    fn from(object: &'a Object) -> Self {
        Self {
            kind: object.kind,
            namespace: object.namespace.as_deref(),
            name: &object.name,
            line: object.position.line,
        }
    }
}

impl<'a> From<&'a Diagnostic> for Said<'a> {
    fn from(diagnostic: &'a Diagnostic) -> Self {
        Self {
            severity: diagnostic.severity.word(),
            line: diagnostic.position.line,
            column: diagnostic.position.column,
            path: &diagnostic.path,
            what: &diagnostic.what,
            cure: &diagnostic.cure,
        }
    }
}
