//! The first moments of a container, inside it: its own view of files and processes, then the program.
//!
//! The file system of every "image" is the machine's own, read-only, with empty `/tmp`, `/run` and `/var/lib`, the
//! pod's `resolv.conf` and the pod's volumes. The program takes this process over and so is process 1.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::SigSet;
use nix::unistd::{chdir, pivot_root};
use serde::{Deserialize, Serialize};

use super::{ROOT_FOLDER, exec};
use crate::daemon::sys::mount::{self, MountError};

/// What the kubelet tells a container about itself, as JSON on its standard input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// Folder to start in.
    pub(crate) working_dir: Option<PathBuf>,
    /// Files of its own, unless it shares those of the node (hostNetwork pods do).
    pub(crate) files: Option<Files>,
}

/// A container's own view of files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Files {
    /// The file shown as `/etc/resolv.conf`.
    pub(crate) resolver: PathBuf,
    /// Volumes: where they appear, and the folder that is shown there.
    pub(crate) volumes: BTreeMap<PathBuf, PathBuf>,
}

/// Why a container could not become its program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContainerError {
    #[error("cannot {action}")]
    System {
        action: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot make the container's view of files")]
    Mount(#[from] MountError),
}

fn failed<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> ContainerError {
    move |source| ContainerError::System { action: action.into(), source: source.into() }
}

/// Reads the set-up, does it and becomes the program; returns only if that fails.
pub(crate) fn run() -> Result<std::convert::Infallible, ContainerError> {
    let setup: Setup = serde_json::from_reader(io::stdin().lock()).map_err(failed("read the set-up"))?;
    if let Some(files) = &setup.files {
        make_root(files)?;
    }
    let folder = setup.working_dir.as_deref().unwrap_or(Path::new("/"));
    std::env::set_current_dir(folder).map_err(failed(format!("enter the folder {}", folder.display())))?;
    SigSet::empty().thread_set_mask().map_err(failed("receive signals"))?;
    let (name, arguments) =
        setup.command.split_first().ok_or(io::ErrorKind::InvalidInput).map_err(failed("find a program"))?;
    let mut program = exec::program(name);
    if name == exec::THIS_PROGRAM {
        program.arg0("squall");
    }
    Err(failed(format!("run {name}"))(program.args(arguments).stdin(Stdio::null()).exec()))
}

/// Builds a new root folder from parts of the old one and moves into it.
fn make_root(files: &Files) -> Result<(), ContainerError> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(failed("make a mount namespace"))?;
    let root = Path::new(ROOT_FOLDER);
    mount::tmpfs(root, "mode=0755")?;
    for entry in fs::read_dir("/").map_err(failed("list /"))? {
        let entry = entry.map_err(failed("list /"))?;
        let kind = entry.file_type().map_err(failed("list /"))?;
        let (source, target) = (entry.path(), root.join(entry.file_name()));
        if kind.is_symlink() {
            let points_to = fs::read_link(&source).map_err(failed("read a link in /"))?;
            symlink(points_to, &target).map_err(failed("make a link in /"))?;
        } else if kind.is_dir() {
            fs::create_dir(&target).map_err(failed("make a folder in /"))?;
            if !["/proc", "/run", "/tmp"].map(Path::new).contains(&source.as_path()) {
                mount::bind(&source, &target)?;
            }
        }
    }
    mount::bind(&files.resolver, &root.join("etc/resolv.conf"))?;
    mount::tmpfs(&root.join("run"), "mode=0755")?;
    mount::tmpfs(&root.join("tmp"), "mode=1777")?;
    mount::tmpfs(&root.join("var/lib"), "mode=0755")?;
    mount::proc(&root.join("proc"))?;
    for (target, source) in &files.volumes {
        let target = root.join(target.strip_prefix("/").unwrap_or(target));
        // Only /run, /tmp, /var/lib and new folders of / are writable.
        fs::create_dir_all(&target).map_err(failed(format!("make the mount point {}", target.display())))?;
        mount::bind(source, &target)?;
    }
    // The old root is stacked on the new one and taken off at once (pivot_root(2), "pivot_root(".", ".")").
    chdir(root).map_err(failed("enter the new root"))?;
    pivot_root(".", ".").map_err(failed("change the root"))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(failed("leave the old root"))
}
