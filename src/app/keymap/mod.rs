//! From keys to actions: the [table](BINDINGS), the user's own keys, and sequences that are not complete yet.

pub mod document;
mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::key::{Key, KeyError};
use super::state::State;

pub use table::BINDINGS;

/// Where a key has its meaning. The scopes of a moment are asked from the innermost to [`Scope::Global`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "named as the screens are")]
pub enum Scope {
    Global,
    List,
    Cluster,
    Experiments,
    Templates,
    SteadyState,
    Editor,
    Typing,
    Form,
    Run,
    Pager,
    Help,
    Settings,
    Errors,
    Popup,
}

impl Scope {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 15] = [
        Self::Global,
        Self::List,
        Self::Cluster,
        Self::Experiments,
        Self::Templates,
        Self::SteadyState,
        Self::Editor,
        Self::Typing,
        Self::Form,
        Self::Run,
        Self::Pager,
        Self::Errors,
        Self::Settings,
        Self::Help,
        Self::Popup,
    ];

    /// The heading of its keys.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Global => "Everywhere",
            Self::List => "Lists",
            Self::Cluster => "Nodes and pods",
            Self::Experiments => "Experiments",
            Self::Templates => "Templates",
            Self::SteadyState => "Steady state",
            Self::Editor => "Editor",
            Self::Typing => "Editor, while typing",
            Self::Form => "Editor, as a form",
            Self::Run => "One experiment",
            Self::Pager => "Texts and logs",
            Self::Help => "Help",
            Self::Settings => "Settings",
            Self::Errors => "Errors",
            Self::Popup => "Questions",
        }
    }
}

/// What a key is for, as a heading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they are headings")]
pub enum Group {
    Faults,
    Objects,
    Lists,
    Moving,
    Screens,
    General,
}

/// What an action does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Reads,
    /// It changes something, but harms nobody.
    Writes,
    /// It can harm what runs: it shows its targets and asks first.
    Dangerous,
}

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Binding {
    /// What it does.
    pub action: Action,
    /// The keys that do it, each a sequence with spaces.
    pub keys: &'static [&'static str],
    /// Where.
    pub scope: Scope,
    /// Its heading in the help.
    pub group: Group,
    /// What it does, in words.
    pub help: &'static str,
    /// The same for the footer.
    pub short: &'static str,
    /// How much it is wanted in the footer; 0: not at all.
    pub footer: u8,
    /// What it does to the world.
    pub effect: Effect,
    /// Whether it can be done now, or why not.
    pub available: fn(&State) -> Result<(), &'static str>,
}

/// What came of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It, with those before it, does this.
    Action(Action),
    /// It is the beginning of sequences.
    Pending,
    /// It means nothing here.
    Nothing,
}

/// What is wrong with the user's own keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// There is no such action.
    #[error("keys: there is no action \"{0}\"; `squall keys` lists them")]
    Action(String),
    /// There is no such key.
    #[error("keys: {action}")]
    Key {
        /// Whose key it was to be.
        action: String,
        /// What is wrong with it.
        #[source]
        source: KeyError,
    },
    /// Two actions want the same key.
    #[error("keys: \"{key}\" would do both {one} and {other}")]
    Conflict {
        /// The key.
        key: String,
        /// One action.
        one: String,
        /// The other.
        other: String,
    },
}

/// The keys as they are in force: the table's, with the user's own in their place.
#[derive(Clone)]
pub struct Keymap {
    rows: Vec<(Binding, Vec<Vec<Key>>)>,
}

impl Default for Keymap {
    fn default() -> Self {
        Self::with(&BTreeMap::new()).unwrap_or_else(|_impossible| Self { rows: Vec::new() })
    }
}

impl Keymap {
    /// The table with other keys for some actions: by name, all keys of an action in all scopes.
    ///
    /// # Errors
    /// Names nothing, or gives one key two meanings.
    pub fn with(overrides: &BTreeMap<String, Vec<String>>) -> Result<Self, OverrideError> {
        let mut own = BTreeMap::new();
        for (name, keys) in overrides {
            let action = Action::named(name).ok_or_else(|| OverrideError::Action(name.clone()))?;
            own.insert(action, keys.clone());
        }
        let mut rows = Vec::new();
        for binding in BINDINGS {
            let of_table = || binding.keys.iter().map(|key| (*key).to_owned()).collect();
            let keys: Vec<String> = own.get(&binding.action).cloned().unwrap_or_else(of_table);
            let keys = keys.iter().map(|key| Key::sequence(key)).collect::<Result<_, _>>();
            let mut keys: Vec<Vec<Key>> =
                keys.map_err(|source| OverrideError::Key { action: binding.action.name(), source })?;
            if binding.scope == Scope::Typing {
                // Where text is typed, a key that types something can do nothing else: the table's stay.
                keys.retain(|keys| keys.first().is_some_and(|first| first.typed().is_none()));
                if keys.is_empty() {
                    keys = binding.keys.iter().filter_map(|key| Key::sequence(key).ok()).collect();
                }
            }
            rows.push((*binding, keys));
        }
        let keymap = Self { rows };
        match keymap.conflict() {
            Some((key, one, other)) => {
                Err(OverrideError::Conflict { key, one: one.name(), other: other.name() })
            }
            None => Ok(keymap),
        }
    }

    /// All rows with the keys that are in force.
    pub fn rows(&self) -> impl Iterator<Item = (&Binding, &[Vec<Key>])> {
        self.rows.iter().map(|(binding, keys)| (binding, keys.as_slice()))
    }

    /// What `keys` mean in `scopes`, the innermost first.
    pub fn lookup(&self, keys: &[Key], scopes: &[Scope]) -> Lookup {
        let mut pending = false;
        for scope in scopes {
            for (binding, sequences) in self.rows.iter().filter(|(binding, _)| binding.scope == *scope) {
                if sequences.iter().any(|sequence| sequence == keys) {
                    return Lookup::Action(binding.action);
                }
                pending |= sequences.iter().any(|sequence| sequence.starts_with(keys));
            }
        }
        if pending { Lookup::Pending } else { Lookup::Nothing }
    }

    /// The row of an action in the innermost of `scopes` that has one.
    pub fn binding(&self, action: Action, scopes: &[Scope]) -> Option<(&Binding, &[Vec<Key>])> {
        scopes.iter().find_map(|scope| {
            self.rows().find(|(binding, _)| binding.scope == *scope && binding.action == action)
        })
    }

    /// What can follow `keys` in `scopes`: the rest of each sequence, and what it does.
    pub fn continuations<'a>(
        &'a self,
        keys: &'a [Key],
        scopes: &'a [Scope],
    ) -> impl Iterator<Item = (&'a [Key], &'a Binding)> {
        scopes.iter().flat_map(move |scope| {
            let rows = self.rows.iter().filter(move |(binding, _)| binding.scope == *scope);
            rows.flat_map(move |(binding, sequences)| {
                sequences.iter().filter_map(move |sequence| Some((sequence.strip_prefix(keys)?, binding)))
            })
        })
    }

    /// A key that would do two things in scopes that are asked together, or hide a longer sequence.
    fn conflict(&self) -> Option<(String, Action, Action)> {
        let all: Vec<_> = self
            .rows
            .iter()
            .flat_map(|(binding, sequences)| sequences.iter().map(move |sequence| (binding, sequence)))
            .collect();
        for (number, (one, keys)) in all.iter().enumerate() {
            for (other, others) in all.iter().skip(number + 1) {
                let meet = meet(one.scope, other.scope);
                if meet && (keys.starts_with(others) || others.starts_with(keys)) {
                    return Some((super::key::written(keys), one.action, other.action));
                }
            }
        }
        None
    }
}

/// Whether the scopes are asked together.
fn meet(one: Scope, other: Scope) -> bool {
    let is_screen = |scope| !matches!(scope, Scope::Global | Scope::List | Scope::Popup);
    let is_list =
        |scope| is_screen(scope) && !matches!(scope, Scope::Pager | Scope::SteadyState | Scope::Editor);
    match (one, other) {
        _ if one == other => true,
        // Who types, types: no other scope is asked.
        (Scope::Popup | Scope::Typing, _) | (_, Scope::Popup | Scope::Typing) => false,
        (Scope::Global, _) | (_, Scope::Global) => true,
        (Scope::List, screen) | (screen, Scope::List) => is_list(screen),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
