//! Makes the README's pictures anew.

use std::env;

use anyhow::{Context, ensure};

use crate::tools::{cargo, command};

/// Where the README has them.
const FOLDER: &str = "docs/pictures";

/// Runs the test that makes them of a real playground, and keeps what it makes.
pub(crate) fn run() -> anyhow::Result<()> {
    let folder = env::current_dir().context("no current folder")?.join(FOLDER);
    let mut test = command(&cargo());
    test.args(["test", "--package", "squall", "--locked", "--test", "playground", "pictures::"]);
    test.args(["--", "--nocapture"]).env("SQUALL_PICTURES", folder);
    let status = test.status().context("cannot start cargo")?;
    ensure!(status.success(), "the pictures were not made, see above");
    Ok(())
}
