//! One line of text that is being typed: a filter, a command, a name to confirm.

use serde::{Deserialize, Serialize};

use super::key::{Code, Key};

/// A line and the place of its cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// What was typed.
    pub text: String,
    /// How many characters stand before the cursor.
    pub cursor: usize,
}

/// The longest line, in characters: what is pasted may be a file.
const MAX: usize = 512;

impl Input {
    /// A line with the cursor at its end.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { cursor: text.chars().count(), text }
    }

    /// Changes the line as this key does in a shell; false if it has no meaning here.
    pub fn press(&mut self, key: Key) -> bool {
        let end = self.text.chars().count();
        match (key.code, key.ctrl) {
            (Code::Left, false) => self.cursor = self.cursor.saturating_sub(1),
            (Code::Right, false) => self.cursor = (self.cursor + 1).min(end),
            (Code::Home, false) | (Code::Char('a'), true) => self.cursor = 0,
            (Code::End, false) | (Code::Char('e'), true) => self.cursor = end,
            (Code::Backspace, false) | (Code::Char('h'), true) if self.cursor > 0 => {
                self.cut(self.cursor - 1, self.cursor);
            }
            (Code::Delete, false) => self.cut(self.cursor, self.cursor + 1),
            (Code::Char('u'), true) => self.cut(0, self.cursor),
            (Code::Char('k'), true) => self.cut(self.cursor, end),
            (Code::Char('w'), true) => self.cut(self.word_start(), self.cursor),
            _ => match key.typed() {
                Some(char) => self.insert(&char.to_string()),
                None => return false,
            },
        }
        true
    }

    /// Puts a text in at the cursor: its first line, without control characters.
    pub fn insert(&mut self, text: &str) {
        let room = MAX.saturating_sub(self.text.chars().count());
        let line = text.lines().next().unwrap_or_default();
        let new: String = line.chars().filter(|char| !char.is_control()).take(room).collect();
        let at = self.byte(self.cursor);
        self.text.insert_str(at, &new);
        self.cursor += new.chars().count();
    }

    fn word_start(&self) -> usize {
        let before: Vec<char> = self.text.chars().take(self.cursor).collect();
        let blanks = before.iter().rev().take_while(|char| char.is_whitespace()).count();
        let word = before.iter().rev().skip(blanks).take_while(|char| !char.is_whitespace()).count();
        self.cursor - blanks - word
    }

    fn cut(&mut self, from: usize, to: usize) {
        let (start, end) = (self.byte(from), self.byte(to));
        self.text.replace_range(start..end, "");
        self.cursor = from;
    }

    /// Where the character with this number begins.
    fn byte(&self, char: usize) -> usize {
        self.text.char_indices().nth(char).map_or(self.text.len(), |(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_shell() {
        let mut input = Input::new("apply größe.yaml");
        for (key, text, cursor) in [
            ("ctrl-w", "apply ", 6),
            ("x", "apply x", 7),
            ("left", "apply x", 6),
            ("ctrl-k", "apply ", 6),
            ("backspace", "apply", 5),
            ("home", "apply", 0),
            ("delete", "pply", 0),
            ("end", "pply", 4),
            ("ctrl-u", "", 0),
            ("backspace", "", 0),
            ("delete", "", 0),
        ] {
            input.press(key.parse().unwrap());
            assert_eq!((input.text.as_str(), input.cursor), (text, cursor), "{key}");
        }
        assert!(!input.press(Key::plain(Code::Up)), "not its business");
    }

    #[test]
    fn what_is_pasted_is_one_bounded_line() {
        let mut input = Input::new("ab");
        input.press(Key::plain(Code::Left));
        input.insert("1\t2\u{1b}[31m\nrm -rf");
        assert_eq!(input.text, "a12[31mb");
        input.insert(&"x".repeat(10_000));
        assert_eq!(input.text.chars().count(), MAX);
    }
}
