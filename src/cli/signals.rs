//! The signals with which somebody ends a verb.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::{Failure, Result};

/// SIGINT (Ctrl-C) and SIGTERM, from when it is made. SIGHUP keeps its default: a closed terminal ends the verb,
/// and what it started goes on.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// From now on these signals no longer end the process by themselves.
    pub(crate) fn new() -> Result<Self> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::from(error).context("cannot listen to signals"));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
