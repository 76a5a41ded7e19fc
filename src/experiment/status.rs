//! What is said of an experiment: conditions, records, counts, and the events that a change of them is
//! worth.
//!
//! Computed from the objects as they are, so that writing it twice changes nothing; the events are the
//! difference between what was written last and what is written now.

use std::collections::HashMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::follow::{self, MOST_REPLACEMENTS};
use super::wanted::Absence;
use crate::api::{
    ChaosStatus, Clock, Condition, ConditionKind, DesiredPhase, ExperimentStatus, Following, Injection,
    InjectionTarget, MAX_RECORDS, Problem, Record, RecordEvent, RecordPhase, TargetCounts, TargetPhase,
    TargetStatus,
};

/// A word of the reference's vocabulary with a sentence: a Kubernetes event on the experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether somebody should look.
    pub warning: bool,
    /// One of the reference's reasons.
    pub reason: &'static str,
    /// What happened.
    pub note: String,
}

impl Event {
    /// An event that nobody needs to act on.
    pub fn normal(reason: &'static str, note: impl Into<String>) -> Self {
        Self { warning: false, reason, note: note.into() }
    }

    /// An event that somebody should look at.
    pub fn warning(reason: &'static str, note: impl Into<String>) -> Self {
        Self { warning: true, reason, note: note.into() }
    }
}

/// Reason of condition `Invalid` for what a later release can do.
pub const NOT_SUPPORTED: &str = "NotSupported";

/// Reason of condition `Invalid` for everything else.
pub const BAD_SPEC: &str = "BadSpec";

/// Reason of condition `AllRecovered` when a node could not be asked.
pub const NOT_READ_BACK: &str = "NotReadBack";

/// Reason of condition `Selected` while there is nothing to act on.
pub const NO_TARGETS: &str = "NoTargets";

/// Reason of conditions and events that come from a Halt.
pub const HALTED: &str = Absence::Halted.word();

/// Reason of condition `TargetUnstable`.
pub const TOO_MANY_REPLACEMENTS: &str = "TooManyReplacements";

/// Reason of condition `TargetsLimited`.
pub const CONFIRMED_AT_START: &str = "ConfirmedAtStart";

/// Why an experiment that a Halt has ended is not injected.
const STAYS_ENDED: &str = "a Halt stopped it; releasing the Halt does not start it again";

/// One target and what is known of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which target.
    pub target: InjectionTarget,
    /// What its daemon wrote last.
    pub status: Option<TargetStatus>,
    /// Why it is taken for recovered although its daemon did not say so.
    pub unread: Option<String>,
}

/// What was decided in this pass.
#[derive(Debug)]
pub struct Decided<'a> {
    /// The generation of the spec that was looked at.
    pub generation: Option<i64>,
    /// Whether the faults should be there.
    pub phase: DesiredPhase,
    /// The pause annotation.
    pub paused: bool,
    /// Why it is over, if it is.
    pub ended: Option<String>,
    /// Whether there are targets, or why not yet, in a word and a sentence; `None` leaves what was said before.
    pub selected: Option<Result<(), (&'static str, String)>>,
    /// What is wrong with it.
    pub problems: &'a [Problem],
    /// What is wrong is only that this release cannot do it.
    pub not_supported: bool,
    /// All targets; `None` if some of them are gone and what was said last stands.
    pub targets: Option<&'a [Seen]>,
    /// What following the targets must remember.
    pub following: Option<Following>,
    /// The time that was used.
    pub clock: Option<Clock>,
    /// What is left of the duration, for people.
    pub remaining: Option<String>,
    /// How many more pods match than were confirmed; `None` leaves what was said before.
    pub beyond: Option<u32>,
}

/// What the daemons say of each target of these Injections.
pub fn seen<'a>(injections: impl Iterator<Item = (&'a Injection, Option<String>)>) -> Vec<Seen> {
    let mut all = Vec::new();
    for (injection, unread) in injections {
        let known: HashMap<&InjectionTarget, &TargetStatus> = injection
            .status
            .iter()
            .flat_map(|status| &status.targets)
            .map(|status| (&status.target, status))
            .collect();
        all.extend(injection.spec.targets.iter().map(|target| Seen {
            target: target.clone(),
            status: known.get(target).copied().cloned(),
            unread: unread.clone(),
        }));
    }
    all
}

/// The status to write.
pub fn compute(old: &ChaosStatus, decided: &Decided<'_>) -> ChaosStatus {
    let mut experiment = ExperimentStatus {
        desired_phase: Some(decided.phase),
        ended: decided.ended.clone(),
        following: decided.following.clone(),
        clock: decided.clock.clone(),
        remaining: decided.remaining.clone(),
        ..old.experiment.clone()
    };
    if let Some(targets) = decided.targets {
        let counts = counts(targets);
        experiment.container_records = records(targets);
        experiment.injected = Some(format!("{}/{}", counts.injected, counts.selected));
        experiment.targets = Some(counts);
    }
    ChaosStatus { conditions: conditions(old, decided), experiment, observed_generation: decided.generation }
}

fn conditions(old: &ChaosStatus, decided: &Decided<'_>) -> Vec<Condition> {
    let selected = match &decided.selected {
        Some(Ok(())) => condition(ConditionKind::Selected, true, None, None),
        Some(Err((reason, message))) => {
            condition(ConditionKind::Selected, false, Some(reason), Some(message.clone()))
        }
        None => old
            .condition(ConditionKind::Selected)
            .cloned()
            .unwrap_or_else(|| condition(ConditionKind::Selected, false, None, None)),
    };
    let mut conditions = vec![selected];
    if let Some(targets) = decided.targets {
        let injected = |seen: &Seen| phase(seen).is_some_and(TargetPhase::took_effect);
        let all = !targets.is_empty() && targets.iter().all(injected);
        let halted = !all && decided.ended.as_deref() == Some(HALTED);
        conditions.push(condition(
            ConditionKind::AllInjected,
            all,
            halted.then_some(HALTED),
            halted.then(|| STAYS_ENDED.to_owned()),
        ));
        conditions.push(all_recovered(targets));
    } else {
        conditions.extend(
            [ConditionKind::AllInjected, ConditionKind::AllRecovered]
                .into_iter()
                .filter_map(|kind| old.condition(kind).cloned()),
        );
    }
    conditions.push(condition(ConditionKind::Paused, decided.paused, None, None));
    if !decided.problems.is_empty() {
        let reason = if decided.not_supported { NOT_SUPPORTED } else { BAD_SPEC };
        let message = decided.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        conditions.push(condition(ConditionKind::Invalid, true, Some(reason), Some(message)));
    } else if old.condition(ConditionKind::Invalid).is_some() {
        conditions.push(condition(ConditionKind::Invalid, false, None, None));
    }
    conditions.extend(unstable(old, decided));
    conditions.extend(limited(old, decided));
    conditions
}

/// A condition that is there once it was true.
fn once(old: &ChaosStatus, kind: ConditionKind, holds: Option<(&str, String)>) -> Option<Condition> {
    match holds {
        Some((reason, message)) => Some(condition(kind, true, Some(reason), Some(message))),
        None => old.condition(kind).map(|_| condition(kind, false, None, None)),
    }
}

fn unstable(old: &ChaosStatus, decided: &Decided<'_>) -> Option<Condition> {
    let unstable = decided.following.as_ref().is_some_and(follow::is_unstable);
    let minutes = follow::WINDOW.as_secs() / 60;
    let message = || {
        format!(
            "targets were replaced {MOST_REPLACEMENTS} times within {minutes} minutes, so those that are gone are \
             not replaced any more and the fault stays on what is left; see why the pods end, then pause and \
             resume the experiment to follow them again"
        )
    };
    once(old, ConditionKind::TargetUnstable, unstable.then(|| (TOO_MANY_REPLACEMENTS, message())))
}

fn limited(old: &ChaosStatus, decided: &Decided<'_>) -> Option<Condition> {
    let kind = ConditionKind::TargetsLimited;
    let Some(beyond) = decided.beyond else { return old.condition(kind).cloned() };
    let confirmed =
        decided.following.as_ref().map_or(0, |following| following.confirmed.values().sum::<u32>());
    let message = || {
        format!(
            "{confirmed} pods were confirmed at the start, and {beyond} more match now; those are left alone: \
             create the experiment anew to reach them"
        )
    };
    once(old, kind, (beyond > 0).then(|| (CONFIRMED_AT_START, message())))
}

/// True before the first injection too, as scripts written for Chaos Mesh expect, and never after what is done
/// once: there is nothing to recover from.
fn all_recovered(targets: &[Seen]) -> Condition {
    let kind = ConditionKind::AllRecovered;
    let present = |seen: &&Seen| phase(seen).is_some_and(stands);
    if targets.is_empty() || targets.iter().any(|seen| present(&seen)) {
        let stuck = targets.iter().find_map(|seen| {
            let status = seen.status.as_ref().filter(|status| status.phase == TargetPhase::Stuck)?;
            status.error.as_ref().map(|error| format!("{}: {error}", identity(&seen.target)))
        });
        return condition(kind, false, stuck.as_ref().map(|_| "Stuck"), stuck);
    }
    let unread = targets.iter().find_map(|seen| seen.unread.clone());
    condition(kind, true, unread.as_ref().map(|_| NOT_READ_BACK), unread)
}

fn condition(kind: ConditionKind, holds: bool, reason: Option<&str>, message: Option<String>) -> Condition {
    let status = if holds { "True" } else { "False" };
    Condition { kind, status: status.to_owned(), reason: reason.map(str::to_owned), message }
}

/// Where the target stands; taken for recovered if its node cannot be asked any more.
fn phase(seen: &Seen) -> Option<TargetPhase> {
    let phase = seen.status.as_ref()?.phase;
    Some(if seen.unread.is_some() && phase.may_be_present() { TargetPhase::Recovered } else { phase })
}

/// Whether a fault is in place, or was done for good.
const fn stands(phase: TargetPhase) -> bool {
    phase.may_be_present() || phase.took_effect()
}

/// `containerRecords[].id`: `namespace/pod`, with the container for faults that act on one.
fn identity(target: &InjectionTarget) -> String {
    let InjectionTarget { namespace, pod, container, .. } = target;
    container
        .as_ref()
        .map_or_else(|| format!("{namespace}/{pod}"), |container| format!("{namespace}/{pod}/{container}"))
}

/// The first records, in an order that does not depend on the nodes.
fn records(targets: &[Seen]) -> Vec<Record> {
    let mut records: Vec<Record> = targets.iter().map(record).collect();
    records.sort_by(|a, b| (&a.selector_key, &a.id).cmp(&(&b.selector_key, &b.id)));
    records.truncate(MAX_RECORDS);
    records
}

fn record(seen: &Seen) -> Record {
    let status = seen.status.as_ref();
    let in_place = phase(seen).is_some_and(stands);
    Record {
        id: identity(&seen.target),
        selector_key: seen.target.selector_key.clone(),
        phase: if in_place { RecordPhase::Injected } else { RecordPhase::NotInjected },
        injected_count: status.map_or(0, |status| status.injected_count),
        recovered_count: status.map_or(0, |status| status.recovered_count),
        events: status.and_then(|status| record_event(seen, status)).into_iter().collect(),
    }
}

fn record_event(seen: &Seen, status: &TargetStatus) -> Option<RecordEvent> {
    let evidence = status.evidence.clone();
    let (kind, operation, message) = match status.phase {
        phase if phase.may_be_present() && seen.unread.is_some() => {
            ("Failed", "Recover", seen.unread.clone())
        }
        TargetPhase::Waiting => return None,
        TargetPhase::Injected | TargetPhase::Done => ("Succeeded", "Apply", evidence),
        TargetPhase::Recovered => ("Succeeded", "Recover", evidence),
        TargetPhase::Failed => ("Failed", "Apply", status.error.clone()),
        TargetPhase::Stuck => ("Failed", "Recover", status.error.clone()),
    };
    Some(RecordEvent {
        kind: kind.to_owned(),
        operation: operation.to_owned(),
        message,
        timestamp: Time(status.since.0),
    })
}

fn counts(targets: &[Seen]) -> TargetCounts {
    let count = |wanted: &[TargetPhase]| {
        let matching = targets.iter().filter(|seen| phase(seen).is_some_and(|phase| wanted.contains(&phase)));
        u32::try_from(matching.count()).unwrap_or(u32::MAX)
    };
    TargetCounts {
        selected: u32::try_from(targets.len()).unwrap_or(u32::MAX),
        injected: count(&[TargetPhase::Injected, TargetPhase::Done]),
        recovered: count(&[TargetPhase::Recovered]),
        failed: count(&[TargetPhase::Failed, TargetPhase::Stuck]),
    }
}

/// What is worth an event between two statuses of one experiment.
pub fn events(old: &ChaosStatus, new: &ChaosStatus) -> Vec<Event> {
    let turned = |kind| new.is(kind) && !old.is(kind);
    let message = |status: &ChaosStatus, kind| status.condition(kind).and_then(|found| found.message.clone());
    let mut events = Vec::new();
    if new.is(ConditionKind::Invalid)
        && message(old, ConditionKind::Invalid) != message(new, ConditionKind::Invalid)
    {
        let reason = new.condition(ConditionKind::Invalid).and_then(|found| found.reason.as_deref());
        let word = if reason == Some(NOT_SUPPORTED) { NOT_SUPPORTED } else { "Failed" };
        events.push(Event::warning(word, message(new, ConditionKind::Invalid).unwrap_or_default()));
    }
    let unselected = message(new, ConditionKind::Selected);
    if unselected.is_some() && unselected != message(old, ConditionKind::Selected) {
        let reason = new.condition(ConditionKind::Selected).and_then(|found| found.reason.as_deref());
        let note = unselected.unwrap_or_default();
        events.push(if reason == Some(HALTED) {
            Event::normal(HALTED, note)
        } else {
            Event::warning("Failed", note)
        });
    }
    let total = new.experiment.targets.unwrap_or_default().selected;
    let resumed = old.is(ConditionKind::Paused) && !new.is(ConditionKind::Paused);
    if turned(ConditionKind::Selected) {
        events.push(Event::normal("Started", format!("{total} targets selected")));
    } else if resumed && new.is(ConditionKind::Selected) && new.experiment.ended.is_none() {
        events.push(Event::normal("Started", "resumed; it goes on for the time that remains"));
    } else if edited(old, new) {
        events.push(Event::normal("Updated", "the change of the spec is in force"));
    }
    events.extend(of_following(old, new));
    if turned(ConditionKind::Paused) {
        events.push(Event::normal("Paused", "paused; the remaining time stands still"));
    }
    if turned(ConditionKind::AllInjected) {
        events.push(Event::normal("Applied", format!("read back on all {total} targets")));
    }
    if let Some(reason) = new.experiment.ended.as_ref().filter(|_| old.experiment.ended.is_none()) {
        events.push(if reason == HALTED {
            Event::normal(HALTED, STAYS_ENDED)
        } else {
            Event::normal("TimeUp", format!("over: {reason}"))
        });
    }
    let had_targets = old.experiment.targets.is_some_and(|counts| counts.selected > 0);
    if turned(ConditionKind::AllRecovered) && had_targets {
        events.push(match message(new, ConditionKind::AllRecovered) {
            Some(unread) => Event::warning("Failed", unread),
            None => Event::normal("Recovered", format!("nothing is left on any of {total} targets")),
        });
    }
    events.extend(new_failure(old, new));
    events
}

/// What became of following the targets.
fn of_following(old: &ChaosStatus, new: &ChaosStatus) -> Vec<Event> {
    let last = |status: &ChaosStatus| {
        let following = status.experiment.following.as_ref();
        following.and_then(|following| Some((following.replaced.last()?.0, following.replaced.len())))
    };
    let mut events = Vec::new();
    if let Some((at, count)) = last(new)
        && last(old).is_none_or(|(before, _)| before < at)
    {
        let minutes = follow::WINDOW.as_secs() / 60;
        events.push(Event::normal(
            "Replaced",
            format!("targets that are gone were replaced: {count} of {MOST_REPLACEMENTS} times in {minutes} minutes"),
        ));
    }
    for (kind, reason) in
        [(ConditionKind::TargetUnstable, "TargetUnstable"), (ConditionKind::TargetsLimited, "TargetsLimited")]
    {
        if new.is(kind) && !old.is(kind) {
            let message = new.condition(kind).and_then(|found| found.message.clone());
            events.push(Event::warning(reason, message.unwrap_or_default()));
        }
    }
    events
}

/// A change of a spec that was in force before and is in force now. A deletion raises the generation too.
fn edited(old: &ChaosStatus, new: &ChaosStatus) -> bool {
    let in_force = |status: &ChaosStatus| {
        let stopped = status.experiment.desired_phase == Some(DesiredPhase::Stop);
        status.is(ConditionKind::Selected) && (!stopped || status.is(ConditionKind::Paused))
    };
    in_force(old) && in_force(new) && old.observed_generation != new.observed_generation
}

/// One event for all targets that failed anew: a node that refuses a hundred targets is one piece of news.
fn new_failure(old: &ChaosStatus, new: &ChaosStatus) -> Option<Event> {
    let failure = |record: &Record| {
        let event = record.events.first().filter(|event| event.kind == "Failed")?;
        Some((record.id.clone(), event.operation.clone(), event.message.clone().unwrap_or_default()))
    };
    let known: Vec<_> = old.experiment.container_records.iter().filter_map(failure).collect();
    let fresh: Vec<_> = new
        .experiment
        .container_records
        .iter()
        .filter_map(failure)
        .filter(|failure| !known.contains(failure))
        .collect();
    let (id, operation, message) = fresh.first()?;
    let more = match fresh.len() - 1 {
        0 => String::new(),
        others => format!(" (and {others} more targets)"),
    };
    Some(Event::warning("Failed", format!("{operation} on {id}{more}: {message}")))
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
