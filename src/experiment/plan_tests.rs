use serde_json::{Value, json};

use super::super::fixtures::{UID, changed_pod, chaos, node, pod, world, world_of};
use super::super::peers::Hosts;
use super::*;
use crate::api::{NetworkRule, Peer};

fn rule(rule: Option<&NetworkRule>) -> Value {
    rule.map_or(Value::Null, |rule| {
        let texts = |peers: &Vec<Peer>| peers.iter().map(|peer| peer.network.to_string()).collect::<Vec<_>>();
        rule.peers.as_ref().map_or(json!("everybody"), |peers| json!(texts(peers)))
    })
}

/// Per node and selector key: egress and ingress.
fn planned(changes: &Value) -> Value {
    let chaos = chaos(changes);
    let world = world();
    let chosen = choose(&chaos, &[], &world, &Limits::default()).unwrap();
    let hosts = Hosts::from([("example.com".to_owned(), vec!["203.0.113.9".parse().unwrap()])]);
    let mut out = json!({});
    for (node, plan) in chaos.plan(&chosen, &world, &hosts).unwrap() {
        for end in plan.fault.network.unwrap().ends {
            out[&node][&end.selector_key] = json!([rule(end.egress.as_ref()), rule(end.ingress.as_ref())]);
        }
    }
    out
}

#[test]
fn directions() {
    // At the source: the database, and its Service under both addresses. The Service with another
    // endpoint is left to the other end.
    let db = ["10.0.2.2/32", "10.96.0.2/32", "fd00::2/128"];
    let web = ["10.0.1.1/32", "10.0.2.1/32"];
    for (direction, source, target) in [
        ("to", json!([db, null]), json!([null, web])),
        ("from", json!([null, db]), json!([web, null])),
        ("both", json!([db, db]), json!([web, web])),
    ] {
        assert_eq!(
            planned(&json!({"spec": {"direction": direction}})),
            json!({"n1": {".": source}, "n2": {".": source, ".Target": target}}),
            "{direction}"
        );
    }
}

#[test]
fn a_packet_is_delayed_at_one_end_only() {
    // The web pods see the database and its Service; the Service `everything` hides which of its requests reach the
    // database, so these are delayed where they arrive.
    let web = ["10.0.1.1/32", "10.0.2.1/32", "10.96.0.1/32"];
    for (direction, source, target) in [
        ("to", json!([null, null]), json!([null, web])),
        ("from", json!([null, null]), json!([web, null])),
        ("both", json!([null, null]), json!([web, web])),
    ] {
        assert_eq!(
            planned(&delay(&json!({"direction": direction}))),
            json!({"n1": {".": source}, "n2": {".": source, ".Target": target}}),
            "{direction}"
        );
    }
    // Seen from the other side: every Service of the web pods leads to web pods only.
    let turned = json!({
        "selector": {"labelSelectors": {"app": "db"}},
        "target": {"mode": "all", "selector": {"labelSelectors": {"app": "web"}}},
    });
    for (direction, source, target) in [
        ("to", json!([web, null]), json!([null, null])),
        ("from", json!([null, web]), json!([null, null])),
        ("both", json!([web, web]), json!([null, null])),
    ] {
        let mut spec = turned.clone();
        spec["direction"] = json!(direction);
        assert_eq!(
            planned(&delay(&spec)),
            json!({"n1": {".Target": target}, "n2": {".": source, ".Target": target}}),
            "{direction}"
        );
    }
    let outside = planned(&delay(&json!({"target": null, "externalTargets": ["example.com"]})));
    assert_eq!(outside["n1"], json!({".": [["203.0.113.9/32"], null]}));
    let both = planned(&delay(&json!({"externalTargets": ["example.com"]})));
    assert_eq!(both["n2"], json!({".": [["203.0.113.9/32"], null], ".Target": [null, web]}));
    assert_eq!(planned(&delay(&json!({"target": null})))["n1"], json!({".": ["everybody", null]}));
}

/// The experiment as a delay, with changes of its spec.
fn delay(spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["action"] = json!("delay");
    spec["delay"] = json!({"latency": "150ms"});
    json!({"spec": spec})
}

#[test]
fn without_peers_everybody_is_meant() {
    let all = "everybody";
    for (direction, ends) in
        [("to", json!([all, null])), ("from", json!([null, all])), ("both", json!([all, all]))]
    {
        assert_eq!(
            planned(&json!({"spec": {"direction": direction, "target": null}})),
            json!({"n1": {".": ends}, "n2": {".": ends}}),
            "{direction}"
        );
    }
}

#[test]
fn external_targets_are_seen_from_the_source_only() {
    let changes = json!({"spec": {"externalTargets": ["example.com:80"]}});
    assert_eq!(
        planned(&changes)["n2"],
        json!({
            ".": [["10.0.2.2/32", "10.96.0.2/32", "203.0.113.9/32", "fd00::2/128"], null],
            ".Target": [null, ["10.0.1.1/32", "10.0.2.1/32"]],
        })
    );
    let changes = json!({"spec": {"target": null, "externalTargets": ["example.com"]}});
    assert_eq!(planned(&changes)["n1"], json!({".": [["203.0.113.9/32"], null]}));
}

#[test]
fn a_pod_may_be_both_ends() {
    let chaos = chaos(&json!({"spec": {"target": {"selector": {"labelSelectors": {"app": "web"}}}}}));
    let world = world();
    let chosen = choose(&chaos, &[], &world, &Limits::default()).unwrap();
    let plan = chaos.plan(&chosen, &world, &Hosts::new()).unwrap();
    let targets: Vec<_> =
        plan["n1"].targets.iter().map(|t| (t.pod.as_str(), t.selector_key.as_str())).collect();
    assert_eq!(targets, [("web-1", "."), ("web-1", ".Target")]);
}

#[test]
fn devices_and_exemptions() {
    let chaos = chaos(&json!({"spec": {"device": "net1", "targetDevice": "eth9@if3"}}));
    let world = world();
    let chosen = choose(&chaos, &[], &world, &Limits::default()).unwrap();
    let mut plan = chaos.plan(&chosen, &world, &Hosts::new()).unwrap();
    let network = plan.remove("n2").and_then(|plan| plan.fault.network).unwrap();
    let devices: Vec<_> = network.ends.iter().map(|end| end.device.as_str()).collect();
    assert_eq!(devices, ["net1", "eth9"]);
    assert_eq!(
        network.exempt.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.96.0.99/32", "192.168.0.10/32"]
    );
}

#[test]
fn what_is_gone_leaves_the_sets_but_stays_a_target() {
    let chaos = chaos(&json!({}));
    let before = world();
    let chosen = choose(&chaos, &[], &before, &Limits::default()).unwrap();
    let plan_now = chaos.plan(&chosen, &before, &Hosts::new()).unwrap();
    let injections: Vec<Arc<Injection>> = plan_now
        .iter()
        .map(|(name, plan)| {
            let spec = InjectionSpec {
                experiment: (&chaos as &dyn Experiment).reference(),
                node: name.clone(),
                targets: plan.targets.clone(),
                fault: plan.fault.clone(),
                paused: false,
                run: 1,
                used: None,
                remaining: None,
                not_after: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                    super::super::fixtures::start(),
                ),
                lease: "30s".to_owned(),
            };
            Arc::new(injection(spec, &node(name, "a")))
        })
        .collect();
    let finished = json!({"status": {"phase": "Failed"}});
    let later = world_of(vec![
        changed_pod("web-1", "web", "n1", "10.0.1.1", &finished),
        pod("web-2", "web", "n2", "10.0.2.9"),
    ]);
    let chosen = already_chosen(&injections, &later);
    assert_eq!(chosen.len(), 3, "the selection stays");
    let network = chaos.plan(&chosen, &later, &Hosts::new()).unwrap()["n2"].fault.network.clone().unwrap();
    assert_eq!(rule(network.ends[0].egress.as_ref()), json!([]), "nobody is a peer, not everybody");
    assert_eq!(
        rule(network.ends[1].ingress.as_ref()),
        json!(["10.0.2.9/32"]),
        "the new address, not the dead pod's"
    );
}

#[test]
fn injections_belong_to_their_node() {
    let chaos = chaos(&json!({}));
    let name = injection_name(&(&chaos as &dyn Experiment).reference(), "n1");
    assert_eq!(name, format!("networkchaos-0a1b2c3d-{:016x}", stable_hash("n1")));
    assert_ne!(name, injection_name(&(&chaos as &dyn Experiment).reference(), "n2"));
    let spec = InjectionSpec {
        experiment: (&chaos as &dyn Experiment).reference(),
        node: "n1".to_owned(),
        targets: Vec::new(),
        fault: Fault::default(),
        paused: false,
        run: 1,
        used: None,
        remaining: None,
        not_after: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(super::super::fixtures::start()),
        lease: "30s".to_owned(),
    };
    let injection = injection(spec, &node("n1", "a"));
    let owner = &injection.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.name.as_str(), owner.uid.as_str()), ("Node", "n1", "uid-n1"));
    assert_eq!(injection.metadata.namespace.as_deref(), Some(SYSTEM_NAMESPACE));
    assert_eq!(injection.labels().get(EXPERIMENT_UID_LABEL).map(String::as_str), Some(UID));
    assert_eq!(injection.finalizers(), [RECOVERED_FINALIZER]);
}

#[test]
fn a_static_pod_is_named_as_its_node_knows_it() {
    let hash = "5f3a0c9f0a9d2f1f8ad1b1e33f0b7b4e";
    let annotations = |hash: &str, mirror: Option<&str>| json!({"metadata": {"annotations": {"kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": mirror}}});
    let chaos = chaos(&json!({}));
    for (name, annotations, expected) in [
        ("a static pod", annotations(hash, Some(hash)), Some(hash)),
        ("an ordinary pod that says so", annotations(hash, None), None),
        ("the UID of another pod", annotations("1b4df0a6-3b9c-4f0e-9a51-0d2a4b6c8e10", Some("x")), None),
        ("no annotations", json!({}), None),
    ] {
        let pod = changed_pod("etcd", "etcd", "n1", "10.0.0.1", &annotations);
        let target = chosen(&chaos, &pod, ".").remove(0).target;
        assert_eq!(target.node_uid.as_deref(), expected, "{name}");
        assert_eq!(target.uid_on_node(), expected.unwrap_or("uid-etcd"), "{name}");
    }
}

#[test]
fn refusals() {
    let world = world_of(vec![
        changed_pod("host", "host", "n1", "10.0.0.1", &json!({"spec": {"hostNetwork": true}})),
        changed_pod("young", "young", "n1", "10.0.0.2", &json!({"status": {"podIP": null, "podIPs": null}})),
        pod("a", "web", "n1", "10.0.0.3"),
        pod("b", "web", "n1", "10.0.0.4"),
    ]);
    let limits = Limits { targets: 1, ..Limits::default() };
    let select = |app: &str| json!({"spec": {"selector": {"labelSelectors": {"app": app}}, "target": null}});
    let refusal = |changes: &Value| choose(&chaos(changes), &[], &world, &limits).unwrap_err();
    let cases: [(&str, Value, bool, &str); 5] = [
        ("no pod", select("none"), false, "spec.selector matches no pod"),
        ("not yet", select("young"), false, "has no address yet"),
        ("never", select("host"), true, "hostNetwork"),
        ("too many", select("web"), true, "the limit is 1"),
        (
            "no target",
            json!({"spec": {"mode": "one", "selector": {"labelSelectors": {"app": "web"}}}}),
            false,
            "spec.target.selector matches no pod",
        ),
    ];
    for (name, changes, invalid, text) in cases {
        let refusal = refusal(&changes);
        assert_eq!(matches!(refusal, Refusal::Invalid(_)), invalid, "{name}: {refusal:?}");
        let message = match refusal {
            Refusal::Nothing(message) => message,
            Refusal::Invalid(problems) => problems[0].to_string(),
        };
        assert!(message.contains(text), "{name}: {message}");
    }
}

#[test]
fn the_draw_is_the_experiments_own_and_repeatable() {
    let world =
        world_of((0..50).map(|i| pod(&format!("p{i}"), "web", "n1", &format!("10.0.0.{i}"))).collect());
    let pick = |uid: &str| {
        let chaos = chaos(&json!({"metadata": {"uid": uid}, "spec": {"mode": "one", "target": null}}));
        choose(&chaos, &[], &world, &Limits::default()).unwrap()[0].target.pod.clone()
    };
    assert_eq!(pick("u1"), pick("u1"));
    let picked: BTreeSet<String> = (0..50).map(|i| pick(&format!("u{i}"))).collect();
    assert!(picked.len() > 20, "{picked:?}");
}
