//! Request and process metrics in Prometheus' text format, each set in a registry of its own, so that
//! several services in one process (as in tests) do not mix.

use std::fs;
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use nix::time::{ClockId, clock_gettime};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};

const LABELS: [&str; 3] = ["method", "path", "status"];

/// The request counter and duration histogram of one service, by method, path and status.
#[derive(Clone)]
pub struct RequestMetrics {
    durations: HistogramVec,
    requests: IntCounterVec,
}

impl RequestMetrics {
    /// Registers `<prefix>http_request_duration_seconds` and `<prefix>http_requests_total`.
    pub fn register(registry: &Registry, prefix: &str) -> Result<Self, prometheus::Error> {
        let durations = HistogramVec::new(
            HistogramOpts::new(
                format!("{prefix}http_request_duration_seconds"),
                "Time from request to answer in seconds.",
            )
            .buckets(buckets()),
            &LABELS,
        )?;
        let requests =
            IntCounterVec::new(Opts::new(format!("{prefix}http_requests_total"), "Requests."), &LABELS)?;
        registry.register(Box::new(durations.clone()))?;
        registry.register(Box::new(requests.clone()))?;
        Ok(Self { durations, requests })
    }

    /// Counts one request. `path` must come from a bounded set: route templates, not what a client sent.
    pub fn observe(&self, method: &str, path: &str, status: &str, elapsed: Duration) {
        let labels = [method, path, status];
        self.durations.with_label_values(&labels).observe(elapsed.as_secs_f64());
        self.requests.with_label_values(&labels).inc();
    }
}

/// The label value of a method. HTTP lets clients invent methods; those share one value.
pub fn method_label(method: &Method) -> &'static str {
    const KNOWN: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
    ];
    const NAMES: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    let named = KNOWN.iter().zip(NAMES).find(|(known, _)| *known == method);
    named.map_or("other", |(_, name)| name)
}

/// Upper bounds in seconds: from 50 µs to 10 s, each a quarter above the one before, rounded to four
/// digits so that the `le` labels read well; and exactly 0.1, which the panel "requests under 100 ms" asks for.
fn buckets() -> Vec<f64> {
    const FIRST: f64 = 50e-6;
    const LAST: f64 = 10.0;
    const TARGET: f64 = 0.1;
    let mut bounds = Vec::new();
    let mut bound = FIRST;
    while bound < LAST {
        let digits = 10_f64.powf(3.0 - bound.log10().floor());
        bounds.push((bound * digits).round() / digits);
        bound *= 1.25;
    }
    bounds.extend([TARGET, LAST]);
    bounds.sort_by(f64::total_cmp);
    bounds
}

/// The registry in the text format, as the answer to `GET /metrics`.
pub fn exposition(registry: &Registry) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// CPU time and memory of this process. The prometheus crate's own collector counts whole seconds of CPU
/// time, too coarse for a rate over a few scrapes.
pub struct ProcessMetrics {
    cpu: Opts,
    memory: Opts,
    descriptions: Vec<Desc>,
}

impl ProcessMetrics {
    /// Registers `process_cpu_seconds_total` and `process_resident_memory_bytes`.
    pub fn register(registry: &Registry) -> Result<(), prometheus::Error> {
        let cpu =
            Opts::new("process_cpu_seconds_total", "User and system CPU time of the process in seconds.");
        let memory = Opts::new("process_resident_memory_bytes", "Resident memory of the process in bytes.");
        let mut descriptions = Vec::new();
        for opts in [&cpu, &memory] {
            descriptions.extend(Gauge::with_opts(opts.clone())?.desc().into_iter().cloned());
        }
        registry.register(Box::new(Self { cpu, memory, descriptions }))
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Vec::new();
        if let (Some(seconds), Ok(counter)) = (cpu_seconds(), Counter::with_opts(self.cpu.clone())) {
            counter.inc_by(seconds);
            families.extend(counter.collect());
        }
        if let (Some(bytes), Ok(gauge)) = (resident_bytes(), Gauge::with_opts(self.memory.clone())) {
            gauge.set(bytes);
            families.extend(gauge.collect());
        }
        families
    }
}

fn cpu_seconds() -> Option<f64> {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok()?;
    Some(Duration::from(time).as_secs_f64())
}

/// `VmRSS` of /proc/self/status (`proc_pid_status(5)`), there in units of 1024 bytes. None without /proc.
fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes: u32 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    Some(f64::from(kibibytes) * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_grow_by_a_quarter_and_contain_a_tenth() {
        let bounds = buckets();
        assert_eq!((bounds[0], bounds[bounds.len() - 1]), (50e-6, 10.0));
        assert!(bounds.contains(&0.1), "{bounds:?}");
        for pair in bounds.windows(2) {
            let ratio = pair[1] / pair[0];
            assert!(ratio > 1.0 && ratio < 1.251, "{pair:?} grows by {ratio}");
        }
    }

    #[test]
    fn exposition_has_requests_and_process() {
        let registry = Registry::new();
        let metrics = RequestMetrics::register(&registry, "test_").unwrap();
        ProcessMetrics::register(&registry).unwrap();
        metrics.observe("GET", "/movies/{id}", "200", Duration::from_millis(99));
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for line in [
            "# TYPE test_http_request_duration_seconds histogram",
            "# TYPE process_cpu_seconds_total counter",
            "test_http_requests_total{method=\"GET\",path=\"/movies/{id}\",status=\"200\"} 1",
            "test_http_request_duration_seconds_bucket{method=\"GET\",path=\"/movies/{id}\",status=\"200\",le=\"0.1\"} 1",
        ] {
            assert!(text.lines().any(|have| have == line), "no line {line} in\n{text}");
        }
        let memory = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        assert!(memory.unwrap().parse::<f64>().unwrap() > 100_000.0, "{memory:?}");
    }

    #[test]
    fn invented_methods_share_a_label() {
        assert_eq!(method_label(&Method::POST), "POST");
        assert_eq!(method_label(&Method::from_bytes(b"BREW").unwrap()), "other");
    }
}
