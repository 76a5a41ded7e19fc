//! Undoes trees of qdiscs when the daemon has died: they do not end with a socket, as tables do.
//!
//! Two halves, in two processes. [`Guardian`] is the daemon's: it tells of each interface before its first change. The
//! other one, [`run`], remembers what stood there, and puts it back when its channel to the daemon closes, which it
//! does however the daemon ends. It holds a lock for as long as it works, so that the next daemon can wait until
//! nobody else changes interfaces.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::sys::channel::Channel;
use super::sys::netns::{NetNs, NetNsError, NetNsId};
use super::sys::proc::{self, PidFd};
use super::sys::spawn::{self, Helper, OWN_PROGRAM};
use super::sys::tc::Root;

mod process;

pub use process::run;

/// The hidden verb that a guardian is started by.
pub const VERB: &str = "guardian";

/// What it locks, in the folder of the daemon's journal.
const LOCK: &str = "guardian.lock";

/// How long it may take to undo everything. It ends then in any case, because the next daemon begins.
const UNDO_WITHIN: Duration = Duration::from_millis(4500);

/// How long the next daemon waits for it.
const PREDECESSOR_WITHIN: Duration = Duration::from_secs(5);

/// How long an answer may take, that of a new process included.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Longer than anything is waited for in one go.
const FOR_EVER: Duration = Duration::from_hours(24);

/// How often it is tried again to get the lock, or to undo what failed.
const RETRY_EVERY: Duration = Duration::from_millis(20);

/// What the daemon says.
#[derive(Debug, Serialize, Deserialize)]
enum Request {
    /// An interface will be changed. The network namespace comes with it.
    Guard { interface: u32, root: Root },
    /// All is undone there.
    Release { namespace: NetNsId, interface: u32 },
}

/// What the guardian says when it is ready, and to each request.
type Answer = Result<(), String>;

/// Why nothing can be guarded.
#[derive(Debug, thiserror::Error)]
pub enum GuardianError {
    /// The process cannot be started.
    #[error("cannot start the guardian")]
    Start(#[source] io::Error),
    /// The process has ended, or it was ended because it did not answer.
    #[error("the guardian is gone")]
    Gone(#[source] io::Error),
    /// It cannot do it.
    #[error("the guardian refuses: {0}")]
    Refused(String),
    /// The network namespace cannot be handed over.
    #[error(transparent)]
    NetNs(#[from] NetNsError),
}

/// A guardian process, and everything that it was told. When this is dropped, it undoes what was not released.
pub struct Guardian {
    program: PathBuf,
    folder: PathBuf,
    on_end: OnEnd,
    process: Option<Process>,
    known: BTreeMap<(NetNsId, u32), Known>,
}

/// What is called when nothing is guarded any more.
type OnEnd = Arc<dyn Fn() + Send + Sync>;

impl fmt::Debug for Guardian {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, known, .. } = self;
        formatter
            .debug_struct("Guardian")
            .field("process", process)
            .field("known", known)
            .finish_non_exhaustive()
    }
}

/// What stood at an interface before.
#[derive(Debug)]
struct Known {
    namespace: NetNs,
    root: Root,
}

/// Waits until the guardian of an earlier daemon has undone everything, at most 5 s: from then on no one but us changes
/// roots of interfaces. The folder is the one of [`Guardian::start`].
///
/// # Errors
/// `TimedOut` if it does not end in time; the system's reason if the lock cannot be tried.
pub fn wait_for_predecessor(folder: &Path) -> io::Result<()> {
    let path = folder.join(LOCK);
    let begun = Instant::now();
    while proc::lock_file(&path)?.is_none() {
        if begun.elapsed() >= PREDECESSOR_WITHIN {
            let text =
                format!("{} is locked: the guardian of an earlier daemon does not end", path.display());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        thread::park_timeout(RETRY_EVERY);
    }
    Ok(())
}

/// Removes the file that guardians lock, unless one is at work. To be called by a daemon that ends.
///
/// # Errors
/// When the file cannot be locked or removed.
pub fn remove_lock(folder: &Path) -> io::Result<()> {
    let path = folder.join(LOCK);
    let Some(_lock) = proc::lock_file(&path)? else { return Ok(()) };
    std::fs::remove_file(path)
}

impl Guardian {
    /// Starts a guardian, after that of an earlier daemon has ended. `folder` is the one of the daemon's journal, which no
    /// other daemon uses. `on_end` is called on another thread whenever the process ends by itself.
    ///
    /// # Errors
    /// See [`wait_for_predecessor`]; when the process cannot be started.
    pub fn start(folder: &Path, on_end: impl Fn() + Send + Sync + 'static) -> Result<Self, GuardianError> {
        Self::start_program(Path::new(OWN_PROGRAM), folder, on_end)
    }

    /// The same with a program that has the verb [`VERB`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_program(
        program: &Path,
        folder: &Path,
        on_end: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, GuardianError> {
        wait_for_predecessor(folder).map_err(GuardianError::Start)?;
        let on_end: OnEnd = Arc::new(on_end);
        let process = Process::start(program, folder, &on_end)?;
        Ok(Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            on_end,
            process: Some(process),
            known: BTreeMap::new(),
        })
    }

    /// Tells of an interface that will be changed, and of what stands there now. Only after this returned well may it be
    /// changed. A guardian that is dead is replaced, and its successor told of everything before.
    ///
    /// The network namespace is kept alive until [`Self::release`], also when its pod is gone.
    ///
    /// # Errors
    /// When there is no guardian that knows of it. What it knew before is unchanged.
    pub fn guard(&mut self, namespace: &NetNs, interface: u32, root: &Root) -> Result<(), GuardianError> {
        let key = (namespace.id(), interface);
        if self.is_alive() && self.known.get(&key).is_some_and(|known| known.root == *root) {
            return Ok(());
        }
        let new = Known { namespace: namespace.try_clone()?, root: root.clone() };
        let request = new.request(interface);
        let earlier = self.known.insert(key, new);
        let result = match self.ask(&request, Some(namespace.as_fd())) {
            Err(GuardianError::Gone(_)) => self.restart(),
            result => result,
        };
        if result.is_err() {
            match earlier {
                Some(earlier) => drop(self.known.insert(key, earlier)),
                None => drop(self.known.remove(&key)),
            }
        }
        result
    }

    /// Forgets an interface: all is undone there, or its network namespace is of no more use.
    pub fn release(&mut self, namespace: NetNsId, interface: u32) {
        if self.known.remove(&(namespace, interface)).is_none() {
            return;
        }
        if let Err(error) = self.ask(&Request::Release { namespace, interface }, None) {
            tracing::warn!(%namespace, interface, error = &error as &dyn std::error::Error, "guardian");
            (self.on_end)();
        }
    }

    /// Whether its process runs. One that has ended is replaced by [`Self::guard`].
    pub fn is_alive(&mut self) -> bool {
        self.process.as_ref().is_some_and(|process| !process.has_ended(Duration::ZERO))
    }

    /// The number of its process.
    pub fn id(&self) -> Option<u32> {
        Some(self.process.as_ref()?.helper.as_ref()?.id())
    }

    fn restart(&mut self) -> Result<(), GuardianError> {
        // Killed and not let go: what it knows is still in use.
        self.kill();
        let result = self.start_again();
        if result.is_err() {
            self.kill();
            (self.on_end)();
        }
        result
    }

    fn start_again(&mut self) -> Result<(), GuardianError> {
        let process = self.process.insert(Process::start(&self.program, &self.folder, &self.on_end)?);
        for ((_, interface), known) in &self.known {
            process.ask(&known.request(*interface), Some(known.namespace.as_fd()))?;
        }
        Ok(())
    }

    fn ask(&mut self, request: &Request, fd: Option<BorrowedFd<'_>>) -> Result<(), GuardianError> {
        let Some(process) = &self.process else {
            return Err(GuardianError::Gone(io::ErrorKind::NotConnected.into()));
        };
        let result = process.ask(request, fd);
        if matches!(result, Err(GuardianError::Gone(_))) {
            // One that did not answer must not undo later what it was not told to be in use.
            self.kill();
        }
        result
    }

    fn kill(&mut self) {
        let Some(process) = self.process.take() else { return };
        if let Some(Err(error)) = process.helper.as_ref().map(Helper::kill) {
            tracing::warn!(%error, "cannot end the guardian");
        }
    }
}

impl Known {
    fn request(&self, interface: u32) -> Request {
        Request::Guard { interface, root: self.root.clone() }
    }
}

/// The process. It is let go when this is dropped: it undoes what it knows, and ends.
#[derive(Debug)]
struct Process {
    channel: Option<Channel>,
    helper: Option<Helper>,
    /// Its end is no surprise any more.
    is_dropped: Arc<AtomicBool>,
}

impl Process {
    fn start(program: &Path, folder: &Path, on_end: &OnEnd) -> Result<Self, GuardianError> {
        let (ours, theirs) = Channel::pair().map_err(GuardianError::Start)?;
        let arguments = [OsStr::new(VERB), folder.as_os_str()];
        let helper = spawn::spawn(program, &arguments, theirs).map_err(GuardianError::Start)?;
        let pidfd = PidFd::open(helper.id());
        let is_dropped = Arc::new(AtomicBool::new(false));
        let process = Self { channel: Some(ours), helper: Some(helper), is_dropped: Arc::clone(&is_dropped) };
        process.answer()?;
        let pidfd = pidfd.map_err(GuardianError::Start)?;
        let on_end = Arc::clone(on_end);
        let watch = move || {
            while let Ok(false) = pidfd.wait(FOR_EVER) {}
            if !is_dropped.load(Ordering::Acquire) {
                on_end();
            }
        };
        let watchdog = thread::Builder::new().name("guardian-watchdog".to_owned()).spawn(watch);
        watchdog.map_err(GuardianError::Start)?;
        Ok(process)
    }

    fn ask(&self, request: &Request, fd: Option<BorrowedFd<'_>>) -> Result<(), GuardianError> {
        let message = serde_json::to_vec(request).map_err(|error| GuardianError::Gone(error.into()))?;
        let channel = self.channel()?;
        channel.send(&message, fd.as_slice()).map_err(GuardianError::Gone)?;
        self.answer()
    }

    fn answer(&self) -> Result<(), GuardianError> {
        let (message, _) = self.channel()?.receive(ANSWER_WITHIN).map_err(GuardianError::Gone)?;
        let answer: Answer =
            serde_json::from_slice(&message).map_err(|error| GuardianError::Gone(error.into()))?;
        answer.map_err(GuardianError::Refused)
    }

    fn channel(&self) -> Result<&Channel, GuardianError> {
        self.channel.as_ref().ok_or_else(|| GuardianError::Gone(io::ErrorKind::NotConnected.into()))
    }

    fn has_ended(&self, wait: Duration) -> bool {
        self.helper.as_ref().is_none_or(|helper| helper.pidfd().wait(wait).unwrap_or(true))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.is_dropped.store(true, Ordering::Release);
        drop(self.channel.take());
        let has_ended = self.has_ended(PREDECESSOR_WITHIN);
        let Some(helper) = self.helper.take() else { return };
        if has_ended {
            return; // the helper's own drop takes note of its end
        }
        tracing::warn!(pid = helper.id(), "the guardian still works");
        // Its drop would kill it.
        let _left_alone = ManuallyDrop::new(helper);
    }
}
