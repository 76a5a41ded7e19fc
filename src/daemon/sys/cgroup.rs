//! Control groups: the way out of one's own (cgroups(7)).

use std::fs::{self, File};
use std::io;
use std::path::Path;

use nix::sched::{CloneFlags, setns};

/// File that a process enters a cgroup by.
const PROCS: &str = "cgroup.procs";

/// The first process that we can see: the node's own in a pod with `hostPID`.
const FIRST: &str = "/proc/1";

/// Where cgroups are mounted, as the first process sees it.
const MOUNTS: &str = "root/sys/fs/cgroup";

/// Moves this process, which has one thread, to the root of every hierarchy of the node, so that it outlives a container
/// that it was started in: whoever stops one kills what is in its cgroups. Where that is not allowed it stays where it is.
///
/// A container has a cgroup namespace of its own with version 2, and systemd mounts cgroups so that the kernel lets nobody
/// move a process out of its namespace (`nsdelegate`): it is left first.
pub fn leave() {
    let first = Path::new(FIRST);
    let joined = File::open(first.join("ns/cgroup"))
        .and_then(|namespace| setns(namespace, CloneFlags::CLONE_NEWCGROUP).map_err(io::Error::from));
    if let Err(error) = joined {
        tracing::debug!(%error, "stays in its cgroup namespace");
    }
    leave_for(&first.join(MOUNTS), &fs::read_to_string(first.join("cgroup")).unwrap_or_default());
}

/// The same, to the roots below `folder`; `first` is what `/proc/1/cgroup` says.
fn leave_for(folder: &Path, first: &str) {
    // Version 2 has one hierarchy, whose root this is. Below it are others' cgroups; only version 1 has roots there.
    if folder.join(PROCS).exists() {
        // The root of a node that is a container itself may hold no process. Its first process has a place.
        let place = first.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        if let Err(error) = enter(folder).or_else(|_| enter(&folder.join(place))) {
            tracing::debug!(%error, "stays in its cgroup");
        }
        return;
    }
    for hierarchy in fs::read_dir(folder).into_iter().flatten().flatten() {
        if let Err(error) = enter(&hierarchy.path()) {
            tracing::debug!(%error, hierarchy = %hierarchy.path().display(), "stays in its cgroup");
        }
    }
}

fn enter(cgroup: &Path) -> io::Result<()> {
    let path = cgroup.join(PROCS);
    // A file that is not there is not to be made.
    let mut file = File::options().write(true).open(path)?;
    // "0" is the process that writes.
    io::Write::write_all(&mut file, b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_entered_and_nothing_below_them() {
        for (version, root, other) in
            [(2, "cgroup.procs", "pods/cgroup.procs"), (1, "cpu/cgroup.procs", "x/y")]
        {
            let folder = tempfile::tempdir().unwrap();
            for file in [root, other] {
                let path = folder.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            leave_for(folder.path(), "0::/pods\n");
            let content = |file| fs::read_to_string(folder.path().join(file)).unwrap();
            assert_eq!((content(root), content(other)), ("0".to_owned(), String::new()), "version {version}");
            assert!(!folder.path().join("x").join(PROCS).exists());
        }
        leave_for(Path::new("/nowhere/at/all"), "");
    }

    #[test]
    fn where_the_root_takes_nobody_the_first_process_has_a_place() {
        let folder = tempfile::tempdir().unwrap();
        // Whoever runs the tests may write to any file, but to no folder.
        fs::create_dir_all(folder.path().join(PROCS)).unwrap();
        fs::create_dir_all(folder.path().join("init.scope")).unwrap();
        fs::write(folder.path().join("init.scope").join(PROCS), "").unwrap();
        leave_for(folder.path(), "4:memory:/x\n0::/init.scope\n");
        assert_eq!(fs::read_to_string(folder.path().join("init.scope").join(PROCS)).unwrap(), "0");
    }
}
