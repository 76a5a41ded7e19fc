//! Starts and ends a Kubernetes by hand.

use anyhow::{Context, ensure};

use crate::tools::{cargo, command};

/// Hands the orders to the test cluster's own program, so that the other chores need not be built with a Kubernetes client.
pub(crate) fn run(orders: &[&str]) -> anyhow::Result<()> {
    let mut cluster = command(&cargo());
    cluster.args(["run", "--quiet", "--package", "test-cluster", "--locked", "--"]).args(orders);
    let status = cluster.status().context("cannot start cargo")?;
    ensure!(status.success(), "see above");
    Ok(())
}
