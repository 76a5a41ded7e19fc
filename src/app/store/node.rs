//! A node as the console shows it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use crate::app::list::Row;

/// What is kept of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its UID.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// `Ready`, `NotReady` or `Unknown`, with `,SchedulingDisabled` where it is cordoned, as for kubectl.
    pub status: String,
    /// Its kubelet's version.
    pub version: String,
    /// Its first internal address.
    pub address: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Row for NodeRow {
    fn id(&self) -> &str {
        &self.uid
    }
}

impl NodeRow {
    /// What is shown of `node`.
    pub fn new(node: &Node) -> Self {
        let status = node.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
        let mut word = match ready.map(|condition| condition.status.as_str()) {
            Some("True") => "Ready",
            Some("False") => "NotReady",
            _ => "Unknown",
        }
        .to_owned();
        if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
            word.push_str(",SchedulingDisabled");
        }
        let addresses = status.and_then(|status| status.addresses.as_deref()).unwrap_or_default();
        let address = addresses.iter().find(|address| address.type_ == "InternalIP");
        Self {
            uid: node.uid().unwrap_or_default(),
            name: node.name_any(),
            status: word,
            version: status
                .and_then(|status| Some(status.node_info.as_ref()?.kubelet_version.clone()))
                .unwrap_or_default(),
            address: address.map(|address| address.address.clone()).unwrap_or_default(),
            created: node.creation_timestamp().map(|created| created.0),
            labels: node.labels().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ready_cordoned_and_silent() {
        for (ready, cordoned, expected) in [
            ("True", false, "Ready"),
            ("True", true, "Ready,SchedulingDisabled"),
            ("False", false, "NotReady"),
            ("Unknown", false, "Unknown"),
        ] {
            let node = json!({"metadata": {"name": "n", "uid": "u"}, "spec": {"unschedulable": cordoned}, "status": {
                "conditions": [{"type": "Ready", "status": ready}],
                "addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.1"}],
            }});
            let row = NodeRow::new(&serde_json::from_value(node).unwrap());
            assert_eq!((row.status.as_str(), row.address.as_str()), (expected, "10.0.0.1"));
        }
    }
}
