//! One experiment in depth.
//!
//! ```text
//! ╭ NetworkChaos default/network-delay ─────────────────────────────────────╮
//! │ ✦ Injected   targets 3/3   47s left of 1m  █████████████░░░░            │
//! │ delay latency=150ms jitter=10ms                                          │
//! ╰──────────────────────────────────────────────────────────────────────────╯
//! ╭ targets ──╮ ╭ timeline ──╮
//! ```

use super::counted;
use super::experiments::{remaining, targets as target_counts};
use crate::api::GoDuration;
use crate::app::geometry::Area;
use crate::app::screens::Pane;
use crate::app::screens::run::COLUMNS;
use crate::app::state::State;
use crate::report::{Overview, age};
use crate::ui::canvas::{Canvas, Frame, Span};
use crate::ui::text;
use crate::ui::theme::{self, Glyph, Role};
use crate::ui::widgets::table::{Column, Table};

const SHOWN: [Column; 5] = [
    Column::new(COLUMNS[0], 22, 64).middle(),
    Column::new(COLUMNS[1], 8, 30).middle().goes(1),
    Column::new(COLUMNS[2], 11, 12),
    Column::new(COLUMNS[3], 5, 6).goes(2),
    Column::new(COLUMNS[4], 20, 300).goes(3),
];

/// How it stands.
pub(crate) fn summary(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let Some(detail) = &state.run.detail else {
        Frame { title: "no experiment is open", ..Frame::default() }.draw(canvas, area);
        return;
    };
    let overview = &detail.overview;
    let title = format!("{} {}/{}", overview.kind, overview.namespace, overview.name);
    let wrong = super::wrong(state, &crate::app::store::Topic::Injections);
    let inside = Frame { title: &title, corner: "", focus: false, wrong }.draw(canvas, area);
    if inside.height == 0 {
        return;
    }
    first_line(state, overview, canvas, inside);
    let mut rows = vec![(Role::Text, magnitude(state))];
    rows.extend(detail.to_do.iter().map(|line| (Role::Warn, format!("to do: {line}"))));
    let problems = detail.conditions.iter().filter_map(|condition| {
        let message = condition.message.as_deref().filter(|message| !message.is_empty())?;
        Some((Role::Warn, format!("{:?}: {message}", condition.kind)))
    });
    rows.extend(problems);
    let wrapped = rows.iter().flat_map(|(role, line)| {
        text::wrap(line, inside.width.saturating_sub(1)).into_iter().map(|row| (*role, row))
    });
    for ((role, row), y) in wrapped.zip(inside.y + 1..inside.y + inside.height) {
        let style = canvas.theme.style(role);
        canvas.text(inside.x + 1, y, inside.width.saturating_sub(1), &row, style);
    }
}

fn first_line(state: &State, overview: &Overview, canvas: &mut Canvas<'_>, inside: Area) {
    let shown = theme::of_experiment(&overview.phase);
    let mut spans = vec![canvas.state(shown, &overview.phase)];
    if state.run.gone {
        spans = vec![Span::new(
            Role::Ok,
            format!("{} gone: stopped and deleted", canvas.theme.glyph(Glyph::Over)),
        )];
    }
    if let Some(ended) = &overview.ended {
        spans.push(Span::plain(format!(" ({ended})")));
    }
    spans.push(Span::plain(format!("   targets {}", target_counts(overview))));
    if let Some(targets) = overview.targets {
        if targets.recovered > 0 {
            spans.push(Span::new(Role::Ok, format!(", {} recovered", targets.recovered)));
        }
        if targets.failed > 0 {
            spans.push(Span::new(Role::Danger, format!(", {} failed", targets.failed)));
        }
    }
    if overview.ended.is_none() {
        let of = overview.duration.as_deref().map(|duration| format!(" of {duration}")).unwrap_or_default();
        let left = if overview.remaining_seconds.is_some() { " left" } else { "" };
        spans.push(Span::plain(format!("   {}{left}{of}", remaining(overview))));
    }
    let used = canvas.spans(inside.x + 1, inside.y, inside.width.saturating_sub(1), &spans, Role::Text);
    bar(
        overview,
        canvas,
        Area { x: inside.x + used + 3, width: inside.width.saturating_sub(used + 4), height: 1, ..inside },
    );
}

/// How much of its time is left, where that is known and there is room.
fn bar(overview: &Overview, canvas: &mut Canvas<'_>, area: Area) {
    let total = overview.duration.as_deref().and_then(|text| text.parse::<GoDuration>().ok()?.to_std());
    let (Some(left), Some(total)) = (overview.remaining_seconds, total) else { return };
    if area.width < 8 || total.as_secs() == 0 {
        return;
    }
    let cells = u64::from(area.width.min(40));
    let full = (left.min(total.as_secs()) * cells / total.as_secs()).min(cells);
    let cell =
        |count: u64, glyph: Glyph| canvas.theme.glyph(glyph).repeat(usize::try_from(count).unwrap_or(0));
    let (full, empty) = (cell(full, Glyph::Full), cell(cells - full, Glyph::Empty));
    canvas.spans(
        area.x,
        area.y,
        area.width,
        &[Span::new(Role::Injected, full), Span::new(Role::Dim, empty)],
        Role::Text,
    );
}

/// The action and its parameters, in one line: `delay latency=150ms jitter=10ms`.
fn magnitude(state: &State) -> String {
    let Some(experiment) = &state.run.experiment else { return String::new() };
    let spec = experiment.0.data.get("spec");
    let action = spec.and_then(|spec| spec.get("action")?.as_str()).unwrap_or_default();
    let blocks = ["delay", "loss", "duplicate", "corrupt", "rate", "bandwidth"];
    let mut line = action.to_owned();
    for block in blocks.iter().filter_map(|block| spec?.get(block)?.as_object()) {
        for (name, value) in block {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if !value.starts_with(['{', '[']) {
                line = format!("{line} {name}={value}");
            }
        }
    }
    if let Some(direction) = spec.and_then(|spec| spec.get("direction")?.as_str()) {
        line = format!("{line} direction={direction}");
    }
    line
}

/// Its targets, with what was read back from each, or what is wrong with it.
pub(crate) fn targets(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let list = &state.run.targets;
    let all = state
        .run
        .detail
        .as_ref()
        .map_or(0, |detail| detail.nodes.iter().map(|node| node.targets.len()).sum());
    let corner = counted(list, all);
    let focus = state.run.focus != Pane::Timeline;
    // What does not fit into a row is written out below the list.
    let inside = Frame { title: "targets", corner: &corner, focus, wrong: None }.draw(canvas, area);
    let (rows_area, below) =
        if inside.height >= 8 { inside.split_top(inside.height - 3) } else { (inside, Area::default()) };
    let theme = *canvas.theme;
    let row = |index: usize| {
        let Some(target) = list.rows.get(index) else { return Vec::new() };
        let shown = theme::of_target(&target.phase);
        let (role, said) = match (&target.error, &target.evidence) {
            (Some(error), _) => (Role::Danger, error.clone()),
            (None, Some(evidence)) => (Role::Text, evidence.clone()),
            (None, None) => (Role::Dim, "-".to_owned()),
        };
        let peer = if target.is_peer { " (peer)" } else { "" };
        let since =
            target.since.as_deref().map_or_else(|| "-".to_owned(), |since| age::of(Some(since), state.now));
        vec![
            Span::plain(format!("{}{peer}", target.name)),
            Span::new(Role::Dim, target.node.clone()),
            Span::new(shown.role, format!("{} {}", theme.glyph(shown.glyph), target.phase)),
            Span::new(Role::Dim, since),
            Span::new(role, said),
        ]
    };
    Table {
        columns: &SHOWN,
        count: list.rows.len(),
        offset: list.offset,
        selected: list.index,
        focus,
        sort: Some(list.sort),
        mark: list.filter.word(),
        row,
    }
    .draw(canvas, rows_area);
    if let Some(target) = list.current()
        && below.height > 0
    {
        let (role, said) = match (&target.error, &target.evidence) {
            (Some(error), _) => (Role::Danger, error.as_str()),
            (None, Some(evidence)) => (Role::Ok, evidence.as_str()),
            (None, None) => (Role::Dim, "nothing was read back from it yet"),
        };
        for (row, y) in text::wrap(said, below.width).into_iter().zip(below.y..below.y + below.height) {
            let style = canvas.theme.style(role);
            canvas.text(below.x, y, below.width, &row, style);
        }
    }
}

/// What happened to it, the newest last.
pub(crate) fn timeline(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let all = &state.run.timeline;
    let focus = state.run.focus == Pane::Timeline;
    let wrong = state.run.timeline_trouble.as_ref().map(|trouble| (Role::Danger, trouble.whole()));
    let corner = all.len().to_string();
    let inside = Frame { title: "timeline", corner: &corner, focus, wrong }.draw(canvas, area);
    let shown = all.len().saturating_sub(state.run.timeline_offset);
    let first = shown.saturating_sub(usize::from(inside.height));
    for (happening, y) in all.iter().take(shown).skip(first).zip(inside.y..inside.y + inside.height) {
        let role = if happening.kind == "Warning" { Role::Danger } else { Role::Accent };
        let times = if happening.count > 1 { format!(" x{}", happening.count) } else { String::new() };
        let spans = [
            Span::new(Role::Dim, format!("{:>6} ", age::of(Some(&happening.time), state.now))),
            Span::new(role, format!("{}{times} ", happening.reason)),
            Span::plain(happening.message.clone()),
        ];
        canvas.spans(inside.x, y, inside.width, &spans, Role::Text);
    }
    if all.is_empty() {
        let style = canvas.theme.style(Role::Dim);
        canvas.text(inside.x, inside.y, inside.width, "no events yet", style);
    }
}
