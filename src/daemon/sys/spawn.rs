//! Helper processes of a daemon: the same program with another verb.
//!
//! `PR_SET_PDEATHSIG` looks at the *thread* that forked, so that all helpers are forked by one that never ends.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::channel::Channel;
use super::proc::PidFd;

/// This program, whatever became of its file meanwhile.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// What it is called in a list of processes.
const NAME: &str = "squall";

/// A helper, and the descriptor by which its end is seen and it is ended: a number could be another process's by then.
#[derive(Debug)]
pub struct Helper {
    child: Child,
    pidfd: PidFd,
}

type Job = (Command, mpsc::SyncSender<io::Result<Child>>);

/// Starts a helper that finds `channel` at its standard input ([`Channel::from_stdin`]). Its last
/// argument is this process's number. One that must end with us calls [`super::proc::die_with_parent`] with it before it
/// does anything that lasts.
pub fn spawn(program: &Path, arguments: &[impl AsRef<OsStr>], channel: Channel) -> io::Result<Helper> {
    #[expect(clippy::disallowed_methods, reason = "the one place that starts this program again")]
    let mut command = Command::new(program);
    command
        .args(arguments)
        .arg(std::process::id().to_string())
        .stdin(Stdio::from(channel.into_fd()))
        .stdout(Stdio::null())
        .arg0(NAME)
        // Ctrl-C in a terminal is for the daemon, which lets go of its helpers in order.
        .process_group(0);
    let (answer, child) = mpsc::sync_channel(1);
    let gone = || io::Error::other("the thread that starts helpers is gone");
    spawner()?.send((command, answer)).map_err(|_closed| gone())?;
    let mut child = child.recv().map_err(|_closed| gone())??;
    match PidFd::open(child.id()) {
        Ok(pidfd) => Ok(Helper { child, pidfd }),
        Err(error) => {
            child.kill()?;
            child.wait()?;
            Err(error)
        }
    }
}

/// The way to the thread that forks.
fn spawner() -> io::Result<mpsc::Sender<Job>> {
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();
    if SPAWNER.get().is_none() {
        let (sender, jobs) = mpsc::channel::<Job>();
        thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            for (mut command, answer) in jobs {
                // Who asked may be gone; the helper then finds its channel closed.
                drop(answer.send(command.spawn()));
            }
        })?;
        // Where two threads come here at once, one of the senders is dropped, and its thread ends without a helper.
        drop(SPAWNER.set(Mutex::new(sender)));
    }
    let sender = SPAWNER.get().ok_or_else(|| io::Error::other("no thread to start helpers"))?;
    Ok(sender.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

impl Helper {
    /// Its number, to name it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its end can be waited for.
    pub fn pidfd(&self) -> &PidFd {
        &self.pidfd
    }

    /// Ends it at once (`SIGKILL`), even if it is stopped. That it has ended already is success.
    pub fn kill(&self) -> io::Result<()> {
        match self.pidfd.send_signal(Signal::SIGKILL) {
            Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => Ok(()),
            result => result,
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Waited for, so that no zombie stays.
        if let Err(error) = self.kill().and_then(|()| self.child.wait().map(drop)) {
            tracing::warn!(pid = self.child.id(), %error, "a helper did not end");
        }
    }
}
