//! What the application measures of itself, while faults come and go: a grid of panels, and each of them large.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Pane;
use crate::app::geometry::{self, Area};
use crate::app::list::Motion;
use crate::app::measure::history::{KEPT, Span};
use crate::app::state::State;

/// How much time can be shown at once.
pub const LENGTHS: [SignedDuration; 5] = [
    SignedDuration::from_secs(30),
    SignedDuration::from_mins(1),
    SignedDuration::from_mins(2),
    SignedDuration::from_mins(5),
    KEPT,
];

/// The least room of a panel, in columns and rows: its title and three lines.
const LEAST: (u16, u16) = (25, 4);

/// The most panels beside each other: with more, the way from one to the next is hard to see.
const MOST_ACROSS: u16 = 4;

/// What the screen remembers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct SteadyState {
    /// Which panel the keys act on.
    pub panel: usize,
    /// Whether it has the whole screen.
    pub large: bool,
    /// Which of its lines stands out.
    pub line: usize,
    /// Which of [`LENGTHS`] is shown.
    pub length: usize,
    /// How far in the past the shown time ends.
    pub back: SignedDuration,
}

impl Default for SteadyState {
    fn default() -> Self {
        Self { panel: 0, large: false, line: 0, length: 2, back: SignedDuration::ZERO }
    }
}

/// The panels that are visible: the first of them, and where each is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grid {
    /// The number of the first visible panel.
    pub first: usize,
    /// The areas, row by row; the last ones may have no panel.
    pub cells: Vec<Area>,
    /// How many are beside each other.
    pub across: usize,
    /// The line below all of them, for the marks of time.
    pub ruler: Area,
}

/// Where the panels are inside of the frame, so that the selected one is visible.
pub fn grid(inside: Area, panels: usize, selected: usize) -> Grid {
    let (room, ruler) = inside.split_top(inside.height.saturating_sub(1));
    let across = across(room, panels);
    let wide = usize::from(across);
    let rows_of_all = panels.div_ceil(wide).max(1);
    let visible = usize::from(room.height / LEAST.1).clamp(1, rows_of_all);
    // A page at a time: panels keep their places while the selection moves among them.
    let page = selected / wide / visible;
    let mut cells = Vec::new();
    let mut rest = room;
    for row in 0..visible {
        let left = u16::try_from(visible - row).unwrap_or(1);
        let (line, below) = rest.split_top(rest.height / left);
        rest = below;
        let mut columns = line;
        for column in 0..across {
            let (cell, right) = columns.split_left(columns.width / (across - column));
            columns = right;
            // A column between one and the next.
            let gap = u16::from(column + 1 < across);
            cells.push(Area { width: cell.width.saturating_sub(gap), ..cell });
        }
    }
    Grid { first: page * visible * wide, cells, across: wide, ruler }
}

/// How many panels are beside each other: as many as leave the fewest places empty, where all have room.
fn across(room: Area, panels: usize) -> u16 {
    let most = (room.width / LEAST.0).clamp(1, MOST_ACROSS);
    let fits = |across: &u16| panels.div_ceil(usize::from(*across)) <= usize::from(room.height / LEAST.1);
    let empty = |across: &u16| panels.next_multiple_of(usize::from(*across)) - panels;
    (1..=most).rev().filter(fits).min_by_key(empty).unwrap_or(most)
}

/// How many panels the dashboard has.
fn panels(state: &State) -> usize {
    state.measure.dashboard.as_ref().map_or(0, |dashboard| dashboard.panels.len())
}

/// The grid of the screen as it is now.
pub fn shown(state: &State) -> Grid {
    let inside = geometry::pane(state, Pane::Panels).unwrap_or_default().inside();
    grid(inside, panels(state), state.steady_state.panel)
}

/// The time that is shown.
pub fn span(state: &State) -> Span {
    let screen = &state.steady_state;
    let now = state.frozen.unwrap_or(state.now);
    let until = now.saturating_sub(screen.back).unwrap_or(Timestamp::MIN);
    Span::until(until, length(screen))
}

fn length(screen: &SteadyState) -> SignedDuration {
    LENGTHS.get(screen.length).copied().unwrap_or(KEPT)
}

/// Moves among panels, or in a large one among its lines.
pub(in crate::app) fn go(state: &mut State, motion: Motion) {
    if matches!(motion, Motion::HalfPages(_) | Motion::First | Motion::Last) {
        return through_time(state, motion);
    }
    let Motion::By(rows) = motion else { return };
    if state.steady_state.large {
        let lines = state.measure.history.series(state.steady_state.panel).len();
        let line = &mut state.steady_state.line;
        *line = line.saturating_add_signed(rows).min(lines.saturating_sub(1));
    } else {
        let across = isize::try_from(shown(state).across).unwrap_or(1);
        step(state, rows.saturating_mul(across));
    }
}

/// Moves to the panel beside, or in a large one through time.
pub(in crate::app) fn sideways(state: &mut State, by: isize) {
    if state.steady_state.large {
        let tenth = i64::try_from(by).unwrap_or_default();
        scroll(state, length(&state.steady_state).as_secs() / 10 * -tenth);
    } else {
        step(state, by);
    }
}

fn step(state: &mut State, by: isize) {
    let count = panels(state);
    let screen = &mut state.steady_state;
    if let Some(panel) = screen.panel.checked_add_signed(by).filter(|panel| *panel < count) {
        screen.panel = panel;
        screen.line = 0;
    }
}

fn through_time(state: &mut State, motion: Motion) {
    let half = length(&state.steady_state).as_secs() / 2;
    match motion {
        Motion::HalfPages(halves) => scroll(state, -half * i64::try_from(halves).unwrap_or_default()),
        Motion::First => scroll(state, KEPT.as_secs()),
        Motion::By(_) | Motion::Last => state.steady_state.back = SignedDuration::ZERO,
    }
}

/// Goes so many seconds further into the past, as far as something was measured.
fn scroll(state: &mut State, seconds: i64) {
    let oldest =
        state.measure.history.first().map_or(SignedDuration::ZERO, |first| {
            state.now.duration_since(first) - length(&state.steady_state)
        });
    let back = state.steady_state.back.saturating_add(SignedDuration::from_secs(seconds));
    state.steady_state.back = back.min(oldest).max(SignedDuration::ZERO);
}

/// Shows more of the time, or less.
pub(in crate::app) fn zoom(state: &mut State, longer: bool) {
    let screen = &mut state.steady_state;
    let last = LENGTHS.len() - 1;
    screen.length = if longer { (screen.length + 1).min(last) } else { screen.length.saturating_sub(1) };
    scroll(state, 0);
}

/// The panel at this place, if there is one.
pub(in crate::app) fn at(state: &State, x: u16, y: u16) -> Option<usize> {
    if state.steady_state.large {
        return None;
    }
    let grid = shown(state);
    let cell = grid.cells.iter().position(|cell| cell.contains(x, y))?;
    Some(grid.first + cell).filter(|panel| *panel < panels(state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_panel_is_always_visible() {
        for (width, height) in [(58, 11), (78, 19), (118, 35), (20, 3), (0, 0), (250, 80)] {
            let inside = Area { x: 1, y: 2, width, height };
            for selected in 0..9 {
                let grid = grid(inside, 9, selected);
                let shown = grid.first..grid.first + grid.cells.len();
                assert!(shown.contains(&selected), "{selected} at {width}x{height}: {grid:?}");
                for cell in &grid.cells {
                    assert!(
                        cell.x + cell.width <= inside.x + width && cell.y + cell.height <= inside.y + height
                    );
                }
            }
        }
        assert_eq!(grid(Area { x: 0, y: 0, width: 78, height: 19 }, 9, 0).cells.len(), 9);
    }
}
