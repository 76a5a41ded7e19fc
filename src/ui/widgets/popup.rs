//! A box over the screen, as large as what is in it.
//!
//! ```text
//! ╭ Stop NetworkChaos default/network-delay? ─╮
//! │ Injected is on 3 targets:                 │
//! │   default/mongo-596c7bf7bd-tkwpx          │
//! │                                           │
//! │ enter yes   esc no                        │
//! ╰───────────────────────────────────────────╯
//! ```

use crate::app::geometry::Area;
use crate::ui::canvas::{Canvas, Frame, Span};
use crate::ui::text;
use crate::ui::theme::Role;

/// The widest box, in columns.
const WIDEST: u16 = 76;

/// A box.
pub struct PopupBox<'a> {
    /// Its title.
    pub title: &'a str,
    /// Its lines; long ones are wrapped.
    pub lines: &'a [(Role, String)],
    /// The first visible line.
    pub offset: usize,
    /// The line that must stay visible, if one must.
    pub selected: Option<usize>,
    /// What can be answered.
    pub answers: &'a [Span],
    /// What is being typed, below the lines.
    pub input: Option<&'a str>,
}

impl PopupBox<'_> {
    /// Draws it in the middle of the screen.
    pub fn draw(&self, canvas: &mut Canvas<'_>, screen: Area) {
        let width = self.width(screen);
        let inner = width.saturating_sub(4);
        let mut rows: Vec<(Role, String, usize)> = Vec::new();
        for (number, (role, line)) in self.lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            for row in text::wrap(line, inner) {
                let row = if indent > 0 && !row.starts_with(' ') { format!("  {row}") } else { row };
                rows.push((*role, row, number));
            }
        }
        let extra = 4 + u16::from(self.input.is_some()) * 2;
        let height = u16::try_from(rows.len()).unwrap_or(u16::MAX).saturating_add(extra);
        let height = height.min(screen.height.saturating_sub(2)).max(extra.min(screen.height));
        let area = Area {
            x: screen.x + (screen.width - width) / 2,
            y: screen.y + (screen.height.saturating_sub(height)) / 2,
            width,
            height,
        };
        let ground = canvas.theme.ground();
        canvas.clear(area, ground);
        let visible = usize::from(height.saturating_sub(extra));
        let first = self.first_row(&rows, visible);
        let more = rows.len() > visible;
        let corner = if more {
            format!("{}/{}", (first + visible).min(rows.len()), rows.len())
        } else {
            String::new()
        };
        let frame = Frame { title: self.title, corner: &corner, focus: true, foot: None };
        let inside = frame.draw(canvas, area);
        for (down, (role, line, number)) in rows.iter().skip(first).take(visible).enumerate() {
            let Ok(down) = u16::try_from(down) else { break };
            let role = if self.selected == Some(*number) { Role::Selected } else { *role };
            let style = canvas.theme.style(role);
            canvas.text(inside.x + 1, inside.y + down, inner, line, style);
        }
        let mut y = inside.y + u16::try_from(visible).unwrap_or(0);
        if let Some(input) = self.input {
            let style = canvas.theme.style(Role::Accent);
            canvas.text(inside.x + 1, y + 1, inner, input, style);
            y += 2;
        }
        canvas.spans(inside.x + 1, y + 1, inner, self.answers, Role::Text);
    }

    fn width(&self, screen: Area) -> u16 {
        let lines = self.lines.iter().map(|(_, line)| text::width(line));
        let answers = self.answers.iter().map(|span| text::width(&span.text)).sum::<usize>();
        let widest = lines.chain([answers, text::width(self.title) + 2]).max().unwrap_or(0) + 4;
        u16::try_from(widest).unwrap_or(u16::MAX).clamp(30, WIDEST).min(screen.width)
    }

    /// The first row that is shown: as scrolled, but the selected line stays in sight.
    fn first_row(&self, rows: &[(Role, String, usize)], visible: usize) -> usize {
        let last = rows.len().saturating_sub(visible);
        if let Some(line) = self.selected {
            let row = rows.iter().position(|(_, _, number)| *number == line).unwrap_or(0);
            (row + 1).saturating_sub(visible).min(last)
        } else {
            let row = rows.iter().position(|(_, _, number)| *number >= self.offset).unwrap_or(0);
            row.min(last)
        }
    }
}
