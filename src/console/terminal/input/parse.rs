//! Bytes of a terminal to events: xterm's sequences (its document `ctlseqs`), those of the Linux console
//! (`console_codes(4)`) and of rxvt where they differ.
//!
//! Pure: when to stop waiting for the rest of a sequence is the caller's to say.

use std::collections::VecDeque;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

const ESC: u8 = 0x1b;
const PASTE_END: &[u8] = b"\x1b[201~";
/// Longest sequence that is waited for.
const SEQUENCE: usize = 64;
/// Longest text that is pasted; what is beyond is dropped.
const PASTE: usize = 1024 * 1024;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// Nothing.
    Nothing,
    /// An escape came, which may be a key or the begin of a sequence.
    Escape,
    /// The rest of a sequence, of a character or of pasted text.
    Sequence,
}

/// Takes bytes in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Parser {
    bytes: Vec<u8>,
    /// Pasted text, from its begin to its end.
    paste: Option<Vec<u8>>,
}

/// What stands at the begin of some bytes.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// The rest is missing.
    Part,
    /// So many bytes, with what they mean, if anything.
    Whole(usize, Option<Event>),
    /// So many bytes, after which pasted text begins.
    Paste(usize),
}

impl Parser {
    pub(super) fn unfinished(&self) -> Unfinished {
        match (&self.paste, self.bytes.as_slice()) {
            (None, []) => Unfinished::Nothing,
            (None, [ESC]) => Unfinished::Escape,
            _ => Unfinished::Sequence,
        }
    }

    pub(super) fn advance(&mut self, bytes: &[u8], events: &mut VecDeque<Event>) {
        self.bytes.extend_from_slice(bytes);
        loop {
            if let Some(paste) = &mut self.paste {
                // The end may lie half in what came before.
                let from = paste.len().saturating_sub(PASTE_END.len());
                paste.append(&mut self.bytes);
                let recent = paste.get(from..).unwrap_or_default();
                let end = recent.windows(PASTE_END.len()).position(|window| window == PASTE_END);
                let Some(end) = end else {
                    forget_middle(paste);
                    return;
                };
                self.bytes = paste.split_off(from + end + PASTE_END.len());
                paste.truncate(from + end);
                self.end_paste(events);
            }
            match find(&self.bytes) {
                Found::Part => return,
                Found::Whole(length, event) => {
                    self.bytes.drain(..length.min(self.bytes.len()));
                    events.extend(event);
                }
                Found::Paste(length) => {
                    self.bytes.drain(..length.min(self.bytes.len()));
                    self.paste = Some(Vec::new());
                }
            }
        }
    }

    /// The rest will not come: what is there is all there is.
    pub(super) fn give_up(&mut self, events: &mut VecDeque<Event>) {
        if self.paste.is_some() {
            return self.end_paste(events);
        }
        match std::mem::take(&mut self.bytes).as_slice() {
            [ESC] => events.push_back(key(KeyCode::Esc, KeyModifiers::NONE)),
            // Alt with a key that begins sequences.
            [ESC, byte @ (b'[' | b'O')] => {
                events.push_back(character(char::from(*byte), KeyModifiers::ALT));
            }
            _ => {}
        }
    }

    fn end_paste(&mut self, events: &mut VecDeque<Event>) {
        let mut text = self.paste.take().unwrap_or_default();
        text.truncate(PASTE);
        events.push_back(Event::Paste(String::from_utf8_lossy(&text).into_owned()));
    }
}

/// Keeps too long a paste from growing, without losing sight of its end.
fn forget_middle(paste: &mut Vec<u8>) {
    let end = paste.len().saturating_sub(PASTE_END.len());
    if end > PASTE {
        paste.drain(PASTE..end);
    }
}

/// What the bytes begin with.
fn find(bytes: &[u8]) -> Found {
    match bytes {
        [] | [ESC] | [ESC, b'O'] => Found::Part,
        [ESC, b'[', rest @ ..] => control_sequence(rest),
        [ESC, b'O', byte, ..] => Found::Whole(3, function_key(*byte, KeyModifiers::NONE)),
        [ESC, ESC, ..] => Found::Whole(1, Some(key(KeyCode::Esc, KeyModifiers::NONE))),
        [ESC, rest @ ..] => match plain(rest, KeyModifiers::ALT) {
            Found::Whole(length, event) => Found::Whole(length + 1, event),
            other => other,
        },
        _ => plain(bytes, KeyModifiers::NONE),
    }
}

/// A byte or character without a sequence.
fn plain(bytes: &[u8], modifiers: KeyModifiers) -> Found {
    let Some(&byte) = bytes.first() else { return Found::Part };
    let control = modifiers | KeyModifiers::CONTROL;
    let letter = |base: u8| character(char::from(byte - 1 + base), control);
    let event = match byte {
        b'\r' => key(KeyCode::Enter, modifiers),
        b'\t' => key(KeyCode::Tab, modifiers),
        0x7f => key(KeyCode::Backspace, modifiers),
        0 => character(' ', control),
        0x01..=0x1a => letter(b'a'),
        // What Ctrl makes of these keys: \ ] ^ _, named by their digits as everywhere in crossterm.
        0x1c..=0x1f => character(char::from(byte - 0x1c + b'4'), control),
        0x20..=0x7e => character(char::from(byte), modifiers),
        _ => return encoded(bytes, modifiers),
    };
    Found::Whole(1, Some(event))
}

/// A character of several bytes (UTF-8). What is none is skipped.
fn encoded(bytes: &[u8], modifiers: KeyModifiers) -> Found {
    let length = match bytes.first() {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => return Found::Whole(1, None),
    };
    let there = bytes.get(..length.min(bytes.len())).unwrap_or_default();
    match std::str::from_utf8(there) {
        Ok(text) => Found::Whole(length, text.chars().next().map(|c| character(c, modifiers))),
        // Nothing wrong so far.
        Err(error) if error.error_len().is_none() && there.len() < length => Found::Part,
        Err(_) => Found::Whole(1, None),
    }
}

/// What follows `ESC [`: parameters, then one byte that says what it is (ECMA-48).
fn control_sequence(bytes: &[u8]) -> Found {
    // The Linux console's F1 to F5.
    if let [b'[', rest @ ..] = bytes {
        return match rest.first() {
            None => Found::Part,
            Some(byte @ b'A'..=b'E') => {
                Found::Whole(4, Some(key(KeyCode::F(byte - b'A' + 1), KeyModifiers::NONE)))
            }
            Some(_) => Found::Whole(4, None),
        };
    }
    let Some(end) = bytes.iter().position(|byte| !(0x20..=0x3f).contains(byte)) else {
        return if bytes.len() < SEQUENCE { Found::Part } else { Found::Whole(bytes.len() + 2, None) };
    };
    let (parameters, last) = (bytes.get(..end).unwrap_or_default(), bytes.get(end).copied().unwrap_or(ESC));
    // Anything else in the middle of a sequence was cut off by what follows.
    if !(0x40..=0x7e).contains(&last) {
        return Found::Whole(end + 2, None);
    }
    let text = std::str::from_utf8(parameters).unwrap_or_default();
    if text == "200" && last == b'~' {
        return Found::Paste(end + 3);
    }
    let event = match text.strip_prefix('<') {
        Some(report) => mouse(report, last),
        None => named(text, last),
    };
    Found::Whole(end + 3, event)
}

/// A key, or a report of the focus.
fn named(parameters: &str, last: u8) -> Option<Event> {
    let mut numbers = parameters.split(';').map(|text| text.split(':').next()?.parse::<u32>().ok());
    let first = numbers.next().flatten();
    let modifiers = modifiers(numbers.next().flatten().unwrap_or(1).saturating_sub(1));
    match (last, first) {
        (b'I', _) => Some(Event::FocusGained),
        (b'O', _) => Some(Event::FocusLost),
        (b'Z', _) => Some(key(KeyCode::BackTab, modifiers | KeyModifiers::SHIFT)),
        (b'~', Some(number)) => Some(key(numbered(number)?, modifiers)),
        (b'u', Some(code)) => Some(match char::from_u32(code)? {
            '\r' => key(KeyCode::Enter, modifiers),
            '\t' => key(KeyCode::Tab, modifiers),
            '\x1b' => key(KeyCode::Esc, modifiers),
            '\x7f' => key(KeyCode::Backspace, modifiers),
            other => character(other, modifiers),
        }),
        _ => function_key(last, modifiers),
    }
}

fn function_key(byte: u8, modifiers: KeyModifiers) -> Option<Event> {
    let code = match byte {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'H' => KeyCode::Home,
        b'F' => KeyCode::End,
        b'M' => KeyCode::Enter,
        b'P'..=b'S' => KeyCode::F(byte - b'P' + 1),
        _ => return None,
    };
    Some(key(code, modifiers))
}

/// The keys that are called by number: a VT220's, and rxvt's Home and End.
fn numbered(number: u32) -> Option<KeyCode> {
    Some(match number {
        1 | 7 => KeyCode::Home,
        2 => KeyCode::Insert,
        3 => KeyCode::Delete,
        4 | 8 => KeyCode::End,
        5 => KeyCode::PageUp,
        6 => KeyCode::PageDown,
        11..=15 => KeyCode::F(u8::try_from(number - 10).ok()?),
        17..=21 => KeyCode::F(u8::try_from(number - 11).ok()?),
        23..=24 => KeyCode::F(u8::try_from(number - 12).ok()?),
        _ => return None,
    })
}

/// Bits as xterm counts them, less the one that it adds.
fn modifiers(bits: u32) -> KeyModifiers {
    [(1, KeyModifiers::SHIFT), (2, KeyModifiers::ALT), (4, KeyModifiers::CONTROL), (8, KeyModifiers::SUPER)]
        .into_iter()
        .filter(|(bit, _)| bits & bit != 0)
        .fold(KeyModifiers::NONE, |all, (_, modifier)| all | modifier)
}

/// A report of the mouse: button and modifiers, column and row from 1 (mode 1006).
fn mouse(report: &str, last: u8) -> Option<Event> {
    let mut numbers = report.split(';').map(str::parse::<u16>);
    let bits = numbers.next()?.ok()?;
    let column = numbers.next()?.ok()?.saturating_sub(1);
    let row = numbers.next()?.ok()?.saturating_sub(1);
    let button = match bits & 0b11 {
        0 => Some(MouseButton::Left),
        1 => Some(MouseButton::Middle),
        2 => Some(MouseButton::Right),
        _ => None,
    };
    let wheel = bits & 0b1100_0000 == 64;
    let kind = match (wheel, bits & 0b11, last) {
        (true, 0, _) => MouseEventKind::ScrollUp,
        (true, 1, _) => MouseEventKind::ScrollDown,
        (true, 2, _) => MouseEventKind::ScrollLeft,
        (true, _, _) => MouseEventKind::ScrollRight,
        (false, _, b'm') => MouseEventKind::Up(button?),
        (false, _, b'M') if bits & 32 != 0 => button.map_or(MouseEventKind::Moved, MouseEventKind::Drag),
        (false, _, b'M') => MouseEventKind::Down(button?),
        _ => return None,
    };
    let held = [(4, KeyModifiers::SHIFT), (8, KeyModifiers::ALT), (16, KeyModifiers::CONTROL)];
    let modifiers = held.into_iter().filter(|(bit, _)| bits & bit != 0);
    let modifiers = modifiers.fold(KeyModifiers::NONE, |all, (_, modifier)| all | modifier);
    Some(Event::Mouse(MouseEvent { kind, column, row, modifiers }))
}

fn key(code: KeyCode, modifiers: KeyModifiers) -> Event {
    Event::Key(KeyEvent::new(code, modifiers))
}

/// A capital was typed with Shift, which terminals do not say.
fn character(character: char, modifiers: KeyModifiers) -> Event {
    let shift = if character.is_uppercase() { KeyModifiers::SHIFT } else { KeyModifiers::NONE };
    key(KeyCode::Char(character), modifiers | shift)
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
