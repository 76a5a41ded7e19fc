//! What is wrong with an object: the one form in which every check of ours answers.

use std::fmt;

/// One thing that is wrong with an object, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: the field's path from the object's root, `spec.delay.latency`.
    pub path: String,
    /// What is wrong, as a sentence without a full stop.
    pub what: String,
    /// What to write instead; never empty.
    pub cure: String,
}

impl Problem {
    /// A problem at `path`.
    pub fn new(path: impl Into<String>, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { path: path.into(), what: what.into(), cure: cure.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path, self.what, self.cure)
    }
}
