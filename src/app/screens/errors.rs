//! What was said so far: above all what went wrong, and what cures it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Pane;
use crate::app::geometry;
use crate::app::list::List;
use crate::app::notice::Notice;
use crate::app::state::State;

/// The columns of the list.
pub const COLUMNS: [&str; 3] = ["AGE", "HOW", "WHAT HAPPENED, AND WHAT TO DO"];

/// What the screen remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Errors {
    /// What was said, the newest first.
    pub list: List<Notice>,
}

/// Works out the list anew.
pub(in crate::app) fn refresh(state: &mut State) {
    let filter = &state.errors.list.filter;
    let labels = BTreeMap::new();
    let shows = |notice: &&Arc<Notice>| filter.shows(&[&notice.trouble.whole()], &labels);
    let mut rows: Vec<_> = state.notices.newest_first().filter(shows).cloned().collect();
    if state.errors.list.sort.descending {
        rows.reverse();
    }
    let visible = geometry::rows(state, Pane::Errors);
    state.errors.list.set_rows(rows, visible);
}
