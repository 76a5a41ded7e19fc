use std::sync::Arc;

use serde_json::{Value, json};

use super::{Cluster, Experiment, Report, Subject, Verdict, report};
use crate::api::{Injection, NetworkChaos, PodChaos};
use crate::experiment::world::World;
use crate::report::documented::undocumented;

fn object<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).unwrap())
}

fn pod(name: &str, app: &str, node: &str, address: &str, spec: &Value) -> Value {
    let mut pod = json!({
        "metadata": {"namespace": "default", "name": name, "uid": format!("uid-{name}"), "labels": {"app": app}},
        "spec": {"nodeName": node, "containers": []},
        "status": {"phase": "Running", "podIP": address},
    });
    for (key, value) in spec.as_object().unwrap() {
        pod["spec"][key] = value.clone();
    }
    pod
}

fn probed() -> Value {
    json!({"containers": [{"name": "main",
        "livenessProbe": {"httpGet": {"port": 80}},
        "readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 1},
        "startupProbe": {"exec": {"command": ["true"]}}}]})
}

/// Two web pods with probes, a database, one pod on its node's own network, and the database's Service.
fn cluster() -> Cluster {
    let pods = [
        pod("web-1", "web", "n1", "10.0.1.1", &probed()),
        pod("web-2", "web", "n2", "10.0.2.1", &probed()),
        pod("web-host", "web", "n2", "192.168.0.2", &json!({"hostNetwork": true})),
        pod("db", "db", "n2", "10.0.2.2", &json!({})),
    ];
    let node = |name: &str, address: &str| {
        object(
            json!({"metadata": {"name": name}, "status": {"addresses": [{"type": "InternalIP", "address": address}]}}),
        )
    };
    let service =
        json!({"metadata": {"namespace": "default", "name": "db"}, "spec": {"clusterIP": "10.96.0.2"}});
    let slice = json!({
        "metadata": {"namespace": "default", "name": "db-1", "labels": {"kubernetes.io/service-name": "db"}},
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.2.2"]}],
    });
    Cluster {
        world: World::new(
            pods.into_iter().map(object).collect(),
            vec![node("n1", "192.168.0.1"), node("n2", "192.168.0.2")],
            vec![object(service)],
            vec![object(slice)],
        ),
        injections: Ok(Vec::new()),
        halts: Ok(Vec::new()),
        unseen: Vec::new(),
    }
}

fn running(name: &str, uid: &str, pod: &str) -> Arc<Injection> {
    object(json!({
        "apiVersion": "squall.dev/v1alpha1", "kind": "Injection", "metadata": {"name": name},
        "spec": {
            "experiment": {"kind": "NetworkChaos", "namespace": "default", "name": name, "uid": uid}, "node": "n2",
            "targets": [{"namespace": "default", "pod": pod, "uid": format!("uid-{pod}"), "selectorKey": "."}],
            "fault": {}, "run": 1, "notAfter": "2026-01-01T01:00:00Z", "lease": "30s",
        },
    }))
}

/// A partition of the web pods from the database, with some fields of the spec replaced.
fn subject(changes: &Value) -> Subject {
    let of = |app: &str| json!({"mode": "all", "selector": {"labelSelectors": {"app": app}}});
    let mut spec = of("web");
    spec["action"] = json!("partition");
    spec["target"] = of("db");
    spec["duration"] = json!("1m");
    for (key, value) in changes.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let chaos: NetworkChaos = serde_json::from_value(json!({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "NetworkChaos",
        "metadata": {"namespace": "default", "name": "cut"}, "spec": &spec,
    }))
    .unwrap();
    subject_of(Experiment::NetworkChaos(Box::new(chaos)), "networkchaos", &spec)
}

fn subject_of(experiment: Experiment, kind: &str, spec: &Value) -> Subject {
    let text = |field: &str| spec[field].as_str().map(str::to_owned);
    Subject {
        label: format!("{kind}.chaos-mesh.org/cut"),
        action: text("action").unwrap(),
        duration: text("duration"),
        experiment,
        exists: None,
        hosts: std::collections::BTreeMap::new(),
    }
}

/// A fault of the web pods themselves.
fn pod_chaos(action: &str) -> Report {
    let spec = json!({"action": action, "mode": "all", "selector": {"labelSelectors": {"app": "web"}}, "gracePeriod": 5});
    let chaos: PodChaos = serde_json::from_value(json!({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "PodChaos",
        "metadata": {"namespace": "default", "name": "cut"}, "spec": &spec,
    }))
    .unwrap();
    report(&subject_of(Experiment::PodChaos(Box::new(chaos)), "podchaos", &spec), &cluster())
}

fn planned(changes: &Value) -> Report {
    report(&subject(changes), &cluster())
}

#[test]
fn every_field_is_documented() {
    assert_eq!(undocumented::<Report>("squall plan -f FILE -o json"), Vec::<String>::new());
}

#[test]
fn a_partition_is_explained_node_by_node() {
    let mut cluster = cluster();
    cluster.injections = Ok(vec![running("other", "u", "db"), running("elsewhere", "v", "unrelated")]);
    let subject = Subject { exists: Some("Finished"), ..subject(&json!({})) };
    assert_eq!(
        report(&subject, &cluster).lines(),
        [
            "networkchaos.chaos-mesh.org/cut in default: partition on 3 targets of 2 nodes, for 1m",
            "would change",
            "  n1",
            "    default/web-1 (10.0.1.1)",
            "      drop what leaves on eth0 for 10.0.2.2, 10.96.0.2",
            "  n2",
            "    default/web-2 (10.0.2.1)",
            "      drop what leaves on eth0 for 10.0.2.2, 10.96.0.2",
            "    default/db (10.0.2.2)",
            "      drop what arrives on eth0 from 10.0.1.1, 10.0.2.1",
            "left out",
            "  default/web-host uses the network of its node (hostNetwork)",
            "conflicts",
            "  NetworkChaos default/cut: is there already, Finished: `squall run` puts this one in its place",
            "  NetworkChaos default/other on default/db: acts on 1 pod of these as well: both faults hold at once and end each by itself",
            "expect",
            "  nothing that the 2 pods of spec.selector send reaches 1 pod of spec.target; TCP needs both directions, so connections hang and new ones time out",
            "  when it is over, TCP goes on by itself with its next attempt, which may take some seconds",
            "  calls through the ClusterIP of Service default/db are hit too",
            "  what these pods exchange with others, and the API server, is left alone",
        ]
    );
}

#[test]
fn probes_that_cannot_pass_are_held_against_the_duration() {
    let warnings = |duration: &Value| {
        let report = planned(&json!({"target": null, "direction": "both", "duration": duration}));
        assert_eq!(report.verdict, Verdict::Runs);
        report.warnings
    };
    let restarts = |warnings: &[String]| warnings.iter().filter(|line| line.contains("will restart")).count();
    let unready = |warnings: &[String]| warnings.iter().filter(|line| line.contains("unready")).count();
    let minute = warnings(&json!("1m"));
    assert_eq!((restarts(&minute), unready(&minute)), (2, 2), "{minute:?}");
    assert!(minute[0].contains("default/web-1 becomes unready after 3s"), "{minute:?}");
    assert!(
        minute[1].contains("default/web-1 will restart: the liveness probe of container main cannot pass and gives up after 30s"),
        "{minute:?}"
    );
    let short = warnings(&json!("20s"));
    assert_eq!((restarts(&short), unready(&short)), (0, 2), "{short:?}");
    let endless = warnings(&json!(null));
    assert_eq!(restarts(&endless), 2, "{endless:?}");
    assert!(endless.iter().any(|line| line.contains("runs until it is stopped")), "{endless:?}");
    // A partition from the database leaves the kubelet alone.
    assert_eq!(planned(&json!({})).warnings, Vec::<String>::new());
    // One from the nodes does not.
    let nodes = planned(&json!({"target": null, "externalTargets": ["192.168.0.0/24"]})).warnings;
    assert_eq!(restarts(&nodes), 2, "{nodes:?}");
}

#[test]
fn a_killed_pod_that_nobody_owns_is_warned_of() {
    let report = pod_chaos("pod-kill");
    let lines = report.lines();
    assert_eq!(lines[0], "podchaos.chaos-mesh.org/cut in default: pod-kill on 3 targets of 2 nodes, once");
    assert!(lines.contains(&"      delete it, with 5 s to end by itself".to_owned()), "{lines:?}");
    assert_eq!(report.warnings.len(), 3, "{report:?}");
    assert!(report.warnings[0].contains("belongs to no controller"), "{report:?}");
}

#[test]
fn pods_that_cannot_fail_are_refused() {
    let report = pod_chaos("pod-failure");
    assert_eq!(report.verdict, Verdict::Refused, "nobody would mend bare pods: {report:?}");
    assert!(report.excluded.iter().any(|pod| pod.reason.contains("bare")), "{report:?}");
}

#[test]
fn what_is_drawn_at_the_start_is_said() {
    let report = planned(&json!({"mode": "one"}));
    assert_eq!(
        report.warnings,
        ["spec.mode picks 1 of 2 pods when the experiment starts; those above are an example"]
    );
}

#[test]
fn what_cannot_run_is_refused_and_what_finds_nothing_waits() {
    for (changes, verdict, says) in [
        (
            json!({"action": "bandwidth", "bandwidth": {"rate": "1mbps", "limit": 20000, "buffer": 10000}}),
            Verdict::Refused,
            "spec.action",
        ),
        (json!({"selector": {"pods": {"default": ["web-host"]}}}), Verdict::Refused, "spec.selector"),
        (json!({"externalTargets": ["nowhere.example"]}), Verdict::Refused, "spec.externalTargets[0]"),
        (json!({"selector": {"labelSelectors": {"app": "nobody"}}}), Verdict::Waits, "matches no pod"),
    ] {
        let report = planned(&changes);
        assert_eq!(report.verdict, verdict, "{changes}: {report:?}");
        assert_eq!(report.nodes.len(), 0, "{changes}");
        let lines = report.lines().join("\n");
        assert!(lines.contains(says), "{changes}: {lines}");
    }
}

#[test]
fn what_cannot_be_seen_is_said() {
    let cluster = Cluster { injections: Err("forbidden".to_owned()), ..cluster() };
    let warnings = report(&subject(&json!({})), &cluster).warnings;
    assert!(
        warnings.iter().any(|line| line.contains("conflicts with them are not known: forbidden")),
        "{warnings:?}"
    );
}

#[test]
fn a_halt_that_covers_a_target_is_named() {
    let halt = |namespaces: Value| -> Arc<crate::api::Halt> {
        object(json!({
            "apiVersion": "squall.dev/v1alpha1", "kind": "Halt", "metadata": {"name": "stop"},
            "spec": {"namespaces": namespaces, "reason": "incident 4711"},
        }))
    };
    for (namespaces, holds) in [(json!([]), true), (json!(["default"]), true), (json!(["other"]), false)] {
        let cluster = Cluster { halts: Ok(vec![halt(namespaces.clone())]), ..cluster() };
        let report = report(&subject(&json!({})), &cluster);
        assert_eq!(report.verdict == Verdict::Waits, holds, "{namespaces}");
        assert_eq!(report.nodes.len(), 2, "what waits is shown all the same");
        let why = "Halt stop (incident 4711) covers it; it starts after squall halt --release stop";
        assert_eq!(report.halt.as_deref(), holds.then_some(why));
        let first = format!("networkchaos.chaos-mesh.org/cut in default: partition would wait: {why}");
        assert_eq!(report.lines()[0] == first, holds, "{namespaces}: {:?}", report.lines());
    }
    let unseen = Cluster { halts: Err("forbidden".to_owned()), ..cluster() };
    let warnings = report(&subject(&json!({})), &unseen).warnings;
    assert!(warnings.iter().any(|line| line.contains("Halts cannot be read") && line.contains("forbidden")));
}
