//! What was said so far.

use super::{age_of, counted, read_out, why_empty};
use crate::app::geometry::Area;
use crate::app::notice::Severity;
use crate::app::screens::errors::COLUMNS;
use crate::app::state::State;
use crate::ui::canvas::{Canvas, Frame, Span};
use crate::ui::theme::{Glyph, Role};
use crate::ui::widgets::table::{Column, Table};

const SHOWN: [Column; 3] =
    [Column::new(COLUMNS[0], 3, 6), Column::new(COLUMNS[1], 8, 8), Column::new(COLUMNS[2], 30, 400)];

/// How a severity is shown: glyph, word and role.
const fn shown(severity: Severity) -> (Glyph, &'static str, Role) {
    match severity {
        Severity::Good => (Glyph::Well, "done", Role::Ok),
        Severity::Warning => (Glyph::Warning, "note", Role::Warn),
        Severity::Error => (Glyph::Failed, "failed", Role::Danger),
    }
}

/// All of it, the newest first, and below it the selected one as a whole.
pub(crate) fn list(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let list = &state.errors.list;
    let corner = counted(list, list.rows.len());
    Frame { title: "what was said so far", corner: &corner, focus: true, foot: None }.draw(canvas, area);
    let (rows_area, below) = area.with_reading();
    let theme = *canvas.theme;
    let row = |index: usize| {
        let Some(notice) = list.rows.get(index) else { return Vec::new() };
        let (glyph, word, role) = shown(notice.severity);
        vec![
            Span::new(Role::Dim, age_of(state, Some(notice.at))),
            Span::new(role, format!("{} {word}", theme.glyph(glyph))),
            Span::plain(notice.trouble.whole()),
        ]
    };
    Table {
        columns: &SHOWN,
        count: list.rows.len(),
        offset: list.offset,
        selected: list.index,
        focus: true,
        sort: None,
        mark: list.filter.word(),
        row,
    }
    .draw(canvas, rows_area);
    if let Some(notice) = list.current() {
        let (glyph, _, role) = shown(notice.severity);
        let mut said = vec![(role, format!("{} {}", theme.glyph(glyph), notice.trouble))];
        said.extend(notice.trouble.cure.iter().map(|cure| (Role::Ok, format!("what to do: {cure}"))));
        read_out(canvas, below, &said);
    } else {
        why_empty(canvas, rows_area, "nothing went wrong so far");
    }
}
