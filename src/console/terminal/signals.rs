//! What comes from outside and is no key: signals, and the loss of the terminal.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{self, SignalKind, signal};

use super::TerminalError;
use super::tty::Tty;

/// What somebody or something outside wants of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: end.
    Terminate,
    /// SIGINT sent by a program. Ctrl-C is a key here.
    Interrupt,
    /// The terminal is gone (SIGHUP, or the device says so): end, and touch nothing that runs.
    HangUp,
    /// SIGCONT: the process was stopped without having been asked (`kill -STOP`), and the shell has used the terminal
    /// meanwhile. [`super::Screen::resume`] takes it back.
    Continue,
}

/// The signals of this process, from when this is made; none of them ends the process by itself any more.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
    pub(super) resume: unix::Signal,
    tty: Arc<Tty>,
    lost: bool,
}

impl Signals {
    pub(super) fn listen(tty: Arc<Tty>) -> Result<Self, TerminalError> {
        let listen = |kind| {
            let failed = |source: io::Error| TerminalError::System { action: "listen to signals", source };
            signal(kind).map_err(failed)
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
            resume: listen(SignalKind::from_raw(libc::SIGCONT))?,
            tty,
            lost: false,
        })
    }

    /// Waits for the next one. May be dropped at any time without losing any. The loss of the terminal is told once.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.hang_up.recv() => {
                self.lost = true;
                Signal::HangUp
            }
            () = self.tty.hung_up(), if !self.lost => {
                self.lost = true;
                Signal::HangUp
            }
            _ = self.resume.recv() => Signal::Continue,
        }
    }
}
