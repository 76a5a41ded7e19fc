//! Where things are on the screen. Pure numbers: the view draws by them, the update scrolls and resolves clicks by
//! them, so that the two cannot disagree.
//!
//! ```text
//! header   where we are                              context · namespace · ARMED
//! banner   only while faults run, or something is wrong for all screens
//! body     the screen
//! footer   keys, or the line that is being typed
//! ```

use super::editor::Mode;
use super::screens::{Pane, Screen};
use super::state::State;

/// The narrowest screen that anything but a hint is drawn on, in columns.
pub const MIN_WIDTH: u16 = 60;
/// The lowest, in rows.
pub const MIN_HEIGHT: u16 = 16;

/// The most lines in which a selected row is written out.
const MOST_READING: u16 = 4;

/// A part of the screen, in cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Area {
    /// First column.
    pub x: u16,
    /// First row.
    pub y: u16,
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

impl Area {
    /// Whether the cell is in it.
    pub const fn contains(self, x: u16, y: u16) -> bool {
        x >= self.x && x - self.x < self.width && y >= self.y && y - self.y < self.height
    }

    /// How many rows a list in it shows: all but the frame and the line of titles.
    pub fn list_rows(self) -> usize {
        usize::from(self.height.saturating_sub(3))
    }

    /// What is inside its frame.
    #[must_use]
    pub const fn inside(self) -> Self {
        if self.width < 2 || self.height < 2 {
            return Self { width: 0, height: 0, ..self };
        }
        Self { x: self.x + 1, y: self.y + 1, width: self.width - 2, height: self.height - 2 }
    }

    /// The inside of the frame of a list whose rows say more than fits into a line: the list, and below it the lines
    /// in which the selected row is written out; none where it is too low.
    pub fn with_reading(self) -> (Self, Self) {
        let inside = self.inside();
        let lines = if inside.height < 5 { 0 } else { (inside.height * 2).div_ceil(5).min(MOST_READING) };
        inside.split_top(inside.height - lines)
    }

    /// How many lines a text in it shows: all but the frame.
    pub fn text_rows(self) -> usize {
        usize::from(self.height.saturating_sub(2))
    }

    /// Its first `rows` rows, and the rest.
    pub fn split_top(self, rows: u16) -> (Self, Self) {
        let rows = rows.min(self.height);
        let top = Self { height: rows, ..self };
        (top, Self { y: self.y + rows, height: self.height - rows, ..self })
    }

    /// Its first `columns` columns, and the rest.
    pub fn split_left(self, columns: u16) -> (Self, Self) {
        let columns = columns.min(self.width);
        let left = Self { width: columns, ..self };
        (left, Self { x: self.x + columns, width: self.width - columns, ..self })
    }
}

/// The parts of every screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chrome {
    /// The first line.
    pub header: Area,
    /// The lines below it that warn, if there are any.
    pub banner: Area,
    /// The screen itself.
    pub body: Area,
    /// The last line.
    pub footer: Area,
}

/// Whether the terminal is too small for anything but a hint.
pub const fn is_too_small(width: u16, height: u16) -> bool {
    width < MIN_WIDTH || height < MIN_HEIGHT
}

/// The parts of every screen.
pub fn chrome(state: &State) -> Chrome {
    let whole = Area { x: 0, y: 0, width: state.width, height: state.height };
    let (header, rest) = whole.split_top(1);
    let (banner, rest) = rest.split_top(state.banner_lines());
    let (body, footer) = rest.split_top(rest.height.saturating_sub(1));
    Chrome { header, banner, body, footer }
}

/// The panes of the screen that is shown, in the order of the tabulator; those that have no room are left out.
pub fn panes(state: &State) -> Vec<(Pane, Area)> {
    let body = chrome(state).body;
    match state.screen {
        Screen::Cluster => cluster(state, body),
        Screen::Experiments => beside(body, Pane::Experiments),
        Screen::Templates => beside(body, Pane::Templates),
        Screen::SteadyState => vec![(Pane::Panels, body)],
        Screen::Editor => editor(state, body),
        Screen::Run => run(state, body),
        Screen::Pager => vec![(Pane::Text, body)],
        Screen::Help => vec![(Pane::Help, body)],
        Screen::Settings => vec![(Pane::Settings, body)],
        Screen::Errors => vec![(Pane::Errors, body)],
    }
}

/// Where this pane is, if it has room.
pub fn pane(state: &State, which: Pane) -> Option<Area> {
    panes(state).into_iter().find(|(pane, _)| *pane == which).map(|(_, area)| area)
}

/// How many rows of its list this pane shows.
pub fn rows(state: &State, which: Pane) -> usize {
    pane(state, which).map_or(1, |area| match which {
        Pane::Text | Pane::Timeline | Pane::Details => area.text_rows(),
        Pane::Targets | Pane::Errors => usize::from(area.with_reading().0.height.saturating_sub(1)),
        _ => area.list_rows(),
    })
}

fn cluster(state: &State, body: Area) -> Vec<(Pane, Area)> {
    if body.width >= 140 {
        let (left, pods) = body.split_left(48);
        let height = u16::try_from(state.data.nodes.len()).unwrap_or(u16::MAX).saturating_add(3);
        let (nodes, details) = left.split_top(height.clamp(5, (body.height / 2).max(5)));
        let panes = [(Pane::Nodes, nodes), (Pane::Pods, pods), (Pane::Details, details)];
        return panes.into_iter().filter(|(_, area)| area.height > 0).collect();
    }
    // Room for the nodes there are, but never more than a third of the screen, and not at all where it is low.
    let wanted = u16::try_from(state.data.nodes.len()).unwrap_or(u16::MAX).saturating_add(3);
    let height = wanted.clamp(4, (body.height / 3).max(4));
    if body.height < 14 {
        return vec![(state.cluster.focus, body)];
    }
    let (nodes, pods) = body.split_top(height);
    if body.width >= 100 && pods.height >= 2 * POD_DETAILS {
        let (pods, details) = pods.split_top(pods.height - POD_DETAILS);
        return vec![(Pane::Nodes, nodes), (Pane::Pods, pods), (Pane::Details, details)];
    }
    vec![(Pane::Nodes, nodes), (Pane::Pods, pods)]
}

/// How many lines the details of the selected pod or node have below the lists, with their frame.
const POD_DETAILS: u16 = 9;

/// A list, and beside or below it the details of what is selected.
fn beside(body: Area, list: Pane) -> Vec<(Pane, Area)> {
    if body.width >= 100 {
        let (list_area, details) = body.split_left(body.width / 20 * 11);
        vec![(list, list_area), (Pane::Details, details)]
    } else if body.height >= 16 {
        let (list_area, details) = body.split_top(body.height / 2);
        vec![(list, list_area), (Pane::Details, details)]
    } else {
        vec![(list, body)]
    }
}

/// The text or the form, and beside or below it what is wrong with it and whom it would hit.
fn editor(state: &State, body: Area) -> Vec<(Pane, Area)> {
    let main = if state.editor.mode == Mode::Form { Pane::Form } else { Pane::Editor };
    let (main_area, details) = if body.width >= 100 {
        body.split_left(body.width / 20 * 11)
    } else {
        body.split_top(body.height - (body.height * 2 / 5).min(EDITOR_DETAILS))
    };
    vec![(main, main_area), (Pane::Details, details)]
}

/// How many lines the details of the editor have below it at most, with their frame.
const EDITOR_DETAILS: u16 = 12;

/// Where the lines of the text stand that is edited: inside its frame, above the line that says what is wrong at the
/// cursor, right of the numbers.
pub fn editor_text(state: &State) -> Area {
    let inside = pane(state, Pane::Editor).unwrap_or_default().inside();
    let (text, _) = inside.split_top(inside.height.saturating_sub(1));
    text.split_left(state.editor.gutter()).1
}

/// How many lines the head of the run screen takes, with its frame: how it stands, what it does, to whom, and what is
/// wrong with it. A line that is wrapped takes more.
fn run_head(state: &State, width: u16) -> u16 {
    let room = usize::from(width.saturating_sub(4)).max(1);
    let rows: usize = state.run.remarks().iter().map(|remark| remark.chars().count().div_ceil(room)).sum();
    u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(5)
}

fn run(state: &State, body: Area) -> Vec<(Pane, Area)> {
    let (head, rest) = body.split_top(run_head(state, body.width).min(body.height / 2));
    if body.width >= 140 {
        let (targets, timeline) = rest.split_left(rest.width / 5 * 3);
        vec![(Pane::Summary, head), (Pane::Targets, targets), (Pane::Timeline, timeline)]
    } else if rest.height >= 14 {
        let (targets, timeline) = rest.split_top(rest.height / 5 * 3);
        vec![(Pane::Summary, head), (Pane::Targets, targets), (Pane::Timeline, timeline)]
    } else {
        vec![(Pane::Summary, head), (state.run.focus, rest)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_panes_of_every_screen_cover_the_body_once() {
        for (width, height) in [(60, 16), (60, 20), (80, 24), (100, 30), (120, 40), (140, 50), (300, 100)] {
            for screen in Screen::ALL {
                let state = State { width, height, screen, ..State::default() };
                let body = chrome(&state).body;
                let panes = panes(&state);
                for y in body.y..body.y + body.height {
                    for x in body.x..body.x + body.width {
                        let covering = panes.iter().filter(|(_, area)| area.contains(x, y)).count();
                        assert_eq!(covering, 1, "{screen:?} {width}x{height} at {x},{y}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_size_is_too_odd() {
        for (width, height) in [(0, 0), (1, 1), (3, 1), (20, 5), (u16::MAX, u16::MAX)] {
            for screen in Screen::ALL {
                let state = State { width, height, screen, ..State::default() };
                let total: u32 = panes(&state).iter().map(|(_, area)| u32::from(area.height)).sum();
                assert!(total <= u32::from(height) * 3, "{screen:?} {width}x{height}");
            }
        }
    }
}
