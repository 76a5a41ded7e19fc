//! The editor: the text or its form, what is wrong with it, whom it would hit, and what the field is for.

use crate::app::editor::form::FormRow;
use crate::app::editor::schema::{Field, Shape};
use crate::app::editor::{Mode, Preview, Problem};
use crate::app::geometry::{self, Area};
use crate::app::key::written;
use crate::app::keymap::Binding;
use crate::app::questions;
use crate::app::screens::Pane;
use crate::app::state::State;
use crate::report::plan::{Report, Verdict};
use crate::ui::canvas::{Canvas, Frame, Span};
use crate::ui::text;
use crate::ui::theme::{Glyph, Role};
use crate::ui::widgets::editor::{self as widget, glyph, role};
use crate::ui::widgets::table::{Column, Table};

/// The most rows of what is offered.
const OFFERED: usize = 8;

/// How many pods the preview names of a node before it counts the others.
const NAMED: usize = 6;

/// The text.
pub(crate) fn text(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let editor = &state.editor;
    let (row, column) = editor.buffer.cursor();
    let mode = if editor.mode == Mode::Typing { "typing" } else { "resting" };
    let search = if editor.search.is_empty() { String::new() } else { format!("  /{}", editor.search) };
    let corner = format!("{mode}  {}:{}{search}", row + 1, column + 1);
    let title = editor.origin.label();
    let inside = Frame { title: &title, corner: &corner, focus: true, foot: None }.draw(canvas, area);
    let lines = geometry::editor_text(state);
    let (numbers, _) = Area { width: inside.width, x: inside.x, ..lines }.split_left(editor.gutter());
    widget::draw(editor, canvas, numbers, lines, true);
    if editor.is_empty() && lines.height > 1 {
        let style = canvas.theme.style(Role::Dim);
        let hint = "type, paste, or 3 for a template; ctrl-o opens a file";
        canvas.text(lines.x, lines.y + 1, lines.width, hint, style);
    }
    status(state, canvas, Area { y: lines.y + lines.height, height: 1, ..inside });
}

/// What is wrong on the line of the cursor.
fn status(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let editor = &state.editor;
    let (row, _) = editor.buffer.cursor();
    let Some(problem) = editor.problem_of(row) else { return };
    let style = canvas.theme.style(role(problem.grade)).remove_modifier(ratatui::style::Modifier::UNDERLINED);
    let cure = if problem.cure.is_empty() { String::new() } else { format!("; {}", problem.cure) };
    let text = format!("{} {}{cure}", canvas.theme.glyph(glyph(problem.grade)), problem.line());
    canvas.text(area.x, area.y, area.width, &text, style);
}

const SHOWN: [Column; 3] =
    [Column::new("FIELD", 22, 40), Column::new("VALUE", 16, 60), Column::new("TYPE", 8, 14).goes(1)];

/// The form.
pub(crate) fn form(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let list = &state.editor.form;
    let title = format!("{} as a form", state.editor.origin.label());
    let corner = list.rows.len().to_string();
    let inside = Frame { title: &title, corner: &corner, focus: true, foot: None }.draw(canvas, area);
    let row = |index: usize| list.rows.get(index).map_or_else(Vec::new, |row| field_cells(row));
    Table {
        columns: &SHOWN,
        count: list.rows.len(),
        offset: list.offset,
        selected: list.index,
        focus: true,
        sort: None,
        mark: list.filter.word(),
        row,
    }
    .draw(canvas, inside);
}

fn field_cells(row: &FormRow) -> Vec<Span> {
    let must = if row.required { " *" } else { "" };
    let name = format!("{}{}{must}", "  ".repeat(row.depth), row.name);
    let value = match (&row.value, &row.default) {
        (Some(value), _) if value.is_empty() && row.shape == Shape::Object => Span::new(Role::Dim, "{ }"),
        (Some(_), _) if row.shape == Shape::Object => Span::plain(""),
        (Some(value), _) => Span::new(Role::YamlText, value.clone()),
        (None, _) if row.required => Span::new(Role::Warn, "missing"),
        (None, Some(default)) => Span::new(Role::Dim, format!("({default})")),
        (None, None) => Span::new(Role::Dim, "-"),
    };
    let is_there = row.value.is_some();
    vec![
        Span::new(if is_there { Role::YamlKey } else { Role::Dim }, name),
        value,
        Span::new(Role::Dim, if row.words.is_empty() { row.word } else { "one of" }),
    ]
}

/// What is wrong, whom it would hit, and what the field is for.
pub(crate) fn details(state: &State, canvas: &mut Canvas<'_>, area: Area) {
    let problems = &state.editor.problems;
    let title = match problems.len() {
        0 => "no problem".to_owned(),
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    let inside = Frame { title: &title, ..Frame::default() }.draw(canvas, area);
    let width = inside.width;
    let of_problems = problem_rows(state, canvas, width);
    let help = help_rows(state, width);
    let preview = preview_rows(state, canvas, width);
    let room = usize::from(inside.height);
    // Each has a third; what one does not need the others have.
    let third = (room / 3).max(1);
    let spare = |rows: usize| third.saturating_sub(rows);
    let for_problems = of_problems.len().min(third + spare(help.len()) + spare(preview.len()));
    let for_help = help.len().min(third + spare(for_problems));
    let for_preview = room.saturating_sub(for_problems + for_help);
    let help_at = room.saturating_sub(for_help);
    let rows = of_problems.into_iter().take(for_problems).chain(preview.into_iter().take(for_preview));
    for ((role, row), y) in rows.zip(inside.y..inside.y + inside.height) {
        let style = canvas.theme.style(role);
        canvas.text(inside.x, y, width, &row, style);
    }
    let help_at = inside.y + u16::try_from(help_at).unwrap_or(0);
    for ((role, row), y) in help.into_iter().zip(help_at..inside.y + inside.height) {
        let style = canvas.theme.style(role);
        canvas.text(inside.x, y, width, &row, style);
    }
}

fn wrapped(role: Role, text: &str, width: u16) -> impl Iterator<Item = (Role, String)> {
    text::wrap(&text::harmless(text), width).into_iter().map(move |row| (role, row))
}

fn problem_rows(state: &State, canvas: &Canvas<'_>, width: u16) -> Vec<(Role, String)> {
    let (row, _) = state.editor.buffer.cursor();
    let problems = &state.editor.problems;
    // Those of the line come first; then all others in their order.
    let here = |problem: &&Problem| problem.at.0 == row + 1;
    let ordered = problems.iter().filter(here).chain(problems.iter().filter(|problem| !here(problem)));
    ordered
        .flat_map(|problem| {
            let line = format!("{} {}", canvas.theme.glyph(glyph(problem.grade)), problem.line());
            let cure = Some(&problem.cure).filter(|cure| !cure.is_empty());
            let cure = cure.map(|cure| (Role::Ok, format!("  {cure}")));
            let first = Some((plain(role(problem.grade)), line));
            first
                .into_iter()
                .chain(cure)
                .flat_map(move |(role, text)| wrapped(role, &text, width).collect::<Vec<_>>())
        })
        .collect()
}

/// In a list underlines only disturb.
const fn plain(role: Role) -> Role {
    match role {
        Role::Dim => Role::Text,
        other => other,
    }
}

/// The keys of an action, as the footer writes them.
fn keys(row: Option<(&Binding, &[Vec<crate::app::key::Key>])>) -> String {
    row.and_then(|(_, keys)| keys.first()).map(|keys| written(keys)).unwrap_or_default()
}

fn preview_rows(state: &State, canvas: &Canvas<'_>, width: u16) -> Vec<(Role, String)> {
    let editor = &state.editor;
    let ellipsis = canvas.theme.glyph(Glyph::Ellipsis);
    if editor.is_empty() {
        return Vec::new();
    }
    match &editor.preview {
        Preview::Unknown if editor.first_error().is_some() => {
            wrapped(Role::Dim, "whom it would hit is shown when it can be read", width).collect()
        }
        Preview::Unknown | Preview::Asked => {
            vec![(Role::Dim, format!("working out whom it would hit {ellipsis}"))]
        }
        Preview::Failed(trouble) => {
            wrapped(Role::Danger, &format!("whom it would hit is not known: {}", trouble.whole()), width)
                .collect()
        }
        Preview::Ready(reports) => {
            reports.iter().flat_map(|report| report_rows(state, report, width)).collect()
        }
    }
}

fn report_rows(state: &State, report: &Report, width: u16) -> Vec<(Role, String)> {
    let targets: usize = report.nodes.iter().map(|node| node.targets.len()).sum();
    let pods = if targets == 1 { "1 pod".to_owned() } else { format!("{targets} pods") };
    let nodes =
        if report.nodes.len() == 1 { "1 node".to_owned() } else { format!("{} nodes", report.nodes.len()) };
    let launch = keys(state.keymap.binding(crate::app::action::Action::Launch, state.scopes()));
    let launch = if launch.is_empty() { launch } else { format!(" ({launch} launches)") };
    let (role, head) = match report.verdict {
        Verdict::Runs => (Role::Accent, format!("would hit {pods} on {nodes}{launch}")),
        Verdict::Waits => (Role::Warn, "would wait: nothing to act on now".to_owned()),
        Verdict::Refused => (Role::Danger, "could not run".to_owned()),
    };
    let mut rows: Vec<_> = wrapped(role, &head, width).collect();
    let dangers = report.halt.iter().cloned();
    rows.extend(dangers.flat_map(|line| wrapped(Role::Danger, &line, width).collect::<Vec<_>>()));
    for conflict in &report.conflicts {
        let line = if conflict.pods.is_empty() {
            format!("! {}", questions::beside(conflict))
        } else {
            format!("! {} on {}: {}", conflict.experiment, conflict.pods.join(", "), conflict.what)
        };
        rows.extend(wrapped(Role::Warn, &line, width));
    }
    for node in &report.nodes {
        let names = node.targets.iter().take(NAMED).map(|target| format!("  {}", target.pod));
        rows.push((Role::Dim, node.node.clone()));
        rows.extend(names.map(|name| (Role::Text, name)));
        if node.targets.len() > NAMED {
            rows.push((Role::Dim, format!("  and {} more", node.targets.len() - NAMED)));
        }
    }
    let expected = report.effect.iter().map(|effect| format!("expect: {effect}"));
    rows.extend(expected.flat_map(|line| wrapped(Role::Ok, &line, width).collect::<Vec<_>>()));
    rows
}

/// What the field at the cursor is for.
fn help_rows(state: &State, width: u16) -> Vec<(Role, String)> {
    let of_form = state.editor.form.current().filter(|_| state.editor.mode == Mode::Form);
    let (path, about, facts) = if let Some(row) = of_form {
        let facts = facts(row.word, &row.words, row.default.as_deref(), row.required);
        (crate::app::editor::outline::written(&row.path), row.about, facts)
    } else {
        let Some((path, field)) = state.editor.field() else { return Vec::new() };
        (path, field.about(), facts_of(&field))
    };
    let mut rows = vec![(Role::Header, format!("{path} ({facts})"))];
    let about = about.split_whitespace().collect::<Vec<_>>().join(" ");
    rows.extend(wrapped(Role::Text, &about, width));
    rows
}

fn facts_of(field: &Field<'_>) -> String {
    facts(field.word(), &field.words(), field.default().as_deref(), field.required)
}

fn facts(word: &str, words: &[String], default: Option<&str>, required: bool) -> String {
    let mut facts = vec![if words.is_empty() { word.to_owned() } else { words.join(" | ") }];
    if required {
        facts.push("required".to_owned());
    }
    facts.extend(default.map(|default| format!("else {default}")));
    facts.join(", ")
}

/// What could be written at the cursor, in a box below it, or above it where there is no room.
pub(crate) fn offer(state: &State, canvas: &mut Canvas<'_>, body: Area) {
    let Some(offer) = &state.editor.offer else { return };
    if geometry::pane(state, Pane::Editor).is_none() {
        return;
    }
    let lines = geometry::editor_text(state);
    let (row, _) = state.editor.buffer.cursor();
    let before: String = state.editor.buffer.line(row).chars().take(offer.start).collect();
    let column = text::width(&before).saturating_sub(state.editor.left);
    let widest = offer.candidates.iter().map(|candidate| text::width(&candidate.label)).max().unwrap_or(0);
    let width = u16::try_from(widest + 4).unwrap_or(u16::MAX).clamp(20, 44).min(body.width);
    let visible = offer.candidates.len().min(OFFERED);
    let about = offer.candidates.get(offer.index).map_or("", |candidate| candidate.about.as_str());
    let about = about.split_whitespace().collect::<Vec<_>>().join(" ");
    let about: Vec<_> = text::wrap(&about, width.saturating_sub(4)).into_iter().take(3).collect();
    let height = u16::try_from(visible + about.len() + 2).unwrap_or(u16::MAX).min(body.height);
    let x = (lines.x + u16::try_from(column).unwrap_or(0)).min((body.x + body.width).saturating_sub(width));
    let at = lines.y + u16::try_from(row.saturating_sub(state.editor.top)).unwrap_or(0);
    let below = (body.y + body.height).saturating_sub(at + 1);
    let y = if below >= height { at + 1 } else { at.saturating_sub(height).max(body.y) };
    let area = Area { x, y, width, height };
    let ground = canvas.theme.ground();
    canvas.clear(area, ground);
    let corner = format!("{}/{}", offer.index + 1, offer.candidates.len());
    let inside = Frame { title: "", corner: &corner, focus: true, foot: None }.draw(canvas, area);
    let first = (offer.index + 1).saturating_sub(visible);
    let rows = offer.candidates.iter().enumerate().skip(first).take(visible);
    for ((index, candidate), y) in rows.zip(inside.y..inside.y + inside.height) {
        let role = if index == offer.index { Role::Selected } else { Role::Text };
        let style = canvas.theme.style(role);
        let mark = if index == offer.index { canvas.theme.glyph(Glyph::Pointer) } else { " " };
        canvas.text(inside.x, y, inside.width, &format!("{mark} {}", candidate.label), style);
    }
    let from = inside.y + u16::try_from(visible).unwrap_or(0);
    for (row, y) in about.iter().zip(from..inside.y + inside.height) {
        let style = canvas.theme.style(Role::Dim);
        canvas.text(inside.x + 1, y, inside.width.saturating_sub(2), row, style);
    }
}
