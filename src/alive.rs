//! A sign of life in a file: controller and daemon listen on no port, so that a probe reads what they wrote last.
//!
//! The time in it is `CLOCK_BOOTTIME`, which nobody sets; a file of an earlier boot is as good as none, since folders for it are
//! in memory.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// How often it is written.
pub const EVERY: Duration = Duration::from_secs(2);

/// Who writes it.
#[derive(Debug)]
pub struct Alive {
    path: PathBuf,
    last: Option<(Duration, bool)>,
}

/// Why somebody does not live, or is not ready.
#[derive(Debug, thiserror::Error)]
pub enum AliveError {
    /// There is no sign, or it cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It is not a sign.
    #[error("{} has no sign of life in it", .0.display())]
    Unreadable(PathBuf),
    /// It is old.
    #[error("the last sign of life is {0:?} old")]
    Old(Duration),
    /// It lives, and has not yet heard everything that it needs from the API server.
    #[error("it has not yet heard from the API server what it needs")]
    NotReady,
}

impl Alive {
    /// Writes to this file, from now on: what somebody before us wrote is replaced.
    pub fn new(path: PathBuf) -> Self {
        let mut alive = Self { path, last: None };
        alive.beat(false);
        alive
    }

    /// Says that we live, and whether we are ready, unless that was said just now. What cannot be written is the probe's to
    /// find out.
    pub fn beat(&mut self, ready: bool) {
        let Ok(now) = now() else { return };
        if self.last.is_some_and(|(at, was)| was == ready && now.saturating_sub(at) < EVERY) {
            return;
        }
        match self.write(now, ready) {
            Ok(()) => self.last = Some((now, ready)),
            Err(error) => tracing::debug!(%error, path = %self.path.display(), "cannot write a sign of life"),
        }
    }

    /// In one call and always of the same length: a reader sees the old line or the new one.
    fn write(&self, now: Duration, ready: bool) -> io::Result<()> {
        let word = if ready { READY } else { STARTING };
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.path)?;
        file.write_all(format!("{:012} {word:8}\n", now.as_secs()).as_bytes())
    }
}

const READY: &str = "ready";
const STARTING: &str = "starting";

/// Whether there is a sign that is no older than `within`, and says that all is ready if that is asked for.
///
/// # Errors
/// What is wrong.
pub fn look(path: &Path, within: Duration, ready: bool) -> Result<(), AliveError> {
    let text = fs::read_to_string(path).map_err(|error| AliveError::Read(path.to_owned(), error))?;
    let unreadable = || AliveError::Unreadable(path.to_owned());
    let (seconds, word) = text.trim().split_once(' ').ok_or_else(unreadable)?;
    let at = Duration::from_secs(seconds.parse().map_err(|_error| unreadable())?);
    let now = now().map_err(|error| AliveError::Read(path.to_owned(), error))?;
    // A time that is yet to come is of another boot.
    let age = now.checked_sub(at).ok_or_else(unreadable)?;
    if age > within {
        return Err(AliveError::Old(age));
    }
    if ready && word != READY { Err(AliveError::NotReady) } else { Ok(()) }
}

fn now() -> io::Result<Duration> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn a_sign_is_read_and_grows_old() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alive");
        assert!(matches!(look(&path, LONG, false), Err(AliveError::Read(..))));
        let mut alive = Alive::new(path.clone());
        look(&path, LONG, false).unwrap();
        assert!(matches!(look(&path, LONG, true), Err(AliveError::NotReady)));
        alive.beat(true);
        look(&path, LONG, true).unwrap();
        let old = now().unwrap().checked_sub(Duration::from_secs(90)).unwrap();
        alive.write(old, true).unwrap();
        assert!(matches!(look(&path, LONG, false), Err(AliveError::Old(age)) if age.as_secs() >= 90));
        alive.write(now().unwrap() + LONG, true).unwrap();
        assert!(matches!(look(&path, LONG, false), Err(AliveError::Unreadable(_))));
        fs::write(&path, "").unwrap();
        assert!(matches!(look(&path, LONG, false), Err(AliveError::Unreadable(_))));
    }

    /// A program that starts again is not ready because the one before was.
    #[test]
    fn a_new_one_takes_the_word_of_the_old_one_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alive");
        Alive::new(path.clone()).beat(true);
        look(&path, LONG, true).unwrap();
        let _new = Alive::new(path.clone());
        assert!(matches!(look(&path, LONG, true), Err(AliveError::NotReady)));
    }
}
