//! How a verb ends: the table of exit codes, and errors as the user sees them.

use std::fmt;
use std::process::ExitCode;

use crate::report::Trouble;

/// The exit codes of all verbs; scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it was asked to; an experiment ended by itself and is recovered.
    Success = 0,
    /// Something failed; the message says what and what to do.
    Error = 1,
    /// The command line, a file or an experiment is wrong as it is written; nothing was changed. An
    /// unknown flag ends in 2 as well.
    BadInput = 2,
    /// The experiment was stopped before its time, by Ctrl-C, by a Halt or by somebody else, and is
    /// recovered.
    Aborted = 5,
    /// Something of the fault may still be in place.
    NotRecovered = 6,
}

/// For the long help of every verb that ends in more than 0 and 1.
pub(crate) const EXIT_CODES: &str = "Exit codes:
  0  done; an experiment ended by itself and is recovered
  1  error
  2  the command line, a file or the experiment is wrong; nothing was changed
  5  stopped before its time, and recovered
  6  something of the fault may still be in place";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a verb did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: anyhow::Error,
    cure: Option<String>,
}

/// The result of everything that a verb does.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure of this machine or of the API server.
    pub(crate) fn new(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Error, error: error.into(), cure: None }
    }

    /// A failure without a cause below it.
    pub(crate) fn message(what: impl Into<String>) -> Self {
        Self::new(anyhow::Error::msg(what.into()))
    }

    /// The user's input is wrong.
    pub(crate) fn bad_input(what: impl Into<String>) -> Self {
        Self { exit: Exit::BadInput, ..Self::message(what) }
    }

    /// It is not known that everything is undone.
    pub(crate) fn not_recovered(what: impl Into<String>) -> Self {
        Self { exit: Exit::NotRecovered, ..Self::message(what) }
    }

    /// An answer of the API server; `doing` is what was tried: "create networkchaos/partition".
    pub(crate) fn api(doing: impl fmt::Display, error: &kube::Error) -> Self {
        Trouble::api(doing, error).into()
    }

    /// Puts what was tried in front of why it failed.
    pub(crate) fn context(self, what: impl Into<String>) -> Self {
        Self { error: self.error.context(what.into()), ..self }
    }

    /// Says what to do about it.
    pub(crate) fn cure(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }

    /// The exit code that it asks for.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// What is wrong and why, in one line.
    pub(crate) fn reason(&self) -> String {
        format!("{:#}", self.error)
    }

    /// What to do about it.
    pub(crate) fn to_do(&self) -> Option<&str> {
        self.cure.as_deref()
    }

    /// Whether the reader of our output went away: `squall get pods | head -1`. No error, nothing to say.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        let io = self.error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
        io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

impl From<Trouble> for Failure {
    fn from(Trouble { what, why, cure }: Trouble) -> Self {
        let failure = match why {
            Some(why) => Self::message(why).context(what),
            None => Self::message(what),
        };
        Self { cure, ..failure }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new(error)
    }
}

/// What, why, what to do.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.error)?;
        let mut said = self.error.to_string();
        for cause in self.error.chain().skip(1) {
            let cause = cause.to_string();
            // Some libraries put the cause into their own message as well.
            if !said.contains(&cause) {
                write!(f, "\n  because: {cause}")?;
                said = cause;
            }
        }
        self.cure.as_ref().map_or(Ok(()), |cure| write!(f, "\n  to do: {cure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_codes_are_the_real_ones() {
        let all = [Exit::Success, Exit::Error, Exit::BadInput, Exit::Aborted, Exit::NotRecovered];
        let documented: Vec<u8> = EXIT_CODES
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(documented, all.map(|exit| exit as u8));
    }

    #[test]
    fn failures_say_what_why_and_what_to_do() {
        let failure = Failure::message("the disk is full").context("cannot write").cure("delete something");
        assert_eq!(
            failure.to_string(),
            "error: cannot write\n  because: the disk is full\n  to do: delete something"
        );
    }

    #[test]
    fn a_closed_pipe_is_seen_through_the_context() {
        let closed = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(Failure::from(closed).context("cannot print").is_broken_pipe());
        assert!(!Failure::message("Broken pipe").is_broken_pipe());
    }
}
