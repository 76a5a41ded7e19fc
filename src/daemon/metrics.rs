//! What the daemon tells about its node's faults, where somebody asked for that. Written by the engine's thread, in which they
//! happen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use super::engine::{Engine, Note, Outcome, Standing};
use super::kernel::{Kernel, Queue};
use super::shaper::Counts;
use super::sys::proc;
use crate::experiment::wanted::Absence;
use crate::metrics::{Labels, Metrics, gauges};

/// How often the shaper is asked what it did: it has packets to see to.
const SHAPER_EVERY: Duration = Duration::from_secs(5);

/// The metrics of one node.
#[derive(Debug)]
pub(super) struct Told {
    targets: Family<Labels, Gauge>,
    injected: Histogram,
    undone: Family<Labels, Histogram, fn() -> Histogram>,
    failures: Family<Labels, Counter>,
    lost: Counter,
    heard: Arc<Heard>,
    packets: Family<Labels, Counter>,
    waiting: Gauge,
    /// What was counted last of each queue.
    queues: BTreeMap<Queue, Counts>,
    asked: Option<Instant>,
}

fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

/// Why a fault goes that is none of its run's reasons: its target is none any more.
const RETARGETED: &str = "Retargeted";

/// Every cause that a fault goes for.
const CAUSES: &[&str] = &[
    Absence::Deleted.word(),
    Absence::Halted.word(),
    Absence::DurationElapsed.word(),
    Absence::NotAfterPassed.word(),
    Absence::Paused.word(),
    Absence::LeaseLost.word(),
    Absence::DaemonStopping.word(),
    RETARGETED,
];

/// What became of a queue's packets, by name.
const fn packets(counts: &Counts) -> [(&'static str, u64); 7] {
    [
        ("seen", counts.seen),
        ("delivered", counts.delivered),
        ("lost", counts.lost),
        ("duplicated", counts.duplicated),
        ("corrupted", counts.corrupted),
        ("overflowed", counts.overflowed),
        ("failed", counts.failed),
    ]
}

/// 1 ms to 33 s.
fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

impl Told {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let told = Self {
            targets: Family::default(),
            injected: histogram(),
            undone: Family::new_with_constructor(histogram as fn() -> Histogram),
            failures: Family::default(),
            lost: Counter::default(),
            heard: Arc::default(),
            packets: Family::default(),
            waiting: Gauge::default(),
            queues: BTreeMap::new(),
            asked: None,
        };
        let targets =
            "Targets on this node: asked for, injected (read back), failed to inject, stuck (failed to undo)";
        metrics.register("targets", targets, told.targets.clone());
        let injected =
            "Time from a fault being asked for on this node to its being read back, of each target";
        metrics.register("injection_seconds", injected, told.injected.clone());
        let undone =
            "Time from a fault having to go to its being read back as gone, of each target, by cause";
        metrics.register("undo_seconds", undone, told.undone.clone());
        let failures = "Changes of targets that failed and are tried again, to inject or to undo";
        metrics.register("failures", failures, told.failures.clone());
        let lost = "Times that a fault was not there any more when it was read back again";
        metrics.register("faults_lost", lost, told.lost.clone());
        let shaped = "Packets of the shaper by what became of them; nothing where netem shapes";
        metrics.register("shaper_packets", shaped, told.packets.clone());
        metrics.register(
            "shaper_packets_waiting",
            "Packets that wait in the shaper now",
            told.waiting.clone(),
        );
        metrics.collect(Arc::clone(&told.heard));
        // What has not happened yet is there as well: a rate needs a first value.
        for cause in CAUSES {
            drop(told.undone.get_or_create(&label("cause", cause)));
        }
        for operation in ["inject", "undo"] {
            drop(told.failures.get_or_create(&label("operation", operation)));
        }
        for (what, _) in packets(&Counts::default()) {
            drop(told.packets.get_or_create(&label("what", what)));
        }
        told
    }

    /// Counts what one look of the engine brought about.
    pub(super) fn count<K: Kernel>(&mut self, engine: &mut Engine<K>, outcome: &Outcome) {
        outcome.notes.iter().for_each(|note| self.note(*note));
        self.stand(engine.standing());
        if self.asked.is_none_or(|asked| asked.elapsed() >= SHAPER_EVERY) {
            self.asked = Some(Instant::now());
            let counts = engine.shaped();
            self.shaped(counts);
        }
    }

    fn note(&self, note: Note) {
        match note {
            Note::Injected(took) => self.injected.observe(took.as_secs_f64()),
            Note::Undone(reason, took) => {
                let cause = reason.map_or(RETARGETED, Absence::word);
                self.undone.get_or_create(&label("cause", cause)).observe(took.as_secs_f64());
            }
            Note::Failed { undo } => {
                let doing = if undo { "undo" } else { "inject" };
                self.failures.get_or_create(&label("operation", doing)).inc();
            }
            Note::Lost => {
                self.lost.inc();
            }
        }
    }

    fn stand(&self, standing: Standing) {
        let Standing { asked, injected, failed, stuck, heard } = standing;
        for (state, count) in [("asked", asked), ("injected", injected), ("failed", failed), ("stuck", stuck)]
        {
            self.targets.get_or_create(&label("state", state)).set(i64::from(count));
        }
        let heard = heard.and_then(|heard| u64::try_from(heard.as_millis()).ok()).unwrap_or_default();
        self.heard.0.store(heard, Ordering::Relaxed);
    }

    /// Adds what queues did since they were asked last. What a queue did between that and its end is missing.
    fn shaped(&mut self, now: Vec<(Queue, Counts)>) {
        let waiting: u64 = now.iter().map(|(_, counts)| counts.waiting).sum();
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        let now: BTreeMap<_, _> = now.into_iter().collect();
        for (queue, counts) in &now {
            // One that did less than before is another one.
            let before = self
                .queues
                .get(queue)
                .copied()
                .filter(|before| before.seen <= counts.seen)
                .unwrap_or_default();
            for ((what, count), (_, before)) in packets(counts).into_iter().zip(packets(&before)) {
                self.packets.get_or_create(&label("what", what)).inc_by(count.saturating_sub(before));
            }
        }
        self.queues = now;
    }
}

/// When the controller was heard last, in milliseconds on `CLOCK_BOOTTIME`; 0 if never.
#[derive(Debug, Default)]
struct Heard(AtomicU64);

impl Collector for Heard {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let heard = Duration::from_millis(self.0.load(Ordering::Relaxed));
        let now = proc::boot_time().ok().filter(|_| !heard.is_zero());
        let age = now.map(|now| (Labels::new(), now.saturating_sub(heard).as_secs_f64()));
        let help = "Time since the controller's heartbeat was heard; at the lease every fault is undone";
        gauges(&mut encoder, "heartbeat_age_seconds", help, age)
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole numbers, which nothing was done to")]
mod tests {
    use super::*;

    fn value(metrics: &Metrics, series: &str) -> f64 {
        let text = metrics.text().unwrap();
        let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series));
        line.unwrap_or_else(|| panic!("no {series} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn what_happens_is_counted_by_its_cause() {
        let metrics = Metrics::new("daemon");
        let told = Told::new(&metrics);
        for note in [
            Note::Injected(Duration::from_millis(3)),
            Note::Undone(Some(Absence::Halted), Duration::from_millis(500)),
            Note::Undone(Some(Absence::Halted), Duration::from_secs(1)),
            Note::Undone(None, Duration::ZERO),
            Note::Failed { undo: true },
            Note::Lost,
        ] {
            told.note(note);
        }
        told.stand(Standing { asked: 3, injected: 2, failed: 1, stuck: 0, heard: None });
        for (series, expected) in [
            ("squall_injection_seconds_count", 1.0),
            ("squall_injection_seconds_sum", 0.003),
            ("squall_undo_seconds_count{cause=\"Halted\"}", 2.0),
            ("squall_undo_seconds_sum{cause=\"Halted\"}", 1.5),
            ("squall_undo_seconds_count{cause=\"Retargeted\"}", 1.0),
            ("squall_failures_total{operation=\"undo\"}", 1.0),
            ("squall_faults_lost_total", 1.0),
            ("squall_targets{state=\"asked\"}", 3.0),
            ("squall_targets{state=\"injected\"}", 2.0),
            ("squall_targets{state=\"stuck\"}", 0.0),
        ] {
            assert_eq!(value(&metrics, series), expected, "{series}");
        }
        let text = metrics.text().unwrap();
        assert!(
            !text.lines().any(|line| line.starts_with("squall_heartbeat_age_seconds ")),
            "nobody was heard"
        );
        let heard = proc::boot_time().unwrap().checked_sub(Duration::from_secs(7)).unwrap();
        told.stand(Standing { heard: Some(heard), ..Standing::default() });
        assert!((7.0..8.0).contains(&value(&metrics, "squall_heartbeat_age_seconds")));
    }

    /// Queues come and go, and what was counted stays.
    #[test]
    fn packets_of_queues_add_up() {
        let metrics = Metrics::new("daemon");
        let mut told = Told::new(&metrics);
        let queue = |number, seen, waiting| {
            (
                ("pod".to_owned(), number),
                Counts { seen, waiting, delivered: seen - waiting, ..Counts::default() },
            )
        };
        told.shaped(vec![queue(1, 100, 10), queue(2, 5, 0)]);
        told.shaped(vec![queue(1, 150, 0)]);
        told.shaped(vec![queue(1, 20, 1)]);
        assert_eq!(value(&metrics, "squall_shaper_packets_total{what=\"seen\"}"), 175.0);
        assert_eq!(value(&metrics, "squall_shaper_packets_waiting"), 1.0);
        told.shaped(Vec::new());
        assert_eq!(value(&metrics, "squall_shaper_packets_waiting"), 0.0);
    }
}
