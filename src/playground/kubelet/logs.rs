//! What containers print, kept in memory: the newest part of the running container's and of the one before it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

/// Most bytes of one container's log that are kept.
const CAPACITY: usize = 1024 * 1024;
/// Longest line; a longer one is cut into several, as container runtimes do.
const LINE: usize = 16 * 1024;

/// The log of one run of a container.
#[derive(Debug)]
pub(crate) struct Log {
    ring: Mutex<Ring>,
    /// Counts changes, for those who follow.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Bytes>,
    bytes: usize,
    /// Number of the oldest line that is still there.
    first: u64,
    /// A line without its newline so far.
    partial: Vec<u8>,
    closed: bool,
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) struct Read {
    /// The lines, each with its newline.
    pub(crate) lines: Vec<Bytes>,
    /// Where to go on reading.
    pub(crate) next: u64,
    /// Nothing will come any more.
    pub(crate) closed: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { ring: Mutex::default(), changes: watch::channel(0).0 }
    }
}

impl Log {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends what a container printed.
    pub(crate) fn push(&self, chunk: &[u8]) {
        let mut ring = self.ring();
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            ring.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || ring.partial.len() >= LINE {
                ring.end_line();
            }
        }
        drop(ring);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Says that the container has ended.
    pub(crate) fn close(&self) {
        let mut ring = self.ring();
        if !ring.partial.is_empty() {
            ring.end_line();
        }
        ring.closed = true;
        drop(ring);
        self.changes.send_modify(|count| *count += 1);
    }

    /// The lines from number `from` on that are still there.
    pub(crate) fn read(&self, from: u64) -> Read {
        let ring = self.ring();
        let skip = usize::try_from(from.saturating_sub(ring.first)).unwrap_or(usize::MAX);
        let lines: Vec<_> = ring.lines.iter().skip(skip).cloned().collect();
        Read { lines, next: ring.first + ring.lines.len() as u64, closed: ring.closed }
    }

    /// Tells of each change after this call.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl Ring {
    fn end_line(&mut self) {
        let mut text = std::mem::take(&mut self.partial);
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        self.bytes += text.len();
        self.lines.push_back(text.into());
        while self.bytes > CAPACITY
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes -= oldest.len();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(read: &Read) -> String {
        read.lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let log = Log::default();
        log.push(b"one\ntw");
        assert_eq!(text(&log.read(0)), "one\n");
        log.push(b"o\nthree");
        let read = log.read(1);
        assert_eq!((text(&read).as_str(), read.next, read.closed), ("two\n", 2, false));
        log.close();
        let read = log.read(read.next);
        assert_eq!((text(&read).as_str(), read.closed), ("three\n", true));
    }

    #[test]
    fn the_oldest_lines_go_first_and_numbers_stay() {
        let log = Log::default();
        let line = [&[b'x'; 1023], &b"\n"[..]].concat();
        for _ in 0..1030 {
            log.push(&line);
        }
        let read = log.read(0);
        assert_eq!((read.lines.len(), read.next), (1024, 1030));
        assert_eq!(log.read(1029).lines.len(), 1);
        assert_eq!(log.read(5000).lines.len(), 0);
    }

    #[test]
    fn an_endless_line_is_cut() {
        let log = Log::default();
        for _ in 0..40 {
            log.push(&[b'x'; 1024]);
        }
        assert_eq!(log.read(0).lines.len(), 2);
    }
}
