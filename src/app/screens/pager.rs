//! A text to read: YAML, a description, events, logs.

use serde::{Deserialize, Serialize};

use super::{Pane, Screen};
use crate::app::effect::{Effect, Request, Slot};
use crate::app::geometry;
use crate::app::list::Motion;
use crate::app::state::State;
use crate::report::Trouble;

/// The most lines that are kept; of logs the newest.
pub const MAX_LINES: usize = 20_000;

/// What there is to read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Content {
    /// It was asked for.
    #[default]
    Loading,
    /// It is there.
    Ready,
    /// It cannot be had.
    Failed(Trouble),
}

/// How the text is to be coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Language {
    /// Not at all.
    #[default]
    Plain,
    /// YAML.
    Yaml,
}

/// What the screen remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pager {
    /// What it is.
    pub title: String,
    /// Whether it is there.
    pub content: Content,
    /// Its lines.
    #[serde(skip)]
    pub lines: Vec<String>,
    /// Its language.
    pub language: Language,
    /// Where it comes from.
    pub request: Option<Request>,
    /// The first visible line.
    pub top: usize,
    /// The first visible column.
    pub left: usize,
    /// Whether long lines are wrapped.
    pub wrap: bool,
    /// What was searched for.
    pub search: String,
    /// Whether the end of the text stays in sight while it grows.
    pub follow: bool,
    /// Whether more may come.
    pub growing: bool,
}

impl Pager {
    /// Whether these are the logs of a pod.
    pub fn shows_logs(&self) -> bool {
        matches!(self.request, Some(Request::Logs { .. }))
    }

    /// Whether the line contains what was searched for.
    pub fn is_hit(&self, line: &str) -> bool {
        !self.search.is_empty() && line.to_lowercase().contains(&self.search.to_lowercase())
    }

    /// Adds lines; the oldest give way.
    fn push(&mut self, lines: impl IntoIterator<Item = String>) {
        self.lines.extend(lines);
        let excess = self.lines.len().saturating_sub(MAX_LINES);
        if excess > 0 {
            self.lines.drain(..excess);
            self.top = self.top.saturating_sub(excess);
        }
    }

    fn last_top(&self, visible: usize) -> usize {
        // A wrapped line takes several rows: then the last line may come to the top.
        if self.wrap { self.lines.len().saturating_sub(1) } else { self.lines.len().saturating_sub(visible) }
    }
}

/// Opens a text of our own.
pub(in crate::app) fn show(state: &mut State, title: String, text: &str, language: Language) {
    let lines = text.lines().take(MAX_LINES).map(str::to_owned).collect();
    state.pager = Pager { title, content: Content::Ready, lines, language, ..Pager::default() };
    state.enter(Screen::Pager);
}

/// Asks for a text and opens it.
pub(in crate::app) fn fetch(
    state: &mut State,
    title: String,
    request: Request,
    language: Language,
    effects: &mut Vec<Effect>,
) {
    let is_log = matches!(request, Request::Logs { .. });
    let wrap = state.pager.wrap && is_log;
    state.pager = Pager {
        title,
        language,
        request: Some(request.clone()),
        follow: is_log,
        growing: is_log,
        wrap,
        ..Pager::default()
    };
    state.enter(Screen::Pager);
    let ticket = state.next_ticket(Slot::Pager);
    effects.push(Effect::Load { slot: Slot::Pager, ticket, request });
}

/// A whole text came.
pub(in crate::app) fn loaded(state: &mut State, text: &str) {
    state.pager.content = Content::Ready;
    state.pager.lines = text.lines().take(MAX_LINES).map(str::to_owned).collect();
    scroll(state, Motion::By(0));
}

/// More lines came.
pub(in crate::app) fn grown(state: &mut State, lines: Vec<String>) {
    state.pager.content = Content::Ready;
    state.pager.push(lines);
    if state.pager.follow {
        scroll(state, Motion::Last);
    }
}

/// Moves through the text. Whoever moves up wants to read, and what is new waits.
pub(in crate::app) fn scroll(state: &mut State, motion: Motion) {
    let visible = geometry::rows(state, Pane::Text);
    let pager = &mut state.pager;
    let last = pager.last_top(visible);
    pager.top = match motion {
        Motion::By(lines) => pager.top.saturating_add_signed(lines),
        Motion::HalfPages(halves) => {
            let half = isize::try_from((visible / 2).max(1)).unwrap_or(1);
            pager.top.saturating_add_signed(halves.saturating_mul(half))
        }
        Motion::First => 0,
        Motion::Last => last,
    }
    .min(last);
    let to_the_end = motion == Motion::Last;
    pager.follow = pager.growing && (to_the_end || (pager.follow && pager.top == last));
}

/// Moves sideways by columns.
pub(in crate::app) fn sideways(state: &mut State, columns: isize) {
    let pager = &mut state.pager;
    let longest = pager.lines.iter().skip(pager.top).take(200).map(|line| line.chars().count()).max();
    pager.left = pager.left.saturating_add_signed(columns).min(longest.unwrap_or(0).saturating_sub(1));
}

/// Goes to the next line, or the one before, that contains what was searched for; round the ends. False if none does.
pub(in crate::app) fn next_hit(state: &mut State, forwards: bool, from_here: bool) -> bool {
    let pager = &state.pager;
    let count = pager.lines.len();
    let from = usize::from(!from_here);
    let hit = (from..=count).find_map(|distance| {
        let at = if forwards { pager.top + distance } else { pager.top + count - distance % count.max(1) };
        let at = at % count.max(1);
        pager.lines.get(at).filter(|line| pager.is_hit(line)).map(|_| at)
    });
    let Some(hit) = hit else { return false };
    state.pager.follow = false;
    state.pager.top = hit;
    scroll(state, Motion::By(0));
    true
}
