//! The editor: a text of experiments, what is wrong with it, whom it would hit, and the same as a form.
//!
//! ```text
//! key ► typing ► buffer ─┬► manifest::read ► problems
//!                        ├► a plan, a moment after the last change ► preview
//!                        ├► outline + schema ► complete, help for the field, form
//!                        └► ui
//! ```
//!
//! The text is the only truth; everything else is worked out from it.

pub mod buffer;
pub mod complete;
pub mod form;
pub mod outline;
pub mod schema;
pub mod typing;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::effect::ObjectRef;
use super::geometry;
use super::list::List;
use super::screens::Pane;
use super::state::State;
use crate::manifest::{self, Severity};
use crate::report::Trouble;
use crate::report::plan::Report;
use crate::ui::text;
use buffer::{Buffer, MAX_BYTES};
use complete::Offer;
use form::FormRow;

/// How long after the last change the preview is asked for.
pub const CALM: SignedDuration = SignedDuration::from_millis(300);

/// How often the preview is asked for anew at most while the cluster changes.
const AGAIN: SignedDuration = SignedDuration::from_secs(2);

/// How many columns stay in sight on either side of the cursor.
const ASIDE: usize = 4;

/// Where a text comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// From nowhere: it is new.
    #[default]
    New,
    /// A template.
    Template(String),
    /// A file.
    File {
        /// Its path.
        path: String,
        /// What it was like when it was read: another one is not overwritten.
        stamp: String,
    },
    /// An experiment of the cluster.
    Experiment(ObjectRef),
    /// What an earlier console could not save, in this file.
    Recovered(String),
}

impl Origin {
    /// What it is called in titles.
    pub fn label(&self) -> String {
        match self {
            Self::New => "new".to_owned(),
            Self::Template(name) => format!("template {name}"),
            Self::File { path, .. } => path.clone(),
            Self::Experiment(object) => object.label(),
            Self::Recovered(_) => "recovered".to_owned(),
        }
    }
}

/// What keys do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// They write.
    #[default]
    Typing,
    /// They do what they do elsewhere.
    Resting,
    /// They act on the form.
    Form,
}

/// How bad a problem is; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Grade {
    /// It cannot be launched.
    Error,
    /// It may not be meant.
    Warning,
    /// Worth knowing.
    Note,
}

/// One thing that is wrong with the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its line and column, both from 1.
    pub at: (usize, usize),
    /// How bad it is.
    pub grade: Grade,
    /// The field that it is about; empty if it is the text, which cannot be read there.
    #[serde(default)]
    pub path: String,
    /// What it is.
    pub what: String,
    /// What to write instead; empty where nobody can know.
    pub cure: String,
}

impl Problem {
    /// `LINE:COL what`.
    pub fn line(&self) -> String {
        format!("{}:{} {}", self.at.0, self.at.1, self.what)
    }
}

/// Whom it would hit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Preview {
    /// It was not asked for.
    #[default]
    Unknown,
    /// It was asked for.
    Asked,
    /// What the cluster says.
    Ready(Vec<Report>),
    /// It cannot be had.
    Failed(Trouble),
}

/// A text that is to be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manuscript {
    /// The text.
    pub text: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// What the screen remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Editor {
    /// The text.
    pub buffer: Buffer,
    /// Where it comes from.
    pub origin: Origin,
    /// What keys do.
    pub mode: Mode,
    /// The text as it was opened or saved last.
    pub saved: String,
    /// The text that is being saved.
    pub saving: Option<String>,
    /// Whether what is written is not what was opened or saved.
    pub unsaved: bool,
    /// The first visible line.
    pub top: usize,
    /// The first visible column.
    pub left: usize,
    /// What was searched for.
    pub search: String,
    /// What is offered at the cursor.
    pub offer: Option<Offer>,
    /// What the API server refused, until the text is another.
    pub refused: Vec<Problem>,
    /// What is wrong with the text, in the order of its lines. Worked out from it, and therefore not recorded.
    #[serde(skip)]
    pub problems: Vec<Problem>,
    /// Whom it would hit.
    pub preview: Preview,
    /// When the preview is to be asked for.
    pub due: Option<Timestamp>,
    /// The fields of the form.
    pub form: List<FormRow>,
    /// What is to be opened once it was agreed that what is there may go.
    pub next: Option<Manuscript>,
}

impl Editor {
    /// Whether the text can be launched as far as it says itself.
    pub fn first_error(&self) -> Option<&Problem> {
        self.problems.iter().find(|problem| problem.grade == Grade::Error)
    }

    /// The worst problem of this line, from 0.
    pub fn problem_of(&self, row: usize) -> Option<&Problem> {
        self.problems.iter().filter(|problem| problem.at.0 == row + 1).min_by_key(|problem| problem.grade)
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.buffer.lines().iter().all(|line| line.trim().is_empty())
    }

    /// How many columns line numbers and marks take.
    pub fn gutter(&self) -> u16 {
        let digits = self.buffer.lines().len().to_string().len().max(2);
        u16::try_from(digits).unwrap_or(2) + 2
    }

    /// The path of the field that the cursor is in, and what the schema says of it.
    pub fn field(&self) -> Option<(String, schema::Field<'static>)> {
        let lines = self.buffer.lines();
        let (row, _) = self.buffer.cursor();
        let kind = complete::kind(lines, row);
        let end = self.buffer.line(row).chars().count();
        let spot = outline::spot(lines, (row, end));
        let mut path = spot.parent;
        path.extend(spot.key.map(outline::Step::Key));
        while !path.is_empty() {
            if let Some(field) = schema::at(&kind, &path) {
                return Some((outline::written(&path), field));
            }
            path.pop();
        }
        None
    }

    /// Works out what is wrong with the text.
    fn check(&mut self) {
        let text = self.buffer.text();
        self.unsaved = text != self.saved;
        self.problems.clear();
        if !self.is_empty() {
            let said = manifest::read(text.as_bytes()).diagnostics;
            self.problems.extend(said.into_iter().map(|said| {
                let (path, cure) = (said.path, said.cure);
                let what = if path.is_empty() { said.what } else { format!("{path}: {}", said.what) };
                let grade = match said.severity {
                    Severity::Error | Severity::Unbuilt => Grade::Error,
                    Severity::Warning => Grade::Warning,
                    Severity::Note => Grade::Note,
                };
                Problem { at: (said.position.line, said.position.column), grade, path, what, cure }
            }));
        }
        self.problems.extend(self.refused.iter().cloned());
        if self.first_error().is_none() {
            let of_cluster = self.of_reports();
            self.problems.extend(of_cluster);
        }
        self.problems.sort_by_key(|problem| (problem.at, problem.grade));
        self.problems.dedup();
    }

    /// What the cluster has to say of each experiment, at the field that it is about or else at its name.
    fn of_reports(&self) -> Vec<Problem> {
        let Preview::Ready(reports) = &self.preview else { return Vec::new() };
        let lines = self.buffer.lines();
        let mut problems = Vec::new();
        for report in reports {
            let name = report.experiment.rsplit('/').next().unwrap_or_default();
            let row = self.row_of(name);
            let entries = outline::entries(lines, row);
            let place = |path: &str| {
                let entry = outline::nearest(&entries, &outline::path(path));
                entry.map_or((row + 1, 1), |entry| (entry.row + 1, entry.column + 1))
            };
            problems.extend(report.problems.iter().map(|wrong| Problem {
                at: place(&wrong.path),
                grade: Grade::Error,
                path: wrong.path.clone(),
                what: format!("{}: {}", wrong.path, wrong.what),
                cure: wrong.cure.clone(),
            }));
            problems.extend(report.warnings.iter().map(|what| Problem {
                at: place("metadata.name"),
                grade: Grade::Warning,
                path: "metadata.name".to_owned(),
                what: what.clone(),
                cure: String::new(),
            }));
        }
        problems
    }

    /// The line that begins the document of the experiment of this name.
    fn row_of(&self, name: &str) -> usize {
        let lines = self.buffer.lines();
        let named = |line: &String| {
            line.trim()
                .strip_prefix("name:")
                .is_some_and(|rest| rest.trim().trim_matches(['"', '\'']) == name)
        };
        let row = lines.iter().position(named).unwrap_or(0);
        outline::document(lines, row).start
    }

    /// Puts what the API server refused at the field that it names.
    pub(super) fn refuse(&mut self, trouble: &Trouble) {
        let whole = trouble.whole();
        let word = whole.split([' ', '"', '\'', ';', ',']).find(|word| word.starts_with("spec."));
        let Some(path) = word.map(|word| word.trim_end_matches([':', '.'])) else { return };
        let entries = outline::entries(self.buffer.lines(), self.buffer.cursor().0);
        let Some(entry) = outline::nearest(&entries, &outline::path(path)) else { return };
        self.refused = vec![Problem {
            at: (entry.row + 1, entry.column + 1),
            grade: Grade::Error,
            path: path.to_owned(),
            what: trouble.to_string(),
            cure: trouble.cure.clone().unwrap_or_default(),
        }];
    }
}

/// The text is another: what was worked out from it is old, and the preview is asked for when typing has paused.
pub(super) fn changed(state: &mut State) {
    state.editor.refused.clear();
    state.editor.preview = Preview::Unknown;
    state.editor.due = state.now.saturating_add(CALM).ok();
    state.forget(super::effect::Slot::Preview);
    moved(state);
    refresh(state);
}

/// The cluster is another: the preview is asked for anew, but not all the time.
pub(super) fn outdated(state: &mut State) {
    if state.editor.due.is_none() && matches!(state.editor.preview, Preview::Ready(_) | Preview::Failed(_)) {
        state.editor.due = state.now.saturating_add(AGAIN).ok();
    }
}

/// The cursor is elsewhere: it stays in sight.
pub(super) fn moved(state: &mut State) {
    let area = geometry::editor_text(state);
    let editor = &mut state.editor;
    let (row, _) = editor.buffer.cursor();
    let rows = usize::from(area.height).max(1);
    editor.top = editor.top.min(row).max((row + 1).saturating_sub(rows));
    let column = text::width(&editor.buffer.before());
    let columns = usize::from(area.width).max(1);
    let aside = ASIDE.min(columns / 3);
    // By half a screen, and told by the cursor alone: the same text looks the same however it was come by.
    let over = (column + aside + 1).saturating_sub(columns);
    let step = (columns / 2).max(1);
    editor.left = over.div_ceil(step) * step;
}

/// Works out what is shown of the text.
pub(super) fn refresh(state: &mut State) {
    state.editor.check();
    if state.is_too_small() {
        // Nobody sees it: it is found again where it was.
        return;
    }
    moved(state);
    let visible = geometry::rows(state, Pane::Form);
    let editor = &mut state.editor;
    if editor.mode == Mode::Form {
        let mut rows = form::rows(editor.buffer.lines(), editor.buffer.cursor().0);
        let (filter, labels) = (&editor.form.filter, std::collections::BTreeMap::new());
        rows.retain(|row| filter.shows(&[&outline::written(&row.path), row.about], &labels));
        editor.form.set_rows(rows, visible);
    }
}

/// Why a text cannot be opened: it is more than an experiment ever is.
pub(super) fn too_large(text: &str) -> Option<Trouble> {
    (text.len() > MAX_BYTES).then(|| {
        Trouble::new(format!(
            "the text is larger than {} KiB, the most that the editor takes",
            MAX_BYTES / 1024
        ))
        .cure("`:apply FILE` launches a file of any size; or split it")
    })
}
