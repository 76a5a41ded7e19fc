//! What comes from outside: changes of the cluster, answers, outcomes.

use super::{Effects, edit};
use crate::app::editor;
use crate::app::effect::{Deed, Slot};
use crate::app::event::Loaded;
use crate::app::measure;
use crate::app::notice::Severity;
use crate::app::popup::{Choose, Popup, Purpose};
use crate::app::questions;
use crate::app::screens::pager::Content;
use crate::app::screens::{Screen, cluster, experiments, pager, run};
use crate::app::state::State;
use crate::app::store::{Batch, Link, Topic};
use crate::manifest;
use crate::report::Trouble;

/// The cluster changed.
pub(super) fn changed(state: &mut State, batch: Batch, effects: &mut Effects) {
    let pods_alone = batch.concerns_pods_alone();
    state.measure.is_unsettled |= !batch.pods.is_empty();
    if pods_alone && state.screen == Screen::Cluster && state.frozen.is_none() {
        return cluster::take_in(state, batch);
    }
    state.data.apply(batch);
    if pods_alone {
        // No other screen shows them.
        return;
    }
    if state.frozen.is_none() {
        state.refresh();
    } else {
        experiments::take_stock(state);
    }
    editor::outdated(state);
    open_launched(state, effects);
    run::follow(state, effects);
}

/// Whoever launched something wants to see what becomes of it, unless they have gone elsewhere.
fn open_launched(state: &mut State, effects: &mut Effects) {
    let Some(name) = &state.launched else { return };
    let found = state
        .data
        .all_experiments()
        .find(|experiment| experiment.name() == *name && experiment.glance().phase != "Finished");
    if let Some(experiment) = found.cloned() {
        state.launched = None;
        if state.screen == Screen::Experiments && state.popup.is_none() {
            run::open(state, &experiment, effects);
        }
    }
}

/// It stands otherwise with a watch.
pub(super) fn linked(state: &mut State, topic: Topic, link: Link) {
    let before = state.data.link(&topic).clone();
    match (&before, &link) {
        // A loss is said once, not with each attempt; since when it is lost stays.
        (Link::Lost { since, .. }, Link::Lost { trouble, .. }) => {
            let link = Link::Lost { since: *since, trouble: trouble.clone() };
            return state.data.set_link(topic, link);
        }
        (_, Link::Lost { trouble, .. }) => {
            let already = state.data.stalest().is_some_and(|(_, _, known)| known == trouble);
            if !already {
                state.say(Severity::Error, trouble.clone());
            }
        }
        (Link::Lost { .. }, Link::Live | Link::Narrow { .. }) => {
            // Whoever was away may have other rights now.
            state.rights.ask_anew();
            if state.data.stalest().is_some_and(|(of, ..)| *of == topic) {
                state.say(Severity::Good, Trouble::new("the API server answers again"));
            }
        }
        (Link::Refused { .. }, Link::Refused { .. }) => {}
        (_, Link::Refused { trouble }) => state.say(Severity::Warning, trouble.clone()),
        (_, Link::Narrow { namespace }) => narrowed(state, namespace),
        _ => {}
    }
    state.data.set_link(topic, link);
    state.refresh();
}

/// Only one namespace is watched: that one is shown.
fn narrowed(state: &mut State, namespace: &str) {
    if state.data.narrowed() == Some(namespace) {
        return;
    }
    state.namespace = Some(namespace.to_owned());
    let what = format!("you may not list all namespaces: {namespace} alone is shown");
    state.say(Severity::Warning, Trouble::new(what).cure(":ns NAME shows another one"));
}

/// Something that was waited for is there, or cannot be had.
pub(super) fn loaded(state: &mut State, slot: Slot, outcome: Result<Loaded, Trouble>, effects: &mut Effects) {
    let loaded = match outcome {
        Ok(loaded) => loaded,
        Err(trouble) => return failed(state, slot, trouble),
    };
    match loaded {
        Loaded::Text(text) => pager::loaded(state, &text),
        Loaded::Manuscript(manuscript) => {
            // That it was being read is over.
            state.popup = None;
            edit::open(state, manuscript);
        }
        Loaded::Saved { path, stamp } => edit::saved(state, path, stamp),
        Loaded::Lines(lines) => pager::grown(state, lines),
        Loaded::End => {
            state.pager.growing = false;
            state.pager.content = Content::Ready;
        }
        Loaded::Timeline { of, happenings } => {
            // Of the experiment that is open it is the timeline; of anything else a text.
            let is_open = run::current(state).is_some_and(|open| open.uid == of.uid);
            if slot == Slot::Timeline && is_open {
                state.run.timeline = happenings;
                state.run.timeline_trouble = None;
                state.refresh();
            } else if slot == Slot::Pager {
                let lines: Vec<_> = happenings.iter().map(|happening| happening.line(state.now)).collect();
                let none = "no events; the API server forgets them after an hour";
                pager::loaded(
                    state,
                    if lines.is_empty() { none.to_owned() } else { lines.join("\n") }.as_str(),
                );
            }
        }
        Loaded::Plan { reports, .. } if slot == Slot::Preview => edit::previewed(state, Ok(reports)),
        Loaded::Plan { text, reports } => {
            state.popup = Some(questions::launch(text, state.namespace.clone(), &reports));
        }
        Loaded::Dashboard { path, text } => {
            measure::show(state, &path, &text, effects);
            state.go_to(Screen::SteadyState);
        }
        Loaded::Choices { names, current } => {
            let index = names.iter().position(|name| Some(name) == current.as_ref()).unwrap_or(0);
            let title = "Talk to which context?".to_owned();
            state.popup = Some(Popup::Choose(Choose { purpose: Purpose::Context, title, names, index }));
        }
    }
}

fn failed(state: &mut State, slot: Slot, trouble: Trouble) {
    match slot {
        // Shown where the text would be, and what is there already stays.
        Slot::Pager => {
            state.pager.growing = false;
            state.pager.content = Content::Failed(trouble.clone());
        }
        Slot::Timeline => state.run.timeline_trouble = Some(trouble.clone()),
        // Shown where the preview would be.
        Slot::Preview => return edit::previewed(state, Err(trouble)),
        Slot::Plan | Slot::Choice | Slot::Dashboard | Slot::Editor => {
            state.editor.saving = None;
            state.popup = Some(Popup::Failed {
                title: "Not possible".to_owned(),
                trouble: trouble.clone(),
                lines: vec![],
                offset: 0,
            });
        }
    }
    state.say(Severity::Error, trouble);
    state.notices.dismiss(state.now);
}

/// A change of the cluster is made, or failed.
pub(super) fn done(state: &mut State, deed: &Deed, outcome: Result<String, Trouble>, effects: &mut Effects) {
    match outcome {
        Ok(what) => {
            state.say(Severity::Good, Trouble::new(what));
            if let Deed::Apply { text, .. } = deed {
                edit::launched(state, text);
                state.go_to(Screen::Experiments);
                let file = manifest::read(text.as_bytes());
                state.launched = file.objects.first().map(|object| object.name.clone());
                open_launched(state, effects);
            }
        }
        Err(trouble) => {
            if let Deed::Apply { text, .. } = deed
                && *text == state.editor.buffer.text()
            {
                state.editor.refuse(&trouble);
                editor::refresh(state);
            }
            // If it was refused, what was known of our rights is out of date.
            state.rights.ask_anew();
            let title = format!("Could not {}", deed.label());
            state.popup = Some(Popup::Failed { title, trouble: trouble.clone(), lines: vec![], offset: 0 });
            state.say(Severity::Error, trouble);
            state.notices.dismiss(state.now);
        }
    }
}
