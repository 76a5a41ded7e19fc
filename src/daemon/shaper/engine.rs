//! The shaper's process: one thread that serves the queues of all pods.
//!
//! It waits for packets, deadlines and the daemon's requests together, with a precision that timers of an async runtime
//! do not have. It ends with the daemon.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::prctl;
use nix::sys::time::TimeSpec;

use super::Drained;
use super::pod::{Pod, Taken};
use super::protocol::{Answer, QueueSpec, Request};
use super::queue::Served;
use crate::daemon::sys::channel::Channel;
use crate::daemon::sys::nfqueue::{Inbox, Queue};
use crate::daemon::sys::proc;
use crate::daemon::sys::rawsend::RawSockets;

/// Memory for packets that wait, in bytes. Beyond that they are dropped, as by a router whose buffer is full.
const MEMORY_MAX: usize = 256 * 1024 * 1024;

/// How long packets of queues that are given up are sent before the rest is dropped, in nanoseconds. The daemon waits
/// for twice as long.
const DRAIN_MAX: u64 = 1_000_000_000;

/// How often a queue that is given up is looked at, in nanoseconds.
const DRAIN_STEP: u64 = 1_000_000;

/// Runs the shaper at the channel that is its standard input, until the daemon is gone.
pub fn run(parent: u32) -> io::Result<()> {
    proc::die_with_parent(parent)?;
    // The least; the kernel otherwise gathers timers within 50 µs.
    prctl::set_timerslack(1)?;
    Engine::new(Channel::from_stdin()?).run()
}

struct Engine {
    channel: Channel,
    origin: Instant,
    pods: BTreeMap<String, Pod>,
    inbox: Inbox,
    memory: usize,
    /// A pod of which queues are being given up, and what is to be answered then.
    drain: Option<Drain>,
    seed: u64,
}

struct Drain {
    pod: String,
    until: u64,
    drained: Drained,
}

impl Engine {
    fn new(channel: Channel) -> Self {
        Self {
            channel,
            origin: Instant::now(),
            pods: BTreeMap::new(),
            inbox: Inbox::new(),
            memory: 0,
            drain: None,
            seed: rand::random(),
        }
    }

    fn now(&self) -> u64 {
        since(self.origin)
    }

    fn run(mut self) -> io::Result<()> {
        loop {
            let Ready { request, queues } = self.wait()?;
            if request {
                match self.channel.receive(Duration::ZERO) {
                    Ok((message, descriptors)) => self.obey(&message, descriptors)?,
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            for (pod, number) in &queues {
                self.take(pod, *number);
            }
            let now = self.now();
            let mut drained = Drained::default();
            for pod in self.pods.values_mut() {
                self.memory = self.memory.saturating_sub(pod.release(now, &mut drained));
            }
            self.drain(now, drained, &queues)?;
        }
    }

    /// Waits for a request, a packet or a deadline.
    fn wait(&self) -> io::Result<Ready> {
        let names: Vec<_> = self
            .pods
            .iter()
            .flat_map(|(name, pod)| pod.queues.iter().map(move |(number, queue)| (name, *number, queue)))
            .collect();
        let mut waiting = vec![PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
        waiting
            .extend(names.iter().map(|(_, _, queue)| PollFd::new(queue.socket.as_fd(), PollFlags::POLLIN)));
        let now = self.now();
        let next = self.pods.values().filter_map(Pod::next_due).min();
        let next = next.into_iter().chain(self.drain.as_ref().map(|_drain| now + DRAIN_STEP)).min();
        let timeout =
            next.map(|next| TimeSpec::from_duration(Duration::from_nanos(next.saturating_sub(now))));
        match ppoll(&mut waiting, timeout, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut ready = waiting.iter().map(|descriptor| descriptor.any().unwrap_or(true));
        let request = ready.next().unwrap_or(false);
        let queues = names.iter().zip(ready).filter(|(_, ready)| *ready);
        Ok(Ready {
            request,
            queues: queues.map(|((name, number, _), _)| ((*name).clone(), *number)).collect(),
        })
    }

    fn take(&mut self, name: &str, number: u16) {
        let origin = self.origin;
        let room = MEMORY_MAX.saturating_sub(self.memory);
        let Some(pod) = self.pods.get_mut(name) else { return };
        match pod.take(number, &mut self.inbox, || since(origin), room) {
            Ok(Taken { memory, refused }) => {
                self.memory += memory;
                if let Some(drain) = &mut self.drain {
                    drain.drained.delivered = drain.drained.delivered.saturating_sub(refused);
                    drain.drained.dropped += refused;
                }
            }
            Err(error) => tracing::warn!(pod = name, queue = number, %error, "cannot receive packets"),
        }
    }

    fn obey(&mut self, message: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<()> {
        match serde_json::from_slice(message) {
            Ok(Request::Ping) => self.answer(&Answer::Pong),
            Ok(Request::Counts { pod }) => {
                self.answer(&Answer::Counts(self.pods.get(&pod).map(Pod::counts).unwrap_or_default()))
            }
            Ok(Request::Serve { pod, queues, raw_sockets, bound }) => {
                match self.serve(pod, &queues, raw_sockets, &bound, descriptors) {
                    Ok(()) => Ok(()), // answered when the drain has ended
                    Err(reason) => self.answer(&Answer::Refused(reason)),
                }
            }
            Err(error) => self.answer(&Answer::Refused(error.to_string())),
        }
    }

    fn answer(&self, answer: &Answer) -> io::Result<()> {
        self.channel.send(&serde_json::to_vec(answer)?, &[])
    }

    fn serve(
        &mut self,
        name: String,
        queues: &[QueueSpec],
        raw_sockets: usize,
        bound: &[u16],
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), String> {
        if descriptors.len() != raw_sockets + bound.len() {
            return Err(format!(
                "{} sockets came instead of {}",
                descriptors.len(),
                raw_sockets + bound.len()
            ));
        }
        let now = self.now();
        let mut descriptors = descriptors.into_iter();
        let mut raw = descriptors.by_ref().take(raw_sockets);
        if let Some(v4) = raw.next() {
            let v6 = raw.next();
            self.pods.insert(name.clone(), Pod::new(RawSockets::from_fds(v4, v6)));
        }
        let pod = self.pods.get_mut(&name).ok_or("a pod without raw sockets")?;
        let mut sockets: BTreeMap<u16, OwnedFd> = bound.iter().copied().zip(descriptors).collect();
        for spec in queues {
            if let Some(socket) = sockets.remove(&spec.number) {
                self.seed = self.seed.wrapping_add(1);
                let served = Served::new(Queue::from_fd(socket, spec.number), spec, self.seed);
                pod.queues.insert(spec.number, served);
            } else {
                pod.queues.get_mut(&spec.number).ok_or("a queue without a socket")?.set(spec);
            }
        }
        for (number, queue) in &mut pod.queues {
            if !queues.iter().any(|spec| spec.number == *number) {
                queue.close(now);
            }
        }
        self.drain = Some(Drain { pod: name, until: now + DRAIN_MAX, drained: Drained::default() });
        Ok(())
    }

    /// Goes on with giving queues up, and answers when that is done.
    fn drain(&mut self, now: u64, drained: Drained, ready: &[(String, u16)]) -> io::Result<()> {
        let Some(drain) = &mut self.drain else { return Ok(()) };
        drain.drained.delivered += drained.delivered;
        drain.drained.dropped += drained.dropped;
        let mut is_done = true;
        if let Some(pod) = self.pods.get_mut(&drain.pod) {
            let idle = |number| !ready.iter().any(|(name, ready)| *name == drain.pod && *ready == number);
            let freed = pod.unbind(now, now >= drain.until, &mut drain.drained, idle);
            self.memory = self.memory.saturating_sub(freed);
            is_done = pod.queues.values().all(|queue| queue.closing.is_none());
            if pod.queues.is_empty() {
                // Its sockets would keep the network namespace.
                self.pods.remove(&drain.pod);
            }
        }
        if is_done {
            let drained = drain.drained;
            self.drain = None;
            self.answer(&Answer::Served(drained))?;
        }
        Ok(())
    }
}

/// Nanoseconds.
fn since(origin: Instant) -> u64 {
    u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// What there is to do.
struct Ready {
    request: bool,
    queues: Vec<(String, u16)>,
}
