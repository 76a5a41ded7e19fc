//! Where a verb writes: data to standard output, everything else to standard error.

use std::io::{self, IsTerminal, Write};

/// The two streams of a verb.
pub(crate) struct Out {
    data: io::Stdout,
    talk: io::Stderr,
    /// Whether standard output is a terminal.
    pub(crate) terminal: bool,
    /// A line on the terminal that the next one replaces.
    live: bool,
}

impl Out {
    /// The streams of this process.
    pub(crate) fn new() -> Self {
        let data = io::stdout();
        let terminal = data.is_terminal();
        Self { data, talk: io::stderr(), terminal, live: false }
    }

    /// One line of data. It is flushed: whoever reads a pipe wants it now.
    pub(crate) fn line(&mut self, line: &str) -> io::Result<()> {
        self.end_live()?;
        writeln!(self.data, "{line}")?;
        self.data.flush()
    }

    /// Data as it is.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.data.write_all(bytes)?;
        self.data.flush()
    }

    /// A line that replaces itself, only for a terminal. It is cut at the terminal's edge: a wrapped line
    /// could not be taken back.
    pub(crate) fn live(&mut self, line: &str) -> io::Result<()> {
        if !self.terminal {
            return Ok(());
        }
        // Line wrap off, carriage return, erase to the right (ECMA-48, DECAWM of xterm).
        write!(self.data, "\x1b[?7l\r\x1b[K{line}\x1b[?7h")?;
        self.live = true;
        self.data.flush()
    }

    /// Takes the live line away.
    pub(crate) fn end_live(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.live) {
            write!(self.data, "\r\x1b[K")?;
            self.data.flush()?;
        }
        Ok(())
    }

    /// One line for the person, not for the script. Nothing can be done if it cannot be said.
    pub(crate) fn say(&mut self, line: &str) {
        drop(self.end_live());
        drop(writeln!(self.talk, "{line}"));
    }
}
