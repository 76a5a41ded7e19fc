//! Nodes and pods.

use super::{age_of, counted, wrong};
use crate::app::geometry::Area;
use crate::app::screens::Pane;
use crate::app::screens::cluster::{NODE_COLUMNS, POD_COLUMNS};
use crate::app::state::State;
use crate::app::store::Topic;
use crate::ui::canvas::{Canvas, Frame, Span};
use crate::ui::theme::{self, Role};
use crate::ui::widgets::table::{Column, Table};

const NODES: [Column; 6] = [
    Column::new(NODE_COLUMNS[0], 10, 40).middle(),
    Column::new(NODE_COLUMNS[1], 9, 28),
    Column::new(NODE_COLUMNS[2], 5, 6),
    Column::new(NODE_COLUMNS[3], 8, 16).goes(3),
    Column::new(NODE_COLUMNS[4], 9, 40).goes(2),
    Column::new(NODE_COLUMNS[5], 4, 6).goes(1),
];

const PODS: [Column; 9] = [
    Column::new(POD_COLUMNS[0], 8, 24).goes(4),
    Column::new(POD_COLUMNS[1], 18, 63).middle(),
    Column::new(POD_COLUMNS[2], 5, 7),
    Column::new(POD_COLUMNS[3], 10, 26),
    Column::new(POD_COLUMNS[4], 8, 9).goes(5),
    Column::new(POD_COLUMNS[5], 7, 24),
    Column::new(POD_COLUMNS[6], 8, 30).middle().goes(2),
    Column::new(POD_COLUMNS[7], 9, 40).goes(6),
    Column::new(POD_COLUMNS[8], 4, 6).goes(3),
];

/// The nodes.
pub(crate) fn nodes(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let list = &state.cluster.nodes;
    let focus = state.cluster.focus == Pane::Nodes;
    let corner = counted(list, state.data.nodes.len());
    let frame = Frame { title: "nodes", corner: &corner, focus, wrong: wrong(state, &Topic::Nodes) };
    let inside = frame.draw(canvas, area);
    let theme = *canvas.theme;
    let row = |index: usize| {
        let Some(node) = list.rows.get(index) else { return Vec::new() };
        let shown = theme::of_node(&node.status);
        let pods = state.cluster.pods_by_node.get(&node.name).copied().unwrap_or(0);
        vec![
            Span::plain(node.name.clone()),
            Span::new(shown.role, format!("{} {}", theme.glyph(shown.glyph), node.status)),
            Span::plain(pods.to_string()),
            Span::new(Role::Dim, node.version.clone()),
            Span::new(Role::Dim, node.address.clone()),
            Span::new(Role::Dim, age_of(state, node.created)),
        ]
    };
    Table {
        columns: &NODES,
        count: list.rows.len(),
        offset: list.offset,
        selected: list.index,
        focus,
        sort: Some(list.sort),
        mark: list.filter.word(),
        row,
    }
    .draw(canvas, inside);
}

/// The pods.
pub(crate) fn pods(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let list = &state.cluster.pods;
    let focus = state.cluster.focus != Pane::Nodes;
    let corner = counted(list, state.data.pods.len());
    let title =
        state.cluster.node.as_ref().map_or_else(|| "pods".to_owned(), |node| format!("pods on {node}"));
    let frame = Frame { title: &title, corner: &corner, focus, wrong: wrong(state, &Topic::Pods) };
    let inside = frame.draw(canvas, area);
    let theme = *canvas.theme;
    let row = |index: usize| {
        let Some(pod) = list.rows.get(index) else { return Vec::new() };
        let shown = theme::of_pod(&pod.status, pod.is_well());
        let faults = state.cluster.faults_of(pod);
        let faults = if faults.is_empty() {
            Span::new(Role::Dim, "-")
        } else {
            let injected = theme::of_target("Injected");
            Span::new(injected.role, format!("{} {}", theme.glyph(injected.glyph), faults.join(", ")))
        };
        let restarts = if pod.restarts > 0 { Role::Warn } else { Role::Dim };
        vec![
            Span::new(Role::Dim, pod.namespace.clone()),
            Span::plain(pod.name.clone()),
            Span::plain(pod.ready_of_all()),
            Span::new(shown.role, format!("{} {}", theme.glyph(shown.glyph), pod.status)),
            Span::new(restarts, pod.restarts.to_string()),
            faults,
            Span::plain(pod.node.clone()),
            Span::new(Role::Dim, pod.address.clone()),
            Span::new(Role::Dim, age_of(state, pod.created)),
        ]
    };
    Table {
        columns: &PODS,
        count: list.rows.len(),
        offset: list.offset,
        selected: list.index,
        focus,
        sort: Some(list.sort),
        mark: list.filter.word(),
        row,
    }
    .draw(canvas, inside);
    if list.rows.is_empty() {
        empty(state, canvas, inside);
    }
}

fn empty(state: &State, canvas: &mut Canvas<'_>, inside: Area) {
    let text = if !state.data.pods.is_empty() {
        "no pod matches; Esc takes the filter away, n chooses another namespace"
    } else if wrong(state, &Topic::Pods).is_some() {
        ""
    } else {
        "there is no pod in this cluster"
    };
    let style = canvas.theme.style(Role::Dim);
    canvas.text(inside.x, inside.y + 2, inside.width, text, style);
}
