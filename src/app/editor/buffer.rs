//! The text that is being edited: its lines, the cursor, what is marked, and what can be undone.
//!
//! The only file that knows the crate behind it. That crate is a widget by trade, and is used for its model alone: what
//! it looks like is `ui::widgets::editor`'s. Recorded are the lines and the cursor; what could be undone is not.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tui_textarea::{CursorMove, TextArea};

/// The largest text, in bytes: an experiment has some kilobytes, and every key reads it anew.
pub const MAX_BYTES: usize = 256 * 1024;

/// How many changes can be undone.
const UNDONE: usize = 500;

/// A text and the place of its cursor.
#[derive(Clone, Debug)]
pub struct Buffer {
    area: TextArea<'static>,
    /// How many bytes it has, with its line ends.
    bytes: usize,
}

/// A place: a line and a character of it, both from 0.
pub type Place = (usize, usize);

/// A movement of the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as they move")]
pub enum Go {
    Left,
    Right,
    Up,
    Down,
    LineStart,
    LineEnd,
    WordLeft,
    WordRight,
    First,
    Last,
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new("")
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        self.lines() == other.lines() && self.cursor() == other.cursor()
    }
}

/// The lines of a text without what a terminal would obey; tabs are two blanks, since YAML knows none.
fn lines_of(text: &str) -> Vec<String> {
    let clean = |line: &str| {
        let line = line.strip_suffix('\r').unwrap_or(line).replace('\t', "  ");
        line.chars().filter(|char| !char.is_control()).collect::<String>()
    };
    text.split('\n').map(clean).collect()
}

impl Buffer {
    /// A text with the cursor at its beginning.
    pub fn new(text: &str) -> Self {
        // A line end at the end of a file begins no line.
        let mut area = TextArea::new(lines_of(text.strip_suffix('\n').unwrap_or(text)));
        area.set_max_histories(UNDONE);
        let mut buffer = Self { area, bytes: 0 };
        buffer.count();
        buffer
    }

    fn count(&mut self) {
        self.bytes = self.area.lines().iter().map(|line| line.len() + 1).sum();
    }

    /// Its lines; one at least.
    pub fn lines(&self) -> &[String] {
        self.area.lines()
    }

    /// The line of this number.
    pub fn line(&self, row: usize) -> &str {
        self.lines().get(row).map_or("", String::as_str)
    }

    /// The whole text, with a line end at its end.
    pub fn text(&self) -> String {
        let mut text = self.lines().join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }

    /// Where the cursor is.
    pub fn cursor(&self) -> Place {
        let cursor = self.area.cursor();
        (cursor.0, cursor.1)
    }

    /// What stands before the cursor on its line.
    pub fn before(&self) -> String {
        let (row, column) = self.cursor();
        self.line(row).chars().take(column).collect()
    }

    /// What stands behind the cursor on its line.
    pub fn after(&self) -> String {
        let (row, column) = self.cursor();
        self.line(row).chars().skip(column).collect()
    }

    /// What is marked: from, to.
    pub fn marked(&self) -> Option<(Place, Place)> {
        self.area.selection_range()
    }

    /// Moves the cursor.
    pub fn go(&mut self, go: Go) {
        self.area.move_cursor(match go {
            Go::Left => CursorMove::Back,
            Go::Right => CursorMove::Forward,
            Go::Up => CursorMove::Up,
            Go::Down => CursorMove::Down,
            Go::LineStart => CursorMove::Head,
            Go::LineEnd => CursorMove::End,
            Go::WordLeft => CursorMove::WordBack,
            Go::WordRight => CursorMove::WordForward,
            Go::First => CursorMove::Top,
            Go::Last => CursorMove::Bottom,
        });
    }

    /// Puts the cursor at this place, or at the nearest that there is.
    pub fn jump(&mut self, (row, column): Place) {
        let row = row.min(self.lines().len().saturating_sub(1));
        let number = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        self.area.move_cursor(CursorMove::Jump(number(row), number(column)));
    }

    /// Moves the cursor by so many lines; negative is up.
    pub fn by_lines(&mut self, lines: isize) {
        let (row, column) = self.cursor();
        self.jump((row.saturating_add_signed(lines), column));
    }

    /// Whether so many more bytes have room.
    pub const fn has_room(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) <= MAX_BYTES
    }

    /// Puts a text in at the cursor, in the place of what is marked; false if it has no room.
    pub fn insert(&mut self, text: &str) -> bool {
        if !self.has_room(text.len()) {
            return false;
        }
        self.area.insert_str(lines_of(text).join("\n"));
        self.count();
        true
    }

    /// Takes the marked text away, or else so many characters left of the cursor.
    pub fn backspace(&mut self, characters: usize) {
        if self.marked().is_some() {
            self.area.delete_char();
        } else {
            for _ in 0..characters {
                self.area.delete_char();
            }
        }
        self.count();
    }

    /// Takes the marked text away, or else the character right of the cursor.
    pub fn delete(&mut self) {
        self.area.delete_next_char();
        self.count();
    }

    /// Takes the word left of the cursor away.
    pub fn delete_word(&mut self) {
        self.area.delete_word();
        self.count();
    }

    /// Begins to mark, or ends it.
    pub fn mark(&mut self) {
        if self.area.is_selecting() {
            self.area.cancel_selection();
        } else {
            self.area.start_selection();
        }
    }

    /// Takes away and keeps what is marked, or the rest of the line.
    pub fn cut(&mut self) {
        if self.marked().is_some() {
            self.area.cut();
        } else {
            self.area.delete_line_by_end();
        }
        self.count();
    }

    /// Puts in what was cut last; false if it has no room.
    pub fn yank(&mut self) -> bool {
        self.has_room(self.area.yank_text().len()) && {
            self.area.paste();
            self.count();
            true
        }
    }

    /// What is marked, as a text.
    pub fn marked_text(&self) -> Option<String> {
        self.marked()?;
        let mut copy = self.area.clone();
        copy.copy();
        Some(copy.yank_text())
    }

    /// Undoes the last change; false if there is none.
    pub fn undo(&mut self) -> bool {
        let done = self.area.undo();
        self.count();
        done
    }

    /// Makes the change again that was undone; false if there is none.
    pub fn redo(&mut self) -> bool {
        let done = self.area.redo();
        self.count();
        done
    }

    /// Puts a text in the place of what stands from `from` to `to`; false if it has no room.
    pub fn replace(&mut self, from: Place, to: Place, text: &str) -> bool {
        if !self.has_room(text.len()) {
            return false;
        }
        self.area.cancel_selection();
        self.jump(from);
        if from != to {
            // What the user cut last is still theirs.
            let kept = self.area.yank_text();
            self.area.start_selection();
            self.jump(to);
            self.area.cut();
            self.area.set_yank_text(kept);
        }
        if !text.is_empty() {
            self.area.insert_str(text);
        }
        self.count();
        true
    }

    /// Goes to the next place, or the one before, where this text stands; round the ends. False if it is nowhere.
    pub fn search(&mut self, text: &str, forwards: bool, from_here: bool) -> bool {
        if text.is_empty() || self.area.set_search_pattern(pattern(text)).is_err() {
            return false;
        }
        if forwards { self.area.search_forward(from_here) } else { self.area.search_back(from_here) }
    }
}

/// A pattern that finds the text as it is, whatever the size of its letters.
fn pattern(text: &str) -> String {
    let mut pattern = "(?i)".to_owned();
    for char in text.chars() {
        if char.is_ascii_punctuation() {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern
}

/// What is recorded.
#[derive(Serialize, Deserialize)]
struct Recorded {
    text: String,
    cursor: Place,
}

impl Serialize for Buffer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Recorded { text: self.text(), cursor: self.cursor() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Buffer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let recorded = Recorded::deserialize(deserializer)?;
        let mut buffer = Self::new(&recorded.text);
        buffer.jump(recorded.cursor);
        Ok(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_undone_and_redone() {
        let mut buffer = Buffer::new("a: 1\nb: 2\n");
        assert!(buffer.replace((0, 3), (0, 4), "300"));
        assert_eq!(buffer.text(), "a: 300\nb: 2\n");
        while buffer.undo() {}
        assert_eq!(buffer.text(), "a: 1\nb: 2\n");
        while buffer.redo() {}
        assert_eq!(buffer.text(), "a: 300\nb: 2\n");
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_taken_in_and_too_much_neither() {
        let mut buffer = Buffer::new("");
        assert!(buffer.insert("\u{1b}[31mgrüße:\t世界\r\nb: 1"));
        assert_eq!(buffer.lines(), ["[31mgrüße:  世界", "b: 1"]);
        assert!(!buffer.insert(&"x".repeat(MAX_BYTES)));
        assert_eq!(buffer.cursor(), (1, 4));
    }

    #[test]
    fn it_is_found_whatever_is_in_it() {
        let mut buffer = Buffer::new("a.b: (1)\nA.B: [2]\n");
        assert!(buffer.search("a.b", true, false));
        assert_eq!(buffer.cursor(), (1, 0));
        assert!(buffer.search("(1)", true, false));
        assert_eq!(buffer.cursor(), (0, 5));
        assert!(!buffer.search("a-b", true, false));
    }

    #[test]
    fn a_recording_has_text_and_cursor() {
        let mut buffer = Buffer::new("a: 1\nb: 2\n");
        buffer.jump((1, 2));
        let read: Buffer = serde_json::from_str(&serde_json::to_string(&buffer).unwrap()).unwrap();
        assert_eq!(read, buffer);
        assert_eq!(Buffer::new("").text(), "");
    }
}
