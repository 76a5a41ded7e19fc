//! What every screen has: where we are, what is dangerous, which keys there are.

use std::borrow::Cow;
use std::cmp::Reverse;

use super::canvas::Canvas;
use super::text::{self, Elide};
use super::theme::{self, Glyph, Role};
use crate::app::completion;
use crate::app::geometry::Area;
use crate::app::key::{Key, written};
use crate::app::keymap::{Binding, Effect};
use crate::app::screens::Screen;
use crate::app::state::{PromptKind, State};
use crate::app::store::Link;
use crate::report::age;

/// The first line: the way to here on the left; on the right, always in the same corner, the world, the namespace and
/// whether this console can do harm.
pub(super) fn header(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let (mode, role) = if state.read_only {
        ("READ-ONLY", Role::ReadOnly)
    } else if state.may_change_nothing() {
        ("NO RIGHTS", Role::ReadOnly)
    } else {
        ("ARMED", Role::Armed)
    };
    let separator = format!(" {} ", canvas.theme.glyph(Glyph::Separator));
    let mode = format!(" {mode} ");
    let mode_width = columns(&mode).min(area.width);
    let mode_at = area.x + area.width - mode_width;
    let style = canvas.theme.style(role);
    canvas.text(mode_at, area.y, mode_width, &mode, style);
    let room = mode_at.saturating_sub(area.x);
    let (cluster, namespace) = place(state, canvas, usize::from(room.saturating_sub(LEAST_WAY)));
    let place = format!("{cluster}{separator}{namespace} ");
    let place_width = columns(&place).min(room);
    let place_at = mode_at.saturating_sub(place_width);
    let style = canvas.theme.style(Role::Text);
    canvas.text(place_at, area.y, place_width, &place, style);
    let (title, subject) = way(state);
    let left = place_at.saturating_sub(area.x + 1);
    let into = format!(" {} ", canvas.theme.glyph(Glyph::Into));
    let mut x = area.x;
    // Where both have no room, what it is about says more.
    let has_room = |subject: &String| columns(title) + columns(&into) + columns(subject) <= left;
    if subject.as_ref().is_none_or(has_room) {
        let style = canvas.theme.style(Role::Accent);
        x += canvas.text(x, area.y, left, title, style);
        let style = canvas.theme.style(Role::Dim);
        let into = if subject.is_some() { into.as_str() } else { "" };
        x += canvas.text(x, area.y, (area.x + left).saturating_sub(x), into, style);
    }
    let room = (area.x + left).saturating_sub(x);
    let subject = subject.unwrap_or_default();
    let ellipsis = canvas.theme.glyph(Glyph::Ellipsis);
    let shown = text::truncate(&subject, usize::from(room), Elide::Middle, ellipsis);
    let style = canvas.theme.style(Role::Text);
    canvas.text(x, area.y, room, &shown, style);
}

/// What the way to here keeps on the first line, in columns, however long the name of the world is.
const LEAST_WAY: u16 = 14;

/// The world and the namespace in so much room. Both are always there: the way to here gives way to them, for where one
/// is can be seen, and on which cluster cannot.
fn place<'a>(state: &'a State, canvas: &Canvas<'_>, room: usize) -> (Cow<'a, str>, Cow<'a, str>) {
    let ellipsis = canvas.theme.glyph(Glyph::Ellipsis);
    // Three for what separates them, one behind them.
    let room = room.saturating_sub(4);
    let namespace = state.namespace.as_deref().unwrap_or("all namespaces");
    let world = state.world.name.as_str();
    let left = room.saturating_sub(text::width(world)).max(room / 2);
    let namespace = text::truncate(namespace, left, Elide::Middle, ellipsis);
    let left = room.saturating_sub(text::width(&namespace));
    (text::truncate(world, left, Elide::Middle, ellipsis), namespace)
}

/// The way to here: the screen, and what it is about.
fn way(state: &State) -> (&str, Option<String>) {
    if state.screen == Screen::Pager {
        // `logs Pod default/mongo-1`: the first word is what it is.
        return match state.pager.title.split_once(' ') {
            Some((what, of)) => (what, Some(of.to_owned())),
            None => (state.screen.title(), Some(state.pager.title.clone())),
        };
    }
    (state.screen.title(), subject(state))
}

/// What the screen is about.
fn subject(state: &State) -> Option<String> {
    match state.screen {
        Screen::Cluster => state.cluster.node.clone(),
        Screen::Editor => {
            let mark = if state.editor.unsaved { " (not saved)" } else { "" };
            Some(format!("{}{mark}", state.editor.origin.label()))
        }
        Screen::Run => state.run.experiment.as_ref().map(|experiment| experiment.name()),
        Screen::SteadyState => steady_state(state),
        Screen::Help => Some(state.help.of.title().to_owned()),
        _ => None,
    }
}

/// The panel that is large, or the dashboard.
fn steady_state(state: &State) -> Option<String> {
    let dashboard = state.measure.dashboard.as_ref()?;
    let panel = dashboard.panels.get(state.steady_state.panel).filter(|_| state.steady_state.large);
    Some(panel.map_or_else(|| state.measure.name.clone(), |panel| panel.title.clone()))
}

fn columns(text: &str) -> u16 {
    u16::try_from(text::width(text)).unwrap_or(u16::MAX)
}

/// Lines that concern every screen, the worst first.
pub(super) fn banner(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let lines = [halted(state, canvas), stale(state, canvas), frozen(state, canvas), running(state, canvas)];
    let shown = lines.into_iter().flatten().take(usize::from(area.height));
    for (down, (role, line)) in shown.enumerate() {
        let Ok(down) = u16::try_from(down) else { return };
        let line_area = Area { y: area.y + down, height: 1, ..area };
        let style = canvas.theme.style(role);
        canvas.tint(line_area, style);
        canvas.text(area.x + 1, line_area.y, area.width.saturating_sub(2), &line, style);
    }
}

fn halted(state: &State, canvas: &Canvas<'_>) -> Option<(Role, String)> {
    let halt = state.data.halts.iter().next()?;
    let reason = halt.0.spec.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let scope = if halt.0.spec.namespaces.is_empty() {
        "everything is stopped".to_owned()
    } else {
        format!("stopped in {}", halt.0.spec.namespaces.join(", "))
    };
    let glyph = canvas.theme.glyph(Glyph::Failed);
    Some((Role::HaltBanner, format!("{glyph} HALTED: {scope}{reason}; nothing starts. :release lifts it")))
}

/// What is out of date, for how long and why.
fn stale(state: &State, canvas: &Canvas<'_>) -> Option<(Role, String)> {
    let (_, since, trouble) = state.data.stalest()?;
    let age = age::human(state.now.as_second() - since.as_second());
    let lost = state.data.links.iter().filter(|(_, link)| matches!(link, Link::Lost { .. }));
    let mut words: Vec<_> = lost.map(|(topic, _)| topic.words()).collect();
    words.sort_unstable();
    words.dedup();
    let glyph = canvas.theme.glyph(Glyph::Warning);
    Some((Role::Match, format!("{glyph} STALE {age}: {trouble}; as they were: {}", words.join(", "))))
}

fn frozen(state: &State, canvas: &Canvas<'_>) -> Option<(Role, String)> {
    let since = state.frozen?;
    let age = age::human(state.now.as_second() - since.as_second());
    let glyph = canvas.theme.glyph(Glyph::Paused);
    Some((Role::SelectedDim, format!("{glyph} FROZEN {age}: nothing new is shown; f goes on")))
}

/// How many faults run, and the one with the least time left.
fn running(state: &State, canvas: &Canvas<'_>) -> Option<(Role, String)> {
    let active = state.active();
    let first = active.iter().min_by_key(|overview| overview.remaining_seconds.unwrap_or(u64::MAX))?;
    let left = match first.remaining_seconds {
        Some(seconds) => format!("{} left", age::human(i64::try_from(seconds).unwrap_or(i64::MAX))),
        None if first.duration.is_some() => "not begun".to_owned(),
        None => "until stopped".to_owned(),
    };
    let separator = canvas.theme.glyph(Glyph::Separator);
    let glyph = canvas.theme.glyph(theme::of_experiment(&first.phase).glyph);
    let count = match active.len() {
        1 => String::new(),
        count => format!("{count} experiments {separator} "),
    };
    let stop = if state.read_only { String::new() } else { format!(" {separator} ! stops all") };
    let targets = first.targets.map(|targets| {
        let failed = if targets.failed > 0 { format!(", {} failed,", targets.failed) } else { String::new() };
        format!(" {}/{}{failed}", targets.injected, targets.selected)
    });
    Some((
        Role::Banner,
        format!("{glyph} {count}{} {}{} {left}{stop}", first.name, first.phase, targets.unwrap_or_default()),
    ))
}

/// The last line: the keys that matter here, or the line that is being typed.
pub(super) fn footer(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    if state.prompt.is_some() {
        return prompt(state, canvas, area);
    }
    let hints = hints(state);
    let mut x = area.x;
    let end = area.x + area.width;
    for (number, (keys, word, available)) in hints.iter().enumerate() {
        let needed = columns(keys) + 1 + columns(word);
        // Room for the sign that there are more.
        let kept = if number + 1 == hints.len() { 0 } else { 3 };
        if x + needed + kept > end {
            let style = canvas.theme.style(Role::Dim);
            canvas.text(x, area.y, end.saturating_sub(x), canvas.theme.glyph(Glyph::Ellipsis), style);
            return;
        }
        let (key_role, word_role) = if *available { (Role::Key, Role::Text) } else { (Role::Dim, Role::Dim) };
        let style = canvas.theme.style(key_role);
        x += canvas.text(x, area.y, end - x, keys, style) + 1;
        let style = canvas.theme.style(word_role);
        x += canvas.text(x, area.y, end.saturating_sub(x), word, style) + 2;
    }
}

/// Keys, word, and whether it can be done now; what is wanted most first.
fn hints(state: &State) -> Vec<(String, &'static str, bool)> {
    let scopes = state.scopes();
    let mut rows: Vec<(&Binding, &[Vec<Key>])> = state
        .keymap
        .rows()
        .filter(|(binding, keys)| binding.footer > 0 && scopes.contains(&binding.scope) && !keys.is_empty())
        .filter(|(binding, _)| !(state.read_only && binding.effect != Effect::Reads))
        .collect();
    // What cannot be done now is told last: the line is short.
    rows.sort_by_cached_key(|(binding, _)| (state.why_not(binding).is_some(), Reverse(binding.footer)));
    rows.into_iter()
        .filter_map(|(binding, keys)| {
            let first = keys.first()?;
            Some((written(first), binding.short, state.why_not(binding).is_none()))
        })
        .collect()
}

fn prompt(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let Some(prompt) = &state.prompt else { return };
    let sign = match prompt.kind {
        PromptKind::Command => ":",
        PromptKind::Filter | PromptKind::Search | PromptKind::Palette => "/",
        PromptKind::Field => "= ",
    };
    let key = canvas.theme.style(Role::Key);
    let text_style = canvas.theme.style(Role::Text);
    let mut x = area.x + canvas.text(area.x, area.y, area.width, sign, key);
    let end = area.x + area.width;
    // A long line is shown from where the cursor is still in sight.
    let room = usize::from(end.saturating_sub(x + 1));
    let from = prompt.input.cursor.saturating_sub(room);
    let before: String = prompt.input.text.chars().skip(from).take(prompt.input.cursor - from).collect();
    let after: String = prompt.input.text.chars().skip(prompt.input.cursor).collect();
    x += canvas.text(x, area.y, end - x, &before, text_style);
    let under = after.chars().next().unwrap_or(' ');
    let cursor = canvas.theme.style(Role::Selected).add_modifier(ratatui::style::Modifier::REVERSED);
    x += canvas.text(x, area.y, end.saturating_sub(x), &under.to_string(), cursor);
    let rest: String = after.chars().skip(1).collect();
    x += canvas.text(x, area.y, end.saturating_sub(x), &rest, text_style);
    let dim = canvas.theme.style(Role::Dim);
    if after.is_empty()
        && let Some(completion) = completion(state)
    {
        x += canvas.text(x.saturating_sub(1), area.y, end.saturating_sub(x), &completion, dim);
    }
    let hint = match prompt.kind {
        PromptKind::Command => "Tab completes",
        PromptKind::Filter => "word  !not  -l app=x  ~fuzzy",
        PromptKind::Search | PromptKind::Palette | PromptKind::Field => "Enter keeps it",
    };
    let width = columns(hint);
    if x + width + 2 < end {
        canvas.text(end - width, area.y, width, hint, dim);
    }
}
