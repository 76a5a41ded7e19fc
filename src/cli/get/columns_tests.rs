use super::*;
use serde_json::json;

const NOW: &str = "2026-01-01T01:00:00Z";

fn row(plural: &str, wide: bool, object: &Value) -> Vec<String> {
    let columns = Columns::of(plural, wide, false);
    let row = columns.row(object, NOW.parse().unwrap());
    assert_eq!(row.len(), columns.headers().len());
    row
}

fn meta(name: &str) -> Value {
    json!({"name": name, "namespace": "default", "creationTimestamp": "2026-01-01T00:55:30Z"})
}

#[test]
fn pods() {
    let pod = json!({
        "metadata": meta("mongo-0"),
        "spec": {"containers": [{"name": "a"}, {"name": "b"}], "nodeName": "machine3"},
        "status": {"phase": "Running", "podIP": "10.244.3.2", "containerStatuses": [
            {"ready": true, "restartCount": 2, "state": {"running": {}},
             "lastState": {"terminated": {"finishedAt": "2026-01-01T00:59:00Z"}}},
            {"ready": false, "restartCount": 0, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}
    });
    assert_eq!(row("pods", false, &pod), ["mongo-0", "1/2", "CrashLoopBackOff", "2 (60s ago)", "4m30s"]);
    assert_eq!(row("pods", true, &pod)[5..], ["10.244.3.2", "machine3", "<none>", "<none>"]);
    let bare = json!({"metadata": {"name": "p", "deletionTimestamp": NOW}, "spec": {"containers": [{}]}});
    assert_eq!(row("pods", false, &bare), ["p", "0/1", "Terminating", "0", "<unknown>"]);
}

#[test]
fn workloads_and_services() {
    let deployment = json!({
        "metadata": meta("server-app"),
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "server-app"}},
                 "template": {"spec": {"containers": [{"name": "s", "image": "movies"}]}}},
        "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}
    });
    assert_eq!(
        row("deployments", true, &deployment),
        ["server-app", "1/2", "2", "1", "4m30s", "s", "movies", "app=server-app"]
    );
    let service = json!({
        "metadata": meta("server-app"),
        "spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "ports": [{"port": 80, "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]}
    });
    assert_eq!(
        row("services", false, &service),
        ["server-app", "NodePort", "10.96.0.9", "<none>", "80:30080/TCP,53/UDP", "4m30s"]
    );
}

#[test]
fn nodes_leases_namespaces_events() {
    let node = json!({
        "metadata": {"name": "machine1", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}
    });
    assert_eq!(
        row("nodes", true, &node)[..6],
        ["machine1", "Ready,SchedulingDisabled", "control-plane", "<unknown>", "<none>", "10.0.0.1"]
    );
    let lease = json!({"metadata": meta("squall-controller"), "spec": {"holderIdentity": "c-1"}});
    assert_eq!(row("leases", false, &lease), ["squall-controller", "c-1", "4m30s"]);
    assert_eq!(
        row("namespaces", false, &json!({"metadata": meta("x"), "status": {"phase": "Active"}})),
        ["x", "Active", "4m30s"]
    );
    let event = json!({
        "metadata": meta("e"), "type": "Warning", "reason": "Failed", "note": "two\nlines",
        "regarding": {"kind": "NetworkChaos", "name": "p"}, "eventTime": "2026-01-01T00:59:50Z"
    });
    assert_eq!(row("events", false, &event), ["10s", "Warning", "Failed", "networkchaos/p", "two lines"]);
}

#[test]
fn experiments() {
    let record = json!({
        "id": "default/mongo", "selectorKey": ".", "phase": "Injected", "injectedCount": 1, "recoveredCount": 0,
        "events": [{"type": "Succeeded", "operation": "Apply", "timestamp": "2026-01-01T00:59:43Z"}]
    });
    let mut chaos = json!({
        "metadata": meta("partition"),
        "spec": {"action": "partition", "duration": "1m"},
        "status": {"conditions": [{"type": "Selected", "status": "True"}, {"type": "AllInjected", "status": "True"}],
                   "experiment": {"targets": {"selected": 1, "injected": 1, "recovered": 0, "failed": 0},
                                  "containerRecords": [record]}}
    });
    assert_eq!(
        row("networkchaos", false, &chaos),
        ["partition", "partition", "Injected", "1/1", "43s/1m0s", "4m30s"]
    );
    chaos["status"] = json!({});
    assert_eq!(row("networkchaos", false, &chaos)[2..5], ["Waiting", "<none>", "-/1m0s"]);
    chaos["spec"]["duration"] = json!("");
    assert_eq!(row("networkchaos", false, &chaos)[4], "-/until stopped");
    let injection = json!({
        "metadata": meta("networkchaos-12345678-abc"),
        "spec": {"node": "machine3", "experiment": {"namespace": "default", "name": "partition"}, "targets": [{}, {}]},
        "status": {"wanted": "Present", "targets": [{"phase": "Injected"}, {"phase": "Failed"}]}
    });
    assert_eq!(
        row("injections", false, &injection),
        ["networkchaos-12345678-abc", "machine3", "default/partition", "Present", "1/2", "4m30s"]
    );
}

#[test]
fn any_other_kind_has_a_name_and_an_age() {
    assert_eq!(row("configmaps", true, &json!({"metadata": meta("c")})), ["c", "4m30s"]);
    assert_eq!(Columns::of("pods", false, true).headers()[0], "NAMESPACE");
}
