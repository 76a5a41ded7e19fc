//! Actions: what each of the table of keys does.

use super::lists::{columns, list};
use super::{Effects, command, edit, measuring, namespaces};
use crate::app::action::Action;
use crate::app::editor::{Manuscript, Mode, Origin};
use crate::app::effect::{Deed, Effect, ObjectRef, Request, Slot};
use crate::app::filter::Filter;
use crate::app::geometry;
use crate::app::keymap::Effect as Harm;
use crate::app::list::{List, Motion};
use crate::app::notice::Severity;
use crate::app::popup::{Choose, Popup, Purpose};
use crate::app::screens::help::Entry;
use crate::app::screens::pager::Language;
use crate::app::screens::{Pane, Screen, cluster, experiments, pager, run, settings, steady_state};
use crate::app::settings::Settings;
use crate::app::state::{PromptKind, State};
use crate::app::{questions, rights};
use crate::report::Trouble;

/// Does it, unless this console may not, or it is not possible now: then it says why.
pub(super) fn if_possible(state: &mut State, action: Action, effects: &mut Effects) {
    let Some((binding, _)) = state.keymap.binding(action, state.scopes()) else {
        return act(state, action, effects);
    };
    if state.read_only && binding.effect != Harm::Reads {
        let cure = "start it without --read-only";
        return state.say(Severity::Warning, Trouble::new("this console is read-only").cure(cure));
    }
    if let Err(why) = (binding.available)(state) {
        return state.say(Severity::Warning, Trouble::new(why));
    }
    if let Some(right) = rights::missing(state, action).filter(|_| !rights::is_tried_anyway(action)) {
        let trouble = state.rights.trouble(&right);
        // It may have been granted meanwhile: the next time it is pressed, that is known.
        state.rights.ask_anew();
        return state.say(Severity::Warning, trouble);
    }
    act(state, action, effects);
}

/// Does it.
pub(super) fn act(state: &mut State, action: Action, effects: &mut Effects) {
    // Only twice in a row is twice.
    state.leaving &= action == Action::Quit;
    let done = general(state, action, effects)
        || screens(state, action)
        || measuring::act(state, action)
        || moving(state, action)
        || faults(state, action, effects)
        || edit::act(state, action, effects)
        || objects(state, action, effects)
        || text(state, action, effects)
        || answer(state, action, effects);
    debug_assert!(done, "{action:?} does nothing");
}

fn general(state: &mut State, action: Action, effects: &mut Effects) -> bool {
    match action {
        Action::Command => command::open(state, PromptKind::Command),
        Action::Palette => command::open(state, PromptKind::Palette),
        Action::Filter => command::open(state, PromptKind::Filter),
        Action::Search => command::open(state, PromptKind::Search),
        Action::Back => back(state, effects),
        Action::Quit => quit(state, effects),
        Action::Freeze => {
            state.frozen = if state.frozen.is_some() { None } else { Some(state.now) };
            state.refresh();
        }
        Action::Refresh => {
            state.rights.ask_anew();
            effects.push(Effect::Watch(state.namespace.clone()));
        }
        Action::Redraw => effects.push(Effect::Redraw),
        Action::Suspend => effects.push(Effect::Suspend),
        Action::ToggleMouse => {
            state.look.mouse = !state.look.mouse;
            effects.push(Effect::TakeMouse(state.look.mouse));
            let what = if state.look.mouse {
                "the mouse is on"
            } else {
                "the mouse is off: the terminal marks text"
            };
            state.say(Severity::Good, Trouble::new(what));
        }
        Action::Namespace => namespaces::choose(state),
        Action::Context => {
            state.popup = Some(Popup::Waiting("reading the kubeconfig".to_owned()));
            let ticket = state.next_ticket(Slot::Choice);
            effects.push(Effect::Load { slot: Slot::Choice, ticket, request: Request::Contexts });
        }
        _ => return false,
    }
    true
}

/// The first time it says what goes on; again, or where nothing goes on, it ends.
fn quit(state: &mut State, effects: &mut Effects) {
    let active = state.active().len();
    if state.leaving || (active == 0 && !state.world.ends_with_console && !state.editor.unsaved) {
        return effects.push(Effect::Quit);
    }
    state.leaving = true;
    if state.editor.unsaved {
        let what =
            format!("the text of {} in the editor is not saved; again to leave", state.editor.origin.label());
        return state.say(Severity::Warning, Trouble::new(what).cure("5 goes to it, ctrl-s saves it"));
    }
    let experiments = if active == 1 { "1 experiment" } else { "experiments" };
    let what = match (state.world.ends_with_console, active) {
        (true, 0) => "this ends the playground; again to leave".to_owned(),
        (true, _) => format!("this ends the playground, and {experiments} with it; again to leave"),
        (false, _) => format!("{experiments} will go on without the console; again to leave"),
    };
    state.say(Severity::Warning, Trouble::new(what));
}

fn screens(state: &mut State, action: Action) -> bool {
    match action {
        Action::Cluster => state.go_to(Screen::Cluster),
        Action::Experiments => state.go_to(Screen::Experiments),
        Action::Templates => state.go_to(Screen::Templates),
        Action::SteadyState => state.go_to(Screen::SteadyState),
        Action::Errors => state.go_to(Screen::Errors),
        Action::Settings => state.go_to(Screen::Settings),
        Action::Help if state.screen != Screen::Help => {
            state.help.of = state.screen;
            state.help.everything = true;
            state.help.list = List::default();
            state.enter(Screen::Help);
        }
        Action::Help => {
            state.leave();
        }
        _ => return false,
    }
    true
}

/// One step back: what lies on top goes first.
fn back(state: &mut State, effects: &mut Effects) {
    if state.notices.dismiss(state.now) {
        return;
    }
    let filtered = list(state).is_some_and(|list| !list.filter().is_empty());
    if filtered {
        if let Some(list) = list(state) {
            list.set_filter(Filter::default());
        }
        state.refresh();
    } else if state.screen == Screen::Editor && state.editor.mode == Mode::Form {
        edit::act(state, Action::Form, effects);
    } else if state.screen == Screen::Pager {
        state.forget(Slot::Pager);
        effects.push(Effect::Cancel(Slot::Pager));
        state.leave();
    } else if state.screen == Screen::SteadyState && state.steady_state.large {
        state.steady_state.large = false;
    } else if !(state.screen == Screen::Cluster && cluster::back(state)) {
        if state.screen == Screen::Run {
            state.forget(Slot::Timeline);
            effects.push(Effect::Cancel(Slot::Timeline));
        }
        state.leave();
    } else {
        state.refresh();
    }
}

fn moving(state: &mut State, action: Action) -> bool {
    let motion = match action {
        Action::Down => Motion::By(1),
        Action::Up => Motion::By(-1),
        Action::First => Motion::First,
        Action::Last => Motion::Last,
        Action::HalfPageDown => Motion::HalfPages(1),
        Action::HalfPageUp => Motion::HalfPages(-1),
        Action::PageDown => Motion::HalfPages(2),
        Action::PageUp => Motion::HalfPages(-2),
        Action::NextPane => {
            next_pane(state);
            return true;
        }
        Action::SortRight | Action::SortLeft | Action::SortInvert => {
            sort(state, action);
            return true;
        }
        _ => return false,
    };
    go(state, motion);
    true
}

/// Moves in what the keys act on.
pub(super) fn go(state: &mut State, motion: Motion) {
    let pane = state.focus();
    let visible = geometry::rows(state, pane);
    if let Some(popup) = &mut state.popup {
        return in_popup(popup, motion);
    }
    match pane {
        Pane::Text => pager::scroll(state, motion),
        Pane::Panels => steady_state::go(state, motion),
        Pane::Editor => edit::go(state, motion),
        Pane::Timeline => {
            let by = match motion {
                Motion::By(rows) => rows,
                Motion::HalfPages(halves) => halves.saturating_mul(5),
                Motion::First => isize::MIN / 2,
                Motion::Last => isize::MAX / 2,
            };
            let last = state.run.timeline.len().saturating_sub(1);
            // The newest is last; scrolling up goes back in time.
            state.run.timeline_offset =
                state.run.timeline_offset.saturating_add_signed(by.saturating_neg()).min(last);
        }
        _ => {
            if let Some(list) = list(state) {
                list.go(motion, visible);
            }
        }
    }
}

fn in_popup(popup: &mut Popup, motion: Motion) {
    let (place, last) = match popup {
        Popup::Waiting(_) => return,
        Popup::Confirm(confirm) => (&mut confirm.offset, confirm.lines.len()),
        Popup::Failed { lines, offset, .. } => (offset, lines.len()),
        Popup::Choose(choose) => (&mut choose.index, choose.names.len()),
    };
    let by = match motion {
        Motion::By(rows) => rows,
        Motion::HalfPages(halves) => halves.saturating_mul(5),
        Motion::First => isize::MIN / 2,
        Motion::Last => isize::MAX / 2,
    };
    *place = place.saturating_add_signed(by).min(last.saturating_sub(1));
}

fn next_pane(state: &mut State) {
    match (state.screen, state.focus()) {
        (Screen::Cluster, Pane::Nodes) => state.cluster.focus = Pane::Pods,
        (Screen::Cluster, _) => state.cluster.focus = Pane::Nodes,
        (Screen::Run, Pane::Targets) => state.run.focus = Pane::Timeline,
        (Screen::Run, _) => state.run.focus = Pane::Targets,
        _ => {}
    }
    state.refresh();
}

fn sort(state: &mut State, action: Action) {
    let columns = columns(state.focus());
    if let Some(list) = list(state) {
        let sort = list.sort();
        match action {
            Action::SortRight => sort.column = (sort.column + 1) % columns,
            Action::SortLeft => sort.column = (sort.column + columns - 1) % columns,
            _ => sort.descending = !sort.descending,
        }
    }
    state.refresh();
}

fn faults(state: &mut State, action: Action, effects: &mut Effects) -> bool {
    match action {
        // Asked already: whoever presses it twice means it.
        Action::Halt if is_about_halt(state) => {
            answer(state, Action::Confirm, effects);
        }
        Action::Halt => state.popup = Some(questions::halt(state)),
        Action::Release => state.popup = Some(questions::release(state)),
        Action::Launch if state.screen == Screen::Editor => edit::launch(state, effects),
        Action::Launch => launch_template(state, effects),
        Action::Pause | Action::Resume | Action::Stop => {
            let Some(experiment) = state.current_experiment() else { return true };
            let object = experiments::reference(experiment);
            let deed = match action {
                Action::Pause => Deed::Pause(object),
                Action::Resume => Deed::Resume(object),
                _ => Deed::Stop(object),
            };
            state.popup = Some(questions::about(state, experiment, deed));
        }
        Action::TurnUp | Action::TurnDown => turn(state, if action == Action::TurnUp { 1 } else { -1 }),
        _ => return false,
    }
    true
}

fn is_about_halt(state: &State) -> bool {
    matches!(&state.popup, Some(Popup::Confirm(question)) if matches!(question.deed, Deed::Halt { .. }))
}

/// Opens the question about turning a fault, or turns further in it.
fn turn(state: &mut State, step: i32) {
    let turning = match &state.popup {
        Some(Popup::Confirm(confirm)) => confirm.turning.clone(),
        _ => None,
    };
    let popup = match turning {
        Some(turning) => {
            let experiment = state.data.experiment(&turning.uid);
            experiment.and_then(|experiment| questions::turning(state, experiment, turning.steps + step))
        }
        None => state.current_experiment().and_then(|experiment| questions::turning(state, experiment, step)),
    };
    if popup.is_some() {
        state.popup = popup;
    }
}

fn launch_template(state: &mut State, effects: &mut Effects) {
    let Some(template) = state.templates.list.current().cloned() else { return };
    plan(
        state,
        Request::Plan { text: template.text.to_owned(), namespace: state.namespace.clone() },
        effects,
    );
}

/// Asks whom an experiment would hit; the question follows when the answer is there.
pub(super) fn plan(state: &mut State, request: Request, effects: &mut Effects) {
    state.popup = Some(Popup::Waiting("working out whom it would hit".to_owned()));
    let ticket = state.next_ticket(Slot::Plan);
    effects.push(Effect::Load { slot: Slot::Plan, ticket, request });
}

fn objects(state: &mut State, action: Action, effects: &mut Effects) -> bool {
    match action {
        Action::Open => open(state, effects),
        Action::Describe => read(state, "describe", Request::Describe, Language::Plain, effects),
        Action::Yaml => read(state, "yaml", Request::Yaml, Language::Yaml, effects),
        Action::Events => read(state, "events", Request::Events, Language::Plain, effects),
        Action::Logs => {
            if let Some(pod) = state.current() {
                logs(state, pod, None, false, effects);
            }
        }
        Action::CopyName => {
            let name = match state.screen {
                Screen::Templates => state.templates.list.current().map(|template| template.name.to_owned()),
                Screen::Help => state.help.list.current().map(|row| row.keys.clone()),
                Screen::Errors => state.errors.list.current().map(|notice| notice.trouble.to_string()),
                Screen::Settings => state.settings_screen.list.current().map(|choice| choice.name.to_owned()),
                _ => state.current().map(|object| object.name),
            };
            copy(state, name, effects);
        }
        _ => return false,
    }
    true
}

fn copy(state: &mut State, text: Option<String>, effects: &mut Effects) {
    let Some(text) = text else { return };
    let what = match text.lines().count() {
        0 | 1 => format!("copied {}", text.chars().take(60).collect::<String>()),
        lines => format!("copied {lines} lines"),
    };
    effects.push(Effect::Copy(text));
    state.say(Severity::Good, Trouble::new(what));
}

/// Opens a text about the selected object.
fn read(
    state: &mut State,
    what: &str,
    request: fn(ObjectRef) -> Request,
    language: Language,
    effects: &mut Effects,
) {
    if let Some(object) = state.current() {
        pager::fetch(state, format!("{what} {}", object.label()), request(object), language, effects);
    }
}

fn logs(state: &mut State, pod: ObjectRef, container: Option<String>, previous: bool, effects: &mut Effects) {
    let of = container.as_deref().map(|container| format!(" {container}")).unwrap_or_default();
    let before = if previous { " before its restart" } else { "" };
    let title = format!("logs {}{of}{before}", pod.label());
    pager::fetch(state, title, Request::Logs { pod, container, previous }, Language::Plain, effects);
}

/// Enter: one step deeper into what is selected.
pub(super) fn open(state: &mut State, effects: &mut Effects) {
    match state.screen {
        Screen::Cluster => {
            if cluster::open(state) {
                state.refresh();
            } else {
                read(state, "describe", Request::Describe, Language::Plain, effects);
            }
        }
        Screen::Experiments => {
            let experiment = state.experiments.list.current().map(|row| std::sync::Arc::clone(&row.object));
            if let Some(experiment) = experiment {
                run::open(state, &experiment, effects);
            }
        }
        Screen::Templates => {
            let Some(template) = state.templates.list.current().cloned() else { return };
            let origin = Origin::Template(template.name.to_owned());
            edit::open(state, Manuscript { text: template.text.to_owned(), origin });
        }
        Screen::Settings => {
            settings::next_value(state, effects);
            state.refresh();
        }
        Screen::Help => {
            let Some(row) = state.help.list.current().cloned() else { return };
            if row.is_elsewhere {
                return state.say(Severity::Warning, Trouble::new("on another screen"));
            }
            state.leave();
            match row.entry {
                Entry::Action(action) => if_possible(state, action, effects),
                Entry::Command(name) => command::run_line(state, name, effects),
            }
        }
        Screen::SteadyState => state.steady_state.large = true,
        Screen::Editor => edit::change_field(state),
        Screen::Run | Screen::Pager | Screen::Errors => {}
    }
}

fn text(state: &mut State, action: Action, effects: &mut Effects) -> bool {
    match action {
        Action::SearchNext | Action::SearchPrevious => {
            if !command::next_hit(state, action == Action::SearchNext, false) {
                let what = format!("no line contains \"{}\"", command::searched(state));
                state.say(Severity::Warning, Trouble::new(what).cure("/ searches for something else"));
            }
        }
        Action::Left | Action::Right if state.screen == Screen::Editor => {
            edit::sideways(state, action == Action::Right);
        }
        Action::Left => pager::sideways(state, -8),
        Action::Right => pager::sideways(state, 8),
        Action::Wrap => {
            state.pager.wrap = !state.pager.wrap;
            state.pager.left = 0;
            pager::scroll(state, Motion::By(0));
        }
        Action::CopyText => {
            let text = match state.screen {
                Screen::Errors => state.errors.list.current().map(|notice| notice.trouble.whole()),
                Screen::Editor => Some(edit::marked(state)),
                _ => Some(state.pager.lines.join("\n")),
            };
            copy(state, text, effects);
        }
        Action::Follow if state.pager.follow => state.pager.follow = false,
        Action::Follow => pager::scroll(state, Motion::Last),
        Action::Previous => {
            if let Some(Request::Logs { pod, container, previous }) = state.pager.request.clone() {
                logs(state, pod, container, !previous, effects);
            }
        }
        Action::Container => choose_container(state),
        _ => return false,
    }
    true
}

fn answer(state: &mut State, action: Action, effects: &mut Effects) -> bool {
    match action {
        Action::Cancel => {
            if matches!(state.popup, Some(Popup::Waiting(_))) {
                state.forget(Slot::Plan);
                state.forget(Slot::Choice);
                state.forget(Slot::Editor);
                effects.push(Effect::Cancel(Slot::Plan));
                effects.push(Effect::Cancel(Slot::Choice));
            }
            if let Some(Popup::Choose(Choose { purpose: Purpose::Discard, .. })) = state.popup.take() {
                edit::discard(state, false);
            }
        }
        Action::Confirm => match state.popup.take() {
            Some(Popup::Confirm(confirm)) => effects.push(Effect::Do(confirm.deed)),
            Some(Popup::Choose(choose)) => chosen(state, &choose, effects),
            Some(waiting @ Popup::Waiting(_)) => state.popup = Some(waiting),
            Some(Popup::Failed { .. }) | None => {}
        },
        _ => return false,
    }
    true
}

fn chosen(state: &mut State, choose: &Choose, effects: &mut Effects) {
    let Some(name) = choose.names.get(choose.index).cloned() else { return };
    match choose.purpose {
        Purpose::Namespace => {
            namespaces::show(state, (choose.index > 0).then_some(name), effects);
        }
        Purpose::Context => effects.push(Effect::Connect(name)),
        Purpose::Dashboard => measuring::choose(state, &name, effects),
        Purpose::Discard => edit::discard(state, choose.index > 0),
        Purpose::Field => edit::field_typed(state, &name),
        Purpose::Container => {
            if let Some(Request::Logs { pod, previous, .. }) = state.pager.request.clone() {
                logs(state, pod, Some(name), previous, effects);
            }
        }
    }
}

fn choose_container(state: &mut State) {
    let Some(Request::Logs { pod, container, .. }) = &state.pager.request else { return };
    let Some(row) = state.data.pods.get(&pod.uid) else {
        return state.say(Severity::Warning, Trouble::new("the pod is gone"));
    };
    let names = row.containers.clone();
    let index = names.iter().position(|name| Some(name) == container.as_ref()).unwrap_or(0);
    let title = "Logs of which container?".to_owned();
    state.popup = Some(Popup::Choose(Choose { purpose: Purpose::Container, title, names, index }));
}

/// Keeps the settings apart from what the command line asked for.
pub(super) fn save(state: &State) -> Effect {
    let settings: Settings = state.settings.clone();
    Effect::Save(Box::new(settings))
}
