//! The editor: opening, typing, completing, saving, launching, and the form.

use super::{Effects, act};
use crate::app::action::Action;
use crate::app::editor::buffer::Go;
use crate::app::editor::form::{self, Edit, FormRow};
use crate::app::editor::schema::Shape;
use crate::app::editor::typing::{self, Typed};
use crate::app::editor::{self, Editor, Grade, Manuscript, Mode, Origin, Preview, complete};
use crate::app::effect::{Effect, Request, Slot};
use crate::app::geometry;
use crate::app::input::Input;
use crate::app::key::{Code, Key};
use crate::app::list::Motion;
use crate::app::notice::Severity;
use crate::app::popup::{Choose, Popup, Purpose};
use crate::app::screens::Screen;
use crate::app::state::{Prompt, PromptKind, State};
use crate::report::Trouble;
use crate::report::plan::Report;

/// Opens a text, or asks first if that would take away one that was not saved.
pub(super) fn open(state: &mut State, manuscript: Manuscript) {
    if let Some(trouble) = editor::too_large(&manuscript.text) {
        return state.say(Severity::Error, trouble);
    }
    let is_same = state.editor.origin == manuscript.origin && state.editor.saved == manuscript.text;
    if state.editor.unsaved && !state.editor.is_empty() {
        if is_same {
            return enter(state);
        }
        let title = format!("The text of {} is not saved", state.editor.origin.label());
        let names = vec!["keep it".to_owned(), format!("throw it away, open {}", manuscript.origin.label())];
        state.editor.next = Some(manuscript);
        state.popup = Some(Popup::Choose(Choose { purpose: Purpose::Discard, title, names, index: 0 }));
        return;
    }
    put(state, manuscript);
}

/// The answer to the question of [`open`].
pub(super) fn discard(state: &mut State, agreed: bool) {
    let next = state.editor.next.take();
    match next {
        Some(manuscript) if agreed => put(state, manuscript),
        _ => enter(state),
    }
}

fn put(state: &mut State, manuscript: Manuscript) {
    let Manuscript { text, origin } = manuscript;
    let buffer = editor::buffer::Buffer::new(&text);
    // What an earlier console could not save is not saved by reading it.
    let saved = if matches!(origin, Origin::Recovered(_)) { String::new() } else { buffer.text() };
    // What a template does was read before it was opened: the text begins below that.
    let is_comment = |line: &String| line.starts_with('#');
    let top = match origin {
        Origin::Template(_) => buffer.lines().iter().take_while(|line| is_comment(line)).count(),
        _ => 0,
    };
    state.editor = Editor { buffer, origin, saved, top, ..Editor::default() };
    state.editor.buffer.jump((top, 0));
    editor::changed(state);
    enter(state);
}

/// A text that an earlier console could not save waits in the editor.
pub(super) fn recovered(state: &mut State, manuscript: Manuscript) {
    let screen = state.screen;
    put(state, manuscript);
    state.go_to(screen);
    let what = "a text that was not saved when the last console ended is in the editor";
    state.say(Severity::Warning, Trouble::new(what).cure("5 shows it; `:write FILE` saves it"));
}

/// Shows the editor with the text that it has.
pub(super) fn enter(state: &mut State) {
    if state.screen != Screen::Editor {
        state.enter(Screen::Editor);
        state.editor.due = state.editor.due.or(Some(state.now));
    }
    editor::moved(state);
}

/// A key while text is being typed that the table of keys does not know.
pub(super) fn key(state: &mut State, key: Key) {
    if let Some(offer) = &mut state.editor.offer {
        let last = offer.candidates.len().saturating_sub(1);
        match key.code {
            Code::Down => {
                offer.index = if offer.index >= last { 0 } else { offer.index + 1 };
                return;
            }
            Code::Up => {
                offer.index = offer.index.checked_sub(1).unwrap_or(last);
                return;
            }
            Code::Enter => return accept(state),
            _ => {}
        }
    }
    let page = usize::from(geometry::editor_text(state).height);
    let had_offer = state.editor.offer.take().is_some();
    match typing::key(&mut state.editor.buffer, key, page) {
        Typed::Changed => {
            editor::changed(state);
            // While a word is being typed the choice narrows; anything else ends it.
            let narrows =
                key.code == Code::Backspace || key.typed().is_some_and(|char| !char.is_whitespace());
            if had_offer && narrows {
                offer(state, false);
            }
        }
        Typed::Moved => editor::moved(state),
        Typed::Full => full(state),
        Typed::Nothing => {}
    }
}

fn full(state: &mut State) {
    let what = format!("the editor takes no more than {} KiB", editor::buffer::MAX_BYTES / 1024);
    state.say(Severity::Warning, Trouble::new(what));
}

/// A text was pasted.
pub(super) fn paste(state: &mut State, text: &str) {
    state.editor.offer = None;
    if state.editor.buffer.insert(text) { editor::changed(state) } else { full(state) }
}

/// Does what the table of keys says of the editor; false if it is not about it.
pub(super) fn act(state: &mut State, action: Action, effects: &mut Effects) -> bool {
    match action {
        Action::Editor => enter(state),
        Action::Type => set_mode(state, Mode::Typing),
        Action::Rest if state.editor.offer.take().is_some() => {}
        Action::Rest => set_mode(state, Mode::Resting),
        Action::Form => toggle_form(state),
        Action::Complete => tab(state),
        Action::Save => save(state, effects),
        Action::OpenFile => prompt(state, PromptKind::Command, "edit "),
        Action::EditExperiment => {
            if let Some(object) = state.current() {
                state.popup = Some(Popup::Waiting(format!("reading {}", object.label())));
                load(state, Request::Manuscript(object), effects);
            }
        }
        Action::NextProblem => next_problem(state, true),
        Action::PreviousProblem => next_problem(state, false),
        Action::Undo | Action::Redo => {
            let buffer = &mut state.editor.buffer;
            let done = if action == Action::Undo { buffer.undo() } else { buffer.redo() };
            if done {
                editor::changed(state);
            } else {
                state.say(Severity::Warning, Trouble::new("there is no change left"));
            }
        }
        Action::Mark => state.editor.buffer.mark(),
        Action::Cut => {
            state.editor.buffer.cut();
            editor::changed(state);
        }
        Action::Paste => {
            if state.editor.buffer.yank() {
                editor::changed(state);
            } else {
                full(state);
            }
        }
        Action::RemoveField => remove_field(state),
        _ => return false,
    }
    true
}

/// What is marked, else the whole text.
pub(super) fn marked(state: &State) -> String {
    state.editor.buffer.marked_text().unwrap_or_else(|| state.editor.buffer.text())
}

fn set_mode(state: &mut State, mode: Mode) {
    state.editor.mode = mode;
    state.editor.offer = None;
    state.refresh();
    editor::moved(state);
}

fn prompt(state: &mut State, kind: PromptKind, text: &str) {
    state.prompt = Some(Prompt { kind, input: Input::new(text), back: 0, before: String::new() });
}

fn load(state: &mut State, request: Request, effects: &mut Effects) {
    let ticket = state.next_ticket(Slot::Editor);
    effects.push(Effect::Load { slot: Slot::Editor, ticket, request });
}

/// Reads a file to edit it.
pub(super) fn open_file(state: &mut State, path: &str, effects: &mut Effects) {
    if path.is_empty() {
        return enter(state);
    }
    load(state, Request::ReadFile(path.to_owned()), effects);
}

/// Saves to the file that the text came from; without one asks for a name.
fn save(state: &mut State, effects: &mut Effects) {
    match state.editor.origin.clone() {
        Origin::File { path, stamp } => write(state, path, Some(stamp), effects),
        _ => prompt(state, PromptKind::Command, "write "),
    }
}

/// Saves to a file of this name.
pub(super) fn save_as(state: &mut State, path: &str, effects: &mut Effects) {
    if path.is_empty() {
        return save(state, effects);
    }
    let stamp = match &state.editor.origin {
        Origin::File { path: own, stamp } if own == path => Some(stamp.clone()),
        _ => None,
    };
    write(state, path.to_owned(), stamp, effects);
}

fn write(state: &mut State, path: String, stamp: Option<String>, effects: &mut Effects) {
    let text = state.editor.buffer.text();
    state.editor.saving = Some(text.clone());
    load(state, Request::WriteFile { path, text, stamp }, effects);
}

/// The text is in the file.
pub(super) fn saved(state: &mut State, path: String, stamp: String) {
    if let Some(text) = state.editor.saving.take() {
        state.editor.saved = text;
    }
    state.say(Severity::Good, Trouble::new(format!("saved to {path}")));
    state.editor.origin = Origin::File { path, stamp };
    editor::refresh(state);
}

/// Completes what is being typed; where nothing was typed yet on the line, indents it.
fn tab(state: &mut State) {
    if state.editor.offer.is_some() {
        return accept(state);
    }
    offer(state, true);
}

/// Whether the tabulator indents here: only blanks stand before the cursor, and something behind it or in its way.
pub(super) fn indents(state: &State, key: Key) -> bool {
    let editor = &state.editor;
    key.code == Code::Tab && editor.offer.is_none() && editor.buffer.before().trim().is_empty()
}

fn offer(state: &mut State, alone_counts: bool) {
    let buffer = &state.editor.buffer;
    let offer = complete::offer(buffer.lines(), buffer.cursor(), &state.data);
    let is_alone = offer.as_ref().is_some_and(|offer| offer.candidates.len() == 1);
    if offer.is_none() && alone_counts {
        let what = "nothing is known that could stand here";
        state.say(Severity::Warning, Trouble::new(what));
    }
    state.editor.offer = offer;
    if is_alone && alone_counts {
        accept(state);
    }
}

/// Writes what is selected in the place of what was typed of it.
fn accept(state: &mut State) {
    let Some(offer) = state.editor.offer.take() else { return };
    let Some(candidate) = offer.candidates.get(offer.index) else { return };
    let (row, column) = state.editor.buffer.cursor();
    let before = state.editor.buffer.before();
    // Behind the colon of a key a value stands apart.
    let apart = if before.ends_with(':') && offer.start == column { " " } else { "" };
    let text = format!("{apart}{}", candidate.text);
    if state.editor.buffer.replace((row, offer.start), (row, column), &text) {
        editor::changed(state);
    } else {
        full(state);
    }
}

/// Goes to the next problem behind the cursor, or before it; round the ends.
fn next_problem(state: &mut State, forwards: bool) {
    let (row, column) = state.editor.buffer.cursor();
    let here = (row + 1, column + 1);
    let places = || state.editor.problems.iter().map(|problem| problem.at);
    let place = if forwards {
        places().find(|at| *at > here).or_else(|| places().next())
    } else {
        places().rfind(|at| *at < here).or_else(|| places().next_back())
    };
    match place {
        Some((line, column)) => {
            state.editor.buffer.jump((line.saturating_sub(1), column.saturating_sub(1)));
            editor::moved(state);
        }
        None => state.say(Severity::Good, Trouble::new("nothing is wrong with the text")),
    }
}

/// Shows whom the text would hit, and asks.
pub(super) fn launch(state: &mut State, effects: &mut Effects) {
    editor::refresh(state);
    if state.editor.is_empty() {
        return state.say(Severity::Warning, Trouble::new("there is no text"));
    }
    let from_text = state.editor.first_error().cloned();
    if let Some(problem) = from_text.filter(|problem| !state.editor.refused.contains(problem)) {
        state.editor.buffer.jump((problem.at.0.saturating_sub(1), problem.at.1.saturating_sub(1)));
        editor::moved(state);
        let trouble = Trouble::new(format!("it cannot run as it is written: {}", problem.line()));
        let trouble = if problem.cure.is_empty() { trouble } else { trouble.cure(problem.cure) };
        return state.say(Severity::Error, trouble);
    }
    let request = Request::Plan { text: state.editor.buffer.text(), namespace: state.namespace.clone() };
    act::plan(state, request, effects);
}

/// The text was launched. What the cluster has of an experiment that was edited is what is written now.
pub(super) fn launched(state: &mut State, text: &str) {
    if matches!(state.editor.origin, Origin::Experiment(_)) && state.editor.buffer.text() == text {
        text.clone_into(&mut state.editor.saved);
        editor::refresh(state);
    }
}

/// Asks for the preview when its time has come.
pub(super) fn follow(state: &mut State, effects: &mut Effects) {
    if state.screen != Screen::Editor || state.editor.due.is_none_or(|due| due > state.now) {
        return;
    }
    state.editor.due = None;
    let has_errors = state.editor.problems.iter().any(|problem| problem.grade == Grade::Error);
    let from_cluster = matches!(state.editor.preview, Preview::Ready(_));
    if state.editor.is_empty() || (has_errors && !from_cluster) {
        return;
    }
    if !from_cluster {
        state.editor.preview = Preview::Asked;
    }
    let request = Request::Plan { text: state.editor.buffer.text(), namespace: state.namespace.clone() };
    let ticket = state.next_ticket(Slot::Preview);
    effects.push(Effect::Load { slot: Slot::Preview, ticket, request });
}

/// Whom it would hit is known.
pub(super) fn previewed(state: &mut State, preview: Result<Vec<Report>, Trouble>) {
    state.editor.preview = preview.map_or_else(Preview::Failed, Preview::Ready);
    editor::refresh(state);
}

/// Moves the cursor.
pub(super) fn go(state: &mut State, motion: Motion) {
    let half = isize::from(i16::try_from(geometry::editor_text(state).height / 2).unwrap_or(1)).max(1);
    let buffer = &mut state.editor.buffer;
    match motion {
        Motion::By(lines) => buffer.by_lines(lines),
        Motion::HalfPages(halves) => buffer.by_lines(halves.saturating_mul(half)),
        Motion::First => buffer.go(Go::First),
        Motion::Last => buffer.go(Go::Last),
    }
    editor::moved(state);
}

/// Moves the cursor within its line.
pub(super) fn sideways(state: &mut State, right: bool) {
    state.editor.buffer.go(if right { Go::Right } else { Go::Left });
    editor::moved(state);
}

/// Puts the cursor where the mouse was.
pub(super) fn click(state: &mut State, x: u16, y: u16) {
    let area = geometry::editor_text(state);
    if !area.contains(x, y) {
        return;
    }
    let row = state.editor.top + usize::from(y - area.y);
    let wanted = state.editor.left + usize::from(x - area.x);
    let mut used = 0;
    let column = crate::ui::text::graphemes(state.editor.buffer.line(row))
        .take_while(|(_, _, width)| {
            used += usize::from(*width);
            used <= wanted
        })
        .map(|(_, grapheme, _)| grapheme.chars().count())
        .sum();
    state.editor.buffer.jump((row, column));
    editor::moved(state);
}

/// Searches; false if the text is nowhere.
pub(super) fn search(state: &mut State, forwards: bool, from_here: bool) -> bool {
    let text = state.editor.search.clone();
    let found = state.editor.buffer.search(&text, forwards, from_here);
    editor::moved(state);
    found
}

fn toggle_form(state: &mut State) {
    if state.editor.mode == Mode::Form {
        return set_mode(state, Mode::Resting);
    }
    let (row, _) = state.editor.buffer.cursor();
    let lines = state.editor.buffer.lines();
    let range = editor::outline::document(lines, row);
    if !editor::schema::is_kind(&complete::kind(lines, row)) {
        let trouble =
            Trouble::new("the form needs to know the kind").cure("write `kind: NetworkChaos` first");
        return state.say(Severity::Warning, trouble);
    }
    // Of a text that cannot be read nobody knows what would be changed.
    let broken = state.editor.problems.iter().find(|problem| {
        problem.grade == Grade::Error && problem.path.is_empty() && range.contains(&(problem.at.0 - 1))
    });
    if let Some(problem) = broken {
        let trouble =
            Trouble::new(format!("mend the error at line {} first: {}", problem.at.0, problem.what));
        return state.say(Severity::Warning, trouble);
    }
    set_mode(state, Mode::Form);
}

fn selected(state: &State) -> Option<FormRow> {
    state.editor.form.current().map(|row| FormRow::clone(row))
}

/// Changes the selected field of the form: the next of two, one of a list, or typed.
pub(super) fn change_field(state: &mut State) {
    let Some(row) = selected(state) else { return };
    let names = row.words.clone();
    match (row.shape, row.word) {
        (Shape::Scalar, "boolean") => {
            let value = if row.value.as_deref() == Some("true") { "false" } else { "true" };
            set_field(state, &row, value);
        }
        (Shape::Scalar, _) if !names.is_empty() => {
            let now = row.value.as_ref().or(row.default.as_ref());
            let index = names.iter().position(|name| Some(name) == now).unwrap_or(0);
            let title = format!("{} is", row.name);
            state.popup = Some(Popup::Choose(Choose { purpose: Purpose::Field, title, names, index }));
        }
        (Shape::Scalar, _) => {
            let now = row.value.or(row.default).unwrap_or_default();
            prompt(state, PromptKind::Field, &now);
        }
        _ if row.value.is_some() => to_text(state, &row),
        _ => {
            let (at, _) = state.editor.buffer.cursor();
            let edit = form::add(state.editor.buffer.lines(), at, &row);
            // What is in a list or a map is written in the text, where names are completed.
            if apply(state, edit) && row.shape != Shape::Object {
                set_mode(state, Mode::Typing);
            }
        }
    }
}

/// Goes to the field in the text.
fn to_text(state: &mut State, row: &FormRow) {
    let (at, _) = state.editor.buffer.cursor();
    let entries = editor::outline::entries(state.editor.buffer.lines(), at);
    if let Some(entry) = entries.iter().find(|entry| entry.path == row.path) {
        state.editor.buffer.jump((entry.row, entry.value.end));
    }
    set_mode(state, Mode::Typing);
}

/// Gives the selected field the value that was typed or chosen.
pub(super) fn field_typed(state: &mut State, value: &str) {
    if let Some(row) = selected(state) {
        set_field(state, &row, value);
    }
}

fn set_field(state: &mut State, row: &FormRow, value: &str) {
    let (at, _) = state.editor.buffer.cursor();
    let lines = state.editor.buffer.lines();
    let edit = form::spelled(row, value).and_then(|spelled| form::set(lines, at, &row.path, &spelled));
    apply(state, edit);
}

fn remove_field(state: &mut State) {
    let Some(row) = selected(state) else { return };
    let (at, _) = state.editor.buffer.cursor();
    let edit = form::remove(state.editor.buffer.lines(), at, &row.path);
    apply(state, edit);
}

fn apply(state: &mut State, edit: Result<Edit, String>) -> bool {
    match edit {
        Ok(edit) if state.editor.buffer.replace(edit.from, edit.to, &edit.text) => {
            state.editor.buffer.jump(edit.cursor);
            editor::changed(state);
            true
        }
        Ok(_) => {
            full(state);
            false
        }
        Err(why) => {
            state.say(Severity::Warning, Trouble::new(why));
            false
        }
    }
}
