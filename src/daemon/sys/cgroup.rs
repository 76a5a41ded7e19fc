//! Control groups: the way out of one's own (cgroups(7)).

use std::fs;
use std::path::Path;

/// File that a process enters a cgroup by.
const PROCS: &str = "cgroup.procs";

/// Moves this process to the root of every hierarchy below `folder`, so that it outlives a container that it was started
/// in: whoever stops one kills what is in its cgroups. Where that is not allowed it stays where it is. In a
/// container that sees only its own cgroups their roots are its own, and nothing is gained.
pub fn leave(folder: &Path) {
    // Version 2 has one hierarchy, whose root this is. Below it are others' cgroups; only version 1 has roots there.
    if folder.join(PROCS).exists() {
        enter(folder);
        return;
    }
    for hierarchy in fs::read_dir(folder).into_iter().flatten().flatten() {
        enter(&hierarchy.path());
    }
}

fn enter(cgroup: &Path) {
    let path = cgroup.join(PROCS);
    if !path.exists() {
        return;
    }
    // "0" is the process that writes.
    if let Err(error) = fs::write(&path, "0") {
        tracing::debug!(%error, path = %path.display(), "stays in its cgroup");
    }
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
            leave(folder.path());
            let content = |file| fs::read_to_string(folder.path().join(file)).unwrap();
            assert_eq!((content(root), content(other)), ("0".to_owned(), String::new()), "version {version}");
            assert!(!folder.path().join("x").join(PROCS).exists());
        }
        leave(Path::new("/nowhere/at/all"));
    }
}
