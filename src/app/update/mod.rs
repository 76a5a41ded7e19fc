//! The update: the only place where the state changes. An event and the time come in, effects go out.

mod act;
mod arrive;
mod command;
mod edit;
mod lists;
mod measuring;
mod mouse;
mod namespaces;
mod press;

use jiff::Timestamp;

pub use command::completion;

use super::effect::Effect;
use super::event::Event;
use super::notice::Severity;
use super::screens::{Screen, experiments, run};
use super::state::State;
use super::{measure, rights};

/// What a context of the update collects.
pub(super) type Effects = Vec<Effect>;

/// Takes in what happened at `now`; what is to be done about it outside comes back.
pub fn update(state: &mut State, event: Event, now: Timestamp) -> Vec<Effect> {
    let mut effects = Effects::new();
    // Clocks of others may run ahead; ours never runs back.
    state.now = state.now.max(now);
    match event {
        Event::Pressed(key) => press::key(state, key, &mut effects),
        Event::Pasted(text) => press::paste(state, &text),
        Event::Clicked { x, y } => mouse::click(state, x, y, &mut effects),
        Event::Scrolled { x, y, rows } => mouse::scroll(state, x, y, rows),
        Event::Resized { width, height } => {
            (state.width, state.height) = (width, height);
            state.refresh();
        }
        // Only the time is another one.
        Event::Ticked => run::follow(state, &mut effects),
        Event::Changed(batch) => arrive::changed(state, *batch, &mut effects),
        Event::Linked { topic, link } => arrive::linked(state, topic, link),
        Event::Loaded { slot, ticket, outcome } => {
            if state.awaits(slot, ticket) {
                arrive::loaded(state, slot, outcome, &mut effects);
            }
        }
        Event::Done { deed, outcome } => arrive::done(state, &deed, outcome, &mut effects),
        Event::Reviewed { who, answers } => state.rights.take(who, answers),
        Event::Measured(frame) => state.measure.take(*frame),
        Event::Noted { severity, trouble } => {
            state.say(severity, trouble);
            state.refresh();
        }
        Event::Recovered(manuscript) => edit::recovered(state, manuscript),
        Event::Connected(world) => {
            state.world = world;
            state.data = super::store::Data::default();
            state.measure = measure::Measure::default();
            state.namespace.clone_from(&state.world.namespace);
            state.rights = rights::Rights::default();
            state.cluster.node = None;
            state.go_to(Screen::Cluster);
            let name = state.world.name.clone();
            state.say(Severity::Good, crate::report::Trouble::new(format!("this is {name}")));
        }
    }
    count_down(state);
    if state.measure.is_unsettled && state.measure.settled != state.now.as_second() {
        measure::settle(state, &mut effects);
    }
    edit::follow(state, &mut effects);
    rights::settle(state, &mut effects);
    effects
}

/// What depends on the time is worked out anew once a second, whatever happens in between.
fn count_down(state: &mut State) {
    if !experiments::is_stock_old(state) {
        return;
    }
    // Of nodes and pods only the ages, which are worked out when they are drawn.
    if state.frozen.is_none() && state.screen != Screen::Cluster {
        state.refresh();
    } else {
        experiments::take_stock(state);
    }
}

#[cfg(test)]
mod edit_tests;
#[cfg(test)]
mod tests;
