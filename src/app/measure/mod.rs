//! What the console measures of the application: which dashboard, whom it asks, what came of it, and when faults were in
//! place meanwhile. It goes on whatever screen is shown, so that there is a past to compare with.

pub mod dashboards;
pub mod describe;
pub mod history;
pub mod windows;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Measurement};
use super::popup::Popup;
use super::screens::steady_state::SteadyState;
use super::state::State;
use crate::api::Injection;
use crate::report::Trouble;
use crate::steady_state::board::Board;
use crate::steady_state::dashboard::{Dashboard, Scrape};
use crate::steady_state::discovery::{self, Discovery, Endpoint};
use crate::steady_state::frame::{Frame, Target};
use history::History;
use windows::{Standing, Windows};

/// What is measured, and what came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Measure {
    /// What the dashboard is called: one that comes with the program, or a file. Empty until one is chosen.
    pub name: String,
    /// The dashboard that is shown.
    pub dashboard: Option<Arc<Dashboard>>,
    /// The same with its expressions read, for the loop.
    #[serde(skip)]
    board: Option<Arc<Board>>,
    /// Why nothing is measured, or not all.
    pub trouble: Option<Trouble>,
    /// Pods of the dashboard that are not asked, each with why.
    pub left_out: Vec<String>,
    /// How the pods answered last.
    pub targets: Vec<Target>,
    /// What was measured.
    pub history: History,
    /// When faults were in place.
    pub windows: Windows,
    /// Whether pods changed since it was last worked out whom to ask.
    pub is_unsettled: bool,
    /// The second of Unix time in which that was.
    #[serde(skip)]
    pub settled: i64,
    /// Whom the loop was told to ask.
    #[serde(skip)]
    asked: Vec<Endpoint>,
}

impl Measure {
    /// Takes in what was measured.
    pub(super) fn take(&mut self, frame: Frame) {
        let panels = self.dashboard.as_ref().map_or(0, |dashboard| dashboard.panels.len());
        // One of the dashboard before may have been on its way when another was chosen.
        if frame.panels.len() == panels {
            self.history.take(&frame);
            self.targets = frame.targets;
        }
    }

    /// How many pods answered last, and the first that did not, with why.
    pub fn answers(&self) -> (usize, Option<(&str, &str)>) {
        let well = self.targets.iter().filter(|target| target.answer.is_ok()).count();
        let failed = self.targets.iter().find_map(|target| {
            let trouble = target.answer.as_ref().err().or(target.complaint.as_ref())?;
            Some((target.pod.as_str(), trouble.as_str()))
        });
        (well, failed)
    }

    /// Shows another dashboard, from nothing.
    fn show(&mut self, name: &str, board: Option<Board>) {
        let windows = std::mem::take(&mut self.windows);
        let asked = std::mem::take(&mut self.asked);
        let name = name.to_owned();
        *self = Self { name, windows, asked, is_unsettled: true, ..Self::default() };
        self.put(board);
    }

    fn put(&mut self, board: Option<Board>) {
        self.dashboard = board.as_ref().map(|board| Arc::new(board.dashboard().clone()));
        self.board = board.map(Arc::new);
    }
}

/// Opens the dashboard of this name.
pub(super) fn open(state: &mut State, name: &str, effects: &mut Vec<Effect>) {
    if let Some(text) = dashboards::named(name) {
        show(state, name, text, effects);
    } else {
        state.measure.show(dashboards::NONE, None);
        settle(state, effects);
    }
    state.settings.dashboard = Some(state.measure.name.clone());
    effects.push(Effect::Save(Box::new(state.settings.clone())));
}

/// Opens the dashboard in this text, which has this name.
pub(super) fn show(state: &mut State, name: &str, text: &str, effects: &mut Vec<Effect>) {
    match dashboards::read(name, text) {
        Ok(board) => {
            state.measure.show(name, Some(board));
            state.steady_state = SteadyState { length: state.steady_state.length, ..SteadyState::default() };
            settle(state, effects);
        }
        Err(trouble) => state.popup = Some(failed(trouble)),
    }
}

fn failed(trouble: Trouble) -> Popup {
    Popup::Failed { title: "Not shown".to_owned(), trouble, lines: Vec::new(), offset: 0 }
}

/// Asks the pods on this port, whatever the dashboard says.
pub(super) fn set_port(state: &mut State, port: u16, effects: &mut Vec<Effect>) {
    if let Some(board) = state.measure.board.take() {
        state.measure.put(Some(Arc::unwrap_or_clone(board).with_port(port)));
        settle(state, effects);
    }
}

/// Works out whom to ask, and says so if it is not who is asked. Where nothing was chosen, a dashboard of pods that are
/// there opens by itself: nobody else is asked without being told to.
pub(super) fn settle(state: &mut State, effects: &mut Vec<Effect>) {
    if state.measure.name.is_empty() {
        begin(state);
    }
    (state.measure.is_unsettled, state.measure.settled) = (false, state.now.as_second());
    let Some(board) = state.measure.board.clone() else {
        if !state.measure.asked.is_empty() {
            state.measure.asked.clear();
            effects.push(Effect::Measure(None));
        }
        return;
    };
    let found = find(state, &board.dashboard().scrape);
    let measure = &mut state.measure;
    measure.trouble = found.endpoints.is_empty().then(|| nobody(&board.dashboard().scrape, &found));
    measure.left_out = found.left_out.iter().map(|pod| format!("{}: {}", pod.pod, pod.why)).collect();
    if measure.asked != found.endpoints {
        measure.asked.clone_from(&found.endpoints);
        effects.push(Effect::Measure(Some(Box::new(Measurement { board, endpoints: found.endpoints }))));
    }
}

/// What was chosen before, or what fits.
fn begin(state: &mut State) {
    let chosen = state.settings.dashboard.clone();
    if let Some(name) = chosen {
        let board = dashboards::named(&name).and_then(|text| dashboards::read(&name, text).ok());
        let is_known = board.is_some() || name == dashboards::NONE;
        state.measure.show(&name, board);
        if !is_known {
            let what = format!("the settings name the dashboard \"{name}\", which there is not");
            state.measure.trouble = Some(Trouble::new(what).cure("`D` chooses another"));
        }
        return;
    }
    let fits = |(_, board): &&(&str, Board)| !find(state, &board.dashboard().scrape).endpoints.is_empty();
    if let Some((name, board)) = dashboards::PARTICULAR.iter().find(fits) {
        state.measure.show(name, Some(board.clone()));
    }
}

fn find(state: &State, rules: &Scrape) -> Discovery {
    // Most pods of a large cluster are not meant, and nothing of them is copied.
    let meant = state.data.pods.iter().filter(|pod| {
        rules.labels.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
            && (rules.namespaces.is_empty() || rules.namespaces.contains(&pod.namespace))
            && (rules.port.is_some() || !rules.labels.is_empty() || !pod.annotations.is_empty())
    });
    let facts: Vec<_> = meant.map(|pod| pod.facts()).collect();
    discovery::endpoints(rules, &facts)
}

/// Why nobody is asked, and what cures it.
fn nobody(rules: &Scrape, found: &Discovery) -> Trouble {
    if found.need_port().next().is_some() {
        let what = "nothing tells on which port these pods serve their metrics";
        return Trouble::new(what).cure("`:port NUMBER` does, or `port:` in the dashboard");
    }
    let labels: Vec<_> = rules.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let place = if rules.namespaces.is_empty() {
        String::new()
    } else {
        format!(" in {}", rules.namespaces.join(", "))
    };
    let what = if labels.is_empty() {
        format!("no pod{place} says that it has metrics, by its annotation prometheus.io/scrape")
    } else {
        format!("no pod{place} with {} can be asked", labels.join(","))
    };
    let first = found.left_out.first().map(|pod| format!(": {}: {}", pod.pod, pod.why)).unwrap_or_default();
    Trouble::new(format!("{what}{first}")).cure("`D` chooses another dashboard; `d` tells of each pod")
}

/// Takes note of the faults that are in place now.
pub(super) fn observe(state: &mut State) {
    let mut parts: BTreeMap<&str, Vec<&Injection>> = BTreeMap::new();
    for part in state.data.injections.iter() {
        parts.entry(&part.0.spec.experiment.uid).or_default().push(&part.0);
    }
    let none = Vec::new();
    let standings = state.experiments.all.iter().map(|row| {
        let uid = row.object.0.metadata.uid.as_deref().unwrap_or_default();
        Standing {
            uid,
            generation: row.object.0.metadata.generation.unwrap_or_default(),
            overview: &row.overview,
            parts: parts.get(uid).unwrap_or(&none),
        }
    });
    state.measure.windows.observe(standings, state.now);
}
