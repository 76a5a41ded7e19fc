//! All panels, each with a sparkline for each of its lines.

use super::{aligned, faulted};
use crate::app::geometry::Area;
use crate::app::measure::history::{Series, Span};
use crate::app::screens::steady_state;
use crate::app::state::State;
use crate::steady_state::dashboard::{Dashboard, Panel};
use crate::ui::canvas::Canvas;
use crate::ui::text::{self, Elide};
use crate::ui::theme::{Glyph, Role};
use crate::ui::widgets::axis;
use crate::ui::widgets::sparkline::{self, Scale};

/// The most columns of a name beside its sparkline.
const NAME: u16 = 14;

/// Draws the panels that have room.
pub(super) fn draw(state: &State, dashboard: &Dashboard, canvas: &mut Canvas<'_>, inside: Area) {
    let grid = steady_state::grid(inside, dashboard.panels.len(), state.steady_state.panel);
    for (number, cell) in (grid.first..).zip(&grid.cells) {
        if let Some(panel) = dashboard.panels.get(number) {
            Cell { state, number, panel }.draw(canvas, *cell);
        }
    }
    ruler(state, dashboard, canvas, &grid);
}

/// What happened in the shown time, and how many panels have no room.
fn ruler(state: &State, dashboard: &Dashboard, canvas: &mut Canvas<'_>, grid: &steady_state::Grid) {
    let span = steady_state::span(state);
    let hidden = dashboard.panels.len().saturating_sub(grid.cells.len());
    let mut parts = Vec::new();
    if hidden > 0 {
        parts.push(format!("{hidden} more panels: j k"));
    }
    let marks: Vec<_> = state.measure.windows.marks(span).collect();
    let shown = marks.iter().rev().take(4).rev();
    parts.extend(shown.map(|mark| format!("{} {} {}", super::clock(mark.at), mark.name, mark.what)));
    let separator = format!(" {} ", canvas.theme.glyph(Glyph::Separator));
    let style = canvas.theme.style(Role::Dim);
    let area = grid.ruler;
    canvas.text(area.x, area.y, area.width, &parts.join(&separator), style);
}

struct Cell<'a> {
    state: &'a State,
    number: usize,
    panel: &'a Panel,
}

impl Cell<'_> {
    fn draw(&self, canvas: &mut Canvas<'_>, area: Area) {
        let (head, rest) = area.split_top(1);
        let focus = self.state.steady_state.panel == self.number;
        let role = if focus { Role::Selected } else { Role::Header };
        let style = canvas.theme.style(role);
        if focus {
            canvas.tint(head, style);
        }
        canvas.text(head.x, head.y, head.width, &self.panel.title, style);
        let history = &self.state.measure.history;
        if let Some(trouble) = history.trouble(self.number) {
            return wrapped(canvas, rest, Role::Warn, trouble);
        }
        let all = history.series(self.number);
        if all.is_empty() {
            let why = history.note(self.number).unwrap_or("nothing was measured yet");
            return wrapped(canvas, rest, Role::Dim, why);
        }
        let rows = usize::from(rest.height);
        if rows == 0 {
            return;
        }
        // A line that says how many have no room takes the room of one.
        let shown = if all.len() > rows { rows.saturating_sub(1) } else { all.len() };
        let each = u16::try_from(rows / shown.max(1)).unwrap_or(1).min(5);
        let name = all.iter().take(shown).map(|series| text::width(&series.name)).max().unwrap_or(0);
        let name = u16::try_from(name).unwrap_or(NAME).min(NAME).min(rest.width * 2 / 5);
        let values: Vec<_> = all.iter().take(shown).map(|series| self.value(series, canvas)).collect();
        let value = values.iter().map(|value| columns(value)).max().unwrap_or(0);
        let mut below = rest;
        for (series, said) in all.iter().zip(&values) {
            let (lines, next) = below.split_top(each);
            below = next;
            self.series(canvas, lines, (series, said), (name, value));
        }
        if shown < all.len() {
            let more = format!("{} more: Enter", all.len() - shown);
            canvas.text(below.x, below.y, below.width, &more, canvas.theme.style(Role::Dim));
        }
    }

    /// One line of values: in one row its name, its sparkline and its present value; in more, the sparkline below both.
    /// `widths` are those of the names and of the values.
    fn series(
        &self,
        canvas: &mut Canvas<'_>,
        area: Area,
        (series, said): (&Series, &str),
        (name, value): (u16, u16),
    ) {
        let row = Area { height: 1, ..area };
        let ellipsis = canvas.theme.glyph(Glyph::Ellipsis);
        let width = columns(said).min(row.width);
        canvas.text(row.x + row.width - width, row.y, width, said, canvas.theme.style(Role::Text));
        let (bars, name) = if area.height == 1 {
            let bars = Area { x: row.x + name + 1, width: row.width.saturating_sub(name + value + 2), ..row };
            (bars, name)
        } else {
            (Area { y: area.y + 1, height: area.height - 1, ..area }, row.width.saturating_sub(value + 1))
        };
        let shown = text::truncate(&series.name, usize::from(name), Elide::Middle, ellipsis);
        canvas.text(row.x, row.y, name, &shown, canvas.theme.style(Role::Dim));
        self.bars(canvas, bars, series);
    }

    fn bars(&self, canvas: &mut Canvas<'_>, area: Area, series: &Series) {
        let columns = usize::from(area.width);
        let span = aligned(steady_state::span(self.state), columns);
        let ground = canvas.theme.style(Role::Window);
        for (x, is_faulted) in (area.x..).zip(faulted(self.state, span, columns)) {
            if is_faulted {
                canvas.tint(Area { x, width: 1, ..area }, ground);
            }
        }
        let values = self.state.measure.history.columns(series, span, columns);
        let style = ratatui::style::Style { bg: None, ..canvas.theme.style(Role::Accent) };
        sparkline::draw(canvas, area, &values, self.scale(span), style);
    }

    fn scale(&self, span: Span) -> Scale {
        axis::scale(self.panel.unit, self.state.measure.history.reach(self.number, span))
    }

    fn value(&self, series: &Series, canvas: &Canvas<'_>) -> String {
        let span = steady_state::span(self.state);
        let value = self.state.measure.history.current(series, span);
        let shown = value.map_or_else(|| "-".to_owned(), |value| self.panel.unit.show(value));
        if canvas.theme.is_ascii() { shown.replace('µ', "u").replace('∞', "inf") } else { shown }
    }
}

fn columns(text: &str) -> u16 {
    u16::try_from(text::width(text)).unwrap_or(u16::MAX)
}

fn wrapped(canvas: &mut Canvas<'_>, area: Area, role: Role, what: &str) {
    let style = canvas.theme.style(role);
    for (row, y) in text::wrap(what, area.width).into_iter().zip(area.y..area.y + area.height) {
        canvas.text(area.x, y, area.width, &row, style);
    }
}
