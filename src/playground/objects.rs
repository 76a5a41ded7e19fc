//! What is in the cluster at the start: nodes, namespaces, Squall's own parts, the sample services.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt as _};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::API_SOCKET;
use crate::api::SYSTEM_NAMESPACE;
use crate::apiserver::Resource;

/// Where the sample services run.
pub(super) const DEFAULT_NAMESPACE: &str = "default";
/// The label and taint of the control plane's node.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// The label that names a node's machine.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// The playground's machines and their addresses, which are those of the tutorial and for show only.
pub(super) const MACHINES: [(&str, Ipv4Addr); 3] = [
    ("machine1", Ipv4Addr::new(192, 168, 33, 10)),
    ("machine2", Ipv4Addr::new(192, 168, 33, 11)),
    ("machine3", Ipv4Addr::new(192, 168, 33, 12)),
];

/// The sample services as a user would apply them.
const MANIFESTS: [&str; 3] = [
    include_str!("../../sample-services/database/k8s.yaml"),
    include_str!("../../sample-services/movies/k8s.yaml"),
    include_str!("../../sample-services/traffic/k8s.yaml"),
];

/// Why the cluster's first objects could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum ObjectsError {
    #[error("the API server refused {what}")]
    Api {
        what: String,
        #[source]
        source: kube::Error,
    },
    #[error("a manifest of the sample services is not valid YAML")]
    Yaml(#[from] serde_yaml::Error),
    #[error("a built-in object is malformed")]
    Json(#[from] serde_json::Error),
}

/// Makes them all.
pub(super) async fn create(client: &Client, resources: &[Resource]) -> Result<(), ObjectsError> {
    let system: Namespace = serde_json::from_value(json!({ "metadata": { "name": SYSTEM_NAMESPACE } }))?;
    make(&Api::all(client.clone()), &system).await?;
    for (number, (name, address)) in MACHINES.iter().enumerate() {
        make(&Api::all(client.clone()), &node(number, name, *address)?).await?;
    }
    make(&Api::namespaced(client.clone(), SYSTEM_NAMESPACE), &controller()?).await?;
    for manifest in MANIFESTS {
        for document in serde_yaml::Deserializer::from_str(manifest) {
            let value = Value::deserialize(document)?;
            if !value.is_null() {
                apply(client, resources, value).await?;
            }
        }
    }
    Ok(())
}

async fn make<K>(api: &Api<K>, object: &K) -> Result<(), ObjectsError>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let what = || object.name_any();
    let made = api.create(&PostParams::default(), object).await;
    made.map(drop).map_err(|source| ObjectsError::Api { what: what(), source })
}

/// Creates an object of a manifest; kinds that this cluster does not have (a `ServiceMonitor`) are left out.
async fn apply(client: &Client, resources: &[Resource], value: Value) -> Result<(), ObjectsError> {
    let object: DynamicObject = serde_json::from_value(value)?;
    let types = object.types.clone().unwrap_or_default();
    let Ok(kind) = GroupVersionKind::try_from(&types) else { return Ok(()) };
    let known = |r: &&Resource| r.group == kind.group && r.version == kind.version && r.kind == kind.kind;
    let Some(resource) = resources.iter().find(known) else { return Ok(()) };
    let description = ApiResource::from_gvk_with_plural(&kind, resource.plural);
    let api: Api<DynamicObject> = if resource.namespaced {
        let namespace = object.namespace().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        Api::namespaced_with(client.clone(), &namespace, &description)
    } else {
        Api::all_with(client.clone(), &description)
    };
    let what = format!("{} {}", types.kind, object.name_any());
    api.create(&PostParams::default(), &object)
        .await
        .map(drop)
        .map_err(|source| ObjectsError::Api { what, source })
}

fn node(number: usize, name: &str, address: Ipv4Addr) -> Result<Node, serde_json::Error> {
    let mut labels = BTreeMap::from([
        (HOSTNAME, name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
    ]);
    let mut taints = Vec::new();
    if number == 0 {
        labels.insert(CONTROL_PLANE, "");
        taints.push(json!({ "key": CONTROL_PLANE, "effect": "NoSchedule" }));
    } else {
        labels.insert("node-role.kubernetes.io/worker", "");
    }
    let now = jiff::Timestamp::now().to_string();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version = concat!("v1.33.0-squall-", env!("CARGO_PKG_VERSION"));
    serde_json::from_value(json!({
        "metadata": { "name": name, "labels": labels },
        "spec": { "podCIDR": format!("10.244.{number}.0/24"), "taints": taints },
        "status": {
            "addresses": [
                { "type": "InternalIP", "address": address },
                { "type": "Hostname", "address": name },
            ],
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady",
                "message": "the playground's kubelet is posting ready status",
                "lastHeartbeatTime": now, "lastTransitionTime": now,
            }],
            "capacity": { "pods": "253" },
            "allocatable": { "pods": "253" },
            "nodeInfo": {
                "architecture": architecture(), "bootID": "", "machineID": "", "systemUUID": "",
                "containerRuntimeVersion": concat!("squall://", env!("CARGO_PKG_VERSION")),
                "kernelVersion": kernel.trim(), "kubeProxyVersion": version, "kubeletVersion": version,
                "operatingSystem": "linux", "osImage": "Squall playground",
            },
        },
    }))
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The pod of a part of Squall on one node: this program, in the node's own namespaces.
fn part(name: &str, node: &str, arguments: &Value) -> Value {
    json!({
        "nodeName": node,
        "hostNetwork": true,
        "hostPID": true,
        "terminationGracePeriodSeconds": 25,
        "tolerations": [{ "operator": "Exists" }],
        "containers": [{
            "name": name,
            "image": "squall",
            "args": arguments,
            "env": [
                { "name": "SQUALL_API_SOCKET", "value": API_SOCKET },
                { "name": "SQUALL_STATE_DIR", "value": "/var/lib/squall" },
                { "name": "SQUALL_FINDER", "value": "environ" },
                { "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                { "name": "NODE_NAME", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } },
            ],
        }],
    })
}

fn controller() -> Result<Deployment, serde_json::Error> {
    let labels = json!({ "app": "squall-controller" });
    let (node, _) = MACHINES[0];
    let pod = part("controller", node, &json!(["controller", "--failure-image", "hold"]));
    serde_json::from_value(json!({
        "metadata": { "name": "squall-controller", "namespace": SYSTEM_NAMESPACE, "labels": labels },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": pod },
        },
    }))
}

/// Sees to it that each node has a daemon, as a DaemonSet would.
pub(super) async fn ensure_daemons(client: &Client, nodes: &[Node], pods: &[Pod]) -> Result<(), kube::Error> {
    for node in nodes {
        let node = node.name_any();
        let name = format!("squall-daemon-{node}");
        let is_there =
            |pod: &Pod| pod.name_any() == name && pod.namespace().as_deref() == Some(SYSTEM_NAMESPACE);
        if pods.iter().any(is_there) {
            continue;
        }
        let spec = part("daemon", &node, &json!(["daemon", "--node", node]));
        let metadata = json!({ "name": name, "labels": { "app": "squall-daemon" } });
        let pod: Pod = serde_json::from_value(json!({ "metadata": metadata, "spec": spec }))
            .map_err(kube::Error::SerdeError)?;
        let api: Api<Pod> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
        api.create(&PostParams::default(), &pod).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_complete_and_say_where() {
        let mut found = BTreeMap::new();
        for manifest in MANIFESTS {
            for document in serde_yaml::Deserializer::from_str(manifest) {
                let value = Value::deserialize(document).unwrap();
                let kind = value["kind"].as_str().unwrap_or_default();
                let name = value["metadata"]["name"].as_str().unwrap_or_default();
                found.insert(format!("{kind}/{name}"), value.clone());
            }
        }
        for name in ["server-app", "mongo", "traffic"] {
            let deployment = &found[&format!("Deployment/{name}")];
            let app = &deployment["spec"]["template"]["metadata"]["labels"]["app"];
            assert_eq!(app, name, "experiments select by this label");
        }
        for name in ["server-app", "mongo"] {
            assert!(found.contains_key(&format!("Service/{name}")), "no Service {name}");
        }
        assert_eq!(found["Deployment/server-app"]["spec"]["replicas"], 2);
        let node =
            |name: &str| &found[&format!("Deployment/{name}")]["spec"]["template"]["spec"]["nodeSelector"];
        assert_eq!(node("traffic")[HOSTNAME], "machine1");
        assert_eq!(node("mongo")[HOSTNAME], "machine3");
    }

    #[test]
    fn own_objects_are_well_formed() {
        controller().unwrap();
        for (number, (name, address)) in MACHINES.iter().enumerate() {
            let node = node(number, name, *address).unwrap();
            let taints = node.spec.unwrap().taints.unwrap_or_default();
            assert_eq!(taints.is_empty(), number > 0, "{name}");
        }
    }
}
