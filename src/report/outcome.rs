//! What came of a write or a read: plain values, so that they can be shown, stored and compared wherever they go.

use std::error::Error;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What cures that a kind of ours is missing.
pub const INSTALL: &str = "to install it: squall install";

/// Why something was not done. Where it comes from the API server, `crate::operations` makes it from the client's error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// What was tried, or what is the matter: `cannot create networkchaos.chaos-mesh.org/partition`.
    pub what: String,
    /// Why it failed, where `what` does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

impl Trouble {
    /// A trouble that needs no further reason.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), why: None, cure: None }
    }

    /// With what to do about it.
    #[must_use]
    pub fn cure(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }

    /// What is wrong, why, and what to do about it, in one line.
    pub fn whole(&self) -> String {
        match &self.cure {
            Some(cure) => format!("{self}; {cure}"),
            None => self.to_string(),
        }
    }
}

/// What is wrong and why, in one line; not the cure.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.why.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}

impl Error for Trouble {}

/// What became of the stored object when a file was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// It is new.
    Created,
    /// It was there and is changed.
    Configured,
    /// It was there, as the file has it.
    Unchanged,
}

impl Change {
    /// The word that kubectl has for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Trouble;

    #[test]
    fn a_trouble_is_one_line_and_survives_a_recording() {
        let short = Trouble::new("the disk is full").cure("delete something");
        let long = Trouble { why: Some("the disk is full".to_owned()), ..Trouble::new("cannot write") };
        for (trouble, line) in [(short, "the disk is full"), (long, "cannot write: the disk is full")] {
            assert_eq!(trouble.to_string(), line);
            let recorded = serde_json::to_string(&trouble).unwrap();
            assert_eq!(serde_json::from_str::<Trouble>(&recorded).unwrap(), trouble, "{recorded}");
        }
    }
}
