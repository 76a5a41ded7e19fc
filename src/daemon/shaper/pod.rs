//! The queues of one pod, and the sockets that its packets are sent with.

use std::collections::BTreeMap;
use std::io;

use super::packet::{Flows, Headers};
use super::queue::{Served, Waiting, Way, What};
use super::{Counts, Direction, Drained};
use crate::daemon::sys::nfqueue::{Inbox, Packet, Verdict};
use crate::daemon::sys::rawsend::{Outgoing, RawSockets};

/// How long the longest packet of an interface is believed, in nanoseconds.
const MTU_BELIEVED: u64 = 1_000_000_000;

/// Packets of one queue that are sent in one go: others must not wait long for it.
const BURST: usize = 256;

/// How long a queue that is given up is looked after at least, in nanoseconds: other CPUs may still be about to put
/// a packet into it by rules that are no more.
const GRACE: u64 = 5_000_000;

/// What was taken.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Bytes of memory.
    pub(super) memory: usize,
    /// Packets of a queue that is given up that were thought delivered and are not.
    pub(super) refused: u64,
}

/// A pod with at least one queue.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) queues: BTreeMap<u16, Served>,
    raw: RawSockets,
    flows: Flows,
    /// By interface: the longest packet it takes, and until when that is believed.
    mtus: BTreeMap<u32, (usize, u64)>,
}

impl Pod {
    pub(super) fn new(raw: RawSockets) -> Self {
        Self { queues: BTreeMap::new(), raw, flows: Flows::default(), mtus: BTreeMap::new() }
    }

    /// Takes what has come in a queue, and the memory for it, which is at most `room`.
    pub(super) fn take(
        &mut self,
        number: u16,
        inbox: &mut Inbox,
        clock: impl FnOnce() -> u64,
        mut room: usize,
    ) -> io::Result<Taken> {
        let Self { queues, raw, flows, mtus } = self;
        let Some(queue) = queues.get_mut(&number) else { return Ok(Taken::default()) };
        queue.socket.receive(inbox)?;
        // Not before: what comes while others are received would leave early.
        let now = clock();
        let refused = inbox.refused();
        queue.counts.delivered = queue.counts.delivered.saturating_sub(refused);
        queue.counts.failed += refused;
        let mut memory = 0;
        for packet in inbox.packets() {
            if queue.closing.is_some() {
                queue.pass(&packet);
                continue;
            }
            let direction = queue.direction;
            let taken = queue.admit(&packet, || way(direction, &packet, raw, flows, mtus, now), now, room);
            memory += taken;
            room = room.saturating_sub(taken);
        }
        queue.socket.flush();
        Ok(Taken { memory, refused: if queue.closing.is_some() { refused } else { 0 } })
    }

    /// When the next packet is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.queues.values().filter_map(Served::next_due).min()
    }

    /// Sends what is due; the memory that this frees.
    pub(super) fn release(&mut self, now: u64, drained: &mut Drained) -> usize {
        let Self { queues, raw, flows, .. } = self;
        let mut memory = 0;
        for queue in queues.values_mut() {
            let due: Vec<Waiting> = std::iter::from_fn(|| queue.pop(now)).take(BURST).collect();
            if due.is_empty() {
                continue;
            }
            let before = (queue.counts.delivered, queue.counts.failed);
            let mut copies = Vec::new();
            for waiting in &due {
                memory += waiting.memory();
                match &waiting.what {
                    What::Held { id, payload, flow } => {
                        queue.socket.decide(*id, Verdict::Accept, payload.as_deref());
                        queue.counts.delivered += 1;
                        if let Some(flow) = flow {
                            flows.gone(flow);
                        }
                    }
                    What::Copy { bytes, interface } => copies.push(Outgoing { bytes, interface: *interface }),
                }
            }
            queue.socket.flush();
            let sent = raw.send(&copies);
            queue.counts.delivered += sent.delivered;
            queue.counts.failed += sent.failed;
            if queue.closing.is_some() {
                drained.delivered += queue.counts.delivered - before.0;
                drained.dropped += queue.counts.failed - before.1;
            }
        }
        memory
    }

    /// Unbinds the queues that are given up and empty, and with `at_once` the others too; the memory that this frees.
    /// `idle` says of which nothing came any more.
    pub(super) fn unbind(
        &mut self,
        now: u64,
        at_once: bool,
        drained: &mut Drained,
        idle: impl Fn(u16) -> bool,
    ) -> usize {
        let mut memory = 0;
        let given_up = self.queues.extract_if(.., |number, queue| {
            let Some(since) = queue.closing else { return false };
            let empty = queue.next_due().is_none() && idle(*number) && now.saturating_sub(since) >= GRACE;
            empty || at_once
        });
        for (_, queue) in given_up {
            let (dropped, freed) = queue.abandon();
            drained.dropped += dropped;
            memory += freed;
        }
        memory
    }

    /// By queue.
    pub(super) fn counts(&self) -> Vec<(u16, Counts)> {
        self.queues.iter().map(|(number, queue)| (*number, queue.counts())).collect()
    }
}

fn way(
    direction: Direction,
    packet: &Packet<'_>,
    raw: &RawSockets,
    flows: &mut Flows,
    mtus: &mut BTreeMap<u32, (usize, u64)>,
    now: u64,
) -> Way {
    let headers = match Headers::parse(packet.payload) {
        Some(headers) if direction == Direction::Egress => headers,
        _ => return Way::Hold(None),
    };
    if flows.must_go(&headers, now) {
        return Way::Hold(Some(Box::new(headers.flow())));
    }
    // A raw socket sends no more than one packet of the interface's, and to many only by the interface of its choice.
    let is_short = mtu(packet.out_interface, raw, mtus, now).is_some_and(|mtu| packet.payload.len() <= mtu);
    if is_short && headers.is_unicast() { Way::Copy } else { Way::Hold(None) }
}

fn mtu(interface: u32, raw: &RawSockets, mtus: &mut BTreeMap<u32, (usize, u64)>, now: u64) -> Option<usize> {
    match mtus.get(&interface) {
        Some((mtu, until)) if now < *until => return Some(*mtu),
        _ => {}
    }
    match raw.mtu(interface) {
        Ok(mtu) => {
            // Interfaces come and go; their numbers are not used again.
            mtus.retain(|_, (_, until)| now < *until);
            mtus.insert(interface, (mtu, now.saturating_add(MTU_BELIEVED)));
            Some(mtu)
        }
        Err(error) => {
            tracing::debug!(interface, %error, "no longest packet known");
            None
        }
    }
}
