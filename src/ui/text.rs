//! Text in columns of a terminal: measured, cut, padded and wrapped by what is drawn, not by bytes or
//! characters; and foreign text made harmless, since a pod's log or a label may hold anything.
//!
//! The unit is the *column*. A grapheme (what a reader takes for one character) has none, one or two.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use ratatui::buffer::CellWidth;
use unicode_segmentation::UnicodeSegmentation;

/// Stands for a control character that means nothing on a line.
const REPLACEMENT: char = '?';

/// What a tab becomes.
const TAB: &str = "    ";

/// At which edge text stands in a wider space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Align {
    /// Words.
    #[default]
    Left,
    /// Numbers.
    Right,
}

/// Where text that is too wide loses what does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Elide {
    /// At its end.
    #[default]
    End,
    /// In its middle: of a pod's name, both ends tell something.
    Middle,
}

/// The graphemes of `text` that take room: where each begins, in bytes, itself, and its columns. This is what
/// a buffer draws of it.
pub fn graphemes(text: &str) -> impl DoubleEndedIterator<Item = (usize, &str, u16)> {
    text.grapheme_indices(true)
        .filter(|(_, grapheme)| !grapheme.contains(char::is_control))
        .map(|(start, grapheme)| (start, grapheme, grapheme.cell_width()))
        .filter(|(_, _, width)| *width > 0)
}

/// The columns that `text` takes.
pub fn width(text: &str) -> usize {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.len();
    }
    graphemes(text).map(|(_, _, width)| usize::from(width)).sum()
}

/// `text` without anything that a terminal obeys: escape sequences and invisible characters (among them
/// those that turn the direction of writing) are left out, tabs become spaces, line ends one space, and
/// every other control character a question mark. Sequences for emoji fall apart into their parts, about
/// whose width terminals agree.
pub fn harmless(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c.is_control() || is_invisible(c)) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.trim_end_matches(['\r', '\n']).chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => rest = after_escape(rest.as_str()).chars(),
            '\u{9b}' => rest = after_control_sequence(rest.as_str()).chars(),
            '\t' => clean.push_str(TAB),
            '\r' | '\n' => clean.push(' '),
            c if c.is_control() => clean.push(REPLACEMENT),
            c if is_invisible(c) => {}
            c => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

/// What follows the escape sequence whose ESC stood before `text` (ECMA-48, 5.4 and 5.6; xterm's ctlseqs).
fn after_escape(text: &str) -> &str {
    let mut chars = text.chars();
    match chars.next() {
        Some('[') => after_control_sequence(chars.as_str()),
        Some(']' | 'P' | 'X' | '^' | '_') => after_control_string(chars.as_str()),
        Some(' '..='/') => {
            let rest = text.trim_start_matches(|c| matches!(c, ' '..='/'));
            rest.strip_prefix(|c| matches!(c, '0'..='~')).unwrap_or(rest)
        }
        Some('0'..='~') => chars.as_str(),
        _ => text,
    }
}

fn after_control_sequence(text: &str) -> &str {
    let rest = text.trim_start_matches(|c| matches!(c, ' '..='?'));
    rest.strip_prefix(|c| matches!(c, '@'..='~')).unwrap_or(rest)
}

/// Ends at BEL or ESC \; one without an end is shown rather than swallowing the rest of the line.
fn after_control_string(text: &str) -> &str {
    let ends = ["\u{7}", "\u{1b}\\", "\u{9c}"];
    let splits = ends.iter().filter_map(|end| text.split_once(end));
    splits.min_by_key(|(string, _)| string.len()).map_or(text, |(_, rest)| rest)
}

/// Characters that take no room and can mislead: joiners, selectors of a form, marks of direction, tags.
/// The non-joiner stays, since Persian is not written without it.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200d}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// `text` in ASCII, as wide as it was: what we write ourselves in characters that say about the same, everything else
/// as question marks.
pub fn ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let plain = |(_, grapheme, width): (usize, &str, u16)| match grapheme {
        _ if grapheme.is_ascii() => grapheme.to_owned(),
        "→" => ">".to_owned(),
        "×" => "x".to_owned(),
        "±" | "…" => "~".to_owned(),
        "–" | "—" | "·" => "-".to_owned(),
        "µ" => "u".to_owned(),
        "‘" | "’" => "'".to_owned(),
        "“" | "”" => "\"".to_owned(),
        _ => "?".repeat(usize::from(width)),
    };
    Cow::Owned(graphemes(text).map(plain).collect())
}

/// The longest beginning of `text` that takes at most `width` columns.
fn head(text: &str, width: usize) -> String {
    let mut left = width;
    let fits = graphemes(text).map_while(|(_, grapheme, width)| {
        left = left.checked_sub(usize::from(width))?;
        Some(grapheme)
    });
    fits.collect()
}

/// The longest end of `text` that takes at most `width` columns.
fn tail(text: &str, width: usize) -> String {
    let mut left = width;
    let fits = graphemes(text).rev().map_while(|(_, grapheme, width)| {
        left = left.checked_sub(usize::from(width))?;
        Some(grapheme)
    });
    let mut fits: Vec<_> = fits.collect();
    fits.reverse();
    fits.concat()
}

/// `text` in at most `width` columns; where something is missing stands `ellipsis`, if that fits.
pub fn truncate<'a>(text: &'a str, columns: usize, elide: Elide, ellipsis: &str) -> Cow<'a, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let Some(kept) = columns.checked_sub(width(ellipsis)).filter(|kept| *kept > 0) else {
        return Cow::Owned(head(text, columns));
    };
    Cow::Owned(match elide {
        Elide::End => format!("{}{ellipsis}", head(text, kept)),
        Elide::Middle => {
            let tail = tail(text, kept / 2);
            format!("{}{ellipsis}{tail}", head(text, kept - kept / 2))
        }
    })
}

/// `text` with spaces up to `columns` columns; wider text stays as it is.
pub fn pad(text: &str, columns: usize, align: Align) -> String {
    let space = columns.saturating_sub(width(text));
    let mut padded = String::with_capacity(text.len() + space);
    // Writing to a String cannot fail.
    let _infallible = match align {
        Align::Left => write!(padded, "{text}{:space$}", ""),
        Align::Right => write!(padded, "{:space$}{text}", ""),
    };
    padded
}

/// `text` in lines of at most `columns` columns, broken at spaces where there are any. No text is one empty
/// line; no columns are no lines.
pub fn wrap(text: &str, columns: u16) -> Vec<String> {
    let graphemes: Vec<_> = graphemes(text).filter(|(_, _, width)| *width <= columns).collect();
    let sizes: Vec<_> = graphemes.iter().map(|(_, grapheme, width)| (*grapheme == " ", *width)).collect();
    let rows = rows(&sizes, columns).into_iter();
    rows.map(|row| graphemes.get(row).into_iter().flatten().map(|(_, grapheme, _)| *grapheme).collect())
        .collect()
}

/// How a line is broken, as ranges of its graphemes. Of each: whether it is a space, and its columns, which
/// are at most `columns`. The space at which a line is broken belongs to no row.
pub(crate) fn rows(graphemes: &[(bool, u16)], columns: u16) -> Vec<Range<usize>> {
    if columns == 0 {
        return Vec::new();
    }
    let sum = |range: Range<usize>| -> u32 {
        graphemes.get(range).into_iter().flatten().map(|(_, width)| u32::from(*width)).sum()
    };
    let mut rows = Vec::new();
    let (mut start, mut used, mut space) = (0, 0, None);
    for (index, &(is_space, width)) in graphemes.iter().enumerate() {
        if is_space && used + u32::from(width) > u32::from(columns) {
            rows.push(start..index);
            (start, used, space) = (index + 1, 0, None);
            continue;
        }
        while index > start && used + u32::from(width) > u32::from(columns) {
            let (end, next) = space.take().map_or((index, index), |space| (space, space + 1));
            rows.push(start..end);
            (start, used) = (next, sum(next..index));
        }
        if is_space {
            // Spaces at the very beginning are an indent, not a place to break.
            space = (index > start).then_some(index).or(space);
        }
        used += u32::from(width);
    }
    rows.push(start..graphemes.len());
    rows
}

/// Where `needle` stands in `text`, as ranges of bytes, from left to right without overlap. Capitals count
/// only if the needle has some.
pub fn matches(text: &str, needle: &str) -> Vec<Range<usize>> {
    let exact = needle.chars().any(char::is_uppercase);
    let same = |a: char, b: char| a == b || (!exact && a.to_lowercase().eq(b.to_lowercase()));
    let mut found: Vec<Range<usize>> = Vec::new();
    if needle.is_empty() {
        return found;
    }
    for (start, _) in text.char_indices() {
        if found.last().is_some_and(|last| start < last.end) {
            continue;
        }
        let mut rest = text.get(start..).unwrap_or_default().chars();
        if needle.chars().all(|wanted| rest.next().is_some_and(|c| same(c, wanted))) {
            found.push(start..text.len() - rest.as_str().len());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn columns_are_those_of_the_terminal() {
        for (text, columns) in [
            ("", 0),
            ("server-app", 10),
            ("naïve", 5),
            ("nai\u{308}ve", 5),
            ("日本", 4),
            ("🚀", 2),
            ("\u{301}", 0),
            ("a\u{1b}b", 2),
        ] {
            assert_eq!(width(text), columns, "{text:?}");
        }
    }

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        for (name, text, clean) in [
            ("plain", "ready 1/1 – ü日", "ready 1/1 – ü日"),
            ("colours", "\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("cursor", "a\u{1b}[2Jb\u{1b}[?25lc\u{1b}[ q", "abc"),
            ("title, BEL", "\u{1b}]0;evil\u{7}name", "name"),
            ("title, ST", "\u{1b}]0;evil\u{1b}\\name\u{7}", "name?"),
            ("string without end", "\u{1b}]0;name", "0;name"),
            ("device string", "\u{1b}P1$r0m\u{1b}\\x", "x"),
            ("clipboard", "\u{1b}]52;c;cm0gLXJm\u{7}x", "x"),
            ("character set", "\u{1b}(0x\u{1b}cy", "xy"),
            ("C1 sequence", "\u{9b}31mred\u{85}", "red?"),
            ("half a sequence", "x\u{1b}[31", "x"),
            ("lone escape", "x\u{1b}", "x"),
            ("escape before text", "\u{1b}日", "日"),
            ("tab and line ends", "a\tb\nc\r\n", "a    b c"),
            ("bell and backspace", "a\u{7}\u{8}b\u{7f}", "a??b?"),
            ("direction", "abc\u{202e}cba\u{2066}", "abccba"),
            ("joined emoji", "👩\u{200d}🚀 ❤\u{fe0f}", "👩🚀 ❤"),
            ("combining", "e\u{301}", "e\u{301}"),
        ] {
            assert_eq!(harmless(text), clean, "{name}");
        }
        assert!(matches!(harmless("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn ascii_is_as_wide_as_what_it_stands_for() {
        for (text, plain) in [
            ("150ms ±10ms → 1s", "150ms ~10ms > 1s"),
            ("×3", "x3"),
            ("日e\u{301}!", "???!"),
            ("plain", "plain"),
        ] {
            assert_eq!((ascii(text).as_ref(), width(text)), (plain, width(plain)));
        }
    }

    #[test]
    fn too_wide_text_is_elided() {
        for (text, columns, elide, expected) in [
            ("server-app", 10, Elide::End, "server-app"),
            ("server-app", 7, Elide::End, "server…"),
            ("server-app", 7, Elide::Middle, "ser…app"),
            ("server-app", 8, Elide::Middle, "serv…app"),
            ("server-app", 1, Elide::Middle, "s"),
            ("server-app", 0, Elide::End, ""),
            ("日本語です", 6, Elide::End, "日本…"),
            ("日本語です", 5, Elide::Middle, "日…す"),
            ("e\u{301}e\u{301}e\u{301}", 2, Elide::End, "e\u{301}…"),
        ] {
            assert_eq!(truncate(text, columns, elide, "…"), expected, "{text} in {columns}");
        }
        assert_eq!(truncate("server-app", 6, Elide::End, "..."), "ser...");
    }

    #[test]
    fn padding_counts_columns() {
        assert_eq!(pad("日", 4, Align::Left), "日  ");
        assert_eq!(pad("日", 4, Align::Right), "  日");
        assert_eq!(pad("wide", 2, Align::Right), "wide");
    }

    #[test]
    fn lines_break_at_spaces() {
        for (text, columns, lines) in [
            ("", 5, vec![""]),
            ("all pods of one", 8, vec!["all pods", "of one"]),
            ("all pods", 3, vec!["all", "pod", "s"]),
            ("  indented text", 10, vec!["  indented", "text"]),
            ("a  b", 2, vec!["a ", "b"]),
            ("日本語", 3, vec!["日", "本", "語"]),
            ("a b日", 3, vec!["a", "b日"]),
            ("x", 0, vec![]),
            ("日", 1, vec![""]),
        ] {
            assert_eq!(wrap(text, columns), lines, "{text:?} in {columns}");
        }
    }

    #[test]
    fn a_search_minds_capitals_only_if_it_has_some() {
        for (text, needle, found) in [
            ("Pod pod", "pod", vec!["Pod", "pod"]),
            ("Pod pod", "Pod", vec!["Pod"]),
            ("aaa", "aa", vec!["aa"]),
            ("Größe", "ÖSSE", vec![]),
            ("GRÖSSE", "ö", vec!["Ö"]),
            ("x", "", vec![]),
        ] {
            let ranges = matches(text, needle).into_iter();
            let texts: Vec<_> = ranges.map(|range| text.get(range).unwrap()).collect();
            assert_eq!(texts, found, "{needle} in {text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_asked(text in any::<String>(), columns in 0_u16..40) {
            let clean = harmless(&text);
            prop_assert!(!clean.chars().any(char::is_control), "{clean:?}");
            let limit = usize::from(columns);
            for ellipsis in ["…", "..."] {
                for elide in [Elide::End, Elide::Middle] {
                    let cut = truncate(&clean, limit, elide, ellipsis);
                    prop_assert!(width(&cut) <= limit, "{cut:?}");
                    prop_assert!(width(&pad(&cut, limit, Align::Right)) == limit);
                }
            }
            for line in wrap(&clean, columns) {
                prop_assert!(width(&line) <= limit, "{line:?}");
            }
        }

        #[test]
        fn wrapping_loses_only_spaces(text in "[a-c ]{0,30}", columns in 1_u16..12) {
            let without = |text: &str| text.replace(' ', "");
            prop_assert_eq!(without(&wrap(&text, columns).concat()), without(&text));
        }

        #[test]
        fn matches_are_what_was_sought(text in any::<String>(), needle in ".{1,2}") {
            for range in matches(&text, &needle) {
                let found = text.get(range).unwrap();
                prop_assert!(found.to_lowercase() == needle.to_lowercase() || found == needle);
            }
        }
    }
}
