//! All experiments, and beside them the selected one in short.

use super::{age_of, asking, counted, read_out, spec, target_line, why_empty, wrong};
use crate::app::geometry::Area;
use crate::app::list::Row as _;
use crate::app::screens::experiments::COLUMNS;
use crate::app::state::State;
use crate::app::store::Topic;
use crate::report::{Overview, age};
use crate::ui::canvas::{Canvas, Frame, Span};
use crate::ui::theme::{self, Glyph, Role};
use crate::ui::widgets::table::{Column, Table};

const SHOWN: [Column; 8] = [
    Column::new(COLUMNS[0], 8, 24).goes(1),
    Column::new(COLUMNS[1], 10, 14).goes(2),
    Column::new(COLUMNS[2], 13, 50).middle(),
    Column::new(COLUMNS[3], 10, 13),
    Column::new(COLUMNS[4], 7, 9),
    Column::new(COLUMNS[5], 9, 14),
    Column::new(COLUMNS[6], 7, 14).goes(4),
    Column::new(COLUMNS[7], 3, 6).goes(3),
];

/// What is wrong with the first kind of experiments that is not live.
fn what_is_wrong(state: &State) -> Option<(Role, String)> {
    let topics = state.data.links.iter().map(|(topic, _)| topic);
    let mut of_experiments = topics
        .filter(|topic| matches!(topic, Topic::Experiments(_)))
        .map(|topic| wrong(state, topic))
        .peekable();
    if of_experiments.peek().is_none() {
        return Some(asking());
    }
    of_experiments.find_map(|wrong| wrong)
}

/// Injected of all: `2/3`.
pub(super) fn targets(overview: &Overview) -> String {
    match overview.targets.filter(|targets| targets.selected > 0) {
        Some(targets) => format!("{}/{}", targets.injected, targets.selected),
        None => "-".to_owned(),
    }
}

/// What is left of its time.
pub(super) fn remaining(overview: &Overview) -> String {
    match (overview.remaining_seconds, &overview.duration) {
        (Some(seconds), _) => age::human(i64::try_from(seconds).unwrap_or(i64::MAX)),
        _ if overview.phase == "Invalid" => "-".to_owned(),
        (None, Some(duration)) if overview.ended.is_none() => format!("-/{duration}"),
        (None, None) if overview.ended.is_none() => "until stopped".to_owned(),
        (None, _) => "-".to_owned(),
    }
}

/// All of them.
pub(crate) fn list(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let list = &state.experiments.list;
    let corner = counted(list, state.data.all_experiments().count());
    let frame = Frame { title: "experiments", corner: &corner, focus: true, foot: what_is_wrong(state) };
    let inside = frame.draw(canvas, area);
    let theme = *canvas.theme;
    let mut columns = SHOWN;
    let [namespace, ..] = &mut columns;
    namespace.hide_if(state.namespace.is_some());
    let row = |index: usize| {
        let Some(row) = list.rows.get(index) else { return Vec::new() };
        let overview = &row.overview;
        let shown = theme::of_experiment(&overview.phase);
        let created = row.object.0.metadata.creation_timestamp.as_ref().map(|created| created.0);
        vec![
            Span::new(Role::Dim, overview.namespace.clone()),
            Span::new(Role::Dim, overview.kind.clone()),
            Span::plain(overview.name.clone()),
            Span::new(shown.role, format!("{} {}", theme.glyph(shown.glyph), overview.phase)),
            Span::plain(targets(overview)),
            Span::plain(remaining(overview)),
            Span::new(Role::Dim, "-"),
            Span::new(Role::Dim, age_of(state, created)),
        ]
    };
    Table {
        columns: &columns,
        count: list.rows.len(),
        offset: list.offset,
        selected: list.index,
        focus: true,
        sort: Some(list.sort),
        mark: list.filter.word(),
        row,
    }
    .draw(canvas, inside);
    if list.rows.is_empty() && frame.foot.is_none() {
        let text = if list.filter.is_empty() && state.namespace.is_none() {
            "no experiment yet: 3 shows templates, :apply FILE launches a file of yours"
        } else {
            "no experiment matches; Esc takes the filter away, n chooses another namespace"
        };
        why_empty(canvas, inside, text);
    }
}

/// The selected one in short: what it does, how it stands, what is to be done.
pub(crate) fn details(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let Some(row) = state.experiments.list.current() else {
        Frame { title: "nothing is selected", ..Frame::default() }.draw(canvas, area);
        return;
    };
    let inside = Frame { title: &row.overview.name, ..Frame::default() }.draw(canvas, area);
    let mut rows = said(&row.overview, &row.object.0, canvas);
    let parts = state.data.parts(row.object.id()).filter_map(|part| part.status.as_ref());
    let mut targets: Vec<_> = parts.flat_map(|status| &status.targets).collect();
    // What went wrong first.
    targets.sort_by_key(|target| target.error.is_none());
    for target in targets {
        let pod = format!("{}/{}", target.target.namespace, target.target.pod);
        rows.push(target_line(target, &pod, canvas));
    }
    read_out(canvas, inside, &rows);
}

/// What can be said of an experiment from its object alone.
fn said(overview: &Overview, object: &kube::api::DynamicObject, canvas: &Canvas<'_>) -> Vec<(Role, String)> {
    let shown = theme::of_experiment(&overview.phase);
    let glyph = canvas.theme.glyph(shown.glyph);
    let mut rows = Vec::new();
    let mut say = |role: Role, text: &str| rows.push((role, text.to_owned()));
    say(Role::Text, &format!("{} {}", overview.kind, spec::what(object)));
    say(Role::Dim, &format!("on {}", spec::whom(object)));
    let ended = overview.ended.as_deref().map(|ended| format!(": {ended}")).unwrap_or_default();
    say(shown.role, &format!("{glyph} {}{ended}", overview.phase));
    if let Some(targets) = overview.targets {
        let failed = if targets.failed > 0 { format!(", {} failed", targets.failed) } else { String::new() };
        let line = format!(
            "targets: {} selected, {} injected, {} recovered{failed}",
            targets.selected, targets.injected, targets.recovered
        );
        say(if targets.failed > 0 { Role::Danger } else { Role::Text }, &line);
    }
    if overview.phase != "Invalid" {
        say(Role::Text, &format!("remaining: {}", remaining(overview)));
    }
    for condition in crate::report::conditions(object) {
        if let Some(message) = condition.message.as_deref().filter(|message| !message.is_empty()) {
            let glyph = canvas.theme.glyph(Glyph::Warning);
            say(Role::Warn, &format!("{glyph} {:?}: {message}", condition.kind));
        }
    }
    rows
}
