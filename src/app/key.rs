//! Keys as the console knows them, and how they are written.
//!
//! A key is written as in the table of bindings, in the user's configuration and in a recording: `j`, `G`, `enter`,
//! `ctrl-d`, `alt-x`, `f1`. Several in a row, with spaces between them, are a sequence: `g g`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What was pressed, without modifiers. Shift is part of a character: `G`, not shift and `g`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// A character.
    Char(char),
    /// A function key, from 1.
    F(u8),
    /// The return key.
    Enter,
    /// The escape key.
    Esc,
    /// The tabulator.
    Tab,
    /// The tabulator with shift.
    BackTab,
    /// Deletes to the left.
    Backspace,
    /// Deletes to the right.
    Delete,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
    /// To the start.
    Home,
    /// To the end.
    End,
    /// One page up.
    PageUp,
    /// One page down.
    PageDown,
}

/// The codes that have names.
const NAMES: [(&str, Code); 16] = [
    ("enter", Code::Enter),
    ("esc", Code::Esc),
    ("tab", Code::Tab),
    ("shift-tab", Code::BackTab),
    ("backspace", Code::Backspace),
    ("delete", Code::Delete),
    ("up", Code::Up),
    ("down", Code::Down),
    ("left", Code::Left),
    ("right", Code::Right),
    ("home", Code::Home),
    ("end", Code::End),
    ("pageup", Code::PageUp),
    ("pagedown", Code::PageDown),
    ("space", Code::Char(' ')),
    ("minus", Code::Char('-')),
];

/// One key with its modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What was pressed.
    pub code: Code,
    /// With the control key.
    pub ctrl: bool,
    /// With the alt key.
    pub alt: bool,
}

impl Key {
    /// A key without modifiers.
    pub const fn plain(code: Code) -> Self {
        Self { code, ctrl: false, alt: false }
    }

    /// A character without modifiers.
    pub const fn char(char: char) -> Self {
        Self::plain(Code::Char(char))
    }

    /// A character with the control key.
    pub const fn ctrl(char: char) -> Self {
        Self { code: Code::Char(char), ctrl: true, alt: false }
    }

    /// The character that it types into a field, if it types one.
    pub const fn typed(self) -> Option<char> {
        match self {
            Self { code: Code::Char(char), ctrl: false, alt: false } => Some(char),
            _ => None,
        }
    }

    /// The keys of a sequence.
    ///
    /// # Errors
    /// The word that names no key.
    pub fn sequence(text: &str) -> Result<Vec<Self>, KeyError> {
        let keys: Vec<_> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(KeyError(text.to_owned())) } else { Ok(keys) }
    }
}

/// A word that names no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no key; write a character, or ctrl-c, alt-x, enter, esc, space, tab, f1, …")]
pub struct KeyError(pub String);

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let wrong = || KeyError(text.to_owned());
        let mut rest = text;
        let (mut ctrl, mut alt) = (false, false);
        while let Some((modifier, after)) = rest.split_once('-') {
            match modifier {
                _ if after.is_empty() => break,
                "ctrl" if !ctrl => ctrl = true,
                "alt" if !alt => alt = true,
                _ => break,
            }
            rest = after;
        }
        let named = NAMES.iter().find(|(name, _)| *name == rest).map(|(_, code)| *code);
        let mut chars = rest.chars();
        let code = match (named, chars.next(), chars.as_str()) {
            (Some(code), ..) => code,
            (None, Some(char), "") if !char.is_control() && char != ' ' => Code::Char(char),
            (None, Some('f'), number) => match number.parse() {
                Ok(number @ 1..=24) => Code::F(number),
                _ => return Err(wrong()),
            },
            _ => return Err(wrong()),
        };
        Ok(Self { code, ctrl, alt })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ctrl {
            f.write_str("ctrl-")?;
        }
        if self.alt {
            f.write_str("alt-")?;
        }
        let plain = !self.ctrl && !self.alt;
        match (NAMES.iter().find(|(_, code)| *code == self.code), self.code) {
            (_, Code::Char('-')) if plain => f.write_str("-"),
            (Some((name, _)), _) => f.write_str(name),
            (None, Code::Char(char)) => write!(f, "{char}"),
            (None, Code::F(number)) => write!(f, "f{number}"),
            (None, code) => write!(f, "{code:?}"),
        }
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A sequence as it is shown.
pub fn written(keys: &[Key]) -> String {
    keys.iter().map(Key::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_a_key_is_read_back_as_written() {
        for text in [
            "j",
            "G",
            "ctrl-d",
            "alt-x",
            "ctrl-alt-z",
            "enter",
            "space",
            "-",
            "+",
            "ctrl-minus",
            "f12",
            "shift-tab",
            "ö",
        ] {
            let key: Key = text.parse().unwrap();
            assert_eq!(key.to_string(), text);
        }
        assert_eq!("ctrl-space".parse::<Key>().unwrap(), Key::ctrl(' '));
        assert_eq!(Key::sequence("g g").unwrap(), [Key::char('g'); 2]);
    }

    #[test]
    fn what_is_no_key_is_named() {
        for text in ["", "jj", "hyper-x", "f0", "f99", "ctrl-", "ctrl-ctrl-a"] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
        assert!(Key::sequence("  ").is_err());
    }
}
