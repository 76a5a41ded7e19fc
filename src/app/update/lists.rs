//! What all lists have in common, whatever their rows are: keys act on the one that has the focus.

use crate::app::filter::Filter;
use crate::app::list::{List, Motion, Row, Sort};
use crate::app::screens::{Pane, cluster, errors, experiments, run, templates};
use crate::app::state::State;

/// A list of any rows.
pub(super) trait AnyList {
    fn go(&mut self, motion: Motion, visible: usize);
    fn select(&mut self, index: usize, visible: usize);
    fn offset(&self) -> usize;
    fn filter(&self) -> &Filter;
    fn set_filter(&mut self, filter: Filter);
    fn sort(&mut self) -> &mut Sort;
}

impl<T: Row> AnyList for List<T> {
    fn go(&mut self, motion: Motion, visible: usize) {
        Self::go(self, motion, visible);
    }

    fn select(&mut self, index: usize, visible: usize) {
        Self::select(self, index, visible);
    }

    fn offset(&self) -> usize {
        self.offset
    }

    fn filter(&self) -> &Filter {
        &self.filter
    }

    fn set_filter(&mut self, filter: Filter) {
        self.filter = filter;
    }

    fn sort(&mut self) -> &mut Sort {
        &mut self.sort
    }
}

/// The list of this pane.
pub(super) fn of(state: &mut State, pane: Pane) -> Option<&mut dyn AnyList> {
    Some(match pane {
        Pane::Nodes => &mut state.cluster.nodes,
        Pane::Pods => &mut state.cluster.pods,
        Pane::Experiments => &mut state.experiments.list,
        Pane::Templates => &mut state.templates.list,
        Pane::Form => &mut state.editor.form,
        Pane::Targets => &mut state.run.targets,
        Pane::Help => &mut state.help.list,
        Pane::Settings => &mut state.settings_screen.list,
        Pane::Errors => &mut state.errors.list,
        Pane::Details | Pane::Summary | Pane::Timeline | Pane::Panels | Pane::Text | Pane::Editor => {
            return None;
        }
    })
}

/// The list that the keys act on.
pub(super) fn list(state: &mut State) -> Option<&mut dyn AnyList> {
    of(state, state.focus())
}

/// How many columns the list of this pane has.
pub(super) const fn columns(pane: Pane) -> usize {
    match pane {
        Pane::Nodes => cluster::NODE_COLUMNS.len(),
        Pane::Pods => cluster::POD_COLUMNS.len(),
        Pane::Experiments => experiments::COLUMNS.len(),
        Pane::Templates => templates::COLUMNS.len(),
        Pane::Targets => run::COLUMNS.len(),
        Pane::Errors => errors::COLUMNS.len(),
        _ => 1,
    }
}
