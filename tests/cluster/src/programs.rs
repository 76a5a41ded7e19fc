//! The programs that a cluster is made of: Kubernetes' own are built, the others are Debian's packages.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::supervisor::command;
use super::{ClusterError, Shape};

/// Names the folder of Kubernetes' programs, where they are not to be built.
pub const PROGRAMS: &str = "SQUALL_KUBERNETES";

/// Where Kubernetes' programs are; builds them if it must, which takes minutes once. As root it installs the packages that
/// nodes need besides.
pub fn programs(shape: Shape) -> Result<PathBuf, ClusterError> {
    let nodes = shape.nodes > 0;
    if let Some(folder) = std::env::var_os(PROGRAMS) {
        if nodes {
            build("packages")?;
        }
        return Ok(folder.into());
    }
    let folder = build(if nodes { "nodes" } else { "control" })?;
    if folder.is_empty() { Err(failed()) } else { Ok(folder.into()) }
}

/// Runs `build`, and gives what it printed.
fn build(what: &str) -> Result<String, ClusterError> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("build");
    let output = command(&script).arg(what).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output =
        output.map_err(|source| ClusterError::Io { what: format!("run {}", script.display()), source })?;
    if !output.status.success() {
        return Err(failed());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn failed() -> ClusterError {
    ClusterError::Programs("the build failed, see above".to_owned())
}
