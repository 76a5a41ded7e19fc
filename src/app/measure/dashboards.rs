//! The dashboards that come with the program.

use std::sync::LazyLock;

use crate::report::Trouble;
use crate::steady_state::board::Board;

macro_rules! dashboards {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../templates/steady-state/", $name, ".yaml")))),*]
    };
}

/// The tutorial's first: where its pods are, it is opened without being asked for.
const FILES: [(&str, &str); 5] = dashboards!["movies", "http", "flask", "go", "node"];

/// What is chosen where nothing is to be measured.
pub const NONE: &str = "none";

/// What can be chosen.
pub fn names() -> Vec<String> {
    FILES.iter().map(|(name, _)| *name).chain([NONE]).map(str::to_owned).collect()
}

/// The file of this name.
pub fn named(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Those for one application, which name its namespace and its labels. Only they open by themselves: what is in every
/// cluster, such as the exporters of all its nodes, is not asked each second unasked. They are read once: it is looked for them whenever pods change.
pub static PARTICULAR: LazyLock<Vec<(&'static str, Board)>> = LazyLock::new(|| {
    let read = FILES.iter().filter_map(|(name, text)| Some((*name, read(name, text).ok()?)));
    let is_particular = |(_, board): &(&str, Board)| {
        let rules = &board.dashboard().scrape;
        !rules.labels.is_empty() && !rules.namespaces.is_empty()
    };
    read.filter(is_particular).collect()
});

/// Reads a dashboard, and says in which file it cannot be read.
///
/// # Errors
/// It is no dashboard.
pub fn read(name: &str, text: &str) -> Result<Board, Trouble> {
    let problems = match Board::read(text.as_bytes()) {
        Ok(board) => return Ok(board),
        Err(problems) => problems,
    };
    let first = problems.first().map(|problem| problem.what.clone()).unwrap_or_default();
    let lines: Vec<_> = problems.iter().map(|problem| format!("{name}:{problem}")).collect();
    Err(Trouble::new(format!("{name} is no dashboard: {first}")).cure(lines.join("; ")))
}
