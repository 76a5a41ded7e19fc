//! What comes next in the life of an experiment.
//!
//! [`step`] looks at the objects as they are and says what to do so that they become what they should
//! be. It remembers nothing: everything that must outlive a controller stands in the objects, so that a
//! step taken twice, or by another controller, comes to the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::core::ObjectMeta;

use super::Limits;
use super::clock::{self, after, fixed_end};
use super::follow::{self, Followed};
use super::kind::Experiment;
use super::peers::Hosts;
use super::plan::{self, Chosen, NodePlan, Refusal};
use super::status::{self, Decided, Event};
use super::wanted::{Absence, HaltScope};
use super::world::World;
use crate::api::{
    CHAOS_MESH_SEMANTICS, ChaosStatus, Clock, ConditionKind, DesiredPhase, Following, GoDuration, Halt,
    Injection, InjectionSpec, Problem, RECORDS_FINALIZER, RECOVERED_FINALIZER, SEMANTICS_ANNOTATION,
};

/// How long after its time a daemon that could end a run on its own has to say so.
const LATE: Duration = Duration::from_secs(5);

/// Beyond the lease, how long a daemon is waited for that does not answer, or that answers that it cannot undo once
/// the experiment itself is deleted: a deletion has an end in every case. Ten seconds are promised, and a busy API
/// server needs some of them.
const SILENCE: Duration = Duration::from_secs(7);

/// The `wanted` of a daemon that holds the fault to be due.
pub const PRESENT: &str = "Present";

/// Everything a step depends on.
pub struct Input<'a> {
    /// The experiment.
    pub chaos: &'a dyn Experiment,
    /// Its Injections.
    pub injections: &'a [Arc<Injection>],
    /// The cluster.
    pub world: &'a World,
    /// Addresses of the host names in it.
    pub hosts: &'a Hosts,
    /// How far it may reach.
    pub limits: &'a Limits,
    /// Every Halt that exists.
    pub halts: &'a [Arc<Halt>],
    /// The time by the controller's wall clock.
    pub now: Timestamp,
}

/// One thing to do. Actions are done in the order given; those after one that failed are not.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Put our finalizer on the experiment.
    AddFinalizer,
    /// Create this Injection.
    CreateInjection(Box<Injection>),
    /// Make the spec of the Injection of this name this one.
    UpdateInjection(String, Box<InjectionSpec>),
    /// Delete the Injection of this name; its finalizer keeps it until its daemon has answered.
    DeleteInjection(String),
    /// Take our finalizer off the Injection of this name.
    ReleaseInjection(String),
    /// Take our finalizer off the experiment.
    RemoveFinalizer,
    /// Make the experiment's status this one.
    PatchStatus(Box<ChaosStatus>),
    /// Publish an event on the experiment.
    Emit(Event),
}

/// Why an Injection that is being deleted may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// Its daemon has read back that nothing is left.
    Clear,
    /// Nobody can be asked, and nothing can be left: why.
    Unread(String),
    /// Its daemon says that something is left; it goes on trying, but nobody waits for it any longer.
    Left,
}

/// What should be.
enum Goal {
    /// No faults, for good or until the spec is another.
    Stop { ended: Option<String>, problems: Vec<Problem>, not_supported: bool },
    /// Nothing to act on: why, in a word and a sentence, if that is news.
    Wait(Option<(&'static str, String)>),
    /// These faults on these nodes, and what to remember of their choice.
    Run(BTreeMap<String, NodePlan>, Box<Followed>),
}

/// What to do next.
pub fn step(input: &Input<'_>) -> Vec<Action> {
    match goal(input) {
        Goal::Stop { ended, problems, not_supported } => stop(input, ended, &problems, not_supported),
        Goal::Wait(message) => wait(input, message),
        Goal::Run(plan, followed) => run(input, &plan, &followed),
    }
}

/// How long it takes until the passing of time alone gives [`step`] something to do with an experiment of this
/// status, sooner than at the next look at everything.
pub fn next_look(status: &ChaosStatus, now: Timestamp) -> Option<Duration> {
    let due = follow::due(status.experiment.following.as_ref()?)?;
    due.duration_since(now).try_into().ok()
}

/// What to do with Injections whose experiment is no more.
pub fn abandon(injections: &[Arc<Injection>], world: &World, now: Timestamp) -> Vec<Action> {
    let_go(injections, world, now, true)
}

/// Deletes these Injections, and releases those that may go. `last` tells that their experiment is gone or
/// being deleted.
fn let_go(injections: &[Arc<Injection>], world: &World, now: Timestamp, last: bool) -> Vec<Action> {
    let mut actions: Vec<_> = injections.iter().filter_map(|injection| deletion(injection)).collect();
    let due = injections.iter().filter(|injection| release(injection, world, now, last).is_some());
    actions.extend(due.map(|injection| Action::ReleaseInjection(injection.name_any())));
    actions
}

fn goal(input: &Input<'_>) -> Goal {
    let Input { chaos, halts, .. } = input;
    let stop = |ended| Goal::Stop { ended, problems: Vec::new(), not_supported: false };
    let ended = chaos.status().and_then(|status| status.experiment.ended.clone());
    if chaos.is_deleted() || ended.is_some() {
        return stop(ended);
    }
    let invalid = |problems| Goal::Stop { ended: None, problems, not_supported: false };
    let problems = chaos.problems();
    if !problems.is_empty() {
        return invalid(problems);
    }
    if let Some(problem) = chaos.unsupported() {
        return Goal::Stop { ended: None, problems: vec![problem], not_supported: true };
    }
    if let Some(problem) = forbidden_edit(*chaos) {
        return invalid(vec![problem]);
    }
    let live = live(input);
    let halted = || stop(Some(Absence::Halted.word().to_owned()));
    if is_halted(&live, halts) {
        return halted();
    }
    if let Some(reason) = time_up(input, &live) {
        return stop(Some(reason));
    }
    if live.is_empty() && chaos.is_paused() {
        return Goal::Wait(None);
    }
    let followed = match choose(input, &live) {
        Ok(followed) => followed,
        Err(Refusal::Nothing(message)) => return Goal::Wait(Some((status::NO_TARGETS, message))),
        Err(Refusal::Invalid(problems)) => return invalid(problems),
    };
    let targets = followed.chosen.iter().map(|chosen| &chosen.target);
    if let Some(halt) = covering(halts, |scope| scope.covers_any(targets.clone())) {
        // What has not begun was not stopped: it waits. A selection that grew into the Halt is one with it.
        let began = !live.is_empty() || clock_of(*chaos).is_some();
        return if began { halted() } else { Goal::Wait(Some((status::HALTED, waits_for(halt)))) };
    }
    match planned(input, &live, &followed.chosen) {
        Ok(plan) => Goal::Run(plan, Box::new(followed)),
        Err(problems) => invalid(problems),
    }
}

/// The pods to act on: those that were chosen once, with what following makes of them, or a first choice.
fn choose(input: &Input<'_>, live: &[Arc<Injection>]) -> Result<Followed, Refusal> {
    let Input { chaos, world, limits, .. } = input;
    if let Some(record) = follow::record(*chaos).filter(|_| chaos.follows()) {
        return Ok(follow::follow(input, live, record));
    }
    if !chaos.follows() && is_settled(*chaos, live) {
        let chosen = plan::already_chosen(live, world);
        // What was confirmed stands, though pods of it may be gone.
        return Ok(Followed { record: known_record(*chaos), chosen, beyond: 0 });
    }
    if chaos.is_as_in_chaos_mesh()
        && let Some(message) = found_nothing(*chaos)
    {
        return Err(Refusal::Nothing(message.to_owned()));
    }
    match plan::choose(*chaos, live, world, limits) {
        Ok(chosen) => Ok(follow::confirm(*chaos, chosen)),
        Err(Refusal::Nothing(message)) => {
            let next = if chaos.is_as_in_chaos_mesh() {
                format!("not tried again, by {SEMANTICS_ANNOTATION}; create the experiment anew")
            } else {
                "it is tried again when pods change".to_owned()
            };
            Err(Refusal::Nothing(format!("{message}; {next}")))
        }
        Err(refusal) => Err(refusal),
    }
}

/// What the status says if this very spec was found to match nothing.
fn found_nothing(chaos: &dyn Experiment) -> Option<&str> {
    let status = chaos.status().filter(|s| s.observed_generation == chaos.metadata().generation)?;
    let selected = status.condition(ConditionKind::Selected)?;
    let nothing = selected.reason.as_deref() == Some(status::NO_TARGETS);
    selected.message.as_deref().filter(|message| nothing && *message != UNDOING)
}

/// By the rules of Chaos Mesh a spec is never changed. Its webhook refuses it; here there is none.
fn forbidden_edit(chaos: &dyn Experiment) -> Option<Problem> {
    let edited = chaos.is_as_in_chaos_mesh() && chaos.metadata().generation.is_some_and(|number| number > 1);
    edited.then(|| {
        Problem::new(
            "spec",
            format!("was changed, which {SEMANTICS_ANNOTATION} does not allow"),
            "delete the experiment and create it anew, or remove the annotation",
        )
    })
}

fn known_record(chaos: &dyn Experiment) -> Following {
    chaos.status().and_then(|status| status.experiment.following.clone()).unwrap_or_default()
}

fn clock_of(chaos: &dyn Experiment) -> Option<&Clock> {
    chaos.status()?.experiment.clock.as_ref()
}

/// Whether a Halt has stopped it, or is about to. One node is enough, and so is a Halt that has been released
/// since: a fault is undone as a whole.
fn is_halted(live: &[Arc<Injection>], halts: &[Arc<Halt>]) -> bool {
    live.iter().any(|injection| {
        let ended = this_run(injection).and_then(|status| status.ended.as_deref());
        ended == Some(Absence::Halted.word())
            || covering(halts, |scope| scope.covers(&injection.spec)).is_some()
    })
}

/// The Halt that would hold an experiment with these targets back, and what becomes of it: it waits.
pub fn held_back(halts: &[Arc<Halt>], chosen: &[Chosen]) -> Option<String> {
    let targets = chosen.iter().map(|chosen| &chosen.target);
    covering(halts, |scope| scope.covers_any(targets.clone())).map(waits_for)
}

/// The first Halt whose scope is such.
fn covering(halts: &[Arc<Halt>], covers: impl Fn(&HaltScope) -> bool) -> Option<&Halt> {
    halts.iter().map(AsRef::as_ref).find(|halt| covers(&HaltScope::from(&halt.spec)))
}

fn waits_for(halt: &Halt) -> String {
    let reason = halt.spec.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    let name = halt.name_any();
    format!("Halt {name}{reason} covers it; it starts after squall halt --release {name}")
}

/// The plan. A name that does not resolve any more is no reason to take a running fault away: what is
/// in place stays as it is.
fn planned(
    input: &Input<'_>,
    live: &[Arc<Injection>],
    chosen: &[Chosen],
) -> Result<BTreeMap<String, NodePlan>, Vec<Problem>> {
    let plan = input.chaos.plan(chosen, input.world, input.hosts);
    if plan.is_err() && is_settled(input.chaos, live) {
        let as_it_is = |injection: &Arc<Injection>| {
            let InjectionSpec { node, targets, fault, .. } = &injection.spec;
            (node.clone(), NodePlan { targets: targets.clone(), fault: fault.clone() })
        };
        return Ok(live.iter().map(as_it_is).collect());
    }
    plan
}

/// The Injections that are not on their way out.
fn live(input: &Input<'_>) -> Vec<Arc<Injection>> {
    let stays = |injection: &&Arc<Injection>| {
        !is_deleting(injection) && input.world.node(&injection.spec.node).is_some()
    };
    input.injections.iter().filter(stays).cloned().collect()
}

fn is_deleting(injection: &Injection) -> bool {
    injection.metadata.deletion_timestamp.is_some()
}

/// Whether the targets of this very spec were selected and every node got its Injection.
fn is_settled(chaos: &dyn Experiment, live: &[Arc<Injection>]) -> bool {
    let status = chaos.status();
    !live.is_empty()
        && status.is_some_and(|status| {
            status.is(ConditionKind::Selected) && status.observed_generation == chaos.metadata().generation
        })
}

/// Why the experiment is over, once every node is through: it said so, or its time has passed without
/// a word, or it never began while another is through. Its time passes without any node, too.
fn time_up(input: &Input<'_>, live: &[Arc<Injection>]) -> Option<String> {
    let Input { chaos, now, .. } = input;
    let elapsed = || Some(Absence::DurationElapsed.word().to_owned());
    if let Some(end) = fixed_end(*chaos) {
        return (*now >= end || nodes_are_through(live, *now).is_some()).then(elapsed).flatten();
    }
    if live.is_empty() {
        let (clock, duration) = (clock_of(*chaos)?, chaos.duration()?);
        return (clock::used(clock, *now) >= duration.saturating_add(LATE)).then(elapsed).flatten();
    }
    nodes_are_through(live, *now)
}

fn nodes_are_through(live: &[Arc<Injection>], now: Timestamp) -> Option<String> {
    let reasons: Vec<_> = live.iter().map(|injection| over(injection, now)).collect();
    let pending = |injection: &Injection| {
        !injection.spec.paused && this_run(injection).is_none_or(|status| status.started_at.is_none())
    };
    let all = live.iter().zip(&reasons).all(|(injection, over)| over.is_some() || pending(injection));
    reasons.into_iter().flatten().next().filter(|_| all)
}

/// Why the run of this node is over, if it is.
fn over(injection: &Injection, now: Timestamp) -> Option<String> {
    if clock::is_used_up(injection) {
        return Some(Absence::DurationElapsed.word().to_owned());
    }
    let status = this_run(injection)?;
    if let Some(reason) = &status.ended {
        return Some(reason.clone());
    }
    let started = status.started_at.as_ref().filter(|_| !injection.spec.paused)?;
    let end = after(started.0, injection.spec.effective_remaining()?.saturating_add(LATE));
    (now >= end).then(|| Absence::DurationElapsed.word().to_owned())
}

/// What the daemon says of the present run.
pub(super) fn this_run(injection: &Injection) -> Option<&crate::api::InjectionStatus> {
    injection.status.as_ref().filter(|status| status.observed_run == injection.spec.run)
}

/// Whether an Injection that is being deleted may go, and why. `last` tells that its experiment is gone or
/// being deleted: nobody else could be held up, and nobody would look at what it says.
pub fn release(injection: &Injection, world: &World, now: Timestamp, last: bool) -> Option<Release> {
    let deleted = injection.metadata.deletion_timestamp.as_ref()?;
    let node = &injection.spec.node;
    let answered = injection.status.as_ref().filter(|status| {
        status.observed_generation >= injection.metadata.generation.unwrap_or_default()
            && status.wanted.as_deref().is_some_and(|wanted| wanted != PRESENT)
    });
    if answered.is_some_and(crate::api::InjectionStatus::all_clear) {
        return Some(Release::Clear);
    }
    if world.node(node).is_none() {
        return Some(Release::Unread(format!("node {node} is gone, and its faults with it")));
    }
    let lease = injection.spec.effective_lease();
    if now < after(deleted.0, lease.saturating_add(SILENCE)) {
        return None;
    }
    // A daemon that answers that it cannot undo is believed: something is left.
    if answered.is_none() {
        return Some(Release::Unread(format!(
            "the daemon of node {node} did not answer; its lease of {} is over, so it has undone the fault, \
             but nobody has read that back: look at the node with squall doctor",
            GoDuration::from_std(lease)
        )));
    }
    last.then_some(Release::Left)
}

fn deletion(injection: &Injection) -> Option<Action> {
    (!is_deleting(injection)).then(|| Action::DeleteInjection(injection.name_any()))
}

fn has_finalizer(metadata: &ObjectMeta, name: &str) -> bool {
    metadata.finalizers.iter().flatten().any(|finalizer| finalizer == name)
}

/// Everything goes. The Injections are let go together, after the last word on all of them is written.
fn stop(input: &Input<'_>, ended: Option<String>, problems: &[Problem], not_supported: bool) -> Vec<Action> {
    let Input { chaos, injections, world, now, .. } = input;
    if chaos.is_deleted() && injections.is_empty() {
        if !has_finalizer(chaos.metadata(), RECORDS_FINALIZER) {
            return Vec::new();
        }
        return vec![Action::RemoveFinalizer, Action::Emit(Event::normal("Deleted", "deleted"))];
    }
    let releases: Option<Vec<Release>> =
        injections.iter().map(|injection| release(injection, world, *now, chaos.is_deleted())).collect();
    let unread = |index: usize| match releases.as_ref()?.get(index)? {
        Release::Unread(why) => Some(why.clone()),
        Release::Clear | Release::Left => None,
    };
    let targets =
        status::seen(injections.iter().enumerate().map(|(index, injection)| (&**injection, unread(index))));
    let old = chaos.status().cloned().unwrap_or_default();
    let known = old.experiment.targets.unwrap_or_default().selected as usize;
    // What was done once is not taken back: scripts of the reference read `Run` there until it is deleted.
    let stands = !chaos.is_deleted() && ended.as_deref() == Some(Absence::Completed.word());
    // What is mended is confirmed anew, and has the time that it had left.
    let mends = ended.is_none() && !problems.is_empty();
    let following = old.experiment.following.clone().filter(|_| !mends);
    let clock = old.experiment.clock.clone();
    let clock = if mends { clock.map(|clock| clock::stopped(&clock, *now)) } else { clock };
    let decided = Decided {
        generation: chaos.metadata().generation,
        phase: if stands { DesiredPhase::Run } else { DesiredPhase::Stop },
        paused: chaos.is_paused(),
        ended,
        selected: None,
        problems,
        not_supported,
        targets: (targets.len() >= known).then_some(&targets[..]),
        following,
        clock,
        remaining: None,
        beyond: None,
    };
    let mut actions = Vec::new();
    write_status(&old, &decided, &mut actions);
    let events = actions.split_off(actions.len().min(1));
    let deletions = injections.iter().filter_map(|injection| deletion(injection));
    if old.experiment.ended == decided.ended {
        // What is asked for goes first, the report of it second.
        actions.splice(0..0, deletions);
    } else {
        // That it is over must be written before anything is taken away, or a controller that starts in
        // between would begin anew.
        actions.extend(deletions);
    }
    if releases.is_some() {
        let held =
            injections.iter().filter(|injection| has_finalizer(&injection.metadata, RECOVERED_FINALIZER));
        actions.extend(held.map(|injection| Action::ReleaseInjection(injection.name_any())));
    }
    actions.extend(events);
    actions.extend(releases.iter().flatten().zip(*injections).filter_map(|(why, injection)| {
        let node = &injection.spec.node;
        let text = format!(
            "something of it is left on node {node}, whose daemon goes on trying to undo it: look at its log, and at \
             the node with squall doctor"
        );
        (*why == Release::Left).then(|| Action::Emit(Event::warning("Failed", text)))
    }));
    actions
}

/// Nothing to act on. What a changed selection no longer holds goes.
fn wait(input: &Input<'_>, message: Option<(&'static str, String)>) -> Vec<Action> {
    let mut actions = let_go(input.injections, input.world, input.now, false);
    let targets = status::seen(input.injections.iter().map(|injection| (&**injection, None)));
    let paused = input.chaos.is_paused();
    let old = input.chaos.status().cloned().unwrap_or_default();
    let clock = clock::tick(input, &[]);
    let decided = Decided {
        generation: input.chaos.metadata().generation,
        phase: if paused { DesiredPhase::Stop } else { DesiredPhase::Run },
        paused,
        ended: None,
        selected: message.map(Err),
        problems: &[],
        not_supported: false,
        targets: Some(&targets),
        following: old.experiment.following.clone(),
        remaining: clock::remaining(input, clock.as_ref()),
        clock,
        beyond: None,
    };
    write_status(&old, &decided, &mut actions);
    actions
}

fn run(input: &Input<'_>, plan: &BTreeMap<String, NodePlan>, followed: &Followed) -> Vec<Action> {
    let Input { chaos, injections, world, now, .. } = input;
    let mut begin = Vec::new();
    if !has_finalizer(chaos.metadata(), RECORDS_FINALIZER) {
        begin.push(Action::AddFinalizer);
        begin.extend(chaos.unknown_semantics().map(unknown_semantics));
    }
    let mut actions = Vec::new();
    let clock = clock::tick(input, &live(input));
    let experiment = chaos.reference();
    let by_name: HashMap<&str, &Injection> = injections
        .iter()
        .filter_map(|injection| Some((injection.metadata.name.as_deref()?, &**injection)))
        .collect();
    let mut targets = Vec::new();
    let mut complete = true;
    for (node, node_plan) in plan {
        let name = plan::injection_name(&experiment, node);
        let current = by_name.get(name.as_str()).copied();
        if current.is_some_and(is_deleting) {
            // Its name is taken until it is gone.
            complete = false;
            continue;
        }
        let spec = clock::spec_for(input, &experiment, node, node_plan, current, clock.as_ref());
        if let Some(current) = current {
            let with_spec = Injection { spec, ..current.clone() };
            targets.extend(status::seen(std::iter::once((&with_spec, None))));
            if with_spec.spec != current.spec {
                actions.push(Action::UpdateInjection(name, Box::new(with_spec.spec)));
            }
        } else if let Some(node) = world.node(node) {
            let injection = plan::injection(spec, node);
            targets.extend(status::seen(std::iter::once((&injection, None))));
            actions.push(Action::CreateInjection(Box::new(injection)));
        }
    }
    let planned = |injection: &&Arc<Injection>| plan.contains_key(&injection.spec.node);
    let unplanned: Vec<_> = injections.iter().filter(|injection| !planned(injection)).cloned().collect();
    actions.extend(unplanned.iter().filter_map(|injection| deletion(injection)));
    let going = injections.iter().filter(|injection| release(injection, world, *now, false).is_some());
    actions.extend(going.map(|injection| Action::ReleaseInjection(injection.name_any())));
    let paused = chaos.is_paused();
    let selected = match (complete, plan.is_empty()) {
        (false, _) => Err((status::NO_TARGETS, UNDOING.to_owned())),
        (true, true) => Err((status::NO_TARGETS, ALL_GONE.to_owned())),
        (true, false) => Ok(()),
    };
    let decided = Decided {
        generation: chaos.metadata().generation,
        phase: if paused { DesiredPhase::Stop } else { DesiredPhase::Run },
        paused,
        ended: None,
        selected: Some(selected),
        problems: &[],
        not_supported: false,
        targets: Some(&targets),
        following: Some(followed.record.clone()),
        remaining: clock::remaining(input, clock.as_ref()),
        clock,
        beyond: Some(followed.beyond),
    };
    let old = chaos.status().cloned().unwrap_or_default();
    let mut status = Vec::new();
    write_status(&old, &decided, &mut status);
    let replaced =
        |following: &Option<Following>| following.as_ref().and_then(|f| Some(f.replaced.last()?.0));
    // A replacement is counted before it is made: a controller that dies in between has made none in secret.
    let counts_first = replaced(&decided.following) > replaced(&old.experiment.following);
    let (first, second) = if counts_first { (status, actions) } else { (actions, status) };
    begin.into_iter().chain(first).chain(second).collect()
}

fn unknown_semantics(text: &str) -> Action {
    let known = CHAOS_MESH_SEMANTICS;
    let note = format!(
        "{SEMANTICS_ANNOTATION}: \"{text}\" is not known and passed over; write \"{known}\", or remove it"
    );
    Action::Emit(Event::warning("Failed", note))
}

const ALL_GONE: &str = "every target is gone; it goes on when a pod that matches is ready";

const UNDOING: &str = "an earlier fault of this experiment is still being undone on a node";

/// Adds the write of the status and its events, if it says anything new.
fn write_status(old: &ChaosStatus, decided: &Decided<'_>, actions: &mut Vec<Action>) {
    let new = status::compute(old, decided);
    if new == *old {
        return;
    }
    let events = status::events(old, &new);
    actions.push(Action::PatchStatus(Box::new(new)));
    actions.extend(events.into_iter().map(Action::Emit));
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
