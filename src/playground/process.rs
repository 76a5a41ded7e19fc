//! A child process with a thread of its own, which enters the child's namespaces, starts it and waits for its end.
//!
//! Namespaces are a property of a thread, and a thread that has entered some does nothing else any more. The wait
//! leaves the ended child unreaped until it is marked, so that a signal never meets a recycled process number.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::sync::{oneshot, watch};

/// Stack of a waiting thread: it makes a few calls and sleeps.
const STACK: usize = 128 * 1024;

/// Namespaces that a pod's containers share, kept open.
#[derive(Debug, Clone)]
pub(crate) struct Namespaces(Arc<[(OwnedFd, CloneFlags)]>);

impl Namespaces {
    /// The network, IPC and UTS namespaces of process `pid`.
    pub(crate) fn of(pid: Pid) -> io::Result<Self> {
        let kinds = [
            ("net", CloneFlags::CLONE_NEWNET),
            ("ipc", CloneFlags::CLONE_NEWIPC),
            ("uts", CloneFlags::CLONE_NEWUTS),
        ];
        let open = |(name, flag)| Ok((File::open(format!("/proc/{pid}/ns/{name}"))?.into(), flag));
        Ok(Self(kinds.into_iter().map(open).collect::<io::Result<_>>()?))
    }

    /// A copy of the network namespace's descriptor.
    pub(crate) fn network(&self) -> io::Result<OwnedFd> {
        let found = self.0.iter().find(|(_, kind)| *kind == CloneFlags::CLONE_NEWNET);
        found.ok_or(io::ErrorKind::NotFound)?.0.try_clone()
    }

    /// Enters all of them with the calling thread; its children begin in a PID namespace of their own.
    fn enter(&self) -> io::Result<()> {
        for (namespace, kind) in self.0.iter() {
            setns(namespace.as_fd(), *kind)?;
        }
        unshare(CloneFlags::CLONE_NEWPID)?;
        Ok(())
    }
}

/// A started process.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    /// Whether the process has ended; the lock is held while a signal is sent.
    ended: Arc<Mutex<bool>>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts `command`: process 1 of a new PID namespace inside `namespaces`, or beside us if there are none.
    /// `input` is what it reads from its standard input, if that is a pipe.
    pub(crate) async fn start(
        command: Command,
        namespaces: Option<Namespaces>,
        input: Vec<u8>,
    ) -> io::Result<Self> {
        let (started, start) = oneshot::channel();
        let (exited, exit) = watch::channel(None);
        let ended = Arc::new(Mutex::new(false));
        let mark = Arc::clone(&ended);
        thread::Builder::new().name("container".to_owned()).stack_size(STACK).spawn(move || {
            let child = match spawn(command, namespaces.as_ref(), &input) {
                Ok(child) => child,
                // The receiver is gone if the pod was given up meanwhile.
                Err(error) => return drop(started.send(Err(error))),
            };
            let pid = Pid::from_raw(child.id().cast_signed());
            drop(started.send(Ok(pid)));
            exited.send_replace(Some(wait(child, pid, &mark)));
        })?;
        let pid = start.await.map_err(io::Error::other)??;
        Ok(Self { pid, ended, exit })
    }

    /// Its number, in the sandbox's PID namespace.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal, unless the process has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if !*ended && let Err(errno) = kill(self.pid, signal) {
            tracing::warn!(pid = %self.pid, %signal, %errno, "cannot signal a process");
        }
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or_default(),
            // The thread cannot end without an answer; should it panic, the process counts as ended.
            Err(_) => ExitStatus::default(),
        }
    }
}

fn spawn(mut command: Command, namespaces: Option<&Namespaces>, input: &[u8]) -> io::Result<Child> {
    if let Some(namespaces) = namespaces {
        namespaces.enter()?;
    }
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take()
        && let Err(error) = stdin.write_all(input)
    {
        // It ended before it read: its exit status tells.
        tracing::debug!(%error, "a process did not read its input");
    }
    Ok(child)
}

fn wait(mut child: Child, pid: Pid, ended: &Mutex<bool>) -> ExitStatus {
    while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
    *ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
    child.wait().unwrap_or_default()
}
