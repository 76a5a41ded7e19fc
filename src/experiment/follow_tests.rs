//! Following targets, its brakes, and the time that goes on meanwhile.

use super::*;
use crate::api::SOURCE_KEY;

/// A replacement of a web pod: its name, its node, its address.
type Web<'a> = (&'a str, &'a str, &'a str);

const FIRST: [Web<'static>; 2] = [("web-1", "n1", "10.0.1.1"), ("web-2", "n2", "10.0.2.1")];

impl Cluster {
    /// The web pods are these, and the database is the one it was.
    fn webs(&mut self, webs: &[Web<'_>]) {
        let mut pods: Vec<_> =
            webs.iter().map(|(name, node, address)| pod(name, "web", node, address)).collect();
        pods.push(pod("db", "db", "n2", "10.0.2.2"));
        self.world = world_of(pods);
    }

    /// The UIDs of the sources, over all nodes.
    fn sources(&self) -> BTreeSet<String> {
        let all = self.injections.iter().filter(|one| one.metadata.deletion_timestamp.is_none());
        let all = all.flat_map(|one| &one.spec.targets).filter(|target| target.selector_key == SOURCE_KEY);
        all.map(|target| target.uid.trim_start_matches("uid-").to_owned()).collect()
    }

    fn following(&self) -> Following {
        self.status().experiment.following.unwrap()
    }

    /// Lets `seconds` pass with a look at each of them.
    fn pass(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.wait(1);
            self.work();
        }
    }

    fn pause(&mut self, paused: bool) {
        self.edit(|chaos| {
            chaos.annotations_mut().insert(PAUSE_ANNOTATION.to_owned(), paused.to_string());
        });
        self.work();
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The addresses that the database no longer hears.
fn peers_of_db(cluster: &Cluster) -> Vec<String> {
    let network = cluster.on("n2").spec.fault.network.clone().unwrap();
    let end = network.ends.iter().find(|end| end.selector_key == ".Target").unwrap();
    let peers = end.ingress.clone().unwrap().peers.unwrap();
    peers.iter().map(|peer| peer.network.addr().to_string()).collect()
}

#[test]
fn a_pod_that_is_gone_is_replaced_after_a_second() {
    let mut cluster = Cluster::new(&json!({"spec": {"duration": "60s"}}));
    cluster.work();
    cluster.wait(20);
    cluster.webs(&[("web-1", "n1", "10.0.1.1"), ("web-9", "n2", "10.0.2.9")]);
    cluster.work();
    assert_eq!(cluster.sources(), set(&["web-1"]), "what is gone leaves at once, and the other waits");
    assert_eq!(lifecycle_wait(&cluster), Some(Duration::from_secs(1)));
    cluster.wait(1);
    cluster.work();
    assert_eq!(cluster.sources(), set(&["web-1", "web-9"]));
    assert_eq!(peers_of_db(&cluster), ["10.0.1.1", "10.0.2.9"], "the other end follows");
    assert!(cluster.status().is(ConditionKind::AllInjected));
    assert!(cluster.events.contains(&"Replaced".to_owned()), "{:?}", cluster.events);
    assert_eq!((cluster.on("n2").spec.run, cluster.on("n2").spec.used.as_deref()), (1, None), "one clock");
    cluster.wait(38);
    cluster.work();
    assert!(cluster.status().experiment.ended.is_none());
    cluster.wait(1);
    cluster.work();
    assert_eq!(cluster.status().experiment.ended.as_deref(), Some("DurationElapsed"));
}

fn lifecycle_wait(cluster: &Cluster) -> Option<Duration> {
    next_look(&cluster.status(), cluster.now)
}

#[test]
fn a_node_that_joins_has_only_the_time_that_is_left() {
    let mut cluster = Cluster::new(&json!({"spec": {"duration": "60s", "target": null}}));
    cluster.webs(&FIRST[..1]);
    cluster.work();
    assert_eq!(cluster.injections.len(), 1);
    cluster.wait(30);
    cluster.webs(&[("web-9", "n2", "10.0.2.9")]);
    cluster.work();
    assert!(cluster.injections.is_empty(), "no pod is left");
    let selected = cluster.status().condition(ConditionKind::Selected).unwrap().clone();
    assert!(selected.message.unwrap().contains("every target is gone"));
    cluster.wait(1);
    cluster.work();
    let spec = &cluster.on("n2").spec;
    assert_eq!((spec.used.as_deref(), spec.remaining.as_deref()), (Some("31s"), Some("29s")));
    cluster.wait(29);
    cluster.work();
    assert!(cluster.status().experiment.ended.is_some());
}

#[test]
fn time_passes_without_any_pod() {
    let mut cluster = Cluster::new(&json!({"spec": {"duration": "60s"}}));
    cluster.work();
    cluster.world = world_of(vec![]);
    cluster.work();
    cluster.wait(64);
    cluster.work();
    assert!(cluster.status().experiment.ended.is_none());
    cluster.wait(1);
    cluster.work();
    assert_eq!(cluster.status().experiment.ended.as_deref(), Some("DurationElapsed"));
    cluster.world = world();
    cluster.work();
    assert!(cluster.injections.is_empty());
}

#[test]
fn each_replacement_waits_longer_and_after_five_there_are_no_more() {
    let mut cluster = Cluster::new(&json!({"spec": {"mode": "one"}}));
    cluster.work();
    for (round, wait) in [1_i64, 2, 4, 8, 16].into_iter().enumerate() {
        let name = format!("web-r{round}");
        cluster.webs(&[(&name, "n1", "10.0.1.3")]);
        cluster.work();
        cluster.wait(wait - 1);
        cluster.work();
        assert_eq!(cluster.sources(), set(&[]), "round {round}: not before {wait} s");
        cluster.wait(1);
        cluster.work();
        assert_eq!(cluster.sources(), set(&[&name]), "round {round}");
        // Another controller knows as much.
        cluster.crash_at = Some(cluster.writes + 1);
    }
    let status = cluster.status();
    let unstable = status.condition(ConditionKind::TargetUnstable).unwrap();
    assert_eq!((unstable.status.as_str(), unstable.reason.as_deref()), ("True", Some("TooManyReplacements")));
    assert!(unstable.message.as_ref().unwrap().contains("pause and resume"));
    cluster.webs(&[("web-last", "n1", "10.0.1.3")]);
    cluster.work();
    cluster.wait(3600);
    cluster.work();
    assert_eq!(cluster.sources(), set(&[]), "never again by itself");
    assert_eq!(cluster.following().replaced.len(), 5, "bounded");
    cluster.pause(true);
    cluster.pause(false);
    assert_eq!(cluster.sources(), set(&["web-last"]));
    assert!(!cluster.status().is(ConditionKind::TargetUnstable));
}

#[test]
fn replacements_of_long_ago_do_not_count() {
    let mut cluster = Cluster::new(&json!({"spec": {"mode": "one"}}));
    cluster.work();
    for round in 0..12 {
        let name = format!("web-r{round}");
        cluster.webs(&[(&name, "n1", "10.0.1.3")]);
        cluster.work();
        cluster.wait(5 * 60);
        cluster.work();
        assert_eq!(cluster.sources(), set(&[&name]), "round {round}");
    }
    assert!(cluster.following().replaced.len() <= 3, "{:?}", cluster.following());
}

#[test]
fn there_are_never_more_targets_than_at_the_start() {
    let mut cluster = Cluster::new(&json!({}));
    cluster.work();
    let three = [FIRST[0], FIRST[1], ("web-3", "n1", "10.0.1.3")];
    cluster.webs(&three);
    cluster.work();
    cluster.pass(3);
    assert_eq!(cluster.sources(), set(&["web-1", "web-2"]));
    let limited = cluster.status().condition(ConditionKind::TargetsLimited).unwrap().clone();
    assert!(limited.message.unwrap().contains("3 pods were confirmed at the start, and 1 more match"));
    // An edit of anything but the selection confirms nothing anew.
    cluster.edit_spec(&json!({"spec": {"direction": "both", "duration": "1h"}}));
    cluster.work();
    cluster.pass(3);
    assert_eq!(cluster.sources(), set(&["web-1", "web-2"]));
    cluster.webs(&three[1..]);
    cluster.work();
    cluster.pass(2);
    assert_eq!(cluster.sources(), set(&["web-2", "web-3"]), "it takes the place of one that is gone");
    assert!(!cluster.status().is(ConditionKind::TargetsLimited));
    // An edit of the selection does.
    cluster.webs(&three);
    cluster
        .edit_spec(&json!({"spec": {"selector": {"labelSelectors": {"app": "web"}, "nodes": ["n1", "n2"]}}}));
    cluster.work();
    assert_eq!(cluster.sources(), set(&["web-1", "web-2", "web-3"]));
    assert_eq!(cluster.following().confirmed[SOURCE_KEY], 3);
}

#[test]
fn the_pods_that_stay_are_kept() {
    for mode in [json!({"mode": "one"}), json!({"mode": "fixed", "value": "2"})] {
        let mut cluster = Cluster::new(&json!({"spec": mode}));
        let all = [FIRST[0], FIRST[1], ("web-3", "n1", "10.0.1.3"), ("web-4", "n2", "10.0.2.4")];
        cluster.webs(&all);
        cluster.work();
        let before = cluster.sources();
        cluster.pass(5);
        assert_eq!(cluster.sources(), before, "{mode}");
        let gone = before.first().unwrap().clone();
        let left: Vec<_> = all.iter().filter(|web| web.0 != gone).copied().collect();
        cluster.webs(&left);
        cluster.work();
        cluster.pass(1);
        let after = cluster.sources();
        assert_eq!(after.len(), before.len(), "{mode}");
        assert!(before.iter().filter(|name| **name != gone).all(|name| after.contains(name)), "{mode}");
        assert!(!cluster.status().is(ConditionKind::TargetsLimited), "a choice among many is no limit");
    }
}

#[test]
fn a_pod_waits_until_it_is_ready_and_its_forerunner_is_gone() {
    let mut cluster = Cluster::new(&json!({"spec": {"target": null}}));
    cluster.work();
    let world = |web: [Option<&Value>; 3]| {
        let pods = ["web-1", "web-2", "web-9"].into_iter().zip(web);
        let pods =
            pods.filter_map(|(name, changes)| Some(changed_pod(name, "web", "n1", "10.0.1.9", changes?)));
        world_of(pods.collect())
    };
    let (here, none) = (json!({}), json!({"status": {"podIP": null, "podIPs": null}}));
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    cluster.world = world([Some(&here), Some(&going), Some(&ready)]);
    cluster.work();
    cluster.pass(5);
    assert_eq!(cluster.sources(), set(&["web-1", "web-2"]), "its place is not free yet");
    assert!(
        cluster.status().condition(ConditionKind::TargetsLimited).is_none(),
        "and it is not one too many"
    );
    for waits in [&none, &unready] {
        cluster.world = world([Some(&here), None, Some(waits)]);
        cluster.work();
        cluster.pass(5);
        assert_eq!(cluster.sources(), set(&["web-1"]), "{waits}");
    }
    cluster.world = world([Some(&here), None, Some(&ready)]);
    cluster.work();
    assert_eq!(cluster.sources(), set(&["web-1", "web-9"]), "it has waited long enough");
}

#[test]
fn nothing_is_replaced_in_a_pause_but_it_is_whole_afterwards() {
    let mut cluster = Cluster::new(&json!({"spec": {"duration": "60s"}}));
    cluster.work();
    cluster.wait(10);
    cluster.pause(true);
    cluster.wait(500);
    cluster.webs(&[("web-1", "n1", "10.0.1.1"), ("web-9", "n2", "10.0.2.9")]);
    cluster.work();
    assert!(cluster.following().replaced.is_empty(), "what has no fault needs no patience");
    cluster.pause(false);
    assert_eq!(cluster.sources(), set(&["web-1", "web-9"]));
    for node in ["n1", "n2"] {
        assert_eq!(cluster.on(node).spec.remaining.as_deref(), Some("50s"), "{node}");
    }
    assert!(cluster.status().is(ConditionKind::AllInjected));
}

#[test]
fn a_controller_that_dies_has_made_no_replacement_in_secret() {
    for crash in 1..8 {
        let mut cluster = Cluster::new(&json!({"spec": {"mode": "one"}}));
        cluster.work();
        cluster.webs(&[("web-9", "n1", "10.0.1.9")]);
        cluster.work();
        cluster.wait(1);
        cluster.crash_at = Some(cluster.writes + crash);
        cluster.work();
        cluster.pass(4);
        assert_eq!(cluster.sources(), set(&["web-9"]), "crash {crash}");
        assert!(!cluster.following().replaced.is_empty(), "crash {crash}");
    }
}

#[test]
fn a_duration_is_edited_in_a_later_run() {
    for (before, edit, left) in [
        (json!("60s"), json!("90s"), Some("1m10s")),
        (json!("60s"), json!("25s"), Some("5s")),
        (json!(null), json!("60s"), Some("40s")),
        (json!("60s"), json!(null), None),
    ] {
        let mut cluster = Cluster::new(&json!({"spec": {"duration": before}}));
        cluster.work();
        cluster.wait(20);
        cluster.pause(true);
        cluster.wait(1000);
        cluster.pause(false);
        cluster.edit_spec(&json!({"spec": {"duration": edit}}));
        cluster.work();
        let spec = &cluster.on("n1").spec;
        assert_eq!((spec.run, spec.used.as_deref()), (2, Some("20s")), "{before} to {edit}");
        assert_eq!(spec.remaining.as_deref(), left, "{before} to {edit}");
        assert!(cluster.status().is(ConditionKind::AllInjected));
    }
}

#[test]
fn a_duration_shorter_than_what_is_used_ends_it() {
    for paused in [false, true] {
        let mut cluster = Cluster::new(&json!({"spec": {"duration": "60s"}}));
        cluster.work();
        cluster.wait(20);
        cluster.pause(true);
        if !paused {
            cluster.pause(false);
        }
        cluster.edit_spec(&json!({"spec": {"duration": "20s"}}));
        cluster.work();
        assert_eq!(cluster.status().experiment.ended.as_deref(), Some("DurationElapsed"), "paused {paused}");
        assert!(cluster.injections.is_empty());
    }
}
