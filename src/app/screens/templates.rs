//! The experiment files that come with the program.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Pane;
use crate::app::geometry;
use crate::app::list::List;
use crate::app::state::State;
use crate::app::templates::{TEMPLATES, Template};

/// The columns of the list.
pub const COLUMNS: [&str; 3] = ["NAME", "KIND", "WHAT IT DOES"];

/// What the screen remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Templates {
    /// The templates.
    pub list: List<Template>,
}

/// The kind of a template, such as `NetworkChaos`.
pub fn kind(template: &Template) -> &str {
    template.text.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap_or_default()
}

/// Works out the list anew.
pub(in crate::app) fn refresh(state: &mut State) {
    let list = &state.templates.list;
    let labels = std::collections::BTreeMap::new();
    let shows = |template: &&Arc<Template>| {
        list.filter.shows(&[template.name, kind(template), &template.summary], &labels)
    };
    let mut rows: Vec<_> = TEMPLATES.iter().filter(shows).cloned().collect();
    match list.sort.column {
        // As they are listed: the tutorial's first.
        0 if !list.sort.descending => {}
        1 => rows.sort_by(|one, other| kind(one).cmp(kind(other))),
        2 => rows.sort_by(|one, other| one.summary.cmp(&other.summary)),
        _ => rows.sort_by_key(|template| template.name),
    }
    if list.sort.descending {
        rows.reverse();
    }
    let visible = geometry::rows(state, Pane::Templates);
    state.templates.list.set_rows(rows, visible);
}
