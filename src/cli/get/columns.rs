//! The columns of each kind: kubectl's for its kinds, ours for ours.

use jiff::Timestamp;
use serde_json::Value;

use crate::api::{ChaosStatus, GoDuration};
use crate::report::{Stage, age, stage, word};

/// What stands where there is nothing.
const NONE: &str = "<none>";

/// One column: its header, and what an object shows in it.
struct Column(&'static str, fn(&Value, Timestamp) -> String);

const NAME: Column = Column("NAME", |object, _| text(object, "/metadata/name"));
const AGE: Column = Column("AGE", |object, now| {
    age::of(object.pointer("/metadata/creationTimestamp").and_then(Value::as_str), now)
});
const NAMESPACE: Column = Column("NAMESPACE", |object, _| text(object, "/metadata/namespace"));

const PODS: [Column; 5] = [
    NAME,
    Column("READY", |pod, _| {
        let ready = containers(pod).iter().filter(|container| flag(container, "/ready")).count();
        format!("{ready}/{}", list(pod, "/spec/containers").len())
    }),
    Column("STATUS", |pod, _| pod_status(pod)),
    Column("RESTARTS", restarts),
    AGE,
];
const PODS_WIDE: [Column; 4] = [
    Column("IP", |pod, _| text(pod, "/status/podIP")),
    Column("NODE", |pod, _| text(pod, "/spec/nodeName")),
    Column("NOMINATED NODE", |pod, _| text(pod, "/status/nominatedNodeName")),
    Column("READINESS GATES", |pod, _| match list(pod, "/spec/readinessGates").len() {
        0 => NONE.to_owned(),
        gates => format!("0/{gates}"),
    }),
];

const NODES: [Column; 5] = [
    NAME,
    Column("STATUS", |node, _| node_status(node)),
    Column("ROLES", |node, _| node_roles(node)),
    AGE,
    Column("VERSION", |node, _| text(node, "/status/nodeInfo/kubeletVersion")),
];
const NODES_WIDE: [Column; 5] = [
    Column("INTERNAL-IP", |node, _| node_address(node, "InternalIP")),
    Column("EXTERNAL-IP", |node, _| node_address(node, "ExternalIP")),
    Column("OS-IMAGE", |node, _| text(node, "/status/nodeInfo/osImage")),
    Column("KERNEL-VERSION", |node, _| text(node, "/status/nodeInfo/kernelVersion")),
    Column("CONTAINER-RUNTIME", |node, _| text(node, "/status/nodeInfo/containerRuntimeVersion")),
];

const DEPLOYMENTS: [Column; 5] = [
    NAME,
    Column("READY", |deployment, _| {
        format!("{}/{}", number(deployment, "/status/readyReplicas"), number(deployment, "/spec/replicas"))
    }),
    Column("UP-TO-DATE", |deployment, _| number(deployment, "/status/updatedReplicas")),
    Column("AVAILABLE", |deployment, _| number(deployment, "/status/availableReplicas")),
    AGE,
];
const DEPLOYMENTS_WIDE: [Column; 3] = [
    Column("CONTAINERS", |deployment, _| joined(list(deployment, TEMPLATE), "/name")),
    Column("IMAGES", |deployment, _| joined(list(deployment, TEMPLATE), "/image")),
    Column("SELECTOR", |deployment, _| labels(deployment, "/spec/selector/matchLabels")),
];
const TEMPLATE: &str = "/spec/template/spec/containers";

const REPLICASETS: [Column; 5] = [
    NAME,
    Column("DESIRED", |set, _| number(set, "/spec/replicas")),
    Column("CURRENT", |set, _| number(set, "/status/replicas")),
    Column("READY", |set, _| number(set, "/status/readyReplicas")),
    AGE,
];

const SERVICES: [Column; 6] = [
    NAME,
    Column("TYPE", |service, _| text(service, "/spec/type")),
    Column("CLUSTER-IP", |service, _| text(service, "/spec/clusterIP")),
    Column("EXTERNAL-IP", |service, _| match list(service, "/spec/externalIPs") {
        [] => NONE.to_owned(),
        addresses => joined(addresses, ""),
    }),
    Column("PORT(S)", |service, _| ports(service)),
    AGE,
];
const SERVICES_WIDE: [Column; 1] = [Column("SELECTOR", |service, _| labels(service, "/spec/selector"))];

const NAMESPACES: [Column; 3] =
    [NAME, Column("STATUS", |namespace, _| text(namespace, "/status/phase")), AGE];

const LEASES: [Column; 3] = [NAME, Column("HOLDER", |lease, _| text(lease, "/spec/holderIdentity")), AGE];

const EVENTS: [Column; 5] = [
    Column("LAST SEEN", last_seen),
    Column("TYPE", |event, _| text(event, "/type")),
    Column("REASON", |event, _| text(event, "/reason")),
    Column("OBJECT", |event, _| {
        format!("{}/{}", text(event, "/regarding/kind").to_lowercase(), text(event, "/regarding/name"))
    }),
    Column("MESSAGE", |event, _| text(event, "/note").trim().replace('\n', " ")),
];

const NETWORKCHAOS: [Column; 6] = [
    NAME,
    Column("ACTION", |chaos, _| text(chaos, "/spec/action")),
    Column("PHASE", |chaos, _| {
        word(&status(chaos), chaos.pointer("/metadata/deletionTimestamp").is_some()).to_owned()
    }),
    Column("TARGETS", |chaos, _| {
        status(chaos)
            .experiment
            .targets
            .map_or_else(|| NONE.to_owned(), |counts| format!("{}/{}", counts.injected, counts.selected))
    }),
    Column("REMAINING/DURATION", remaining),
    AGE,
];

const INJECTIONS: [Column; 6] = [
    NAME,
    Column("NODE", |injection, _| text(injection, "/spec/node")),
    Column("EXPERIMENT", |injection, _| {
        format!(
            "{}/{}",
            text(injection, "/spec/experiment/namespace"),
            text(injection, "/spec/experiment/name")
        )
    }),
    Column("WANTED", |injection, _| text(injection, "/status/wanted")),
    Column("INJECTED", |injection, _| {
        let targets = list(injection, "/status/targets").iter();
        let injected = targets.filter(|target| text(target, "/phase") == "Injected").count();
        format!("{injected}/{}", list(injection, "/spec/targets").len())
    }),
    AGE,
];

const HALTS: [Column; 4] = [
    NAME,
    Column("NAMESPACES", |halt, _| match list(halt, "/spec/namespaces") {
        [] => "<all>".to_owned(),
        names => joined(names, ""),
    }),
    Column("REASON", |halt, _| text(halt, "/spec/reason")),
    AGE,
];

const OTHERS: [Column; 2] = [NAME, AGE];

/// The columns of one table.
pub(super) struct Columns(Vec<&'static Column>);

impl Columns {
    /// Those of a resource.
    pub(super) fn of(plural: &str, wide: bool, with_namespace: bool) -> Self {
        let (narrow, more): (&'static [Column], &'static [Column]) = match plural {
            "pods" => (&PODS, &PODS_WIDE),
            "nodes" => (&NODES, &NODES_WIDE),
            "deployments" => (&DEPLOYMENTS, &DEPLOYMENTS_WIDE),
            "replicasets" => (&REPLICASETS, &[]),
            "services" => (&SERVICES, &SERVICES_WIDE),
            "namespaces" => (&NAMESPACES, &[]),
            "leases" => (&LEASES, &[]),
            "events" => (&EVENTS, &[]),
            "networkchaos" => (&NETWORKCHAOS, &[]),
            "injections" => (&INJECTIONS, &[]),
            "halts" => (&HALTS, &[]),
            _ => (&OTHERS, &[]),
        };
        let more = if wide { more } else { &[] };
        let namespace: &'static [Column] = if with_namespace { &[NAMESPACE] } else { &[] };
        Self(namespace.iter().chain(narrow).chain(more).collect())
    }

    /// The first row.
    pub(super) fn headers(&self) -> Vec<String> {
        self.0.iter().map(|column| column.0.to_owned()).collect()
    }

    /// The row of an object.
    pub(super) fn row(&self, object: &Value, now: Timestamp) -> Vec<String> {
        self.0.iter().map(|column| column.1(object, now)).collect()
    }
}

fn text(object: &Value, path: &str) -> String {
    match object.pointer(path) {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => NONE.to_owned(),
    }
}

fn number(object: &Value, path: &str) -> String {
    object.pointer(path).and_then(Value::as_i64).unwrap_or_default().to_string()
}

fn flag(object: &Value, path: &str) -> bool {
    object.pointer(path).and_then(Value::as_bool).unwrap_or_default()
}

fn list<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    object.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn joined(items: &[Value], path: &str) -> String {
    items.iter().map(|item| text(item, path)).collect::<Vec<_>>().join(",")
}

fn labels(object: &Value, path: &str) -> String {
    let labels = object.pointer(path).and_then(Value::as_object);
    let pairs: Vec<_> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { NONE.to_owned() } else { pairs.join(",") }
}

fn containers(pod: &Value) -> &[Value] {
    list(pod, "/status/containerStatuses")
}

/// As kubectl sums a pod up: being deleted, else why its containers do not run, else its phase.
fn pod_status(pod: &Value) -> String {
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        return "Terminating".to_owned();
    }
    let reason = |path: &str| containers(pod).iter().find_map(|container| container.pointer(path)?.as_str());
    reason("/state/waiting/reason")
        .or_else(|| reason("/state/terminated/reason"))
        .or_else(|| pod.pointer("/status/reason")?.as_str())
        .map_or_else(|| text(pod, "/status/phase"), str::to_owned)
}

/// The count, and how long ago the last one was.
fn restarts(pod: &Value, now: Timestamp) -> String {
    let count: i64 =
        containers(pod).iter().filter_map(|container| container.pointer("/restartCount")?.as_i64()).sum();
    let last = containers(pod)
        .iter()
        .filter_map(|container| {
            container.pointer("/lastState/terminated/finishedAt")?.as_str()?.parse::<Timestamp>().ok()
        })
        .max();
    match last.filter(|_| count > 0) {
        Some(last) => format!("{count} ({} ago)", age::since(last, now)),
        None => count.to_string(),
    }
}

fn node_status(node: &Value) -> String {
    let mut conditions = list(node, "/status/conditions").iter();
    let ready = conditions.find(|condition| text(condition, "/type") == "Ready");
    let word = match ready.map(|condition| text(condition, "/status")).as_deref() {
        Some("True") => "Ready",
        Some("False") => "NotReady",
        _ => "Unknown",
    };
    if flag(node, "/spec/unschedulable") { format!("{word},SchedulingDisabled") } else { word.to_owned() }
}

fn node_roles(node: &Value) -> String {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    let roles: Vec<_> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    if roles.is_empty() { NONE.to_owned() } else { roles.join(",") }
}

fn node_address(node: &Value, kind: &str) -> String {
    let mut addresses = list(node, "/status/addresses").iter();
    let address = addresses.find(|address| text(address, "/type") == kind);
    address.map_or_else(|| NONE.to_owned(), |address| text(address, "/address"))
}

fn ports(service: &Value) -> String {
    let ports: Vec<_> = list(service, "/spec/ports")
        .iter()
        .map(|port| {
            let protocol = port.pointer("/protocol").and_then(Value::as_str).unwrap_or("TCP");
            match port.pointer("/nodePort").and_then(Value::as_i64) {
                Some(node) => format!("{}:{node}/{protocol}", text(port, "/port")),
                None => format!("{}/{protocol}", text(port, "/port")),
            }
        })
        .collect();
    if ports.is_empty() { NONE.to_owned() } else { ports.join(",") }
}

/// Of the last occurrence, by whichever field its writer fills.
fn last_seen(event: &Value, now: Timestamp) -> String {
    let paths =
        ["/series/lastObservedTime", "/deprecatedLastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    age::of(paths.iter().find_map(|path| event.pointer(path)?.as_str()), now)
}

fn status(chaos: &Value) -> ChaosStatus {
    // One that cannot be read says nothing.
    chaos.get("status").and_then(|status| serde_json::from_value(status.clone()).ok()).unwrap_or_default()
}

/// How long it still lasts, and how long it lasts in all. The rest counts from the first injection, which the
/// records tell; while it is paused that is not known here.
fn remaining(chaos: &Value, now: Timestamp) -> String {
    let duration = chaos.pointer("/spec/duration").and_then(Value::as_str).filter(|text| !text.is_empty());
    let Some(duration) = duration.and_then(|text| text.parse::<GoDuration>().ok()) else {
        return "-/until stopped".to_owned();
    };
    let status = status(chaos);
    let running = stage(&status) == Stage::Active
        && !status.is(crate::api::ConditionKind::Paused)
        && status.experiment.targets.is_some_and(|targets| targets.injected > 0);
    match first_injection(&status).filter(|_| running) {
        Some(first) => {
            let total = duration.as_nanos() / 1_000_000_000;
            let left = total - (now.as_second() - first.as_second());
            format!("{}/{duration}", age::human(left.clamp(0, total)))
        }
        None => format!("-/{duration}"),
    }
}

fn first_injection(status: &ChaosStatus) -> Option<Timestamp> {
    let events = status.experiment.container_records.iter().flat_map(|record| &record.events);
    let injected = events.filter(|event| event.operation == "Apply" && event.kind == "Succeeded");
    injected.map(|event| event.timestamp.0).min()
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
