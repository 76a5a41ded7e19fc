//! One Injection as the engine follows it: its run, its targets, what was reported of it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::journal::Record;
use super::kernel::Before;
use crate::api::{
    GoDuration, Injection, InjectionSpec, InjectionStatus, InjectionTarget, TargetPhase, TargetStatus,
};
use crate::experiment::wanted::{Absence, Facts, HaltScope, Now, Run, Wanted};

/// See the module.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) uid: String,
    pub(super) spec: InjectionSpec,
    /// Names the experiment in the kernel: `namespace/name`.
    pub(super) label: String,
    /// Deleted or being deleted.
    pub(super) deleted: bool,
    /// Not in the API any more: there is nobody to report to.
    pub(super) gone: bool,
    pub(super) run: Run,
    pub(super) wanted: Wanted,
    pub(super) targets: Vec<TargetStatus>,
    generation: i64,
    started_at: Option<Time>,
    /// Since when the run stands still, if it does; on the clock of [`Run::started`].
    stopped: Option<SignedDuration>,
    interruptions: u32,
    reported: Option<InjectionStatus>,
}

impl Tracked {
    /// Starts to follow an Injection, with what an earlier process wrote down about it.
    pub(super) fn new(injection: Injection, record: Option<Record>, now: Now) -> Self {
        let uid = injection.metadata.uid.clone().unwrap_or_default();
        let status = injection.status.clone().unwrap_or_default();
        let record = record.filter(|record| record.uid == uid);
        let (run, interruptions) = match &record {
            Some(record) => (record.as_run(), record.interruptions),
            None => (run_of_status(&status, now), status.interruptions),
        };
        // A fault of the process before this one died with its socket, whatever the status says.
        let was_present = status.targets.iter().any(|target| target.phase == TargetPhase::Injected);
        let experiment = &injection.spec.experiment;
        let mut tracked = Self {
            uid,
            label: format!("{}/{}", experiment.namespace, experiment.name),
            spec: injection.spec.clone(),
            deleted: false,
            gone: false,
            run,
            wanted: Wanted::Absent(Absence::LeaseLost),
            targets: status.targets.clone(),
            generation: 0,
            started_at: status.started_at.clone(),
            stopped: stopped_of_status(&status, run),
            interruptions: interruptions + u32::from(was_present),
            reported: injection.status.clone(),
        };
        tracked.update(injection);
        tracked.align(now);
        tracked
    }

    /// Takes over a newer version of the same object.
    pub(super) fn update(&mut self, injection: Injection) {
        self.deleted |= injection.metadata.deletion_timestamp.is_some();
        self.generation = injection.metadata.generation.unwrap_or_default();
        self.spec = injection.spec;
    }

    /// One entry for each target of the spec. A target that left the spec stays until it is clear.
    fn align(&mut self, now: Now) {
        let known = std::mem::take(&mut self.targets);
        let mut known: Vec<_> = known.into_iter().map(Some).collect();
        for target in &self.spec.targets {
            let found = known.iter_mut().find(|status| status.as_ref().is_some_and(|s| s.target == *target));
            let status = found.and_then(Option::take).unwrap_or_else(|| waiting(target, now));
            self.targets.push(status);
        }
        self.targets.extend(known.into_iter().flatten().filter(|status| status.phase.may_be_present()));
    }

    /// A higher number in the spec is a new run with a clock of its own.
    pub(super) fn begin_run(&mut self) {
        if self.spec.run > self.run.number {
            self.run = Run { number: self.spec.run, started: None, ended: None };
            self.started_at = None;
            self.stopped = None;
        }
    }

    pub(super) fn facts<'a>(
        &'a self,
        halts: &'a [HaltScope],
        heartbeat: Option<Duration>,
        stopping: bool,
        now: Now,
    ) -> Facts<'a> {
        Facts { spec: &self.spec, deleted: self.deleted, run: self.run, stopping, halts, heartbeat, now }
    }

    /// Takes note of what is wanted from now on.
    pub(super) fn decided(&mut self, wanted: Wanted, now: Now) {
        self.align(now);
        if let Wanted::Absent(reason) = wanted {
            if reason.ends_run() {
                self.run.ended.get_or_insert(reason);
            }
            self.stopped.get_or_insert(boot(now));
            if self.wanted == Wanted::Present {
                self.interruptions += u32::from(reason == Absence::LeaseLost);
            }
        } else {
            self.stopped = None;
        }
        self.wanted = wanted;
    }

    /// Whether this pod is one of its targets.
    pub(super) fn touches(&self, pod: &str) -> bool {
        self.targets.iter().any(|target| target.target.uid == pod)
    }

    /// Whether a target on this pod is not yet where it should be.
    pub(super) fn unsettled(&self, pod: &str) -> bool {
        let here = self.targets.iter().filter(|target| target.target.uid == pod);
        here.into_iter().any(|target| match self.wanted {
            Wanted::Present => target.phase != TargetPhase::Injected && self.names(&target.target),
            Wanted::Absent(_) => target.phase.may_be_present(),
        })
    }

    /// Whether the spec still names this target.
    fn names(&self, target: &InjectionTarget) -> bool {
        self.spec.targets.contains(target)
    }

    /// The pod's network is as it should be, and was read back.
    pub(super) fn settled(&mut self, pod: &str, evidence: &str, now: Now) {
        let present = self.wanted == Wanted::Present;
        for index in 0..self.targets.len() {
            let named = self.targets.get(index).is_some_and(|status| self.names(&status.target));
            let Some(status) = self.targets.get_mut(index).filter(|status| status.target.uid == pod) else {
                continue;
            };
            let next = match (present && named, status.phase) {
                (true, _) => TargetPhase::Injected,
                (false, TargetPhase::Injected | TargetPhase::Stuck) => TargetPhase::Recovered,
                (false, TargetPhase::Failed) => TargetPhase::Waiting,
                (false, phase) => phase,
            };
            if status.phase != next {
                status.injected_count += u32::from(next == TargetPhase::Injected);
                status.recovered_count += u32::from(next == TargetPhase::Recovered);
                status.since = Time(now.wall);
                status.phase = next;
                status.error = None;
            }
            if matches!(next, TargetPhase::Injected | TargetPhase::Recovered) {
                status.evidence = Some(evidence.to_owned());
            }
            if next == TargetPhase::Injected && self.run.started.is_none() {
                self.run.started = Some(boot(now));
                self.started_at = Some(Time(now.wall));
            }
        }
    }

    /// The change failed. `carries` tells whether a fault of ours is known to be there still.
    pub(super) fn failed(&mut self, pod: &str, error: &str, carries: bool, now: Now) {
        let present = self.wanted == Wanted::Present;
        for status in self.targets.iter_mut().filter(|status| status.target.uid == pod) {
            let next = match status.phase {
                _ if present => TargetPhase::Failed,
                phase if carries || phase.may_be_present() => TargetPhase::Stuck,
                phase => phase,
            };
            if status.phase != next {
                status.phase = next;
                status.since = Time(now.wall);
            }
            status.error = Some(error.to_owned());
        }
    }

    /// Whether nothing of it can be in the kernel.
    pub(super) fn is_clear(&self) -> bool {
        self.wanted != Wanted::Present && self.targets.iter().all(|target| !target.phase.may_be_present())
    }

    /// What the journal should know.
    pub(super) fn record(&self, boot: &str, before: &BTreeMap<String, Before>) -> Record {
        let own = before.iter().filter(|(pod, _)| self.touches(pod));
        Record {
            boot: boot.to_owned(),
            uid: self.uid.clone(),
            run: self.run.number,
            started: self.run.started.and_then(|started| i64::try_from(started.as_nanos()).ok()),
            ended: self.run.ended,
            interruptions: self.interruptions,
            before: own.map(|(pod, before)| (pod.clone(), before.clone())).collect(),
        }
    }

    /// The status, if it says something that was not said before.
    pub(super) fn report(&mut self, now: Now) -> Option<InjectionStatus> {
        let said = self.reported.as_ref();
        let mut status = InjectionStatus {
            observed_generation: self.generation,
            observed_run: self.run.number,
            wanted: Some(match self.wanted {
                Wanted::Present => "Present".to_owned(),
                Wanted::Absent(reason) => reason.word().to_owned(),
            }),
            ended: self.run.ended.map(|reason| reason.word().to_owned()),
            started_at: self.started_at.clone(),
            elapsed: said.and_then(|status| status.elapsed.clone()),
            interruptions: self.interruptions,
            targets: self.targets.clone(),
        };
        if said == Some(&status) {
            return None;
        }
        let until = self.stopped.unwrap_or_else(|| boot(now));
        let elapsed = self.run.started.and_then(|started| until.saturating_sub(started).try_into().ok());
        status.elapsed = elapsed.map(|elapsed| GoDuration::from_std(elapsed).to_string());
        self.reported = Some(status.clone());
        Some(status)
    }
}

fn waiting(target: &InjectionTarget, now: Now) -> TargetStatus {
    TargetStatus {
        target: target.clone(),
        phase: TargetPhase::Waiting,
        evidence: None,
        error: None,
        since: Time(now.wall),
        injected_count: 0,
        recovered_count: 0,
    }
}

/// Now, on the clock of [`Run::started`].
fn boot(now: Now) -> SignedDuration {
    now.boot.try_into().unwrap_or(SignedDuration::MAX)
}

/// Since when a run stands still that an earlier process said to be paused: the time after that is not
/// its own.
fn stopped_of_status(status: &InjectionStatus, run: Run) -> Option<SignedDuration> {
    let is_paused = status.wanted.as_deref() == Some(Absence::Paused.word());
    let elapsed = status.elapsed.as_deref().filter(|_| is_paused && status.observed_run == run.number)?;
    run.started?.checked_add(elapsed.parse::<GoDuration>().ok()?.to_std()?.try_into().ok()?)
}

/// The run as the status tells it, for a node whose journal is lost: after a reboot, or on a new disk.
/// `CLOCK_BOOTTIME` began anew, so the wall clock must do; a run that is over stays over.
fn run_of_status(status: &InjectionStatus, now: Now) -> Run {
    let since = status.started_at.as_ref().map(|at| now.wall.duration_since(at.0).max(SignedDuration::ZERO));
    Run {
        number: status.observed_run,
        started: since.map(|since| boot(now).saturating_sub(since)),
        // The exact reason matters to people only; to the run it matters that there is one.
        ended: status.ended.as_deref().map(|word| match word {
            "Halted" => Absence::Halted,
            "NotAfterPassed" => Absence::NotAfterPassed,
            _ => Absence::DurationElapsed,
        }),
    }
}
