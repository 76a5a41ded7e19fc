//! A buffer of cells with a theme: what every widget draws on.
//!
//! Text that comes from the cluster is made harmless before it is drawn, and nothing is drawn outside of the area that
//! was asked for.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::text;
use super::theme::{Glyph, Role, State, Theme};
use crate::app::geometry::Area;

/// A buffer with a theme.
pub struct Canvas<'a> {
    /// The cells.
    pub buffer: &'a mut Buffer,
    /// What things look like.
    pub theme: &'a Theme,
}

/// A piece of text and what it is for.
#[derive(Clone, Debug, Default)]
pub struct Span {
    /// The text.
    pub text: String,
    /// What it is for; plain without it.
    pub role: Option<Role>,
}

impl Span {
    /// A piece of text.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { text: text.into(), role: Some(role) }
    }

    /// A piece of plain text.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), role: None }
    }
}

impl Canvas<'_> {
    /// Draws `text` in at most `width` columns, and gives the columns that it took.
    pub fn text(&mut self, x: u16, y: u16, width: u16, text: &str, style: Style) -> u16 {
        let bounds = self.buffer.area;
        if y >= bounds.bottom() || x >= bounds.right() || width == 0 {
            return 0;
        }
        let room = width.min(bounds.right() - x);
        let harmless = text::harmless(text);
        let harmless = if self.theme.is_ascii() { text::ascii(&harmless) } else { harmless };
        let ellipsis = self.theme.glyph(Glyph::Ellipsis);
        let shown = text::truncate(&harmless, usize::from(room), text::Elide::End, ellipsis);
        let (end, _) = self.buffer.set_stringn(x, y, shown, usize::from(room), style);
        end - x
    }

    /// Draws one glyph of ours, which is one column wide, into a cell.
    pub fn put(&mut self, x: u16, y: u16, symbol: &str, style: Style) {
        if let Some(cell) = self.buffer.cell_mut((x, y)) {
            cell.set_symbol(symbol).set_style(style);
        }
    }

    /// Draws pieces of text one behind the other; what they say nothing about looks like `base`.
    pub fn spans(&mut self, x: u16, y: u16, width: u16, spans: &[Span], base: Role) -> u16 {
        let mut used = 0;
        for span in spans {
            let style = self.theme.style(span.role.unwrap_or(base));
            used += self.text(x.saturating_add(used), y, width.saturating_sub(used), &span.text, style);
        }
        used
    }

    /// Gives every cell of the area this look, and nothing in it.
    pub fn clear(&mut self, area: Area, style: Style) {
        let rect = self.rect(area);
        for y in rect.top()..rect.bottom() {
            for x in rect.left()..rect.right() {
                if let Some(cell) = self.buffer.cell_mut((x, y)) {
                    cell.reset();
                    cell.set_style(style);
                }
            }
        }
    }

    /// Adds to the look of every cell of the area.
    pub fn tint(&mut self, area: Area, style: Style) {
        let rect = self.rect(area);
        self.buffer.set_style(rect, style);
    }

    /// The part of the area that is on the screen.
    fn rect(&self, area: Area) -> Rect {
        Rect { x: area.x, y: area.y, width: area.width, height: area.height }.intersection(self.buffer.area)
    }

    /// A state as glyph and word.
    pub fn state(&self, state: State, word: &str) -> Span {
        Span::new(state.role, format!("{} {word}", self.theme.glyph(state.glyph)))
    }
}

/// A frame around an area.
///
/// ```text
/// ╭ title ───────────────── 3/120 ╮
/// │                               │
/// ╰───────────────── stale 12 s ──╯
/// ```
#[derive(Clone, Debug, Default)]
pub struct Frame<'a> {
    /// At the top left.
    pub title: &'a str,
    /// At the top right.
    pub corner: &'a str,
    /// Whether the keys act on what is in it.
    pub focus: bool,
    /// At the bottom: what is wrong with what is in it and how bad that is, or more about the selected row.
    pub foot: Option<(Role, String)>,
}

impl Frame<'_> {
    /// Draws it, and gives what is inside.
    pub fn draw(&self, canvas: &mut Canvas<'_>, area: Area) -> Area {
        if area.width < 2 || area.height < 2 {
            return Area { width: 0, height: 0, ..area };
        }
        let border = canvas.theme.style(if self.focus { Role::FocusBorder } else { Role::Border });
        let glyph = |glyph| canvas.theme.glyph(glyph);
        let (across, down) = (glyph(Glyph::Horizontal), glyph(Glyph::Vertical));
        let corners = [
            (area.x, area.y, glyph(Glyph::TopLeft)),
            (area.x + area.width - 1, area.y, glyph(Glyph::TopRight)),
            (area.x, area.y + area.height - 1, glyph(Glyph::BottomLeft)),
            (area.x + area.width - 1, area.y + area.height - 1, glyph(Glyph::BottomRight)),
        ];
        let mut put = |x: u16, y: u16, symbol: &str| {
            if let Some(cell) = canvas.buffer.cell_mut((x, y)) {
                cell.set_symbol(symbol).set_style(border);
            }
        };
        for x in area.x + 1..area.x + area.width - 1 {
            put(x, area.y, across);
            put(x, area.y + area.height - 1, across);
        }
        for y in area.y + 1..area.y + area.height - 1 {
            put(area.x, y, down);
            put(area.x + area.width - 1, y, down);
        }
        for (x, y, symbol) in corners {
            put(x, y, symbol);
        }
        self.labels(canvas, area);
        area.inside()
    }

    fn labels(&self, canvas: &mut Canvas<'_>, area: Area) {
        // The border below may be bold; what stands on it looks as its own role says.
        let alone = |style: Style| style.remove_modifier(Modifier::all().difference(style.add_modifier));
        let room = area.width.saturating_sub(4);
        let corner_width = u16::try_from(text::width(self.corner)).unwrap_or(room).saturating_add(2);
        let has_corner = !self.corner.is_empty() && corner_width < room;
        if has_corner {
            let x = area.x + area.width - 2 - corner_width;
            let style = alone(canvas.theme.style(Role::Dim));
            canvas.text(x, area.y, corner_width, &format!(" {} ", self.corner), style);
        }
        if !self.title.is_empty() {
            let room = if has_corner { room.saturating_sub(corner_width + 1) } else { room };
            let style = alone(canvas.theme.style(if self.focus { Role::Title } else { Role::Dim }));
            canvas.text(area.x + 1, area.y, room, &format!(" {} ", self.title), style);
        }
        if let Some((role, text)) = &self.foot {
            let style = alone(canvas.theme.style(*role));
            canvas.text(area.x + 2, area.y + area.height - 1, room, &format!(" {text} "), style);
        }
    }
}
