//! A pod as the console shows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use crate::app::list::Row;
use crate::steady_state::discovery::Facts;

/// What is kept of a pod: a cluster has tens of thousands, and an object has some ten kilobytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRow {
    /// Its UID.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The node that it runs on; empty while it has none.
    pub node: String,
    /// Its first address; empty while it has none.
    pub address: String,
    /// One word, as kubectl's column STATUS.
    pub status: String,
    /// Containers that are ready.
    pub ready: u32,
    /// Containers in all.
    pub containers: Vec<String>,
    /// How often containers were started again.
    pub restarts: u32,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Its labels; pods of one Deployment have the same, and share them.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Those of its annotations that say where its metrics are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Named ports of its containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<(String, u16)>,
}

impl Row for PodRow {
    fn id(&self) -> &str {
        &self.uid
    }
}

impl PodRow {
    /// What is shown of `pod`.
    pub fn new(pod: &Pod) -> Self {
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        let statuses = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
        let facts = Facts::from(pod);
        let restarts: i32 = statuses.iter().map(|container| container.restart_count).sum();
        Self {
            uid: facts.uid,
            namespace: facts.namespace,
            name: facts.name,
            node: facts.node,
            address: status.and_then(|status| status.pod_ip.clone()).unwrap_or_default(),
            status: word(pod),
            ready: u32::try_from(statuses.iter().filter(|container| container.ready).count())
                .unwrap_or(u32::MAX),
            containers: spec
                .map(|spec| spec.containers.iter().map(|container| container.name.clone()).collect())
                .unwrap_or_default(),
            restarts: u32::try_from(restarts).unwrap_or(0),
            created: pod.creation_timestamp().map(|created| created.0),
            labels: Arc::new(facts.labels),
            annotations: facts.annotations,
            ports: facts.ports,
        }
    }

    /// What has to be known of it to ask it for metrics.
    pub fn facts(&self) -> Facts {
        Facts {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            node: self.node.clone(),
            labels: BTreeMap::clone(&self.labels),
            annotations: self.annotations.clone(),
            ports: self.ports.clone(),
            address: self.address.parse().ok(),
            // It may answer although one of its containers does not do well.
            runs: !matches!(
                self.status.as_str(),
                "Terminating" | "Pending" | "Succeeded" | "Completed" | "Evicted"
            ),
        }
    }

    /// `1/2`.
    pub fn ready_of_all(&self) -> String {
        format!("{}/{}", self.ready, self.containers.len())
    }

    /// Whether it does what it is there for.
    pub fn is_well(&self) -> bool {
        match self.status.as_str() {
            "Running" => usize::try_from(self.ready).is_ok_and(|ready| ready == self.containers.len()),
            "Succeeded" | "Completed" => true,
            _ => false,
        }
    }
}

/// kubectl's word for the state of a pod: its end, else the first container that waits or ended, else its phase.
fn word(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let Some(status) = &pod.status else { return "Unknown".to_owned() };
    if let Some(reason) = &status.reason {
        return reason.clone();
    }
    let mut all =
        status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
    all.find_map(trouble).or_else(|| status.phase.clone()).unwrap_or_else(|| "Unknown".to_owned())
}

fn trouble(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        return waiting.reason.clone();
    }
    let ended = state.terminated.as_ref()?;
    match (&ended.reason, ended.exit_code) {
        (Some(reason), code) if code != 0 || reason != "Completed" => Some(reason.clone()),
        (None, code) if code != 0 => Some(format!("ExitCode:{code}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn row(status: &Value) -> PodRow {
        let pod = json!({
            "metadata": {"name": "mongo-1", "namespace": "default", "uid": "u", "labels": {"app": "mongo"},
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "machine3", "containers": [{"name": "mongo"}, {"name": "sidecar"}]},
            "status": status,
        });
        PodRow::new(&serde_json::from_value(pod).unwrap())
    }

    fn container(state: &Value) -> Value {
        json!({"name": "mongo", "image": "i", "imageID": "i", "ready": false, "restartCount": 3, "state": state})
    }

    #[test]
    fn words_of_kubectl() {
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let failed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let nameless = json!({"terminated": {"exitCode": 2}});
        let running = json!({"running": {}});
        for (status, expected) in [
            (json!({"phase": "Pending"}), "Pending"),
            (json!({}), "Unknown"),
            (json!({"phase": "Failed", "reason": "Evicted"}), "Evicted"),
            (json!({"phase": "Running", "containerStatuses": [container(&running)]}), "Running"),
            (json!({"phase": "Running", "containerStatuses": [container(&waiting)]}), "CrashLoopBackOff"),
            (json!({"phase": "Running", "containerStatuses": [container(&failed)]}), "OOMKilled"),
            (json!({"phase": "Running", "containerStatuses": [container(&nameless)]}), "ExitCode:2"),
        ] {
            assert_eq!(row(&status).status, expected, "{status}");
        }
    }

    #[test]
    fn what_is_kept() {
        let status = json!({"phase": "Running", "podIP": "10.1.0.7", "containerStatuses": [container(&json!({"running": {}}))]});
        let row = row(&status);
        assert_eq!((row.ready_of_all().as_str(), row.restarts, row.address.as_str()), ("0/2", 3, "10.1.0.7"));
        assert!(!row.is_well(), "no container is ready");
    }
}
