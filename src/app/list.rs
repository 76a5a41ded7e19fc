//! What every list of rows remembers: which row is selected, what is scrolled to, the order and the filter.
//!
//! The selected row is remembered by its identity, so that it stays selected while rows come and go around it.
//! The rows themselves are worked out only when data, filter or order have changed, never while drawing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::filter::Filter;

/// A row of a list.
pub trait Row {
    /// What tells it from all others, for as long as it lives.
    fn id(&self) -> &str;
}

/// The order of a list: a column, counted from 0, and the direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sort {
    /// The column.
    pub column: usize,
    /// Whether the largest comes first.
    pub descending: bool,
}

/// A list of rows of one kind.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct List<T> {
    /// Identity of the selected row, if a row was ever selected.
    pub selected: Option<String>,
    /// Where the selected row stands, or stood when it went away.
    pub index: usize,
    /// The first visible row.
    pub offset: usize,
    /// The order.
    pub sort: Sort,
    /// Which rows are shown.
    pub filter: Filter,
    /// Whether the user chose the row. Until then the first one is selected, whatever comes before it.
    pub chosen: bool,
    /// The rows that are shown, in order. Worked out from the data, and therefore not recorded.
    #[serde(skip)]
    pub rows: Vec<Arc<T>>,
}

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        Self {
            selected: self.selected.clone(),
            index: self.index,
            offset: self.offset,
            sort: self.sort,
            filter: self.filter.clone(),
            chosen: self.chosen,
            rows: self.rows.clone(),
        }
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            selected: None,
            index: 0,
            offset: 0,
            sort: Sort::default(),
            filter: Filter::default(),
            chosen: false,
            rows: Vec::new(),
        }
    }
}

/// A movement of the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// By so many rows; negative is up.
    By(isize),
    /// By so many halves of what is visible; negative is up.
    HalfPages(isize),
    /// To the first row.
    First,
    /// To the last row.
    Last,
}

impl<T: Row> List<T> {
    /// The selected row.
    pub fn current(&self) -> Option<&Arc<T>> {
        self.rows.get(self.index)
    }

    /// Puts other rows in the place of the old ones; the selection stays on its row, or on the place where it was.
    pub fn set_rows(&mut self, rows: Vec<Arc<T>>, visible: usize) {
        let same =
            |index: usize| rows.get(index).is_some_and(|row| Some(row.id()) == self.selected.as_deref());
        if !self.chosen {
            self.index = 0;
        } else if !same(self.index) {
            let found = rows.iter().position(|row| Some(row.id()) == self.selected.as_deref());
            self.index = found.unwrap_or_else(|| self.index.min(rows.len().saturating_sub(1)));
        }
        self.rows = rows;
        self.settle(visible);
    }

    /// Selects another row.
    pub fn go(&mut self, motion: Motion, visible: usize) {
        self.chosen = true;
        let last = self.rows.len().saturating_sub(1);
        let by = |count: isize| self.index.saturating_add_signed(count).min(last);
        self.index = match motion {
            Motion::By(count) => by(count),
            Motion::HalfPages(halves) => {
                let half = isize::try_from((visible / 2).max(1)).unwrap_or(1);
                by(halves.saturating_mul(half))
            }
            Motion::First => 0,
            Motion::Last => last,
        };
        self.settle(visible);
    }

    /// Selects the row at this place, if there is one.
    pub fn select(&mut self, index: usize, visible: usize) {
        if index < self.rows.len() {
            self.chosen = true;
            self.index = index;
            self.settle(visible);
        }
    }

    /// Remembers the selected row by its identity, and scrolls so that it is among the `visible` ones.
    pub fn settle(&mut self, visible: usize) {
        if let Some(row) = self.rows.get(self.index) {
            self.selected = Some(row.id().to_owned());
        }
        let visible = visible.max(1);
        let lowest = self.rows.len().saturating_sub(visible);
        self.offset = self.offset.clamp((self.index + 1).saturating_sub(visible), self.index).min(lowest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Word(&'static str);

    impl Row for Word {
        fn id(&self) -> &str {
            self.0
        }
    }

    fn rows(words: &[&'static str]) -> Vec<Arc<Word>> {
        words.iter().map(|word| Arc::new(Word(word))).collect()
    }

    fn selected(list: &List<Word>) -> &str {
        list.current().map_or("-", |word| word.0)
    }

    #[test]
    fn the_selection_follows_its_row_and_stays_in_place_when_the_row_is_gone() {
        let mut list = List::default();
        list.set_rows(rows(&["a", "b", "c"]), 10);
        list.go(Motion::By(1), 10);
        list.set_rows(rows(&["0", "a", "b", "c"]), 10);
        assert_eq!(selected(&list), "b");
        list.set_rows(rows(&["0", "a", "c"]), 10);
        assert_eq!(selected(&list), "c", "the place where it was");
        list.set_rows(rows(&[]), 10);
        assert_eq!(selected(&list), "-");
        list.set_rows(rows(&["z", "c"]), 10);
        assert_eq!(selected(&list), "c", "it is back");
    }

    #[test]
    fn until_one_is_chosen_the_first_row_is_selected() {
        let mut list = List::default();
        list.set_rows(rows(&["b"]), 10);
        list.set_rows(rows(&["a", "b"]), 10);
        assert_eq!(selected(&list), "a");
    }

    #[test]
    fn the_selected_row_is_always_visible_and_no_room_is_wasted() {
        let words = ["a", "b", "c", "d", "e", "f"];
        let mut list = List::default();
        list.set_rows(rows(&words), 3);
        for (motion, index, offset) in [
            (Motion::Last, 5, 3),
            (Motion::By(-1), 4, 3),
            (Motion::By(-2), 2, 2),
            (Motion::First, 0, 0),
            (Motion::By(-1), 0, 0),
            (Motion::HalfPages(2), 2, 0),
            (Motion::By(100), 5, 3),
        ] {
            list.go(motion, 3);
            assert_eq!((list.index, list.offset), (index, offset), "{motion:?}");
        }
        list.settle(6);
        assert_eq!(list.offset, 0, "all have room");
    }
}
