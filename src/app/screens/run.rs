//! One experiment in depth: its targets with what was read back from them, what happened, and what to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::experiments::reference;
use super::{Pane, Screen};
use crate::app::effect::{Effect, ObjectRef, Request, Slot};
use crate::app::geometry;
use crate::app::list::{List, Row, Sort};
use crate::app::state::State;
use crate::app::store::Experiment;
use crate::report::Trouble;
use crate::report::{Detail, Happening};

/// The columns of the list of targets.
pub const COLUMNS: [&str; 5] = ["TARGET", "NODE", "PHASE", "SINCE", "EVIDENCE, OR WHAT IS WRONG"];

/// A target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetRow {
    id: String,
    /// `namespace/pod`, or `namespace/pod/container`.
    pub name: String,
    /// Whether it is of `spec.target`, the other end.
    pub is_peer: bool,
    /// Its node; empty when only the experiment's records are left.
    pub node: String,
    /// How it stands.
    pub phase: String,
    /// What was read back.
    pub evidence: Option<String>,
    /// What went wrong last, with its cure.
    pub error: Option<String>,
    /// Since when.
    pub since: Option<String>,
}

impl Row for TargetRow {
    fn id(&self) -> &str {
        &self.id
    }
}

/// What the screen remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// The experiment, as it was last.
    pub experiment: Option<Arc<Experiment>>,
    /// Whether it was deleted.
    pub gone: bool,
    /// Which part the keys act on.
    pub focus: Pane,
    /// Its targets.
    pub targets: List<TargetRow>,
    /// Its events, oldest first.
    pub timeline: Vec<Happening>,
    /// Why its events cannot be had.
    pub timeline_trouble: Option<Trouble>,
    /// How many of the newest events are scrolled past.
    pub timeline_offset: usize,
    /// The version of the experiment whose events were asked for.
    timeline_of: Option<String>,
    /// What is to be said of it in depth.
    #[serde(skip)]
    pub detail: Option<Detail>,
}

impl Run {
    /// What is to be said of it beside how it stands: what to do, and what its conditions complain about.
    pub fn remarks(&self) -> Vec<String> {
        let Some(detail) = &self.detail else { return Vec::new() };
        let to_do = detail.to_do.iter().map(|line| format!("to do: {line}"));
        let conditions = detail.conditions.iter().filter_map(|condition| {
            let message = condition.message.as_deref().filter(|message| !message.is_empty())?;
            Some(format!("{:?}: {message}", condition.kind))
        });
        conditions.chain(to_do).collect()
    }
}

/// Opens the experiment.
pub(in crate::app) fn open(state: &mut State, experiment: &Arc<Experiment>, effects: &mut Vec<Effect>) {
    // What went wrong first.
    let targets = List { sort: Sort { column: 2, descending: false }, ..List::default() };
    state.run =
        Run { experiment: Some(Arc::clone(experiment)), focus: Pane::Targets, targets, ..Run::default() };
    state.enter(Screen::Run);
    refresh(state);
    follow(state, effects);
}

/// The experiment that is open, as an object.
pub(in crate::app) fn current(state: &State) -> Option<ObjectRef> {
    state.run.experiment.as_ref().map(|experiment| reference(experiment))
}

/// Asks for the events when the experiment has changed.
pub(in crate::app) fn follow(state: &mut State, effects: &mut Vec<Effect>) {
    if state.screen != Screen::Run {
        return;
    }
    let Some(experiment) = &state.run.experiment else { return };
    let version = experiment.0.metadata.resource_version.clone();
    if state.run.timeline_of == version && !state.run.gone {
        return;
    }
    let of = reference(experiment);
    state.run.timeline_of = version;
    let ticket = state.next_ticket(Slot::Timeline);
    effects.push(Effect::Load { slot: Slot::Timeline, ticket, request: Request::Events(of) });
}

/// The order of phases: what needs somebody comes first, what is over last.
fn urgency(phase: &str) -> u8 {
    match phase {
        "Failed" => 0,
        "Stuck" => 1,
        "Waiting" => 2,
        "Injected" => 3,
        "Done" => 4,
        _ => 5,
    }
}

/// Works out what is to be said of the experiment.
pub(in crate::app) fn refresh(state: &mut State) {
    let Some(last) = state.run.experiment.clone() else { return };
    let now = state.data.experiment(last.id()).cloned();
    state.run.gone = now.is_none();
    let experiment = now.unwrap_or(last);
    let parts = state.data.parts(experiment.id()).collect();
    let detail = Detail::new(
        experiment.kind(),
        &experiment.0,
        Ok(parts),
        // Its events are fetched when it changes, and shown beside it.
        Ok(Vec::new()),
        state.now,
    );
    let filter = &state.run.targets.filter;
    let labels = BTreeMap::new();
    let mut rows = Vec::new();
    for node in &detail.nodes {
        for target in &node.targets {
            let on = node.node.clone().unwrap_or_default();
            if filter.shows(&[&target.id, &on, &target.phase], &labels) {
                rows.push(Arc::new(TargetRow {
                    id: format!("{} {}", target.selector_key, target.id),
                    name: target.id.clone(),
                    is_peer: target.selector_key == crate::api::TARGET_KEY,
                    node: on,
                    phase: target.phase.clone(),
                    evidence: target.evidence.clone(),
                    error: target.error.clone(),
                    since: target.since.clone(),
                }));
            }
        }
    }
    rows.sort_by(|one, other| one.id.cmp(&other.id));
    let sort = state.run.targets.sort;
    match sort.column {
        1 => rows.sort_by(|one, other| one.node.cmp(&other.node)),
        2 => rows.sort_by_key(|row| urgency(&row.phase)),
        3 => rows.sort_by(|one, other| one.since.cmp(&other.since)),
        _ => {}
    }
    if sort.descending {
        rows.reverse();
    }
    let visible = geometry::rows(state, Pane::Targets);
    state.run.experiment = Some(experiment);
    state.run.detail = Some(detail);
    state.run.targets.set_rows(rows, visible);
}
