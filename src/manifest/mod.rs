//! Text → objects: reads experiment files and says precisely what is wrong with them.
//!
//! Pure: it gets bytes and gives objects and diagnostics; files and terminals are its callers' business.
//! Reading is bounded in time and memory whatever the bytes are.

mod metadata;
mod object;
mod source;
mod unknown;

use std::fmt;

pub use object::{Experiment, Object};

use source::Document;

/// The largest file that is read. An experiment has some kilobytes; this is room for thousands.
pub const MAX_BYTES: usize = 10 * 1024 * 1024;

/// How many diagnostics of one file are kept: nobody reads more, and a hostile file has millions.
pub const MAX_DIAGNOSTICS: usize = 100;

/// A place in the text, both counted from 1; the column in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The document is not ours and is passed over.
    Note,
    /// The document is right as far as it was looked at, but this release cannot run it.
    Unbuilt,
    /// The document is wrong.
    Error,
}

/// One thing to say about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub position: Position,
    /// The field, as a path from the document's root; empty if it is about the document.
    pub path: String,
    /// What is the matter.
    pub what: String,
    /// What to write instead; empty for a note.
    pub cure: String,
}

/// `LINE:COLUMN: path: what; cure`, to be put behind the file's name.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.position.line, self.position.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        if self.cure.is_empty() { Ok(()) } else { write!(f, "; {}", self.cure) }
    }
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct Manifest {
    /// The experiments without errors, in the order of the file.
    pub objects: Vec<Object>,
    /// Everything there is to say, in the order of the file; [`MAX_DIAGNOSTICS`] at most.
    pub diagnostics: Vec<Diagnostic>,
}

impl Manifest {
    /// Whether every document that is meant for Squall can be used.
    pub fn is_usable(&self) -> bool {
        self.diagnostics.iter().all(|diagnostic| diagnostic.severity == Severity::Note)
    }
}

/// Reads the documents of a YAML or JSON file.
pub fn read(bytes: &[u8]) -> Manifest {
    let mut manifest = Manifest::default();
    match text(bytes) {
        Ok(text) => {
            let mut documents = Vec::new();
            let end = source::read(text, &mut documents);
            for document in documents {
                if manifest.diagnostics.len() >= MAX_DIAGNOSTICS {
                    break;
                }
                document_into(document, &mut manifest);
            }
            manifest.diagnostics.extend(end.err());
        }
        Err(diagnostic) => manifest.diagnostics.push(diagnostic),
    }
    manifest.diagnostics.truncate(MAX_DIAGNOSTICS);
    manifest
}

fn document_into(mut document: Document, manifest: &mut Manifest) {
    if !document.problems.is_empty() {
        manifest.diagnostics.append(&mut document.problems);
        return;
    }
    match object::read(document) {
        Ok(object) => manifest.objects.extend(object),
        Err(diagnostics) => manifest.diagnostics.extend(diagnostics),
    }
}

fn text(bytes: &[u8]) -> Result<&str, Diagnostic> {
    let error = |position, what: String, cure: &str| Diagnostic {
        severity: Severity::Error,
        position,
        path: String::new(),
        what,
        cure: cure.to_owned(),
    };
    if bytes.len() > MAX_BYTES {
        return Err(error(
            Position { line: 1, column: 1 },
            format!("the file is larger than {} MiB", MAX_BYTES / 1024 / 1024),
            "split it",
        ));
    }
    std::str::from_utf8(bytes).map_err(|bad| {
        let before = String::from_utf8_lossy(bytes.get(..bad.valid_up_to()).unwrap_or_default());
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let line = before.matches('\n').count() + 1;
        error(Position { line, column }, "the text is not UTF-8".to_owned(), "save the file as UTF-8")
    })
}

#[cfg(test)]
mod tests;
