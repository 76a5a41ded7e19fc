//! What was said so far.

use super::{age_of, counted};
use crate::app::geometry::Area;
use crate::app::notice::Severity;
use crate::app::screens::errors::COLUMNS;
use crate::app::state::State;
use crate::ui::canvas::{Canvas, Frame, Span};
use crate::ui::theme::{Glyph, Role};
use crate::ui::widgets::table::{Column, Table};

const SHOWN: [Column; 3] =
    [Column::new(COLUMNS[0], 4, 6), Column::new(COLUMNS[1], 1, 2), Column::new(COLUMNS[2], 30, 400)];

/// All of it, the newest first.
pub(crate) fn list(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let list = &state.errors.list;
    let corner = counted(list, list.rows.len());
    let inside =
        Frame { title: "what was said so far", corner: &corner, focus: true, wrong: None }.draw(canvas, area);
    let theme = *canvas.theme;
    let row = |index: usize| {
        let Some(notice) = list.rows.get(index) else { return Vec::new() };
        let (glyph, role) = match notice.severity {
            Severity::Good => (Glyph::Well, Role::Ok),
            Severity::Warning => (Glyph::Warning, Role::Warn),
            Severity::Error => (Glyph::Failed, Role::Danger),
        };
        vec![
            Span::new(Role::Dim, age_of(state, Some(notice.at))),
            Span::new(role, theme.glyph(glyph)),
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
    .draw(canvas, inside);
    if list.rows.is_empty() {
        let style = canvas.theme.style(Role::Dim);
        canvas.text(inside.x, inside.y + 2, inside.width, "nothing went wrong so far", style);
    }
}
