//! The supervisor: the user's own process, which enters the user namespace, starts the sandbox's init and waits.
//!
//! It has no threads (`unshare(CLONE_NEWUSER)` refuses a process that has) and does nothing but pass on: lines from
//! inside to the terminal, signals from the terminal inside. Its death, however it comes, ends the sandbox.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getegid, geteuid, sethostname, setsid};

use super::diagnose::{Facts, Step};
use super::{exec, paths};

/// Largest log of a playground without a terminal.
const LOG_LIMIT: u64 = 1024 * 1024;

/// Why the sandbox could not be entered or did not live.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel or a policy refuses user namespaces.
    #[error("this machine does not let you make a sandbox: {cure}")]
    Refused {
        /// What is wrong, and the command that changes it.
        cure: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A step that no policy forbids failed.
    #[error("cannot {action}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The sandbox ended although nobody asked it to.
    #[error("the sandbox ended by itself ({0}): the reason is printed above")]
    Ended(ExitStatus),
}

fn system(action: &'static str) -> impl Fn(io::Error) -> SandboxError {
    move |source| SandboxError::System { action, source }
}

/// Enters new user, network, PID, UTS and IPC namespaces; children of this process are inside all of them.
///
/// The mount namespace is init's own: this process keeps the user's view of files, to remove the socket at the end.
pub(crate) fn enter() -> Result<(), SandboxError> {
    let (uid, gid) = (geteuid(), getegid());
    let flags = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    unshare(flags).map_err(|errno| refused(Step::Unshare, errno))?;
    // setgroups must be denied before an unprivileged gid_map is accepted (user_namespaces(7)).
    let maps = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {uid} 1")),
        ("gid_map", format!("0 {gid} 1")),
    ];
    for (file, content) in maps {
        fs::write(format!("/proc/self/{file}"), content).map_err(|e| refused(Step::Map, errno_of(&e)))?;
    }
    sethostname("squall").map_err(|errno| refused(Step::Capability, errno))
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

fn refused(step: Step, errno: Errno) -> SandboxError {
    SandboxError::Refused { cure: Facts::read(step, errno).cure(), source: errno.into() }
}

/// Begins a session without a terminal: none can send signals to this process any more.
pub(crate) fn leave_terminal() -> Result<(), SandboxError> {
    setsid().map(drop).map_err(|errno| system("begin a session of its own")(errno.into()))
}

/// From now on signals that ask for the end wait until the supervisor reads them.
pub(crate) fn receive_signals() -> Result<SignalFd, SandboxError> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD] {
        signals.add(signal);
    }
    signals.thread_block().map_err(|e| system("block signals")(e.into()))?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|e| system("receive signals")(e.into()))
}

/// Starts the sandbox's init and waits for its end; `Ok` if the user asked for it.
///
/// `detached`: standard output is the log, which takes the errors from inside too and must not grow for ever.
pub(crate) fn supervise(
    mut claim: paths::Listening,
    signals: SignalFd,
    name: &str,
    detached: bool,
) -> Result<(), SandboxError> {
    let (lifeline, theirs) = UnixStream::pair().map_err(system("make the lifeline"))?;
    // Not kept here: the socket must be dead when the sandbox is.
    let listener = claim.listener.take().ok_or(io::ErrorKind::NotConnected);
    let listener = listener.map_err(|e| system("pass on the socket")(e.into()))?;
    let (errors, stderr) = if detached {
        let (ours, theirs) = UnixStream::pair().map_err(system("make the way for errors"))?;
        (Some(ours), Stdio::from(OwnedFd::from(theirs)))
    } else {
        (None, Stdio::inherit())
    };
    let init = exec::builtin("init")
        .args([name.as_ref(), claim.state.as_os_str(), claim.socket.as_os_str()])
        .stdin(OwnedFd::from(listener))
        .stdout(OwnedFd::from(theirs))
        .stderr(stderr)
        // Ctrl-C must reach this process alone: it decides what happens inside.
        .process_group(0)
        .spawn()
        .map_err(system("start the sandbox's init"))?;
    let log = || Ok(Log { file: File::from(io::stdout().as_fd().try_clone_to_owned()?), size: 0 });
    let log = detached.then(log).transpose().map_err(system("keep the log"))?;
    let output = Output { open: true, log };
    // The lifeline is kept to the end, also when nothing more comes through it.
    let sources = [Some(lifeline), errors].into_iter().flatten().map(|stream| (stream, true)).collect();
    Supervisor { init, sources, signals, output, asked: 0 }.wait()
}

struct Supervisor {
    init: Child,
    /// What comes from inside, and whether more may come.
    sources: Vec<(UnixStream, bool)>,
    signals: SignalFd,
    output: Output,
    /// How often the user asked for the end.
    asked: u32,
}

/// Standard output.
struct Output {
    /// Whether anybody reads it.
    open: bool,
    /// It is a log, and nobody but us writes to it.
    log: Option<Log>,
}

/// A file that begins anew before it is too large. It is open for appending.
struct Log {
    file: File,
    /// How much we have written to it.
    size: u64,
}

impl Supervisor {
    fn wait(mut self) -> Result<(), SandboxError> {
        loop {
            let mut ready = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            let talking = self.sources.iter().filter(|(_, talking)| *talking);
            ready.extend(talking.map(|(stream, _)| PollFd::new(stream.as_fd(), PollFlags::POLLIN)));
            match poll(&mut ready, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(system("wait for the sandbox")(errno.into())),
            }
            let spoke: Vec<bool> = ready.iter().skip(1).map(|fd| fd.any().unwrap_or(false)).collect();
            let talking = self.sources.iter_mut().filter(|(_, talking)| *talking);
            for ((stream, talking), _) in talking.zip(spoke).filter(|(_, spoke)| *spoke) {
                *talking = self.output.pass_on(stream);
            }
            while let Ok(Some(signal)) = self.signals.read_signal() {
                if signal.ssi_signo != Signal::SIGCHLD as u32 {
                    self.ask();
                }
            }
            if let Some(status) = self.init.try_wait().map_err(system("wait for the sandbox"))? {
                for (stream, _) in &mut self.sources {
                    while self.output.pass_on(stream) {}
                }
                return if self.asked > 0 { Ok(()) } else { Err(SandboxError::Ended(status)) };
            }
        }
    }

    /// First time: end in order. Again: at once.
    fn ask(&mut self) {
        self.asked += 1;
        let signal = if self.asked == 1 { Signal::SIGTERM } else { Signal::SIGKILL };
        let Ok(pid) = i32::try_from(self.init.id()) else { return };
        if let Err(error) = kill(Pid::from_raw(pid), signal) {
            tracing::debug!(%error, "the sandbox is already gone");
        }
    }
}

impl Output {
    /// Copies what came from inside; false when nothing more will come.
    fn pass_on(&mut self, stream: &mut UnixStream) -> bool {
        let mut buffer = [0; 4096];
        let Ok(count @ 1..) = stream.read(&mut buffer) else { return false };
        if let (true, Some(text)) = (self.open, buffer.get(..count))
            && let Err(error) = self.write(text)
        {
            // Nobody reads any more (`squall playground | head`): the playground itself goes on.
            tracing::debug!(%error, "standard output is closed");
            self.open = false;
        }
        true
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if let Some(log) = &mut self.log {
            return log.write(text);
        }
        let mut out = io::stdout().lock();
        out.write_all(text)?;
        out.flush()
    }
}

impl Log {
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        self.size += text.len() as u64;
        if self.size > LOG_LIMIT {
            self.file.set_len(0)?;
            self.size = text.len() as u64;
        }
        self.file.write_all(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_begins_anew_before_it_is_too_large() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = File::options().append(true).create_new(true).open(&path).unwrap();
        let mut log = Log { file, size: 0 };
        let line = [b'x'; 4095];
        let mut largest = 0;
        for number in 0..600_u16 {
            log.write(&[line.as_slice(), b"\n"].concat()).unwrap();
            log.write(format!("{number}\n").as_bytes()).unwrap();
            largest = largest.max(fs::metadata(&path).unwrap().len());
        }
        assert!((LOG_LIMIT / 2..=LOG_LIMIT).contains(&largest), "it grew to {largest} bytes");
        assert!(fs::read_to_string(&path).unwrap().ends_with("\n599\n"), "the newest lines are there");
    }
}
