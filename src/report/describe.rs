//! An object for people, as `kubectl describe` shows it: what matters of its kind, then its events.

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::Value;

use super::{Happening, age};

/// How wide the names of facts are.
const NAME: usize = 15;

/// Its lines.
pub fn lines(
    kind: &str,
    object: &DynamicObject,
    events: Result<&[Happening], &String>,
    now: Timestamp,
) -> Vec<String> {
    let mut lines = Lines { all: Vec::new(), now };
    lines.metadata(object);
    match kind {
        "Pod" => lines.pod(&object.data),
        "Node" => lines.node(&object.data),
        _ => lines.tree("spec", object.data.get("spec")),
    }
    lines.conditions(&object.data);
    lines.events(events);
    lines.all
}

struct Lines {
    all: Vec<String>,
    now: Timestamp,
}

fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn items<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

/// A value in one line.
fn short(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Lines {
    fn fact(&mut self, name: &str, value: impl AsRef<str>) {
        self.all.push(format!("{:NAME$}{}", format!("{name}:"), value.as_ref()));
    }

    fn known(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.fact(name, value);
        }
    }

    fn heading(&mut self, name: &str) {
        self.all.push(format!("{name}:"));
    }

    fn metadata(&mut self, object: &DynamicObject) {
        self.fact("name", object.name_any());
        self.known("namespace", object.metadata.namespace.as_deref());
        if let Some(created) = object.creation_timestamp() {
            let text = format!("{} ({} ago)", created.0, age::since(created.0, self.now));
            self.fact("created", text);
        }
        if let Some(deleted) = &object.metadata.deletion_timestamp {
            self.fact("deleted", deleted.0.to_string());
        }
        for (name, map) in [("labels", object.labels()), ("annotations", object.annotations())] {
            for (number, (key, value)) in map.iter().enumerate() {
                let value = value.lines().next().unwrap_or_default();
                self.fact(if number == 0 { name } else { "" }, format!("{key}={value}"));
                if number > 0
                    && let Some(last) = self.all.last_mut()
                {
                    *last = last.replacen(':', " ", 1);
                }
            }
        }
        let owners: Vec<_> =
            object.owner_references().iter().map(|owner| format!("{}/{}", owner.kind, owner.name)).collect();
        if !owners.is_empty() {
            self.fact("controlled by", owners.join(", "));
        }
        if !object.finalizers().is_empty() {
            self.fact("finalizers", object.finalizers().join(", "));
        }
    }

    fn pod(&mut self, data: &Value) {
        self.known("node", text(data, "/spec/nodeName"));
        self.known("phase", text(data, "/status/phase"));
        self.known("reason", text(data, "/status/reason"));
        self.known("message", text(data, "/status/message"));
        let addresses: Vec<_> = items(data, "/status/podIPs").filter_map(|ip| text(ip, "/ip")).collect();
        self.known("addresses", Some(addresses.join(", ")).as_deref().filter(|text| !text.is_empty()));
        self.known("restart", text(data, "/spec/restartPolicy"));
        self.heading("containers");
        for container in items(data, "/spec/containers") {
            let name = text(container, "/name").unwrap_or_default();
            let status =
                items(data, "/status/containerStatuses").find(|status| text(status, "/name") == Some(name));
            self.container(name, container, status);
        }
    }

    fn container(&mut self, name: &str, container: &Value, status: Option<&Value>) {
        self.all.push(format!("  {name}"));
        let mut fact =
            |name: &str, value: String| self.all.push(format!("    {:12}{value}", format!("{name}:")));
        if let Some(image) = text(container, "/image") {
            fact("image", image.to_owned());
        }
        let ports: Vec<_> =
            items(container, "/ports").filter_map(|port| port.get("containerPort")).map(short).collect();
        if !ports.is_empty() {
            fact("ports", ports.join(", "));
        }
        for (name, path) in [("requests", "/resources/requests"), ("limits", "/resources/limits")] {
            if let Some(map) = container.pointer(path).and_then(Value::as_object) {
                let all: Vec<_> = map.iter().map(|(key, value)| format!("{key} {}", short(value))).collect();
                fact(name, all.join(", "));
            }
        }
        let Some(status) = status else { return };
        for (state, detail) in status.get("state").and_then(Value::as_object).into_iter().flatten() {
            let said =
                ["/reason", "/message"].iter().filter_map(|path| text(detail, path)).collect::<Vec<_>>();
            let code = detail.get("exitCode").map(|code| format!(" exit code {code}")).unwrap_or_default();
            fact("state", format!("{state}{code} {}", said.join(": ")).trim_end().to_owned());
        }
        if let Some(ready) = status.get("ready") {
            fact("ready", short(ready));
        }
        if let Some(restarts) = status.get("restartCount") {
            fact("restarts", short(restarts));
        }
    }

    fn node(&mut self, data: &Value) {
        for (name, path) in [
            ("kubelet", "/status/nodeInfo/kubeletVersion"),
            ("kernel", "/status/nodeInfo/kernelVersion"),
            ("system", "/status/nodeInfo/osImage"),
            ("runtime", "/status/nodeInfo/containerRuntimeVersion"),
        ] {
            self.known(name, text(data, path));
        }
        for address in items(data, "/status/addresses") {
            if let (Some(kind), Some(address)) = (text(address, "/type"), text(address, "/address")) {
                self.fact("address", format!("{address} ({kind})"));
            }
        }
        for taint in items(data, "/spec/taints") {
            let key = text(taint, "/key").unwrap_or_default();
            let value = text(taint, "/value").map(|value| format!("={value}")).unwrap_or_default();
            self.fact("taint", format!("{key}{value}:{}", text(taint, "/effect").unwrap_or_default()));
        }
        if let Some(allocatable) = data.pointer("/status/allocatable").and_then(Value::as_object) {
            for (name, value) in allocatable {
                self.fact("allocatable", format!("{name} {}", short(value)));
            }
        }
    }

    /// Any value as an indented tree.
    fn tree(&mut self, name: &str, value: Option<&Value>) {
        if let Some(value) = value {
            self.branch(name, value, 0);
        }
    }

    fn branch(&mut self, name: &str, value: &Value, depth: usize) {
        let indent = "  ".repeat(depth);
        match value {
            Value::Object(map) if !map.is_empty() => {
                self.all.push(format!("{indent}{name}:"));
                for (name, value) in map {
                    self.branch(name, value, depth + 1);
                }
            }
            Value::Array(list) if list.iter().any(|item| item.is_object() || item.is_array()) => {
                self.all.push(format!("{indent}{name}:"));
                for item in list {
                    self.branch("-", item, depth + 1);
                }
            }
            Value::Array(list) => {
                let all: Vec<_> = list.iter().map(short).collect();
                self.all.push(format!("{indent}{name}: {}", all.join(", ")));
            }
            other => self.all.push(format!("{indent}{name}: {}", short(other))),
        }
    }

    fn conditions(&mut self, data: &Value) {
        let conditions: Vec<_> = items(data, "/status/conditions").collect();
        if conditions.is_empty() {
            return;
        }
        self.heading("conditions");
        for condition in conditions {
            let part = |path: &str| text(condition, path).unwrap_or_default().replace('\n', "; ");
            let said = [part("/reason"), part("/message")].join(" ");
            self.all.push(
                format!("  {:28}{:8}{}", part("/type"), part("/status"), said.trim()).trim_end().to_owned(),
            );
        }
    }

    fn events(&mut self, events: Result<&[Happening], &String>) {
        self.heading("events");
        match events {
            Ok([]) => self.all.push("  none; the API server forgets them after an hour".to_owned()),
            Ok(events) => {
                self.all.extend(events.iter().map(|event| format!("  {}", event.line(self.now))));
            }
            Err(why) => self.all.push(format!("  not to be had: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn described(kind: &str, object: &Value, events: Result<&[Happening], &String>) -> String {
        let object = serde_json::from_value(object.clone()).unwrap();
        lines(kind, &object, events, "2026-01-01T00:05:00Z".parse().unwrap()).join("\n")
    }

    #[test]
    fn a_pod_with_its_containers_and_events() {
        let pod = json!({
            "metadata": {"name": "mongo-1", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"app": "mongo", "tier": "db"}},
            "spec": {"nodeName": "machine3", "containers": [{"name": "mongo", "image": "mongo:4", "ports": [{"containerPort": 27017}]}]},
            "status": {"phase": "Running", "podIPs": [{"ip": "10.1.0.7"}], "conditions": [{"type": "Ready", "status": "False", "reason": "X"}],
                "containerStatuses": [{"name": "mongo", "ready": false, "restartCount": 2,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}]},
        });
        let event = Happening {
            time: "2026-01-01T00:04:50Z".to_owned(),
            kind: "Warning".to_owned(),
            reason: "BackOff".to_owned(),
            message: "back-off\nrestarting".to_owned(),
            count: 3,
        };
        let text = described("Pod", &pod, Ok(&[event]));
        assert_eq!(
            text,
            "\
name:          mongo-1
namespace:     default
created:       2026-01-01T00:00:00Z (5m ago)
labels:        app=mongo
               tier=db
node:          machine3
phase:         Running
addresses:     10.1.0.7
containers:
  mongo
    image:      mongo:4
    ports:      27017
    state:      waiting CrashLoopBackOff: back-off
    ready:      false
    restarts:   2
conditions:
  Ready                       False   X
events:
  10s ago Warning BackOff: back-off; restarting (×3)"
        );
    }

    #[test]
    fn any_other_kind_as_a_tree_and_why_events_are_missing() {
        let chaos = json!({"metadata": {"name": "d"}, "spec": {"action": "delay", "selector": {"namespaces": ["a", "b"]}, "rules": [{"x": 1}]}});
        let why = "forbidden".to_owned();
        assert_eq!(
            described("NetworkChaos", &chaos, Err(&why)),
            "\
name:          d
spec:
  action: delay
  rules:
    -:
      x: 1
  selector:
    namespaces: a, b
events:
  not to be had: forbidden"
        );
    }
}
