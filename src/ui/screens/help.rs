//! Every key.

use super::counted;
use crate::app::geometry::Area;
use crate::app::screens::help::HelpRow;
use crate::app::state::State;
use crate::ui::canvas::{Canvas, Frame, Span};
use crate::ui::theme::Role;
use crate::ui::widgets::table::{Column, Table};

const COLUMNS: [Column; 3] =
    [Column::new("KEYS", 10, 26), Column::new("WHAT IT DOES", 60, 90), Column::new("WHERE", 8, 34).goes(1)];

/// All of them, the ones of the screen that help was asked on first.
pub(crate) fn list(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let list = &state.help.list;
    let corner = counted(list, list.rows.len());
    let title = "keys: / searches, Enter does the selected one";
    // Where, and why not now: always for the selected one, for all where there is room.
    let of_selected = list.current().map(|row| (Role::Dim, place(row)));
    let inside = Frame { title, corner: &corner, focus: true, foot: of_selected }.draw(canvas, area);
    let row = |index: usize| {
        let Some(row) = list.rows.get(index) else { return Vec::new() };
        let (key, text) =
            if row.why_not.is_some() { (Role::Dim, Role::Dim) } else { (Role::Key, Role::Text) };
        vec![Span::new(key, row.keys.clone()), Span::new(text, row.help), Span::new(Role::Dim, place(row))]
    };
    Table {
        columns: &COLUMNS,
        count: list.rows.len(),
        offset: list.offset,
        selected: list.index,
        focus: true,
        sort: None,
        mark: list.filter.word(),
        row,
    }
    .draw(canvas, inside);
}

/// Where a key has its meaning, and why not now.
fn place(row: &HelpRow) -> String {
    match &row.why_not {
        Some(why_not) => format!("{}: {why_not}", row.place),
        None => row.place.to_owned(),
    }
}
