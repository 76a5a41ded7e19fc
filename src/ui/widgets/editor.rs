//! A text that is edited: line numbers with marks, YAML in colours, what is wrong, what is marked, what was found, and
//! the cursor.
//!
//! ```text
//!   7   action: delay
//! ✗ 8   mode: al▏        what is wrong is underlined
//! ```

use ratatui::style::{Modifier, Style};

use super::yaml;
use crate::app::editor::buffer::Place;
use crate::app::editor::{Editor, Grade};
use crate::app::geometry::Area;
use crate::ui::canvas::Canvas;
use crate::ui::text;
use crate::ui::theme::{Glyph, Role};

/// The role of a problem.
pub(crate) const fn role(grade: Grade) -> Role {
    match grade {
        Grade::Error => Role::Danger,
        Grade::Warning => Role::Warn,
        Grade::Note => Role::Dim,
    }
}

/// The glyph of a problem.
pub(crate) const fn glyph(grade: Grade) -> Glyph {
    match grade {
        Grade::Error => Glyph::Failed,
        Grade::Warning => Glyph::Warning,
        Grade::Note => Glyph::Separator,
    }
}

/// One piece of a line that takes room: its first column, itself, how wide it is, and its character's number.
struct Piece {
    at: usize,
    text: String,
    width: usize,
    character: usize,
    role: Role,
}

/// The pieces of a line, with the colours of YAML.
fn pieces(line: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut at, mut character) = (0, 0);
    for span in yaml::line(line) {
        let role = span.role.unwrap_or(Role::Text);
        let mut last = 0;
        for (start, grapheme, width) in text::graphemes(&span.text) {
            character += span.text.get(last..start).map_or(0, |skipped| skipped.chars().count());
            let width = usize::from(width);
            pieces.push(Piece { at, text: grapheme.to_owned(), width, character, role });
            at += width;
            character += grapheme.chars().count();
            last = start + grapheme.len();
        }
        character += span.text.get(last..).map_or(0, |skipped| skipped.chars().count());
    }
    pieces
}

/// Draws the visible lines into `numbers` and `area`.
pub fn draw(editor: &Editor, canvas: &mut Canvas<'_>, numbers: Area, area: Area, focus: bool) {
    let lines = editor.buffer.lines().iter().enumerate().skip(editor.top);
    for ((row, line), y) in lines.zip(area.y..area.y + area.height) {
        number(editor, canvas, Area { y, height: 1, ..numbers }, row);
        one_line(editor, canvas, Area { y, height: 1, ..area }, row, line, focus);
    }
}

fn number(editor: &Editor, canvas: &mut Canvas<'_>, area: Area, row: usize) {
    let problem = editor.problem_of(row);
    let (mark, mark_role) = problem
        .map_or((" ", Role::Dim), |problem| (canvas.theme.glyph(glyph(problem.grade)), role(problem.grade)));
    let style = canvas.theme.style(mark_role).remove_modifier(Modifier::UNDERLINED);
    canvas.text(area.x, area.y, 1, mark, style);
    let is_here = editor.buffer.cursor().0 == row;
    let style = canvas.theme.style(if is_here { Role::Accent } else { Role::Dim });
    let width = usize::from(area.width.saturating_sub(2));
    canvas.text(area.x + 1, area.y, area.width.saturating_sub(1), &format!("{:>width$}", row + 1), style);
}

/// Where on this line something is wrong, in characters: from its column to the end of its word.
fn wrong(editor: &Editor, row: usize, line: &str) -> Option<(std::ops::Range<usize>, Role)> {
    let problem = editor.problem_of(row)?;
    let from = problem.at.1.saturating_sub(1);
    let word = line.chars().skip(from).take_while(|char| !char.is_whitespace()).count();
    Some((from..from + word.max(1), role(problem.grade)))
}

fn is_marked(marked: Option<(Place, Place)>, row: usize, character: usize) -> bool {
    marked.is_some_and(|(from, to)| (row, character) >= from && (row, character) < to)
}

fn one_line(editor: &Editor, canvas: &mut Canvas<'_>, area: Area, row: usize, line: &str, focus: bool) {
    let pieces = pieces(line);
    let wrong = wrong(editor, row, line);
    let marked = editor.buffer.marked();
    let hits = if editor.search.is_empty() { Vec::new() } else { text::matches(line, &editor.search) };
    let hits: Vec<_> = hits
        .into_iter()
        .map(|range| {
            let before = |byte: usize| line.get(..byte).map_or(0, |before| before.chars().count());
            before(range.start)..before(range.end)
        })
        .collect();
    let (cursor_row, cursor) = editor.buffer.cursor();
    let cursor = (cursor_row == row).then_some(cursor);
    let mut drawn_cursor = false;
    for piece in &pieces {
        let mut style = canvas.theme.style(piece.role);
        if hits.iter().any(|hit| hit.contains(&piece.character)) {
            style = canvas.theme.style(Role::Match);
        }
        if let Some((range, role)) = &wrong
            && range.contains(&piece.character)
        {
            style = canvas.theme.style(*role).add_modifier(Modifier::UNDERLINED);
        }
        if is_marked(marked, row, piece.character) {
            style = canvas.theme.style(Role::SelectedDim);
        }
        let next = piece.character + piece.text.chars().count();
        if cursor.is_some_and(|cursor| (piece.character..next).contains(&cursor)) {
            style = cursor_style(canvas, focus);
            drawn_cursor = true;
        }
        put(editor.left, canvas, area, (piece.at, piece.width), &piece.text, style);
    }
    let end = pieces.last().map_or(0, |piece| piece.at + piece.width);
    if cursor.is_some() && !drawn_cursor {
        let style = cursor_style(canvas, focus);
        put(editor.left, canvas, area, (end, 1), " ", style);
    } else if let Some((range, role)) = &wrong
        && pieces.last().is_none_or(|piece| range.start > piece.character)
    {
        // What is missing at the end of a line has a place, too.
        let style = canvas.theme.style(*role).add_modifier(Modifier::UNDERLINED);
        put(editor.left, canvas, area, (end, 1), " ", style);
    }
}

fn cursor_style(canvas: &Canvas<'_>, focus: bool) -> Style {
    if focus {
        canvas.theme.style(Role::Selected).add_modifier(Modifier::REVERSED)
    } else {
        canvas.theme.style(Role::SelectedDim)
    }
}

/// Draws a piece, at its column and as wide as it is, where it is in sight; a wide one that is cut at the edge is not drawn.
fn put(left: usize, canvas: &mut Canvas<'_>, area: Area, at: (usize, usize), piece: &str, style: Style) {
    let (at, width) = at;
    let Some(column) = at.checked_sub(left) else { return };
    if column + width > usize::from(area.width) {
        return;
    }
    let Ok(column) = u16::try_from(column) else { return };
    let width = u16::try_from(width).unwrap_or(1);
    canvas.text(area.x + column, area.y, width, piece, style);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_their_room_and_keep_their_number() {
        let pieces = pieces("a: 世x # é");
        let told: Vec<_> =
            pieces.iter().map(|piece| (piece.at, piece.text.as_str(), piece.character)).collect();
        assert_eq!(
            told,
            [
                (0, "a", 0),
                (1, ":", 1),
                (2, " ", 2),
                (3, "世", 3),
                (5, "x", 4),
                (6, " ", 5),
                (7, "#", 6),
                (8, " ", 7),
                (9, "é", 8)
            ]
        );
    }
}
