//! The processes of a cluster, and that none outlives whoever started them.
//!
//! They live in a process namespace of their own. Its first process, a small shell script, reads orders from a pipe; if we
//! end, by `kill -9` too, the pipe ends, the script with it, and the kernel kills the rest. If the script is killed, or
//! unshare(1) around it, the kernel does the same. A parent-death signal on each server would not do: it follows the
//! thread that started them, and a test's thread ends with the test.
//!
//! A cluster with nodes has a mount namespace besides, so that what is mounted and the names of network namespaces end
//! with the processes, too. Control groups have no such end: the script removes them, and [`clear`] if it could not.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::ClusterError;

const SCRIPT: &str = include_str!("supervisor.sh");

/// Defines how to remove the control groups that the file `cgroup` of a folder names.
const REMOVE_GROUPS: &str = include_str!("cgroups.sh");

/// How long the processes of a namespace may take to go when its first one is killed.
const LAST_MOMENT: Duration = Duration::from_secs(10);

/// The first process of the namespace, and the orders to it. Dropping it ends everything, and removes the folder.
#[derive(Debug)]
pub(crate) struct Supervisor {
    child: Child,
    /// `None` once it was told to end.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// The process that the namespace begins with, in our own numbers, where the kernel tells.
    first: Option<u32>,
}

impl Supervisor {
    /// Starts it over a folder, which becomes its own: `servers/NAME` holds the commands, `log/NAME` what they print. With
    /// `mounts` it has its own mount namespace, with an empty `/run`; only root can have that.
    pub(crate) fn start(folder: &Path, mounts: bool) -> Result<Self, ClusterError> {
        let mut unshare = command("unshare");
        // Root needs no user namespace, and keeps its rights over devices and mounts without one.
        if !nix::unistd::geteuid().is_root() {
            unshare.args(["--user", "--map-root-user"]);
        }
        if mounts {
            unshare.args(["--mount", "--mount-proc"]);
        }
        let script = format!("{REMOVE_GROUPS}\n{SCRIPT}");
        unshare.args(["--pid", "--fork", "--kill-child=KILL", "--", "bash", "-c", &script, "supervisor"]);
        unshare
            .arg(folder)
            .arg(if mounts { "mounts" } else { "" })
            // Memory is there, processors are few: Go's collector is to run less often than by default (100).
            .env("GOGC", "300")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let cannot =
            |source| ClusterError::Io { what: "start unshare (package util-linux)".to_owned(), source };
        let mut child = unshare.spawn().map_err(cannot)?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(ClusterError::Supervisor);
        };
        let answers = BufReader::new(answers);
        let mut supervisor = Self { child, orders: Some(orders), answers, first: None };
        supervisor.order("list", "")?;
        let id = supervisor.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        supervisor.first = children.ok().and_then(|children| children.trim().parse().ok());
        Ok(supervisor)
    }

    /// Runs `servers/NAME`.
    pub(crate) fn run(&mut self, server: &str) -> Result<(), ClusterError> {
        self.order("start", server).map(drop)
    }

    /// Kills a server and waits until it is gone.
    pub(crate) fn kill(&mut self, server: &str) -> Result<(), ClusterError> {
        self.order("stop", server).map(drop)
    }

    /// Whether a server runs.
    pub(crate) fn runs(&mut self, server: &str) -> Result<bool, ClusterError> {
        Ok(self.order("list", "")?.split_whitespace().any(|name| name == server))
    }

    /// A command inside its process and mount namespaces, in the network namespace of the host: append the program.
    /// Only with `mounts`.
    pub(crate) fn enter(&self) -> Command {
        let mut enter = command("nsenter");
        enter.arg(format!("--pid=/proc/{}/ns/pid_for_children", self.id()));
        enter.arg(format!("--mount=/proc/{}/ns/mnt", self.id())).arg("--").stdin(Stdio::null());
        enter
    }

    /// Waits until somebody ended it.
    pub(crate) fn wait(&mut self) -> Result<(), ClusterError> {
        let cannot = |source| ClusterError::Io { what: "wait for the supervisor".to_owned(), source };
        self.child.wait().map(drop).map_err(cannot)
    }

    /// Ends everything, and waits until it is gone.
    pub(crate) fn end(&mut self) {
        drop(self.orders.take());
        // If it cannot be waited for, it is gone.
        drop(self.child.wait());
        // Whoever killed it has not waited for the namespace: a server in its last moment may yet write to the folder. The
        // first process is gone when all others are.
        let Some(first) = self.first.take() else { return };
        let begun = Instant::now();
        while Path::new(&format!("/proc/{first}")).exists() && begun.elapsed() < LAST_MOMENT {
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// The process that, killed, takes everything along; for tests of just that.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn order(&mut self, order: &str, server: &str) -> Result<String, ClusterError> {
        let orders = self.orders.as_mut().ok_or(ClusterError::Supervisor)?;
        writeln!(orders, "{order} {server}").map_err(|_gone| ClusterError::Supervisor)?;
        let mut answer = String::new();
        match self.answers.read_line(&mut answer) {
            Ok(1..) => Ok(answer),
            Ok(0) | Err(_) => Err(ClusterError::Supervisor),
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.end();
    }
}

/// Removes what a cluster left whose first process was killed: control groups, then the folder.
pub fn clear(folder: &Path) -> std::io::Result<()> {
    if folder.join("cgroup").exists() {
        let script = format!("{REMOVE_GROUPS}\nremove_groups \"$1\"");
        command("bash").args(["-c", &script, "clear"]).arg(folder).status()?;
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Runs a command to its end; an error has what it said.
pub(crate) fn run(mut command: Command) -> Result<String, ClusterError> {
    let what = || {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        format!("run {} {}", command.get_program().display(), words.join(" "))
    };
    let (what, output) = (what(), command.stdin(Stdio::null()).output());
    let output = output.map_err(|source| ClusterError::Io { what: what.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ClusterError::Command { what, said })
}

/// A tool, found on `PATH` unless a path is given.
#[expect(
    clippy::disallowed_methods,
    reason = "what is tested is not here: these are a cluster's own programs"
)]
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}
