//! Where which field stands, told by indentation alone: it must be known while the text is broken, too.
//!
//! Block style is understood, as people write it: `key: value`, `- item`, `- key: value`. What stands in flow style
//! (`{…}`, `[…]`) or below `|` and `>` is one value.

use std::ops::Range;

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the value of a key.
    Key(String),
    /// To an item of a list, by its number.
    Item(usize),
}

/// A line with a key, or with an item that is a plain value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is, from the document's root.
    pub path: Vec<Step>,
    /// Its line.
    pub row: usize,
    /// The column of its key, or of its dash if it has no key.
    pub column: usize,
    /// Where its value stands on the line, in characters, without a comment behind it; empty if it has none.
    pub value: Range<usize>,
    /// The line behind everything that belongs to it.
    pub end: usize,
    /// Whether its line begins with a dash.
    pub dashed: bool,
}

/// A place of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spot {
    /// The collection that it is in.
    pub parent: Vec<Step>,
    /// The key of its line, if the cursor stands behind the colon.
    pub key: Option<String>,
    /// Whether it is in an item of a list that has no key.
    pub item: bool,
    /// The column where what is being typed begins.
    pub start: usize,
    /// What was typed of it.
    pub typed: String,
    /// The column of keys beside it.
    pub indent: usize,
}

/// A line in its parts.
struct Line {
    /// The columns of its dashes.
    dashes: Vec<usize>,
    /// Where what follows them begins.
    column: usize,
    key: Option<String>,
    value: Range<usize>,
}

/// `a.b[0].c`.
pub fn written(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Step::Item(number) => text.extend(["[", &number.to_string(), "]"]),
        }
    }
    text
}

/// A path as it is written in messages, such as `spec.selector.namespaces[0]`.
pub fn path(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in text.split('.') {
        let mut pieces = part.split('[');
        steps.extend(pieces.next().filter(|key| !key.is_empty()).map(|key| Step::Key(key.to_owned())));
        let number = |piece: &str| piece.trim_end_matches(']').parse().ok();
        steps.extend(pieces.filter_map(number).map(Step::Item));
    }
    steps
}

fn is_nothing(line: &str) -> bool {
    let body = line.trim_start();
    body.is_empty() || body.starts_with('#')
}

/// Whether the line stands between two documents.
pub fn is_border(line: &str) -> bool {
    line == "---" || line.starts_with("--- ") || line == "..."
}

fn parts(line: &str) -> Line {
    let chars: Vec<char> = line.chars().collect();
    let at = |index: usize| chars.get(index).copied();
    let blanks = |from: usize| chars.iter().skip(from).take_while(|char| **char == ' ').count();
    let mut column = blanks(0);
    let mut dashes = Vec::new();
    while at(column) == Some('-') && at(column + 1).is_none_or(|next| next == ' ') {
        dashes.push(column);
        column += 1;
        column += blanks(column);
    }
    let rest: String = chars.iter().skip(column).collect();
    let quote = rest.chars().next().filter(|first| matches!(first, '"' | '\''));
    let colon = match quote {
        Some(quote) => rest.chars().skip(1).position(|char| char == quote).map(|end| end + 2),
        None => (0..chars.len().saturating_sub(column)).find(|index| {
            at(column + index) == Some(':') && at(column + index + 1).is_none_or(|next| next == ' ')
        }),
    };
    let colon = colon.filter(|index| at(column + index) == Some(':') && !rest.starts_with(['{', '[', '#']));
    let key = colon.map(|index| rest.chars().take(index).collect::<String>());
    let key = key.map(|key| key.trim_matches(['"', '\'']).to_owned());
    let from = colon.map_or(column, |index| column + index + 1);
    let from = from + blanks(from);
    Line { dashes, column, key, value: from..value_end(&chars, from) }
}

/// Where the value ends that begins at `from`: before a comment, without blanks.
fn value_end(chars: &[char], from: usize) -> usize {
    let mut quote = None;
    let mut end = from;
    for (index, char) in chars.iter().enumerate().skip(from) {
        match quote {
            Some(open) if open == *char => quote = None,
            None if index == from && matches!(char, '"' | '\'') => quote = Some(*char),
            None if *char == '#' && (index == from || chars.get(index - 1) == Some(&' ')) => break,
            _ => {}
        }
        if *char != ' ' {
            end = index + 1;
        }
    }
    end
}

/// The collections that are open at a line: the column of each, the step to it, and how many items it had.
#[derive(Default)]
struct Open(Vec<(usize, Step, usize)>);

impl Open {
    /// Closes what cannot hold a key at this column.
    fn before_key(&mut self, column: usize) {
        while self.0.last().is_some_and(|(at, ..)| *at >= column) {
            self.0.pop();
        }
    }

    /// Closes what cannot hold an item whose dash is at this column. The key of a list may stand as far left as its items.
    fn before_item(&mut self, column: usize) {
        while self
            .0
            .last()
            .is_some_and(|(at, step, _)| *at > column || (*at == column && matches!(step, Step::Item(_))))
        {
            self.0.pop();
        }
    }

    fn item(&mut self, column: usize) {
        self.before_item(column);
        let number = self.0.last_mut().map_or(0, |(.., items)| {
            *items += 1;
            *items - 1
        });
        self.0.push((column, Step::Item(number), 0));
    }

    fn path(&self) -> Vec<Step> {
        self.0.iter().map(|(_, step, _)| step.clone()).collect()
    }
}

/// The lines of the document that this line is in.
pub fn document(lines: &[String], row: usize) -> Range<usize> {
    let row = row.min(lines.len().saturating_sub(1));
    let before = lines.iter().take(row + 1).rposition(|line| is_border(line));
    let start = before.map_or(0, |border| border + 1);
    let after = lines.iter().skip(start.max(row + 1)).position(|line| is_border(line));
    start..after.map_or(lines.len(), |distance| start.max(row + 1) + distance)
}

/// Walks over the lines of a document, and tells of each its parts and what is open at it.
fn walk(lines: &[String], range: Range<usize>, mut each: impl FnMut(usize, &Line, &Open)) -> Open {
    let mut open = Open::default();
    // What stands deeper than this column is a text in several lines.
    let mut text_below: Option<usize> = None;
    for (row, line) in lines.iter().enumerate().take(range.end).skip(range.start) {
        if is_nothing(line) {
            continue;
        }
        let indent = line.len() - line.trim_start_matches(' ').len();
        if text_below.is_some_and(|column| indent > column) {
            continue;
        }
        let parts = parts(line);
        for dash in &parts.dashes {
            open.item(*dash);
        }
        if let Some(key) = &parts.key {
            open.before_key(parts.column);
            open.0.push((parts.column, Step::Key(key.clone()), 0));
        }
        let value: String = line.chars().take(parts.value.end).skip(parts.value.start).collect();
        text_below = value.starts_with(['|', '>']).then_some(parts.column);
        each(row, &parts, &open);
    }
    open
}

/// Every field of the document that `row` is in, in the order of its lines.
pub fn entries(lines: &[String], row: usize) -> Vec<Entry> {
    let range = document(lines, row);
    let mut all: Vec<Entry> = Vec::new();
    let mut depth: Vec<usize> = Vec::new();
    let mut last = range.start;
    walk(lines, range, |row, line, open| {
        let path = open.path();
        // What this line does not belong to has ended behind the line before.
        while let Some(entry) = depth.last().and_then(|index| all.get_mut(*index)) {
            if path.len() > entry.path.len() && path.starts_with(&entry.path) {
                break;
            }
            entry.end = last + 1;
            depth.pop();
        }
        last = row;
        depth.push(all.len());
        let column = if line.key.is_some() { line.column } else { line.dashes.last().copied().unwrap_or(0) };
        let dashed = !line.dashes.is_empty();
        all.push(Entry { path, row, column, value: line.value.clone(), end: row + 1, dashed });
    });
    for index in depth {
        if let Some(entry) = all.get_mut(index) {
            entry.end = last + 1;
        }
    }
    all
}

/// The field at this path; else the nearest one above it.
pub fn nearest<'a>(entries: &'a [Entry], path: &[Step]) -> Option<&'a Entry> {
    let fits = |entry: &&Entry| path.starts_with(&entry.path);
    entries.iter().filter(fits).max_by_key(|entry| entry.path.len())
}

/// What is at this place of the text.
pub fn spot(lines: &[String], (row, column): (usize, usize)) -> Spot {
    let range = document(lines, row);
    let text: String = lines.get(row).map(|line| line.chars().take(column).collect()).unwrap_or_default();
    let mut open = walk(lines, range.start..row, |_, _, _| ());
    let line = parts(&text);
    for dash in &line.dashes {
        open.item(*dash);
    }
    let typed = |from: usize| text.chars().skip(from).collect::<String>();
    if let Some(key) = line.key {
        open.before_key(line.column);
        let start = line.value.start.min(column);
        return Spot {
            parent: open.path(),
            key: Some(key),
            item: false,
            start,
            typed: typed(start),
            indent: line.column,
        };
    }
    let has_dash = !line.dashes.is_empty();
    if !has_dash {
        open.before_key(line.column);
    }
    Spot {
        parent: open.path(),
        key: None,
        item: has_dash,
        start: line.column,
        typed: typed(line.column),
        indent: line.column,
    }
}

/// The keys that stand beside this place, in the same collection.
pub fn siblings(lines: &[String], row: usize, parent: &[Step]) -> Vec<String> {
    entries(lines, row)
        .into_iter()
        .filter(|entry| entry.row != row && entry.path.len() == parent.len() + 1)
        .filter(|entry| entry.path.starts_with(parent))
        .filter_map(|entry| match entry.path.last() {
            Some(Step::Key(key)) => Some(key.clone()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    const TEXT: &str = "\
kind: NetworkChaos # what
metadata:
  name: \"a # b\"
spec:
  selector:
    namespaces:
    - default
    - shop
    labelSelectors:
      app: web

  externalTargets:
    - 10.0.0.1
  list:
    - key: app
      values: [a, b]
    - key: tier
  note: |
    free: text
  duration: 1m
---
kind: PodChaos";

    #[test]
    fn every_field_has_its_path_and_its_lines() {
        let lines = lines(TEXT);
        let all: Vec<_> = entries(&lines, 3)
            .iter()
            .map(|entry| {
                let value: String =
                    lines[entry.row].chars().collect::<Vec<_>>()[entry.value.clone()].iter().collect();
                format!("{}..{} {}={value}", entry.row, entry.end, written(&entry.path))
            })
            .collect();
        assert_eq!(
            all,
            [
                "0..1 kind=NetworkChaos",
                "1..3 metadata=",
                "2..3 metadata.name=\"a # b\"",
                "3..20 spec=",
                "4..10 spec.selector=",
                "5..8 spec.selector.namespaces=",
                "6..7 spec.selector.namespaces[0]=default",
                "7..8 spec.selector.namespaces[1]=shop",
                "8..10 spec.selector.labelSelectors=",
                "9..10 spec.selector.labelSelectors.app=web",
                "11..13 spec.externalTargets=",
                "12..13 spec.externalTargets[0]=10.0.0.1",
                "13..17 spec.list=",
                "14..15 spec.list[0].key=app",
                "15..16 spec.list[0].values=[a, b]",
                "16..17 spec.list[1].key=tier",
                "17..18 spec.note=|",
                "19..20 spec.duration=1m",
            ]
        );
        assert_eq!(written(&entries(&lines, 21)[0].path), "kind");
        assert_eq!(written(&path("spec.list[1].key")), "spec.list[1].key");
    }

    #[test]
    fn a_place_is_told_by_indentation_alone() {
        for (before, parent, key, item, typed) in [
            ("", "", None, false, ""),
            ("ki", "", None, false, "ki"),
            ("spec:\n  ", "spec", None, false, ""),
            ("spec:\n  mode: al", "spec", Some("mode"), false, "al"),
            ("spec:\n  delay:\n    la", "spec.delay", None, false, "la"),
            ("spec:\n  delay:\n    latency: 1ms\n  ", "spec", None, false, ""),
            ("spec:\n  delay:\n    latency: 1ms\n    ", "spec.delay", None, false, ""),
            ("spec:\n  {{ broken\n  namespaces:\n    - de", "spec.namespaces[0]", None, true, "de"),
            ("spec:\n  namespaces:\n  - a\n  - ", "spec.namespaces[1]", None, true, ""),
            ("spec:\n  list:\n  - key: app\n    op", "spec.list[0]", None, false, "op"),
            ("spec:\n  list:\n  - key: ap", "spec.list[0]", Some("key"), false, "ap"),
            ("a: 1\n---\nspec:\n  ", "spec", None, false, ""),
        ] {
            let lines: Vec<_> = before.split('\n').map(str::to_owned).collect();
            let row = lines.len() - 1;
            let spot = spot(&lines, (row, lines[row].chars().count()));
            assert_eq!(
                (written(&spot.parent).as_str(), spot.key.as_deref(), spot.item, spot.typed.as_str()),
                (parent, key, item, typed),
                "{before:?}"
            );
        }
    }

    #[test]
    fn the_keys_beside_a_place_are_those_of_its_collection() {
        let lines = lines("spec:\n  mode: all\n  \n  delay:\n    latency: 1ms\nkind: x");
        assert_eq!(siblings(&lines, 2, &path("spec")), ["mode", "delay"]);
        assert_eq!(siblings(&lines, 2, &[]), ["spec", "kind"]);
    }
}
