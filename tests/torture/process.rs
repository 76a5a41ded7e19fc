//! The daemon and its helpers, found by what `/proc` says: it has only processes of this test.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use squall::daemon::{guardian, shaper};

use super::cluster::NODE;
use super::draw::Victim;

pub(crate) struct Daemons {
    program: PathBuf,
    folder: PathBuf,
    socket: PathBuf,
    running: Option<Child>,
}

impl Daemons {
    /// Daemons whose state and log are in `folder`.
    pub(crate) fn new(folder: &Path, socket: &Path) -> Self {
        let program = std::env::var_os("SQUALL_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_squall").into());
        Self { program: program.into(), folder: folder.to_owned(), socket: socket.to_owned(), running: None }
    }

    pub(crate) fn start(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let child = Command::new(&self.program)
            .args(["daemon", "--node", NODE, "--finder", "environ", "--state-dir"])
            .arg(&self.folder)
            .arg("--run-dir")
            .arg(&self.folder)
            .env_clear()
            .env("SQUALL_API_SOCKET", &self.socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        assert!(self.running.replace(child.unwrap()).is_none(), "one at a time");
    }

    fn log(&self) -> PathBuf {
        self.folder.join("daemon.log")
    }

    /// The last words of all daemons.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let from = lines.len().saturating_sub(60);
        lines.get(from..).unwrap_or_default().join("\n")
    }

    /// Records that a journal still has.
    pub(crate) fn journal(&self) -> Vec<PathBuf> {
        let folder = fs::read_dir(self.folder.join(NODE).join("journal")).unwrap();
        folder.map(|entry| entry.unwrap().path()).collect()
    }

    /// Process numbers of those who live.
    pub(crate) fn find(&self, victim: Victim) -> Vec<u32> {
        let verb = match victim {
            Victim::Daemon => return self.running.iter().map(Child::id).collect(),
            Victim::Guardian => guardian::VERB,
            Victim::Shaper => shaper::VERB,
        };
        let of_verb = |(pid, arguments): (u32, Vec<String>)| {
            arguments.get(1).is_some_and(|argument| argument == verb).then_some(pid)
        };
        self.all().into_iter().filter_map(of_verb).collect()
    }

    /// Every process of the program that lives, with its command line.
    pub(crate) fn all(&self) -> Vec<(u32, Vec<String>)> {
        let name = self.program.file_name().unwrap();
        let mut all = Vec::new();
        for entry in fs::read_dir("/proc").unwrap() {
            let Some(pid) = entry.unwrap().file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // Nothing for who has ended.
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let arguments: Vec<_> = line.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
            if arguments.first().is_some_and(|program| Path::new(program).file_name() == Some(name)) {
                all.push((pid, arguments));
            }
        }
        all
    }

    /// Takes note of the daemon's end, which was brought about.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.running.take().unwrap().wait().unwrap()
    }

    /// Takes note of the end of orphans: this process is the init of its namespace.
    pub(crate) fn reap(&self) {
        for entry in fs::read_dir("/proc").unwrap() {
            let Some(pid) = entry.unwrap().file_name().to_str().and_then(|name| name.parse::<i32>().ok())
            else {
                continue;
            };
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let is_ours = self.running.as_ref().is_some_and(|child| child.id().cast_signed() == pid);
            if stat.contains("(squall) Z") && !is_ours {
                // A daemon that lives reaps its own: those are not this process's children.
                let status = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
                assert!(matches!(status, Ok(_) | Err(Errno::ECHILD)), "{status:?}");
            }
        }
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// Sends a signal to a process that was found a moment ago.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let sent = kill(Pid::from_raw(pid.cast_signed()), signal);
    assert!(matches!(sent, Ok(()) | Err(Errno::ESRCH)), "{sent:?}");
}

/// A folder for sockets, state and log.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    drop(File::create(folder.path().join("daemon.log")).unwrap());
    folder
}
