//! The Halt of one node: a file beside the nodes' state, for the day on which no API server answers.
//!
//! Whoever can write the state folder stops the daemons that work with it. The engine's own thread looks
//! for the file, so that neither the network nor the async runtime stands between it and the undoing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Its name. No node can have it, as names of nodes are in lower case.
const NAME: &str = "HALT";

/// How often a daemon looks for it.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The file could not be written or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}", path.display())]
pub struct HaltFileError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Halts the daemons whose state is in `state_dir`, until [`remove`] and across reboots. Gives the file's path;
/// the reason in it is for people.
///
/// # Errors
/// When the file is not certain to be on disk, and when there is no such folder: then no daemon looks there.
pub fn put(state_dir: &Path, reason: &str) -> Result<PathBuf, HaltFileError> {
    let path = state_dir.join(NAME);
    let failed = |operation| {
        let path = path.clone();
        move |source| HaltFileError { operation, path, source }
    };
    let mut file = File::create(&path).map_err(failed("create"))?;
    file.write_all(reason.as_bytes()).map_err(failed("write"))?;
    file.sync_all().map_err(failed("sync"))?;
    File::open(state_dir).and_then(|folder| folder.sync_all()).map_err(failed("sync the folder of"))?;
    Ok(path)
}

/// Lifts the Halt of [`put`]. `false` if there is none.
///
/// # Errors
/// When the file cannot be removed.
pub fn remove(state_dir: &Path) -> Result<bool, HaltFileError> {
    let path = state_dir.join(NAME);
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(HaltFileError { operation: "remove", path, source }),
    }
}

/// The file as a daemon sees it.
#[derive(Debug)]
pub(super) struct HaltFile {
    path: PathBuf,
    present: bool,
    failing: bool,
}

impl HaltFile {
    /// Not looked at yet, and taken for absent.
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join(NAME), present: false, failing: false }
    }

    /// Whether the file is there, if that has changed. One that cannot be looked at is as it was.
    pub(super) fn changed(&mut self) -> Option<bool> {
        let present = match self.path.try_exists() {
            Ok(present) => present,
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(path = %self.path.display(), %error, "cannot look for the halt file");
                }
                return None;
            }
        };
        self.failing = false;
        (std::mem::replace(&mut self.present, present) != present).then(|| {
            tracing::info!(path = %self.path.display(), halted = present, "this node's own Halt");
            present
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_seen_when_it_comes_and_when_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = HaltFile::new(folder.path());
        assert_eq!(file.changed(), None);
        let path = put(folder.path(), "the database is on fire").unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "the database is on fire");
        put(folder.path(), "twice is as good as once").unwrap();
        assert_eq!((file.changed(), file.changed()), (Some(true), None));
        assert!(remove(folder.path()).unwrap());
        assert_eq!((file.changed(), file.changed()), (Some(false), None));
        assert!(!remove(folder.path()).unwrap(), "there is none any more");
    }

    #[test]
    fn a_folder_that_no_daemon_looks_at_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = put(&folder.path().join("missing"), "").unwrap_err();
        assert!(error.to_string().ends_with("missing/HALT"), "{error}");
    }
}
