//! A list of rows in columns.
//!
//! ```text
//! NAME              STATUS   NODE▴
//! mongo-596c…tkwpx  ✓ Running  machine3
//! server-app-…      ✓ Running  machine2
//! ```
//!
//! Only the rows that are visible are asked for, so that twenty thousand cost what twenty do. Columns are as wide as
//! what is in them; where there is not enough room, the least important go, and then the wide ones shrink.

use crate::app::geometry::Area;
use crate::app::list::Sort;
use crate::ui::canvas::{Canvas, Span};
use crate::ui::text::{self, Elide};
use crate::ui::theme::{Glyph, Role};

/// Between columns.
const GAP: u16 = 2;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its title.
    pub title: &'static str,
    /// The least columns that it makes sense with.
    pub least: u16,
    /// The most that it takes.
    pub most: u16,
    /// The lowest goes first where there is no room; 0 never goes.
    pub rank: u8,
    /// Where text that is too wide is cut.
    pub elide: Elide,
}

impl Column {
    /// A column that is never left out.
    pub const fn new(title: &'static str, least: u16, most: u16) -> Self {
        Self { title, least, most, rank: 0, elide: Elide::End }
    }

    /// Goes where there is no room: those with the highest numbers first.
    #[must_use]
    pub const fn goes(self, rank: u8) -> Self {
        Self { rank, ..self }
    }

    /// Is cut in its middle: both ends tell something.
    #[must_use]
    pub const fn middle(self) -> Self {
        Self { elide: Elide::Middle, ..self }
    }
}

/// A list.
pub struct Table<'a, R: Fn(usize) -> Vec<Span>> {
    /// Its columns.
    pub columns: &'a [Column],
    /// How many rows there are.
    pub count: usize,
    /// The first visible one.
    pub offset: usize,
    /// The selected one.
    pub selected: usize,
    /// Whether the keys act on it.
    pub focus: bool,
    /// By which column it is sorted.
    pub sort: Option<Sort>,
    /// What is marked wherever it stands in a row.
    pub mark: Option<&'a str>,
    /// What each column says of a row.
    pub row: R,
}

impl<R: Fn(usize) -> Vec<Span>> Table<'_, R> {
    /// Draws titles and visible rows.
    pub fn draw(&self, canvas: &mut Canvas<'_>, area: Area) {
        if area.height == 0 || area.width == 0 {
            return;
        }
        let (titles, body) = area.split_top(1);
        let visible = usize::from(body.height).min(self.count.saturating_sub(self.offset));
        let rows: Vec<_> = (self.offset..self.offset + visible).map(|index| (self.row)(index)).collect();
        let widths = self.widths(&rows, area.width);
        self.titles(canvas, titles, &widths);
        for (number, row) in rows.iter().enumerate() {
            let Ok(down) = u16::try_from(number) else { break };
            let line = Area { y: body.y + down, height: 1, ..body };
            self.line(canvas, line, &widths, row, self.offset + number == self.selected);
        }
    }

    /// The width of each column; 0 for those that are left out.
    fn widths(&self, rows: &[Vec<Span>], room: u16) -> Vec<u16> {
        let natural = |number: usize, column: &Column| {
            let cells = rows.iter().filter_map(|row| row.get(number)).map(|span| text::width(&span.text));
            let title = text::width(column.title) + 1;
            let widest = cells.chain([title]).max().unwrap_or(0);
            u16::try_from(widest).unwrap_or(u16::MAX).clamp(column.least.min(column.most), column.most)
        };
        let mut widths: Vec<u16> =
            self.columns.iter().enumerate().map(|(number, column)| natural(number, column)).collect();
        let needed = |widths: &[u16]| {
            let shown = widths.iter().filter(|width| **width > 0);
            shown.map(|width| u32::from(*width) + u32::from(GAP)).sum::<u32>().saturating_sub(u32::from(GAP))
        };
        let least: Vec<u16> = self.columns.iter().map(|column| column.least).collect();
        // Leave out what must go even if everything else is as narrow as it may be.
        let floor = |widths: &[u16]| -> Vec<u16> {
            widths.iter().zip(&least).map(|(width, least)| (*width).min(*least)).collect()
        };
        while needed(&floor(&widths)) > u32::from(room) {
            let shown = self.columns.iter().enumerate().filter(|(number, column)| {
                column.rank > 0 && widths.get(*number).is_some_and(|width| *width > 0)
            });
            let Some((number, _)) = shown.max_by_key(|(_, column)| column.rank) else { break };
            if let Some(width) = widths.get_mut(number) {
                *width = 0;
            }
        }
        // Then take from the widest, one column at a time.
        while needed(&widths) > u32::from(room) {
            let excess =
                |number: usize, width: u16| width.saturating_sub(least.get(number).copied().unwrap_or(0));
            let widest =
                widths.iter().copied().enumerate().max_by_key(|(number, width)| excess(*number, *width));
            match widest {
                Some((number, width)) if excess(number, width) > 0 => {
                    if let Some(width) = widths.get_mut(number) {
                        *width -= 1;
                    }
                }
                _ => break,
            }
        }
        widths
    }

    fn titles(&self, canvas: &mut Canvas<'_>, line: Area, widths: &[u16]) {
        let style = canvas.theme.style(Role::Header);
        let mut x = line.x;
        for (number, (column, width)) in self.columns.iter().zip(widths).enumerate() {
            if *width == 0 {
                continue;
            }
            let room = (*width).min((line.x + line.width).saturating_sub(x));
            let mark = match self.sort {
                Some(sort) if sort.column == number => {
                    canvas.theme.glyph(if sort.descending { Glyph::Descending } else { Glyph::Ascending })
                }
                _ => "",
            };
            canvas.text(x, line.y, room, &format!("{}{mark}", column.title), style);
            x = x.saturating_add(width + GAP);
        }
    }

    fn line(&self, canvas: &mut Canvas<'_>, line: Area, widths: &[u16], row: &[Span], selected: bool) {
        let base =
            if selected { Some(if self.focus { Role::Selected } else { Role::SelectedDim }) } else { None };
        if let Some(role) = base {
            canvas.tint(line, canvas.theme.style(role));
        }
        let mut x = line.x;
        for ((column, width), span) in self.columns.iter().zip(widths).zip(row) {
            if *width == 0 {
                continue;
            }
            let room = (*width).min((line.x + line.width).saturating_sub(x));
            let mut style = canvas.theme.style(span.role.unwrap_or(Role::Text));
            if let Some(role) = base {
                // The row's ground under the state's own colour.
                let row = canvas.theme.style(role);
                style = style.add_modifier(row.add_modifier);
                style.bg = row.bg;
                if span.role.is_none() {
                    style.fg = row.fg;
                }
            }
            let harmless = text::harmless(&span.text);
            let ellipsis = canvas.theme.glyph(Glyph::Ellipsis);
            let shown = text::truncate(&harmless, usize::from(room), column.elide, ellipsis);
            canvas.text(x, line.y, room, &shown, style);
            if let Some(mark) = self.mark {
                let role = canvas.theme.style(Role::Match);
                for range in text::matches(&shown, mark) {
                    let before = shown.get(..range.start).map_or(0, text::width);
                    let found = shown.get(range).map_or(0, text::width);
                    let at = x.saturating_add(u16::try_from(before).unwrap_or(u16::MAX));
                    let found = u16::try_from(found).unwrap_or(0).min((x + room).saturating_sub(at));
                    canvas.tint(Area { x: at, y: line.y, width: found, height: 1 }, role);
                }
            }
            x = x.saturating_add(width + GAP);
        }
    }
}
