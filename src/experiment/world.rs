//! What is known of the cluster at one moment: pods, nodes, Services and their endpoints.
//!
//! Built anew when something in it changed and then only read, so that every experiment of one pass
//! sees the same cluster.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

/// The label that ties an `EndpointSlice` to its Service (`discovery.k8s.io/v1`, `LabelServiceName`).
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// The cluster at one moment.
#[derive(Default)]
pub struct World {
    pods: Vec<Arc<Pod>>,
    by_uid: HashMap<String, usize>,
    nodes: Vec<Arc<Node>>,
    node_by_name: HashMap<String, usize>,
    services: Vec<Arc<Service>>,
    slices: HashMap<(String, String), Vec<Arc<EndpointSlice>>>,
}

impl World {
    /// From what the watches hold, in any order.
    pub fn new(
        mut pods: Vec<Arc<Pod>>,
        mut nodes: Vec<Arc<Node>>,
        services: Vec<Arc<Service>>,
        slices: Vec<Arc<EndpointSlice>>,
    ) -> Self {
        pods.sort_by(|a, b| pod_key(a).cmp(&pod_key(b)));
        pods.dedup_by(|a, b| pod_key(a) == pod_key(b));
        nodes.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        nodes.dedup_by(|a, b| a.metadata.name == b.metadata.name);
        let node_by_name = nodes.iter().enumerate().map(|(index, node)| (node.name_any(), index)).collect();
        let by_uid = pods.iter().enumerate().filter_map(|(index, pod)| Some((pod.uid()?, index))).collect();
        let mut by_service: HashMap<_, Vec<_>> = HashMap::new();
        for slice in slices {
            let Some(service) = slice.labels().get(SERVICE_NAME_LABEL) else { continue };
            let key = (slice.namespace().unwrap_or_default(), service.clone());
            by_service.entry(key).or_default().push(slice);
        }
        Self { pods, by_uid, nodes, node_by_name, services, slices: by_service }
    }

    /// Every pod once, ordered by namespace and name.
    pub fn pods(&self) -> &[Arc<Pod>] {
        &self.pods
    }

    /// The pods of a namespace, ordered by name.
    pub fn pods_of(&self, namespace: &str) -> &[Arc<Pod>] {
        let namespace_of = |pod: &Arc<Pod>| pod.metadata.namespace.as_deref().cmp(&Some(namespace));
        let begin = self.pods.partition_point(|pod| namespace_of(pod).is_lt());
        let rest = self.pods.get(begin..).unwrap_or_default();
        rest.get(..rest.partition_point(|pod| namespace_of(pod).is_eq())).unwrap_or_default()
    }

    /// The pod with this UID, if it still exists.
    pub fn pod(&self, uid: &str) -> Option<&Arc<Pod>> {
        self.by_uid.get(uid).and_then(|index| self.pods.get(*index))
    }

    /// Every node, ordered by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter()
    }

    /// The node of this name, if it exists.
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.node_by_name.get(name).and_then(|index| self.nodes.get(*index))
    }

    /// Every Service.
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }

    /// The `EndpointSlice`s of a Service.
    pub fn slices(&self, namespace: &str, service: &str) -> &[Arc<EndpointSlice>] {
        self.slices.get(&(namespace.to_owned(), service.to_owned())).map_or(&[], Vec::as_slice)
    }
}

/// What orders pods and tells them apart at one moment.
fn pod_key(pod: &Pod) -> (Option<&str>, Option<&str>) {
    (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref())
}

/// Whether all containers of the pod have ended for good. Its addresses may belong to another pod by now.
pub fn has_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether the pod has any of [`pod_addresses`].
pub fn has_address(pod: &Pod) -> bool {
    !has_finished(pod) && address_texts(pod).any(|text| text.parse::<IpAddr>().is_ok())
}

fn address_texts(pod: &Pod) -> impl Iterator<Item = &str> {
    let status = pod.status.as_ref();
    let all = status.and_then(|status| status.pod_ips.as_ref()).into_iter().flatten();
    all.map(|address| address.ip.as_str()).chain(status.and_then(|status| status.pod_ip.as_deref()))
}

/// The addresses of a pod, of both families; none of a pod that has finished.
pub fn pod_addresses(pod: &Pod) -> Vec<IpAddr> {
    if has_finished(pod) {
        return Vec::new();
    }
    let mut addresses: Vec<_> = address_texts(pod).filter_map(|text| text.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
