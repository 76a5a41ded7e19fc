//! One experiment in depth.
//!
//! ```text
//! ╭ NetworkChaos default/network-delay ─────────────────────────────────────╮
//! │ ✦ Injected   targets 3/3   47s left of 1m  █████████████░░░░            │
//! │ delay latency=150ms jitter=10ms                                          │
//! ╰──────────────────────────────────────────────────────────────────────────╯
//! ╭ targets ──╮ ╭ timeline ──╮
//! ```

use super::experiments::{remaining, targets as target_counts};
use super::{beside, counted, spec};
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
    Column::new(COLUMNS[0], 32, 90).middle(),
    Column::new(COLUMNS[1], 8, 30).middle().goes(1),
    Column::new(COLUMNS[2], 10, 12),
    Column::new(COLUMNS[3], 5, 6).goes(2),
    Column::new(COLUMNS[4], 40, 300).goes(3),
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
    let inside = Frame { title: &title, corner: "", focus: false, foot: wrong }.draw(canvas, area);
    if inside.height == 0 {
        return;
    }
    first_line(state, overview, canvas, inside);
    let mut rows = Vec::new();
    if let Some(experiment) = &state.run.experiment {
        rows.push((Role::Text, spec::what(&experiment.0)));
        rows.push((Role::Dim, format!("on {}", spec::whom(&experiment.0))));
    }
    let warning = canvas.theme.glyph(Glyph::Warning);
    rows.extend(state.run.remarks().iter().map(|remark| (Role::Warn, format!("{warning} {remark}"))));
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
    if state.run.gone {
        canvas.spans(inside.x + 1, inside.y, inside.width.saturating_sub(1), &spans, Role::Text);
        return;
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
    if let Some(time) = time(overview) {
        spans.push(Span::plain(format!("   {time}")));
    }
    let used = canvas.spans(inside.x + 1, inside.y, inside.width.saturating_sub(1), &spans, Role::Text);
    bar(
        overview,
        canvas,
        Area { x: inside.x + used + 3, width: inside.width.saturating_sub(used + 4), height: 1, ..inside },
    );
}

/// How long it still has; nothing where that is over, or never begins.
fn time(overview: &Overview) -> Option<String> {
    if overview.ended.is_some() || overview.phase == "Invalid" {
        return None;
    }
    Some(match (overview.remaining_seconds, &overview.duration) {
        (Some(_), Some(duration)) => format!("{} left of {duration}", remaining(overview)),
        (None, Some(duration)) => format!("for {duration}, not begun"),
        (_, None) => remaining(overview),
    })
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
    // Once it is deleted nobody says any more how its targets are.
    let gone = state.run.gone;
    let title = if gone { "targets, as last seen" } else { "targets" };
    let title = beside(state, title, Pane::Timeline, "timeline");
    Frame { title: &title, corner: &corner, focus, foot: None }.draw(canvas, area);
    // What does not fit into a row is written out below the list.
    let (rows_area, below) = area.with_reading();
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
            Span::new(
                if gone { Role::Dim } else { shown.role },
                format!("{} {}", theme.glyph(shown.glyph), target.phase),
            ),
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
    if let Some(target) = list.current() {
        let (role, said) = match (&target.error, &target.evidence) {
            (Some(error), _) => (Role::Danger, format!("{} failed: {error}", theme.glyph(Glyph::Failed))),
            (None, Some(evidence)) => (Role::Text, format!("read back: {evidence}")),
            (None, None) => (Role::Dim, "nothing was read back from it yet".to_owned()),
        };
        super::read_out(canvas, below, &[(role, said)]);
    } else {
        let why = if list.filter.is_empty() {
            "no target yet"
        } else {
            "no target matches; Esc takes the filter away"
        };
        super::why_empty(canvas, rows_area, why);
    }
}

/// What happened to it, the newest last.
pub(crate) fn timeline(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let all = &state.run.timeline;
    let focus = state.run.focus == Pane::Timeline;
    let wrong = state.run.timeline_trouble.as_ref().map(|trouble| (Role::Danger, trouble.whole()));
    let corner = all.len().to_string();
    let title = beside(state, "timeline", Pane::Targets, "targets");
    let inside = Frame { title: &title, corner: &corner, focus, foot: wrong }.draw(canvas, area);
    let shown = all.len().saturating_sub(state.run.timeline_offset);
    let first = shown.saturating_sub(usize::from(inside.height));
    for (happening, y) in all.iter().take(shown).skip(first).zip(inside.y..inside.y + inside.height) {
        let is_bad = happening.kind == "Warning";
        let role = if is_bad { Role::Danger } else { Role::Accent };
        let glyph = canvas.theme.glyph(if is_bad { Glyph::Failed } else { Glyph::Separator });
        let times = if happening.count > 1 { format!(" x{}", happening.count) } else { String::new() };
        let spans = [
            Span::new(Role::Dim, format!("{:>6} ", age::of(Some(&happening.time), state.now))),
            Span::new(role, format!("{glyph} {}{times} ", happening.reason)),
            Span::plain(happening.message.clone()),
        ];
        canvas.spans(inside.x, y, inside.width, &spans, Role::Text);
    }
    if all.is_empty() {
        let style = canvas.theme.style(Role::Dim);
        canvas.text(inside.x, inside.y, inside.width, "no events yet", style);
    }
}
