//! The daemon's side of the shaper: asks, waits, and ends a shaper that does not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::protocol::{Answer, QueueSpec, Request};
use super::{Counts, Drained, ShaperError, VERB};
use crate::daemon::sys::channel::Channel;
use crate::daemon::sys::netns::{NetNs, NetNsId};
use crate::daemon::sys::nfqueue::Queue;
use crate::daemon::sys::rawsend::RawSockets;
use crate::daemon::sys::spawn::{self, Helper, OWN_PROGRAM};
use crate::network::RESENT_MARK;

/// How often a sign of life is asked for.
const PING_EVERY: Duration = Duration::from_millis(250);

/// How long a sign of life may take. While the shaper hangs, so does the traffic.
const PING_WITHIN: Duration = Duration::from_secs(1);

/// How long other answers may take: queues that are given up are emptied before.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A shaper process and what it was told. The process ends when this is dropped; what waits in it is lost then, so let
/// it serve nothing before.
#[derive(Debug)]
pub struct Shaper {
    shared: Arc<Shared>,
    pods: BTreeMap<String, Known>,
    watchdog: Option<JoinHandle<()>>,
}

/// What the shaper does for a pod.
#[derive(Debug)]
struct Known {
    namespace: NetNsId,
    queues: BTreeSet<u16>,
}

/// What the watchdog uses too.
#[derive(Debug)]
struct Shared {
    helper: Helper,
    /// Locked from a request to its answer.
    channel: Mutex<Channel>,
    is_gone: AtomicBool,
    is_dropped: AtomicBool,
}

impl Shaper {
    /// Starts a shaper. `on_end` is called on another thread when it ends, unless it was dropped.
    pub fn start(on_end: impl FnOnce() + Send + 'static) -> Result<Self, ShaperError> {
        Self::start_program(Path::new(OWN_PROGRAM), on_end)
    }

    /// The same with a program that has the verb [`VERB`].
    pub fn start_program(
        program: &Path,
        on_end: impl FnOnce() + Send + 'static,
    ) -> Result<Self, ShaperError> {
        let (ours, theirs) = Channel::pair().map_err(ShaperError::Start)?;
        let helper = spawn::spawn(program, &[VERB], theirs).map_err(ShaperError::Start)?;
        let shared = Arc::new(Shared {
            helper,
            channel: Mutex::new(ours),
            is_gone: AtomicBool::new(false),
            is_dropped: AtomicBool::new(false),
        });
        shared.ask(&shared.lock(), &Request::Ping, &[], ANSWER_WITHIN)?;
        let watched = Arc::clone(&shared);
        let watchdog = thread::Builder::new()
            .name("shaper-watchdog".to_owned())
            .spawn(move || watched.watch(on_end))
            .map_err(ShaperError::Start)?;
        Ok(Self { shared, pods: BTreeMap::new(), watchdog: Some(watchdog) })
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.shared.helper.id()
    }

    /// Whether its process runs. A shaper that is gone stays so: start another.
    pub fn is_alive(&self) -> bool {
        let has_ended = self.shared.helper.pidfd().wait(Duration::ZERO).unwrap_or(true);
        !has_ended && !self.shared.is_gone.load(Ordering::Acquire)
    }

    /// Makes the queues of a pod exactly these: binds the new ones, changes the settings of those that are there, and
    /// gives up the others, of which what waits is delivered at once. A packet that waits in a queue that stays keeps
    /// its deadline, each later one gets the new settings; none passes in between.
    ///
    /// Bind a queue before rules lead to it, give it up when they no longer do. Keep the chains of the pod's tables
    /// until then: with any base chain the kernel drops what waits in the network namespace.
    pub fn serve(
        &mut self,
        pod: &str,
        namespace: &NetNs,
        queues: &[QueueSpec],
    ) -> Result<Drained, ShaperError> {
        if queues.is_empty() {
            return self.release(pod);
        }
        // Another sandbox of the same name: nothing of the old one is any good.
        let is_other = self.pods.get(pod).is_some_and(|known| known.namespace != namespace.id());
        let drained = if is_other { self.release(pod)? } else { Drained::default() };
        let known = self.pods.get(pod);
        let is_new = |number: &u16| known.is_none_or(|known| !known.queues.contains(number));
        let numbers: BTreeSet<u16> = queues.iter().map(|spec| spec.number).collect();
        let new: BTreeSet<u16> = numbers.iter().copied().filter(is_new).collect();
        let needs_raw = known.is_none();
        let sockets = if new.is_empty() {
            Sockets::default()
        } else {
            namespace.visit(|| Sockets::open(needs_raw, &new))??
        };
        let more = self.tell(pod, queues, &sockets)?;
        self.pods.insert(pod.to_owned(), Known { namespace: namespace.id(), queues: numbers });
        Ok(Drained { delivered: drained.delivered + more.delivered, dropped: drained.dropped + more.dropped })
    }

    /// Gives up all queues of a pod, whether or not its network namespace is still in use.
    pub fn release(&mut self, pod: &str) -> Result<Drained, ShaperError> {
        if !self.pods.contains_key(pod) {
            return Ok(Drained::default());
        }
        let drained = self.tell(pod, &[], &Sockets::default())?;
        self.pods.remove(pod);
        Ok(drained)
    }

    fn tell(&self, pod: &str, queues: &[QueueSpec], sockets: &Sockets) -> Result<Drained, ShaperError> {
        let raw: Vec<_> = sockets.raw.iter().flat_map(RawSockets::fds).collect();
        let request = Request::Serve {
            pod: pod.to_owned(),
            queues: queues.to_vec(),
            raw_sockets: raw.len(),
            bound: sockets.queues.iter().map(Queue::number).collect(),
        };
        let descriptors: Vec<_> = raw.into_iter().chain(sockets.queues.iter().map(AsFd::as_fd)).collect();
        match self.shared.ask(&self.shared.lock(), &request, &descriptors, ANSWER_WITHIN)? {
            Answer::Served(drained) => Ok(drained),
            other => Err(self.shared.contradicted(&other)),
        }
    }

    /// The pods that it serves.
    pub fn pods(&self) -> Vec<String> {
        self.pods.keys().cloned().collect()
    }

    /// What the queues of a pod did since they were bound.
    pub fn counts(&mut self, pod: &str) -> Result<Vec<(u16, Counts)>, ShaperError> {
        let request = Request::Counts { pod: pod.to_owned() };
        match self.shared.ask(&self.shared.lock(), &request, &[], ANSWER_WITHIN)? {
            Answer::Counts(counts) => Ok(counts),
            other => Err(self.shared.contradicted(&other)),
        }
    }
}

impl Drop for Shaper {
    fn drop(&mut self) {
        self.shared.is_dropped.store(true, Ordering::Release);
        self.shared.give_up("it is no longer needed");
        if let Some(watchdog) = self.watchdog.take()
            && watchdog.join().is_err()
        {
            tracing::warn!("the shaper's watchdog panicked");
        }
    }
}

/// Sockets of a pod's network namespace on their way to the shaper. Closed here, they stay open there.
#[derive(Default)]
struct Sockets {
    raw: Option<RawSockets>,
    queues: Vec<Queue>,
}

impl Sockets {
    fn open(needs_raw: bool, numbers: &BTreeSet<u16>) -> Result<Self, ShaperError> {
        let raw =
            needs_raw.then(|| RawSockets::open(RESENT_MARK)).transpose().map_err(ShaperError::RawSocket)?;
        let queues = numbers.iter().map(|number| Queue::bind(*number)).collect::<Result<_, _>>()?;
        Ok(Self { raw, queues })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Channel> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request and its answer. Whoever does not answer in time is ended, so that no answer can be another request's.
    fn ask(
        &self,
        channel: &Channel,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
        within: Duration,
    ) -> Result<Answer, ShaperError> {
        if self.is_gone.load(Ordering::Acquire) {
            return Err(ShaperError::Gone("it ended before".to_owned()));
        }
        let exchange = || -> io::Result<Answer> {
            channel.send(&serde_json::to_vec(request)?, descriptors)?;
            Ok(serde_json::from_slice(&channel.receive(within)?.0)?)
        };
        exchange().map_err(|error| self.give_up(&error.to_string()))
    }

    fn give_up(&self, reason: &str) -> ShaperError {
        self.is_gone.store(true, Ordering::Release);
        if let Err(error) = self.helper.kill() {
            tracing::warn!(pid = self.helper.id(), %error, "cannot end the shaper");
        }
        ShaperError::Gone(reason.to_owned())
    }

    /// What it does and what is known of it are two different things now: only a new one is right again.
    fn contradicted(&self, answer: &Answer) -> ShaperError {
        self.give_up(&format!("it answered {answer:?}"))
    }

    /// The watchdog's thread: sees the shaper's end, and brings it about when there is no sign of life. A request that
    /// is under way has a limit of its own.
    fn watch(&self, on_end: impl FnOnce()) {
        while !self.helper.pidfd().wait(PING_EVERY).unwrap_or(true) {
            let Ok(channel) = self.channel.try_lock() else { continue };
            if let Err(error) = self.ask(&channel, &Request::Ping, &[], PING_WITHIN)
                && !self.is_dropped.load(Ordering::Acquire)
            {
                tracing::error!(pid = self.helper.id(), %error, "the shaper does not answer and is ended");
            }
        }
        self.is_gone.store(true, Ordering::Release);
        if !self.is_dropped.load(Ordering::Acquire) {
            on_end();
        }
    }
}
