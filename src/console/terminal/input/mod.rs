//! Keys, clicks, pasted text and the size of the window, as crossterm names them.
//!
//! Not crossterm's own stream: that one reads at most 1,024 bytes a wake-up and then waits for the next key, takes an
//! escape sequence that a line cut in two for the Escape key, and spins on a terminal that is gone.

mod parse;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::Event;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use self::parse::{Parser, Unfinished};
use super::TerminalError;
use super::tty::Tty;

/// How long the rest of a sequence may take after an escape: less than a person takes to see that Escape did nothing.
const ESCAPE: Duration = Duration::from_millis(50);
/// How long the rest of something that is surely no key of its own may take.
const REST: Duration = Duration::from_millis(500);

/// What the user does with keys, mouse and window.
#[derive(Debug)]
pub struct Input {
    tty: Arc<Tty>,
    window: Signal,
    parser: Parser,
    events: VecDeque<Event>,
    /// When something came last.
    last: Instant,
}

impl Input {
    pub(super) fn listen(tty: Arc<Tty>) -> Result<Self, TerminalError> {
        let window =
            signal(SignalKind::window_change()).map_err(TerminalError::system("listen to signals"))?;
        Ok(Self { tty, window, parser: Parser::default(), events: VecDeque::new(), last: Instant::now() })
    }

    /// Waits for the next event. May be dropped at any time without losing any.
    pub async fn next(&mut self) -> Result<Event, TerminalError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let patience = match self.parser.unfinished() {
                Unfinished::Nothing => None,
                Unfinished::Escape => Some(ESCAPE),
                Unfinished::Sequence => Some(REST),
            };
            let tired = patience.map_or_else(Instant::now, |patience| self.last + patience);
            let mut buffer = [0; 4096];
            tokio::select! {
                read = self.tty.read(&mut buffer) => {
                    self.last = Instant::now();
                    let bytes = buffer.get(..read?).unwrap_or_default();
                    self.parser.advance(bytes, &mut self.events);
                }
                () = sleep_until(tired), if patience.is_some() => self.parser.give_up(&mut self.events),
                _ = self.window.recv() => {
                    let size = crossterm::terminal::window_size();
                    let size = size.map_err(TerminalError::system("learn the terminal's size"))?;
                    return Ok(Event::Resize(size.columns, size.rows));
                }
            }
        }
    }
}
