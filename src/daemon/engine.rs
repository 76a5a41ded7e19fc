//! The engine: makes this node's kernel look like its Injections, level-triggered.
//!
//! Every call of [`Engine::settle`] compares what should be with what was last read back and does the
//! difference. It has no thread, no network and no clock of its own: inputs and the time come from
//! outside, the kernel is a trait. Nothing is changed that was not written to the journal before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::journal::{Journal, JournalError};
use super::kernel::{Before, FaultError, Kernel, Queue};
use super::shaper::Counts;
pub use super::tracked::Note;
use super::tracked::Tracked;
use crate::api::{Injection, InjectionStatus, TargetPhase};
use crate::experiment::wanted::{HaltScope, Now, Wanted, next_change, wanted};
use crate::network::plan::{ActiveFault, NetworkPlan};

/// How often what is in place is read back again without any other cause.
const VERIFY_EVERY: Duration = Duration::from_secs(10);

/// First pause before a failed change is tried again; it doubles up to [`RETRY_MOST`].
const RETRY_FIRST: Duration = Duration::from_millis(250);

/// Longest pause between tries.
const RETRY_MOST: Duration = Duration::from_secs(30);

/// Evidence is a line, not a dump.
const EVIDENCE_BYTES: usize = 256;

/// The evidence of a target at which nothing happens: a packet is shaped at one end only.
const ELSEWHERE: &str = "nothing to change here: the fault acts at the other end";

/// What the engine is told.
#[derive(Debug)]
pub enum Input {
    /// All Injections of this node, replacing what was known.
    Snapshot(Vec<Injection>),
    /// One Injection as it is now.
    Applied(Box<Injection>),
    /// One Injection is gone from the API.
    Deleted(String),
    /// The leader Lease as it reads now: any text that changes with each renewal.
    Heartbeat(String),
    /// What the Halts of the API server cover, replacing what was known.
    Halts(Vec<HaltScope>),
    /// Whether this node is halted by a file of its own.
    LocalHalt(bool),
    /// A helper process has ended by itself: what it did may be undone.
    Disturbed,
    /// Undo everything; the process is about to end.
    Stop,
}

/// What the engine has to say.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Statuses that changed, by the name of the Injection.
    pub statuses: Vec<(String, InjectionStatus)>,
    /// When to call again if nothing happens before, on `CLOCK_BOOTTIME`.
    pub wake: Option<Duration>,
    /// What happened to targets, for whoever counts it.
    pub notes: Vec<Note>,
}

/// How many targets there are, by what is asked and what is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// That are to have a fault now.
    pub asked: u32,
    /// On which one was read back.
    pub injected: u32,
    /// On which it could not be put in place yet.
    pub failed: u32,
    /// From which it could not be taken away yet.
    pub stuck: u32,
    /// When the controller was heard last, on `CLOCK_BOOTTIME`.
    pub heard: Option<Duration>,
}

/// See the module.
#[derive(Debug)]
pub struct Engine<K> {
    kernel: K,
    journal: Journal,
    injections: BTreeMap<String, Tracked>,
    pods: BTreeMap<String, Pod>,
    /// When killing the containers of an Injection is tried again, by its name.
    kills: BTreeMap<String, Retry>,
    halts: Halts,
    heartbeat: Heartbeat,
    synced: bool,
    stopping: bool,
    notes: Vec<Note>,
}

#[derive(Debug, Default)]
struct Halts {
    /// Those of the API server, once they were read.
    listed: Option<Vec<HaltScope>>,
    local: bool,
}

impl Halts {
    fn scopes(&self) -> &[HaltScope] {
        const EVERYTHING: &[HaltScope] = &[HaltScope::All];
        if self.local { EVERYTHING } else { self.listed.as_deref().unwrap_or_default() }
    }
}

#[derive(Debug, Default)]
struct Heartbeat {
    seen: Option<String>,
    changed: Option<Duration>,
}

/// What is known of one pod's network.
#[derive(Debug, Default)]
struct Pod {
    installed: Option<NetworkPlan>,
    /// The last change or look was not read back: the kernel may hold something else than `installed`.
    doubtful: bool,
    before: Option<Before>,
    /// When it was read back last; never since something disturbed it.
    verified: Option<Duration>,
    retry: Option<Retry>,
}

/// When to try again what failed. What should be by now is another thing is tried at once.
#[derive(Debug)]
struct Retry {
    at: Duration,
    pause: Duration,
    plan: Option<NetworkPlan>,
}

impl Pod {
    /// Whether something of ours may be in its network.
    const fn carries(&self) -> bool {
        self.installed.is_some() || self.doubtful
    }
}

impl<K: Kernel> Engine<K> {
    /// An engine that knows nothing but the journal. It does nothing until it was given a first snapshot and the
    /// Halts. What the process before it did to a pod may still be there: a queueing discipline does not end with it.
    pub fn new(kernel: K, journal: Journal) -> Self {
        let mut pods = BTreeMap::<String, Pod>::new();
        for record in journal.names().iter().filter_map(|name| journal.get(name)) {
            for (pod, before) in &record.before {
                let known = pods.entry(pod.clone()).or_default();
                known.before.get_or_insert_with(|| before.clone());
                known.doubtful = true;
            }
        }
        Self {
            kernel,
            journal,
            injections: BTreeMap::new(),
            pods,
            kills: BTreeMap::new(),
            halts: Halts { listed: None, local: false },
            heartbeat: Heartbeat { seen: None, changed: None },
            synced: false,
            stopping: false,
            notes: Vec::new(),
        }
    }

    /// Takes in what happened. Call [`Self::settle`] afterwards.
    pub fn tell(&mut self, input: Input, now: Now) {
        match input {
            Input::Snapshot(all) => {
                let names: BTreeSet<_> = all.iter().filter_map(|one| one.metadata.name.clone()).collect();
                for (name, tracked) in &mut self.injections {
                    let gone = !names.contains(name);
                    tracked.deleted |= gone;
                    tracked.gone |= gone;
                }
                for injection in all {
                    self.applied(injection, now);
                }
                self.synced = true;
            }
            Input::Applied(injection) => self.applied(*injection, now),
            Input::Deleted(name) => {
                if let Some(tracked) = self.injections.get_mut(&name) {
                    tracked.deleted = true;
                    tracked.gone = true;
                }
            }
            Input::Heartbeat(text) => {
                // The first sight of the Lease is no sign of life: it may have been written long ago.
                if self.heartbeat.seen.as_ref().is_some_and(|seen| *seen != text) {
                    self.heartbeat.changed = Some(now.boot);
                }
                self.heartbeat.seen = Some(text);
            }
            Input::Halts(scopes) => self.halts.listed = Some(scopes),
            Input::LocalHalt(local) => self.halts.local = local,
            Input::Disturbed => self.pods.values_mut().for_each(|pod| pod.verified = None),
            Input::Stop => self.stopping = true,
        }
    }

    fn applied(&mut self, injection: Injection, now: Now) {
        let Some(name) = injection.metadata.name.clone() else { return };
        match self.injections.get_mut(&name) {
            // A later object of the same name is another one; the old one's faults are undone with it.
            Some(tracked) if Some(&tracked.uid) == injection.metadata.uid.as_ref() => {
                tracked.update(injection);
            }
            _ => {
                let record = self.journal.get(&name).cloned();
                self.injections.insert(name, Tracked::new(injection, record, now));
            }
        }
    }

    /// Does the difference between what should be and what is.
    pub fn settle(&mut self, now: Now) -> Outcome {
        // A Halt must be known before the first injection, whichever watch is faster.
        if !self.synced || self.halts.listed.is_none() {
            return Outcome::default();
        }
        self.decide(now);
        for pod in self.concerned() {
            if let Err(error) = self.settle_pod(&pod, now) {
                tracing::error!(pod, error = %error_chain(&error), "the journal cannot be written; nothing is injected");
                self.retry_later(&pod, now);
            }
        }
        self.kill_containers(now);
        let mut notes = std::mem::take(&mut self.notes);
        notes.extend(self.injections.values_mut().flat_map(|tracked| tracked.notes.drain(..)));
        self.forget();
        let statuses = self.statuses(now);
        Outcome { statuses, wake: self.wake(now), notes }
    }

    /// How many targets there are in each state.
    pub fn standing(&self) -> Standing {
        let mut all = Standing { heard: self.heartbeat.changed, ..Standing::default() };
        for tracked in self.injections.values() {
            for target in &tracked.targets {
                all.asked += u32::from(tracked.wanted == Wanted::Present);
                match target.phase {
                    TargetPhase::Injected => all.injected += 1,
                    TargetPhase::Failed => all.failed += 1,
                    TargetPhase::Stuck => all.stuck += 1,
                    TargetPhase::Waiting | TargetPhase::Done | TargetPhase::Recovered => {}
                }
            }
        }
        all
    }

    /// What the shaper did with packets so far ([`Kernel::shaped`]).
    pub fn shaped(&mut self) -> Vec<(Queue, Counts)> {
        self.kernel.shaped()
    }

    /// Whether nothing of ours is in the kernel.
    pub fn is_clear(&self) -> bool {
        self.pods.values().all(|pod| !pod.carries())
    }

    fn decide(&mut self, now: Now) {
        let before = self.pods_before();
        for (name, tracked) in &mut self.injections {
            tracked.begin_run();
            let facts = tracked.facts(self.halts.scopes(), self.heartbeat.changed, self.stopping, now);
            let wanted = wanted(&facts);
            tracked.decided(wanted, now);
            // One that is deleted needs no memory of it: there will be no other run.
            if tracked.run.ended.is_some()
                && !tracked.deleted
                && let Err(error) = self.journal.put(name, tracked.record(self.journal.boot(), &before))
            {
                // The fault is undone all the same. After a crash right now it might come back for its
                // remaining time.
                tracing::error!(injection = name, error = %error_chain(&error), "cannot journal the end of a run");
            }
        }
    }

    /// Kills the containers that are due, each once: what is about to be killed is journalled before, and a
    /// container that was started anew has another id.
    fn kill_containers(&mut self, now: Now) {
        let before = self.pods_before();
        for (name, tracked) in
            self.injections.iter_mut().filter(|(_, t)| t.spec.fault.container_kill.is_some())
        {
            if self.kills.get(name).is_some_and(|retry| now.boot < retry.at) {
                continue;
            }
            let mut again = false;
            for (target, begun) in tracked.to_kill() {
                let id = target.container_id.clone().unwrap_or_default();
                tracked.killed.insert(id.clone());
                let outcome = match self.journal.put(name, tracked.record(self.journal.boot(), &before)) {
                    Ok(()) => match self.kernel.kill(target.uid_on_node(), &id) {
                        Err(FaultError::NoContainer { .. }) if begun => {
                            Ok(format!("{id} was killed by the daemon before this one, or ended by itself"))
                        }
                        outcome => outcome.map_err(|error| {
                            if !begun && matches!(error, FaultError::NoContainer { .. }) {
                                tracked.killed.remove(&id);
                            }
                            format!("{}; {}", error.chain(), error.cure())
                        }),
                    },
                    Err(error) => {
                        tracked.killed.remove(&id);
                        Err(format!(
                            "the journal cannot be written, so nothing is killed: {}",
                            error_chain(&error)
                        ))
                    }
                };
                again |= outcome.is_err();
                tracked.killed(&target, &outcome.map(truncated).map_err(truncated), now);
            }
            let pause = self.kills.get(name).map_or(RETRY_FIRST, |retry| (retry.pause * 2).min(RETRY_MOST));
            if again {
                self.kills.insert(name.clone(), Retry { at: now.boot + pause, pause, plan: None });
                // What was not found was not killed: the next process is not to believe it was.
                if let Err(error) = self.journal.put(name, tracked.record(self.journal.boot(), &before)) {
                    tracing::warn!(injection = name, error = %error_chain(&error), "cannot journal a failed kill");
                }
            } else {
                self.kills.remove(name);
            }
        }
    }

    fn pods_before(&self) -> BTreeMap<String, Before> {
        let known = self.pods.iter();
        known.filter_map(|(pod, state)| Some((pod.clone(), state.before.clone()?))).collect()
    }

    /// Every pod that is a target, or still carries something.
    fn concerned(&self) -> BTreeSet<String> {
        let of_networks = self.injections.values().filter(|tracked| tracked.spec.fault.network.is_some());
        let targets = of_networks.flat_map(|tracked| &tracked.targets);
        let carrying = self.pods.iter().filter(|(_, pod)| pod.carries());
        let targets = targets.map(|target| target.target.uid_on_node().to_owned());
        targets.chain(carrying.map(|(uid, _)| uid.clone())).collect()
    }

    fn settle_pod(&mut self, uid: &str, now: Now) -> Result<(), JournalError> {
        let plan = self.plan(uid);
        let pod = self.pods.entry(uid.to_owned()).or_default();
        if pod.retry.as_ref().is_some_and(|retry| now.boot < retry.at && retry.plan == plan) {
            return Ok(());
        }
        let unsettled = self.injections.values().any(|tracked| tracked.unsettled(uid));
        let pod = self.pods.entry(uid.to_owned()).or_default();
        if pod.installed == plan && !pod.doubtful && !unsettled {
            pod.retry = None;
            self.verify(uid, now);
            return Ok(());
        }
        if plan.is_some() && pod.before.is_none() {
            match self.kernel.observe(uid) {
                Ok(before) => pod.before = Some(before),
                Err(error) => {
                    self.failed(uid, &error, now);
                    return Ok(());
                }
            }
        }
        if plan.is_some() {
            self.write_ahead(uid)?;
        }
        let before = self.pods.get(uid).and_then(|pod| pod.before.as_ref());
        match self.kernel.set_network(uid, plan.as_ref(), before) {
            Ok(evidence) => self.succeeded(uid, plan, &evidence, now),
            Err(error) => {
                // What the kernel refuses leaves no trace, what it does not list may be there all the same.
                let pod = self.pods.entry(uid.to_owned()).or_default();
                pod.doubtful |= matches!(error, FaultError::NotReadBack(_));
                self.failed(uid, &error, now);
                Ok(())
            }
        }
    }

    /// What the pod's network should have now.
    fn plan(&self, uid: &str) -> Option<NetworkPlan> {
        let mut faults = Vec::new();
        for tracked in self.injections.values().filter(|tracked| tracked.wanted == Wanted::Present) {
            let Some(network) = &tracked.spec.fault.network else { continue };
            for target in tracked.targets.iter().filter(|target| target.target.uid_on_node() == uid) {
                let end = network.ends.iter().find(|end| end.selector_key == target.target.selector_key);
                faults.extend(end.map(|end| ActiveFault {
                    label: &tracked.label,
                    end,
                    exempt: &network.exempt,
                }));
            }
        }
        NetworkPlan::of(&faults)
    }

    /// Journals which Injections touch this pod, and what was there before.
    fn write_ahead(&mut self, uid: &str) -> Result<(), JournalError> {
        let before = self.pods_before();
        let touching = self.injections.iter().filter(|(_, tracked)| tracked.touches(uid));
        for (name, tracked) in touching.filter(|(_, tracked)| tracked.wanted == Wanted::Present) {
            self.journal.put(name, tracked.record(self.journal.boot(), &before))?;
        }
        Ok(())
    }

    fn succeeded(
        &mut self,
        uid: &str,
        plan: Option<NetworkPlan>,
        evidence: &str,
        now: Now,
    ) -> Result<(), JournalError> {
        let pod = self.pods.entry(uid.to_owned()).or_default();
        let undone = plan.is_none();
        pod.installed = plan;
        pod.doubtful = false;
        pod.verified = Some(now.boot);
        pod.retry = None;
        let mut text = evidence.to_owned();
        if undone && let Some(before) = pod.before.take() {
            match self.kernel.compare(uid, &before) {
                Ok(()) => text.push_str("; as it was before"),
                Err(error) => {
                    tracing::warn!(pod = uid, error = %error.chain(), "after undoing a fault");
                    text = format!("{text}; {}", error.chain());
                }
            }
        }
        truncate(&mut text);
        for (name, tracked) in &mut self.injections {
            let began = tracked.run.started.is_none();
            let elsewhere = undone && tracked.wanted == Wanted::Present;
            tracked.settled(uid, if elsewhere { ELSEWHERE } else { &text }, now);
            if began && tracked.run.started.is_some() {
                let before =
                    self.pods.iter().filter_map(|(pod, state)| Some((pod.clone(), state.before.clone()?)));
                let record = tracked.record(self.journal.boot(), &before.collect());
                // From here the clock of the run is journalled: a restarted daemon does not start it anew.
                self.journal.put(name, record)?;
            }
        }
        Ok(())
    }

    fn failed(&mut self, uid: &str, error: &FaultError, now: Now) {
        let mut text = format!("{}; {}", error.chain(), error.cure());
        truncate(&mut text);
        let carries = self.pods.get(uid).is_some_and(Pod::carries);
        for tracked in self.injections.values_mut() {
            tracked.failed(uid, &text, carries, now);
        }
        self.retry_later(uid, now);
    }

    fn retry_later(&mut self, uid: &str, now: Now) {
        let plan = self.plan(uid);
        let pod = self.pods.entry(uid.to_owned()).or_default();
        let again = pod.retry.take().filter(|retry| retry.plan == plan);
        let pause = again.map_or(RETRY_FIRST, |retry| (retry.pause * 2).min(RETRY_MOST));
        pod.retry = Some(Retry { at: now.boot + pause, pause, plan });
    }

    /// Reads back from time to time what should still be there. If it is not, the next call injects again.
    fn verify(&mut self, uid: &str, now: Now) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        let is_due = pod.verified.is_none_or(|verified| now.boot >= verified + VERIFY_EVERY);
        let Some(plan) = pod.installed.as_ref().filter(|_| is_due) else { return };
        pod.verified = Some(now.boot);
        if let Err(error) = self.kernel.verify(uid, plan) {
            tracing::warn!(pod = uid, error = %error.chain(), "an injected fault is not in the kernel any more");
            pod.installed = None;
            pod.doubtful = true;
            self.notes.push(Note::Lost);
            self.failed(uid, &error, now);
        }
    }

    /// Lets go of what is over: Injections that are gone and clear, pods that nobody speaks of.
    fn forget(&mut self) {
        let over = |tracked: &Tracked| tracked.deleted && tracked.is_clear();
        let names: Vec<_> = self.injections.iter().filter(|(_, t)| over(t)).map(|(n, _)| n.clone()).collect();
        for name in names {
            self.drop_record(&name);
            self.kills.remove(&name);
            self.injections.retain(|key, tracked| *key != name || !tracked.gone);
        }
        // Records without an object, which was deleted while no daemon ran: what they say of a pod is needed, by the next
        // process too, until that pod is as it was before.
        let carries = |pod: &String| self.pods.get(pod).is_some_and(Pod::carries);
        let is_needed = |name: &String| {
            let record = self.journal.get(name);
            self.injections.contains_key(name)
                || record.is_some_and(|record| record.before.keys().any(&carries))
        };
        let names: Vec<_> = self.journal.names().into_iter().filter(|name| !is_needed(name)).collect();
        for name in names {
            self.drop_record(&name);
        }
        let concerned = self.concerned();
        self.pods.retain(|uid, _| concerned.contains(uid));
    }

    fn drop_record(&mut self, name: &str) {
        if let Err(error) = self.journal.remove(name) {
            tracing::warn!(injection = name, error = %error_chain(&error), "cannot remove a record");
        }
    }

    fn statuses(&mut self, now: Now) -> Vec<(String, InjectionStatus)> {
        let all = self.injections.iter_mut().filter(|(_, tracked)| !tracked.gone);
        all.filter_map(|(name, tracked)| Some((name.clone(), tracked.report(now)?))).collect()
    }

    fn wake(&self, now: Now) -> Option<Duration> {
        let changes = self.injections.values().filter_map(|tracked| {
            next_change(&tracked.facts(self.halts.scopes(), self.heartbeat.changed, self.stopping, now))
        });
        let pods = self.pods.values().filter_map(|pod| match &pod.retry {
            Some(retry) => Some(retry.at),
            None => pod.installed.is_some().then(|| pod.verified.map_or(now.boot, |at| at + VERIFY_EVERY)),
        });
        let kills = self.kills.values().map(|retry| retry.at);
        changes.chain(pods).chain(kills).min()
    }
}

/// An error with every cause, on one line.
pub(crate) fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn truncated(mut text: String) -> String {
    truncate(&mut text);
    text
}

fn truncate(text: &mut String) {
    if text.len() > EVIDENCE_BYTES {
        let end = (0..=EVIDENCE_BYTES - 3).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
