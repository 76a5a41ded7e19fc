//! The screens: one file each, named as the screens of the state are.

pub(super) mod cluster;
pub(super) mod editor;
pub(super) mod errors;
pub(super) mod experiments;
pub(super) mod help;
pub(super) mod pager;
pub(super) mod run;
pub(super) mod settings;
mod spec;
pub(super) mod steady_state;
pub(super) mod templates;

use super::canvas::Canvas;
use super::text;
use super::theme::{self, Role};
use crate::api::TargetStatus;
use crate::app::geometry::{self, Area};
use crate::app::list::List;
use crate::app::screens::Pane;
use crate::app::state::State;
use crate::app::store::{Link, Topic};
use crate::report::{INSTALL, age};

/// `3`, or `2/3` where a filter hides some; with the filter behind it.
fn counted<T>(list: &List<T>, all: usize) -> String {
    let shown = list.rows.len();
    let count = if shown == all { all.to_string() } else { format!("{shown}/{all}") };
    if list.filter.is_empty() { count } else { format!("{count}  /{}", list.filter.text) }
}

/// What is wrong with what a frame shows, if it is not what is: with the cure, in the frame that it is about.
fn wrong(state: &State, topic: &Topic) -> Option<(Role, String)> {
    match state.data.link(topic) {
        Link::Live | Link::Narrow { .. } => None,
        Link::Connecting => Some(asking()),
        Link::Absent => {
            Some((Role::Warn, format!("not installed: this API server does not know the kind; {INSTALL}")))
        }
        Link::Refused { trouble } => Some((Role::Warn, trouble.whole())),
        Link::Lost { since, trouble } => {
            let age = age::human(state.now.as_second() - since.as_second());
            Some((Role::Danger, format!("stale {age}: {}", trouble.whole())))
        }
    }
}

/// How a target stands, with what was read back from it or what is wrong with it: `✦ Injected of: delay 150ms`.
fn target_line(target: &TargetStatus, of: &str, canvas: &Canvas<'_>) -> (Role, String) {
    let phase = format!("{:?}", target.phase);
    let shown = theme::of_target(&phase);
    let said = target.error.as_deref().or(target.evidence.as_deref()).unwrap_or("nothing was read back yet");
    (shown.role, format!("{} {phase} {of}: {said}", canvas.theme.glyph(shown.glyph)))
}

/// The title of a pane, with the way to the other one where that has no room beside it.
fn beside(state: &State, title: &str, other: Pane, word: &str) -> String {
    if geometry::pane(state, other).is_some() { title.to_owned() } else { format!("{title} (tab: {word})") }
}

/// That nothing was heard yet.
fn asking() -> (Role, String) {
    (Role::Dim, "asking the API server".to_owned())
}

/// Says in an empty list why it is empty.
fn why_empty(canvas: &mut Canvas<'_>, inside: Area, text: &str) {
    let style = canvas.theme.style(Role::Dim);
    for (row, y) in text::wrap(text, inside.width).into_iter().zip(inside.y + 2..inside.y + inside.height) {
        canvas.text(inside.x, y, inside.width, &row, style);
    }
}

/// Writes out the selected row below its list.
fn read_out(canvas: &mut Canvas<'_>, below: Area, spans: &[(Role, String)]) {
    let rows = spans
        .iter()
        .flat_map(|(role, text)| text::wrap(text, below.width).into_iter().map(move |row| (*role, row)));
    for ((role, row), y) in rows.zip(below.y..below.y + below.height) {
        let style = canvas.theme.style(role);
        canvas.text(below.x, y, below.width, &row, style);
    }
}

/// The age of what was created then.
fn age_of(state: &State, created: Option<jiff::Timestamp>) -> String {
    created.map_or_else(|| "-".to_owned(), |created| age::human(state.now.as_second() - created.as_second()))
}
