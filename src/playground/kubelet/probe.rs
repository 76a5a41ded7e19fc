//! Probes: is a container ready, is it alive?
//!
//! They come from the sandbox's root network namespace, as a kubelet's come from the node: a fault in the pod's
//! network hits them too.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::Request;
use http_body_util::Empty;
use hyper::body::Bytes;
use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::playground::http_client;

/// Time between attempts until the first success: a start should not wait for a period to pass.
const EAGER: Duration = Duration::from_millis(100);
/// Kubernetes' defaults (core/v1 Probe).
const PERIOD_SECONDS: i32 = 10;
const TIMEOUT_SECONDS: i32 = 1;
const FAILURES: i32 = 3;

/// The probes of one container.
pub(super) struct Probes<'a> {
    container: &'a Container,
    address: Ipv4Addr,
}

impl<'a> Probes<'a> {
    /// The probes of `container`, whose pod has `address`.
    pub(super) fn of(container: &'a Container, address: Ipv4Addr) -> Self {
        Self { container, address }
    }

    /// Ends when the liveness probe has failed often enough.
    pub(super) async fn unhealthy(&self) {
        let Some(probe) = &self.container.liveness_probe else { return std::future::pending().await };
        sleep(seconds(probe.initial_delay_seconds, 0)).await;
        let mut failures = 0;
        while failures < probe.failure_threshold.unwrap_or(FAILURES) {
            sleep(seconds(probe.period_seconds, PERIOD_SECONDS)).await;
            failures = if self.succeeds(probe).await { 0 } else { failures + 1 };
        }
    }

    async fn succeeds(&self, probe: &Probe) -> bool {
        timeout(seconds(probe.timeout_seconds, TIMEOUT_SECONDS), self.attempt(probe)).await.unwrap_or(false)
    }

    async fn attempt(&self, probe: &Probe) -> bool {
        if let Some(get) = &probe.http_get {
            let Some(target) = self.target(&get.port) else { return false };
            let request =
                Request::get(get.path.as_deref().unwrap_or("/")).body(Empty::<Bytes>::new()).map_err(drop);
            let Ok(request) = request else { return false };
            let answer = http_client::send(target, request).await;
            return answer.is_ok_and(|answer| (200..400).contains(&answer.status().as_u16()));
        }
        if let Some(target) = probe.tcp_socket.as_ref().and_then(|tcp| self.target(&tcp.port)) {
            return TcpStream::connect(target).await.is_ok();
        }
        // exec and gRPC: a container whose state cannot be asked for is not called ready.
        false
    }

    fn target(&self, port: &IntOrString) -> Option<SocketAddr> {
        let port = match port {
            IntOrString::Int(port) => *port,
            IntOrString::String(name) => {
                let named =
                    |port: &&k8s_openapi::api::core::v1::ContainerPort| port.name.as_ref() == Some(name);
                self.container.ports.iter().flatten().find(named)?.container_port
            }
        };
        Some((self.address, u16::try_from(port).ok()?).into())
    }
}

/// What the readiness probe has found so far.
pub(super) struct Readiness<'a> {
    probes: &'a Probes<'a>,
    /// The time to the next attempt.
    pause: Duration,
    ready: bool,
    successes: i32,
    failures: i32,
}

impl<'a> Readiness<'a> {
    /// Nothing found yet: not ready.
    pub(super) fn of(probes: &'a Probes<'a>) -> Self {
        let delay = probes.container.readiness_probe.as_ref().and_then(|probe| probe.initial_delay_seconds);
        Self { probes, pause: seconds(delay, 0), ready: false, successes: 0, failures: 0 }
    }

    /// Waits for the next change and tells what it is; for ever if there is no probe.
    pub(super) async fn change(&mut self) -> bool {
        let Some(probe) = &self.probes.container.readiness_probe else {
            return std::future::pending().await;
        };
        loop {
            sleep(self.pause).await;
            if self.probes.succeeds(probe).await {
                (self.successes, self.failures) = (self.successes + 1, 0);
            } else {
                (self.successes, self.failures) = (0, self.failures + 1);
            }
            let ready = if self.ready {
                self.failures < probe.failure_threshold.unwrap_or(FAILURES)
            } else {
                self.successes >= probe.success_threshold.unwrap_or(1)
            };
            self.pause = if ready { seconds(probe.period_seconds, PERIOD_SECONDS) } else { EAGER };
            if ready != self.ready {
                self.ready = ready;
                return ready;
            }
        }
    }
}

fn seconds(value: Option<i32>, default: i32) -> Duration {
    Duration::from_secs(u64::from(value.unwrap_or(default).unsigned_abs()))
}
