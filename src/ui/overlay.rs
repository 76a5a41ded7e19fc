//! What lies over a screen: questions, choices, what was said, and how pending keys can go on.

use super::canvas::{Canvas, Span};
use super::text;
use super::theme::{Glyph, Role};
use super::widgets::popup::PopupBox;
use crate::app::geometry::Area;
use crate::app::key::written;
use crate::app::notice::Severity;
use crate::app::popup::{Choose, Confirm, Line, Popup, Tone};
use crate::app::state::State;

const fn role(tone: Tone) -> Role {
    match tone {
        Tone::Plain => Role::Text,
        Tone::Heading => Role::Accent,
        Tone::Dim => Role::Dim,
        Tone::Warning => Role::Warn,
        Tone::Danger => Role::Danger,
        Tone::Good => Role::Ok,
    }
}

fn lines(lines: &[Line]) -> Vec<(Role, String)> {
    lines.iter().map(|line| (role(line.tone), line.text.clone())).collect()
}

fn answers(pairs: &[(&str, &str)]) -> Vec<Span> {
    let span = |(key, word): &(&str, &str)| [Span::new(Role::Key, *key), Span::plain(format!(" {word}   "))];
    pairs.iter().flat_map(span).collect()
}

/// What lies over the screen and wants an answer.
pub(super) fn popup(popup: &Popup, canvas: &mut Canvas<'_>, screen: Area) {
    match popup {
        Popup::Waiting(what) => {
            let text = [(Role::Text, format!("{what} {}", canvas.theme.glyph(Glyph::Ellipsis)))];
            let answers = answers(&[("esc", "give up")]);
            PopupBox {
                title: "One moment",
                lines: &text,
                offset: 0,
                selected: None,
                answers: &answers,
                input: None,
            }
            .draw(canvas, screen);
        }
        Popup::Confirm(question) => confirm(question, canvas, screen),
        Popup::Failed { title, trouble, lines: more, offset } => {
            let glyph = canvas.theme.glyph(Glyph::Failed);
            let mut text = vec![(Role::Danger, format!("{glyph} {trouble}"))];
            text.extend(lines(more));
            text.extend(trouble.cure.iter().map(|cure| (Role::Ok, cure.clone())));
            let answers = answers(&[("esc", "close")]);
            PopupBox { title, lines: &text, offset: *offset, selected: None, answers: &answers, input: None }
                .draw(canvas, screen);
        }
        Popup::Choose(question) => choose(question, canvas, screen),
    }
}

fn confirm(question: &Confirm, canvas: &mut Canvas<'_>, screen: Area) {
    let text = lines(&question.lines);
    let mut typed = None;
    let pairs: &[_] = match (&question.typed, &question.turning) {
        (Some(wanted), _) => {
            typed = Some(format!("These are many. Type {}: {}", wanted.word, wanted.input.text));
            &[("enter", "yes, once it is typed"), ("esc", "no")]
        }
        (None, Some(_)) => &[("enter", "do it"), ("+", "more"), ("-", "less"), ("esc", "leave it")],
        (None, None) => &[("enter", "yes"), ("esc", "no")],
    };
    let answers = answers(pairs);
    PopupBox {
        title: &question.title,
        lines: &text,
        offset: question.offset,
        selected: None,
        answers: &answers,
        input: typed.as_deref(),
    }
    .draw(canvas, screen);
}

fn choose(question: &Choose, canvas: &mut Canvas<'_>, screen: Area) {
    let pointer = canvas.theme.glyph(Glyph::Pointer);
    let text: Vec<_> = question
        .names
        .iter()
        .enumerate()
        .map(|(number, name)| {
            let mark = if number == question.index { pointer } else { " " };
            (Role::Text, format!("{mark} {name}"))
        })
        .collect();
    let answers = answers(&[("enter", "choose"), ("esc", "leave it")]);
    PopupBox {
        title: &question.title,
        lines: &text,
        offset: 0,
        selected: Some(question.index),
        answers: &answers,
        input: None,
    }
    .draw(canvas, screen);
}

/// What was said last, at the bottom of the screen.
pub(super) fn toast(state: &State, canvas: &mut Canvas<'_>, body: Area) {
    let Some(notice) = state.notices.shown(state.now) else { return };
    let (glyph, role) = match notice.severity {
        Severity::Good => (Glyph::Well, Role::Ok),
        Severity::Warning => (Glyph::Warning, Role::Warn),
        Severity::Error => (Glyph::Failed, Role::Danger),
    };
    let room = body.width.saturating_sub(2);
    let mut rows: Vec<(Role, String)> =
        text::wrap(&format!("{} {}", canvas.theme.glyph(glyph), notice.trouble), room)
            .into_iter()
            .map(|row| (role, row))
            .collect();
    if let Some(cure) = &notice.trouble.cure {
        rows.extend(text::wrap(&format!("  {cure}"), room).into_iter().map(|row| (Role::Text, row)));
    }
    rows.truncate(usize::from(body.height / 2));
    let Ok(height) = u16::try_from(rows.len()) else { return };
    let area = Area { y: body.y + body.height - height, height, ..body };
    let ground = canvas.theme.style(Role::SelectedDim);
    canvas.clear(area, ground);
    for (down, (role, row)) in rows.iter().enumerate() {
        let Ok(down) = u16::try_from(down) else { return };
        let mut style = canvas.theme.style(*role);
        style.bg = ground.bg;
        canvas.text(area.x + 1, area.y + down, room, row, style);
    }
}

/// How the keys that were pressed can go on.
pub(super) fn continuations(state: &State, canvas: &mut Canvas<'_>, body: Area) {
    let rows: Vec<_> = state
        .keymap
        .continuations(&state.pending, state.scopes())
        .map(|(rest, binding)| (written(rest), binding.help))
        .collect();
    let Ok(height) = u16::try_from(rows.len() + 1) else { return };
    let height = height.min(body.height);
    let area = Area { y: body.y + body.height - height, height, ..body };
    let ground = canvas.theme.style(Role::SelectedDim);
    canvas.clear(area, ground);
    let with_ground = |style: ratatui::style::Style| ratatui::style::Style { bg: ground.bg, ..style };
    let title = format!("{} {}", written(&state.pending), canvas.theme.glyph(Glyph::Ellipsis));
    let style = with_ground(canvas.theme.style(Role::Title));
    canvas.text(area.x + 1, area.y, area.width.saturating_sub(2), &title, style);
    for (down, (keys, help)) in rows.iter().enumerate().take(usize::from(height.saturating_sub(1))) {
        let Ok(down) = u16::try_from(down) else { return };
        let y = area.y + 1 + down;
        let style = with_ground(canvas.theme.style(Role::Key));
        canvas.text(area.x + 2, y, 8, keys, style);
        let style = with_ground(canvas.theme.style(Role::Text));
        canvas.text(area.x + 10, y, area.width.saturating_sub(11), help, style);
    }
}
