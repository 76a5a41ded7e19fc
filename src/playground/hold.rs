//! Processes that only exist: the holder of a pod's namespaces, and the program `hold` (`pause` elsewhere).

use std::io::{self, Write as _};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::sethostname;

/// Waits for SIGTERM or SIGINT.
///
/// As process 1 of a PID namespace it would not receive a signal whose default action it left in place, so it
/// takes them explicitly (`pid_namespaces(7)`).
pub(crate) fn hold() -> io::Result<()> {
    let mut end = SigSet::empty();
    end.add(Signal::SIGTERM);
    end.add(Signal::SIGINT);
    end.thread_block()?;
    end.wait()?;
    Ok(())
}

/// Makes a pod's network, IPC and UTS namespaces, says so with one line on the standard output, and holds them.
pub(crate) fn sandbox(hostname: &str) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS)?;
    sethostname(hostname)?;
    io::stdout().write_all(b"ready\n")?;
    hold()
}
