//! What becomes of each packet: the arithmetic of `net/sched/sch_netem.c`, so that a fault is the same fault whether
//! the kernel has netem or not.
//!
//! No clock, no socket: the caller says what time it is and how many packets wait. Where netem's behaviour surprises
//! (see `Model::spread`), the surprise is kept.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::network::netem::{Chance, Netem, Probability};

/// Bytes before the IP header that netem counts as part of a packet: an Ethernet header.
const LINK_HEADER: u64 = 14;

const NANOSECONDS: u64 = 1_000_000_000;

/// What becomes of one packet that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// Of the packet.
    pub packet: Outcome,
    /// Of its duplicate, which comes before it.
    pub duplicate: Option<Outcome>,
}

/// What becomes of one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is lost on purpose.
    Lost,
    /// There is no room for it.
    Overflow,
    /// It is delivered.
    Deliver {
        /// When, in nanoseconds; that may be past.
        due: u64,
        /// A random number that says which bit is flipped, if one is.
        flip: Option<u32>,
    },
}

/// The state behind the packets of one class. Times are in nanoseconds on any clock that never goes back.
#[derive(Debug)]
pub struct Model {
    netem: Netem,
    random: StdRng,
    delays: u32,
    losses: u32,
    duplicates: u32,
    corruptions: u32,
    reorders: u32,
    /// Packets since the last one that was sent at once.
    counter: u32,
    /// When the last of the waiting packets is due.
    last: u64,
}

impl Model {
    /// Equal seeds make equal fates.
    pub fn new(netem: Netem, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let [delays, losses, duplicates, corruptions, reorders] = std::array::from_fn(|_| random.next_u32());
        Self { netem, random, delays, losses, duplicates, corruptions, reorders, counter: 0, last: 0 }
    }

    /// Other settings for the packets that come from now on.
    pub fn set(&mut self, netem: Netem) {
        self.netem = netem;
    }

    /// Decides about a packet of `length` bytes (`netem_enqueue`) while `waiting` others of its class wait.
    pub fn schedule(&mut self, now: u64, length: usize, waiting: usize) -> Fate {
        let mut count = 1;
        if happens(self.netem.duplicate, &mut self.duplicates, &mut self.random) {
            count += 1;
        }
        if happens(self.netem.loss, &mut self.losses, &mut self.random) {
            count -= 1;
        }
        if count == 0 {
            return Fate { packet: Outcome::Lost, duplicate: None };
        }
        let flip = self.flip();
        if self.is_full(waiting) {
            return Fate { packet: Outcome::Overflow, duplicate: None };
        }
        let duplicate = (count > 1).then(|| self.duplicate(now, length, waiting));
        let packet = Outcome::Deliver { due: self.due(now, length), flip };
        Fate { packet, duplicate }
    }

    /// A duplicate passes everything but duplication, and before the packet itself.
    fn duplicate(&mut self, now: u64, length: usize, waiting: usize) -> Outcome {
        if happens(self.netem.loss, &mut self.losses, &mut self.random) {
            return Outcome::Lost;
        }
        let flip = self.flip();
        if self.is_full(waiting) {
            return Outcome::Overflow;
        }
        Outcome::Deliver { due: self.due(now, length), flip }
    }

    fn flip(&mut self) -> Option<u32> {
        let flips = happens(self.netem.corrupt, &mut self.corruptions, &mut self.random);
        flips.then(|| self.random.next_u32())
    }

    fn is_full(&self, waiting: usize) -> bool {
        u32::try_from(waiting).unwrap_or(u32::MAX) >= self.netem.limit()
    }

    fn due(&mut self, now: u64, length: usize) -> u64 {
        if self.goes_first() {
            self.counter = 0;
            return now;
        }
        let mut delay = self.spread();
        let mut from = now;
        if self.netem.rate > 0 {
            // The wait for those before it counts as part of the delay.
            if self.last > now {
                delay = delay.saturating_sub_unsigned(self.last - now).max(0);
                from = self.last;
            }
            let bytes = u64::try_from(length).unwrap_or(u64::MAX).saturating_add(LINK_HEADER);
            let nanoseconds = u128::from(bytes) * u128::from(NANOSECONDS) / u128::from(self.netem.rate);
            delay = delay.saturating_add_unsigned(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        }
        self.counter = self.counter.saturating_add(1);
        let due = from.saturating_add_signed(delay);
        self.last = self.last.max(due);
        due
    }

    /// Whether a packet overtakes all that wait.
    fn goes_first(&mut self) -> bool {
        let gap = self.netem.gap;
        gap != 0
            && self.counter >= gap - 1
            && self.netem.reorder.probability.0
                >= correlated(self.netem.reorder.correlation, &mut self.reorders, &mut self.random)
    }

    /// Latency and jitter (`tabledist`). The remainder wraps a random number of 32 bits many times over when the jitter is
    /// below a second, and with it nearly all of the correlation. So it is in netem without a distribution table.
    fn spread(&mut self) -> i64 {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (latency, jitter) = (signed(self.netem.latency), self.netem.jitter);
        if jitter == 0 {
            return latency;
        }
        let random = correlated(self.netem.correlation, &mut self.delays, &mut self.random);
        let width = jitter.saturating_mul(2);
        let place = match u32::try_from(width) {
            Ok(width) => u64::from(random % width),
            // netem's jitter ends at 2^31 ns; beyond, the number is stretched over the whole width.
            Err(_) => u64::try_from((u128::from(random) * u128::from(width)) >> 32).unwrap_or(u64::MAX),
        };
        latency.saturating_add_unsigned(place).saturating_sub_unsigned(jitter)
    }
}

fn happens(chance: Chance, last: &mut u32, random: &mut StdRng) -> bool {
    chance.probability != Probability::NEVER
        && chance.probability.0 >= correlated(chance.correlation, last, random)
}

/// A random number that leans towards the last one (`get_crandom`): mixed in the ratio of the correlation.
fn correlated(correlation: Probability, last: &mut u32, random: &mut StdRng) -> u32 {
    let value = random.next_u32();
    if correlation == Probability::NEVER {
        return value;
    }
    let weight = u64::from(correlation.0) + 1;
    let mixed =
        (u128::from(value) * u128::from((1 << 32) - weight) + u128::from(*last) * u128::from(weight)) >> 32;
    *last = u32::try_from(mixed).unwrap_or(u32::MAX);
    *last
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
