//! The rules of Chaos Mesh, for who asks for them.

use super::*;
use crate::api::SEMANTICS_ANNOTATION;

fn as_in_chaos_mesh(changes: &Value) -> Cluster {
    let mut all = json!({"metadata": {
        "creationTimestamp": "2025-12-31T23:59:50Z",
        "annotations": {SEMANTICS_ANNOTATION: "chaos-mesh"},
    }});
    merge(&mut all, changes);
    Cluster::new(&all)
}

#[test]
fn the_duration_counts_from_the_creation() {
    let mut cluster = as_in_chaos_mesh(&json!({"spec": {"duration": "60s"}}));
    cluster.work();
    let spec = &cluster.on("n1").spec;
    assert_eq!(
        (spec.remaining.as_deref(), spec.not_after.0),
        (None, start() + SignedDuration::from_secs(50))
    );
    assert!(cluster.status().is(ConditionKind::AllInjected));
    cluster.wait(49);
    cluster.work();
    assert!(cluster.status().experiment.ended.is_none());
    cluster.wait(1);
    cluster.work();
    assert_eq!(cluster.status().experiment.ended.as_deref(), Some("DurationElapsed"));
    assert!(cluster.injections.is_empty());
    let mut late = as_in_chaos_mesh(&json!({"spec": {"duration": "10s"}}));
    late.work();
    assert!(late.injections.is_empty(), "it was over before anybody looked");
    assert_eq!(late.status().experiment.ended.as_deref(), Some("DurationElapsed"));
}

#[test]
fn a_pause_lets_the_clock_go_on() {
    let pause = |cluster: &mut Cluster, value: &str| {
        let value = value.to_owned();
        cluster.edit(|chaos| {
            chaos.annotations_mut().insert(PAUSE_ANNOTATION.to_owned(), value);
        });
        cluster.work();
    };
    let mut cluster = as_in_chaos_mesh(&json!({"spec": {"duration": "60s"}}));
    cluster.work();
    pause(&mut cluster, "true");
    cluster.wait(30);
    pause(&mut cluster, "false");
    assert!(cluster.status().is(ConditionKind::AllInjected));
    assert_eq!(cluster.on("n1").spec.not_after.0, start() + SignedDuration::from_secs(50));
    pause(&mut cluster, "true");
    cluster.wait(20);
    cluster.work();
    assert!(cluster.status().experiment.ended.is_some(), "paused past its duration");
    pause(&mut cluster, "false");
    assert!(cluster.injections.is_empty(), "it never runs again");
}

#[test]
fn an_empty_selection_is_not_tried_again() {
    let mut cluster = as_in_chaos_mesh(&json!({"spec": {"duration": "60s"}}));
    cluster.world = world_of(vec![]);
    cluster.work();
    cluster.world = world();
    cluster.work();
    cluster.wait(49);
    cluster.work();
    assert!(cluster.injections.is_empty());
    let selected = cluster.status().condition(ConditionKind::Selected).unwrap().clone();
    assert!(selected.message.unwrap().contains("not tried again"));
    assert_eq!(cluster.events, ["Failed"]);
    cluster.wait(1);
    cluster.work();
    assert_eq!(cluster.status().experiment.ended.as_deref(), Some("DurationElapsed"));
    assert_eq!(cluster.events, ["Failed", "TimeUp"]);
}

#[test]
fn targets_are_not_followed() {
    let mut cluster = as_in_chaos_mesh(&json!({}));
    cluster.work();
    let before: Vec<_> = cluster.injections.iter().map(|one| one.spec.targets.clone()).collect();
    cluster.world =
        world_of(vec![pod("web-1", "web", "n1", "10.0.1.1"), pod("web-9", "web", "n2", "10.0.2.9")]);
    cluster.work();
    cluster.wait(60);
    cluster.work();
    let after: Vec<_> = cluster.injections.iter().map(|one| one.spec.targets.clone()).collect();
    assert_eq!(after, before);
}

#[test]
fn a_changed_spec_is_refused() {
    let mut cluster = as_in_chaos_mesh(&json!({}));
    cluster.work();
    cluster.edit_spec(&json!({"spec": {"direction": "both"}}));
    cluster.work();
    let invalid = cluster.status().condition(ConditionKind::Invalid).unwrap().clone();
    assert!(invalid.message.unwrap().starts_with("spec: was changed"), "said, with what to do");
    assert!(cluster.injections.is_empty());
    cluster.edit(|chaos| drop(chaos.annotations_mut().remove(SEMANTICS_ANNOTATION)));
    cluster.work();
    assert!(cluster.status().is(ConditionKind::AllInjected));
}

#[test]
fn a_value_that_nobody_knows_is_said_and_passed_over() {
    let mut cluster = as_in_chaos_mesh(&json!({
        "metadata": {"annotations": {SEMANTICS_ANNOTATION: "litmus"}}, "spec": {"duration": "60s"},
    }));
    cluster.work();
    assert_eq!(cluster.on("n1").spec.remaining.as_deref(), Some("1m0s"));
    assert_eq!(cluster.events, ["Failed", "Started", "Applied"]);
}
