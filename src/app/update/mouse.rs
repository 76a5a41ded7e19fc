//! The mouse: a click selects a row and the list that it is in; a click on the selected row opens it.

use super::{Effects, act, edit, lists};
use crate::app::geometry;
use crate::app::list::Motion;
use crate::app::screens::{Pane, Screen, steady_state};
use crate::app::state::State;

/// Rows above the first one of a list: the frame and the line of titles.
const ABOVE: u16 = 2;

fn pane_at(state: &State, x: u16, y: u16) -> Option<(Pane, geometry::Area)> {
    geometry::panes(state).into_iter().find(|(_, area)| area.contains(x, y))
}

/// Gives the keys to the pane at this place.
fn focus(state: &mut State, pane: Pane) {
    match (state.screen, pane) {
        (Screen::Cluster, Pane::Nodes | Pane::Pods) => state.cluster.focus = pane,
        (Screen::Run, Pane::Targets | Pane::Timeline) => state.run.focus = pane,
        _ => {}
    }
}

/// A place was clicked.
pub(super) fn click(state: &mut State, x: u16, y: u16, effects: &mut Effects) {
    if state.popup.is_some() || state.prompt.is_some() {
        return;
    }
    let Some((pane, area)) = pane_at(state, x, y) else { return };
    if pane == Pane::Panels {
        return panel(state, x, y);
    }
    if pane == Pane::Editor {
        return edit::click(state, x, y);
    }
    let had_focus = state.focus() == pane;
    focus(state, pane);
    let Some(row) = (y - area.y).checked_sub(ABOVE).map(usize::from) else { return };
    let visible = geometry::rows(state, pane);
    let Some(list) = lists::of(state, pane) else { return };
    let index = list.offset() + row;
    let before = selected(state, pane);
    if row < visible
        && let Some(list) = lists::of(state, pane)
    {
        list.select(index, visible);
    }
    if had_focus && before == Some(index) && row < visible {
        act::open(state, effects);
    }
}

/// A click on a panel selects it; on the selected one it makes it large.
fn panel(state: &mut State, x: u16, y: u16) {
    let Some(panel) = steady_state::at(state, x, y) else { return };
    state.steady_state.large = panel == state.steady_state.panel;
    (state.steady_state.panel, state.steady_state.line) = (panel, 0);
}

fn selected(state: &State, pane: Pane) -> Option<usize> {
    Some(match pane {
        Pane::Nodes => state.cluster.nodes.index,
        Pane::Pods => state.cluster.pods.index,
        Pane::Experiments => state.experiments.list.index,
        Pane::Templates => state.templates.list.index,
        Pane::Form => state.editor.form.index,
        Pane::Help => state.help.list.index,
        Pane::Settings => state.settings_screen.list.index,
        _ => return None,
    })
}

/// The wheel was turned.
pub(super) fn scroll(state: &mut State, x: u16, y: u16, rows: i16) {
    if state.popup.is_none()
        && let Some((pane, _)) = pane_at(state, x, y)
    {
        focus(state, pane);
    }
    act::go(state, Motion::By(isize::from(rows)));
}
