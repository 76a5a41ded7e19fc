//! Files to start from.

use super::{counted, why_empty};
use crate::app::geometry::Area;
use crate::app::screens::templates::{COLUMNS, kind};
use crate::app::state::State;
use crate::app::templates::TEMPLATES;
use crate::ui::canvas::{Canvas, Frame, Span};
use crate::ui::text;
use crate::ui::theme::Role;
use crate::ui::widgets::table::{Column, Table};

const SHOWN: [Column; 3] = [
    Column::new(COLUMNS[0], 14, 24),
    Column::new(COLUMNS[1], 10, 14).goes(2),
    Column::new(COLUMNS[2], 40, 100).goes(1),
];

/// All of them.
pub(crate) fn list(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let list = &state.templates.list;
    let corner = counted(list, TEMPLATES.len());
    let inside = Frame { title: "templates", corner: &corner, focus: true, foot: None }.draw(canvas, area);
    let row = |index: usize| {
        let Some(template) = list.rows.get(index) else { return Vec::new() };
        vec![
            Span::plain(template.name),
            Span::new(Role::Dim, kind(template)),
            Span::new(Role::Dim, template.summary.clone()),
        ]
    };
    Table {
        columns: &SHOWN,
        count: list.rows.len(),
        offset: list.offset,
        selected: list.index,
        focus: true,
        sort: Some(list.sort),
        mark: list.filter.word(),
        row,
    }
    .draw(canvas, inside);
    if list.rows.is_empty() {
        why_empty(canvas, inside, "no template matches; Esc takes the filter away");
    }
}

/// What the selected one does and what to expect of it.
pub(crate) fn about(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let Some(template) = state.templates.list.current() else {
        Frame { title: "nothing is selected", ..Frame::default() }.draw(canvas, area);
        return;
    };
    let inside = Frame { title: template.name, ..Frame::default() }.draw(canvas, area);
    let mut rows: Vec<(Role, String)> =
        text::wrap(&template.summary, inside.width).into_iter().map(|row| (Role::Accent, row)).collect();
    for paragraph in &template.about {
        if inside.height > 10 {
            rows.push((Role::Text, String::new()));
        }
        rows.extend(text::wrap(paragraph, inside.width).into_iter().map(|row| (Role::Text, row)));
    }
    for (down, (role, row)) in rows.iter().take(usize::from(inside.height)).enumerate() {
        let Ok(down) = u16::try_from(down) else { return };
        let style = canvas.theme.style(*role);
        canvas.text(inside.x, inside.y + down, inside.width, row, style);
    }
}
