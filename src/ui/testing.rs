//! For tests: a drawn screen as text, and where it looks like what. Not a part of the program.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::theme::Theme;
use crate::app::state::State;

/// The screen as it is drawn on a terminal of the state's size.
pub fn drawn(state: &State) -> Buffer {
    let theme = Theme::new(state.look.theme, state.look.depth, state.look.charset);
    let backend = TestBackend::new(state.width, state.height);
    let Ok(mut terminal) = Terminal::new(backend);
    let Ok(_) = terminal.draw(|frame| super::draw(state, &theme, frame));
    terminal.backend().buffer().clone()
}

/// Its text, line by line, without blanks at the ends.
pub fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let line: String =
            (0..buffer.area.width).filter_map(|x| buffer.cell((x, y))).map(Cell::symbol).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Where it looks like what: for each line the ranges of columns that do not look like the ground.
///
/// `3: 0-7 #61afef bold` is line 3, columns 0 to 7, blue and bold.
pub fn styles(buffer: &Buffer) -> String {
    let mut all = String::new();
    let ground = buffer.cell((0, buffer.area.height.saturating_sub(1))).map(look);
    for y in 0..buffer.area.height {
        let mut runs: Vec<(u16, u16, String)> = Vec::new();
        for x in 0..buffer.area.width {
            let Some(look) = buffer.cell((x, y)).map(look) else { continue };
            match runs.last_mut() {
                Some((_, end, same)) if *same == look => *end = x,
                _ => runs.push((x, x, look)),
            }
        }
        let shown: Vec<_> = runs
            .into_iter()
            .filter(|(.., look)| Some(look) != ground.as_ref())
            .map(|(from, to, look)| format!("{from}-{to} {look}"))
            .collect();
        if !shown.is_empty() {
            all.extend([y.to_string(), ": ".to_owned(), shown.join(", "), "\n".to_owned()]);
        }
    }
    all
}

fn look(cell: &Cell) -> String {
    let color = |color: Color| match color {
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
        other => format!("{other:?}").to_lowercase(),
    };
    let modifiers = [
        (Modifier::BOLD, "bold"),
        (Modifier::DIM, "dim"),
        (Modifier::ITALIC, "italic"),
        (Modifier::UNDERLINED, "underlined"),
        (Modifier::REVERSED, "reversed"),
    ];
    let mut words = vec![format!("{}/{}", color(cell.fg), color(cell.bg))];
    words.extend(
        modifiers
            .iter()
            .filter(|(flag, _)| cell.modifier.contains(*flag))
            .map(|(_, word)| (*word).to_owned()),
    );
    words.join("+")
}
