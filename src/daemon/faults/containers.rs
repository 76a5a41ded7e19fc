//! Killing a container: SIGKILL to its init, by a descriptor that can mean no other process.

use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::network::refuse_own_kernel;
use super::rights;
use crate::capabilities::Buys;
use crate::daemon::kernel::FaultError;
use crate::daemon::sys::proc::{self, Finder, PidFd, Process};

/// How long a process may take to end after SIGKILL: longer only while it is in a call that cannot be
/// interrupted.
const END: Duration = Duration::from_secs(2);

/// Kills the container of this id and gives the evidence. A container that was started anew has another id: it
/// is never killed in place of the one that was meant.
///
/// # Errors
/// When the container has no process here, or it does not end.
pub fn kill(finder: Finder, pod: &str, container: &str) -> Result<String, FaultError> {
    let failed = |operation| {
        move |source: io::Error| {
            rights::failed(operation, source.into(), &[Buys::KillOfRoot, Buys::KillOfOthers])
        }
    };
    let gone = || FaultError::NoContainer { pod: pod.to_owned(), container: container.to_owned() };
    let found = proc::find(finder, pod, Some(container)).map_err(failed("looking for the container"))?;
    let init = init_of(found).ok_or_else(gone)?;
    refuse_own_kernel(pod, init.pid, &init.container_id)?;
    let descriptor = match PidFd::open(init.pid) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Err(gone()),
        opened => opened.map_err(failed("taking hold of the container's init"))?,
    };
    // The number may have passed to another process before the descriptor was opened.
    if proc::start_time(init.pid).ok() != Some(init.start_time) {
        return Err(gone());
    }
    descriptor.send_signal(Signal::SIGKILL).map_err(failed("killing the container's init"))?;
    if !descriptor.wait(END).map_err(failed("waiting for the end of the container's init"))? {
        return Err(FaultError::NotReadBack(format!("process {} got SIGKILL and runs on", init.pid)));
    }
    Ok(format!("process {} of {container} got SIGKILL and has ended", init.pid))
}

/// The process that all others of the container come from: the one that began first.
fn init_of(processes: Vec<Process>) -> Option<Process> {
    processes.into_iter().min_by_key(|process| (process.start_time, process.pid))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a container to kill")]
    fn the_container_that_is_meant_and_no_other() {
        let pod = format!("pod-{}", std::process::id());
        let start = |id: &str| {
            let mut command = Command::new("sleep");
            command.arg("60").env("SQUALL_CONTAINER", format!("{pod}/{id}")).spawn().unwrap()
        };
        let (mut meant, mut other) = (start("meant"), start("other"));
        // Until exec the child has our own environment.
        let told = |id: &str| !proc::find(Finder::Environment, &pod, Some(id)).unwrap().is_empty();
        while !told("meant") || !told("other") {
            std::thread::yield_now();
        }
        let evidence = kill(Finder::Environment, &pod, "squall://meant").unwrap();
        assert!(evidence.contains(&meant.id().to_string()), "{evidence}");
        assert!(!meant.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none(), "the other container was killed too");
        other.kill().unwrap();
        other.wait().unwrap();
        let again = kill(Finder::Environment, &pod, "squall://meant").unwrap_err();
        assert!(matches!(again, FaultError::NoContainer { .. }), "{again}");
    }
}
