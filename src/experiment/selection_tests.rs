use std::collections::BTreeSet;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::super::fixtures::{changed_pod, chaos, pod, world_of};
use super::super::kind::Experiment;
use super::*;

fn names(selection: &Selection) -> Vec<String> {
    selection.pods.iter().map(|pod| pod.name_any()).collect()
}

fn select_with(
    selector: &Value,
    mode: Mode,
    amount: u32,
    world: &World,
    (seed, keep): (u64, &BTreeSet<String>),
) -> Selection {
    let selector: PodSelector = serde_json::from_value(selector.clone()).unwrap();
    let request = Request {
        selector: &selector,
        own_namespace: "default",
        mode,
        amount,
        protected: &["kube-system".to_owned()],
        unfit: &|pod| chaos(&json!({})).exclusion(pod),
        keep,
    };
    select(&request, world, &mut StdRng::seed_from_u64(seed))
}

fn select_all(selector: &Value, world: &World) -> Selection {
    select_with(selector, Mode::All, 0, world, (0, &BTreeSet::new()))
}

/// a on n1 (zone a), b and c on n2 (zone b), c pending; d in another namespace.
fn mixed() -> World {
    let one = json!({"metadata": {"annotations": {"note": "a b, c"}}, "spec": {"serviceAccountName": "sa"}});
    let three = json!({"metadata": {"labels": {"tier": "back"}}, "status": {"phase": "Pending"}});
    let four = json!({"metadata": {"namespace": "elsewhere"}});
    world_of(vec![
        changed_pod("a", "web", "n1", "10.0.0.1", &one),
        pod("b", "db", "n2", "10.0.0.2"),
        changed_pod("c", "db", "n2", "10.0.0.3", &three),
        changed_pod("d", "web", "n1", "10.0.0.4", &four),
    ])
}

#[test]
fn every_field_narrows() {
    let world = mixed();
    let cases: [(&str, Value, &[&str]); 24] = [
        ("empty: own namespace", json!({}), &["a", "b", "c"]),
        ("other namespace", json!({"namespaces": ["elsewhere"]}), &["d"]),
        (
            "namespaces twice",
            json!({"namespaces": ["default", "default", "elsewhere"]}),
            &["a", "b", "c", "d"],
        ),
        ("labels", json!({"labelSelectors": {"app": "db"}}), &["b", "c"]),
        ("labels are all needed", json!({"labelSelectors": {"app": "db", "tier": "back"}}), &["c"]),
        (
            "In",
            json!({"expressionSelectors": [{"key": "app", "operator": "In", "values": ["web", "x"]}]}),
            &["a"],
        ),
        (
            "NotIn",
            json!({"expressionSelectors": [{"key": "tier", "operator": "NotIn", "values": ["back"]}]}),
            &["a", "b"],
        ),
        ("Exists", json!({"expressionSelectors": [{"key": "tier", "operator": "Exists"}]}), &["c"]),
        (
            "DoesNotExist",
            json!({"expressionSelectors": [{"key": "tier", "operator": "DoesNotExist"}]}),
            &["a", "b"],
        ),
        (
            "expressions and labels are all needed",
            json!({"labelSelectors": {"app": "db"}, "expressionSelectors": [{"key": "tier", "operator": "DoesNotExist"}]}),
            &["b"],
        ),
        ("annotation with any text", json!({"annotationSelectors": {"note": "a b, c"}}), &["a"]),
        ("annotation in part", json!({"annotationSelectors": {"note": "a b"}}), &[]),
        ("field", json!({"fieldSelectors": {"spec.nodeName": "n2", "status.phase": "Running"}}), &["b"]),
        ("field podIP", json!({"fieldSelectors": {"status.podIP": "10.0.0.1"}}), &["a"]),
        ("field without a value", json!({"fieldSelectors": {"spec.serviceAccountName": ""}}), &["b", "c"]),
        ("nodes", json!({"nodes": ["n1"]}), &["a"]),
        ("node labels", json!({"nodeSelectors": {"zone": "b"}}), &["b", "c"]),
        (
            "nodes and node labels add up",
            json!({"nodes": ["n1"], "nodeSelectors": {"zone": "b"}}),
            &["a", "b", "c"],
        ),
        ("node labels that no node has", json!({"nodeSelectors": {"zone": "z"}}), &[]),
        ("phase", json!({"podPhaseSelectors": ["Pending"]}), &["c"]),
        ("phases are alternatives", json!({"podPhaseSelectors": ["Pending", "Running"]}), &["a", "b", "c"]),
        ("phase excluded", json!({"podPhaseSelectors": ["!Pending"]}), &["a", "b"]),
        ("phase wanted and excluded", json!({"podPhaseSelectors": ["Running", "!Running"]}), &[]),
        (
            "pods replaces everything else",
            json!({"pods": {"elsewhere": ["d", "missing"], "default": ["b"]}, "labelSelectors": {"app": "nothing"}}),
            &["b", "d"],
        ),
    ];
    for (name, selector, expected) in cases {
        assert_eq!(names(&select_all(&selector, &world)), expected, "{name}");
    }
}

#[test]
fn what_cannot_be_a_target_is_named_with_its_reason() {
    let cases: [(&str, Value, Exclusion); 9] = [
        ("host", json!({"spec": {"hostNetwork": true}}), Exclusion::HostNetwork),
        ("gvisor", json!({"spec": {"runtimeClassName": "gvisor"}}), Exclusion::OwnKernel),
        ("kata", json!({"spec": {"runtimeClassName": "kata-qemu"}}), Exclusion::OwnKernel),
        ("protected", json!({"metadata": {"namespace": "kube-system"}}), Exclusion::Protected),
        ("dying", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), Exclusion::Terminating),
        ("done", json!({"status": {"phase": "Succeeded"}}), Exclusion::Finished),
        ("unscheduled", json!({"spec": {"nodeName": null}}), Exclusion::NoNode),
        ("lost", json!({"spec": {"nodeName": "n9"}}), Exclusion::NoNode),
        ("young", json!({"status": {"podIP": null, "podIPs": null}}), Exclusion::NoAddress),
    ];
    for (name, changes, reason) in cases {
        let world = world_of(vec![changed_pod(name, "web", "n1", "10.0.0.1", &changes)]);
        let selection = select_all(&json!({"namespaces": ["default", "kube-system"]}), &world);
        assert!(selection.pods.is_empty(), "{name}");
        assert_eq!(selection.excluded.iter().map(|e| e.reason).collect::<Vec<_>>(), [reason], "{name}");
    }
}

#[test]
fn numbers_are_rounded_up() {
    let pods = |count: usize| {
        world_of((0..count).map(|i| pod(&format!("p{i}"), "web", "n1", &format!("10.0.0.{i}"))).collect())
    };
    for (mode, amount, candidates, expected) in [
        (Mode::One, 0, 3, 1),
        (Mode::One, 0, 0, 0),
        (Mode::All, 0, 3, 3),
        (Mode::Fixed, 2, 3, 2),
        (Mode::Fixed, 5, 3, 3),
        (Mode::FixedPercent, 50, 3, 2),
        (Mode::FixedPercent, 1, 3, 1),
        (Mode::FixedPercent, 100, 3, 3),
        (Mode::FixedPercent, 34, 3, 2),
        (Mode::FixedPercent, 33, 3, 1),
    ] {
        let selection = select_with(&json!({}), mode, amount, &pods(candidates), (1, &BTreeSet::new()));
        assert_eq!(selection.pods.len(), expected, "{mode:?} {amount} of {candidates}");
    }
    let drawn: BTreeSet<usize> = (0..200)
        .map(|seed| {
            select_with(&json!({}), Mode::RandomMaxPercent, 100, &pods(3), (seed, &BTreeSet::new()))
                .pods
                .len()
        })
        .collect();
    assert_eq!(drawn, [0, 1, 2, 3].into(), "every count comes up, none among them");
}

#[test]
fn every_pod_has_its_chance() {
    let world =
        world_of((0..4).map(|i| pod(&format!("p{i}"), "web", "n1", &format!("10.0.0.{i}"))).collect());
    let mut hits = [0_u32; 4];
    for seed in 0..4000 {
        let selection = select_with(&json!({}), Mode::One, 0, &world, (seed, &BTreeSet::new()));
        hits[selection.pods[0].name_any().trim_start_matches('p').parse::<usize>().unwrap()] += 1;
    }
    // 1,000 expected, standard deviation 27.
    assert!(hits.iter().all(|hits| (850..1150).contains(hits)), "{hits:?}");
}

proptest! {
    #[test]
    fn a_draw_is_exact_repeatable_and_keeps_what_is_there(
        count in 0_usize..40,
        amount in 1_u32..50,
        seed: u64,
        kept in proptest::collection::btree_set(0_usize..40, 0..10),
        shuffle: u64,
    ) {
        let mut pods: Vec<Pod> =
            (0..count).map(|i| pod(&format!("p{i}"), "web", "n1", &format!("10.0.0.{i}"))).collect();
        let keep: BTreeSet<String> = kept.iter().map(|i| format!("uid-p{i}")).collect();
        let first = select_with(&json!({}), Mode::Fixed, amount, &world_of(pods.clone()), (seed, &keep));
        let all: BTreeSet<String> = pods.iter().map(ResourceExt::name_any).collect();
        let picked: BTreeSet<String> = names(&first).into_iter().collect();
        prop_assert_eq!(picked.len(), first.pods.len(), "no duplicates");
        prop_assert_eq!(first.pods.len(), count.min(amount as usize), "exact count");
        prop_assert!(picked.is_subset(&all));
        let there = first.pods.iter().filter(|pod| keep.contains(&pod.uid().unwrap())).count();
        let could = all.iter().filter(|name| keep.contains(&format!("uid-{name}"))).count();
        prop_assert_eq!(there, could.min(amount as usize), "what has the fault is picked first");
        rand::seq::SliceRandom::shuffle(&mut pods[..], &mut StdRng::seed_from_u64(shuffle));
        let again = select_with(&json!({}), Mode::Fixed, amount, &world_of(pods), (seed, &keep));
        prop_assert_eq!(names(&first), names(&again), "the order of the pods does not matter");
    }
}
