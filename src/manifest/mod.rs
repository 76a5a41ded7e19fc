//! Text → objects: reads experiment files and says precisely what is wrong with them.
//!
//! Pure: it gets bytes and gives objects and diagnostics; files and terminals are its callers' business.
//! Reading is bounded in time and memory whatever the bytes are.

mod finding;
mod kinds;
mod lint;
mod metadata;
mod migrate;
mod object;
mod source;
mod unknown;

use std::fmt;

pub use object::Object;

use source::Document;

/// The largest file that is read. An experiment has some kilobytes; this is room for thousands.
pub const MAX_BYTES: usize = 10 * 1024 * 1024;

/// How many diagnostics of one file are kept, of those that refuse it and of those that do not: nobody
/// reads more, and a hostile file has millions.
pub const MAX_DIAGNOSTICS: usize = 100;

/// The longest part of a diagnostic, in characters: a message may quote the file, whatever is in it.
pub const MAX_MESSAGE: usize = 400;

/// A place in the text, both counted from 1; the column in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// How bad a diagnostic is; the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The document is not ours and is passed over.
    Note,
    /// The document can be used, but perhaps does not mean what its author thinks.
    Warning,
    /// The document is right as far as it was looked at, but this release cannot run it.
    Unbuilt,
    /// The document is wrong.
    Error,
}

impl Severity {
    /// The word in front of a diagnostic.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Unbuilt => "unbuilt",
            Self::Error => "error",
        }
    }

    /// Whether a file with such a diagnostic is not to be used.
    pub const fn refuses(self) -> bool {
        matches!(self, Self::Unbuilt | Self::Error)
    }
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

/// `LINE:COLUMN: severity: path: what; cure`, to be put behind the file's name, as compilers do: editors
/// jump to the place.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: ", self.position.line, self.position.column, self.severity.word())?;
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
    /// What there is to say, in the order of the file: at most [`MAX_DIAGNOSTICS`] that refuse it, and as
    /// many that do not.
    pub diagnostics: Vec<Diagnostic>,
}

impl Manifest {
    /// Whether every document that is meant for Squall can be used.
    pub fn is_usable(&self) -> bool {
        self.count(Severity::refuses) == 0
    }

    /// How many of the diagnostics are of a severity for which `of` holds.
    pub fn count(&self, of: impl Fn(Severity) -> bool) -> usize {
        self.diagnostics.iter().filter(|diagnostic| of(diagnostic.severity)).count()
    }

    /// Keeps the two kinds of diagnostics apart: a hundred notes must not crowd out the first error, or
    /// the file would pass.
    fn say(&mut self, diagnostic: Diagnostic) {
        let refuses = diagnostic.severity.refuses();
        if self.count(|severity| severity.refuses() == refuses) < MAX_DIAGNOSTICS {
            self.diagnostics.push(diagnostic);
        }
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
                if manifest.count(Severity::refuses) >= MAX_DIAGNOSTICS {
                    break;
                }
                document_into(document, &mut manifest);
            }
            if let Err(diagnostic) = end {
                manifest.say(diagnostic);
            }
        }
        Err(diagnostic) => manifest.say(diagnostic),
    }
    manifest
}

/// A document that is no Kubernetes object: its text, and where its parts stand.
#[derive(Debug)]
pub(crate) struct Located<'t> {
    pub(crate) text: &'t str,
    root: source::Node,
}

impl<'t> Located<'t> {
    /// Reads a file of one document and at most so many bytes. Fails with all that its text does wrong.
    pub(crate) fn read(bytes: &'t [u8], most: usize) -> Result<Self, Vec<Diagnostic>> {
        let start = Position { line: 1, column: 1 };
        if bytes.len() > most {
            let what = format!("the file is larger than {} KiB", most / 1024);
            return Err(vec![Diagnostic::error(start, "", &what, "split it")]);
        }
        let text = text(bytes).map_err(|diagnostic| vec![diagnostic])?;
        let mut documents = Vec::new();
        source::read(text, &mut documents).map_err(|diagnostic| vec![diagnostic])?;
        let count = documents.len();
        match (documents.pop(), count) {
            (Some(document), 1) if document.problems.is_empty() => Ok(Self { text, root: document.root }),
            (Some(document), 1) => Err(document.problems),
            _ => {
                let what = format!("the file holds {count} documents");
                Err(vec![Diagnostic::error(start, "", &what, "write one document into a file")])
            }
        }
    }

    /// An error about the value at `path`.
    pub(crate) fn error(&self, path: &str, what: &str, cure: &str) -> Diagnostic {
        Diagnostic::error(self.root.value_at(path), path, what, cure)
    }
}

impl Diagnostic {
    /// An error, in words that may be shown.
    pub(crate) fn error(position: Position, path: &str, what: &str, cure: &str) -> Self {
        let (path, what, cure) =
            (finding::printable(path), finding::printable(what), finding::printable(cure));
        Self { severity: Severity::Error, position, path, what, cure }
    }
}

fn document_into(mut document: Document, manifest: &mut Manifest) {
    let mut diagnostics = std::mem::take(&mut document.problems);
    if diagnostics.is_empty() {
        let (object, said) = object::read(document);
        manifest.objects.extend(object);
        diagnostics = said;
    }
    for diagnostic in diagnostics {
        manifest.say(diagnostic);
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
        // Lines end as YAML's do, or this place would not be counted like the others.
        let before = before.replace("\r\n", "\n");
        let column = before.rsplit(['\n', '\r']).next().unwrap_or_default().chars().count() + 1;
        let line = before.matches(['\n', '\r']).count() + 1;
        error(Position { line, column }, "the text is not UTF-8".to_owned(), "save the file as UTF-8")
    })
}

#[cfg(test)]
mod tests;
