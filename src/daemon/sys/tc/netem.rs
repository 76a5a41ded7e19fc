//! netem's options on the wire (`struct tc_netem_qopt` and `TCA_NETEM_*`, `linux/pkt_sched.h`).

use super::super::netlink::{Attributes, Builder};
use crate::network::netem::{Chance, Netem, Probability};

const TCA_NETEM_CORR: u16 = 1;
const TCA_NETEM_REORDER: u16 = 3;
const TCA_NETEM_CORRUPT: u16 = 4;
const TCA_NETEM_RATE: u16 = 6;
const TCA_NETEM_RATE64: u16 = 8;
const TCA_NETEM_PAD: u16 = 9;
const TCA_NETEM_LATENCY64: u16 = 10;
const TCA_NETEM_JITTER64: u16 = 11;
/// Where its random numbers begin (Linux 6.6): the kernel chooses.
const TCA_NETEM_PRNG_SEED: u16 = 14;

/// Size of `struct tc_netem_qopt`.
const QOPT: usize = 24;

/// Nanoseconds of a tick of the packet scheduler (`PSCHED_SHIFT`, `net/pkt_sched.h`).
const TICK: u64 = 64;

/// Most that it can let a packet wait, in nanoseconds.
pub(super) const LATENCY_MOST: u64 = i64::MAX as u64;

/// What a netem does, as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetemOptions {
    /// What happens to packets.
    pub netem: Netem,
    /// How many of them may wait.
    pub limit: u32,
    /// Types of options (`TCA_NETEM_*`) that we never set: a model of loss, marks instead of loss, slots.
    pub others: Vec<u16>,
}

/// The options of a netem that does this.
///
/// Every number is sent, also the zeros: a netem that is changed keeps what is left out.
pub fn encode(netem: &Netem) -> Vec<u8> {
    let Netem { latency, jitter, correlation, loss, duplicate, corrupt, reorder, gap, rate } = netem;
    // latency and jitter in ticks, which the attributes below overrule, at place 1 and 6
    let head = [0, netem.limit(), loss.probability.0, *gap, duplicate.probability.0, 0];
    let correlations = [correlation.0, loss.correlation.0, duplicate.correlation.0];
    let chance = |chance: &Chance| numbers(&[chance.probability.0, chance.correlation.0]);
    let mut builder = Builder::after(&numbers(&head))
        .bytes(TCA_NETEM_CORR, &numbers(&correlations))
        .bytes(TCA_NETEM_REORDER, &chance(reorder))
        .bytes(TCA_NETEM_CORRUPT, &chance(corrupt));
    let small = u32::try_from(*rate).unwrap_or_else(|_larger| {
        builder = std::mem::take(&mut builder).bytes(TCA_NETEM_RATE64, &rate.to_ne_bytes());
        u32::MAX
    });
    builder
        // struct tc_netem_rate: the overhead and the cells of a packet are none
        .bytes(TCA_NETEM_RATE, &numbers(&[small, 0, 0, 0]))
        .bytes(TCA_NETEM_LATENCY64, &latency.to_ne_bytes())
        .bytes(TCA_NETEM_JITTER64, &jitter.to_ne_bytes())
        .finish()
}

/// Reads options; nothing if they are not netem's.
pub fn decode(options: &[u8]) -> Option<NetemOptions> {
    let (head, rest) = options.split_at_checked(QOPT)?;
    let [latency, limit, loss, gap, duplicate, jitter] = read(head)?;
    let mut netem = Netem {
        latency: u64::from(latency) * TICK,
        jitter: u64::from(jitter) * TICK,
        gap,
        ..Netem::default()
    };
    netem.loss.probability = Probability(loss);
    netem.duplicate.probability = Probability(duplicate);
    let mut others = Vec::new();
    let mut long_rate = 0;
    for attribute in Attributes::new(rest) {
        let long = || Some(u64::from_ne_bytes(attribute.value.try_into().ok()?));
        let chance = || {
            let [probability, correlation] = read(attribute.value)?;
            Some(Chance { probability: Probability(probability), correlation: Probability(correlation) })
        };
        match attribute.kind {
            TCA_NETEM_CORR => {
                let [delay, loss, duplicate] = read(attribute.value)?.map(Probability);
                netem.correlation = delay;
                netem.loss.correlation = loss;
                netem.duplicate.correlation = duplicate;
            }
            TCA_NETEM_REORDER => netem.reorder = chance()?,
            TCA_NETEM_CORRUPT => netem.corrupt = chance()?,
            TCA_NETEM_RATE => {
                let [rate, overhead, cell, cell_overhead] = read(attribute.value)?;
                netem.rate = rate.into();
                if [overhead, cell, cell_overhead] != [0; 3] {
                    others.push(TCA_NETEM_RATE);
                }
            }
            TCA_NETEM_RATE64 => long_rate = long()?,
            TCA_NETEM_LATENCY64 => netem.latency = long()?,
            TCA_NETEM_JITTER64 => netem.jitter = long()?,
            TCA_NETEM_PAD | TCA_NETEM_PRNG_SEED => {}
            other => others.push(other),
        }
    }
    netem.rate = netem.rate.max(long_rate);
    Some(NetemOptions { netem, limit, others })
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

/// Exactly so many numbers; a longer structure of a later kernel is read as far as it is known.
fn read<const COUNT: usize>(bytes: &[u8]) -> Option<[u32; COUNT]> {
    let mut numbers = [0; COUNT];
    let mut chunks = bytes.chunks_exact(4);
    for number in &mut numbers {
        *number = u32::from_ne_bytes(chunks.next()?.try_into().ok()?);
    }
    Some(numbers)
}
