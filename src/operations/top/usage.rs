//! What the containers of our pods use, as the kubelets of their nodes measure it: read through the API server from
//! `/api/v1/nodes/NODE/proxy/metrics/resource`, which takes the right to get `nodes/proxy`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Limited};
use k8s_openapi::api::core::v1::Pod;
use kube::client::Body;
use kube::{Client, ResourceExt};
use tokio::time::{Instant, timeout};

use crate::api::SYSTEM_NAMESPACE;
use crate::report::top::{Seen, Usage};
use crate::report::{Right, Trouble};
use crate::steady_state::exposition::{self, Format};

/// Processor time, in seconds since the container's start.
const CPU: &str = "container_cpu_usage_seconds_total";

/// The working set, in bytes.
const MEMORY: &str = "container_memory_working_set_bytes";

/// How long a kubelet may take. One that is away must not hold up what others say.
const PATIENCE: Duration = Duration::from_secs(2);

/// The largest answer: a kubelet tells five lines for each container.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// How many kubelets are asked at the same time.
const PARALLEL: usize = 16;

/// How many are asked in one look, those first that were not asked for longest: a thousand nodes are many requests.
const AT_ONCE: usize = 50;

/// A kubelet that did not answer is asked again after so long.
const RETRY: Duration = Duration::from_secs(10);

/// What was measured of the pods of a node at one time.
type Measured = BTreeMap<String, Sample>;

/// What a kubelet told of one pod.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sample {
    cpu_seconds: f64,
    memory_bytes: f64,
    /// When the kubelet took it, in milliseconds since 1970, if it says so; else when it was asked.
    at_ms: i64,
}

/// What is known of one node.
#[derive(Default)]
struct OfNode {
    asked: Option<Instant>,
    last: Measured,
    /// By pod, in cores.
    rates: BTreeMap<String, f64>,
    failure: Option<Failure>,
}

/// Why a kubelet told nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    /// A right is missing.
    Refused(Box<Trouble>),
    /// It does not answer, or the API server does not reach it.
    Away(String),
    /// It does not know the path, or tells something else there.
    Other(String),
}

/// Asks kubelets, and keeps what they said last.
pub(super) struct Meter {
    client: Client,
    nodes: BTreeMap<String, OfNode>,
}

impl Meter {
    pub(super) const fn new(client: Client) -> Self {
        Self { client, nodes: BTreeMap::new() }
    }

    /// Whether the processor time of something is known once and no rate is yet.
    pub(super) fn is_waiting(&self) -> bool {
        let waits = |node: &OfNode| {
            node.failure.is_none() && node.last.keys().any(|pod| !node.rates.contains_key(pod))
        };
        self.nodes.values().any(|node| node.asked.is_none() || waits(node))
    }

    /// Writes what our pods use, and what is not known of it.
    pub(super) async fn measure(&mut self, seen: &mut Seen) {
        let places: BTreeMap<String, String> = seen.pods.iter().filter_map(place).collect();
        let nodes: BTreeSet<&String> = places.values().collect();
        self.nodes.retain(|name, _| nodes.contains(name));
        for node in nodes {
            self.nodes.entry(node.clone()).or_default();
        }
        self.ask().await;
        for (pod, node) in &places {
            if let Some(node) = self.nodes.get(node) {
                seen.usage.insert(pod.clone(), node.usage(pod));
            }
        }
        seen.unknown.extend(self.troubles());
    }

    /// Asks those whose turn it is.
    async fn ask(&mut self) {
        let now = Instant::now();
        let is_due = |node: &OfNode| {
            node.failure.is_none() || node.asked.is_none_or(|asked| now.duration_since(asked) >= RETRY)
        };
        let mut due: Vec<_> = self.nodes.iter().filter(|(_, node)| is_due(node)).collect();
        due.sort_by_key(|(_, node)| node.asked);
        let due: Vec<String> = due.into_iter().take(AT_ONCE).map(|(name, _)| name.clone()).collect();
        let client = &self.client;
        let answers = stream::iter(due).map(|name| async move {
            let answer = timeout(PATIENCE, read(client, &name)).await;
            let answer =
                answer.unwrap_or_else(|_late| Err(Failure::Away(format!("no answer within {PATIENCE:?}"))));
            (name, answer)
        });
        let answers: Vec<_> = answers.buffer_unordered(PARALLEL).collect().await;
        for (name, answer) in answers {
            let node = self.nodes.entry(name).or_default();
            node.asked = Some(now);
            match answer {
                Ok(measured) => node.take(measured),
                Err(failure) => {
                    *node = OfNode { asked: node.asked, failure: Some(failure), ..OfNode::default() }
                }
            }
        }
    }

    /// What is not known, once for all nodes of which the same is to be said.
    fn troubles(&self) -> Vec<Trouble> {
        let mut all: Vec<(Trouble, Vec<&str>)> = Vec::new();
        for (name, node) in &self.nodes {
            let Some(failure) = &node.failure else { continue };
            let trouble = failure.trouble();
            match all.iter_mut().find(|(known, _)| *known == trouble) {
                Some((_, nodes)) => nodes.push(name),
                None => all.push((trouble, vec![name.as_str()])),
            }
        }
        let named = |(trouble, nodes): (Trouble, Vec<&str>)| Trouble {
            what: format!("CPU and memory on {}", some(&nodes)),
            why: Some(trouble.to_string()),
            cure: trouble.cure,
        };
        all.into_iter().map(named).collect()
    }
}

/// The first three, and how many more there are.
fn some(names: &[&str]) -> String {
    let named = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(3);
    if more > 0 { format!("{named} and {more} more") } else { named }
}

/// A pod of ours, and its node.
fn place(pod: &Pod) -> Option<(String, String)> {
    let ours = pod.namespace().is_none_or(|namespace| namespace == SYSTEM_NAMESPACE);
    ours.then_some((pod.name_any(), pod.spec.as_ref()?.node_name.clone()?))
}

impl Failure {
    /// As a cell of a table.
    const fn word(&self) -> &'static str {
        match self {
            Self::Refused(_) => "no right",
            Self::Away(_) => "no answer",
            Self::Other(_) => "not known",
        }
    }

    fn trouble(&self) -> Trouble {
        match self {
            Self::Refused(trouble) => (**trouble).clone(),
            Self::Away(why) => Trouble::new(format!("the kubelet does not answer: {why}")),
            Self::Other(why) => Trouble::new(why.clone()),
        }
    }
}

impl OfNode {
    /// A kubelet measures less often than it is asked: the same sample again says nothing new.
    fn take(&mut self, measured: Measured) {
        self.failure = None;
        self.rates.retain(|pod, _| measured.contains_key(pod));
        for (pod, new) in &measured {
            let Some(old) = self.last.get(pod) else { continue };
            if new.at_ms <= old.at_ms {
                continue;
            }
            let (used, passed) = (new.cpu_seconds - old.cpu_seconds, millis(new.at_ms - old.at_ms));
            // A container that was started anew counts from nothing.
            if used < 0.0 {
                self.rates.remove(pod);
            } else {
                self.rates.insert(pod.clone(), used / passed.as_secs_f64());
            }
        }
        self.last = measured;
    }

    fn usage(&self, pod: &str) -> Usage {
        let sample = self.last.get(pod);
        let memory = sample.filter(|sample| sample.memory_bytes >= 0.0);
        let unknown = match (&self.failure, sample) {
            (Some(failure), _) => Some(failure.word()),
            (None, None) if self.asked.is_some() => Some("not known"),
            // A second sample is on its way.
            (None, _) => (!self.rates.contains_key(pod)).then_some("…"),
        };
        Usage {
            cpu_cores: self.rates.get(pod).copied(),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "bytes are whole and not negative"
            )]
            memory_bytes: memory.map(|sample| sample.memory_bytes as u64),
            unknown: unknown.map(str::to_owned),
        }
    }
}

fn millis(count: i64) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or_default())
}

/// Asks one kubelet.
async fn read(client: &Client, node: &str) -> Result<Measured, Failure> {
    let path = format!("/api/v1/nodes/{node}/proxy/metrics/resource");
    let request = http::Request::get(path).header(http::header::ACCEPT, Format::ACCEPT).body(Body::empty());
    let request = request.map_err(|error| Failure::Other(error.to_string()))?;
    let response =
        client.send(request).await.map_err(|error| Failure::Away(crate::operations::why(&error)))?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map_err(|error| Failure::Away(error.to_string()))?.to_bytes();
    if !parts.status.is_success() {
        return Err(refusal(parts.status, &body));
    }
    let format =
        Format::of(parts.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()));
    measured(&body, format, jiff::Timestamp::now().as_millisecond())
}

/// What an answer that is none means.
fn refusal(status: http::StatusCode, body: &[u8]) -> Failure {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let message = answer.get("message").and_then(serde_json::Value::as_str).map(str::to_owned);
    let message = message.unwrap_or_else(|| String::from_utf8_lossy(body).trim().chars().take(200).collect());
    match status.as_u16() {
        401 | 403 => {
            let who = Right::of_refusal(&message).map_or_else(|| "you".to_owned(), |(who, _)| who);
            let right = Right::new("get", "", "nodes/proxy", None);
            let trouble = Trouble::new(format!("{who} may not {right}"));
            let grant = right.grant(&who);
            let warning = "which lets its holder do anything on every node (docs/security.md)";
            Failure::Refused(Box::new(trouble.cure(format!("{grant}, {warning}"))))
        }
        404 => Failure::Other("no kubelet tells /metrics/resource there".to_owned()),
        500.. => Failure::Away(message),
        _ => Failure::Other(format!("{status}: {message}")),
    }
}

/// Sums up what an answer tells of the containers of our pods.
fn measured(body: &[u8], format: Format, asked_ms: i64) -> Result<Measured, Failure> {
    let mut all = Measured::new();
    let wanted = |name: &str| name == CPU || name == MEMORY;
    let read = exposition::read(body, format, wanted, |sample| {
        let label =
            |name: &str| sample.labels.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref());
        let (Some(namespace), Some(pod)) = (label("namespace"), label("pod")) else { return };
        if namespace != SYSTEM_NAMESPACE || !sample.value.is_finite() {
            return;
        }
        let known = all.entry(pod.to_owned()).or_default();
        known.at_ms = known.at_ms.max(sample.timestamp_ms.unwrap_or(asked_ms));
        match sample.name.as_ref() {
            CPU => known.cpu_seconds += sample.value,
            _ => known.memory_bytes += sample.value,
        }
    });
    read.map(|_summary| all).map_err(|foreign| Failure::Other(foreign.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a kubelet of Kubernetes 1.36 writes it, shortened.
    fn answer(cpu: f64, at_ms: i64) -> String {
        format!(
            "# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds\n\
             # TYPE container_cpu_usage_seconds_total counter\n\
             container_cpu_usage_seconds_total{{container=\"daemon\",namespace=\"squall-system\",pod=\"squall-daemon-x\"}} {cpu} {at_ms}\n\
             container_cpu_usage_seconds_total{{container=\"side\",namespace=\"squall-system\",pod=\"squall-daemon-x\"}} 1 {at_ms}\n\
             container_cpu_usage_seconds_total{{container=\"mongo\",namespace=\"default\",pod=\"mongo\"}} 99 {at_ms}\n\
             # TYPE container_memory_working_set_bytes gauge\n\
             container_memory_working_set_bytes{{container=\"daemon\",namespace=\"squall-system\",pod=\"squall-daemon-x\"}} 2.936013e+06 {at_ms}\n\
             node_cpu_usage_seconds_total 4000 {at_ms}\n\
             scrape_error 0\n"
        )
    }

    #[test]
    fn processor_time_is_the_difference_of_two_samples() {
        let pod = "squall-daemon-x";
        let mut node = OfNode { asked: Some(Instant::now()), ..OfNode::default() };
        let read = |cpu, at_ms| measured(answer(cpu, at_ms).as_bytes(), Format::Text, 7).unwrap();
        assert_eq!(read(1.0, 1000).keys().collect::<Vec<_>>(), [pod], "pods of others are not ours");
        node.take(read(1.0, 1000));
        let first = Usage { cpu_cores: None, memory_bytes: Some(2_936_013), unknown: Some("…".to_owned()) };
        assert_eq!(node.usage(pod), first);
        // The kubelet has not measured again.
        node.take(read(1.0, 1000));
        assert_eq!(node.usage(pod), first);
        node.take(read(1.5, 11_000));
        assert_eq!(node.usage(pod).cpu_cores, Some(0.05));
        assert_eq!(node.usage(pod).unknown, None);
        // Started anew: there is no rate until the next one.
        node.take(read(0.1, 21_000));
        assert_eq!(node.usage(pod).cpu_cores, None);
        node.take(read(0.2, 22_000));
        assert!((node.usage(pod).cpu_cores.unwrap() - 0.1).abs() < 1e-9);
        assert_eq!(node.usage("other").unknown.as_deref(), Some("not known"));
    }

    #[test]
    fn why_nothing_is_known_is_said_with_what_cures_it() {
        let forbidden = br#"{"message": "nodes \"m\" is forbidden: User \"ann\" cannot get resource \"nodes/proxy\" in API group \"\" at the cluster scope"}"#;
        let refused = refusal(http::StatusCode::FORBIDDEN, forbidden);
        assert_eq!(refused.word(), "no right");
        let trouble = refused.trouble();
        assert_eq!(trouble.what, "ann may not get nodes/proxy");
        assert!(trouble.cure.unwrap().starts_with(
            "kubectl create clusterrole squall-get-nodes-proxy --verb=get --resource=nodes/proxy"
        ));
        let away =
            refusal(http::StatusCode::BAD_GATEWAY, b"error trying to reach service: connection refused");
        assert_eq!(
            (away.word(), away.trouble().what.as_str()),
            ("no answer", "the kubelet does not answer: error trying to reach service: connection refused")
        );
        assert_eq!(refusal(http::StatusCode::NOT_FOUND, b"404 page not found").word(), "not known");
        assert_eq!(measured(b"<html>no</html>", Format::Text, 0).unwrap_err().word(), "not known");
    }
}
