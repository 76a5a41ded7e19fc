//! What the workers saw, as metrics and samples over HTTP.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::StatusCode;
use prometheus::Registry;
use serde::Deserialize;
use service_support::metrics::{ProcessMetrics, RequestMetrics, exposition};

use crate::samples::{Sample, Samples};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server answered.
    Status(StatusCode),
    /// No whole answer within the time; label value `timeout`.
    Timeout,
    /// Refused, reset, unknown host, broken answer; label value `error`.
    Error,
}

impl Outcome {
    fn label(&self) -> &str {
        match self {
            Self::Status(status) => status.as_str(),
            Self::Timeout => "timeout",
            Self::Error => "error",
        }
    }
}

/// Collects what the workers report.
pub(crate) struct Observer {
    registry: Registry,
    metrics: RequestMetrics,
    samples: Samples,
}

impl Observer {
    pub(crate) fn new(paths: &[String]) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = RequestMetrics::register(&registry, "traffic_")?;
        ProcessMetrics::register(&registry)?;
        Ok(Self { registry, metrics, samples: Samples::new(paths) })
    }

    /// Notes one request, sent at `time`.
    pub(crate) fn record(&self, path: &str, outcome: Outcome, time: SystemTime, elapsed: Duration) {
        self.metrics.observe("GET", path, outcome.label(), elapsed);
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        // Rounded to microseconds, so that the JSON shows no digits that the clock did not give.
        let time =
            Duration::from_micros(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)).as_secs_f64();
        let (path, status) = (path.to_owned(), outcome.label().to_owned());
        self.samples.push(Sample { time, path, status, seconds: elapsed.as_secs_f64() });
    }
}

/// `/metrics` and `/samples`.
pub(crate) fn router(observer: Arc<Observer>) -> Router {
    Router::new()
        .route(
            "/metrics",
            get(|State(observer): State<Arc<Observer>>| async move { exposition(&observer.registry) }),
        )
        .route("/samples", get(samples))
        .with_state(observer)
}

#[derive(Deserialize)]
struct Filter {
    path: Option<String>,
}

/// One JSON object a line (NDJSON).
async fn samples(State(observer): State<Arc<Observer>>, Query(filter): Query<Filter>) -> Response {
    let mut lines = String::new();
    for sample in observer.samples.of(filter.path.as_deref()) {
        match serde_json::to_string(&sample) {
            Ok(line) => lines.extend([line.as_str(), "\n"]),
            Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
    ([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response()
}
