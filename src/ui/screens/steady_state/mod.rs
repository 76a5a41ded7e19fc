//! What the application measures of itself.
//!
//! ```text
//! ╭ movies · 2 pods every second ─────────────────────── last 2 min ╮
//! │▸Requests per second      Errors per second       Total requests │
//! │/movies  ▇▇▇▂▁▁▁  3.9/s   sum     ▁▁▁▁▁▁▁  0/s   200   ▇▇▇▇▇ 33k │
//! ╰ ✦ network-delay since 12:00:03 ─────────────────────────────────╯
//! ```

mod chart;
mod grid;

use jiff::{SignedDuration, Timestamp};

use super::why_empty;
use crate::app::geometry::Area;
use crate::app::measure::history::Span;
use crate::app::measure::windows::Window;
use crate::app::screens::steady_state::{self, LENGTHS};
use crate::app::state::State;
use crate::report::age;
use crate::steady_state::dashboard::Dashboard;
use crate::ui::canvas::{Canvas, Frame};
use crate::ui::theme::{Glyph, Role};

/// The panels, or one of them.
pub(crate) fn panels(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let Some(dashboard) = &state.measure.dashboard else { return nothing(state, canvas, area) };
    let title = title(state, dashboard, canvas);
    let corner = shown_time(state);
    let foot = foot(state, canvas);
    let inside = Frame { title: &title, corner: &corner, focus: true, foot }.draw(canvas, area);
    if state.measure.history.last().is_none() {
        let why = state
            .measure
            .trouble
            .as_ref()
            .map_or_else(|| "the first answers are on their way".to_owned(), crate::report::Trouble::whole);
        return why_empty(canvas, inside, &why);
    }
    if state.steady_state.large {
        chart::draw(state, dashboard, canvas, inside);
    } else {
        grid::draw(state, dashboard, canvas, inside);
    }
}

fn nothing(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let inside = Frame { title: "no dashboard", focus: true, ..Frame::default() }.draw(canvas, area);
    let trouble = state.measure.trouble.as_ref().map(|trouble| format!("{} ", trouble.whole()));
    let hint = "D chooses a dashboard, :dashboard FILE shows one of your own. Each asks its pods for /metrics once a \
                second, and draws what they say of themselves.";
    why_empty(canvas, inside, &format!("{}{hint}", trouble.unwrap_or_default()));
}

/// `Movies server · 2 of 2 pods`.
fn title(state: &State, dashboard: &Dashboard, canvas: &Canvas<'_>) -> String {
    let separator = canvas.theme.glyph(Glyph::Separator);
    let (well, _) = state.measure.answers();
    let all = state.measure.targets.len();
    let pods = if all == 1 { "pod" } else { "pods" };
    let of = if well == all { String::new() } else { format!(" of {all}") };
    format!("{} {separator} {well}{of} {pods}", dashboard.title)
}

/// `last 2m`, or which part of the past it is.
fn shown_time(state: &State) -> String {
    let screen = &state.steady_state;
    let length = LENGTHS.get(screen.length).map_or(0, SignedDuration::as_secs);
    if state.frozen.is_none() && screen.back.is_zero() {
        return format!("last {}", age::human(length));
    }
    let span = steady_state::span(state);
    let ago = state.now.duration_since(span.until).as_secs();
    format!("{} up to {} ago", age::human(length), age::human(ago))
}

/// What is wrong with what is shown; else the fault that was in place last.
fn foot(state: &State, canvas: &Canvas<'_>) -> Option<(Role, String)> {
    let (_, failed) = state.measure.answers();
    if let Some((pod, why)) = failed {
        return Some((Role::Warn, format!("{} {pod}: {why}", canvas.theme.glyph(Glyph::Warning))));
    }
    let span = steady_state::span(state);
    let newest = state.measure.windows.within(span).last()?;
    let glyph = canvas.theme.glyph(Glyph::Injected);
    Some((Role::Injected, format!("{glyph} {}", lasted(newest))))
}

/// `network-delay 12:00:03 to 12:01:03`.
fn lasted(window: &Window) -> String {
    let from = clock(window.from);
    match window.until {
        Some(until) => format!("{} {from} to {}", window.name, clock(until)),
        None => format!("{} since {from}", window.name),
    }
}

/// The time of day, UTC, as everywhere in the console.
fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.split_once('T').map_or_else(String::new, |(_, time)| time.chars().take(8).collect())
}

/// The columns that a fault was in place in, of so many.
fn faulted(state: &State, span: Span, columns: usize) -> Vec<bool> {
    let mut marked = vec![false; columns];
    for window in state.measure.windows.within(span) {
        let first = span.column(window.from, columns).unwrap_or(0);
        let until = window.until.unwrap_or(span.until).min(span.until);
        let last = span.column(until, columns).unwrap_or_else(|| columns.saturating_sub(1));
        for column in marked.iter_mut().take(last + 1).skip(first) {
            *column = true;
        }
    }
    marked
}

/// The same time, moved on so that columns begin at whole multiples of their width: what is in one stays in it.
fn aligned(span: Span, columns: usize) -> Span {
    let millis = span.length().as_millis();
    let wide = i128::try_from(columns.max(1)).unwrap_or(1);
    let step = (millis / wide).max(1);
    let until = i128::from(span.until.as_millisecond());
    let ahead = (step - until.rem_euclid(step)) % step;
    let moved = |at: Timestamp| {
        let ahead = SignedDuration::from_millis(i64::try_from(ahead).unwrap_or(0));
        at.saturating_add(ahead).unwrap_or(at)
    };
    Span { from: moved(span.from), until: moved(span.until) }
}
