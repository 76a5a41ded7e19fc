//! Process 1 of the sandbox: mounts, then waits.
//!
//! It is as small as it can be, because everything hangs on it: when it ends, for whatever reason, the kernel kills
//! every other process of the sandbox and takes apart its namespaces. So it ends when the supervisor is gone and
//! when the machine room is gone, and does nothing in between but reap. It has no threads and no runtime.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{DATABASE_FOLDER, ROOT_FOLDER, exec};
use crate::daemon::sys::mount::{self, MountError};

/// Why the sandbox could not be furnished.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    #[error("cannot {action}")]
    System {
        action: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "cannot make the sandbox's view of files (inside a container, which hides parts of /proc, it is forbidden)"
    )]
    Mount(#[from] MountError),
}

fn failed<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> InitError {
    move |source| InitError::System { action: action.into(), source: source.into() }
}

/// What the supervisor says on the command line.
pub(crate) struct Arguments {
    /// Name of the playground.
    pub(crate) name: OsString,
    /// Folder of the database, on the user's machine.
    pub(crate) database: PathBuf,
    /// The socket's path on the user's machine; only shown.
    pub(crate) socket: OsString,
}

/// Furnishes the sandbox, starts the machine room and waits for its end.
///
/// Standard input is the listening socket and goes to the machine room. Standard output is the lifeline: lines
/// written to it appear in the user's terminal, and it is cut when the supervisor is gone.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, InitError> {
    set_pdeathsig(Signal::SIGKILL).map_err(failed("follow the supervisor into death"))?;
    let stdout = io::stdout();
    // The supervisor may have died before the line above; inside a new PID namespace getppid() cannot tell.
    if is_cut(stdout.as_fd(), 0u8.into())? {
        return Ok(ExitCode::FAILURE);
    }
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD] {
        signals.add(signal);
    }
    signals.thread_block().map_err(failed("block signals"))?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(failed("receive signals"))?;
    furnish(&arguments.database)?;
    let room = exec::builtin("room")
        .args([&arguments.name, &arguments.socket])
        .spawn()
        .map_err(failed("start the machine room"))?;
    let room =
        Pid::from_raw(i32::try_from(room.id()).map_err(|e| failed("name a process")(io::Error::other(e)))?);
    wait(room, &signals, stdout.as_fd())
}

fn is_cut(lifeline: BorrowedFd<'_>, timeout: PollTimeout) -> Result<bool, InitError> {
    let mut fds = [PollFd::new(lifeline, PollFlags::empty())];
    poll(&mut fds, timeout).map_err(failed("look at the lifeline"))?;
    Ok(fds.iter().any(|fd| fd.any().unwrap_or(false)))
}

fn wait(room: Pid, signals: &SignalFd, lifeline: BorrowedFd<'_>) -> Result<ExitCode, InitError> {
    loop {
        let mut fds =
            [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(lifeline, PollFlags::empty())];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed("wait")(errno)),
        }
        let [_, line] = fds;
        if line.any().unwrap_or(true) {
            return Ok(ExitCode::FAILURE);
        }
        while let Ok(Some(signal)) = signals.read_signal() {
            if signal.ssi_signo != Signal::SIGCHLD as u32
                && let Err(errno) = kill(room, Signal::SIGTERM)
            {
                return Err(failed("end the machine room")(errno));
            }
        }
        if let Some(code) = reap(room)? {
            return Ok(code);
        }
    }
}

/// Takes note of every ended process; the machine room's end is ours.
fn reap(room: Pid) -> Result<Option<ExitCode>, InitError> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == room => {
                return Ok(Some(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))));
            }
            Ok(WaitStatus::Signaled(pid, ..)) if pid == room => return Ok(Some(ExitCode::FAILURE)),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed("reap")(errno)),
        }
    }
}

/// Makes the sandbox's view of files: the user's, read-only throughout, with empty places for what runs inside.
fn furnish(database: &Path) -> Result<(), InitError> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(failed("make a mount namespace"))?;
    std::env::set_current_dir("/").map_err(failed("leave the current folder"))?;
    // The folder may lie below one that is about to be covered.
    let database = open_folder(database)?;
    mount::make_private(Path::new("/"))?;
    mount::make_read_only(Path::new("/"))?;
    mount::tmpfs(Path::new("/run"), "mode=0755")?;
    for folder in [ROOT_FOLDER, DATABASE_FOLDER] {
        fs::create_dir_all(folder).map_err(failed(format!("make {folder}")))?;
    }
    mount::bind(&fd_path(&database), Path::new(DATABASE_FOLDER))?;
    mount::make_writable(Path::new(DATABASE_FOLDER))?;
    ensure_resolver_file()?;
    mount::tmpfs(Path::new("/tmp"), "mode=1777")?;
    mount::tmpfs(Path::new("/var/lib"), "mode=0755")?;
    // Forbidden where a container engine hides parts of /proc (mount_too_revealing() in the kernel).
    mount::proc(Path::new("/proc"))?;
    Ok(())
}

fn open_folder(path: &Path) -> Result<File, InitError> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY);
    options.open(path).map_err(failed(format!("open the folder {}", path.display())))
}

/// The path of an open folder; what is mounted over it later does not matter.
fn fd_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Sees to it that `/etc/resolv.conf` is a regular file, over which each pod's own can be mounted.
///
/// Often it is a symbolic link into `/run`, which is covered by now, and in small images it is missing. Then
/// `/etc` is replaced by a folder of links to the entries of the real one.
fn ensure_resolver_file() -> Result<(), InitError> {
    const REAL: &str = "/etc/.machine";
    if fs::symlink_metadata("/etc/resolv.conf").is_ok_and(|metadata| metadata.is_file()) {
        return Ok(());
    }
    let act = "replace /etc, whose resolv.conf is no file";
    let real = open_folder(Path::new("/etc"))?;
    let entries = fs::read_dir("/etc").map_err(failed(act))?;
    let names: Vec<OsString> =
        entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>().map_err(failed(act))?;
    mount::tmpfs(Path::new("/etc"), "mode=0755")?;
    fs::create_dir(REAL).map_err(failed(act))?;
    mount::bind(&fd_path(&real), Path::new(REAL))?;
    for name in names.iter().filter(|name| *name != "resolv.conf") {
        symlink(Path::new(".machine").join(name), Path::new("/etc").join(name)).map_err(failed(act))?;
    }
    File::create("/etc/resolv.conf").map_err(failed(act))?;
    Ok(())
}
