//! What `squall install` applies; until it does, this.

use serde_json::{Value, json};

use super::kubectl;
use super::world::World;

/// The image of everything.
const IMAGE: &str = concat!("squall:", env!("CARGO_PKG_VERSION"));

pub(crate) fn apply(world: &World) {
    world.kubectl("apply --server-side -f deploy/crds");
    for object in objects() {
        kubectl::apply(&world.cluster, &object);
    }
}

pub(crate) fn remove(world: &World) {
    for kind in ["networkchaos", "podchaos"] {
        world.kubectl(&format!("delete {kind} --all --all-namespaces --timeout=30s"));
    }
    for what in
        ["namespace squall-system", "-f deploy/crds", "clusterrolebinding squall-controller squall-daemon"]
    {
        world.kubectl(&format!("delete {what} --timeout=60s"));
    }
}

fn account(name: &str) -> [Value; 2] {
    [
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name, "namespace": "squall-system" } }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": "squall-system" }],
        }),
    ]
}

fn labels(component: &str) -> Value {
    json!({ "app.kubernetes.io/name": "squall", "app.kubernetes.io/component": component })
}

fn objects() -> Vec<Value> {
    let mut all =
        vec![json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "squall-system" } })];
    all.extend(account("squall-controller"));
    all.extend(account("squall-daemon"));
    all.push(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "squall-controller", "namespace": "squall-system" },
        "spec": {
            "replicas": 2, "selector": { "matchLabels": labels("controller") },
            "template": {
                "metadata": { "labels": labels("controller") },
                "spec": {
                    "serviceAccountName": "squall-controller", "terminationGracePeriodSeconds": 10,
                    "securityContext": { "runAsNonRoot": true },
                    "containers": [{
                        "name": "controller", "image": IMAGE, "args": ["controller", "--failure-image", IMAGE],
                        "securityContext": {
                            "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
                            "capabilities": { "drop": ["ALL"] },
                        },
                    }],
                },
            },
        },
    }));
    all.push(json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": { "name": "squall-daemon", "namespace": "squall-system" },
        "spec": {
            "selector": { "matchLabels": labels("daemon") },
            "template": {
                "metadata": { "labels": labels("daemon") },
                "spec": {
                    "serviceAccountName": "squall-daemon", "hostPID": true, "terminationGracePeriodSeconds": 30,
                    "tolerations": [{ "operator": "Exists" }],
                    "containers": [{
                        "name": "daemon", "image": IMAGE, "args": ["daemon"],
                        "env": [{ "name": "NODE_NAME", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }],
                        "securityContext": {
                            "runAsUser": 0, "runAsGroup": 0, "readOnlyRootFilesystem": true,
                            "allowPrivilegeEscalation": false,
                            "capabilities": {
                                "drop": ["ALL"],
                                "add": ["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN", "NET_RAW", "KILL", "DAC_READ_SEARCH"],
                            },
                            "seccompProfile": { "type": "Unconfined" },
                        },
                        "volumeMounts": [
                            { "name": "run", "mountPath": "/run/squall" },
                            { "name": "state", "mountPath": "/var/lib/squall" },
                        ],
                    }],
                    "volumes": [
                        { "name": "run", "hostPath": { "path": "/run/squall", "type": "DirectoryOrCreate" } },
                        { "name": "state", "hostPath": { "path": "/var/lib/squall", "type": "DirectoryOrCreate" } },
                    ],
                },
            },
        },
    }));
    all
}
