//! Processes, the machine's clocks and locks: what a node needs beside the network.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::getppid;

mod find;

pub use find::{Finder, Process, Sighting, find, look_around, own_kernel};

/// Identity of this boot (`/proc/sys/kernel/random/boot_id`): a journal of another boot describes nothing that
/// still exists.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
}

/// Time since boot, suspension included (`CLOCK_BOOTTIME`): nobody can set this clock.
pub fn boot_time() -> io::Result<Duration> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME)?))
}

/// The capabilities that this process has in effect, as bits (`linux/capability.h`; proc(5), `CapEff`).
pub fn effective_capabilities() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.ok_or_else(|| io::Error::other("/proc/self/status has no CapEff"))
}

/// When a process started, in clock ticks since boot (`starttime`, `proc_pid_stat(5)`). Number and start time
/// together name one process for ever.
pub fn start_time(pid: u32) -> io::Result<u64> {
    start_time_in(Path::new("/proc"), pid)
}

fn start_time_in(proc: &Path, pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(proc.join(pid.to_string()).join("stat"))?;
    parse_start_time(&stat)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "stat without start time"))
}

/// The second field is the command's name in parentheses, which may itself hold blanks and parentheses.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    // starttime is field 22; the fields here begin with the third.
    fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// A process held by descriptor: its number cannot come to mean another one (`pidfd_open(2)`). The descriptor is
/// readable once the process has ended.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Takes hold of a process. To be sure which one, compare its start time afterwards.
    #[expect(unsafe_code, reason = "nix has no pidfd_open")]
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
        // SAFETY: the call takes two numbers and no memory of ours.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = i32::try_from(Errno::result(result)?).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made this descriptor (close-on-exec) and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends a signal. `ESRCH` says that the process has ended.
    #[expect(unsafe_code, reason = "nix has no pidfd_send_signal")]
    pub fn send_signal(&self, signal: Signal) -> io::Result<()> {
        let no_info: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: the descriptor is open, and a null pointer is the documented way to give no siginfo.
        let result = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal as libc::c_int, no_info, 0)
        };
        Ok(Errno::result(result).map(drop)?)
    }

    /// Waits until the process has ended, at most so long; says whether it has. It need not be a child.
    pub fn wait(&self, timeout: Duration) -> io::Result<bool> {
        let begun = Instant::now();
        loop {
            let left =
                PollTimeout::try_from(timeout.saturating_sub(begun.elapsed())).unwrap_or(PollTimeout::MAX);
            let mut descriptors = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            match poll(&mut descriptors, left) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Asks the kernel to kill this process when the thread that forked it ends (`PR_SET_PDEATHSIG`). `parent` is the
/// parent's number as this process sees it, 0 when the parent is outside its PID namespace; an error says that the
/// parent had ended before, so that the caller should end too.
pub fn die_with_parent(parent: u32) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if u32::try_from(getppid().as_raw()) == Ok(parent) {
        return Ok(());
    }
    Err(io::Error::other("the parent process has ended"))
}

/// Closes what a parent left open by mistake: every descriptor but the three standard ones. A process calls this before
/// it opens anything itself.
#[expect(unsafe_code, reason = "nix has no close_range")]
pub fn close_inherited() -> io::Result<()> {
    let first: libc::c_uint = 3;
    // SAFETY: the call takes three numbers. Nothing in this process owns the descriptors: it has opened none so far.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    Ok(Errno::result(result).map(drop)?)
}

/// Makes this process, and the threads that it makes from now on, deaf to the signals that usually end a process in
/// order.
pub fn block_ends() -> io::Result<()> {
    let signals = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];
    Ok(signals.into_iter().collect::<SigSet>().thread_block()?)
}

/// A file that this process alone uses, until this is dropped or the process ends.
#[derive(Debug)]
pub struct FileLock(#[expect(dead_code, reason = "held for its drop, which unlocks")] Flock<File>);

/// Locks a file (flock(2)) without waiting, and makes it if it is missing; nothing if another process has it, or had it a
/// moment ago and removed it.
pub fn lock_file(path: &Path) -> io::Result<Option<FileLock>> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    Ok(lock(file, path)?.map(FileLock))
}

/// A folder that this process alone uses, until this is dropped or the process ends.
#[derive(Debug)]
pub struct DirectoryLock(#[expect(dead_code, reason = "held for its drop, which unlocks")] Flock<File>);

/// Locks a folder (flock(2)) without waiting; nothing if another process has it, or had it a moment ago and removed it.
pub fn lock_dir(path: &Path) -> io::Result<Option<DirectoryLock>> {
    let flags = libc::O_DIRECTORY | libc::O_CLOEXEC;
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    Ok(lock(directory, path)?.map(DirectoryLock))
}

fn lock(file: File, path: &Path) -> io::Result<Option<Flock<File>>> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        // Of what is not at its path any more there may be two, each locked by somebody.
        Ok(lock) => Ok(is_at(&lock, path)?.then_some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// Whether this is what its path leads to now.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((own.dev(), own.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
