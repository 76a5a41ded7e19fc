//! The user's choices.

use crate::app::geometry::Area;
use crate::app::state::State;
use crate::ui::canvas::{Canvas, Frame, Span};
use crate::ui::theme::Role;
use crate::ui::widgets::table::{Column, Table};

const COLUMNS: [Column; 3] =
    [Column::new("SETTING", 8, 12), Column::new("NOW", 8, 16), Column::new("WHAT IT IS", 20, 80).goes(1)];

/// All of them.
pub(crate) fn list(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let list = &state.settings_screen.list;
    let frame = Frame {
        title: "settings: Enter changes one, and keeps it in ~/.config/squall/config.yaml",
        focus: true,
        ..Frame::default()
    };
    let inside = frame.draw(canvas, area);
    let row = |index: usize| {
        let Some(choice) = list.rows.get(index) else { return Vec::new() };
        vec![
            Span::plain(choice.name),
            Span::new(Role::Accent, choice.value.clone()),
            Span::new(Role::Dim, choice.help),
        ]
    };
    Table {
        columns: &COLUMNS,
        count: list.rows.len(),
        offset: list.offset,
        selected: list.index,
        focus: true,
        sort: None,
        mark: None,
        row,
    }
    .draw(canvas, inside);
    // Every role as it looks now: whoever chooses a theme wants to see it.
    let samples = [
        (Role::Ok, "well"),
        (Role::Warn, "careful"),
        (Role::Danger, "failed"),
        (Role::Injected, "injected"),
        (Role::Moving, "recovering"),
        (Role::Paused, "paused"),
        (Role::Dim, "less important"),
    ];
    let y = inside.y + u16::try_from(list.rows.len()).unwrap_or(0) + 2;
    if y < inside.y + inside.height {
        let spans: Vec<_> =
            samples.iter().map(|(role, word)| Span::new(*role, format!("{word}  "))).collect();
        canvas.spans(inside.x, y, inside.width, &spans, Role::Text);
    }
}
