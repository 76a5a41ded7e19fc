//! Writes the CRDs of `deploy/crds` anew.

use anyhow::{Context, ensure};

use crate::tools::{cargo, command};

/// Runs the test that holds the files to the types, and lets it write them.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut test = command(&cargo());
    test.args(["test", "--quiet", "--package", "squall", "--locked", "--test", "crds"]);
    let status = test.env("SQUALL_UPDATE_EXPECTED", "1").status().context("cannot start cargo")?;
    ensure!(status.success(), "the files were not written, see above");
    Ok(())
}
