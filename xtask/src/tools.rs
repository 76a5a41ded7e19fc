//! The tools that chores drive.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// Refuses early with the cure: cargo's own message for a missing target is a page long.
pub(crate) fn require_installed(target: &str) -> anyhow::Result<()> {
    let output = command("rustc")
        .args(["--print", "target-libdir", "--target", target])
        .output()
        .context("cannot start rustc")?;
    let folder = String::from_utf8(output.stdout).context("rustc's answer is not UTF-8")?;
    ensure!(
        output.status.success() && Path::new(folder.trim()).is_dir(),
        "the target {target} is not installed: rustup target add {target}"
    );
    Ok(())
}

/// The cargo that runs us.
pub(crate) fn cargo() -> String {
    env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

/// A tool, found on `PATH` unless a path is given.
#[expect(clippy::disallowed_methods, reason = "a chore drives the tools; nothing here injects faults")]
pub(crate) fn command(program: &str) -> Command {
    Command::new(program)
}
