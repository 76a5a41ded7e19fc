//! One panel large: every line of it in braille dots, with its axes, the times at which faults were in place, and a
//! legend.

use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::symbols::Marker;
use ratatui::widgets::Widget as _;
use ratatui::widgets::canvas::{Canvas as Dots, Context, Line, Points};

use super::{clock, faulted};
use crate::app::geometry::Area;
use crate::app::measure::history::{Series, Span};
use crate::app::screens::steady_state;
use crate::app::state::State;
use crate::steady_state::dashboard::{Dashboard, Panel};
use crate::ui::canvas::Canvas;
use crate::ui::text::{self, Elide};
use crate::ui::theme::{Glyph, Role};
use crate::ui::widgets::axis;
use crate::ui::widgets::sparkline::Scale;

/// What lines look like, one after the other; from the last on again from the first.
const LOOKS: [Role; 6] = [Role::Accent, Role::Paused, Role::Moving, Role::Ok, Role::Text, Role::Warn];

/// The columns of the values on the axis.
const AXIS: u16 = 9;

/// The columns of each number in the legend.
const NUMBER: u16 = 10;

/// Draws the selected panel.
pub(super) fn draw(state: &State, dashboard: &Dashboard, canvas: &mut Canvas<'_>, inside: Area) {
    let number = state.steady_state.panel;
    let Some(panel) = dashboard.panels.get(number) else { return };
    let history = &state.measure.history;
    let all = history.series(number);
    let span = steady_state::span(state);
    let (head, rest) = inside.split_top(1);
    let used = canvas.text(head.x, head.y, head.width, &panel.title, canvas.theme.style(Role::Title));
    let (role, said) = remark(state, number);
    canvas.text(
        head.x + used + 2,
        head.y,
        head.width.saturating_sub(used + 2),
        &said,
        canvas.theme.style(role),
    );
    let legend_rows =
        u16::try_from(all.len()).unwrap_or(u16::MAX).saturating_add(1).min(rest.height / 2).min(12);
    let (plot, legend) = rest.split_top(rest.height - legend_rows);
    let chart = Chart { state, panel, all, span };
    chart.plot(canvas, plot);
    chart.legend(canvas, legend);
}

/// What is to be known of the panel beside its lines.
fn remark(state: &State, panel: usize) -> (Role, String) {
    let history = &state.measure.history;
    if let Some(trouble) = history.trouble(panel) {
        return (Role::Warn, trouble.to_owned());
    }
    let omitted = history.omitted(panel);
    let more = (omitted > 0).then(|| format!("{omitted} more lines are not shown"));
    let note = history.note(panel).map(str::to_owned);
    (Role::Dim, more.into_iter().chain(note).collect::<Vec<_>>().join("; "))
}

struct Chart<'a> {
    state: &'a State,
    panel: &'a Panel,
    all: &'a [Series],
    span: Span,
}

impl Chart<'_> {
    /// The look of a line: the selected one stands out, also where there are no colours.
    fn look(&self, number: usize, canvas: &Canvas<'_>) -> Style {
        let role = LOOKS.get(number % LOOKS.len()).copied().unwrap_or(Role::Text);
        let style = Style { bg: None, ..canvas.theme.style(role) };
        if number == self.state.steady_state.line { style.bold() } else { style.not_bold() }
    }

    fn plot(&self, canvas: &mut Canvas<'_>, area: Area) {
        if area.height < 4 || area.width < AXIS + 8 {
            return;
        }
        let (marks, below) = area.split_top(1);
        let (dots, times) = below.split_top(below.height - 1);
        let (axis_area, dots) = dots.split_left(AXIS);
        let along = |area: Area| Area { x: dots.x, width: dots.width, ..area };
        let scale = self.scale();
        self.values(canvas, axis_area, scale);
        self.windows(canvas, dots);
        self.lines(canvas, dots, scale);
        self.marks(canvas, along(marks));
        self.times(canvas, along(times));
    }

    fn scale(&self) -> Scale {
        let panel = self.state.steady_state.panel;
        axis::scale(self.panel.unit, self.state.measure.history.reach(panel, self.span))
    }

    fn values(&self, canvas: &mut Canvas<'_>, area: Area, scale: Scale) {
        let style = canvas.theme.style(Role::Dim);
        let rows = area.height.saturating_sub(1);
        for tick in axis::ticks(scale, self.panel.unit, usize::from(area.height / 2).max(1)) {
            let up = (0..=rows).min_by(|one, other| {
                let off = |row: u16| (f64::from(row) - scale.part(tick) * f64::from(rows)).abs();
                off(*one).total_cmp(&off(*other))
            });
            let y = area.y + rows - up.unwrap_or(0);
            let shown = shown(canvas, &self.panel.unit.show(tick));
            let width = u16::try_from(text::width(&shown)).unwrap_or(AXIS).min(AXIS - 1);
            canvas.text(area.x + AXIS - 1 - width, y, width, &shown, style);
        }
    }

    /// The ground of the times at which a fault was in place, and a line at each end.
    fn windows(&self, canvas: &mut Canvas<'_>, area: Area) {
        let columns = usize::from(area.width);
        let ground = canvas.theme.style(Role::Window);
        let marked = faulted(self.state, self.span, columns);
        for (x, is_faulted) in (area.x..).zip(marked) {
            if is_faulted {
                canvas.tint(
                    Area { x, width: 1, ..area },
                    Style { underline_color: None, ..ground }.not_underlined(),
                );
            }
        }
        let style = Style { bg: None, ..canvas.theme.style(Role::Border) };
        let vertical = canvas.theme.glyph(Glyph::Vertical);
        for window in self.state.measure.windows.within(self.span) {
            for at in [Some(window.from), window.until].into_iter().flatten() {
                let Some(column) =
                    self.span.column(at, columns).and_then(|column| u16::try_from(column).ok())
                else {
                    continue;
                };
                for y in area.y..area.y + area.height {
                    canvas.put(area.x + column, y, vertical, style);
                }
            }
        }
    }

    fn lines(&self, canvas: &mut Canvas<'_>, area: Area, scale: Scale) {
        let is_ascii = canvas.theme.is_ascii();
        let marker = if is_ascii { Marker::Custom('*') } else { Marker::Braille };
        let rect = Rect::new(area.x, area.y, area.width, area.height).intersection(canvas.buffer.area);
        // The selected one last: it lies above the others.
        let mut order: Vec<_> = (0..self.all.len()).collect();
        order.sort_by_key(|number| *number == self.state.steady_state.line);
        for number in order {
            let Some(series) = self.all.get(number) else { continue };
            let style = self.look(number, canvas);
            let color = style.fg.unwrap_or_default();
            let pieces = self.state.measure.history.pieces(series, self.span);
            let mut layer = ratatui::buffer::Buffer::empty(rect);
            Dots::default()
                .marker(marker)
                .x_bounds([0.0, 1.0])
                .y_bounds([scale.least, scale.greatest])
                .paint(|context| paint(context, &pieces, self.span, color))
                .render(rect, &mut layer);
            lay(&layer, canvas, style);
        }
    }

    /// What happened, above the time at which it did: in full where that has room before the next, else in a word, else as
    /// a mere mark.
    fn marks(&self, canvas: &mut Canvas<'_>, area: Area) {
        let style = canvas.theme.style(Role::Injected);
        let glyph = canvas.theme.glyph(Glyph::Descending);
        let columns = usize::from(area.width);
        let placed = self.state.measure.windows.marks(self.span).filter_map(|mark| {
            let column = u16::try_from(self.span.column(mark.at, columns)?).ok()?;
            Some((column, mark))
        });
        let placed: Vec<_> = placed.collect();
        let mut free = 0;
        for (number, (column, mark)) in placed.iter().enumerate() {
            let next = placed.get(number + 1).map(|(next, _)| *next);
            let forms = [
                format!("{glyph}{} {}", mark.name, mark.what),
                format!("{glyph}{}", mark.what),
                glyph.to_owned(),
            ];
            let [.., last] = &forms;
            let fitting = forms.iter().find_map(|said| {
                let width = u16::try_from(text::width(said)).ok()?;
                // Near the right edge it stands on the left of its time.
                let x = (*column).min(area.width.saturating_sub(width));
                let has_room = x >= free && next.is_none_or(|next| x + width < next);
                has_room.then_some((x, width, said))
            });
            let (x, width, said) = fitting.unwrap_or((*column, 1, last));
            canvas.text(area.x + x, area.y, width, said, style);
            free = x + width;
        }
    }

    fn times(&self, canvas: &mut Canvas<'_>, area: Area) {
        let style = canvas.theme.style(Role::Dim);
        let middle = Span::until(self.span.until, self.span.length() / 2).from;
        let width = 8;
        canvas.text(area.x, area.y, width, &clock(self.span.from), style);
        canvas.text(
            area.x + (area.width / 2).saturating_sub(width / 2),
            area.y,
            width,
            &clock(middle),
            style,
        );
        canvas.text(area.x + area.width.saturating_sub(width), area.y, width, &clock(self.span.until), style);
    }

    /// A row for each line: its mark and name, its present, least and greatest value.
    fn legend(&self, canvas: &mut Canvas<'_>, area: Area) {
        let (head, rows) = area.split_top(1);
        let longest = self.all.iter().map(|series| text::width(&series.name)).max().unwrap_or(0);
        let longest = u16::try_from(longest).unwrap_or(u16::MAX).max(8);
        let name_width = area.width.saturating_sub(3 * NUMBER + 4).min(longest);
        let header = canvas.theme.style(Role::Header);
        canvas.text(head.x + 2, head.y, name_width, "LINE", header);
        for (number, title) in (0u16..).zip(["NOW", "MINIMUM", "MAXIMUM"]) {
            right(
                canvas,
                Area { x: head.x + 2 + name_width + number * NUMBER, width: NUMBER, ..head },
                title,
                header,
            );
        }
        let words = self.panel.unit.words();
        canvas.text(head.x + 4 + name_width + 3 * NUMBER, head.y, 12, words, canvas.theme.style(Role::Dim));
        let visible = usize::from(rows.height);
        // The selected line stays in sight.
        let first = (self.state.steady_state.line + 1).saturating_sub(visible);
        for ((number, series), y) in self.all.iter().enumerate().skip(first).zip(rows.y..rows.y + rows.height)
        {
            self.legend_row(canvas, Area { y, height: 1, ..rows }, (number, series), name_width);
        }
    }

    fn legend_row(
        &self,
        canvas: &mut Canvas<'_>,
        row: Area,
        (number, series): (usize, &Series),
        name_width: u16,
    ) {
        let history = &self.state.measure.history;
        let style = self.look(number, canvas);
        let is_selected = number == self.state.steady_state.line;
        let glyph = if is_selected { Glyph::Pointer } else { Glyph::Over };
        canvas.text(row.x, row.y, 2, canvas.theme.glyph(glyph), style);
        let ellipsis = canvas.theme.glyph(Glyph::Ellipsis);
        let name = text::truncate(&series.name, usize::from(name_width), Elide::Middle, ellipsis);
        canvas.text(row.x + 2, row.y, name_width, &name, style);
        let extent = history.extent(series, self.span);
        let values = [
            history.current(series, self.span),
            extent.map(|extent| extent.least),
            extent.map(|extent| extent.greatest),
        ];
        let text_style = canvas.theme.style(Role::Text);
        for (number, value) in (0u16..).zip(values) {
            let said =
                value.map_or_else(|| "-".to_owned(), |value| shown(canvas, &self.panel.unit.show(value)));
            let cell = Area { x: row.x + 2 + name_width + number * NUMBER, width: NUMBER, ..row };
            right(canvas, cell, &said, text_style);
        }
    }
}

/// Draws the pieces of a line; a value between two gaps is a point.
fn paint(
    context: &mut Context<'_>,
    pieces: &[Vec<(jiff::Timestamp, f64)>],
    span: Span,
    color: ratatui::style::Color,
) {
    for piece in pieces {
        let points: Vec<_> = piece.iter().map(|(at, value)| (span.part(*at), *value)).collect();
        context.draw(&Points { coords: &points, color });
        for pair in points.windows(2) {
            if let [(x1, y1), (x2, y2)] = pair {
                context.draw(&Line { x1: *x1, y1: *y1, x2: *x2, y2: *y2, color });
            }
        }
    }
}

/// Lays what was drawn over what is there: dots of several lines in one cell are joined, the look is that of the upper.
fn lay(layer: &ratatui::buffer::Buffer, canvas: &mut Canvas<'_>, style: Style) {
    let rect = layer.area;
    for y in rect.top()..rect.bottom() {
        for x in rect.left()..rect.right() {
            let Some(symbol) = layer.cell((x, y)).map(|cell| cell.symbol().to_owned()) else { continue };
            if symbol.trim().is_empty() || symbol == BLANK {
                continue;
            }
            let below = canvas.buffer.cell((x, y)).map(|cell| cell.symbol().to_owned()).unwrap_or_default();
            let joined = joined(&below, &symbol);
            canvas.put(x, y, &joined, style);
        }
    }
}

/// A cell of braille without a dot.
const BLANK: &str = "\u{2800}";

/// The dots of both cells.
fn joined(one: &str, other: &str) -> String {
    let dots =
        |symbol: &str| u32::from(symbol.chars().next()?).checked_sub(0x2800).filter(|dots| *dots <= 0xff);
    match (dots(one), dots(other)) {
        (Some(one), Some(other)) => {
            char::from_u32(0x2800 + (one | other)).map_or_else(String::new, String::from)
        }
        _ => other.to_owned(),
    }
}

fn shown(canvas: &Canvas<'_>, value: &str) -> String {
    if canvas.theme.is_ascii() { value.replace('µ', "u").replace('∞', "inf") } else { value.to_owned() }
}

/// Text at the right edge of the area.
fn right(canvas: &mut Canvas<'_>, area: Area, said: &str, style: Style) {
    let width = u16::try_from(text::width(said)).unwrap_or(area.width).min(area.width);
    canvas.text(area.x + area.width - width, area.y, width, said, style);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_of_two_lines_are_joined() {
        assert_eq!(joined("⠁", "⠈"), "⠉");
        assert_eq!(joined("│", "⠈"), "⠈");
        assert_eq!(joined("", "⠁"), "⠁");
    }
}
