//! One Injection as the engine follows it: its run, its targets, what was reported of it.

use std::collections::{BTreeMap, BTreeSet};
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
    /// Ids of the containers that were about to be killed, by this process or one before it.
    pub(super) killed: BTreeSet<String>,
    generation: i64,
    started_at: Option<Time>,
    /// Since when the run stands still, if it does; on the clock of [`Run::started`].
    stopped: Option<SignedDuration>,
    interruptions: u32,
    reported: Option<InjectionStatus>,
    /// Since when it is to be as it is to be, on `CLOCK_BOOTTIME`.
    asked: Duration,
    /// The spec has changed since that was decided last.
    respecified: bool,
    /// What happened to its targets, for whoever counts it.
    pub(super) notes: Vec<Note>,
}

/// Something that happened to one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Its fault was read back, so long after it was asked for.
    Injected(Duration),
    /// Its fault was read back as gone, so long after it was to go. Why it was to go; not at all because of the run, but since
    /// the target is none any more, without a reason.
    Undone(Option<Absence>, Duration),
    /// A change failed; it is tried again.
    Failed {
        /// Whether a fault was to be taken away.
        undo: bool,
    },
    /// What was in place was not there any more when it was read back again.
    Lost,
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
            killed: record.map(|record| record.killed).unwrap_or_default(),
            generation: 0,
            started_at: status.started_at.clone(),
            stopped: stopped_of_status(&status, run),
            interruptions: interruptions + u32::from(was_present),
            reported: injection.status.clone(),
            asked: now.boot,
            respecified: false,
            notes: Vec::new(),
        };
        tracked.update(injection);
        tracked.align(now);
        tracked
    }

    /// Takes over a newer version of the same object.
    pub(super) fn update(&mut self, injection: Injection) {
        self.deleted |= injection.metadata.deletion_timestamp.is_some();
        self.generation = injection.metadata.generation.unwrap_or_default();
        self.respecified |= self.spec != injection.spec;
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
        let turned = (self.wanted == Wanted::Present) != (wanted == Wanted::Present);
        if std::mem::take(&mut self.respecified) || turned {
            self.asked = now.boot;
        }
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

    /// Whether this pod's network is one of its targets.
    pub(super) fn touches(&self, pod: &str) -> bool {
        self.spec.fault.network.is_some()
            && self.targets.iter().any(|target| target.target.uid_on_node() == pod)
    }

    /// Whether a target on this pod is not yet where it should be.
    pub(super) fn unsettled(&self, pod: &str) -> bool {
        let here =
            self.targets.iter().filter(|target| target.target.uid_on_node() == pod && self.touches(pod));
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
        if !self.touches(pod) {
            return;
        }
        let present = self.wanted == Wanted::Present;
        for index in 0..self.targets.len() {
            let named = self.targets.get(index).is_some_and(|status| self.names(&status.target));
            let Some(status) =
                self.targets.get_mut(index).filter(|status| status.target.uid_on_node() == pod)
            else {
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
                let took = now.boot.saturating_sub(self.asked);
                let reason = if let Wanted::Absent(reason) = self.wanted { Some(reason) } else { None };
                self.notes.extend(match next {
                    TargetPhase::Injected => Some(Note::Injected(took)),
                    TargetPhase::Recovered => Some(Note::Undone(reason, took)),
                    _ => None,
                });
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
        if !self.touches(pod) {
            return;
        }
        let present = self.wanted == Wanted::Present;
        for status in self.targets.iter_mut().filter(|status| status.target.uid_on_node() == pod) {
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
            self.notes.push(Note::Failed { undo: !present });
        }
    }

    /// The containers that are still to be killed: pod, id, and whether that was begun before.
    pub(super) fn to_kill(&self) -> Vec<(InjectionTarget, bool)> {
        if self.spec.fault.container_kill.is_none() {
            return Vec::new();
        }
        let open = self.targets.iter().filter(|status| status.phase != TargetPhase::Done);
        let begun = |target: &InjectionTarget| {
            target.container_id.as_ref().is_some_and(|id| self.killed.contains(id))
        };
        let due = |target: &InjectionTarget| {
            self.wanted == Wanted::Present && self.names(target)
                || self.run.ended == Some(Absence::Completed) && begun(target)
        };
        let due = open.map(|status| &status.target).filter(|target| due(target));
        due.map(|target| (target.clone(), begun(target))).collect()
    }

    /// What became of killing one container. The run is over when all are.
    pub(super) fn killed(&mut self, target: &InjectionTarget, outcome: &Result<String, String>, now: Now) {
        for status in self.targets.iter_mut().filter(|status| status.target == *target) {
            let (phase, evidence, error) = match outcome {
                Ok(evidence) => (TargetPhase::Done, Some(evidence.clone()), None),
                Err(error) => (TargetPhase::Failed, status.evidence.take(), Some(error.clone())),
            };
            if status.phase != phase {
                status.since = Time(now.wall);
                status.injected_count += u32::from(phase == TargetPhase::Done);
            }
            self.notes.push(match phase {
                TargetPhase::Done => Note::Injected(now.boot.saturating_sub(self.asked)),
                _ => Note::Failed { undo: false },
            });
            (status.phase, status.evidence, status.error) = (phase, evidence, error);
        }
        if outcome.is_ok() && self.run.started.is_none() {
            self.run.started = Some(boot(now));
            self.started_at = Some(Time(now.wall));
        }
        if self.targets.iter().all(|status| status.phase == TargetPhase::Done) {
            self.run.ended.get_or_insert(Absence::Completed);
            self.wanted = Wanted::Absent(Absence::Completed);
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
            killed: self.killed.clone(),
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
        ended: status.ended.as_deref().map(Absence::of_word),
    }
}
