//! The guardian's process: knows what the daemon told it, waits for its end, undoes.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use super::{Answer, FOR_EVER, LOCK, RETRY_EVERY, Request, UNDO_WITHIN};
use crate::daemon::engine::error_chain;
use crate::daemon::sys::channel::Channel;
use crate::daemon::sys::netlink::{Protocol, Socket};
use crate::daemon::sys::netns::{NetNs, NetNsError, NetNsId};
use crate::daemon::sys::tc::{self, Root};
use crate::daemon::sys::{cgroup, proc};

/// An interface that must be as it was when the daemon ends.
struct Watched {
    /// Opened when it was told of: nothing new is needed when it counts.
    socket: Socket,
    root: Root,
}

type All = BTreeMap<(NetNsId, u32), Watched>;

/// Does the guardian's work: `folder` is the one of the daemon's journal, `parent` the number of its process. Ends some
/// seconds after the daemon, at the latest.
///
/// # Errors
/// When the daemon cannot be heard. Nothing was guarded then.
pub fn run(folder: &Path, parent: u32) -> io::Result<()> {
    proc::close_inherited()?;
    proc::block_ends()?;
    let channel = Channel::from_stdin()?;
    let path = folder.join(LOCK);
    let (answer, _lock) = match proc::lock_file(&path) {
        Ok(Some(lock)) => (Ok(()), Some(lock)),
        Ok(None) => (Err(format!("{} is locked by another guardian", path.display())), None),
        Err(error) => (Err(format!("cannot lock {}: {error}", path.display())), None),
    };
    // No file system is kept in use.
    std::env::set_current_dir("/")?;
    cgroup::leave();
    send(&channel, &answer)?;
    if answer.is_err() {
        return Ok(());
    }
    let all = watch(&channel);
    if !all.is_empty() {
        say(&format!("the daemon (process {parent}) is gone; interfaces to restore: {}", all.len()));
        undo_in_time(all);
    }
    Ok(())
}

/// Obeys the daemon until it is gone, in whatever way.
fn watch(channel: &Channel) -> All {
    let mut all = All::new();
    loop {
        let (message, descriptors) = match channel.receive(FOR_EVER) {
            Ok(received) => received,
            Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) => {
                continue;
            }
            Err(_) => return all,
        };
        let answer = obey(&mut all, &message, descriptors);
        // If it cannot be sent, the next read says that the daemon is gone.
        drop(send(channel, &answer));
    }
}

fn obey(all: &mut All, message: &[u8], descriptors: Vec<OwnedFd>) -> Answer {
    let request = serde_json::from_slice(message).map_err(|error| error.to_string())?;
    match request {
        Request::Guard { interface, root } => {
            let fd = descriptors.into_iter().next().ok_or("no network namespace")?;
            let open = || -> Result<_, NetNsError> {
                let namespace = NetNs::from_fd(fd)?;
                Ok((namespace.id(), namespace.socket(Protocol::Route)?))
            };
            let (id, socket) = open().map_err(|error| error_chain(&error))?;
            all.insert((id, interface), Watched { socket, root });
        }
        Request::Release { namespace, interface } => drop(all.remove(&(namespace, interface))),
    }
    Ok(())
}

fn send(channel: &Channel, answer: &Answer) -> io::Result<()> {
    channel.send(&serde_json::to_vec(answer)?, &[])
}

/// Undoes everything on a thread of its own, and gives it up when the time is over: then the next daemon begins.
fn undo_in_time(all: All) {
    let (done, finished) = mpsc::sync_channel(1);
    let worker = thread::Builder::new().name("undo".to_owned()).spawn(move || {
        undo(all);
        // Whoever waited may have given up.
        done.send(()).unwrap_or_default();
    });
    if worker.is_err() || finished.recv_timeout(UNDO_WITHIN).is_err() {
        say("the guardian could not restore everything; the next daemon does");
    }
}

/// Undoes everything, and tries again what failed, until all is done.
fn undo(mut all: All) {
    loop {
        all.retain(|(namespace, interface), watched| {
            match tc::remove(&mut watched.socket, *interface, &watched.root) {
                Ok(()) => false,
                // It is away, and no second attempt makes something better of what was there.
                Err(error @ tc::TcError::NotRestored { .. }) => {
                    say(&format!("interface {interface} of {namespace}: {}", error_chain(&error)));
                    false
                }
                Err(error) => {
                    say(&format!("interface {interface} of {namespace}: {}", error_chain(&error)));
                    true
                }
            }
        });
        if all.is_empty() {
            return;
        }
        thread::park_timeout(RETRY_EVERY);
    }
}

/// Tells whoever still reads what the daemon wrote: not by the log, which would complain about a closed pipe.
fn say(text: &str) {
    drop(writeln!(io::stderr(), "squall guardian: {text}"));
}
