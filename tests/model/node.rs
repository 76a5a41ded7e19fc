//! One node: its kernel, its clock, its folder on disk, and the daemon on it while one runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use squall::api::{Injection, InjectionStatus};
use squall::daemon::engine::{Engine, Input};
use squall::daemon::journal::Journal;
use squall::experiment::wanted::{HaltScope, Now};

use crate::api::Api;
use crate::kernel::Networks;

/// The wall clock at the beginning, in seconds since 1970.
const EPOCH: i64 = 1_800_000_000;

/// How often in a row a daemon may ask to be called again at once.
const PATIENCE: usize = 8;

/// How often a daemon that is stopped tries, as the real one does.
const LAST_TRIES: usize = 5;

/// The wall clock at `now`, set wrong by `offset` seconds.
pub(crate) fn wall(now: Duration, offset: i64) -> Timestamp {
    Timestamp::from_second(EPOCH + offset).unwrap_or_default() + now
}

pub(crate) struct Node {
    pub(crate) name: String,
    /// The UID of its Node object, while there is one.
    pub(crate) object: Option<String>,
    pub(crate) kernel: Networks,
    pub(crate) connected: bool,
    /// Seconds that its wall clock is wrong.
    pub(crate) offset: i64,
    /// When something last went wrong here; what follows may take its time to come right.
    pub(crate) shaken: Option<Duration>,
    /// When its kernel last failed.
    pub(crate) troubled: Option<Duration>,
    /// When the daemon last saw the leader Lease change.
    pub(crate) heard: Option<Duration>,
    /// The Injection that the daemon last knew of each experiment, by the name it has in the kernel.
    pub(crate) following: BTreeMap<String, String>,
    /// Injections, by UID, whose run the daemon said to have begun.
    pub(crate) begun: BTreeSet<String>,
    folder: PathBuf,
    booted: Duration,
    boots: u32,
    daemon: Option<Daemon>,
}

struct Daemon {
    engine: Engine<Networks>,
    wake: Option<Duration>,
    /// Versions and UIDs as they were last delivered, by name; `None` before the first list.
    delivered: Option<BTreeMap<String, Arc<Injection>>>,
    lease: Option<String>,
    /// What the Halts covered when it last heard of them.
    halts: Option<Vec<HaltScope>>,
    /// Statuses that wait for the link.
    unsent: BTreeMap<String, InjectionStatus>,
}

impl Node {
    pub(crate) fn new(name: String, object: String, folder: PathBuf) -> Self {
        Self {
            name,
            object: Some(object),
            kernel: Networks::default(),
            connected: true,
            offset: 0,
            shaken: None,
            troubled: None,
            heard: None,
            following: BTreeMap::new(),
            begun: BTreeSet::new(),
            folder,
            booted: Duration::ZERO,
            boots: 0,
            daemon: None,
        }
    }

    /// What its two clocks say. It was switched on a while before the tests begin.
    fn now(&self, now: Duration) -> Now {
        let since_boot = if self.boots == 0 { Duration::from_hours(1) } else { Duration::from_secs(4) };
        Now { boot: now.saturating_sub(self.booted) + since_boot, wall: wall(now, self.offset) }
    }

    pub(crate) const fn has_daemon(&self) -> bool {
        self.daemon.is_some()
    }

    /// Whether words reach its daemon.
    pub(crate) const fn hears(&self) -> bool {
        self.connected && self.daemon.is_some()
    }

    /// Whether the daemon has words that nobody has read.
    pub(crate) fn has_unsent(&self) -> bool {
        self.daemon.as_ref().is_some_and(|daemon| !daemon.unsent.is_empty())
    }

    pub(crate) fn start_daemon(&mut self) -> Result<(), String> {
        if self.daemon.is_some() {
            return Ok(());
        }
        let journal = Journal::open(&self.folder, &format!("boot {}", self.boots))
            .map_err(|error| format!("{}: {error}", self.name))?;
        let engine = Engine::new(self.kernel.clone(), journal);
        self.daemon = Some(Daemon {
            engine,
            wake: None,
            delivered: None,
            lease: None,
            halts: None,
            unsent: BTreeMap::new(),
        });
        Ok(())
    }

    /// `kill -9`: the kernel takes the tables away, the journal stays.
    pub(crate) fn kill_daemon(&mut self) {
        self.daemon = None;
        self.heard = None;
        self.kernel.owner_died();
    }

    /// An orderly end: everything is undone and reported, if the link lets it.
    pub(crate) fn stop_daemon(&mut self, api: &mut Api, now: Duration) -> Result<(), String> {
        let here = self.now(now);
        let Some(daemon) = self.daemon.as_mut() else { return Ok(()) };
        daemon.engine.tell(Input::Stop, here);
        for _ in 0..LAST_TRIES {
            daemon.settle(here);
            if daemon.engine.is_clear() {
                break;
            }
        }
        let clear = daemon.engine.is_clear();
        if self.connected {
            daemon.send(api);
        }
        if clear && !self.kernel.is_clear() {
            return Err(format!("the daemon of {} ends and calls its kernel clear", self.name));
        }
        self.kill_daemon();
        Ok(())
    }

    /// The machine is switched off: nothing of its kernel is left, its disk is.
    pub(crate) fn switch_off(&mut self) {
        self.kill_daemon();
        self.troubled = None;
        self.kernel.set_trouble(crate::kernel::Trouble::None);
    }

    /// It is switched on again, with a clock that begins anew.
    pub(crate) fn switch_on(&mut self, now: Duration) {
        self.boots += 1;
        self.booted = now;
    }

    pub(crate) fn cut(&mut self) {
        self.connected = false;
    }

    /// The watches are made anew: they begin with a list.
    pub(crate) fn join(&mut self) {
        if !std::mem::replace(&mut self.connected, true)
            && let Some(daemon) = &mut self.daemon
        {
            daemon.delivered = None;
        }
    }

    /// When the daemon wants to be called, on the clock of the tests.
    pub(crate) fn wake(&self) -> Option<Duration> {
        let boot = self.daemon.as_ref()?.wake?;
        Some(boot.saturating_sub(self.now(self.booted).boot) + self.booted)
    }

    /// Gives the daemon what it has not seen and lets it act. Whether there was anything.
    pub(crate) fn pump(&mut self, api: &mut Api, lease: Option<&str>, now: Duration) -> Result<bool, String> {
        let here = self.now(now);
        let Some(daemon) = self.daemon.as_mut() else { return Ok(false) };
        let mut told = false;
        if self.connected {
            if let Some(lease) = lease
                && daemon.lease.as_deref() != Some(lease)
            {
                if daemon.lease.is_some() {
                    self.heard = Some(now);
                }
                daemon.lease = Some(lease.to_owned());
                daemon.engine.tell(Input::Heartbeat(lease.to_owned()), here);
                told = true;
            }
            let halts = api.scopes();
            if daemon.halts.as_ref() != Some(&halts) {
                daemon.engine.tell(Input::Halts(halts.clone()), here);
                daemon.halts = Some(halts);
                told = true;
            }
            for injection in daemon.deliver(api, &self.name, here, &mut told) {
                let experiment = &injection.spec.experiment;
                let label = format!("{}/{}", experiment.namespace, experiment.name);
                self.following.insert(label, injection.uid().unwrap_or_default());
            }
        }
        if told || daemon.wake.is_some_and(|wake| wake <= here.boot) {
            let mut calls = 0;
            daemon.settle(here);
            while daemon.wake.is_some_and(|wake| wake <= here.boot) {
                calls += 1;
                if calls == PATIENCE {
                    return Err(format!("the daemon of {} asks to be called at once, for ever", self.name));
                }
                daemon.settle(here);
            }
        }
        for (name, status) in &daemon.unsent {
            if status.started_at.is_some()
                && let Some(injection) = daemon.delivered.as_ref().and_then(|all| all.get(name))
            {
                self.begun.insert(injection.uid().unwrap_or_default());
            }
        }
        let spoke = self.connected && !daemon.unsent.is_empty();
        if spoke {
            daemon.send(api);
        }
        Ok(told || spoke)
    }
}

impl Daemon {
    fn settle(&mut self, here: Now) {
        let outcome = self.engine.settle(here);
        self.unsent.extend(outcome.statuses);
        self.wake = outcome.wake;
    }

    /// The latest status of each Injection.
    fn send(&mut self, api: &mut Api) {
        for (name, status) in std::mem::take(&mut self.unsent) {
            api.report(&name, status);
        }
    }

    /// What the watch of this node's Injections has to say; gives what is new.
    fn deliver(&mut self, api: &Api, node: &str, here: Now, told: &mut bool) -> Vec<Arc<Injection>> {
        let version = |injection: &Injection| injection.resource_version();
        let mine = || api.injections.iter().filter(|(_, injection)| injection.spec.node == node);
        let Some(known) = &mut self.delivered else {
            let all: BTreeMap<_, _> =
                mine().map(|(name, injection)| (name.clone(), Arc::clone(injection))).collect();
            let list = all.values().map(|injection| Injection::clone(injection)).collect();
            self.engine.tell(Input::Snapshot(list), here);
            *told = true;
            let fresh = all.values().cloned().collect();
            self.delivered = Some(all);
            return fresh;
        };
        let is_there = |name: &String, injection: &Arc<Injection>| {
            api.injections.get(name).is_some_and(|stored| stored.uid() == injection.uid())
        };
        let gone: Vec<_> =
            known.iter().filter(|(name, old)| !is_there(name, old)).map(|(name, _)| name.clone()).collect();
        for name in gone {
            known.remove(&name);
            self.engine.tell(Input::Deleted(name), here);
            *told = true;
        }
        let mut fresh = Vec::new();
        for (name, injection) in mine() {
            if known.get(name).is_none_or(|old| version(old) != version(injection)) {
                known.insert(name.clone(), Arc::clone(injection));
                self.engine.tell(Input::Applied(Box::new(Injection::clone(injection))), here);
                *told = true;
                fresh.push(Arc::clone(injection));
            }
        }
        fresh
    }
}

/// How long after `since` it is, if it was at all.
pub(crate) fn ago(now: Duration, since: Option<Duration>) -> Duration {
    since.map_or(Duration::MAX, |since| now.saturating_sub(since))
}
