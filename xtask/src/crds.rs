//! Writes the files of `deploy` anew.

use anyhow::{Context, ensure};

use crate::tools::{cargo, command};

/// Runs the test that holds the files to the sources, and lets it write them: `crds` or `deploy`.
pub(crate) fn run(name: &str) -> anyhow::Result<()> {
    let mut test = command(&cargo());
    test.args(["test", "--quiet", "--package", "squall", "--locked", "--test", name]);
    let status = test.env("SQUALL_UPDATE_EXPECTED", "1").status().context("cannot start cargo")?;
    ensure!(status.success(), "the files were not written, see above");
    Ok(())
}
