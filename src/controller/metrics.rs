//! What the controller tells about experiments, where somebody asked for that.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tokio::sync::watch;
use tokio::time::Instant;

use super::kinds::{ExperimentKey, Kind, Served};
use super::stores::Stores;
use crate::api::{ChaosStatus, ConditionKind, NetworkChaos, PodChaos};
use crate::experiment::kind::Experiment;
use crate::metrics::{Labels, Metrics, gauges};
use crate::report::word;

/// How long experiments take from being asked for to being in place on every target.
#[derive(Clone, Debug)]
pub(super) struct Times {
    took: Family<Labels, Histogram, fn() -> Histogram>,
    /// Since when an experiment is to be in place, and is not yet on every target.
    begun: Arc<Mutex<HashMap<ExperimentKey, Instant>>>,
}

/// 50 ms to 51 s.
fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.05, 2.0, 11))
}

impl Times {
    /// Registers it, where there is something to register it with.
    pub(super) fn new(metrics: Option<&Metrics>) -> Self {
        let took = Family::<Labels, Histogram, fn() -> Histogram>::new_with_constructor(histogram);
        if let Some(metrics) = metrics {
            let help = "Time from an experiment being seen, or resumed, to its fault being read back on every target";
            metrics.register("experiment_injection_seconds", help, took.clone());
            for kind in [Kind::NetworkChaos, Kind::PodChaos] {
                drop(took.get_or_create(&vec![("kind", kind.word().to_owned())]));
            }
        }
        Self { took, begun: Arc::default() }
    }

    /// How an experiment is now.
    pub(super) fn saw(&self, experiment: &ExperimentKey, chaos: &dyn Experiment) {
        self.note(experiment, chaos.status(), chaos.metadata().deletion_timestamp.is_some());
    }

    fn note(&self, experiment: &ExperimentKey, status: Option<&ChaosStatus>, deleted: bool) {
        let is = |kind| status.is_some_and(|status| status.is(kind));
        let ended = status.is_some_and(|status| status.experiment.ended.is_some());
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if is(ConditionKind::AllInjected) {
            if let Some(begun) = begun.remove(experiment) {
                let labels = vec![("kind", experiment.kind.word().to_owned())];
                self.took.get_or_create(&labels).observe(begun.elapsed().as_secs_f64());
            }
        } else if deleted || ended || is(ConditionKind::Paused) || is(ConditionKind::Invalid) {
            begun.remove(experiment);
        } else {
            begun.entry(experiment.clone()).or_insert_with(Instant::now);
        }
    }

    /// Forgets experiments that are no more.
    pub(super) fn forget_others(&self, living: &[ExperimentKey]) {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| living.contains(key));
    }
}

/// What is looked up with each scrape.
pub(super) struct World {
    pub(super) stores: Arc<Stores>,
    pub(super) led: watch::Receiver<bool>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

/// Experiments by kind and phase, and their targets by kind and state.
#[derive(Default)]
struct Counts {
    phases: BTreeMap<(&'static str, &'static str), u32>,
    targets: BTreeMap<(&'static str, &'static str), u32>,
}

impl Counts {
    fn add<K: Served>(&mut self, stores: &Stores) {
        let kind = K::KIND.word();
        for experiment in K::store(stores).all() {
            let status = experiment.status().cloned().unwrap_or_default();
            let phase = word(&status, experiment.metadata().deletion_timestamp.is_some());
            *self.phases.entry((kind, phase)).or_default() += 1;
            let counts = status.experiment.targets.unwrap_or_default();
            for (state, count) in [
                ("selected", counts.selected),
                ("injected", counts.injected),
                ("recovered", counts.recovered),
                ("failed", counts.failed),
            ] {
                *self.targets.entry((kind, state)).or_default() += count;
            }
        }
    }
}

impl Collector for World {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut counts = Counts::default();
        counts.add::<NetworkChaos>(&self.stores);
        counts.add::<PodChaos>(&self.stores);
        let samples = |label: &'static str, counts: BTreeMap<(&str, &str), u32>| {
            let sample = |((kind, word), count): ((&str, &str), u32)| {
                (vec![("kind", kind.to_owned()), (label, word.to_owned())], f64::from(count))
            };
            counts.into_iter().map(sample).collect::<Vec<_>>()
        };
        let help = "Experiments by kind and phase, as squall status has them";
        gauges(&mut encoder, "experiments", help, samples("phase", counts.phases))?;
        let help = "Targets of all experiments by kind and state";
        gauges(&mut encoder, "experiment_targets", help, samples("state", counts.targets))?;
        let scope = |namespaces: usize| if namespaces == 0 { "cluster" } else { "namespaces" };
        let mut halts = BTreeMap::from([("cluster", 0_u32), ("namespaces", 0)]);
        for halt in self.stores.halts.all() {
            *halts.entry(scope(halt.spec.namespaces.len())).or_default() += 1;
        }
        let halts =
            halts.into_iter().map(|(scope, count)| (vec![("scope", scope.to_owned())], f64::from(count)));
        gauges(&mut encoder, "halts", "Halts in force, by whether they cover everything", halts)?;
        let leads = f64::from(u8::from(*self.led.borrow()));
        gauges(
            &mut encoder,
            "leader",
            "Whether this controller holds the leader Lease",
            [(Labels::new(), leads)],
        )
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole numbers, which nothing was done to")]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(conditions: &[&str]) -> ChaosStatus {
        let conditions: Vec<_> =
            conditions.iter().map(|kind| json!({ "type": kind, "status": "True" })).collect();
        serde_json::from_value(json!({ "conditions": conditions })).unwrap()
    }

    /// The count, and how long it took in all.
    fn told(metrics: &Metrics) -> (f64, f64) {
        let text = metrics.text().unwrap();
        let value = |name: &str| {
            let series = format!("squall_experiment_injection_seconds_{name}{{kind=\"NetworkChaos\"}} ");
            let line = text.lines().find(|line| line.starts_with(&series));
            line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
        };
        (value("count"), value("sum"))
    }

    #[tokio::test]
    async fn each_injection_is_timed_once_and_pauses_are_left_out() {
        let metrics = Metrics::new("controller");
        let times = Times::new(Some(&metrics));
        let key = ExperimentKey { kind: Kind::NetworkChaos, key: ("default".to_owned(), "cut".to_owned()) };
        let note = |conditions: &[&str]| times.note(&key, Some(&status(conditions)), false);
        let wait = |millis| tokio::time::sleep(std::time::Duration::from_millis(millis));
        times.note(&key, None, false);
        wait(20).await;
        note(&["Selected"]);
        assert_eq!(told(&metrics).0, 0.0);
        note(&["Selected", "AllInjected"]);
        note(&["Selected", "AllInjected"]);
        let (count, first) = told(&metrics);
        assert!(count == 1.0 && first >= 0.02, "{count} {first}");
        // Long, so that it would show.
        note(&["Selected", "Paused"]);
        wait(2_000).await;
        note(&["Selected"]);
        wait(20).await;
        note(&["Selected", "AllInjected"]);
        let (count, both) = told(&metrics);
        assert!(count == 2.0 && (0.02..2.0).contains(&(both - first)), "{count} {first} {both}");
        note(&["Selected"]);
        times.forget_others(&[]);
        note(&["Selected", "AllInjected"]);
        assert_eq!(told(&metrics).0, 2.0, "what was forgotten has no time");
    }
}
