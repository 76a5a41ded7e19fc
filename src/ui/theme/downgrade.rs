//! From a colour of 24 bits to what the terminal has: the one place where that is decided.

use ratatui::style::Color;

use super::palette::Rgb;
use crate::app::look::Depth;

/// The colours of ECMA-48, about as most terminals show them, with ratatui's names.
const ANSI: [(Rgb, Color); 16] = [
    (Rgb(0, 0, 0), Color::Black),
    (Rgb(205, 49, 49), Color::Red),
    (Rgb(13, 188, 121), Color::Green),
    (Rgb(229, 229, 16), Color::Yellow),
    (Rgb(36, 114, 200), Color::Blue),
    (Rgb(188, 63, 188), Color::Magenta),
    (Rgb(17, 168, 205), Color::Cyan),
    (Rgb(204, 204, 204), Color::Gray),
    (Rgb(118, 118, 118), Color::DarkGray),
    (Rgb(241, 76, 76), Color::LightRed),
    (Rgb(35, 209, 139), Color::LightGreen),
    (Rgb(245, 245, 67), Color::LightYellow),
    (Rgb(59, 142, 234), Color::LightBlue),
    (Rgb(214, 112, 214), Color::LightMagenta),
    (Rgb(41, 184, 219), Color::LightCyan),
    (Rgb(255, 255, 255), Color::White),
];

/// The steps of the cube of xterm's palette.
const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];

/// The nearest colour that a terminal of this depth has.
pub(super) fn color(rgb: Rgb, depth: Depth) -> Color {
    match depth {
        Depth::None => Color::Reset,
        Depth::Ansi16 => ANSI
            .iter()
            .min_by_key(|(other, _)| distance(rgb, *other))
            .map_or(Color::Reset, |(_, color)| *color),
        Depth::Indexed256 => Color::Indexed(indexed(rgb)),
        Depth::Truecolor => Color::Rgb(rgb.0, rgb.1, rgb.2),
    }
}

/// Squared distance, weighted by how well the eye tells the parts apart.
fn distance(one: Rgb, other: Rgb) -> u32 {
    let square = |one: u8, other: u8| u32::from(one.abs_diff(other)).pow(2);
    3 * square(one.0, other.0) + 4 * square(one.1, other.1) + 2 * square(one.2, other.2)
}

/// The nearest of the cube (16 to 231) and of the greys (232 to 255).
fn indexed(rgb: Rgb) -> u8 {
    let step = |part: u8| {
        let nearest = STEPS.iter().enumerate().min_by_key(|(_, step)| step.abs_diff(part));
        nearest.map_or((0, 0), |(index, step)| (u8::try_from(index).unwrap_or(0), *step))
    };
    let ((red, r), (green, g), (blue, b)) = (step(rgb.0), step(rgb.1), step(rgb.2));
    let cube = (16 + 36 * red + 6 * green + blue, Rgb(r, g, b));
    let greys = (0..24_u8).map(|number| {
        let part = 8 + 10 * number;
        (232 + number, Rgb(part, part, part))
    });
    greys.chain([cube]).min_by_key(|(_, other)| distance(rgb, *other)).map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_that_there_is() {
        assert_eq!(color(Rgb(255, 0, 0), Depth::Indexed256), Color::Indexed(196));
        assert_eq!(color(Rgb(8, 8, 8), Depth::Indexed256), Color::Indexed(232));
        assert_eq!(color(Rgb(250, 250, 250), Depth::Ansi16), Color::White);
        assert_eq!(color(Rgb(1, 2, 3), Depth::Truecolor), Color::Rgb(1, 2, 3));
        assert_eq!(color(Rgb(1, 2, 3), Depth::None), Color::Reset);
    }
}
