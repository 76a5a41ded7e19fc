//! A dashboard at work: its expressions over the series that were scraped.

use jiff::Timestamp;

use super::dashboard::{self, Dashboard, Panel};
use super::frame::Line;
use super::promql::{Query, Sample, Value, Wanted};
use super::series::{Labels, MAX_SERIES, Presence, Store};
use crate::manifest::{Diagnostic, Located, Position};

/// The largest file of a dashboard.
pub const MAX_BYTES: usize = 256 * 1024;

/// How many panels a dashboard may have.
pub const MAX_PANELS: usize = 64;

/// How many queries a panel may have.
pub const MAX_QUERIES: usize = 16;

/// The longest title or legend, in characters.
pub const MAX_TITLE: usize = 200;

/// How many lines of a panel are shown: nobody tells more apart.
pub const MAX_LINES: usize = 50;

/// Where examples are.
const EXAMPLES: &str = "templates/steady-state/ has examples";

/// A dashboard whose expressions have been read.
#[derive(Clone, Debug)]
pub struct Board {
    dashboard: Dashboard,
    /// The expressions of each panel.
    queries: Vec<Vec<Query>>,
    wanted: Wanted,
}

/// What all panels show at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// One for each panel: its lines in an order that stays, at most [`MAX_LINES`], or why there are none.
    pub panels: Vec<Result<Vec<Line>, String>>,
    /// How many lines of each panel were left out.
    pub omitted: Vec<usize>,
}

/// What one selector of an expression finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The number of the query in its panel.
    pub query: usize,
    /// The selector, as in the expression.
    pub selector: String,
    /// What there is of it. A reset only of what the expression takes for a counter.
    pub presence: Presence,
}

impl Board {
    /// Reads a file with a dashboard. Fails with all that is wrong with it, each with its place.
    pub fn read(bytes: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        let file = Located::read(bytes, MAX_BYTES)?;
        let dashboard: Dashboard = serde_yaml::from_str(file.text).map_err(|error| vec![shape(&error)])?;
        let mut problems = scraping(&file, &dashboard.scrape);
        problems.extend(title(&file, "title", &dashboard.title));
        if dashboard.panels.is_empty() || dashboard.panels.len() > MAX_PANELS {
            let what = format!("there are {} panels", dashboard.panels.len());
            return Err(vec![file.error("panels", &what, &format!("write 1 to {MAX_PANELS}"))]);
        }
        let mut queries = Vec::new();
        for (at, panel) in dashboard.panels.iter().enumerate() {
            let path = format!("panels[{at}]");
            let before = dashboard.panels.get(..at).unwrap_or_default();
            if before.iter().any(|other| other.title == panel.title) {
                let what = format!("another panel is called {:?}", panel.title);
                problems.push(file.error(&format!("{path}.title"), &what, "give each a title of its own"));
            }
            match panel_queries(&file, &path, panel) {
                Ok(read) => queries.push(read),
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            problems.sort_by_key(|problem| problem.position);
            return Err(problems);
        }
        let wanted = Wanted::new(queries.iter().flatten());
        Ok(Self { dashboard, queries, wanted })
    }

    /// The same for pods that serve their metrics on this port, whatever the file says.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.dashboard.scrape.port = Some(port);
        self
    }

    /// The file's content.
    pub const fn dashboard(&self) -> &Dashboard {
        &self.dashboard
    }

    /// Which metrics are needed.
    pub const fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// A store that keeps what the expressions look back.
    pub fn store(&self) -> Store {
        let window = self.queries.iter().flatten().map(Query::window).max().unwrap_or_default();
        Store::new(window, MAX_SERIES)
    }

    /// What all panels show at `at`.
    pub fn show(&self, store: &Store, at: Timestamp) -> Shown {
        let mut shown = Shown::default();
        for (panel, queries) in self.dashboard.panels.iter().zip(&self.queries) {
            let lines = lines(panel, queries, store, at.as_millisecond());
            let omitted = lines.as_ref().map_or(0, |lines| lines.len().saturating_sub(MAX_LINES));
            shown.panels.push(lines.map(|mut lines| {
                lines.truncate(MAX_LINES);
                lines
            }));
            shown.omitted.push(omitted);
        }
        shown
    }

    /// What each panel's selectors find at `at`, in milliseconds since 1970: why there is nothing to show, and whether
    /// what is counted began anew.
    pub fn sources(&self, store: &Store, at: i64) -> Vec<Vec<Source>> {
        let of_query = |(query, expression): (usize, &Query)| {
            let sources = expression.needs().into_iter().map(|need| {
                let presence = match store.presence(need.selector, at) {
                    Presence::Present { series, .. } if !need.counter => {
                        Presence::Present { series, reset: None }
                    }
                    other => other,
                };
                Source { query, selector: need.selector.to_string(), presence }
            });
            sources.collect::<Vec<_>>()
        };
        self.queries.iter().map(|queries| queries.iter().enumerate().flat_map(of_query).collect()).collect()
    }
}

/// What `serde` found.
fn shape(error: &serde_yaml::Error) -> Diagnostic {
    let position = error.location().map_or(Position { line: 1, column: 1 }, |place| Position {
        line: place.line(),
        column: place.column(),
    });
    let text = error.to_string();
    // It says the place again at its end.
    let what = text.split_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    Diagnostic::error(position, "", what, EXAMPLES)
}

fn scraping(file: &Located<'_>, scrape: &dashboard::Scrape) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    if scrape.port == Some(0) {
        problems.push(file.error(
            "scrape.port",
            "there is no port 0",
            "write the port that metrics are served on",
        ));
    }
    if !scrape.path.starts_with('/') || scrape.path.contains(|c: char| c.is_control() || c.is_whitespace()) {
        let what = format!("{:?} is no path", scrape.path);
        problems.push(file.error("scrape.path", &what, "begin it with a slash: /metrics"));
    }
    problems
}

fn title(file: &Located<'_>, path: &str, title: &str) -> Option<Diagnostic> {
    let what = match title {
        "" => "it is empty",
        _ if title.chars().count() > MAX_TITLE => "it is too long",
        _ if title.chars().any(char::is_control) => "it holds a control character",
        _ => return None,
    };
    Some(file.error(path, what, &format!("write 1 to {MAX_TITLE} characters in one line")))
}

fn panel_queries(file: &Located<'_>, path: &str, panel: &Panel) -> Result<Vec<Query>, Vec<Diagnostic>> {
    let mut problems: Vec<_> = title(file, &format!("{path}.title"), &panel.title).into_iter().collect();
    if panel.queries.is_empty() || panel.queries.len() > MAX_QUERIES {
        let what = format!("there are {} queries", panel.queries.len());
        problems.push(file.error(&format!("{path}.queries"), &what, &format!("write 1 to {MAX_QUERIES}")));
        return Err(problems);
    }
    let mut queries = Vec::new();
    for (at, query) in panel.queries.iter().enumerate() {
        let path = format!("{path}.queries[{at}]");
        match Query::read(&query.expr) {
            Ok(query) => queries.push(query),
            Err(error) => {
                let what = format!(
                    "at {}:{} of the expression: {}",
                    error.position.line, error.position.column, error.what
                );
                problems.push(file.error(&format!("{path}.expr"), &what, &error.cure));
            }
        }
        let legend = query.legend.as_deref().unwrap_or("-");
        let path = format!("{path}.legend");
        problems.extend(title(file, &path, legend));
        if legend.matches("{{").count() != legend.matches("}}").count() {
            problems.push(file.error(&path, "a brace is missing", "write labels as {{path}}"));
        }
    }
    if problems.is_empty() { Ok(queries) } else { Err(problems) }
}

fn lines(panel: &Panel, queries: &[Query], store: &Store, at: i64) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    for (number, (query, asked)) in queries.iter().zip(&panel.queries).enumerate() {
        let mut samples = match query.evaluate(store, at)? {
            Value::Scalar(value) => vec![Sample { labels: Labels::empty(), value }],
            Value::Vector(samples) => samples,
        };
        samples.sort_by(|a, b| a.labels.cmp(&b.labels));
        lines.extend(samples.into_iter().map(|Sample { labels, value }| {
            let name = match &asked.legend {
                Some(legend) => expand(legend, &labels),
                None if labels.is_empty() => panel.title.clone(),
                None => labels.to_string(),
            };
            let labels = labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            Line { query: number, labels, name, value }
        }));
    }
    Ok(lines)
}

/// The legend with the values of labels in place of their names.
fn expand(legend: &str, labels: &Labels) -> String {
    let mut name = String::new();
    let mut rest = legend;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((label, after)) = after.split_once("}}") else { break };
        name.push_str(before);
        name.push_str(labels.get(label.trim()));
        rest = after;
    }
    name.push_str(rest);
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steady_state::series::NAME;

    const HEAD: &str = "title: T\nscrape:\n  port: 8080\npanels:\n";

    fn board(panels: &str) -> Board {
        Board::read(format!("{HEAD}{panels}").as_bytes()).unwrap()
    }

    fn errors(text: &str) -> Vec<String> {
        Board::read(text.as_bytes()).unwrap_err().iter().map(ToString::to_string).collect()
    }

    fn filled(board: &Board, count: usize) -> Store {
        let mut store = board.store();
        for at in [1000, 2000] {
            for number in 0..count {
                let number = format!("{number:03}");
                store.append(&Labels::new([(NAME, "x"), ("path", number.as_str())]), at, 1.0);
            }
        }
        store
    }

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    #[test]
    fn lines_have_names_and_an_order() {
        let board = board(
            "- title: A\n  queries:\n  - expr: x\n    legend: 'path {{path}}, {{ none }}.'\n  - expr: sum(x)\n  - expr: 1 + 1\n    legend: two\n\
             - title: B\n  queries:\n  - expr: x + on(path) {__name__=~\"x|x.*\"} + on() x\n- title: C\n  queries:\n  - expr: x{path=\"001\"}\n",
        );
        let store = filled(&board, 2);
        let shown = board.show(&store, at(2500));
        let lines = shown.panels[0].as_ref().unwrap();
        let names: Vec<_> = lines.iter().map(|line| (line.query, line.name.as_str(), line.value)).collect();
        assert_eq!(names, [(0, "path 000, .", 1.0), (0, "path 001, .", 1.0), (1, "A", 2.0), (2, "two", 2.0)]);
        assert_eq!(lines[0].labels.get("path").map(String::as_str), Some("000"));
        assert!(shown.panels[1].as_ref().unwrap_err().contains("two series on the right side"), "{shown:?}");
        assert_eq!(shown.panels[2].as_ref().unwrap()[0].name, "x{path=\"001\"}");
        assert_eq!(shown.omitted, [0, 0, 0]);
    }

    #[test]
    fn lines_have_a_limit() {
        let board = board("- title: A\n  queries:\n  - expr: x\n");
        let shown = board.show(&filled(&board, MAX_LINES + 7), at(2500));
        assert_eq!((shown.panels[0].as_ref().unwrap().len(), shown.omitted), (MAX_LINES, vec![7]));
    }

    #[test]
    fn sources_tell_why_there_is_nothing() {
        let board = board("- title: A\n  queries:\n  - expr: rate(x[1m]) / y\n  - expr: x\n");
        let mut store = filled(&board, 1);
        store.append(&Labels::new([(NAME, "x"), ("path", "000")]), 3000, 0.0);
        let sources = board.sources(&store, 4000);
        let found: Vec<_> = sources[0]
            .iter()
            .map(|source| (source.query, source.selector.as_str(), source.presence))
            .collect();
        let present = |reset| Presence::Present { series: 1, reset };
        assert_eq!(
            found,
            [(0, "x", present(Some(3000))), (0, "y", Presence::Missing), (1, "x", present(None))]
        );
        assert!(board.wanted().wants("x") && board.wanted().wants("y") && !board.wanted().wants("z"));
    }

    #[test]
    fn mistakes_have_places() {
        for (text, expected) in [
            ("", "1:1: error: the file holds 0 documents; write one document into a file"),
            ("title: [", "1:8: error: this is not YAML"),
            (
                "title: T\nwrong: 1\nscrape: {}\npanels: []\n",
                "2:1: error: unknown field `wrong`, expected one of `title`, `scrape`, `panels`",
            ),
            ("title: T\nscrape: {}\n", "1:1: error: missing field `panels`"),
            ("title: T\nscrape: {}\npanels: []\n", "3:1: error: panels: there are 0 panels; write 1 to 64"),
            (
                "title: T\nscrape: {port: 0, path: x}\npanels: [{title: A, queries: [{expr: x}]}]\n",
                "2:16: error: scrape.port: there is no port 0",
            ),
            ("title: T\nscrape: {port: 99999}\npanels: []\n", "2:16: error: scrape.port: invalid value"),
            (
                "title: \"\"\nscrape: {}\npanels: [{title: A, queries: [{expr: x}]}]\n",
                "1:8: error: title: it is empty",
            ),
            (
                "title: T\nscrape: {}\npanels:\n- title: A\n  queries: []\n",
                "5:3: error: panels[0].queries: there are 0 queries",
            ),
            (
                "title: T\nscrape: {}\npanels:\n- title: A\n  queries:\n  - expr: sum(x\n    legend: '{{a'\n- title: A\n  queries:\n  - expr: x\n",
                "6:11: error: panels[0].queries[0].expr: at 1:6 of the expression: unclosed left parenthesis; see",
            ),
        ] {
            let found = errors(text);
            assert!(found[0].starts_with(expected), "{text}\n  {found:#?}");
        }
        let found = errors(
            "title: T\nscrape: {}\npanels:\n- title: A\n  queries:\n  - expr: sum(x\n    legend: '{{a'\n- title: A\n  queries:\n  - expr: x\n",
        );
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(
            found[1].starts_with("7:13: error: panels[0].queries[0].legend: a brace is missing"),
            "{found:#?}"
        );
        assert!(
            found[2].starts_with("8:10: error: panels[1].title: another panel is called \"A\""),
            "{found:#?}"
        );
        assert!(errors(&"#".repeat(MAX_BYTES + 1))[0].contains("larger than 256 KiB"));
        let panel = |at| format!("- title: P{at}\n  queries:\n  - expr: x\n");
        let many = (0..=MAX_PANELS).map(panel).collect::<Vec<_>>().concat();
        assert!(errors(&format!("{HEAD}{many}"))[0].contains("there are 65 panels"));
    }
}
