//! Every key, filterable; Enter does what the selected one does.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Pane, Screen};
use crate::app::action::Action;
use crate::app::commands::COMMANDS;
use crate::app::geometry;
use crate::app::key;
use crate::app::keymap::{Effect as Harm, Scope};
use crate::app::list::{List, Row};
use crate::app::state::State;

/// What a row of the help does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An action of a key.
    Action(Action),
    /// A command, by its name.
    Command(&'static str),
}

/// A row of the help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelpRow {
    id: String,
    /// Where it has its meaning.
    pub place: &'static str,
    /// Its keys.
    pub keys: String,
    /// What it does.
    pub help: &'static str,
    /// Why it cannot be done now, if it cannot.
    pub why_not: Option<Cow<'static, str>>,
    /// Whether its key does something on another screen only.
    pub is_elsewhere: bool,
    /// What it does, to be done.
    pub entry: Entry,
}

impl Row for HelpRow {
    fn id(&self) -> &str {
        &self.id
    }
}

/// What the screen remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Help {
    /// The keys.
    pub list: List<HelpRow>,
    /// The screen that it was opened on.
    pub of: Screen,
    /// Whether commands and the keys of all screens are listed as well.
    pub everything: bool,
}

/// Works out the list anew: the keys of the screen that help was asked on, then all others.
pub(in crate::app) fn refresh(state: &mut State) {
    let here = state.help.of.scopes();
    // What can be done is asked of the screen that help was asked on, not of this one.
    let this = std::mem::replace(&mut state.screen, state.help.of);
    let others = Scope::ALL.into_iter().filter(|scope| !here.contains(scope));
    let mut rows = Vec::new();
    for scope in here.iter().copied().chain(others) {
        let is_here = here.contains(&scope);
        if !is_here && !state.help.everything {
            continue;
        }
        for (binding, keys) in state.keymap.rows().filter(|(binding, _)| binding.scope == scope) {
            if state.read_only && binding.effect != Harm::Reads {
                continue;
            }
            let keys = keys.iter().map(|keys| key::written(keys)).collect::<Vec<_>>().join(", ");
            let why_not =
                if is_here { state.why_not(binding) } else { Some(Cow::Borrowed("on another screen")) };
            rows.push(HelpRow {
                id: format!("{scope:?} {:?}", binding.action),
                place: scope.title(),
                keys,
                help: binding.help,
                why_not,
                is_elsewhere: !is_here,
                entry: Entry::Action(binding.action),
            });
        }
    }
    state.screen = this;
    for command in COMMANDS.iter().filter(|command| !(state.read_only && command.writes)) {
        rows.push(HelpRow {
            id: format!("command {}", command.name),
            place: "Commands",
            keys: format!(":{} {}", command.name, command.arguments).trim_end().to_owned(),
            help: command.help,
            why_not: None,
            is_elsewhere: false,
            entry: Entry::Command(command.name),
        });
    }
    let (filter, labels) = (&state.help.list.filter, BTreeMap::new());
    rows.retain(|row| filter.shows(&[&row.keys, row.help, row.place], &labels));
    let rows = rows.into_iter().map(Arc::new).collect();
    let visible = geometry::rows(state, Pane::Help);
    state.help.list.set_rows(rows, visible);
}
