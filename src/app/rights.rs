//! What the API server lets this user do, and what each action needs: so that a key that would be refused says so before
//! it is pressed.
//!
//! What is not known counts as allowed: only the API server's own no makes a key grey. The two that take faults away,
//! the emergency stop and stop, are tried all the same, since a no may be out of date.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::action::Action;
use super::effect::{Effect, ObjectRef};
use super::keymap::{Binding, Effect as Harm};
use super::screens::{Screen, experiments};
use super::state::State;
use crate::api::custom_kinds;
use crate::report::{Right, Trouble};

/// How long an answer is believed.
const BELIEVED: SignedDuration = SignedDuration::from_mins(5);

/// The namespace of experiments that name none, where none is shown alone.
const DEFAULT_NAMESPACE: &str = "default";

/// What is known.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rights {
    /// Who the API server takes us for.
    pub who: Option<String>,
    /// What it said last of each right; nothing where it gave no answer.
    #[serde(with = "pairs")]
    known: BTreeMap<Right, Option<bool>>,
    /// What was asked for lately.
    asked: BTreeSet<Right>,
    /// Since when.
    since: Timestamp,
}

/// A map whose keys are no strings.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::report::Right;

    type Known = BTreeMap<Right, Option<bool>>;

    pub(super) fn serialize<S: Serializer>(known: &Known, serializer: S) -> Result<S::Ok, S::Error> {
        known.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Known, D::Error> {
        Ok(Vec::<(Right, Option<bool>)>::deserialize(deserializer)?.into_iter().collect())
    }
}

impl Rights {
    /// Takes in what the API server said.
    pub(super) fn take(&mut self, who: Option<String>, answers: Vec<(Right, Option<bool>)>) {
        self.who = who.or(self.who.take());
        self.known.extend(answers);
    }

    /// Everything is asked anew when it is needed again. Until then what is known counts.
    pub(super) fn ask_anew(&mut self) {
        self.asked.clear();
    }

    /// Whether the API server refuses this, everywhere or in its namespace.
    fn refuses(&self, right: &Right) -> bool {
        let said = |right: &Right| self.known.get(right).copied().flatten();
        said(right) == Some(false) && said(&right.everywhere()) != Some(true)
    }

    /// What is to be asked to know of this one: first of all namespaces, then of its own.
    fn question(&self, right: &Right) -> Option<Right> {
        let everywhere = right.everywhere();
        if !self.asked.contains(&everywhere) {
            return Some(everywhere);
        }
        let denied = self.known.get(&everywhere) == Some(&Some(false));
        (denied && !self.asked.contains(right)).then(|| right.clone())
    }

    /// What to say of a right that is missing.
    pub fn trouble(&self, right: &Right) -> Trouble {
        let who = self.who.as_deref().unwrap_or("you");
        Trouble::new(format!("{who} may not {right}")).cure(format!("have it granted: {}", right.grant(who)))
    }
}

/// The rights that an action takes as the console stands now. Reading is not among them: what may not be read is told
/// where it would be shown.
fn needed(state: &State, action: Action) -> Vec<Right> {
    let of_kinds = |verb: &str, namespace: &str| {
        let kinds = custom_kinds().iter().filter(|kind| kind.namespaced && kind.group == "chaos-mesh.org");
        kinds.map(|kind| Right::new(verb, kind.group, kind.plural, Some(namespace))).collect()
    };
    let of_experiment = |verb: &str| {
        let experiment = state.current_experiment().map(experiments::reference);
        experiment.and_then(|object| of(&object, verb)).into_iter().collect()
    };
    match action {
        Action::Launch if state.screen == Screen::Editor || state.screen == Screen::Templates => {
            let shown = state.namespace.as_deref().or(state.world.namespace.as_deref());
            of_kinds("create", shown.unwrap_or(DEFAULT_NAMESPACE))
        }
        Action::Pause | Action::Resume | Action::TurnUp | Action::TurnDown => of_experiment("patch"),
        Action::Stop => of_experiment("delete"),
        Action::Halt => vec![Right::new("create", "squall.dev", "halts", None)],
        Action::Release => vec![Right::new("delete", "squall.dev", "halts", None)],
        Action::Logs => match state.current() {
            Some(object) if object.kind == "Pod" => {
                vec![Right::new("get", "", "pods/log", object.namespace.as_deref())]
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The right to do something to an experiment.
fn of(object: &ObjectRef, verb: &str) -> Option<Right> {
    let kind = custom_kinds().iter().find(|kind| kind.kind == object.kind)?;
    Some(Right::new(verb, kind.group, kind.plural, object.namespace.as_deref()))
}

/// The right that an action lacks. Launching lacks one only where no kind of experiment may be made: which kind is in
/// the file is the API server's to see.
pub(super) fn missing(state: &State, action: Action) -> Option<Right> {
    let needed = needed(state, action);
    let mut refused = needed.iter().filter(|right| state.rights.refuses(right));
    let first = refused.next()?;
    let all = 1 + refused.count() == needed.len();
    all.then(|| first.clone())
}

/// Whether an action is tried although a right for it seems to be missing: it takes faults away.
pub(super) const fn is_tried_anyway(action: Action) -> bool {
    matches!(action, Action::Halt | Action::Stop)
}

impl State {
    /// Why this cannot be done now, if it cannot.
    pub fn why_not(&self, binding: &Binding) -> Option<Cow<'static, str>> {
        if let Err(why) = (binding.available)(self) {
            return Some(Cow::Borrowed(why));
        }
        missing(self, binding.action).map(|right| {
            let who = self.rights.who.as_deref().unwrap_or("you");
            Cow::Owned(format!("{who} may not {right}"))
        })
    }

    /// Whether nothing at all may be changed by this user, as far as is known.
    pub fn may_change_nothing(&self) -> bool {
        let shown =
            self.namespace.as_deref().or(self.world.namespace.as_deref()).unwrap_or(DEFAULT_NAMESPACE);
        let kinds = custom_kinds().iter().filter(|kind| kind.namespaced && kind.group == "chaos-mesh.org");
        let mut all = kinds.flat_map(|kind| {
            ["create", "patch", "delete"].map(|verb| Right::new(verb, kind.group, kind.plural, Some(shown)))
        });
        self.rights.refuses(&Right::new("create", "squall.dev", "halts", None))
            && all.all(|right| self.rights.refuses(&right))
    }
}

/// Asks for what is shown now and not known yet.
pub(super) fn settle(state: &mut State, effects: &mut Vec<Effect>) {
    if state.now.duration_since(state.rights.since) > BELIEVED {
        state.rights.ask_anew();
    }
    let scopes = state.scopes();
    let shown =
        state.keymap.rows().map(|(binding, _)| binding).filter(|binding| scopes.contains(&binding.scope));
    let changing = shown.filter(|binding| !(state.read_only && binding.effect != Harm::Reads));
    let mut needed: Vec<_> = changing.flat_map(|binding| needed(state, binding.action)).collect();
    if !state.read_only {
        let namespace = state.namespace.as_deref().or(state.world.namespace.as_deref());
        for kind in custom_kinds().iter().filter(|kind| kind.namespaced && kind.group == "chaos-mesh.org") {
            needed.extend(["create", "patch", "delete"].map(|verb| {
                Right::new(verb, kind.group, kind.plural, Some(namespace.unwrap_or(DEFAULT_NAMESPACE)))
            }));
        }
    }
    let mut questions: Vec<_> = needed.iter().filter_map(|right| state.rights.question(right)).collect();
    questions.sort();
    questions.dedup();
    if questions.is_empty() {
        return;
    }
    if state.rights.asked.is_empty() {
        state.rights.since = state.now;
    }
    state.rights.asked.extend(questions.iter().cloned());
    effects.push(Effect::Review(questions));
}

#[cfg(test)]
#[path = "rights_tests.rs"]
mod tests;
