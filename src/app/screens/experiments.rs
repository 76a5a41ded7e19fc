//! All experiments: how each stands, whom it hits, how long it still has.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Pane;
use crate::api::Injection;
use crate::app::effect::ObjectRef;
use crate::app::geometry;
use crate::app::list::{List, Row};
use crate::app::state::State;
use crate::app::store::Experiment;
use crate::report::Overview;
use crate::report::Remaining;

/// The columns of the list. The verdict is the steady state's, and stays empty where none is defined.
pub const COLUMNS: [&str; 8] =
    ["NAMESPACE", "KIND", "NAME", "PHASE", "TARGETS", "REMAINING", "VERDICT", "AGE"];

/// A row of the list.
#[derive(Clone, Debug)]
pub struct ExperimentRow {
    /// The experiment.
    pub object: Arc<Experiment>,
    /// What is to be said of it at a glance.
    pub overview: Overview,
}

impl Row for ExperimentRow {
    fn id(&self) -> &str {
        self.object.id()
    }
}

impl ExperimentRow {
    /// Whether the experiment is neither over nor refused.
    pub fn is_active(&self) -> bool {
        !matches!(self.overview.phase.as_str(), "Finished" | "Invalid")
    }

    /// The experiment as an object.
    pub fn reference(&self) -> ObjectRef {
        reference(&self.object)
    }
}

/// What the screen remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Experiments {
    /// The experiments that are shown.
    pub list: List<ExperimentRow>,
    /// All of them, as they stood in the second of the last event.
    #[serde(skip)]
    pub all: Vec<Arc<ExperimentRow>>,
    /// That second, of Unix time.
    #[serde(skip)]
    second: i64,
}

/// An experiment as an object.
pub(in crate::app) fn reference(experiment: &Experiment) -> ObjectRef {
    ObjectRef {
        kind: experiment.kind().to_owned(),
        namespace: Some(experiment.namespace()),
        name: experiment.name(),
        uid: experiment.id().to_owned(),
    }
}

/// Works out how each experiment stands now. Every screen needs that, for its banner.
pub(in crate::app) fn take_stock(state: &mut State) {
    let mut parts: BTreeMap<&str, Vec<&Injection>> = BTreeMap::new();
    for part in state.data.injections.iter() {
        parts.entry(&part.0.spec.experiment.uid).or_default().push(&part.0);
    }
    let row = |object: &Arc<Experiment>| {
        let left = Remaining::of(parts.get(object.id()).into_iter().flatten().copied(), state.now);
        let overview = object.glance().clone().with_left(left);
        Arc::new(ExperimentRow { object: Arc::clone(object), overview })
    };
    let all = state.data.all_experiments().map(row).collect();
    state.experiments.all = all;
    state.experiments.second = state.now.as_second();
    crate::app::measure::observe(state);
}

/// Whether time went by since the last stock was taken, so that countdowns are not what they were.
pub(in crate::app) fn is_stock_old(state: &State) -> bool {
    state.experiments.second != state.now.as_second()
}

/// Works out the list anew.
pub(in crate::app) fn refresh(state: &mut State) {
    let list = &state.experiments.list;
    let namespace = state.namespace.as_deref();
    let none = BTreeMap::new();
    let shows = |row: &&Arc<ExperimentRow>| {
        let overview = &row.overview;
        let texts = [overview.name.as_str(), &overview.namespace, &overview.kind, &overview.phase];
        namespace.is_none_or(|namespace| overview.namespace == namespace)
            && list.filter.shows(&texts, row.object.0.metadata.labels.as_ref().unwrap_or(&none))
    };
    let mut rows: Vec<_> = state.experiments.all.iter().filter(shows).cloned().collect();
    let sort = list.sort;
    rows.sort_by(|one, other| {
        let order = compare(sort.column, &one.overview, &other.overview);
        let order = if sort.descending { order.reverse() } else { order };
        // The newest first, where the column makes no difference.
        order.then_with(|| other.overview.created.cmp(&one.overview.created))
    });
    let visible = geometry::rows(state, Pane::Experiments);
    state.experiments.list.set_rows(rows, visible);
}

fn compare(column: usize, one: &Overview, other: &Overview) -> Ordering {
    match column {
        0 => one.namespace.cmp(&other.namespace),
        1 => one.kind.cmp(&other.kind),
        2 => one.name.cmp(&other.name),
        3 => one.phase.cmp(&other.phase),
        4 => one.targets.map(|targets| targets.selected).cmp(&other.targets.map(|targets| targets.selected)),
        5 => one.remaining_seconds.cmp(&other.remaining_seconds),
        7 => other.created.cmp(&one.created),
        _ => Ordering::Equal,
    }
}
