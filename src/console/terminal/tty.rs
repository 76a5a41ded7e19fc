//! The terminal device: raw mode, what is switched on and off in it, and the bytes on their way to it.
//!
//! Nothing here waits for a terminal that does not read: what it does not take now is kept, and the caller is told. The
//! exception is giving the terminal back, which waits for a bounded time.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, tcgetpgrp, write};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::TerminalError;

/// How long a terminal that takes nothing may hold up the end of the console.
const FAREWELL: Duration = Duration::from_secs(1);

// The numbers are xterm's ("XTerm Control Sequences", DECSET).
/// Alternate screen, hidden cursor, bracketed paste, reports of the focus.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?1004h";
/// The same backwards, and no attribute left on.
const LEAVE: &[u8] = b"\x1b[?1004l\x1b[?2004l\x1b[0m\x1b[?25h\x1b[?1049l";
/// Presses, releases and drags, with coordinates of any size. Not every motion: over ssh that is a flood.
const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1002h\x1b[?1006h";
const MOUSE_OFF: &[u8] = b"\x1b[?1006l\x1b[?1002l\x1b[?1000l";
/// CAN ends a sequence that was cut in the middle (ECMA-48); then a frame that was cut is shown (synchronized output).
const CUT_OFF: &[u8] = b"\x18\x1b[?2026l";

/// The terminal of this process.
#[derive(Debug)]
pub(super) struct Tty {
    device: AsyncFd<OwnedFd>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the console has the terminal.
    entered: bool,
    mouse: bool,
    hung_up: bool,
    unsent: Vec<u8>,
    accepted: u64,
}

impl Tty {
    /// Takes hold of the terminal and changes nothing in it. Inside a tokio runtime.
    ///
    /// Input and output go through an open file description of our own where the kernel gives one: it can be made
    /// non-blocking, which standard input must not become, since the shell has it too.
    pub(super) fn open() -> io::Result<Self> {
        let stdin = io::stdin();
        // The controlling terminal can be opened by anybody, the device behind it only by its owner.
        let path = if tcgetpgrp(&stdin).is_ok() { "/dev/tty" } else { "/proc/self/fd/0" };
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let device = match options.open(path) {
            Ok(device) => OwnedFd::from(device),
            Err(error) => {
                tracing::debug!(%error, path, "the terminal cannot be opened again: writing to it may block");
                io::stdout().as_fd().try_clone_to_owned()?
            }
        };
        Ok(Self { device: watch(device)?, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the terminal the console's. What was there before is kept as what will be given back.
    pub(super) fn enter(&self) -> io::Result<()> {
        // Whoever stopped us without asking may have changed the mode meanwhile; it is read afresh.
        disable_raw_mode()?;
        enable_raw_mode()?;
        let mut state = self.state();
        state.entered = true;
        state.unsent.extend_from_slice(ENTER);
        if state.mouse {
            state.unsent.extend_from_slice(MOUSE_ON);
        }
        state.push(&self.device).map(drop)
    }

    /// Gives the terminal back as it was; done once however often it is called. Nothing can be done about an error: the
    /// terminal is gone, or somebody else's.
    pub(super) fn leave(&self) {
        let held = match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            // A panic in the middle of sending comes here by way of its hook.
            Err(TryLockError::WouldBlock) => None,
        };
        let farewell = match held {
            Some(mut state) => state.farewell(),
            None => Some(farewell(true)),
        };
        let Some(farewell) = farewell else { return };
        if let Err(error) = self.restore(&farewell) {
            tracing::debug!(%error, "the terminal cannot be given back as it was");
        }
    }

    /// Every step is taken, whatever becomes of those before it.
    fn restore(&self, farewell: &[u8]) -> io::Result<()> {
        let written = write_within(&self.device, farewell, FAREWELL);
        let cooked = disable_raw_mode();
        written.and(cooked)
    }

    /// Switches the mouse on or off, now if the console has the terminal, else when it gets it.
    pub(super) fn set_mouse(&self, on: bool) -> Result<(), TerminalError> {
        let mut state = self.state();
        if std::mem::replace(&mut state.mouse, on) == on || !state.entered {
            return Ok(());
        }
        state.unsent.extend_from_slice(if on { MOUSE_ON } else { MOUSE_OFF });
        state.push(&self.device).map(drop).map_err(|error| state.failed(error))
    }

    /// Sends bytes as one write, if the terminal takes that many; the rest waits for [`Self::drained`].
    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), TerminalError> {
        let mut state = self.state();
        if state.hung_up {
            return Err(TerminalError::HungUp);
        }
        if !state.entered {
            return Err(TerminalError::GivenBack);
        }
        state.unsent.extend_from_slice(bytes);
        state.push(&self.device).map(drop).map_err(|error| state.failed(error))
    }

    /// Whether the terminal has not taken everything yet.
    pub(super) fn is_behind(&self) -> bool {
        !self.state().unsent.is_empty()
    }

    /// All bytes that the terminal has taken, ever.
    pub(super) fn accepted(&self) -> u64 {
        self.state().accepted
    }

    /// Waits until the terminal has taken everything. May be dropped at any time.
    pub(super) async fn drained(&self) -> Result<(), TerminalError> {
        let unusable = |source| TerminalError::System { action: "wait for the terminal", source };
        loop {
            let mut ready = self.device.writable().await.map_err(unusable)?;
            let mut state = self.state();
            match state.push(&self.device) {
                Ok(true) => return Ok(()),
                Ok(false) => ready.clear_ready(),
                Err(error) => return Err(state.failed(error)),
            }
        }
    }

    /// Waits for keys and takes some. May be dropped at any time.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> Result<usize, TerminalError> {
        let unusable = |source| TerminalError::System { action: "wait for keys", source };
        loop {
            let mut ready = self.device.readable().await.map_err(unusable)?;
            // What is known of readiness may be old, and the descriptor may be one that blocks.
            let asked = poll(&mut [PollFd::new(self.device.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO);
            match asked
                .and_then(|count| if count == 0 { Err(Errno::EAGAIN) } else { read(&self.device, buffer) })
            {
                Ok(0) => return Err(self.state().failed(Errno::EIO.into())),
                Ok(count) => return Ok(count),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(self.state().failed(errno.into())),
            }
        }
    }

    /// Waits until the terminal is gone: the window closed, the connection lost. May be dropped at any time.
    pub(super) async fn hung_up(&self) {
        while let Ok(mut ready) = self.device.ready(Interest::PRIORITY).await {
            if ready.ready().is_read_closed() {
                break;
            }
            ready.clear_ready();
        }
        self.state().hung_up = true;
    }
}

/// Has the runtime tell when the terminal has keys, takes bytes again and is gone. A hang-up is reported with whatever is
/// asked for; priority data never comes.
#[expect(
    deprecated,
    reason = "what replaces it is unsafe: it wants a descriptor that stays the same, and an OwnedFd is one"
)]
fn watch(device: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(device, Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY)
}

/// What gives a terminal back; `cut`: something may stand in the middle of a sequence.
fn farewell(cut: bool) -> Vec<u8> {
    [if cut { CUT_OFF } else { b"" }, MOUSE_OFF, LEAVE].concat()
}

impl State {
    /// Ends the console's time: what has to be written for that, nothing to a terminal that is gone, `None` if it is
    /// over already.
    fn farewell(&mut self) -> Option<Vec<u8>> {
        let entered = std::mem::take(&mut self.entered);
        let unsent = std::mem::take(&mut self.unsent);
        entered.then(|| if self.hung_up { Vec::new() } else { farewell(!unsent.is_empty()) })
    }

    /// What an error of writing means.
    fn failed(&mut self, source: io::Error) -> TerminalError {
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EIO | Errno::ENXIO | Errno::EPIPE) => {
                self.hung_up = true;
                TerminalError::HungUp
            }
            _ => TerminalError::System { action: "use the terminal", source },
        }
    }

    /// Writes as much as the terminal takes; says whether that was all.
    fn push(&mut self, device: &AsyncFd<OwnedFd>) -> io::Result<bool> {
        while !self.unsent.is_empty() {
            match write(device, &self.unsent) {
                Ok(count) => {
                    self.accepted = self.accepted.saturating_add(count as u64);
                    self.unsent.drain(..count.min(self.unsent.len()));
                }
                Err(Errno::EAGAIN) => return Ok(false),
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    self.unsent.clear();
                    return Err(errno.into());
                }
            }
        }
        Ok(true)
    }
}

/// Writes everything, or gives up when the terminal takes nothing for so long.
fn write_within(device: &AsyncFd<OwnedFd>, mut bytes: &[u8], patience: Duration) -> io::Result<()> {
    let begun = Instant::now();
    while !bytes.is_empty() {
        match write(device, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let left = patience.saturating_sub(begun.elapsed());
                if left.is_zero() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                match poll(&mut [PollFd::new(device.as_fd(), PollFlags::POLLOUT)], left) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
