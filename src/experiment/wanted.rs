//! Should this fault be in the kernel now? The only reader of the facts that decide it.
//!
//! Controller, daemon and preview all ask [`wanted`]; nobody else interprets pause, deletion, Halt,
//! lease and deadline, so that they cannot come to different answers. Pure: the facts carry the time.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::api::{HaltSpec, InjectionSpec, InjectionTarget};

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The fault should be in place.
    Present,
    /// It should not, for this reason.
    Absent(Absence),
}

/// Why a fault should not be in place. The words appear in status and events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Absence {
    /// The Injection, and with it the experiment, is deleted or being deleted.
    Deleted,
    /// A Halt covers it.
    Halted,
    /// It lasted as long as it was meant to.
    DurationElapsed,
    /// The absolute cap has passed.
    NotAfterPassed,
    /// What is done once was done.
    Completed,
    /// It is paused.
    Paused,
    /// The controller was not heard from for the lease, or not yet.
    LeaseLost,
    /// The daemon is being stopped in an orderly way; the next one goes on.
    DaemonStopping,
}

impl Absence {
    /// Whether the run is over for good: it does not come back by itself, only a higher run number
    /// starts the fault again.
    pub const fn ends_run(self) -> bool {
        matches!(self, Self::Halted | Self::DurationElapsed | Self::NotAfterPassed | Self::Completed)
    }

    /// The end of a run that an earlier status names. The exact reason matters to people only; to the run it
    /// matters that there is one.
    pub fn of_word(word: &str) -> Self {
        match word {
            "Halted" => Self::Halted,
            "NotAfterPassed" => Self::NotAfterPassed,
            "Completed" => Self::Completed,
            _ => Self::DurationElapsed,
        }
    }

    /// The word for status and events.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deleted => "Deleted",
            Self::Halted => "Halted",
            Self::DurationElapsed => "DurationElapsed",
            Self::NotAfterPassed => "NotAfterPassed",
            Self::Completed => "Completed",
            Self::Paused => "Paused",
            Self::LeaseLost => "LeaseLost",
            Self::DaemonStopping => "DaemonStopping",
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a Halt covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HaltScope {
    /// Everything.
    All,
    /// Faults on pods of these namespaces.
    Namespaces(Vec<String>),
}

impl HaltScope {
    /// Whether this Injection is covered. One target in a halted namespace is enough: a fault is undone
    /// as a whole.
    pub fn covers(&self, spec: &InjectionSpec) -> bool {
        self.covers_any(&spec.targets)
    }

    /// Whether a fault on these targets is covered.
    pub fn covers_any<'a>(&self, targets: impl IntoIterator<Item = &'a InjectionTarget>) -> bool {
        match self {
            Self::All => true,
            Self::Namespaces(halted) => targets.into_iter().any(|target| halted.contains(&target.namespace)),
        }
    }
}

impl From<&HaltSpec> for HaltScope {
    fn from(spec: &HaltSpec) -> Self {
        if spec.namespaces.is_empty() { Self::All } else { Self::Namespaces(spec.namespaces.clone()) }
    }
}

/// What is known of an Injection's current run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub number: u32,
    /// When it was first injected on this node, on `CLOCK_BOOTTIME`; negative if that was before the
    /// machine's last boot.
    pub started: Option<SignedDuration>,
    /// Why it is over, once it is.
    pub ended: Option<Absence>,
}

/// Everything that the answer depends on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The Injection as it was last read.
    pub spec: &'a InjectionSpec,
    /// Whether it is deleted or being deleted.
    pub deleted: bool,
    /// What is known of the last run that this node worked on.
    pub run: Run,
    /// Whether the daemon is being stopped.
    pub stopping: bool,
    /// Every Halt that exists.
    pub halts: &'a [HaltScope],
    /// When the leader Lease was last seen to change, on `CLOCK_BOOTTIME`; `None` if never since this
    /// process began. The first sight of it is no change: it may be a year old.
    pub heartbeat: Option<Duration>,
    /// Now.
    pub now: Now,
}

/// One moment on the two clocks that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// `CLOCK_BOOTTIME`: durations are measured on it, it goes on while the machine sleeps.
    pub boot: Duration,
    /// The wall clock: only for the absolute cap.
    pub wall: Timestamp,
}

/// Whether the fault should be in the kernel, given the facts.
pub fn wanted(facts: &Facts<'_>) -> Wanted {
    Wanted::from(absence(facts))
}

impl From<Option<Absence>> for Wanted {
    fn from(absence: Option<Absence>) -> Self {
        absence.map_or(Self::Present, Self::Absent)
    }
}

fn absence(facts: &Facts<'_>) -> Option<Absence> {
    let spec = facts.spec;
    if facts.deleted {
        return Some(Absence::Deleted);
    }
    // A number below the journalled one is a spec from the past: it starts nothing that is over.
    if spec.run <= facts.run.number
        && let Some(ended) = facts.run.ended
    {
        return Some(ended);
    }
    if facts.halts.iter().any(|halt| halt.covers(spec)) {
        return Some(Absence::Halted);
    }
    if let Some((left, reason)) = nearest_end(facts)
        && left <= SignedDuration::ZERO
    {
        return Some(reason);
    }
    // Before the daemon's own end: that the run stands still is what the next one must know.
    if spec.paused {
        return Some(Absence::Paused);
    }
    if facts.stopping {
        return Some(Absence::DaemonStopping);
    }
    if lease_end(facts).is_none_or(|end| facts.now.boot >= end) {
        return Some(Absence::LeaseLost);
    }
    None
}

/// When the passing of time alone changes the answer next, on `CLOCK_BOOTTIME`; `None` if it never does.
pub fn next_change(facts: &Facts<'_>) -> Option<Duration> {
    let end = nearest_end(facts).and_then(|(left, _)| facts.now.boot.checked_add(left.try_into().ok()?));
    match absence(facts) {
        Some(
            Absence::Deleted
            | Absence::Halted
            | Absence::NotAfterPassed
            | Absence::DurationElapsed
            | Absence::Completed,
        ) => None,
        // None of these stops what ends the run.
        Some(Absence::Paused | Absence::LeaseLost | Absence::DaemonStopping) => end,
        None => end.into_iter().chain(lease_end(facts)).min(),
    }
}

/// What ends the run first, and how long it is until then; negative once it is past.
fn nearest_end(facts: &Facts<'_>) -> Option<(SignedDuration, Absence)> {
    let cap = facts.spec.not_after.0.duration_since(facts.now.wall);
    let cap = (cap, Absence::NotAfterPassed);
    // Another duration may leave a run nothing at all: then it does not begin, whatever ends later.
    let used_up = !facts.spec.paused && facts.spec.effective_remaining() == Some(Duration::ZERO);
    let elapsed = if used_up {
        Some((SignedDuration::MIN, Absence::DurationElapsed))
    } else {
        deadline_of_run(facts).and_then(|deadline| {
            let left = deadline.checked_sub(facts.now.boot.try_into().ok()?)?;
            Some((left, Absence::DurationElapsed))
        })
    };
    elapsed.into_iter().chain([cap]).min_by_key(|(left, _)| *left)
}

/// When the run has lasted as long as it should. A run that is paused does not move on, and a higher
/// number in the spec is a run that has not begun.
fn deadline_of_run(facts: &Facts<'_>) -> Option<SignedDuration> {
    if facts.spec.paused || facts.spec.run != facts.run.number {
        return None;
    }
    facts.run.started?.checked_add(facts.spec.effective_remaining()?.try_into().ok()?)
}

fn lease_end(facts: &Facts<'_>) -> Option<Duration> {
    facts.heartbeat?.checked_add(facts.spec.effective_lease())
}

#[cfg(test)]
#[path = "wanted_tests.rs"]
mod tests;
