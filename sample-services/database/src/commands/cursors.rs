//! Open cursors. Each is a position in a collection, so that it costs next to nothing; there is still a limit
//! on their number and age, because clients forget to close them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::value::Filter;

/// How long a cursor lives without being asked (`cursorTimeoutMillis` of mongod).
const IDLE: Duration = Duration::from_mins(10);
/// How many may be open; beyond, the one that waited longest is closed.
const MAX_OPEN: usize = 1_000;

/// Where a query goes on.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    pub(super) namespace: String,
    pub(super) filter: Filter,
    /// The next position to look at, and the first one that was not there when the query began.
    pub(super) next: usize,
    pub(super) end: usize,
    /// How many more documents the query wants.
    pub(super) wanted: usize,
}

#[derive(Default)]
pub(super) struct Cursors {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last_id: i64,
    by_id: HashMap<i64, (Instant, Cursor)>,
}

impl Cursors {
    /// Keeps a cursor and names it.
    pub(super) fn open(&self, cursor: Cursor) -> i64 {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.last_id += 1;
        let id = open.last_id;
        open.put(id, cursor);
        id
    }

    /// Takes a cursor out; [`Cursors::put_back`] or it is closed.
    pub(super) fn take(&self, id: i64) -> Option<Cursor> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.by_id.remove(&id).map(|(_, cursor)| cursor)
    }

    pub(super) fn put_back(&self, id: i64, cursor: Cursor) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).put(id, cursor);
    }
}

impl Open {
    fn put(&mut self, id: i64, cursor: Cursor) {
        let now = Instant::now();
        self.by_id.retain(|_, (used, _)| now.duration_since(*used) < IDLE);
        if self.by_id.len() >= MAX_OPEN
            && let Some(oldest) = self.by_id.iter().min_by_key(|(_, (used, _))| *used).map(|(id, _)| *id)
        {
            self.by_id.remove(&oldest);
        }
        self.by_id.insert(id, (now, cursor));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_goes_first() {
        let cursors = Cursors::default();
        let cursor =
            Cursor { namespace: "a.b".into(), filter: Filter::default(), next: 0, end: 9, wanted: 9 };
        let first = cursors.open(cursor.clone());
        let second = cursors.open(cursor.clone());
        let used = cursors.take(first).unwrap();
        cursors.put_back(first, used);
        for _ in 0..MAX_OPEN - 1 {
            cursors.open(cursor.clone());
        }
        assert!(cursors.take(second).is_none(), "the second was not used since it was opened");
        assert!(cursors.take(first).is_some(), "the first was used later");
    }
}
