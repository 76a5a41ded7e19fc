//! Dashboards: which pods to ask for their metrics, and what to show of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A file of `templates/steady-state/`, or of the user's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dashboard {
    /// What is above the panels.
    pub title: String,
    /// Whom to ask, and how.
    pub scrape: Scrape,
    /// What to show, in this order.
    pub panels: Vec<Panel>,
}

/// Whom to ask for metrics, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scrape {
    /// The namespaces of the pods; all of them without one.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// The labels that a pod must have.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The port that metrics are served on. Without one it is the pod's annotation `prometheus.io/port`, and pods
    /// whose annotation `prometheus.io/scrape` is not `true` are left out.
    pub port: Option<u16>,
    /// The path that metrics are served at; the annotation `prometheus.io/path` goes before it where `port` is unset.
    #[serde(default = "metrics")]
    pub path: String,
    /// How the pods are reached.
    #[serde(default)]
    pub via: Via,
}

fn metrics() -> String {
    "/metrics".to_owned()
}

/// How long a pod may take to answer. Longer than the [`INTERVAL`] would let scrapes overlap.
pub const TIMEOUT: Duration = Duration::from_millis(900);

/// The time from one scrape of a pod to the next.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// The way to the pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Via {
    /// Through the API server's pod proxy, which reaches every pod from everywhere.
    #[default]
    Proxy,
    /// Straight to the pod's address: costs the API server nothing, works only from within the pod network.
    Direct,
}

/// A chart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Panel {
    /// What is above it.
    pub title: String,
    /// What the values are.
    #[serde(default)]
    pub unit: Unit,
    /// What it shows: one line for each series of each query.
    pub queries: Vec<Query>,
}

/// An expression, and how its series are called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Query {
    /// PromQL.
    pub expr: String,
    /// The name of a line, with labels as `{{path}}`; all labels without it.
    pub legend: Option<String>,
}

/// What a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    /// A number.
    #[default]
    None,
    /// So many in a second.
    PerSecond,
    /// So many in a minute.
    PerMinute,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Of 1: shown as percent.
    Ratio,
    /// Processors.
    Cores,
}
