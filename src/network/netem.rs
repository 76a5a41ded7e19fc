//! What shaping does to packets, in the terms of netem (`net/sched/sch_netem.c`), whichever back end does it.

use std::fmt;
use std::time::Duration;

use crate::api::scalar::{percent, rate};
use crate::api::{GoDuration, Shaping};

/// A probability as netem counts it: a fraction of `2^32 - 1` (`linux/pkt_sched.h`, `struct tc_netem_qopt`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Probability(pub u32);

impl Probability {
    /// It never happens.
    pub const NEVER: Self = Self(0);

    /// It always happens.
    pub const ALWAYS: Self = Self(u32::MAX);

    /// From percent; below 0 is never, above 100 always.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value was brought into the range of u32 before"
    )]
    pub fn from_percent(percent: f64) -> Self {
        let share = (percent / 100.0).clamp(0.0, 1.0);
        Self((share * f64::from(u32::MAX)).round() as u32)
    }

    /// As a number from 0 to 1.
    pub fn share(self) -> f64 {
        f64::from(self.0) / f64::from(u32::MAX)
    }

    /// That at least one of two independent events happens: `1 - (1 - a)(1 - b)`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let (a, b) = (u64::from(self.0), u64::from(other.0));
        let most = u64::from(u32::MAX);
        // Rounded down once, on whole numbers, so that the order of the two does not matter.
        let neither = (most - a) * (most - b) / most;
        Self(u32::try_from(most - neither).unwrap_or(u32::MAX))
    }
}

/// Something that happens to some packets.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Chance {
    /// How often.
    pub probability: Probability,
    /// How much it depends on what happened to the packet before.
    pub correlation: Probability,
}

impl Chance {
    /// Both of two faults at work. The correlation of a mix is netem's of neither; the greater one is taken.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            probability: self.probability.or(other.probability),
            correlation: self.correlation.max(other.correlation),
        }
    }
}

/// Everything that is done to the packets of one class.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Netem {
    /// How long each packet waits, in nanoseconds.
    pub latency: u64,
    /// How far that varies up and down, evenly spread, in nanoseconds.
    pub jitter: u64,
    /// How much a packet's wait depends on that of the one before.
    pub correlation: Probability,
    /// Packets that are lost.
    pub loss: Chance,
    /// Packets that are sent twice.
    pub duplicate: Chance,
    /// Packets of which one bit is flipped.
    pub corrupt: Chance,
    /// Packets that are sent at once while the others wait.
    pub reorder: Chance,
    /// Only every so many-th packet may be sent at once; 0 if none is.
    pub gap: u32,
    /// Bytes per second; no limit at 0.
    pub rate: u64,
}

/// Packets that may wait for each nanosecond of delay, as `1 / PER_PACKET`: a million a second, more than one core
/// sends.
const PER_PACKET: u64 = 1_000;

/// Packets that may wait whatever the delay: netem's own default (`tc-netem(8)`, limit).
const LIMIT_LEAST: u64 = 1_000;

/// Packets that may wait at most, so that a long delay cannot fill the memory.
const LIMIT_MOST: u64 = 500_000;

/// Most that netem's wait can vary, in nanoseconds: it cuts down what is more (`netem_change`).
pub const JITTER_MOST: u64 = 0x7fff_ffff;

impl Netem {
    /// From the blocks of an experiment.
    ///
    /// # Errors
    /// A text that no validated experiment has: which block, and what is wrong.
    pub fn of(shaping: &Shaping) -> Result<Self, String> {
        let mut netem = Self::default();
        if let Some(delay) = &shaping.delay {
            netem.latency = nanoseconds("delay.latency", &delay.latency)?;
            netem.jitter = nanoseconds("delay.jitter", &delay.jitter)?;
            netem.correlation = share("delay.correlation", &delay.correlation)?;
            if let Some(reorder) = &delay.reorder {
                netem.reorder = chance("delay.reorder", &reorder.reorder, &reorder.correlation)?;
                // Without a gap netem would not reorder at all.
                netem.gap = u32::try_from(reorder.gap).unwrap_or_default().max(1);
            }
        }
        if let Some(loss) = &shaping.loss {
            netem.loss = chance("loss", &loss.loss, &loss.correlation)?;
        }
        if let Some(duplicate) = &shaping.duplicate {
            netem.duplicate = chance("duplicate", &duplicate.duplicate, &duplicate.correlation)?;
        }
        if let Some(corrupt) = &shaping.corrupt {
            netem.corrupt = chance("corrupt", &corrupt.corrupt, &corrupt.correlation)?;
        }
        if let Some(block) = &shaping.rate {
            netem.rate = rate(&block.rate).map_err(|what| format!("rate: {what}"))?.div_ceil(8);
        }
        Ok(netem)
    }

    /// The longest that a packet can wait.
    pub const fn longest(&self) -> Duration {
        Duration::from_nanos(self.latency.saturating_add(self.jitter))
    }

    /// How many packets may wait. With netem's default of 1,000, 150 ms of delay would let no more than 6,667 packets
    /// a second pass, and nobody would be told.
    pub fn limit(&self) -> u32 {
        let waiting = self.latency.saturating_add(self.jitter) / PER_PACKET;
        let limit = LIMIT_LEAST.saturating_add(waiting).min(LIMIT_MOST);
        u32::try_from(limit).unwrap_or(u32::MAX)
    }

    /// Both of two faults at work on one packet: waits add up, losses combine, the lower rate counts.
    /// Commutative, and associative but for the last digit of a probability.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let lower = |a: u64, b: u64| if a == 0 || b == 0 { a.max(b) } else { a.min(b) };
        Self {
            latency: self.latency.saturating_add(other.latency),
            jitter: self.jitter.saturating_add(other.jitter),
            correlation: self.correlation.max(other.correlation),
            loss: self.loss.and(other.loss),
            duplicate: self.duplicate.and(other.duplicate),
            corrupt: self.corrupt.and(other.corrupt),
            reorder: self.reorder.and(other.reorder),
            gap: u32::try_from(lower(self.gap.into(), other.gap.into())).unwrap_or(u32::MAX),
            rate: lower(self.rate, other.rate),
        }
    }

    /// Whether it leaves every packet alone.
    pub fn is_nothing(&self) -> bool {
        let Self { latency, jitter, loss, duplicate, corrupt, rate, .. } = self;
        let never = |chance: &Chance| chance.probability == Probability::NEVER;
        *latency == 0 && *jitter == 0 && *rate == 0 && never(loss) && never(duplicate) && never(corrupt)
    }
}

impl fmt::Display for Netem {
    /// In a line, as evidence and previews say it: `delay 150ms ±10ms, loss 1%`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |nanoseconds: u64| GoDuration::from_std(Duration::from_nanos(nanoseconds));
        let percent = |probability: Probability| (probability.share() * 1e4).round() / 100.0;
        let correlated = |correlation: Probability| match correlation {
            Probability::NEVER => String::new(),
            some => format!(" correlated {}%", percent(some)),
        };
        let mut parts = Vec::new();
        if self.latency > 0 || self.jitter > 0 {
            let jitter = if self.jitter > 0 { format!(" ±{}", time(self.jitter)) } else { String::new() };
            parts.push(format!("delay {}{jitter}{}", time(self.latency), correlated(self.correlation)));
        }
        let chances = [
            ("loss", self.loss),
            ("duplicate", self.duplicate),
            ("corrupt", self.corrupt),
            ("reorder", self.reorder),
        ];
        for (word, chance) in chances {
            if chance.probability != Probability::NEVER {
                parts.push(format!(
                    "{word} {}%{}",
                    percent(chance.probability),
                    correlated(chance.correlation)
                ));
            }
        }
        if self.rate > 0 {
            parts.push(format!("rate {}bps", self.rate));
        }
        if parts.is_empty() {
            parts.push("nothing".to_owned());
        }
        formatter.write_str(&parts.join(", "))
    }
}

fn nanoseconds(block: &str, text: &str) -> Result<u64, String> {
    let duration: GoDuration = text.parse().map_err(|error| format!("{block}: {error}"))?;
    u64::try_from(duration.as_nanos()).map_err(|_negative| format!("{block}: {text} is negative"))
}

fn share(block: &str, text: &str) -> Result<Probability, String> {
    // The API's default of a correlation may be absent in objects that no API server has seen.
    if text.is_empty() {
        return Ok(Probability::NEVER);
    }
    percent(text).map(Probability::from_percent).map_err(|what| format!("{block}: {what}"))
}

fn chance(block: &str, probability: &str, correlation: &str) -> Result<Chance, String> {
    Ok(Chance { probability: share(block, probability)?, correlation: share(block, correlation)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percent_and_back() {
        assert_eq!(Probability::from_percent(0.0), Probability::NEVER);
        assert_eq!(Probability::from_percent(100.0), Probability::ALWAYS);
        assert_eq!(Probability::from_percent(250.0), Probability::ALWAYS);
        assert_eq!(Probability::from_percent(-1.0), Probability::NEVER);
        assert_eq!(Probability::from_percent(f64::NAN), Probability::NEVER);
        // tc qdisc add … netem loss 25%: 0x40000000 on the wire
        assert_eq!(Probability::from_percent(25.0).0, 0x4000_0000);
    }

    #[test]
    fn two_halves_make_three_quarters() {
        let half = Probability::from_percent(50.0);
        assert!((half.or(half).share() - 0.75).abs() < 1e-6);
        assert_eq!(Probability::NEVER.or(half), half);
        assert_eq!(half.or(Probability::ALWAYS), Probability::ALWAYS);
    }

    #[test]
    fn the_limit_lets_a_million_packets_a_second_through() {
        let limit =
            |milliseconds: u64| Netem { latency: milliseconds * 1_000_000, ..Netem::default() }.limit();
        assert_eq!((limit(0), limit(150), limit(10_000)), (1_000, 151_000, 500_000));
    }

    #[test]
    fn the_blocks_of_an_experiment_become_numbers() {
        let shaping: Shaping = serde_json::from_value(serde_json::json!({
            "delay": {"latency": "150ms", "jitter": "0.5ms", "correlation": "25",
                "reorder": {"reorder": "50", "correlation": "", "gap": 0}},
            "loss": {"loss": "10"},
            "rate": {"rate": "10mbit"},
        }))
        .unwrap();
        let netem = Netem::of(&shaping).unwrap();
        assert_eq!(
            (netem.latency, netem.jitter, netem.gap, netem.rate),
            (150_000_000, 500_000, 1, 1_250_000)
        );
        assert_eq!(netem.correlation, Probability::from_percent(25.0));
        assert_eq!(netem.loss.probability, Probability::from_percent(10.0));
        assert_eq!(netem.duplicate, Chance::default());
        assert_eq!(
            netem.to_string(),
            "delay 150ms ±500µs correlated 25%, loss 10%, reorder 50%, rate 1250000bps"
        );
        let bad: Shaping = serde_json::from_value(serde_json::json!({"loss": {"loss": "much"}})).unwrap();
        assert_eq!(Netem::of(&bad), Err("loss: \"much\" is not a number".to_owned()));
    }

    proptest! {
        #[test]
        fn any_order_gives_the_same(a in netem(), b in netem()) {
            prop_assert_eq!(a.and(b), b.and(a));
            prop_assert_eq!(a.and(Netem::default()), a);
        }
    }

    fn chance() -> impl Strategy<Value = Chance> {
        (any::<u32>(), any::<u32>()).prop_map(|(probability, correlation)| Chance {
            probability: Probability(probability),
            correlation: Probability(correlation),
        })
    }

    fn netem() -> impl Strategy<Value = Netem> {
        (any::<[u32; 5]>(), chance(), chance(), chance(), chance()).prop_map(
            |([latency, jitter, correlation, gap, rate], loss, duplicate, corrupt, reorder)| Netem {
                latency: latency.into(),
                jitter: jitter.into(),
                correlation: Probability(correlation),
                loss,
                duplicate,
                corrupt,
                reorder,
                gap,
                rate: rate.into(),
            },
        )
    }
}
