//! The time of an experiment: what a run has used, what it has left, and what an Injection is told of it.
//!
//! Each node counts its own run, from its own first injection. Beside that the status keeps the time of the
//! experiment as a whole, so that a node that joins later gets only the rest, and so that the time passes even
//! while there is no pod to act on.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use std::sync::Arc;

use super::kind::Experiment;
use super::lifecycle::{Input, this_run};
use super::plan::NodePlan;
use super::wanted::Absence;
use crate::api::{Clock, ExperimentReference, GoDuration, Injection, InjectionSpec};

/// How far ahead of now, beyond what remains, `notAfter` is kept.
const HORIZON: Duration = Duration::from_hours(1);

/// `notAfter` is renewed when it is closer than this, so that it costs two writes an hour.
const RENEW: Duration = Duration::from_mins(30);

pub(super) fn after(moment: Timestamp, duration: Duration) -> Timestamp {
    moment.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

/// When it is over by the rules of Chaos Mesh, whatever becomes of it until then: so long after its creation.
pub(super) fn fixed_end(chaos: &dyn Experiment) -> Option<Timestamp> {
    let created = chaos.metadata().creation_timestamp.as_ref().filter(|_| chaos.is_as_in_chaos_mesh())?;
    Some(after(created.0, chaos.duration()?))
}

/// The time that the experiment as a whole has used at `now`.
pub(super) fn used(clock: &Clock, now: Timestamp) -> Duration {
    let running = clock.running_since.as_ref().map(|since| now.duration_since(since.0));
    let running = running.and_then(|running| Duration::try_from(running).ok()).unwrap_or_default();
    parsed(&clock.used).saturating_add(running)
}

/// The clock as it stands now: it begins with the first fault, and stands still in a pause.
pub(super) fn tick(input: &Input<'_>, live: &[Arc<Injection>]) -> Option<Clock> {
    let Input { chaos, now, .. } = input;
    let known = chaos.status().and_then(|status| status.experiment.clock.clone());
    match (known, chaos.is_paused()) {
        (Some(clock), true) => Some(stopped(&clock, *now)),
        (Some(clock), false) if clock.running_since.is_none() => {
            Some(Clock { running_since: Some(Time(*now)), ..clock })
        }
        (None, false) => {
            let began = |injection: &Arc<Injection>| Some(this_run(injection)?.started_at.as_ref()?.0);
            let since = live.iter().filter_map(began).min()?.min(*now);
            Some(Clock { used: text(Duration::ZERO), running_since: Some(Time(since)) })
        }
        (known, _) => known,
    }
}

/// The clock standing still from now on.
pub(super) fn stopped(clock: &Clock, now: Timestamp) -> Clock {
    match clock.running_since {
        Some(_) => Clock { used: text(used(clock, now)), running_since: None },
        None => clock.clone(),
    }
}

/// What is left of the duration, for people: until when, or how long while it stands still.
pub(super) fn remaining(input: &Input<'_>, clock: Option<&Clock>) -> Option<String> {
    let Input { chaos, now, .. } = input;
    let left = chaos.duration()?.saturating_sub(clock.map(|clock| used(clock, *now)).unwrap_or_default());
    let until = |end: Timestamp| format!("until {}", end.strftime("%Y-%m-%dT%H:%M:%SZ"));
    if let Some(end) = fixed_end(*chaos) {
        return Some(until(end));
    }
    match clock {
        Some(Clock { running_since: Some(_), .. }) => Some(until(after(*now, left))),
        _ => Some(text(left)),
    }
}

/// What the Injection of this node should say. What a run has used up of its time is carried over from
/// `current`; without one, from the experiment as a whole.
pub(super) fn spec_for(
    input: &Input<'_>,
    experiment: &ExperimentReference,
    node: &str,
    plan: &NodePlan,
    current: Option<&Injection>,
    clock: Option<&Clock>,
) -> InjectionSpec {
    let Input { chaos, now, .. } = input;
    let paused = chaos.is_paused();
    let fixed = fixed_end(*chaos);
    let (run, spent) = match current {
        None => (1, clock.map(|clock| used(clock, *now)).unwrap_or_default()),
        Some(current) if current.spec.paused && !paused && stands_still(current) => (
            current.spec.run.saturating_add(1),
            current.spec.effective_used().saturating_add(elapsed(current)),
        ),
        Some(current) => (current.spec.run, current.spec.effective_used()),
    };
    let remaining =
        chaos.duration().filter(|_| fixed.is_none()).map(|duration| duration.saturating_sub(spent));
    let ahead = remaining.unwrap_or_default();
    let renewed = after(*now, ahead.saturating_add(HORIZON));
    let not_after = current
        .map(|current| current.spec.not_after.0)
        .filter(|stands| *stands >= after(*now, ahead.saturating_add(RENEW)));
    InjectionSpec {
        experiment: experiment.clone(),
        node: node.to_owned(),
        targets: plan.targets.clone(),
        fault: plan.fault.clone(),
        paused,
        run,
        used: (spent > Duration::ZERO).then(|| text(spent)),
        remaining: remaining.map(text),
        not_after: Time(fixed.or(not_after).unwrap_or(renewed)),
        lease: text(chaos.lease()),
    }
}

/// Whether the daemon has paused the run. One that has not yet may never see the pause, and the time that
/// the run has used is not known: it goes on as the same run.
pub(super) fn stands_still(current: &Injection) -> bool {
    this_run(current).is_some_and(|status| status.wanted.as_deref() == Some(Absence::Paused.word()))
}

/// How long the present run was in place, as its daemon said last.
fn elapsed(current: &Injection) -> Duration {
    this_run(current).and_then(|status| status.elapsed.as_deref()).map(parsed).unwrap_or_default()
}

/// Whether another duration has left this run nothing, of those that do not count by themselves just now.
pub(super) fn is_used_up(injection: &Injection) -> bool {
    let Some(remaining) = injection.spec.effective_remaining() else { return false };
    remaining.is_zero() || (stands_still(injection) && elapsed(injection) >= remaining)
}

fn parsed(text: &str) -> Duration {
    text.parse::<GoDuration>().ok().and_then(GoDuration::to_std).unwrap_or_default()
}

fn text(duration: Duration) -> String {
    GoDuration::from_std(duration).to_string()
}
