//! A playground that outlives the terminal: started in a session of its own, found again by its socket, ended.
//!
//! The console is its ordinary client. So a lost terminal touches nothing in it, and whoever comes back, from whichever
//! terminal, has the same rights as who started it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use tokio::process::{Child, Command};

use super::paths::{self, PathError, Places};
use super::{PlaygroundError, exec};
use crate::daemon::sys::proc::PidFd;

/// How long a playground may take to end in order.
const ORDERLY: Duration = Duration::from_secs(10);
/// How long the kernel may take to clear a killed one away.
const KILLED: Duration = Duration::from_secs(5);
/// How often a starting playground is asked whether it answers.
const ASK: Duration = Duration::from_millis(20);
/// How much of what a failed start said is told.
const REASON: usize = 4000;

/// Why a playground could not be started or ended.
#[derive(Debug, thiserror::Error)]
pub enum DetachedError {
    /// What it says cannot be kept.
    #[error("cannot write the log {path}")]
    Log {
        /// The log.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The process could not be made.
    #[error("cannot start the playground")]
    Start(#[source] io::Error),
    /// It ended before it answered.
    #[error("the playground did not start ({status}):\n{said}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// What it said last.
        said: String,
    },
    /// Nothing answers on its socket.
    #[error("no playground '{0}' is running")]
    NotRunning(String),
    /// Its process cannot be found or signalled.
    #[error("cannot end the playground")]
    Signal(#[source] io::Error),
    /// It was killed and is still there.
    #[error("process {0} of the playground does not end")]
    Stuck(u32),
}

/// A playground that this process has started.
#[derive(Debug)]
pub struct Detached {
    child: Child,
    process: Running,
    log: PathBuf,
}

/// A playground's supervisor, whoever started it. When it ends the kernel ends everything in the sandbox.
#[derive(Clone, Debug)]
pub struct Running {
    pid: u32,
    process: Arc<PidFd>,
}

impl Detached {
    /// Starts playground `name`, in a session of its own: neither Ctrl-C nor a hang-up of our terminal reach it. What it
    /// says goes to [`Places::log`]. The environment of this process says where it keeps its files. Inside a tokio
    /// runtime.
    pub fn start(name: &str) -> Result<Self, PlaygroundError> {
        paths::check_name(name)?;
        let log = Places::default().log(name)?;
        if let Some(folder) = log.parent() {
            paths::private_folders(folder, "XDG_STATE_HOME")?;
        }
        let failed = |source| DetachedError::Log { path: log.clone(), source };
        // A new file, so that a playground that is about to end keeps its own.
        match fs::remove_file(&log) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error).into()),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let output = options.append(true).create_new(true).mode(0o600).open(&log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let mut command = Command::from(exec::program(exec::THIS_PROGRAM));
        command
            .arg0("squall")
            .args(["playground", "--headless", "--detached", "--name", name])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let child = command.spawn().map_err(DetachedError::Start)?;
        let pid = child.id().ok_or_else(|| DetachedError::Start(io::ErrorKind::NotFound.into()))?;
        let process = Arc::new(PidFd::open(pid).map_err(DetachedError::Start)?);
        Ok(Self { child, process: Running { pid, process }, log })
    }

    /// Waits until its API server answers `client`, whatever it says. May be dropped at any time.
    pub async fn ready(&mut self, client: &kube::Client) -> Result<(), PlaygroundError> {
        loop {
            let request = http::Request::get("/version").body(Vec::new());
            let request = request.map_err(|error| DetachedError::Start(io::Error::other(error)))?;
            tokio::select! {
                biased;
                status = self.child.wait() => {
                    let status = status.map_err(DetachedError::Start)?;
                    return Err(DetachedError::Ended { status, said: self.last_words() }.into());
                }
                answer = client.request_text(request) => if matches!(answer, Ok(_) | Err(kube::Error::Api(_))) {
                    return Ok(());
                },
            }
            tokio::time::sleep(ASK).await;
        }
    }

    fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let tail = text.get(text.len().saturating_sub(REASON)..).unwrap_or_default();
        String::from_utf8_lossy(tail).trim_end().to_owned()
    }

    /// Its process.
    pub fn process(&self) -> Running {
        self.process.clone()
    }

    /// Whether it has ended by itself, with what it said last.
    pub fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(format!("{status}\n{}", self.last_words())),
            Err(error) => Some(error.to_string()),
        }
    }
}

impl Running {
    /// The process behind the socket of playground `name`.
    ///
    /// The kernel names the process that listens (`SO_PEERCRED`, unix(7)). It is held by descriptor, and as the socket
    /// still answers afterwards for the same process, the number had not come to mean another one: the socket dies
    /// with its supervisor.
    pub fn find(name: &str) -> Result<Self, PlaygroundError> {
        paths::check_name(name)?;
        let socket = Places::default().socket(name);
        let listener = || -> Result<u32, DetachedError> {
            let stream = UnixStream::connect(&socket).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    DetachedError::NotRunning(name.to_owned())
                }
                _ => DetachedError::Signal(error),
            })?;
            let peer =
                getsockopt(&stream, PeerCredentials).map_err(|errno| DetachedError::Signal(errno.into()))?;
            u32::try_from(peer.pid()).map_err(|error| DetachedError::Signal(io::Error::other(error)))
        };
        let pid = listener()?;
        // 0 stands for a process outside our PID namespace.
        if pid == 0 {
            let unseen =
                io::Error::other("its process cannot be seen from here: it runs outside this container");
            return Err(DetachedError::Signal(unseen).into());
        }
        let process = Arc::new(PidFd::open(pid).map_err(DetachedError::Signal)?);
        if listener()? != pid {
            return Err(DetachedError::NotRunning(name.to_owned()).into());
        }
        Ok(Self { pid, process })
    }

    /// Ends it in order, and at once where that takes more than ten seconds. Blocks so long.
    pub fn end(&self) -> Result<(), PlaygroundError> {
        self.signal(Signal::SIGTERM)?;
        if self.wait(ORDERLY)? {
            return Ok(());
        }
        self.signal(Signal::SIGKILL)?;
        if self.wait(KILLED)? { Ok(()) } else { Err(DetachedError::Stuck(self.pid).into()) }
    }

    /// Ends it at once.
    pub fn kill(&self) -> Result<(), PlaygroundError> {
        self.signal(Signal::SIGKILL)
    }

    fn wait(&self, timeout: Duration) -> Result<bool, PlaygroundError> {
        Ok(self.process.wait(timeout).map_err(DetachedError::Signal)?)
    }

    fn signal(&self, signal: Signal) -> Result<(), PlaygroundError> {
        match self.process.send_signal(signal) {
            Err(error) if error.raw_os_error() != Some(Errno::ESRCH as i32) => {
                Err(DetachedError::Signal(error).into())
            }
            _ => Ok(()),
        }
    }
}

/// Whether playground `name` runs: something answers on its socket.
pub fn is_running(name: &str) -> Result<bool, PathError> {
    paths::check_name(name)?;
    Ok(UnixStream::connect(Places::default().socket(name)).is_ok())
}
