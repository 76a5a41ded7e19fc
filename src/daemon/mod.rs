//! Runs on every node: makes the node look like its Injections, and undoes faults on its own.
//!
//! Two halves. The engine's thread owns the kernel state and every clock that ends a fault; it needs no
//! network and no async runtime, so a hanging API server can not keep a fault alive. The other half
//! carries watch events to it and statuses from it.

mod bus;
pub mod engine;
pub mod faults;
pub mod guardian;
pub mod halt_file;
pub mod journal;
pub mod kernel;
mod metrics;
pub mod shaper;
pub mod sys;
mod tracked;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{fs, io, thread};

use jiff::Timestamp;
use kube::Client;

use crate::alive::Alive;
use crate::api::InjectionStatus;
use crate::capabilities::CAPABILITIES;
use crate::experiment::wanted::Now;
use crate::metrics::Metrics;
use engine::{Engine, Input, Outcome};
use faults::network::PodNetworks;
use halt_file::{HaltFile, LOOK_EVERY};
use journal::{Journal, JournalError};
use kernel::Kernel;
use metrics::Told;
pub use sys::proc::Finder;
use sys::proc::{self, DirectoryLock};

/// How a daemon is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of its Node.
    pub node: String,
    /// Where the file is that halts this machine, across reboots.
    pub state_dir: PathBuf,
    /// Where the journal lives and what is locked, in a folder of the node's name: one daemon at a time for each node.
    /// Nothing in it is of use after a reboot.
    pub run_dir: PathBuf,
    /// How processes of pods are found.
    pub finder: Finder,
    /// Where a sign of life is written, for probes.
    pub alive_file: Option<PathBuf>,
    /// Where it tells about itself, if anybody asked for that.
    pub metrics: Option<Metrics>,
}

impl Options {
    /// What is this node's in `run_dir`.
    fn folder(&self) -> PathBuf {
        self.run_dir.join(&self.node)
    }
}

/// Where the journal is in the node's folder.
const JOURNAL: &str = "journal";

/// Why a daemon ends or does not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A folder cannot be used.
    #[error("cannot use the folder {}", path.display())]
    State {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another daemon works on this node.
    #[error("another daemon holds {}: only one may run on a node", .0.display())]
    Busy(PathBuf),
    /// The journal cannot be read.
    #[error("cannot open the journal")]
    Journal(#[from] JournalError),
    /// This machine's boot cannot be told.
    #[error("cannot read the boot id or CLOCK_BOOTTIME")]
    Clock(#[source] io::Error),
    /// The engine's thread cannot be started, or died.
    #[error("the engine's thread {0}")]
    Engine(&'static str),
}

/// How long the last statuses may take after the faults were undone.
const FAREWELL: Duration = Duration::from_secs(5);

/// Inputs that may wait for the engine. A full queue makes the watches wait, which is what should happen.
const QUEUE: usize = 1_024;

/// Runs until `shutdown`, then undoes everything and reports it.
///
/// # Errors
/// When the node's state cannot be used, or another daemon uses it.
pub async fn run(
    client: Client,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    warn_of_missing_rights();
    let disturbed = Arc::new(AtomicBool::new(false));
    let (engine, _lock) = open(&options, &disturbed)?;
    let looks = Looks::new(&options.state_dir, disturbed)
        .with_alive(options.alive_file.clone().map(Alive::new))
        .with_metrics(options.metrics.as_ref());
    serve(client, &options.node, engine, looks, shutdown).await?;
    // The lock is held until this has returned.
    if let Err(error) = tidy(&options) {
        tracing::debug!(%error, "what is left in the journal's folder stays there");
    }
    Ok(())
}

/// Removes what this daemon made on its node, unless it leaves something that its successor has to know: a fault that could
/// not be undone, or a run that is over.
fn tidy(options: &Options) -> io::Result<()> {
    let folder = options.folder();
    fs::remove_dir(folder.join(JOURNAL))?;
    guardian::remove_lock(&folder)?;
    if let Some(alive) = &options.alive_file {
        fs::remove_file(alive)?;
    }
    fs::remove_dir(folder)
}

/// Faults that need what this process lacks will say so; whoever installed it should know before.
fn warn_of_missing_rights() {
    let Ok(has) = proc::effective_capabilities() else { return };
    for one in CAPABILITIES.iter().filter(|one| !one.is_in(has)) {
        tracing::warn!(capability = one.name, faults = one.bought(), "what these faults need is missing");
    }
}

/// [`run`] for a node whose state is open already, whatever kernel it works on.
///
/// # Errors
/// When the engine's thread cannot be started, or dies.
pub async fn serve<K: Kernel + Send + 'static>(
    client: Client,
    node: &str,
    engine: Engine<K>,
    looks: Looks,
    shutdown: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let (inputs, from_bus) = mpsc::sync_channel(QUEUE);
    let (to_bus, statuses) = tokio::sync::mpsc::channel(QUEUE);
    let thread = thread::Builder::new()
        .name("engine".to_owned())
        .spawn(move || drive(engine, looks, &from_bus, &to_bus))
        .map_err(|_e| DaemonError::Engine("could not be started"))?;
    tracing::info!(node, "daemon started");
    let versions = bus::Versions::default();
    let writer = tokio::spawn(bus::write_statuses(client.clone(), statuses, versions.clone()));
    watch(client, node, &inputs, versions, shutdown).await;
    stop(inputs, thread).await?;
    if tokio::time::timeout(FAREWELL, writer).await.is_err() {
        tracing::warn!("the API server did not take the last statuses in time");
    }
    Ok(())
}

/// Feeds the engine until `shutdown`, or until the engine is gone.
async fn watch(
    client: Client,
    node: &str,
    inputs: &mpsc::SyncSender<Input>,
    versions: bus::Versions,
    shutdown: impl Future<Output = ()>,
) {
    tokio::select! {
        () = bus::watch_injections(client.clone(), node, inputs.clone(), versions) => {}
        () = bus::watch_heartbeat(client.clone(), inputs.clone()) => {}
        () = Box::pin(bus::watch_halts(client, inputs.clone())) => {}
        () = shutdown => {}
    }
}

/// Opens the node's state, which nobody else may use until the lock is dropped.
fn open(
    options: &Options,
    disturbed: &Arc<AtomicBool>,
) -> Result<(Engine<PodNetworks>, DirectoryLock), DaemonError> {
    let state = |path: &Path| {
        let path = path.to_owned();
        move |source| DaemonError::State { path, source }
    };
    // Else `squall halt --local` would have nowhere to write to.
    fs::create_dir_all(&options.state_dir).map_err(state(&options.state_dir))?;
    let folder = options.folder();
    fs::create_dir_all(&folder).map_err(state(&folder))?;
    let lock =
        proc::lock_dir(&folder).map_err(state(&folder))?.ok_or_else(|| DaemonError::Busy(folder.clone()))?;
    guardian::wait_for_predecessor(&folder).map_err(state(&folder))?;
    let boot = proc::boot_id().map_err(DaemonError::Clock)?;
    let journal = Journal::open(&folder.join(JOURNAL), &boot)?;
    let networks = PodNetworks::new(options.finder, folder, Arc::clone(disturbed));
    Ok((Engine::new(networks, journal), lock))
}

/// Tells the engine to undo everything, and waits for its end. Both block, so neither may stand on a
/// worker of the runtime.
async fn stop(
    inputs: mpsc::SyncSender<Input>,
    thread: thread::JoinHandle<io::Result<()>>,
) -> Result<(), DaemonError> {
    let ended = tokio::task::spawn_blocking(move || {
        // An engine that is gone already needs no word.
        drop(inputs.send(Input::Stop));
        thread.join()
    });
    match ended.await {
        Ok(Ok(ended)) => ended.map_err(DaemonError::Clock),
        _ => Err(DaemonError::Engine("died")),
    }
}

/// The engine's thread: takes inputs as they come, settles, sleeps until the next deadline. It ends when
/// it was told to stop and everything is undone, or the other half is gone.
fn drive<K: Kernel>(
    mut engine: Engine<K>,
    mut looks: Looks,
    inputs: &mpsc::Receiver<Input>,
    statuses: &tokio::sync::mpsc::Sender<(String, InjectionStatus)>,
) -> io::Result<()> {
    /// Tries of an undo while stopping; after them the owner sockets close, which removes the tables.
    const LAST_TRIES: u32 = 5;
    let mut tries_left = LAST_TRIES;
    let mut stopping = false;
    loop {
        let outcome = engine.settle(now()?);
        looks.count(&mut engine, &outcome);
        for status in outcome.statuses {
            if statuses.blocking_send(status).is_err() {
                return Ok(());
            }
        }
        if stopping {
            tries_left -= 1;
            if engine.is_clear() || tries_left == 0 {
                return Ok(());
            }
        }
        let first = match next(inputs, &mut looks, outcome.wake) {
            Ok(input) => Some(input),
            Err(mpsc::RecvTimeoutError::Timeout) => None,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
        };
        // What arrived together is settled together.
        for input in first.into_iter().chain(inputs.try_iter()) {
            stopping |= matches!(input, Input::Stop);
            looks.heard(&input);
            engine.tell(input, now()?);
        }
    }
}

/// What the engine's thread looks at between inputs.
#[derive(Debug)]
pub struct Looks {
    halt_file: HaltFile,
    disturbed: Arc<AtomicBool>,
    alive: Option<Alive>,
    told: Option<Told>,
    /// Whether the Injections of this node were heard, and the Halts: without either nothing is injected.
    injections: bool,
    halts: bool,
}

impl Looks {
    /// At the halt file in `state_dir`, and whether a helper has ended by itself: whoever sees that sets `disturbed`.
    pub fn new(state_dir: &Path, disturbed: Arc<AtomicBool>) -> Self {
        let halt_file = HaltFile::new(state_dir);
        Self { halt_file, disturbed, alive: None, told: None, injections: false, halts: false }
    }

    /// With metrics, in which is counted what happens.
    #[must_use]
    pub fn with_metrics(self, metrics: Option<&Metrics>) -> Self {
        Self { told: metrics.map(Told::new), ..self }
    }

    /// Counts what one look of the engine brought about.
    fn count<K: Kernel>(&mut self, engine: &mut Engine<K>, outcome: &Outcome) {
        if let Some(told) = &mut self.told {
            told.count(engine, outcome);
        }
    }

    /// With a sign of life, which is given each time.
    #[must_use]
    pub fn with_alive(self, alive: Option<Alive>) -> Self {
        Self { alive, ..self }
    }

    fn heard(&mut self, input: &Input) {
        self.injections |= matches!(input, Input::Snapshot(_));
        self.halts |= matches!(input, Input::Halts(_));
    }

    fn beat(&mut self) {
        if let Some(alive) = &mut self.alive {
            alive.beat(self.injections && self.halts);
        }
    }
}

/// Waits for an input, a change of the halt file, the end of a helper, or `wake`, which is a timeout.
fn next(
    inputs: &mpsc::Receiver<Input>,
    looks: &mut Looks,
    wake: Option<Duration>,
) -> Result<Input, mpsc::RecvTimeoutError> {
    loop {
        looks.beat();
        if let Some(halted) = looks.halt_file.changed() {
            return Ok(Input::LocalHalt(halted));
        }
        if looks.disturbed.swap(false, Ordering::AcqRel) {
            return Ok(Input::Disturbed);
        }
        let left = wake.map(|wake| wake.saturating_sub(proc::boot_time().unwrap_or(wake)));
        match inputs.recv_timeout(left.unwrap_or(LOOK_EVERY).min(LOOK_EVERY)) {
            Err(mpsc::RecvTimeoutError::Timeout) if left.is_none_or(|left| left > LOOK_EVERY) => {}
            outcome => return outcome,
        }
    }
}

fn now() -> io::Result<Now> {
    Ok(Now { boot: proc::boot_time()?, wall: Timestamp::now() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::Record;

    #[test]
    fn a_daemon_that_ends_leaves_what_its_successor_has_to_know_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (run_dir, alive) = (path("run"), path("run/here/alive"));
        let options = Options {
            node: "here".to_owned(),
            state_dir: path("state"),
            run_dir: run_dir.clone(),
            finder: Finder::Cgroup,
            metrics: None,
            alive_file: Some(alive.clone()),
        };
        for is_over in [false, true] {
            let mut journal = Journal::open(&options.folder().join(JOURNAL), "boot").unwrap();
            guardian::wait_for_predecessor(&options.folder()).unwrap();
            Alive::new(alive.clone()).beat(true);
            if is_over {
                journal.remove("one").unwrap();
            } else {
                let record = Record {
                    boot: "boot".to_owned(),
                    uid: "u".to_owned(),
                    run: 1,
                    started: None,
                    ended: None,
                    interruptions: 0,
                    before: std::collections::BTreeMap::new(),
                    killed: std::collections::BTreeSet::new(),
                };
                journal.put("one", record).unwrap();
            }
            assert_eq!(tidy(&options).is_ok(), is_over);
            assert_eq!(fs::read_dir(&run_dir).unwrap().count(), usize::from(!is_over));
            assert_eq!(alive.exists(), !is_over);
        }
    }
}
