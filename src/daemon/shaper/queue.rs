//! One queue of a pod: what waits in it, and until when.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::model::{Fate, Model, Outcome};
use super::packet::{Flow, flip};
use super::protocol::QueueSpec;
use super::{Counts, Direction};
use crate::daemon::sys::close::close_aside;
use crate::daemon::sys::nfqueue::{Packet, Queue, Verdict};

/// Bytes of memory for each packet that waits, on top of its own: its place in the queue, which may be twice as long as
/// what is in it, and what the allocator adds.
const OVERHEAD: usize = 2 * size_of::<Waiting>() + 16;

/// A packet that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    due: u64,
    /// Equal deadlines are met in the order of arrival.
    order: u64,
    pub(super) what: What,
}

/// What waits.
#[derive(Debug)]
pub(super) enum What {
    /// The packet itself, in the kernel.
    Held {
        id: u32,
        /// Other bytes to go in place of its own.
        payload: Option<Box<[u8]>>,
        /// To be known once it is gone.
        flow: Option<Box<Flow>>,
    },
    /// A copy here; the packet is no more.
    Copy { bytes: Box<[u8]>, interface: u32 },
}

impl Waiting {
    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        let bytes = match &self.what {
            What::Held { payload, .. } => payload.as_ref().map_or(0, |payload| payload.len()),
            What::Copy { bytes, .. } => bytes.len(),
        };
        bytes + OVERHEAD
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

/// How a packet may be treated, which its pod knows.
pub(super) enum Way {
    /// A copy will do.
    Copy,
    /// It must itself go on its way; its flow is to be known then.
    Hold(Option<Box<Flow>>),
}

/// A bound queue.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) socket: Queue,
    pub(super) direction: Direction,
    pub(super) counts: Counts,
    model: Model,
    waiting: BinaryHeap<Reverse<Waiting>>,
    order: u64,
    /// Since when it is being given up: what comes passes, what waits is due.
    pub(super) closing: Option<u64>,
}

impl Served {
    pub(super) fn new(socket: Queue, spec: &QueueSpec, seed: u64) -> Self {
        Self {
            socket,
            direction: spec.direction,
            counts: Counts::default(),
            model: Model::new(spec.netem, seed),
            waiting: BinaryHeap::new(),
            order: 0,
            closing: None,
        }
    }

    /// Takes other settings for what comes from now on.
    pub(super) fn set(&mut self, spec: &QueueSpec) {
        self.direction = spec.direction;
        self.model.set(spec.netem);
    }

    /// Begins to give the queue up.
    pub(super) fn close(&mut self, now: u64) {
        self.closing = Some(now);
        let mut waiting = std::mem::take(&mut self.waiting).into_vec();
        for Reverse(waiting) in &mut waiting {
            waiting.due = 0;
        }
        self.waiting = waiting.into();
    }

    /// Lets a packet pass that came while the queue is given up.
    pub(super) fn pass(&mut self, packet: &Packet<'_>) {
        self.counts.seen += 1;
        self.counts.delivered += 1;
        self.socket.decide(packet.id, Verdict::Accept, None);
    }

    /// Decides what becomes of a packet and lets it wait; the memory that this takes.
    pub(super) fn admit(
        &mut self,
        packet: &Packet<'_>,
        way: impl FnOnce() -> Way,
        now: u64,
        room: usize,
    ) -> usize {
        self.counts.seen += 1;
        let fate = self.model.schedule(now, packet.payload.len(), self.waiting.len());
        match fate {
            Fate { packet: Outcome::Lost, .. } => {
                self.counts.lost += 1;
                self.socket.decide(packet.id, Verdict::Drop, None);
                0
            }
            Fate { packet: Outcome::Deliver { due, flip }, duplicate }
                if 2 * (packet.payload.len() + OVERHEAD) <= room =>
            {
                let mut memory = 0;
                match duplicate {
                    Some(Outcome::Deliver { due, flip }) => {
                        self.counts.duplicated += 1;
                        memory += self.push(due, copy(packet, flip));
                        self.counts.corrupted += u64::from(flip.is_some());
                    }
                    Some(Outcome::Lost) => self.counts.lost += 1,
                    Some(Outcome::Overflow) => self.counts.overflowed += 1,
                    None => {}
                }
                self.counts.corrupted += u64::from(flip.is_some());
                memory + self.accept(packet, way(), due, flip)
            }
            Fate { packet: Outcome::Overflow | Outcome::Deliver { .. }, .. } => {
                self.counts.overflowed += 1;
                self.socket.decide(packet.id, Verdict::Drop, None);
                0
            }
        }
    }

    fn accept(&mut self, packet: &Packet<'_>, way: Way, due: u64, flip: Option<u32>) -> usize {
        let what = match way {
            Way::Hold(flow) => {
                self.counts.held += u64::from(self.direction == Direction::Egress);
                let payload = flip.map(|random| damaged(packet.payload, Some(random)));
                What::Held { id: packet.id, payload, flow }
            }
            Way::Copy => {
                // Now, not when it is due: the sender's buffer is free again.
                self.socket.decide(packet.id, Verdict::Drop, None);
                copy(packet, flip)
            }
        };
        self.push(due, what)
    }

    fn push(&mut self, due: u64, what: What) -> usize {
        self.order += 1;
        let waiting = Waiting { due, order: self.order, what };
        let memory = waiting.memory();
        self.waiting.push(Reverse(waiting));
        memory
    }

    /// When the first of those that wait is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.waiting.peek().map(|Reverse(waiting)| waiting.due)
    }

    /// The first of those that wait, if it is due.
    pub(super) fn pop(&mut self, now: u64) -> Option<Waiting> {
        if self.next_due()? > now {
            return None;
        }
        self.waiting.pop().map(|Reverse(waiting)| waiting)
    }

    /// Gives it up with all that wait: how many those are, and the memory that they take. Without waiting for the end of
    /// the socket, or of the copies, which may be hundreds of thousands: the daemon and other pods' packets would wait
    /// for it as well.
    pub(super) fn abandon(self) -> (u64, usize) {
        let memory = self.waiting.iter().map(|Reverse(waiting)| waiting.memory()).sum();
        let count = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        close_aside((self.socket.unbind(), self.waiting)); // what the kernel holds, it drops
        (count, memory)
    }

    /// What it did so far.
    pub(super) fn counts(&self) -> Counts {
        Counts { waiting: u64::try_from(self.waiting.len()).unwrap_or(u64::MAX), ..self.counts }
    }
}

fn copy(packet: &Packet<'_>, flip: Option<u32>) -> What {
    What::Copy { bytes: damaged(packet.payload, flip), interface: packet.out_interface }
}

fn damaged(payload: &[u8], random: Option<u32>) -> Box<[u8]> {
    let mut bytes: Box<[u8]> = payload.into();
    if let Some(random) = random {
        flip(&mut bytes, random);
    }
    bytes
}
