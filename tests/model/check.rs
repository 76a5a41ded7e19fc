//! The model, and what must hold at every moment and at the end.
//!
//! The model knows what the users asked for, what time it is, and who can hear whom. It does not know how
//! the parts come to their decisions; it reads the kernels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use squall::api::{ConditionKind, Injection, NetworkChaos};

use crate::api::{NAMESPACE, is_deleting};
use crate::kernel::Trouble;
use crate::node::{Node, ago};
use crate::ops::NODES;
use crate::world::{RECOVERY, Sim, TICK, Verdict, is_on};

/// Clocks are exact here; what is allowed for is the rounding of texts.
const ROUNDING: Duration = Duration::from_millis(5);

/// Beyond its lease, how long a daemon is waited for that is silent, or that says it cannot undo.
const SILENCE: Duration = Duration::from_secs(10);

/// One Injection's use of its time.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    /// UID of its experiment.
    pub(crate) experiment: String,
    label: String,
    node: String,
    lease: Duration,
    /// Shortest and longest duration that its experiment had since; `None` is without end.
    shortest: Option<Duration>,
    longest: Option<Duration>,
    /// What its experiment had used up when it was made.
    initial: Duration,
    /// How long each pod had the fault.
    present: BTreeMap<String, Duration>,
    /// Time since it began, less the pauses that its daemon knew of.
    used: Duration,
    begun: bool,
    pausing: bool,
    /// A Halt has covered it: it may be over, on this node or as a whole.
    halted: bool,
    /// Time that it may have had more, for reasons that are nobody's fault.
    excused: Duration,
}

impl Ledger {
    /// Somebody made a Halt.
    pub(crate) const fn halt(&mut self) {
        self.halted = true;
    }

    /// The user wrote another duration.
    pub(crate) fn allow(&mut self, duration: Option<Duration>) {
        self.shortest = match (self.shortest, duration) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.longest = self.longest.zip(duration).map(|(one, other)| one.max(other));
    }
}

impl Sim {
    /// Time passes as things are.
    pub(crate) fn count_time(&mut self, time: Duration) {
        for node in &self.nodes {
            let unwell = node.troubled.is_some() && self.is_troubled(node);
            for (pod, labels) in node.kernel.faults() {
                for uid in labels.iter().filter_map(|label| node.following.get(label)) {
                    let Some(ledger) = self.ledgers.get_mut(uid) else { continue };
                    *ledger.present.entry(pod.clone()).or_default() += time;
                }
            }
            for ledger in self.ledgers.values_mut().filter(|ledger| ledger.node == node.name) {
                if unwell {
                    ledger.excused += time;
                }
                if ledger.begun && !ledger.pausing {
                    ledger.used += time;
                }
            }
        }
    }

    /// Opens ledgers for new Injections, and notes what daemons have begun and heard.
    pub(crate) fn note(&mut self) {
        for injection in self.api.injections.values() {
            let uid = injection.uid().unwrap_or_default();
            let spec = &injection.spec;
            let chaos = self.api.experiments.get(&spec.experiment.name);
            let ledger = self.ledgers.entry(uid.clone()).or_insert_with(|| {
                let duration = chaos.and_then(|chaos| chaos.spec.effective_duration()?.to_std());
                Ledger {
                    experiment: spec.experiment.uid.clone(),
                    label: label(&spec.experiment.name),
                    node: spec.node.clone(),
                    lease: spec.effective_lease(),
                    shortest: duration,
                    longest: duration,
                    initial: spec.effective_used(),
                    present: BTreeMap::new(),
                    used: spec.effective_used(),
                    begun: false,
                    pausing: false,
                    halted: false,
                    excused: Duration::ZERO,
                }
            });
            let Some(node) = self.nodes.iter().find(|node| node.name == spec.node) else { continue };
            ledger.begun |= node.begun.contains(&uid);
            if node.hears() && node.following.get(&ledger.label) == Some(&uid) {
                ledger.pausing = spec.paused;
            }
        }
    }

    /// The daemon of this node is gone with words that nobody read: a boot forgets what they said.
    pub(crate) fn forget_unsent(&mut self, node: usize) {
        let node = &self.nodes[node];
        if node.has_unsent() {
            for ledger in self.ledgers.values_mut().filter(|ledger| ledger.node == node.name) {
                ledger.excused += ledger.longest.unwrap_or_default();
            }
        }
    }

    /// Whether this node's kernel fails, or did a short while ago.
    fn is_troubled(&self, node: &Node) -> bool {
        node.kernel.trouble() != Trouble::None || ago(self.now, node.troubled) < RECOVERY
    }

    /// What must hold at every moment.
    pub(crate) fn check(&mut self) -> Verdict {
        self.check_ends()?;
        for node in &self.nodes {
            self.check_node(node).map_err(|what| format!("{} at {:?}: {what}", node.name, self.now))?;
        }
        let overrun = self.ledgers.values().find_map(|ledger| {
            let longest = ledger.longest? + ledger.excused + ROUNDING;
            let (pod, time) = ledger.present.iter().find(|(_, time)| **time + ledger.initial > longest)?;
            Some(format!("{pod} had the fault for {time:?}: {ledger:?}"))
        });
        match overrun {
            Some(what) if !self.jumped => Err(what),
            _ => {
                self.check_selection()?;
                self.check_following()
            }
        }
    }

    /// An experiment that is over has had its time on some node.
    fn check_ends(&mut self) -> Verdict {
        for (name, chaos) in &self.api.experiments {
            let uid = chaos.uid().unwrap_or_default();
            let ended = chaos.status.as_ref().and_then(|status| status.experiment.ended.clone());
            let Some(reason) = ended.filter(|_| self.over.insert(uid.clone())) else { continue };
            let mut own = self.ledgers.values().filter(|ledger| ledger.experiment == uid);
            // Without any pod nobody but the experiment itself counts its time.
            let asked = self.api.injections.values().any(|one| one.spec.experiment.uid == uid);
            let due = own.any(is_used_up) || !asked;
            let halted = self.halted && reason == "Halted";
            if !self.jumped && !halted && (reason != "DurationElapsed" || !due) {
                return Err(format!(
                    "{name} ended at {:?} with {reason}: {:?}{}",
                    self.now, self.ledgers, self.api
                ));
            }
        }
        Ok(())
    }

    fn check_node(&self, node: &Node) -> Verdict {
        let faults = node.kernel.faults();
        let troubled = self.is_troubled(node);
        let obeys = self.controller.is_some() && node.hears();
        for (pod, labels) in faults.iter().filter(|_| !troubled) {
            for label in labels {
                let ledger = node.following.get(label).and_then(|uid| self.ledgers.get(uid));
                let Some(ledger) = ledger else { return Err(format!("nobody asked for {label} on {pod}")) };
                if ago(self.now, node.heard) >= ledger.lease {
                    return Err(format!("{label} is on {pod} although the lease is lost"));
                }
                if obeys && self.may(node, pod).iter().all(|(may, _)| may != label) {
                    return Err(format!("{label} is on {pod} although it should not be"));
                }
            }
        }
        let calm = obeys
            && !troubled
            && ago(self.now, node.shaken) > RECOVERY
            && ago(self.now, self.controlled) > RECOVERY;
        if !calm || self.jumped {
            return Ok(());
        }
        for pod in self.pods.iter().filter(|pod| !pod.uid.is_empty()) {
            let present = faults.get(&pod.uid);
            for (label, must) in self.may(node, &pod.uid) {
                if must && present.is_none_or(|labels| !labels.contains(&label)) {
                    return Err(format!(
                        "{label} is not on {} ({}) although it should be",
                        pod.uid, pod.name
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whose faults may be on this pod now, by the name they have in the kernel, and whether they must
    /// be. A Halt that covers the pod takes everything off this list.
    fn may(&self, node: &Node, pod: &str) -> Vec<(String, bool)> {
        let here = self.api.injections.values().filter(|injection| {
            injection.spec.node == node.name && !is_deleting(&***injection) && acts_on(injection, pod)
        });
        let may = here.filter_map(|injection| {
            let experiment = &injection.spec.experiment;
            let chaos = self.api.experiments.get(&experiment.name)?;
            let lives = chaos.uid().as_ref() == Some(&experiment.uid) && is_on(chaos) && !is_over(chaos);
            let ledger = injection.uid().and_then(|uid| self.ledgers.get(&uid))?;
            lives.then(|| (label(&experiment.name), !is_used_up(ledger) && !ledger.halted))
        });
        if self.api.halts.is_empty() { may.collect() } else { Vec::new() }
    }

    /// Where there are pods to act on, something is asked for.
    fn check_selection(&self) -> Verdict {
        let calm = |node: &Node| ago(self.now, node.shaken) > RECOVERY;
        let controlled = self.controller.is_some() && ago(self.now, self.controlled) > RECOVERY;
        if !controlled || !self.nodes.iter().all(calm) || self.jumped {
            return Ok(());
        }
        let has = |app: &str| self.pods.iter().any(|pod| pod.app == app && !pod.uid.is_empty());
        for (name, chaos) in &self.api.experiments {
            let uid = chaos.uid().unwrap_or_default();
            let matched = has("web") && (chaos.spec.target.is_none() || has("db"));
            let asked = self.api.injections.values().any(|one| one.spec.experiment.uid == uid);
            let held = !self.api.halts.is_empty() || is_unstable(chaos);
            if is_on(chaos) && !is_over(chaos) && matched && !asked && !held {
                return Err(format!("nothing is asked for {name}: {}", self.api));
            }
        }
        Ok(())
    }

    /// There are never more targets than were confirmed at the start, and where pods could fill them up again,
    /// they have.
    fn check_following(&self) -> Verdict {
        let calm = self.nodes.iter().all(|node| ago(self.now, node.shaken) > RECOVERY)
            && self.controller.is_some()
            && ago(self.now, self.controlled) > RECOVERY
            && self.api.halts.is_empty()
            && !self.jumped;
        for (name, chaos) in &self.api.experiments {
            let Some(following) = chaos.status.as_ref().and_then(|s| s.experiment.following.as_ref()) else {
                continue;
            };
            let uid = chaos.uid().unwrap_or_default();
            if following.replaced.len() > squall::experiment::follow::MOST_REPLACEMENTS {
                return Err(format!("{name} was followed too often: {}", self.api));
            }
            let mut own = self.ledgers.values().filter(|ledger| ledger.experiment == uid);
            let due = calm
                && is_on(chaos)
                && !is_over(chaos)
                && !is_unstable(chaos)
                && !own.any(|ledger| is_used_up(ledger) || ledger.halted);
            for (key, app) in [(".", "web"), (".Target", "db")] {
                let Some(confirmed) = following.confirmed.get(key).copied() else { continue };
                let there = self.pods.iter().filter(|pod| pod.app == app && !pod.uid.is_empty());
                let (mut chosen, mut matching) = (0, 0);
                for pod in there {
                    matching += 1;
                    chosen += u32::from(self.api.injections.values().any(|one| {
                        let targets = &one.spec.targets;
                        one.spec.experiment.uid == uid
                            && !is_deleting(&**one)
                            && targets
                                .iter()
                                .any(|target| target.uid == pod.uid && target.selector_key == key)
                    }));
                }
                if chosen > confirmed || (due && chosen < confirmed.min(matching)) {
                    return Err(format!(
                        "{name} has {chosen} of {confirmed} pods {app}, {matching} exist, at {:?}: {}",
                        self.now, self.api
                    ));
                }
            }
        }
        Ok(())
    }

    /// Everything is deleted: whatever else is broken, the objects go in time, and once it is repaired
    /// nothing is left anywhere.
    pub(crate) fn end(&mut self) -> Verdict {
        self.start_controller();
        // A wall clock that was set back would have to pass moments again that are written down already.
        self.offset = self.most_offset;
        let now = self.wall();
        let names: Vec<_> = self.api.experiments.keys().cloned().collect();
        for name in names {
            self.api.delete(&name, now);
        }
        self.rest()?;
        let leases = self.api.injections.values().map(|injection| injection.spec.effective_lease());
        let longest = leases.max().unwrap_or_default() + SILENCE + TICK;
        self.wait_until_empty(longest)?;
        if !self.is_empty() {
            return Err(format!("objects are stuck at {:?}: {}", self.now, self.api));
        }
        self.repair()?;
        if self.nodes.iter().any(|node| !node.kernel.is_clear()) {
            self.advance(RECOVERY)?;
        }
        let left: BTreeSet<_> = (0..NODES).filter(|node| !self.nodes[*node].kernel.is_clear()).collect();
        if !left.is_empty() {
            return Err(format!("faults are left on nodes {left:?} although nothing asks for them"));
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.api.experiments.is_empty() && self.api.injections.is_empty()
    }

    fn wait_until_empty(&mut self, most: Duration) -> Verdict {
        let end = self.now + most;
        while !self.is_empty() && self.now < end {
            self.advance(TICK.min(end.saturating_sub(self.now)))?;
        }
        Ok(())
    }
}

/// Whether it may have had all of its time.
fn is_used_up(ledger: &Ledger) -> bool {
    ledger.shortest.is_some_and(|shortest| ledger.used + ledger.excused + ROUNDING >= shortest)
}

/// Whether its pods are not followed any more.
fn is_unstable(chaos: &NetworkChaos) -> bool {
    chaos.status.as_ref().is_some_and(|status| status.is(ConditionKind::TargetUnstable))
}

fn is_over(chaos: &NetworkChaos) -> bool {
    chaos.status.as_ref().is_some_and(|status| status.experiment.ended.is_some())
}

/// Whether this Injection puts rules on the pod. A fault between ends of which one has no address makes
/// none.
fn acts_on(injection: &Arc<Injection>, pod: &str) -> bool {
    let Some(network) = &injection.spec.fault.network else { return false };
    let targets = injection.spec.targets.iter().filter(|target| target.uid == pod);
    targets.into_iter().any(|target| {
        let ends = network.ends.iter().filter(|end| end.selector_key == target.selector_key);
        let rules = ends.flat_map(|end| end.egress.iter().chain(&end.ingress));
        rules.into_iter().any(|rule| rule.peers.as_ref().is_none_or(|peers| !peers.is_empty()))
    })
}

/// The name of an experiment in the kernel.
fn label(experiment: &str) -> String {
    format!("{NAMESPACE}/{experiment}")
}
