//! The programs that a cluster is made of: Kubernetes' own are built, the others are Debian's packages.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::supervisor::command;
use super::{ClusterError, Shape};

/// Names the folder of Kubernetes' programs, where they are not to be built.
pub const PROGRAMS: &str = "SQUALL_KUBERNETES";

/// Names the folder of the image of virtual machines, where it is not to be built.
pub const MACHINE_IMAGE: &str = "SQUALL_MACHINE_IMAGE";

/// Where Kubernetes' programs are; builds them if it must, which takes minutes once. As root it installs the packages that
/// nodes need besides.
pub fn programs(shape: Shape) -> Result<PathBuf, ClusterError> {
    let nodes = shape.all() > 0;
    if let Some(folder) = std::env::var_os(PROGRAMS) {
        if nodes {
            run("build", ["packages"])?;
        }
        return Ok(folder.into());
    }
    run("build", [if nodes { "nodes" } else { "control" }])
}

/// Where the image of virtual machines is, with kubelet and kube-proxy from `programs`; builds it if it must, which takes a
/// minute once.
pub fn machine_image(programs: &Path) -> Result<PathBuf, ClusterError> {
    std::env::var_os(MACHINE_IMAGE).map_or_else(|| run("vm/image", [programs]), |folder| Ok(folder.into()))
}

/// A file system for containerd of a virtual machine in which these archives of images are imported; makes it if it must, which
/// takes seconds.
pub(crate) fn machine_store(archives: &[PathBuf]) -> Result<PathBuf, ClusterError> {
    run("vm/store", archives)
}

/// Runs one of our scripts, and gives the path that it printed.
fn run(
    script: &str,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<PathBuf, ClusterError> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let output = command(&script).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output =
        output.map_err(|source| ClusterError::Io { what: format!("run {}", script.display()), source })?;
    match output.status.code() {
        Some(0) => {}
        Some(3) => return Err(ClusterError::Missing(script.display().to_string())),
        _ => return Err(ClusterError::Programs(format!("{} failed, see above", script.display()))),
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().into())
}
