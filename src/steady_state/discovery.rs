//! Which pods are asked for metrics, at which port and path; of those that are not, why not.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::dashboard::{INTERVAL, Scrape, Via};

/// How many pods are asked at most: more would be a monitoring system.
pub const MAX_ENDPOINTS: usize = 200;

/// How many pods that are left out are named; all are counted.
pub const MAX_LEFT_OUT: usize = 50;

/// Says whether a pod wants to be asked.
const SCRAPE: &str = "prometheus.io/scrape";
/// The port to ask.
const PORT: &str = "prometheus.io/port";
/// The path to ask for.
const PATH: &str = "prometheus.io/path";
/// `http` or `https`.
const SCHEME: &str = "prometheus.io/scheme";

/// What a container's port that serves metrics is called.
const PORT_NAMES: [&str; 3] = ["metrics", "http-metrics", "prometheus"];

/// What has to be known of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The node that it runs on; empty while it has none.
    pub node: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Named TCP ports of its containers.
    pub ports: Vec<(String, u16)>,
    /// Its first address.
    pub address: Option<IpAddr>,
    /// Whether it runs and is not being deleted.
    pub runs: bool,
}

impl From<&Pod> for Facts {
    fn from(pod: &Pod) -> Self {
        let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
        let ports = spec.into_iter().flat_map(|spec| &spec.containers).filter_map(|it| it.ports.as_ref());
        let ports = ports.flatten().filter(|port| port.protocol.as_deref().is_none_or(|it| it == "TCP"));
        let ports =
            ports.filter_map(|port| Some((port.name.clone()?, u16::try_from(port.container_port).ok()?)));
        let of_phase = status.and_then(|status| status.phase.as_deref());
        Self {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            node: spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            // Only these are looked at: others may be large.
            annotations: [SCRAPE, PORT, PATH, SCHEME]
                .iter()
                .filter_map(|key| pod.metadata.annotations.as_ref()?.get_key_value(*key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            ports: ports.collect(),
            address: status.and_then(|status| status.pod_ip.as_ref()?.parse().ok()),
            runs: of_phase == Some("Running") && pod.metadata.deletion_timestamp.is_none(),
        }
    }
}

/// Where a pod's metrics are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID.
    pub uid: String,
    /// The node that the pod runs on.
    pub node: String,
    /// How it is reached.
    pub reach: Reach,
    /// The port.
    pub port: u16,
    /// The path, with its leading slash, and the query if there is one.
    pub path: String,
}

/// How an endpoint is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reach {
    /// By the API server, which speaks `http` with the pod, or `https` without a look at its certificate.
    Proxy {
        /// Whether it is `https`.
        tls: bool,
    },
    /// At the pod's address, by `http`.
    Direct(IpAddr),
}

impl Endpoint {
    /// `namespace/pod`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.namespace, self.pod)
    }

    /// When in each [`INTERVAL`] its turn is. A pod keeps its turn, and different pods have different ones: fifty at once
    /// would be a load that nobody else sees.
    pub fn offset(&self) -> Duration {
        let hash = self.uid.bytes().chain(self.pod.bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let interval = u64::try_from(INTERVAL.as_millis()).unwrap_or(1).max(1);
        // The high bits are the well mixed ones.
        Duration::from_millis((hash >> 20) % interval)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}{}", self.namespace, self.pod, self.port, self.path)
    }
}

/// Whom to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// Those that are asked, by namespace and name.
    pub endpoints: Vec<Endpoint>,
    /// Pods with the namespaces and labels of the rules that are not asked: the first [`MAX_LEFT_OUT`].
    pub left_out: Vec<LeftOut>,
    /// How many there are of those.
    pub left_out_in_all: usize,
}

impl Discovery {
    /// The pods that would be asked if their port were known: the user has to name it.
    pub fn need_port(&self) -> impl Iterator<Item = &LeftOut> {
        self.left_out.iter().filter(|pod| pod.why == Why::NeedsPort)
    }
}

/// A pod that is not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// `namespace/pod`.
    pub pod: String,
    /// Why not.
    pub why: Why,
}

/// Why a pod is not asked. The text says what cures it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It does not run.
    #[error("it does not run")]
    NotRunning,
    /// Nothing says that it has metrics.
    #[error("its annotation prometheus.io/scrape is not \"true\"; the dashboard may name a port instead")]
    NotAnnotated,
    /// The dashboard names its labels, and nobody its port.
    #[error("nothing tells its port: name one in the dashboard, or in its annotation prometheus.io/port")]
    NeedsPort,
    /// The annotation is wrong.
    #[error("its annotation prometheus.io/port is \"{0}\", which is no port from 1 to 65535")]
    BadPort(String),
    /// The path cannot be asked for.
    #[error("\"{0}\" is no path: write it as in a URL, with %20 for a space")]
    BadPath(String),
    /// The annotation is wrong.
    #[error("its annotation prometheus.io/scheme is \"{0}\", which is neither http nor https")]
    BadScheme(String),
    /// It wants TLS, and there is nobody who vouches for its certificate.
    #[error(
        "it serves metrics by https, which only the API server's proxy can: set `via: proxy` in the dashboard"
    )]
    Tls,
    /// It has no address yet.
    #[error("it has no address yet")]
    NoAddress,
    /// There are too many.
    #[error("{MAX_ENDPOINTS} pods are asked already, which are the most: narrow the labels in the dashboard")]
    TooMany,
}

/// Whom `rules` mean among `pods`.
pub fn endpoints<'p>(rules: &Scrape, pods: impl IntoIterator<Item = &'p Facts>) -> Discovery {
    let mut pods: Vec<_> = pods.into_iter().filter(|pod| is_meant(rules, pod)).collect();
    pods.sort_by_key(|pod| (&pod.namespace, &pod.name));
    let mut found = Discovery::default();
    for pod in pods {
        let endpoint = endpoint(rules, pod);
        let endpoint =
            if found.endpoints.len() < MAX_ENDPOINTS { endpoint } else { endpoint.and(Err(Why::TooMany)) };
        match endpoint {
            Ok(endpoint) => found.endpoints.push(endpoint),
            Err(why) => {
                found.left_out_in_all += 1;
                if found.left_out.len() < MAX_LEFT_OUT {
                    found.left_out.push(LeftOut { pod: format!("{}/{}", pod.namespace, pod.name), why });
                }
            }
        }
    }
    found
}

fn is_meant(rules: &Scrape, pod: &Facts) -> bool {
    (rules.namespaces.is_empty() || rules.namespaces.contains(&pod.namespace))
        && rules.labels.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
}

fn endpoint(rules: &Scrape, pod: &Facts) -> Result<Endpoint, Why> {
    if !pod.runs {
        return Err(Why::NotRunning);
    }
    let annotation = |key: &str| pod.annotations.get(key).map(|value| value.trim());
    let (port, path) = match rules.port {
        Some(port) => (port, rules.path.as_str()),
        None => (port_of(rules, pod)?, annotation(PATH).unwrap_or(&rules.path)),
    };
    let tls = match annotation(SCHEME).unwrap_or("http") {
        "http" => false,
        "https" => true,
        other => return Err(Why::BadScheme(other.to_owned())),
    };
    let reach = match rules.via {
        Via::Proxy => Reach::Proxy { tls },
        Via::Direct if tls => return Err(Why::Tls),
        Via::Direct => Reach::Direct(pod.address.ok_or(Why::NoAddress)?),
    };
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    // A fragment would not be sent, and other characters would end the request's line.
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte)) {
        return Err(Why::BadPath(path));
    }
    Ok(Endpoint {
        namespace: pod.namespace.clone(),
        pod: pod.name.clone(),
        uid: pod.uid.clone(),
        node: pod.node.clone(),
        reach,
        port,
        path,
    })
}

/// The port of a pod where the dashboard names none.
fn port_of(rules: &Scrape, pod: &Facts) -> Result<u16, Why> {
    let wants = pod.annotations.get(SCRAPE).map(|value| value.trim() == "true");
    match wants {
        Some(true) => {}
        // The dashboard names those pods, so that they are meant even though they say nothing.
        None if !rules.labels.is_empty() => {}
        _ => return Err(Why::NotAnnotated),
    }
    if let Some(text) = pod.annotations.get(PORT) {
        let port = text.trim().parse().ok().filter(|port| *port > 0);
        return port.ok_or_else(|| Why::BadPort(text.clone()));
    }
    let named = PORT_NAMES.iter().find_map(|name| pod.ports.iter().find(|(port, _)| port == name));
    named.map(|(_, port)| *port).ok_or(Why::NeedsPort)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(labels: &[(&str, &str)], port: Option<u16>, via: Via) -> Scrape {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Scrape { namespaces: Vec::new(), labels, port, path: "/metrics".to_owned(), via }
    }

    fn facts(annotations: &[(&str, &str)]) -> Facts {
        let annotations =
            annotations.iter().map(|(key, value)| (format!("prometheus.io/{key}"), (*value).to_owned()));
        Facts {
            namespace: "default".to_owned(),
            name: "pod".to_owned(),
            uid: "uid".to_owned(),
            node: "machine1".to_owned(),
            labels: [("app".to_owned(), "server-app".to_owned())].into(),
            annotations: annotations.collect(),
            ports: vec![("web".to_owned(), 80)],
            address: Some([10, 0, 0, 1].into()),
            runs: true,
        }
    }

    /// Port, path and scheme of the one pod, or why not.
    fn told(rules: &Scrape, pod: &Facts) -> Result<(u16, String, Reach), Why> {
        let mut found = endpoints(rules, [pod]);
        assert_eq!(found.endpoints.len() + found.left_out.len(), 1, "{found:?}");
        match found.endpoints.pop() {
            Some(endpoint) => Ok((endpoint.port, endpoint.path, endpoint.reach)),
            None => Err(found.left_out.remove(0).why),
        }
    }

    #[test]
    fn port_and_path_come_from_the_dashboard_then_from_the_pod() {
        let app = [("app", "server-app")].as_slice();
        let by_port = rules(app, Some(8080), Via::Proxy);
        let by_label = rules(app, None, Via::Proxy);
        let all = rules(&[], None, Via::Proxy);
        let annotated = [("scrape", "true"), ("port", "9100"), ("path", "m?x=1")].as_slice();
        let plain = Reach::Proxy { tls: false };
        let ok = |port, path: &str| Ok((port, path.to_owned(), plain));
        assert_eq!(
            told(&by_port, &facts(annotated)),
            ok(8080, "/metrics"),
            "the dashboard's port goes before"
        );
        assert_eq!(told(&by_port, &facts(&[("scrape", "false")])), ok(8080, "/metrics"));
        assert_eq!(told(&by_label, &facts(annotated)), ok(9100, "/m?x=1"));
        assert_eq!(told(&all, &facts(annotated)), ok(9100, "/m?x=1"));
        assert_eq!(told(&all, &facts(&[])), Err(Why::NotAnnotated));
        assert_eq!(told(&all, &facts(&[("port", "9100")])), Err(Why::NotAnnotated));
        assert_eq!(told(&all, &facts(&[("scrape", "true")])), Err(Why::NeedsPort));
        assert_eq!(told(&by_label, &facts(&[])), Err(Why::NeedsPort), "the labels were named on purpose");
        assert_eq!(told(&by_label, &facts(&[("scrape", "false")])), Err(Why::NotAnnotated));
        for port in ["0", "65536", "web", ""] {
            let pod = facts(&[("scrape", "true"), ("port", port)]);
            assert_eq!(told(&all, &pod), Err(Why::BadPort(port.to_owned())));
        }
        let mut pod = facts(&[]);
        pod.ports.extend([("http-metrics".to_owned(), 9000), ("metrics".to_owned(), 9001)]);
        assert_eq!(told(&by_label, &pod), ok(9001, "/metrics"));
        for path in ["a b", "x#y", "/ü", "/a\r\nHost: b"] {
            let pod = facts(&[("scrape", "true"), ("port", "1"), ("path", path)]);
            assert!(matches!(told(&all, &pod), Err(Why::BadPath(_))), "{path}");
        }
    }

    #[test]
    fn the_way_to_a_pod() {
        let direct = rules(&[], Some(80), Via::Direct);
        let reach = |rules: &Scrape, pod: &Facts| told(rules, pod).map(|(_, _, reach)| reach);
        assert_eq!(reach(&direct, &facts(&[])), Ok(Reach::Direct([10, 0, 0, 1].into())));
        let pod = Facts { address: "fd00::1".parse().ok(), ..facts(&[]) };
        assert_eq!(reach(&direct, &pod), Ok(Reach::Direct("fd00::1".parse().unwrap())));
        assert_eq!(reach(&direct, &Facts { address: None, ..facts(&[]) }), Err(Why::NoAddress));
        assert_eq!(reach(&direct, &Facts { runs: false, ..facts(&[]) }), Err(Why::NotRunning));
        assert_eq!(reach(&direct, &facts(&[("scheme", "https")])), Err(Why::Tls));
        let proxy = rules(&[], Some(80), Via::Proxy);
        assert_eq!(reach(&proxy, &facts(&[("scheme", "https")])), Ok(Reach::Proxy { tls: true }));
        assert_eq!(reach(&proxy, &facts(&[("scheme", "gopher")])), Err(Why::BadScheme("gopher".to_owned())));
        assert_eq!(reach(&proxy, &Facts { address: None, ..facts(&[]) }), Ok(Reach::Proxy { tls: false }));
    }

    #[test]
    fn others_are_not_mentioned_and_too_many_are() {
        let pods: Vec<_> = (0..300)
            .rev()
            .map(|number| Facts { name: format!("pod-{number:03}"), uid: number.to_string(), ..facts(&[]) })
            .collect();
        let of_other = rules(&[("app", "mongo")], Some(80), Via::Proxy);
        assert_eq!(endpoints(&of_other, &pods), Discovery::default());
        let elsewhere = Scrape { namespaces: vec!["other".to_owned()], ..rules(&[], Some(80), Via::Proxy) };
        assert_eq!(endpoints(&elsewhere, &pods), Discovery::default());
        let found = endpoints(&rules(&[], Some(80), Via::Proxy), &pods);
        assert_eq!((found.endpoints.len(), found.endpoints[0].pod.as_str()), (MAX_ENDPOINTS, "pod-000"));
        assert_eq!((found.left_out.len(), found.left_out_in_all), (MAX_LEFT_OUT, 100));
        assert_eq!(
            (found.left_out[0].pod.as_str(), &found.left_out[0].why),
            ("default/pod-200", &Why::TooMany)
        );
        let found = endpoints(&rules(&[("app", "server-app")], None, Via::Proxy), &pods);
        assert_eq!(found.need_port().count(), MAX_LEFT_OUT);
    }

    #[test]
    fn turns_are_spread_over_the_interval_and_kept() {
        let endpoint = |number: u32| Endpoint {
            namespace: "default".to_owned(),
            pod: format!("server-app-7d9c6b8f5d-{number}"),
            uid: format!("00000000-0000-4000-8000-{number:012}"),
            node: String::new(),
            reach: Reach::Proxy { tls: false },
            port: 80,
            path: "/metrics".to_owned(),
        };
        let mut tenths = [0; 10];
        for number in 0..200 {
            let offset = endpoint(number).offset();
            assert_eq!(offset, endpoint(number).offset());
            tenths[usize::try_from(offset.as_millis()).unwrap() / 100] += 1;
        }
        assert!(tenths.iter().all(|count| (8..=35).contains(count)), "{tenths:?}");
    }

    #[test]
    fn facts_of_a_pod() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"namespace": "default", "name": "a", "uid": "u", "labels": {"app": "x"},
                "annotations": {"prometheus.io/scrape": "true", "other": "large"}},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [
                {"containerPort": 1, "name": "metrics", "protocol": "UDP"}, {"containerPort": 2},
                {"containerPort": 3, "name": "metrics"}]}]},
            "status": {"phase": "Running", "podIP": "fd00::7"},
        }))
        .unwrap();
        let facts = Facts::from(&pod);
        assert_eq!(facts.ports, [("metrics".to_owned(), 3)]);
        assert_eq!((facts.address, facts.runs), ("fd00::7".parse().ok(), true));
        assert_eq!(facts.annotations.keys().collect::<Vec<_>>(), ["prometheus.io/scrape"]);
        assert_eq!((facts.namespace.as_str(), facts.node.as_str()), ("default", "n"));
    }
}
