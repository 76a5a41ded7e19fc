//! What a part of Squall tells about itself in Prometheus's format, where an administrator asked for that
//! (`--metrics-listen`). Without it nothing listens, and nothing here runs.
//!
//! A metric is counted where the thing happens: the daemon's in `crate::daemon`, the controller's in `crate::controller`, what is
//! asked of the API server in `crate::client`. Here is what all parts have in common, and how it is served. docs/metrics.md lists
//! them all, and a test holds it to that.

mod process;
mod serve;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use crate::client::tally;
pub use serve::{ServeError, Server};

/// In front of every name of ours.
const PREFIX: &str = "squall";

/// Labels of a sample: name and value.
pub type Labels = Vec<(&'static str, String)>;

/// All metrics of this process. Clones are the same.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Mutex<Registries>>);

#[derive(Debug)]
struct Registries {
    /// Names that all programs have.
    common: Registry,
    ours: Registry,
}

impl Metrics {
    /// What every part tells: which release it is, what the process uses, and what it asked of the API server. `component` is
    /// `controller` or `daemon`.
    pub fn new(component: &'static str) -> Self {
        let mut common = Registry::default();
        common.register_collector(Box::new(process::Process));
        let mut ours = Registry::with_prefix(PREFIX);
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION")), ("component", component)]);
        ours.register("build", "Which release this is", build);
        ours.register_collector(Box::new(Requests));
        Self(Arc::new(Mutex::new(Registries { common, ours })))
    }

    /// One more metric. Counters get `_total` behind their name, and every name `squall_` in front.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.lock().ours.register(name, help, metric);
    }

    /// Metrics that are looked up with each scrape; names get `squall_` in front.
    pub fn collect(&self, collector: impl Collector) {
        self.lock().ours.register_collector(Box::new(collector));
    }

    fn lock(&self) -> MutexGuard<'_, Registries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything, as it is now ([`prometheus_text::CONTENT_TYPE`]).
    ///
    /// # Errors
    /// A metric cannot be written.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        let all = self.lock();
        prometheus_text::encode(&mut text, &all.ours)?;
        prometheus_text::encode(&mut text, &all.common)?;
        Ok(text)
    }
}

/// Writes a family of gauges.
///
/// # Errors
/// It cannot be written.
pub fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels, f64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    samples.into_iter().try_for_each(|(labels, value)| {
        if labels.is_empty() {
            family.encode_gauge(&value)
        } else {
            family.encode_family(&labels)?.encode_gauge(&value)
        }
    })
}

/// Writes a family of counters, which get `_total` behind their name.
///
/// # Errors
/// It cannot be written.
pub fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels, f64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    samples.into_iter().try_for_each(|(labels, value)| {
        if labels.is_empty() {
            return family.encode_counter::<Labels, f64, f64>(&value, None);
        }
        family.encode_family(&labels)?.encode_counter::<Labels, f64, f64>(&value, None)
    })
}

/// What this process asked of the API server.
#[derive(Debug)]
struct Requests;

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = tally::so_far();
        let answers = counts.answers.into_iter().map(|((verb, code), count)| {
            let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
            (vec![("verb", verb.to_owned()), ("code", code)], count)
        });
        let help =
            "Requests to the API server by verb (a watch counts when it begins) and code of the answer";
        counters(&mut encoder, "api_requests", help, answers.map(float))?;
        let failed = counts.failed_watches.into_iter().map(|(kind, count)| (vec![("kind", kind)], count));
        let help = "Watches that failed and were made anew; one that ends in order is none of them";
        counters(&mut encoder, "watch_failures", help, failed.map(float))
    }
}

/// Counts as Prometheus has them.
#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not reached")]
pub const fn float_of(count: u64) -> f64 {
    count as f64
}

fn float((labels, count): (Labels, u64)) -> (Labels, f64) {
    (labels, float_of(count))
}

#[cfg(test)]
mod tests;
