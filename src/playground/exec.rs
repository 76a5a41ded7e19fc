//! The one place of the playground that makes a child process.
//!
//! Every child is this same binary, or a program that a pod names; no tool of the machine is ever run.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// This same binary, whatever has become of the path that it was started from.
pub(crate) const THIS_PROGRAM: &str = "/proc/self/exe";

/// A command that runs the hidden verb `squall builtin VERB`, named `squall` in process lists.
pub(crate) fn builtin(verb: &str) -> Command {
    let mut command = program(THIS_PROGRAM);
    command.arg0("squall").args(["builtin", verb]);
    command
}

/// A command that runs `program`.
#[expect(clippy::disallowed_methods, reason = "the one place of the playground that makes children")]
pub(crate) fn program(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}
