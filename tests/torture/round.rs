//! One round: a change, kills, and what must be true how soon after them.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use squall::api::InjectionStatus;
use tempfile::TempDir;

use super::cluster::Cluster;
use super::draw::{Fault, Moment, Plan, Sequel, Victim};
use super::lab::{Lab, To};
use super::process::{Daemons, folder, signal};
use super::summary::Took;

/// From the end of a daemon, or the start of the next one, to a network without a fault.
const GONE: Duration = Duration::from_secs(5);
/// From a kill to traffic that flows, on a machine of ordinary speed.
const FLOWS: Duration = Duration::from_secs(1);
/// From a kill of a helper to the fault that is there again, on a machine of ordinary speed.
const BACK: Duration = Duration::from_secs(3);
/// How long the daemon may take for what is not measured here.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long one answer is waited for, and how late it may be.
const ANSWER: Duration = Duration::from_millis(400);
const LATE: Duration = Duration::from_millis(25);

pub(crate) struct World {
    cluster: Cluster,
    lab: Lab,
    daemons: Daemons,
    /// What was killed in this round, after how many milliseconds.
    killed: Vec<(Victim, u128)>,
    /// How much longer than on an ordinary machine traffic and faults may take to come back: nobody is promised how fast
    /// they do on an emulated one. That faults go in time is.
    slower: u32,
    _folder: TempDir,
}

/// Looks until it is good, and says how long after `from` that was. A look that begins too late is a breach.
fn until(
    from: Instant,
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<(), String>,
) -> Result<Duration, String> {
    loop {
        let at = from.elapsed();
        let reason = match look() {
            Ok(()) if at <= limit => return Ok(from.elapsed()),
            Ok(()) => "it was, but later".to_owned(),
            Err(reason) => reason,
        };
        if at > limit {
            return Err(format!("{what}: not within {limit:?}: {reason}"));
        }
        thread::sleep(Duration::from_millis(3));
    }
}

fn is_clear(status: &InjectionStatus) -> bool {
    status.all_clear()
}

impl World {
    pub(crate) fn new(slower: u32) -> Self {
        let folder = folder();
        let lab = Lab::new();
        let cluster = Cluster::new(folder.path());
        let mut daemons = Daemons::new(folder.path(), &cluster.socket);
        daemons.start();
        eprintln!("torture: this kernel has {}", if lab.netem { "netem" } else { "no netem" });
        Self { cluster, lab, daemons, killed: Vec::new(), slower, _folder: folder }
    }

    pub(crate) fn round(&mut self, number: u64, plan: &Plan) -> Result<Took, String> {
        self.killed.clear();
        self.cluster.create(&self.lab, &plan.fault, number);
        if plan.moment != Moment::Created {
            self.back(&plan.fault, Instant::now(), PATIENCE)?;
        }
        match plan.moment {
            Moment::Created => {}
            Moment::Edited => self.cluster.edit(&plan.edited, number),
            Moment::Deleted => self.cluster.delete(),
        }
        let changed = Instant::now();
        thread::sleep(plan.wait);
        let (first, last) = self.kill(plan, changed);
        let flows: Vec<_> = self.lab.pods.iter().map(|pod| pod.flow(FLOWS * self.slower)).collect();
        let mut took = if self.has_killed(Victim::Daemon) {
            self.after_daemon(plan, first)?
        } else {
            self.after_helpers(plan, last)?
        };
        took.flow = Some(flowed(flows)?);
        took.killed = self.killed.iter().map(|(victim, _)| *victim).collect();
        self.finish()?;
        self.daemons.reap();
        Ok(took)
    }

    fn has_killed(&self, victim: Victim) -> bool {
        self.killed.iter().any(|(killed, _)| *killed == victim)
    }

    /// Kills, and says when the daemon was (if it was), and when the last one.
    fn kill(&mut self, plan: &Plan, changed: Instant) -> (Instant, Instant) {
        let mut targets: Vec<_> = plan
            .kills
            .iter()
            .map(|(victim, gap)| (*victim, *gap, self.daemons.find(*victim)))
            .filter(|(_, _, found)| !found.is_empty())
            .collect();
        if targets.is_empty() {
            targets.push((Victim::Daemon, Duration::ZERO, self.daemons.find(Victim::Daemon)));
        }
        let mut of_daemon = Instant::now();
        for (victim, gap, found) in targets {
            if !gap.is_zero() {
                thread::sleep(gap);
            }
            if victim == Victim::Daemon {
                of_daemon = Instant::now();
            }
            for pid in found {
                signal(pid, Signal::SIGKILL);
            }
            self.killed.push((victim, changed.elapsed().as_millis()));
        }
        (of_daemon, Instant::now())
    }

    /// The daemon died, and whoever else.
    fn after_daemon(&mut self, plan: &Plan, killed: Instant) -> Result<Took, String> {
        self.daemons.ended();
        let mut took = Took::default();
        // Who undoes it may have died with it: then the next daemon does.
        if !self.has_killed(Victim::Guardian) {
            let cleaned = until(killed, GONE, "clean after the daemon's death", || self.lab.clean())?;
            took.clean = Some(cleaned);
            until(killed, GONE, "after the daemon's death", || self.no_helper("left behind"))?;
            self.lab.clean_by_witness()?;
        }
        let sequel = match plan.sequel {
            Sequel::Withheld if plan.moment == Moment::Deleted => Sequel::Deleted,
            sequel => sequel,
        };
        match sequel {
            Sequel::Withheld => self.cluster.beat(false),
            Sequel::Deleted => self.cluster.delete(),
            Sequel::Gone => {
                self.cluster.delete();
                self.cluster.release();
            }
        }
        let is_left = self.lab.clean().is_err();
        let started = Instant::now();
        self.daemons.start();
        let cleaned = until(started, GONE, "clean after the next daemon's start", || self.lab.clean())?;
        if is_left {
            took.clean_by_next = Some(cleaned);
        }
        if sequel == Sequel::Withheld {
            until(started, GONE, "the next daemon says that there is no fault", || {
                self.cluster.said("LeaseLost", is_clear)
            })?;
            self.lab.clean()?;
            self.lab.clean_by_witness()?;
            self.no_helper("by a daemon that has nothing to shape")?;
            self.cluster.beat(true);
            took.back = Some(self.back(plan.final_fault(), Instant::now(), PATIENCE)?);
        }
        Ok(took)
    }

    fn no_helper(&self, why: &str) -> Result<(), String> {
        let helpers = [Victim::Guardian, Victim::Shaper].map(|victim| (victim, self.daemons.find(victim)));
        if helpers.iter().all(|(_, found)| found.is_empty()) {
            return Ok(());
        }
        Err(format!("helpers {why}: {helpers:?}"))
    }

    /// The daemon lives.
    fn after_helpers(&mut self, plan: &Plan, killed: Instant) -> Result<Took, String> {
        let mut took = Took::default();
        if plan.moment != Moment::Deleted {
            took.back = Some(self.back(plan.final_fault(), killed, BACK * self.slower)?);
        }
        Ok(took)
    }

    fn back(&mut self, fault: &Fault, from: Instant, limit: Duration) -> Result<Duration, String> {
        until(from, limit, "the fault is there", || {
            present(&mut self.lab, &self.cluster, &self.daemons, fault)
        })
    }

    /// Deletes what is there and waits for the daemon's word that nothing is left, which must be true.
    fn finish(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        self.cluster.delete();
        until(begun, GONE, "the daemon says that nothing is left", || {
            self.cluster.said("Deleted", is_clear)
        })?;
        self.lab
            .clean()
            .map_err(|left| format!("the daemon said that nothing is left, and there is {left}"))?;
        self.lab.clean_by_witness()?;
        self.cluster.release();
        Ok(())
    }

    /// Who undid it, guardian or daemon, was killed in between: our tree is gone, and what stood there before is not back.
    fn half_undone(&mut self) -> Result<(), String> {
        let fault = Fault { pods: vec![0, 1], egress: 30, ingress: 0, wall: None };
        self.cluster.create(&self.lab, &fault, u64::MAX - 1);
        self.back(&fault, Instant::now(), PATIENCE)?;
        for victim in [Victim::Guardian, Victim::Daemon] {
            for pid in self.daemons.find(victim) {
                signal(pid, Signal::SIGKILL);
            }
        }
        self.daemons.ended();
        self.lab.half_undo();
        self.cluster.delete();
        self.cluster.release();
        self.daemons.start();
        until(Instant::now(), GONE, "clean after half of the undoing", || self.lab.clean())?;
        self.lab.clean_by_witness()
    }

    /// A last fault, an orderly end under it, and nothing left: no process, no record.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        if self.lab.netem {
            self.half_undone()?;
        }
        let fault = Fault { pods: vec![0, 1], egress: 30, ingress: 30, wall: None };
        self.cluster.create(&self.lab, &fault, u64::MAX);
        self.back(&fault, Instant::now(), PATIENCE)?;
        self.stop()?;
        self.daemons.start();
        self.finish()?;
        until(Instant::now(), GONE, "an empty journal", || match self.daemons.journal() {
            none if none.is_empty() => Ok(()),
            some => Err(format!("{some:?}")),
        })?;
        self.stop()
    }

    fn stop(&mut self) -> Result<(), String> {
        let asked = Instant::now();
        for pid in self.daemons.find(Victim::Daemon) {
            signal(pid, Signal::SIGTERM);
        }
        let status = self.daemons.ended();
        if !status.success() || asked.elapsed() > PATIENCE {
            return Err(format!("an orderly end gave {status} after {:?}", asked.elapsed()));
        }
        self.lab.clean()?;
        self.lab.clean_by_witness()?;
        until(asked, PATIENCE, "no process after an orderly end", || match self.daemons.all() {
            none if none.is_empty() => Ok(()),
            some => Err(format!("{some:?}")),
        })?;
        Ok(())
    }

    /// All that can be known after a breach.
    pub(crate) fn listing(&self) -> String {
        let injections: Vec<_> = self.cluster.injections();
        format!(
            "killed, in ms after the change: {:?}\n{}processes: {:?}\nInjections: {}\nthe daemons' log ends:\n{}",
            self.killed,
            self.lab.listing(),
            self.daemons.all(),
            serde_json::to_string_pretty(&injections).unwrap(),
            self.daemons.last_words()
        )
    }
}

/// Whether a fault is there: by the daemon's word, by what packets show, and with the helpers that it needs.
fn present(lab: &mut Lab, cluster: &Cluster, daemons: &Daemons, fault: &Fault) -> Result<(), String> {
    cluster.said_present()?;
    for (index, pod) in lab.pods.iter_mut().enumerate() {
        let is_target = fault.pods.contains(&index);
        let asked = if is_target { fault.egress + fault.ingress } else { 0 };
        let asked = Duration::from_millis(asked);
        let measured = pod.ping(To::Near).round_trip(ANSWER);
        if measured.is_none_or(|measured| measured < asked || measured > asked + LATE) {
            return Err(format!(
                "{}: the near peer answers after {measured:?} instead of {asked:?}",
                pod.name
            ));
        }
        let walled = is_target && fault.wall.is_some();
        let patience = if walled { LATE } else { ANSWER };
        if pod.ping(To::Wall).round_trip(patience).is_some() == walled {
            return Err(format!("{}: is the peer behind the wall cut off? {}", pod.name, !walled));
        }
        if pod.ping(To::Far).round_trip(ANSWER).is_none() {
            return Err(format!("{}: the peer that no fault is about does not answer", pod.name));
        }
    }
    let netem = lab.netem && fault.egress > 0;
    let shaper = fault.ingress > 0 || !lab.netem && fault.egress > 0;
    for (victim, needed) in [(Victim::Guardian, netem), (Victim::Shaper, shaper)] {
        if needed && daemons.find(victim).len() != 1 {
            return Err(format!("{victim:?}: {:?} instead of one", daemons.find(victim)));
        }
    }
    Ok(())
}

fn flowed(flows: Vec<JoinHandle<Option<Duration>>>) -> Result<Duration, String> {
    let mut slowest = Duration::ZERO;
    for flow in flows {
        let flow = flow.join().unwrap();
        slowest = slowest.max(flow.ok_or("no traffic flowed in time after the kills")?);
    }
    Ok(slowest)
}
