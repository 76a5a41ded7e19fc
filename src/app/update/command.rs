//! The line at the bottom: commands, filters, searches.

use super::Effects;
use super::act::{self, if_possible, plan, save};
use super::edit;
use super::lists::list;
use super::{measuring, namespaces};
use crate::app::action::Action;
use crate::app::commands::{self, COMMANDS, Run};
use crate::app::effect::{Effect, Request};
use crate::app::filter::Filter;
use crate::app::input::Input;
use crate::app::key::{Code, Key};
use crate::app::look::ThemeName;
use crate::app::notice::Severity;
use crate::app::screens::{Pane, Screen, pager};
use crate::app::state::{Prompt, PromptKind, State};
use crate::report::Trouble;

/// How many commands are remembered.
const HISTORY: usize = 50;

/// Begins a line.
pub(super) fn open(state: &mut State, kind: PromptKind) {
    if kind == PromptKind::Palette {
        // The palette is the help with a filter: one list of everything that can be done.
        if state.screen != Screen::Help {
            let of = state.screen;
            state.help = crate::app::screens::help::Help { of, everything: true, ..Default::default() };
            state.enter(Screen::Help);
        }
        return open(state, PromptKind::Filter);
    }
    let before = match kind {
        PromptKind::Filter => match list(state) {
            Some(list) => list.filter().text.clone(),
            None => return,
        },
        PromptKind::Search => searched(state).clone(),
        PromptKind::Command | PromptKind::Palette | PromptKind::Field => String::new(),
    };
    state.prompt = Some(Prompt { kind, input: Input::new(before.clone()), back: 0, before });
}

/// A key while a line is being typed.
pub(super) fn key(state: &mut State, key: Key, effects: &mut Effects) {
    let Some(prompt) = &mut state.prompt else { return };
    match key.code {
        Code::Esc => cancel(state),
        Code::Char('c') if key.ctrl => cancel(state),
        Code::Enter => accept(state, effects),
        Code::Backspace if prompt.input.text.is_empty() => cancel(state),
        Code::Tab => complete(state),
        Code::Up | Code::Down if prompt.kind == PromptKind::Command => recall(state, key.code == Code::Up),
        // The selection moves while the filter is being typed.
        Code::Up => act::go(state, crate::app::list::Motion::By(-1)),
        Code::Down => act::go(state, crate::app::list::Motion::By(1)),
        _ => {
            if prompt.input.press(key) {
                prompt.back = 0;
                changed(state);
            }
        }
    }
}

/// The line is another: filters and searches act at once.
pub(super) fn changed(state: &mut State) {
    let Some(prompt) = &state.prompt else { return };
    let text = prompt.input.text.clone();
    match prompt.kind {
        PromptKind::Filter => {
            if let Some(list) = list(state) {
                list.set_filter(Filter::new(&text));
            }
            state.refresh();
        }
        PromptKind::Search => {
            *searched(state) = text;
            next_hit(state, true, true);
        }
        PromptKind::Command | PromptKind::Palette | PromptKind::Field => {}
    }
}

fn cancel(state: &mut State) {
    let Some(prompt) = state.prompt.take() else { return };
    match prompt.kind {
        PromptKind::Filter => {
            if let Some(list) = list(state) {
                list.set_filter(Filter::new(&prompt.before));
            }
            state.refresh();
        }
        PromptKind::Search => *searched(state) = prompt.before,
        PromptKind::Command | PromptKind::Palette | PromptKind::Field => {}
    }
}

fn accept(state: &mut State, effects: &mut Effects) {
    let Some(prompt) = state.prompt.take() else { return };
    match prompt.kind {
        PromptKind::Command => run_line(state, &prompt.input.text, effects),
        PromptKind::Field => edit::field_typed(state, &prompt.input.text),
        PromptKind::Search if !next_hit(state, true, true) && !searched(state).is_empty() => {
            let what = format!("no line contains \"{}\"", searched(state));
            state.say(Severity::Warning, Trouble::new(what));
        }
        // Whoever searched for one action and found it wants it done.
        PromptKind::Filter if state.screen == Screen::Help && state.help.list.rows.len() == 1 => {
            act::open(state, effects);
        }
        PromptKind::Filter | PromptKind::Search | PromptKind::Palette => {}
    }
}

/// What is searched for on this screen.
pub(super) const fn searched(state: &mut State) -> &mut String {
    match state.screen {
        Screen::Editor => &mut state.editor.search,
        _ => &mut state.pager.search,
    }
}

/// Goes to the next place, or the one before, where it stands; false if there is none.
pub(super) fn next_hit(state: &mut State, forwards: bool, from_here: bool) -> bool {
    match state.screen {
        Screen::Editor => edit::search(state, forwards, from_here),
        _ => pager::next_hit(state, forwards, from_here),
    }
}

/// What the line would be completed to.
pub fn completion(state: &State) -> Option<String> {
    let prompt = state.prompt.as_ref().filter(|prompt| prompt.kind == PromptKind::Command)?;
    let text = prompt.input.text.trim_start();
    let Some((name, argument)) = text.split_once(' ') else {
        let names = COMMANDS.iter().filter(|command| !(state.read_only && command.writes));
        return commands::completion(text, names.map(|command| command.name)).map(str::to_owned);
    };
    match commands::named(name)?.run {
        Run::Namespace => {
            let mut names = namespaces::all(state);
            names.push("all".to_owned());
            commands::completion(argument, names.iter().map(String::as_str)).map(str::to_owned)
        }
        Run::Theme => {
            let names: Vec<_> = ThemeName::ALL.iter().map(ToString::to_string).collect();
            commands::completion(argument, names.iter().map(String::as_str)).map(str::to_owned)
        }
        _ => None,
    }
}

fn complete(state: &mut State) {
    if let Some(rest) = completion(state)
        && let Some(prompt) = &mut state.prompt
    {
        prompt.input = Input::new(format!("{}{rest}", prompt.input.text));
    }
}

/// A command that was typed before, or after, the one that is shown.
fn recall(state: &mut State, older: bool) {
    let Some(prompt) = &mut state.prompt else { return };
    let back = if older { prompt.back + 1 } else { prompt.back.saturating_sub(1) };
    if back > state.history.len() {
        return;
    }
    prompt.back = back;
    let line = state.history.len().checked_sub(back).and_then(|at| state.history.get(at));
    prompt.input = Input::new(line.cloned().unwrap_or_default());
}

/// Does what a typed line says.
pub(super) fn run_line(state: &mut State, line: &str, effects: &mut Effects) {
    let line = line.trim();
    if line.is_empty() {
        return;
    }
    state.history.retain(|other| other != line);
    state.history.push(line.to_owned());
    let excess = state.history.len().saturating_sub(HISTORY);
    state.history.drain(..excess);
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let Some(command) = commands::named(name) else {
        let what = format!("there is no command \"{name}\"");
        return state.say(Severity::Error, Trouble::new(what).cure("? lists them; Tab completes"));
    };
    if command.writes && state.read_only {
        let cure = "start it without --read-only";
        return state.say(Severity::Warning, Trouble::new("this console is read-only").cure(cure));
    }
    run(state, command.run, argument.trim(), effects);
}

fn run(state: &mut State, run: Run, argument: &str, effects: &mut Effects) {
    match run {
        Run::Action(action) => if_possible(state, action, effects),
        Run::Pods | Run::Nodes => {
            state.cluster.focus = if run == Run::Pods { Pane::Pods } else { Pane::Nodes };
            state.go_to(Screen::Cluster);
        }
        Run::Namespace if argument.is_empty() => if_possible(state, Action::Namespace, effects),
        Run::Namespace => {
            namespaces::show(state, (argument != "all").then(|| argument.to_owned()), effects);
        }
        Run::Context if argument.is_empty() => if_possible(state, Action::Context, effects),
        Run::Context => effects.push(Effect::Connect(argument.to_owned())),
        Run::Apply if argument.is_empty() => {
            state.say(Severity::Error, Trouble::new("which file?").cure("write :apply FILE"));
        }
        Run::Apply => {
            let namespace = state.namespace.clone();
            plan(state, Request::PlanFile { path: argument.to_owned(), namespace }, effects);
        }
        Run::Dashboard => measuring::command(state, argument, effects),
        Run::Port => measuring::port(state, argument, effects),
        Run::Edit => edit::open_file(state, argument, effects),
        Run::Write => edit::save_as(state, argument, effects),
        Run::Dump => effects.push(Effect::Dump),
        Run::Theme => theme(state, argument, effects),
    }
}

fn theme(state: &mut State, name: &str, effects: &mut Effects) {
    match name.parse::<ThemeName>() {
        Ok(theme) => {
            state.look.theme = theme;
            state.settings.theme = Some(theme);
            effects.push(save(state));
            effects.push(Effect::Redraw);
        }
        Err(_unknown) => {
            let names: Vec<_> = ThemeName::ALL.iter().map(ToString::to_string).collect();
            let what = if name.is_empty() {
                "which theme?".to_owned()
            } else {
                format!("there is no theme \"{name}\"")
            };
            state.say(Severity::Error, Trouble::new(what).cure(format!("one of {}", names.join(", "))));
        }
    }
}
