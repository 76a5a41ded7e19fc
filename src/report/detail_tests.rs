use serde_json::{Value, json};

use super::*;
use crate::report::documented::undocumented;

fn experiment(status: &Value) -> DynamicObject {
    let object = json!({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "NetworkChaos",
        "metadata": {"namespace": "default", "name": "cut", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"action": "partition", "duration": "1m"}, "status": status,
    });
    serde_json::from_value(object).unwrap()
}

fn injection() -> Injection {
    let target = json!({"namespace": "default", "pod": "db", "uid": "uid-db", "selectorKey": ".Target"});
    let mut known = target.clone();
    known["phase"] = json!("Injected");
    known["evidence"] = json!("table inet squall_pod");
    known["since"] = json!("2026-01-01T00:00:05Z");
    let web = json!({"namespace": "default", "pod": "web", "uid": "uid-web", "selectorKey": "."});
    serde_json::from_value(json!({
        "apiVersion": "squall.dev/v1alpha1", "kind": "Injection", "metadata": {"name": "i"},
        "spec": {
            "experiment": {"kind": "NetworkChaos", "namespace": "default", "name": "cut", "uid": "u"},
            "node": "machine1", "targets": [web, target], "fault": {}, "run": 1, "remaining": "1m",
            "notAfter": "2026-01-01T01:00:00Z", "lease": "30s",
        },
        "status": {
            "observedRun": 1, "wanted": "Present", "interruptions": 2, "startedAt": "2026-01-01T00:00:05Z",
            "targets": [known],
        },
    }))
    .unwrap()
}

fn event(name: &str, uid: &str, at: &str, reason: &str) -> Event {
    serde_json::from_value(json!({
        "metadata": {"name": name}, "eventTime": format!("{at}.000000Z"), "type": "Normal", "reason": reason,
        "note": format!("it {reason}"), "regarding": {"uid": uid, "name": "cut"},
    }))
    .unwrap()
}

#[test]
fn the_detail_is_documented() {
    let overview = undocumented::<Overview>("squall status -o json");
    assert_eq!(overview, Vec::<String>::new());
    let fields_of_the_overview = |path: &String| {
        let name = path.split('.').next().unwrap_or_default();
        [
            "kind",
            "namespace",
            "name",
            "action",
            "phase",
            "ended",
            "targets",
            "duration",
            "remainingSeconds",
            "created",
        ]
        .contains(&name)
    };
    let mut detail = undocumented::<Detail>("squall status KIND NAME -o json");
    detail.retain(|path| !fields_of_the_overview(path));
    assert_eq!(detail, Vec::<String>::new());
}

#[test]
fn a_running_experiment_in_depth() {
    let now: Timestamp = "2026-01-01T00:00:25Z".parse().unwrap();
    let object = experiment(&json!({
        "conditions": [{"type": "Selected", "status": "True"}, {"type": "AllInjected", "status": "False"}],
        "experiment": {"targets": {"selected": 2, "injected": 1, "recovered": 0, "failed": 0}},
    }));
    let events = [
        event("b", "u", "2026-01-01T00:00:06", "Applied"),
        event("a", "u", "2026-01-01T00:00:04", "Started"),
        event("c", "older", "2026-01-01T00:00:01", "Deleted"),
    ];
    let injection = injection();
    let (injections, events) = (Ok(vec![&injection]), Ok(events.iter().collect()));
    let detail = Detail::new("NetworkChaos", &object, injections, events, now);
    assert_eq!(
        detail.lines(now),
        [
            "networkchaos/cut in default",
            "  phase       Injecting",
            "  action      partition",
            "  remaining   40s/1m",
            "  age         25s",
            "conditions",
            "  Selected      True",
            "  AllInjected   False",
            "targets",
            "  machine1: wanted Present, interrupted 2 times",
            "    default/web   selector   Waiting",
            "    default/db    target     Injected   20s   table inet squall_pod",
            "timeline",
            "  21s ago   Normal   Started   it Started",
            "  19s ago   Normal   Applied   it Applied",
            "to do: the fault was interrupted 2 times because a node did not hear from the controller: `squall doctor`",
        ]
    );
    let json = serde_json::to_value(&detail).unwrap();
    assert_eq!(
        (&json["remainingSeconds"], &json["nodes"][0]["targets"][1]["phase"]),
        (&json!(40), &json!("Injected"))
    );
    let recorded: Detail = serde_json::from_value(json).unwrap();
    assert_eq!(recorded.lines(now), detail.lines(now), "what was recorded says the same");
}

#[test]
fn what_cannot_be_read_is_said() {
    let object = experiment(&json!({"conditions": [{"type": "Selected", "status": "True"}]}));
    let now = "2026-01-01T00:00:25Z".parse().unwrap();
    let forbidden = |what: &str| format!("cannot read {what}: forbidden");
    let (injections, events) = (Err(forbidden("what the nodes say")), Err(forbidden("the events")));
    let detail = Detail::new("NetworkChaos", &object, injections, events, now);
    assert_eq!(
        detail.to_do,
        [
            "cannot read what the nodes say: forbidden: ask for the right to list injections in squall-system",
            "cannot read the events: forbidden",
        ]
    );
}

#[test]
fn what_to_do_fits_the_state() {
    for (status, age, says) in [
        (json!({}), 60, Some("squall doctor")),
        (json!({}), 1, None),
        (
            json!({"conditions": [{"type": "Paused", "status": "True"}]}),
            60,
            Some("squall resume networkchaos cut -n default"),
        ),
        (
            json!({"conditions": [{"type": "Invalid", "status": "True", "message": "spec.x: wrong; write y"}]}),
            60,
            Some("squall stop networkchaos cut -n default"),
        ),
        (
            json!({"conditions": [{"type": "Selected", "status": "False", "message": "no pod"}]}),
            60,
            Some("squall plan"),
        ),
        (json!({"conditions": [{"type": "Selected", "status": "True"}]}), 60, None),
    ] {
        let object = experiment(&status);
        let overview = Overview::new("NetworkChaos", &object, Remaining::Unknown);
        let to_do = advice(&overview, &super::status(&object), &[], age);
        match says {
            Some(says) => assert!(to_do.len() == 1 && to_do[0].contains(says), "{status}: {to_do:?}"),
            None => assert_eq!(to_do, Vec::<String>::new(), "{status}"),
        }
    }
}

#[test]
fn records_tell_of_targets_whose_nodes_are_silent() {
    let event = |kind: &str, message: &str| json!([{"type": kind, "operation": "Recover", "message": message, "timestamp": "2026-01-01T00:00:00Z"}]);
    let record = |phase: &str, recovered: u32, events: Value| json!({"id": "default/db", "selectorKey": ".", "phase": phase, "injectedCount": 1, "recoveredCount": recovered, "events": events});
    for (record, phase, error) in [
        (record("Injected", 0, event("Failed", "why")), "Stuck", Some("why")),
        (record("Not Injected", 1, event("Succeeded", "no table")), "Recovered", None),
        (record("Not Injected", 0, json!([])), "Waiting", None),
    ] {
        let status = serde_json::from_value(json!({"experiment": {"containerRecords": [record]}})).unwrap();
        let nodes = recorded(&status);
        let target = &nodes[0].targets[0];
        assert_eq!((target.phase.as_str(), target.error.as_deref()), (phase, error), "{record}");
    }
}
