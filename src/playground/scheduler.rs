//! Which node a pod runs on. The choice is a pure function; the loop around it is the controllers'.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

/// Binds every pod that has no node yet, and says of those that fit nowhere why.
pub(super) async fn reconcile(client: &Client, nodes: &[Node], pods: &mut [Pod]) -> Result<(), kube::Error> {
    let unbound: Vec<usize> =
        (0..pods.len()).filter(|index| pods.get(*index).is_some_and(is_unbound)).collect();
    for index in unbound {
        let Some(pod) = pods.get(index) else { continue };
        let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        let name = pod.name_any();
        match choose(pod, nodes, pods) {
            Ok(node) => {
                let patch = Patch::Merge(json!({ "spec": { "nodeName": node } }));
                let bound = api.patch(&name, &PatchParams::default(), &patch).await?;
                if let Some(slot) = pods.get_mut(index) {
                    *slot = bound;
                }
            }
            Err(message) if is_told(pod, &message) => {}
            Err(message) => {
                let condition = json!({
                    "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
                    "lastTransitionTime": Timestamp::now().to_string(),
                });
                let patch =
                    Patch::Merge(json!({ "status": { "phase": "Pending", "conditions": [condition] } }));
                api.patch_status(&name, &PatchParams::default(), &patch).await?;
            }
        }
    }
    Ok(())
}

fn is_unbound(pod: &Pod) -> bool {
    let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    !bound && pod.metadata.deletion_timestamp.is_none()
}

fn is_told(pod: &Pod, message: &str) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.message.as_deref() == Some(message))
}

/// The node for `pod`: of those that it fits, the one with the fewest pods of the same owner, then the first by name.
fn choose(pod: &Pod, nodes: &[Node], pods: &[Pod]) -> Result<String, String> {
    let owner = controller_uid(pod);
    let siblings = |node: &Node| {
        let here = Some(node.name_any());
        let on_node = |other: &&Pod| other.spec.as_ref().and_then(|spec| spec.node_name.clone()) == here;
        pods.iter().filter(on_node).filter(|other| owner.is_some() && controller_uid(other) == owner).count()
    };
    let mut reasons = BTreeMap::<String, usize>::new();
    let mut best: Option<(usize, String)> = None;
    for node in nodes {
        if let Some(reason) = obstacle(pod, node) {
            *reasons.entry(reason).or_default() += 1;
            continue;
        }
        let candidate = (siblings(node), node.name_any());
        best = Some(match best {
            Some(best) => best.min(candidate),
            None => candidate,
        });
    }
    best.map(|(_, name)| name).ok_or_else(|| {
        let reasons: Vec<_> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        format!("0/{} nodes are available: {}.", nodes.len(), reasons.join(", "))
    })
}

fn controller_uid(pod: &Pod) -> Option<&str> {
    let owners = pod.owner_references();
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

/// Why the pod cannot run on the node.
fn obstacle(pod: &Pod, node: &Node) -> Option<String> {
    let spec = node.spec.as_ref();
    if spec.and_then(|spec| spec.unschedulable).unwrap_or(false) {
        return Some("node(s) were unschedulable".to_owned());
    }
    let selector = pod.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
    if selector.into_iter().flatten().any(|(key, value)| node.labels().get(key) != Some(value)) {
        return Some("node(s) didn't match Pod's node affinity/selector".to_owned());
    }
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let taints = spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let hard = taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
    hard.into_iter()
        .find(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
        .map(|taint| format!("node(s) had untolerated taint {{{}}}", taint.key))
}

/// As in core/v1: an empty key with `Exists` tolerates everything, an empty effect every effect.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let value = toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default();
    (effect.is_empty() || effect == taint.effect)
        && ((key.is_empty() && exists) || key == taint.key)
        && (exists || value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, from_value};

    fn node(name: &str, taints: &Value) -> Node {
        from_value(json!({
            "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
            "spec": { "taints": taints },
        }))
        .unwrap()
    }

    fn cluster() -> Vec<Node> {
        let control = json!([{ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" }]);
        vec![node("machine3", &json!([])), node("machine1", &control), node("machine2", &json!([]))]
    }

    fn pod(owner: &str, node: &Value, spec: &Value) -> Pod {
        let mut pod: Pod = from_value(json!({
            "metadata": { "name": "p", "ownerReferences": [
                { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": owner, "controller": true },
            ] },
            "spec": { "containers": [], "nodeName": node },
        }))
        .unwrap();
        let extra: k8s_openapi::api::core::v1::PodSpec = from_value(spec.clone()).unwrap();
        let wanted = pod.spec.as_mut().unwrap();
        wanted.node_selector = extra.node_selector;
        wanted.tolerations = extra.tolerations;
        pod
    }

    #[test]
    fn replicas_spread_and_names_decide() {
        let plain = json!({ "containers": [] });
        let first = pod("a", &Value::Null, &plain);
        assert_eq!(choose(&first, &cluster(), &[]).unwrap(), "machine2");
        let others = [pod("a", &json!("machine2"), &plain), pod("b", &json!("machine3"), &plain)];
        assert_eq!(choose(&first, &cluster(), &others).unwrap(), "machine3");
        let both = [pod("a", &json!("machine2"), &plain), pod("a", &json!("machine3"), &plain)];
        assert_eq!(choose(&first, &cluster(), &both).unwrap(), "machine2");
    }

    #[test]
    fn selectors_and_taints_bind_or_explain() {
        let on = |name: &str| json!({ "kubernetes.io/hostname": name });
        let tolerant = json!([{ "key": "node-role.kubernetes.io/control-plane", "operator": "Exists" }]);
        let all = json!([{ "operator": "Exists" }]);
        let cases = [
            (json!({ "containers": [], "nodeSelector": on("machine3") }), Ok("machine3")),
            (json!({ "containers": [], "nodeSelector": on("machine1") }), Err("untolerated taint")),
            (
                json!({ "containers": [], "nodeSelector": on("machine1"), "tolerations": tolerant }),
                Ok("machine1"),
            ),
            (json!({ "containers": [], "tolerations": all }), Ok("machine1")),
            (json!({ "containers": [], "nodeSelector": on("elsewhere") }), Err("3 node(s) didn't match")),
        ];
        for (spec, expected) in cases {
            let found = choose(&pod("a", &Value::Null, &spec), &cluster(), &[]);
            match (&found, expected) {
                (Ok(node), Ok(wanted)) => assert_eq!(node, wanted, "{spec}"),
                (Err(text), Err(part)) => assert!(text.contains(part), "{spec}: {text}"),
                _ => panic!("{spec}: {found:?} instead of {expected:?}"),
            }
        }
    }
}
