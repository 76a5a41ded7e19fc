//! Nodes and pods.

use std::collections::BTreeMap;

use super::{age_of, beside, counted, read_out, target_line, why_empty, wrong};
use crate::app::geometry::{self, Area};
use crate::app::screens::Pane;
use crate::app::screens::cluster::{NODE_COLUMNS, POD_COLUMNS};
use crate::app::state::State;
use crate::app::store::{NodeRow, PodRow, Topic};
use crate::ui::canvas::{Canvas, Frame, Span};
use crate::ui::theme::{self, Role};
use crate::ui::widgets::table::{Column, Table};

const NODES: [Column; 6] = [
    Column::new(NODE_COLUMNS[0], 10, 40).middle(),
    Column::new(NODE_COLUMNS[1], 10, 28),
    Column::new(NODE_COLUMNS[2], 4, 6),
    Column::new(NODE_COLUMNS[3], 7, 16).goes(3),
    Column::new(NODE_COLUMNS[4], 9, 40).goes(2),
    Column::new(NODE_COLUMNS[5], 3, 6).goes(1),
];

const PODS: [Column; 9] = [
    Column::new(POD_COLUMNS[0], 10, 24).goes(1),
    Column::new(POD_COLUMNS[1], 20, 63).middle(),
    Column::new(POD_COLUMNS[2], 5, 7),
    Column::new(POD_COLUMNS[3], 9, 26),
    Column::new(POD_COLUMNS[4], 3, 6).goes(4),
    Column::new(POD_COLUMNS[5], 12, 40),
    Column::new(POD_COLUMNS[6], 8, 30).middle().goes(2),
    Column::new(POD_COLUMNS[7], 9, 40).goes(5),
    Column::new(POD_COLUMNS[8], 3, 6).goes(3),
];

/// The nodes.
pub(crate) fn nodes(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let list = &state.cluster.nodes;
    let focus = state.cluster.focus == Pane::Nodes;
    let corner = counted(list, state.data.nodes.len());
    let title = beside(state, "nodes", Pane::Pods, "pods");
    let frame = Frame { title: &title, corner: &corner, focus, foot: wrong(state, &Topic::Nodes) };
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
    let title = beside(state, &title, Pane::Nodes, "nodes");
    // Names that are cut in the list are whole here, unless the details say them.
    let has_details = geometry::pane(state, Pane::Details).is_some();
    let selected = || list.current().map(|pod| (Role::Dim, format!("{}/{}", pod.namespace, pod.name)));
    let foot = wrong(state, &Topic::Pods).or_else(|| if has_details { None } else { selected() });
    let frame = Frame { title: &title, corner: &corner, focus, foot };
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
    // What all rows have in common is in the header.
    let mut columns = PODS;
    let [namespace, .., on_node, _, _] = &mut columns;
    namespace.hide_if(state.namespace.is_some());
    on_node.hide_if(state.cluster.node.is_some());
    Table {
        columns: &columns,
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
    why_empty(canvas, inside, text);
}

/// More about the selected pod or node, where there is room.
pub(crate) fn details(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let (title, rows) = if state.cluster.focus == Pane::Nodes {
        let node = state.cluster.nodes.current();
        node.map(|node| (node.name.clone(), about_node(node)))
    } else {
        let pod = state.cluster.pods.current();
        pod.map(|pod| (format!("{}/{}", pod.namespace, pod.name), about_pod(state, pod, canvas)))
    }
    .unwrap_or_else(|| ("nothing is selected".to_owned(), Vec::new()));
    let inside = Frame { title: &title, ..Frame::default() }.draw(canvas, area);
    read_out(canvas, inside, &rows);
}

/// `name     value`, or nothing where there is no value.
fn fact(name: &str, value: &str) -> Option<(Role, String)> {
    (!value.is_empty()).then(|| (Role::Text, format!("{name:11}{value}")))
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

fn about_node(node: &NodeRow) -> Vec<(Role, String)> {
    let facts = [
        fact("status", &node.status),
        fact("address", &node.address),
        fact("kubelet", &node.version),
        fact("labels", &labels(&node.labels)),
    ];
    facts.into_iter().flatten().collect()
}

/// What the list leaves out: the faults first, each with what was read back from this pod.
fn about_pod(state: &State, pod: &PodRow, canvas: &Canvas<'_>) -> Vec<(Role, String)> {
    let mut rows = Vec::new();
    for part in state.data.injections.iter() {
        let targets = part.0.status.iter().flat_map(|status| &status.targets);
        for target in targets.filter(|target| target.target.uid == pod.uid) {
            rows.push(target_line(target, &part.0.spec.experiment.name, canvas));
        }
    }
    let status = format!("{}, {} ready, {} restarts", pod.status, pod.ready_of_all(), pod.restarts);
    let facts = [
        fact("status", &status),
        fact("node", &pod.node),
        fact("address", &pod.address),
        fact("containers", &pod.containers.join(" ")),
        fact("labels", &labels(&pod.labels)),
    ];
    rows.extend(facts.into_iter().flatten());
    rows
}
