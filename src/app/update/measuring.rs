//! The steady state: moving among panels and through time, choosing what is measured.

use super::Effects;
use crate::app::action::Action;
use crate::app::effect::{Effect, Request, Slot};
use crate::app::measure;
use crate::app::notice::Severity;
use crate::app::popup::{Choose, Popup, Purpose};
use crate::app::screens::pager::Language;
use crate::app::screens::{Screen, pager, steady_state};
use crate::app::state::State;
use crate::report::Trouble;

/// Does it; false if it is not about the steady state.
pub(super) fn act(state: &mut State, action: Action) -> bool {
    let is_shown = state.screen == Screen::SteadyState;
    match action {
        Action::Left if is_shown => steady_state::sideways(state, -1),
        Action::Right if is_shown => steady_state::sideways(state, 1),
        Action::Shorter => steady_state::zoom(state, false),
        Action::Longer => steady_state::zoom(state, true),
        Action::Dashboard => choose_dashboard(state),
        Action::Describe if is_shown => {
            let lines = measure::describe::lines(&state.measure, state.steady_state.panel);
            let title = format!("details {}", state.measure.name);
            pager::show(state, title, &lines.join("\n"), Language::Plain);
        }
        _ => return false,
    }
    true
}

fn choose_dashboard(state: &mut State) {
    let names = measure::dashboards::names();
    let index = names.iter().position(|name| *name == state.measure.name).unwrap_or(0);
    let title = "Show which dashboard? (:dashboard FILE shows one of your own)".to_owned();
    state.popup = Some(Popup::Choose(Choose { purpose: Purpose::Dashboard, title, names, index }));
}

/// `:dashboard` with a name, a path or nothing.
pub(super) fn command(state: &mut State, argument: &str, effects: &mut Effects) {
    if argument.is_empty() {
        state.go_to(Screen::SteadyState);
    } else if measure::dashboards::names().iter().any(|name| name == argument) {
        choose(state, argument, effects);
    } else {
        let ticket = state.next_ticket(Slot::Dashboard);
        let request = Request::Dashboard { path: argument.to_owned() };
        effects.push(Effect::Load { slot: Slot::Dashboard, ticket, request });
    }
}

/// `:port` with a number.
pub(super) fn port(state: &mut State, argument: &str, effects: &mut Effects) {
    match argument.parse() {
        Ok(port) if port > 0 && state.measure.dashboard.is_some() => measure::set_port(state, port, effects),
        Ok(port) if port > 0 => {
            let trouble = Trouble::new("there is no dashboard whose pods could be asked");
            state.say(Severity::Error, trouble.cure(":dashboard NAME chooses one"));
        }
        _ => {
            let what = format!("\"{argument}\" is no port");
            state.say(Severity::Error, Trouble::new(what).cure("write a number from 1 to 65535"));
        }
    }
}

/// A dashboard was chosen.
pub(super) fn choose(state: &mut State, name: &str, effects: &mut Effects) {
    measure::open(state, name, effects);
    if state.screen != Screen::SteadyState {
        state.go_to(Screen::SteadyState);
    }
}
