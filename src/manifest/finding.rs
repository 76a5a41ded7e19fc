//! What is found in an object, before it has a place in the text.

use super::source::Node;
use super::{Diagnostic, MAX_MESSAGE, Severity};
use crate::api::Problem;

/// A problem, how bad it is, and which end of its field it is about.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) problem: Problem,
    /// It is about the field's name, not about its value.
    at_key: bool,
}

impl Finding {
    /// A value that is wrong.
    pub(super) const fn error(problem: Problem) -> Self {
        Self { severity: Severity::Error, problem, at_key: false }
    }

    /// A field that should not be there.
    pub(super) fn error_at_key(problem: Problem) -> Self {
        Self { at_key: true, ..Self::error(problem) }
    }

    /// Something that is allowed and perhaps not meant.
    pub(super) fn warning(problem: Problem) -> Self {
        Self { severity: Severity::Warning, ..Self::error(problem) }
    }

    /// A document that is right and has to wait for another release.
    pub(super) fn unbuilt(problem: Problem) -> Self {
        Self { severity: Severity::Unbuilt, ..Self::error(problem) }
    }

    /// A document that is none of ours.
    pub(super) fn note(what: String) -> Self {
        Self { severity: Severity::Note, ..Self::error(Problem::new("", what, "")) }
    }

    /// The same, with the place in the text.
    pub(super) fn located(self, root: &Node) -> Diagnostic {
        let Problem { path, what, cure } = self.problem;
        Diagnostic {
            severity: self.severity,
            position: if self.at_key { root.key_at(&path) } else { root.value_at(&path) },
            path: printable(&path),
            what: printable(&what),
            cure: printable(&cure),
        }
    }
}

/// The text as it may be shown: it can quote the file, and a file may hold megabytes in one value, or
/// sequences that a terminal obeys.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == MAX_MESSAGE {
            shown.push('…');
            break;
        }
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_harmless() {
        assert_eq!(printable("\u{1b}[2Jgrüße\n"), "\\u{1b}[2Jgrüße\\n");
        assert_eq!(printable(&"é".repeat(MAX_MESSAGE + 1)).chars().count(), MAX_MESSAGE + 1);
        assert_eq!(printable(&"é".repeat(MAX_MESSAGE)), "é".repeat(MAX_MESSAGE));
    }
}
