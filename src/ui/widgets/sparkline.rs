//! A line of values as bars: an eighth of a cell is the least difference that is seen.

use ratatui::style::Style;

use crate::app::geometry::Area;
use crate::ui::canvas::Canvas;

const BARS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// The same without Unicode: three heights are told apart.
const ASCII: [&str; 8] = ["_", "_", ".", ".", ":", ":", "|", "#"];

/// The values of a scale's ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// At the bottom.
    pub least: f64,
    /// At the top.
    pub greatest: f64,
}

impl Scale {
    /// How high a value is, from 0 to 1; in the middle where the scale has no height.
    pub fn part(self, value: f64) -> f64 {
        let height = self.greatest - self.least;
        if height > 0.0 { ((value - self.least) / height).clamp(0.0, 1.0) } else { 0.5 }
    }
}

/// Draws one value in each column, the oldest first, over all rows of the area. A gap is left empty, which nothing else
/// is: the least value has a bar, too.
pub fn draw(canvas: &mut Canvas<'_>, area: Area, values: &[Option<f64>], scale: Scale, style: Style) {
    let bars = if canvas.theme.is_ascii() { ASCII } else { BARS };
    let eighths = f64::from(area.height) * 8.0;
    for (x, value) in (area.x..area.x.saturating_add(area.width)).zip(values) {
        let Some(value) = value else { continue };
        let mut left = level(scale.part(*value) * eighths, area.height);
        for y in (area.y..area.y.saturating_add(area.height)).rev() {
            let Some(symbol) = bars.get(left.min(8).wrapping_sub(1)) else { break };
            canvas.put(x, y, symbol, style);
            left = left.saturating_sub(8);
        }
    }
}

/// A height in eighths as a whole number: at least one, at most all.
fn level(eighths: f64, rows: u16) -> usize {
    let most = usize::from(rows) * 8;
    (1..=most)
        .rev()
        .find(|level| f64::from(u32::try_from(*level).unwrap_or(1)) - 0.5 <= eighths)
        .unwrap_or(1)
        .min(most)
}

#[cfg(test)]
mod tests {
    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;

    use super::*;
    use crate::app::look::{Charset, Depth, ThemeName};
    use crate::ui::theme::Theme;

    fn drawn(values: &[Option<f64>], rows: u16, charset: Charset) -> Vec<String> {
        let width = u16::try_from(values.len()).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, rows));
        let theme = Theme::new(ThemeName::Dark, Depth::None, charset);
        let mut canvas = Canvas { buffer: &mut buffer, theme: &theme };
        let area = Area { x: 0, y: 0, width, height: rows };
        draw(&mut canvas, area, values, Scale { least: 0.0, greatest: 8.0 }, Style::new());
        (0..rows)
            .map(|y| (0..width).map(|x| buffer.cell((x, y)).unwrap().symbol().to_owned()).collect())
            .collect()
    }

    #[test]
    fn each_value_has_its_height_and_gaps_have_none() {
        let values = [Some(0.0), Some(1.0), None, Some(4.0), Some(8.0), Some(99.0)];
        assert_eq!(drawn(&values, 1, Charset::Utf8), ["▁▁ ▄██"]);
        assert_eq!(drawn(&values, 2, Charset::Utf8), ["    ██", "▁▂ ███"]);
        assert_eq!(drawn(&values, 1, Charset::Ascii), ["__ .##"]);
    }

    #[test]
    fn a_scale_without_height_is_in_the_middle() {
        assert!((Scale { least: 3.0, greatest: 3.0 }.part(3.0) - 0.5).abs() < f64::EPSILON);
    }
}
