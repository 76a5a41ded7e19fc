//! A list of rows in columns.
//!
//! ```text
//! NAME              STATUS   NODE▴
//! mongo-596c…tkwpx  ✓ Running  machine3
//! server-app-…      ✓ Running  machine2
//! ```
//!
//! Only the rows that are visible are asked for, so that twenty thousand cost what twenty do. Columns are as wide as
//! what is in them. Where there is not enough room, the least important columns go until each of the others has the
//! least that it makes sense with; then those shrink that are furthest above that.

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
    /// The least room that it makes sense with, if what is in it is that wide.
    pub least: u16,
    /// The most that it takes; nothing: it is not shown.
    pub most: u16,
    /// The highest goes first where there is no room; 0 never goes.
    pub rank: u8,
    /// Where text that is too wide is cut.
    pub elide: Elide,
}

impl Column {
    /// A column that is never left out.
    pub const fn new(title: &'static str, least: u16, most: u16) -> Self {
        Self { title, least, most, rank: 0, elide: Elide::End }
    }

    /// Is not shown if what it would say is said elsewhere.
    pub const fn hide_if(&mut self, is_known: bool) {
        if is_known {
            self.most = 0;
        }
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

    /// What each column would take: its widest cell or its title, with room for the mark of the order.
    fn natural(&self, rows: &[Vec<Span>]) -> Vec<u16> {
        let natural = |(number, column): (usize, &Column)| {
            let cells = rows.iter().filter_map(|row| row.get(number)).map(|span| text::width(&span.text));
            let is_sorted = self.sort.is_some_and(|sort| sort.column == number);
            let title = text::width(column.title) + usize::from(is_sorted);
            let widest = cells.chain([title]).max().unwrap_or(0);
            u16::try_from(widest).unwrap_or(u16::MAX).min(column.most)
        };
        self.columns.iter().enumerate().map(natural).collect()
    }

    /// The width of each column; 0 for those that are left out.
    fn widths(&self, rows: &[Vec<Span>], room: u16) -> Vec<u16> {
        let natural = self.natural(rows);
        let floor = |number: usize| {
            let least = self.columns.get(number).map_or(0, |column| column.least);
            natural.get(number).copied().unwrap_or(0).min(least)
        };
        let needed = |widths: &[u16]| {
            let shown = widths.iter().filter(|width| **width > 0);
            shown.map(|width| u32::from(*width) + u32::from(GAP)).sum::<u32>().saturating_sub(u32::from(GAP))
        };
        // The most important first, as long as each has at least what it makes sense with.
        let mut by_rank: Vec<_> = self.columns.iter().map(|column| column.rank).enumerate().collect();
        by_rank.sort_by_key(|(_, rank)| *rank);
        let mut floors = vec![0; self.columns.len()];
        for (number, rank) in by_rank {
            if let Some(width) = floors.get_mut(number) {
                *width = floor(number);
            }
            if rank > 0
                && needed(&floors) > u32::from(room)
                && let Some(width) = floors.get_mut(number)
            {
                *width = 0;
            }
        }
        let mut widths = natural.clone();
        for (width, floor) in widths.iter_mut().zip(&floors).filter(|(_, floor)| **floor == 0) {
            *width = *floor;
        }
        // Then take from the widest, one cell at a time.
        while needed(&widths) > u32::from(room) {
            let excess = |(width, floor): (&u16, &u16)| width.saturating_sub(*floor);
            let excesses = widths.iter().zip(&floors).map(excess).enumerate();
            match excesses.max_by_key(|(_, excess)| *excess) {
                Some((number, excess)) if excess > 0 => {
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
