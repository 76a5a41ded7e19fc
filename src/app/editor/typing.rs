//! What keys do to the text while it is being typed.

use super::buffer::{Buffer, Go};
use crate::app::key::{Code, Key};

/// How far one level is indented, in columns.
const LEVEL: usize = 2;

/// What came of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// The text is another.
    Changed,
    /// Only the cursor moved.
    Moved,
    /// There is no room for more.
    Full,
    /// It means nothing here.
    Nothing,
}

/// Types this key; `page` is how many lines are visible.
pub fn key(buffer: &mut Buffer, key: Key, page: usize) -> Typed {
    if let Some(moved) = moves(buffer, key, page) {
        return moved;
    }
    match (key.code, key.ctrl || key.alt) {
        (Code::Enter, _) => return changed(enter(buffer)),
        (Code::Backspace, true) => buffer.delete_word(),
        (Code::Char('w'), _) if key.ctrl => buffer.delete_word(),
        (Code::Backspace, false) => backspace(buffer),
        (Code::Char('h'), _) if key.ctrl => backspace(buffer),
        (Code::Delete, _) => buffer.delete(),
        (Code::Tab, false) => return changed(buffer.insert(&" ".repeat(LEVEL - column(buffer) % LEVEL))),
        (Code::BackTab, _) => outdent(buffer),
        _ => match key.typed() {
            Some(char) => return changed(buffer.insert(&char.to_string())),
            None => return Typed::Nothing,
        },
    }
    Typed::Changed
}

const fn changed(has_room: bool) -> Typed {
    if has_room { Typed::Changed } else { Typed::Full }
}

fn moves(buffer: &mut Buffer, key: Key, page: usize) -> Option<Typed> {
    let far = key.ctrl || key.alt;
    let page = isize::try_from(page).unwrap_or(1).max(1);
    match (key.code, far) {
        (Code::Left, false) => buffer.go(Go::Left),
        (Code::Right, false) => buffer.go(Go::Right),
        (Code::Left, true) => buffer.go(Go::WordLeft),
        (Code::Right, true) => buffer.go(Go::WordRight),
        (Code::Up, _) => buffer.go(Go::Up),
        (Code::Down, _) => buffer.go(Go::Down),
        (Code::Home, false) => buffer.go(Go::LineStart),
        (Code::End, false) => buffer.go(Go::LineEnd),
        (Code::Home, true) => buffer.go(Go::First),
        (Code::End, true) => buffer.go(Go::Last),
        (Code::Char('a'), _) if key.ctrl => buffer.go(Go::LineStart),
        (Code::Char('e'), _) if key.ctrl => buffer.go(Go::LineEnd),
        (Code::PageUp, _) => buffer.by_lines(-page),
        (Code::PageDown, _) => buffer.by_lines(page),
        _ => return None,
    }
    Some(Typed::Moved)
}

fn column(buffer: &Buffer) -> usize {
    buffer.cursor().1
}

fn indent(line: &str) -> usize {
    line.chars().take_while(|char| *char == ' ').count()
}

/// A new line at the depth of this one; one level deeper behind `key:`, and with a dash behind an item. A dash that
/// was left alone ends its list.
fn enter(buffer: &mut Buffer) -> bool {
    if buffer.marked().is_some() {
        return buffer.insert("\n");
    }
    let before = buffer.before();
    let depth = indent(&before);
    let body = before.trim();
    if body == "-" && buffer.after().trim().is_empty() {
        let (row, column) = buffer.cursor();
        return buffer.replace((row, depth), (row, column), "");
    }
    let dash = body.strip_prefix("- ");
    let dashes = before.trim_start().len() - before.trim_start().trim_start_matches(['-', ' ']).len();
    let opens = body.ends_with(':') && !body.starts_with('#');
    let next = match dash {
        _ if body.is_empty() => " ".repeat(depth),
        Some(_) if opens => " ".repeat(depth + dashes + LEVEL),
        // The next key of the same item.
        Some(item) if item.contains(": ") => " ".repeat(depth + dashes),
        Some(_) => format!("{}- ", " ".repeat(depth)),
        None if opens => " ".repeat(depth + LEVEL),
        None => " ".repeat(depth),
    };
    buffer.insert(&format!("\n{next}"))
}

/// In the indentation, one level; else one character.
fn backspace(buffer: &mut Buffer) {
    let before = buffer.before();
    let only_blanks = !before.is_empty() && before.chars().all(|char| char == ' ');
    let characters = if only_blanks { (before.len() + LEVEL - 1) % LEVEL + 1 } else { 1 };
    buffer.backspace(characters);
}

/// Moves the line one level to the left.
fn outdent(buffer: &mut Buffer) {
    let (row, column) = buffer.cursor();
    let less = indent(buffer.line(row)).min(LEVEL);
    if less > 0 {
        buffer.replace((row, 0), (row, less), "");
        buffer.jump((row, column.saturating_sub(less)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `|` is the cursor.
    fn buffer(text: &str) -> Buffer {
        let mut buffer = Buffer::new(&text.replace('|', ""));
        let row = text.lines().position(|line| line.contains('|')).unwrap();
        let column = text.lines().nth(row).unwrap().chars().position(|char| char == '|').unwrap();
        buffer.jump((row, column));
        buffer
    }

    fn shown(buffer: &Buffer) -> String {
        let (row, column) = buffer.cursor();
        let mut lines = buffer.lines().to_vec();
        let at = lines[row].char_indices().nth(column).map_or(lines[row].len(), |(at, _)| at);
        lines[row].insert(at, '|');
        lines.join("\n")
    }

    #[test]
    fn indentation_follows_what_is_typed() {
        for (before, keys, after) in [
            ("spec:|", "enter", "spec:\n  |"),
            ("  delay:|", "enter", "  delay:\n    |"),
            ("  mode: all|", "enter", "  mode: all\n  |"),
            ("  mo|de: all", "enter", "  mo\n  |de: all"),
            ("  - default|", "enter", "  - default\n  - |"),
            ("  - default\n  - |", "enter", "  - default\n  |"),
            ("  - key: app|", "enter", "  - key: app\n    |"),
            ("  - values:|", "enter", "  - values:\n      |"),
            ("# what:|", "enter", "# what:\n|"),
            ("    |", "backspace", "  |"),
            ("   |", "backspace", "  |"),
            ("  |a", "backspace", "|a"),
            ("  ab|", "backspace", "  a|"),
            ("|", "tab", "  |"),
            (" |", "tab", "  |"),
            ("    a|", "shift-tab", "  a|"),
            ("a|", "x y", "axy|"),
            ("größe|", "backspace ctrl-w", "|"),
        ] {
            let mut buffer = buffer(before);
            for pressed in Key::sequence(keys).unwrap() {
                assert_ne!(key(&mut buffer, pressed, 10), Typed::Nothing, "{keys}");
            }
            assert_eq!(shown(&buffer), after, "{before:?} {keys}");
        }
    }

    #[test]
    fn what_means_nothing_changes_nothing() {
        let mut buffer = buffer("a|b");
        assert_eq!(key(&mut buffer, Key::plain(Code::F(9)), 10), Typed::Nothing);
        assert_eq!(key(&mut buffer, Key::plain(Code::End), 10), Typed::Moved);
        assert_eq!(shown(&buffer), "ab|");
    }
}
