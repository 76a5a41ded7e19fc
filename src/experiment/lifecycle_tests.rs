use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::fixtures::{changed_pod, chaos, merge, node, pod, start, world, world_of};
use super::*;
use crate::api::{
    ExperimentStatus, InjectionStatus, NetworkChaos, PAUSE_ANNOTATION, TargetPhase, TargetStatus,
};

/// An API server that obeys, and daemons that do what they are told.
struct Cluster {
    chaos: Option<NetworkChaos>,
    injections: Vec<Injection>,
    world: World,
    hosts: Hosts,
    limits: Limits,
    halts: Vec<Arc<Halt>>,
    now: Timestamp,
    silent: BTreeSet<String>,
    events: Vec<String>,
    writes: usize,
    /// The controller dies before this write and another one starts.
    crash_at: Option<usize>,
}

impl Cluster {
    fn new(changes: &Value) -> Self {
        Self {
            chaos: Some(chaos(changes)),
            injections: Vec::new(),
            world: world(),
            hosts: Hosts::new(),
            limits: Limits::default(),
            halts: Vec::new(),
            now: start(),
            silent: BTreeSet::new(),
            events: Vec::new(),
            writes: 0,
            crash_at: None,
        }
    }

    fn chaos(&self) -> &NetworkChaos {
        self.chaos.as_ref().expect("the experiment is there")
    }

    fn status(&self) -> ChaosStatus {
        self.chaos().status.clone().unwrap_or_default()
    }

    fn step(&self) -> Vec<Action> {
        let injections: Vec<Arc<Injection>> = self.injections.iter().cloned().map(Arc::new).collect();
        step(&Input {
            chaos: self.chaos(),
            injections: &injections,
            world: &self.world,
            hosts: &self.hosts,
            limits: &self.limits,
            halts: &self.halts,
            now: self.now,
        })
    }

    /// Steps until there is nothing to do.
    fn settle(&mut self) {
        for _ in 0..20 {
            if self.chaos.is_none() {
                return;
            }
            let actions = self.step();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.writes += 1;
                if self.crash_at == Some(self.writes) {
                    break;
                }
                self.carry_out(action);
            }
        }
        panic!("still not settled: {:#?}", self.step());
    }

    fn carry_out(&mut self, action: Action) {
        let now = Time(self.now);
        match action {
            Action::AddFinalizer => self.edit(|chaos| {
                chaos.metadata.finalizers = Some(vec![RECORDS_FINALIZER.to_owned()]);
            }),
            Action::CreateInjection(mut injection) => {
                assert!(
                    has_finalizer(&self.chaos().metadata, RECORDS_FINALIZER),
                    "an Injection without a held experiment"
                );
                let name = injection.name_any();
                assert!(
                    self.injections.iter().all(|known| known.name_any() != name),
                    "{name} is there already"
                );
                injection.metadata.generation = Some(1);
                self.injections.push(*injection);
            }
            Action::UpdateInjection(name, spec) => {
                let injection = self.injection(&name);
                assert_ne!(injection.spec, *spec, "an update that changes nothing");
                injection.spec = *spec;
                injection.metadata.generation = injection.metadata.generation.map(|number| number + 1);
            }
            Action::DeleteInjection(name) => {
                let injection = self.injection(&name);
                assert!(injection.metadata.deletion_timestamp.is_none(), "deleted twice");
                injection.metadata.deletion_timestamp = Some(now);
                injection.metadata.generation = injection.metadata.generation.map(|number| number + 1);
            }
            Action::ReleaseInjection(name) => {
                self.injections.retain(|injection| injection.name_any() != name);
            }
            Action::RemoveFinalizer => {
                assert!(self.injections.is_empty(), "let go with Injections left");
                self.chaos = None;
            }
            Action::PatchStatus(status) => {
                assert_ne!(self.status(), *status, "a write that changes nothing");
                self.edit(|chaos| chaos.status = Some(*status));
            }
            Action::Emit(event) => self.events.push(event.reason.to_owned()),
        }
    }

    fn edit(&mut self, change: impl FnOnce(&mut NetworkChaos)) {
        change(self.chaos.as_mut().expect("the experiment is there"));
    }

    fn edit_spec(&mut self, changes: &Value) {
        let mut value = serde_json::to_value(self.chaos()).unwrap();
        merge(&mut value, changes);
        let generation = self.chaos().metadata.generation.map(|number| number + 1);
        self.chaos = Some(serde_json::from_value(value).unwrap());
        self.edit(|chaos| chaos.metadata.generation = generation);
    }

    fn delete(&mut self) {
        let now = Time(self.now);
        self.edit(|chaos| {
            chaos.metadata.deletion_timestamp = Some(now);
            chaos.metadata.generation = chaos.metadata.generation.map(|number| number + 1);
        });
    }

    fn injection(&mut self, name: &str) -> &mut Injection {
        self.injections
            .iter_mut()
            .find(|injection| injection.name_any() == name)
            .expect("the Injection is there")
    }

    fn on(&self, node: &str) -> &Injection {
        self.injections
            .iter()
            .find(|injection| injection.spec.node == node)
            .expect("the node has an Injection")
    }

    fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// Every daemon that is not silent does what its Injections say, and says so.
    fn daemons(&mut self) {
        let now = self.now;
        let silent = self.silent.clone();
        for injection in self.injections.iter_mut().filter(|injection| !silent.contains(&injection.spec.node))
        {
            obey(injection, now);
        }
    }

    /// Controller and daemons until nothing changes.
    fn work(&mut self) {
        for _ in 0..10 {
            self.settle();
            let before = self.injections.clone();
            self.daemons();
            if before == self.injections {
                return;
            }
        }
        panic!("controller and daemons do not agree");
    }
}

/// What a daemon does with an Injection.
fn obey(injection: &mut Injection, now: Timestamp) {
    let mut status = injection.status.take().unwrap_or_default();
    let spec = &injection.spec;
    if status.observed_run != spec.run {
        let InjectionStatus { targets, .. } = status;
        status = InjectionStatus { targets, observed_run: spec.run, ..InjectionStatus::default() };
    }
    let gone = status.started_at.as_ref().map(|started| now.duration_since(started.0));
    let is_over = spec
        .effective_remaining()
        .zip(gone)
        .is_some_and(|(left, gone)| gone >= SignedDuration::try_from(left).unwrap());
    let absence = if injection.metadata.deletion_timestamp.is_some() {
        Some("Deleted")
    } else if status.ended.is_some() || (is_over && !spec.paused) {
        status.ended = Some("DurationElapsed".to_owned());
        Some("DurationElapsed")
    } else {
        spec.paused.then_some("Paused")
    };
    if absence == Some("Paused") && status.elapsed.is_none() {
        status.elapsed = gone.map(|gone| format!("{}s", gone.as_secs()));
    }
    let old = std::mem::take(&mut status.targets);
    for target in &spec.targets {
        let known = old.iter().find(|status| status.target == *target);
        let was = known.map_or(TargetPhase::Waiting, |status| status.phase);
        let phase = match (absence, was) {
            (None, _) => TargetPhase::Injected,
            (Some(_), TargetPhase::Injected) => TargetPhase::Recovered,
            (Some(_), other) => other,
        };
        if phase == TargetPhase::Injected && status.started_at.is_none() {
            status.started_at = Some(Time(now));
        }
        status.targets.push(TargetStatus {
            target: target.clone(),
            phase,
            evidence: None,
            error: None,
            since: known.filter(|_| was == phase).map_or(Time(now), |status| status.since.clone()),
            injected_count: u32::from(phase != TargetPhase::Waiting),
            recovered_count: u32::from(phase == TargetPhase::Recovered),
        });
    }
    status.wanted = Some(absence.unwrap_or(PRESENT).to_owned());
    status.observed_generation = injection.metadata.generation.unwrap_or_default();
    injection.status = Some(status);
}

#[test]
fn from_creation_to_the_end_of_its_time() {
    let mut cluster = Cluster::new(&json!({"spec": {"duration": "60s"}}));
    cluster.settle();
    assert_eq!(cluster.injections.len(), 2, "one for each node with targets");
    assert!(cluster.status().is(ConditionKind::Selected) && cluster.status().is(ConditionKind::AllRecovered));
    assert_eq!(cluster.status().experiment.desired_phase, Some(DesiredPhase::Run));
    let spec = &cluster.on("n1").spec;
    assert_eq!((spec.run, spec.remaining.as_deref(), spec.lease.as_str()), (1, Some("1m0s"), "30s"));
    assert_eq!(spec.not_after.0, start() + SignedDuration::from_secs(3660));
    let shown = |cluster: &Cluster| {
        let ExperimentStatus { injected, remaining, .. } = cluster.status().experiment;
        (injected.unwrap(), remaining)
    };
    assert_eq!(shown(&cluster), ("0/3".to_owned(), Some("1m0s".to_owned())), "no fault is there yet");
    cluster.work();
    assert!(cluster.status().is(ConditionKind::AllInjected));
    assert_eq!(shown(&cluster), ("3/3".to_owned(), Some("until 2026-01-01T00:01:00Z".to_owned())));
    cluster.wait(59);
    cluster.work();
    assert!(cluster.status().experiment.ended.is_none());
    assert_eq!(shown(&cluster).1.as_deref(), Some("until 2026-01-01T00:01:00Z"));
    cluster.wait(1);
    cluster.work();
    let status = cluster.status();
    assert_eq!(status.experiment.ended.as_deref(), Some("DurationElapsed"));
    assert_eq!(status.experiment.desired_phase, Some(DesiredPhase::Stop));
    assert!(status.is(ConditionKind::AllRecovered) && !status.is(ConditionKind::AllInjected));
    assert!(cluster.injections.is_empty());
    assert_eq!(status.experiment.container_records.len(), 3, "the records outlive the Injections");
    assert_eq!(shown(&cluster), ("0/3".to_owned(), None));
    assert_eq!(cluster.events, ["Started", "Applied", "TimeUp", "Recovered"]);
    cluster.wait(3600);
    cluster.work();
    assert_eq!(cluster.status(), status, "nothing starts again");
    cluster.delete();
    cluster.work();
    assert!(cluster.chaos.is_none());
}

#[test]
fn deletion_waits_until_every_daemon_has_read_back() {
    let mut cluster = Cluster::new(&json!({}));
    cluster.work();
    cluster.silent.insert("n2".to_owned());
    cluster.delete();
    cluster.work();
    assert!(cluster.injections.iter().all(|injection| injection.metadata.deletion_timestamp.is_some()));
    assert!(!cluster.status().is(ConditionKind::AllRecovered));
    cluster.silent.clear();
    cluster.work();
    assert!(cluster.chaos.is_none());
    assert_eq!(cluster.events, ["Started", "Applied", "Recovered", "Deleted"]);
}

#[test]
fn a_silent_daemon_holds_the_deletion_for_less_than_its_lease_and_ten_seconds() {
    let mut cluster = Cluster::new(&json!({"metadata": {"annotations": {"squall.dev/lease": "20s"}}}));
    cluster.work();
    cluster.silent.insert("n2".to_owned());
    cluster.delete();
    cluster.work();
    cluster.wait(26);
    cluster.work();
    assert!(cluster.chaos.is_some());
    cluster.wait(1);
    cluster.work();
    assert!(cluster.chaos.is_none());
    assert_eq!(
        cluster.events[2..],
        ["Failed", "Failed", "Deleted"],
        "that nobody read back is said, in general and for the target"
    );
}

#[test]
fn a_daemon_that_cannot_undo_is_believed_but_not_for_ever() {
    let mut cluster = Cluster::new(&json!({}));
    cluster.work();
    cluster.delete();
    cluster.settle();
    cluster.daemons();
    let stuck = cluster.injections.iter_mut().find(|injection| injection.spec.node == "n1").unwrap();
    stuck.status.as_mut().unwrap().targets[0].phase = TargetPhase::Stuck;
    cluster.wait(36);
    cluster.settle();
    assert_eq!(cluster.injections.len(), 2, "something is left: nothing is let go");
    let held = cluster.status();
    assert_eq!(held.condition(ConditionKind::AllRecovered).unwrap().status, "False");
    cluster.wait(1);
    cluster.settle();
    assert!(cluster.chaos.is_none(), "the lease and what is allowed beyond it are over");
    assert_eq!(
        cluster.events[cluster.events.len() - 2..],
        ["Failed", "Deleted"],
        "that something is left is said"
    );
}

#[test]
fn an_experiment_that_is_only_over_waits_for_a_daemon_that_cannot_undo() {
    let mut cluster = Cluster::new(&json!({"spec": {"duration": "60s"}}));
    cluster.work();
    cluster.wait(60);
    cluster.daemons();
    cluster.settle();
    cluster.daemons();
    let stuck = cluster.injections.iter_mut().find(|injection| injection.spec.node == "n1").unwrap();
    stuck.status.as_mut().unwrap().targets[0].phase = TargetPhase::Stuck;
    cluster.wait(3600);
    cluster.settle();
    assert_eq!(
        cluster.injections.len(),
        2,
        "nobody is held up, and its daemon may still say that it is gone"
    );
    cluster.delete();
    cluster.settle();
    assert!(cluster.chaos.is_none());
}

#[test]
fn a_pause_that_no_daemon_has_seen_does_not_start_the_time_anew() {
    let pause = |paused: Value| json!({"metadata": {"annotations": {PAUSE_ANNOTATION: paused}}});
    let mut cluster = Cluster::new(&json!({"spec": {"duration": "60s"}}));
    cluster.work();
    cluster.wait(50);
    cluster.edit_spec(&pause("true".into()));
    cluster.settle();
    assert!(cluster.injections.iter().all(|injection| injection.spec.paused));
    cluster.edit_spec(&pause(Value::Null));
    cluster.settle();
    for injection in &cluster.injections {
        let spec = &injection.spec;
        assert_eq!((spec.paused, spec.run, spec.remaining.as_deref()), (false, 1, Some("1m0s")));
    }
}

#[test]
fn a_status_from_before_the_deletion_is_no_answer() {
    let mut cluster = Cluster::new(&json!({}));
    cluster.settle();
    let paused = |injection: &mut Injection| {
        let wanted = Some("LeaseLost".to_owned());
        injection.status =
            Some(InjectionStatus { observed_generation: 1, wanted, ..InjectionStatus::default() });
    };
    cluster.injections.iter_mut().for_each(paused);
    cluster.delete();
    cluster.settle();
    assert_eq!(cluster.injections.len(), 2, "the daemon may be injecting at this moment");
}

#[test]
fn a_node_that_is_gone_holds_nothing_up() {
    let mut cluster = Cluster::new(&json!({}));
    cluster.work();
    cluster.world = World::new(
        vec![Arc::new(pod("web-1", "web", "n1", "10.0.1.1"))],
        vec![Arc::new(node("n1", "a"))],
        vec![],
        vec![],
    );
    cluster.work();
    assert_eq!(cluster.injections.len(), 1);
    assert!(cluster.status().is(ConditionKind::AllInjected), "what is left of it runs on");
    cluster.delete();
    cluster.work();
    assert!(cluster.chaos.is_none());
}

#[test]
fn a_node_without_an_answer_does_not_keep_an_experiment_from_ending() {
    for starts in [false, true] {
        let mut cluster = Cluster::new(&json!({"spec": {"duration": "60s"}}));
        if starts {
            cluster.work();
        }
        cluster.silent.insert("n2".to_owned());
        cluster.work();
        cluster.wait(64);
        cluster.work();
        assert_eq!(cluster.status().experiment.ended.is_some(), !starts, "n2 may still be about to say so");
        cluster.wait(1);
        cluster.work();
        assert!(cluster.status().experiment.ended.is_some(), "starts: {starts}");
        assert!(!cluster.injections.is_empty(), "held until the lease of n2 is over");
        cluster.wait(40);
        cluster.work();
        assert!(cluster.injections.is_empty() && cluster.status().is(ConditionKind::AllRecovered));
    }
}

#[test]
fn wrong_specs_end_in_invalid_until_they_are_mended() {
    let host = json!({"spec": {"externalTargets": ["nowhere.example"]}});
    let cases: [(&str, Value, Value, &str, &str); 4] = [
        (
            "unsupported",
            json!({"spec": {"action": "bandwidth", "bandwidth": {"rate": "1mbps", "limit": 20000, "buffer": 10000}}}),
            json!({"spec": {"action": "partition"}}),
            "NotSupported",
            "spec.action: ",
        ),
        (
            "bad duration",
            json!({"spec": {"duration": "1d"}}),
            json!({"spec": {"duration": "1h"}}),
            "Failed",
            "spec.duration: ",
        ),
        (
            "remote cluster",
            json!({"spec": {"remoteCluster": "x"}}),
            json!({"spec": {"remoteCluster": null}}),
            "Failed",
            "spec.remoteCluster: ",
        ),
        ("unresolved", host, json!({"spec": {"externalTargets": []}}), "Failed", "spec.externalTargets[0]: "),
    ];
    for (name, wrong, right, event, message) in cases {
        let mut cluster = Cluster::new(&wrong);
        cluster.work();
        let status = cluster.status();
        let invalid = status.condition(ConditionKind::Invalid).expect(name);
        assert!(invalid.message.as_ref().unwrap().starts_with(message), "{name}: {invalid:?}");
        assert!(cluster.injections.is_empty(), "{name}");
        assert_eq!(cluster.events, [event], "{name}: once");
        cluster.edit_spec(&right);
        cluster.work();
        assert!(cluster.status().is(ConditionKind::AllInjected), "{name}");
        assert!(!cluster.status().is(ConditionKind::Invalid), "{name}");
        cluster.edit_spec(&wrong);
        cluster.work();
        assert!(cluster.injections.is_empty(), "{name}: what became invalid is undone");
        cluster.edit_spec(&right);
        cluster.work();
        assert!(cluster.status().is(ConditionKind::AllInjected), "{name}: and comes back");
        cluster.delete();
        cluster.work();
        assert!(cluster.chaos.is_none(), "{name}");
    }
}

#[test]
fn an_invalid_experiment_can_be_deleted() {
    let mut cluster = Cluster::new(
        &json!({"spec": {"remoteCluster": "x"}, "metadata": {"finalizers": [RECORDS_FINALIZER]}}),
    );
    cluster.work();
    cluster.delete();
    cluster.work();
    assert!(cluster.chaos.is_none());
}

#[test]
fn nothing_to_select_is_said_once_and_tried_again() {
    let mut cluster = Cluster::new(&json!({}));
    cluster.world = world_of(vec![]);
    cluster.work();
    cluster.work();
    assert_eq!(cluster.events, ["Failed"]);
    assert!(
        cluster
            .status()
            .condition(ConditionKind::Selected)
            .unwrap()
            .message
            .as_ref()
            .unwrap()
            .contains("no pod")
    );
    cluster.world = world();
    cluster.work();
    assert!(cluster.status().is(ConditionKind::AllInjected));
    assert_eq!(cluster.events, ["Failed", "Started", "Applied"]);
}

#[test]
fn pause_keeps_the_time_that_is_left() {
    let mut cluster = Cluster::new(&json!({"spec": {"duration": "60s"}}));
    cluster.work();
    cluster.wait(20);
    let annotate = |value: &str| {
        let value = value.to_owned();
        move |chaos: &mut NetworkChaos| {
            chaos.annotations_mut().insert(PAUSE_ANNOTATION.to_owned(), value);
        }
    };
    cluster.edit(annotate("true"));
    cluster.work();
    let status = cluster.status();
    assert!(status.is(ConditionKind::Paused) && status.is(ConditionKind::AllRecovered));
    assert_eq!(status.experiment.desired_phase, Some(DesiredPhase::Stop));
    assert_eq!(status.experiment.remaining.as_deref(), Some("40s"));
    cluster.wait(1000);
    cluster.work();
    assert!(cluster.status().experiment.ended.is_none(), "time stands still");
    cluster.edit(annotate("false"));
    cluster.work();
    let spec = &cluster.on("n1").spec;
    assert_eq!((spec.run, spec.remaining.as_deref()), (2, Some("40s")));
    assert!(cluster.status().is(ConditionKind::AllInjected));
    let until =
        format!("until {}", (cluster.now + SignedDuration::from_secs(40)).strftime("%Y-%m-%dT%H:%M:%SZ"));
    assert_eq!(cluster.status().experiment.remaining, Some(until));
    cluster.wait(39);
    cluster.work();
    assert!(cluster.status().experiment.ended.is_none());
    cluster.wait(1);
    cluster.work();
    assert!(cluster.status().experiment.ended.is_some());
}

#[test]
fn an_experiment_that_is_created_paused_waits() {
    let mut cluster = Cluster::new(&json!({"metadata": {"annotations": {PAUSE_ANNOTATION: "true"}}}));
    cluster.work();
    assert!(cluster.injections.is_empty() && cluster.status().is(ConditionKind::Paused));
    cluster.edit(|chaos| drop(chaos.annotations_mut().remove(PAUSE_ANNOTATION)));
    cluster.work();
    assert!(cluster.status().is(ConditionKind::AllInjected));
}

#[test]
fn without_a_duration_the_cap_rolls_ahead() {
    let mut cluster = Cluster::new(&json!({}));
    cluster.work();
    assert_eq!(cluster.on("n1").spec.not_after.0, start() + SignedDuration::from_hours(1));
    cluster.wait(1800);
    let writes = cluster.writes;
    cluster.work();
    assert_eq!(cluster.writes, writes, "no write before it is needed");
    cluster.wait(1);
    cluster.work();
    assert_eq!(cluster.on("n1").spec.not_after.0, cluster.now + SignedDuration::from_hours(1));
}

#[test]
fn peers_follow_the_cluster_and_the_selection_stays() {
    let mut cluster = Cluster::new(&json!({}));
    cluster.work();
    let pods = vec![
        pod("web-1", "web", "n1", "10.0.1.77"),
        pod("web-2", "web", "n2", "10.0.2.1"),
        pod("web-3", "web", "n1", "10.0.1.3"),
        pod("db", "db", "n2", "10.0.2.2"),
    ];
    cluster.world = world_of(pods);
    cluster.work();
    assert_eq!(cluster.on("n1").spec.targets.len(), 1, "web-3 came later, and two were confirmed");
    let network = cluster.on("n2").spec.fault.network.clone().unwrap();
    let ingress = network.ends[1].ingress.clone().unwrap().peers.unwrap();
    let texts: Vec<_> = ingress.iter().map(|peer| peer.network.to_string()).collect();
    assert_eq!(texts, ["10.0.1.77/32", "10.0.2.1/32"]);
}

#[test]
fn a_name_that_no_longer_resolves_changes_nothing() {
    let mut cluster = Cluster::new(&json!({"spec": {"externalTargets": ["db.example"]}}));
    cluster.hosts.insert("db.example".to_owned(), vec!["203.0.113.9".parse().unwrap()]);
    cluster.work();
    let before = cluster.injections.clone();
    cluster.hosts.clear();
    cluster.work();
    assert_eq!(cluster.injections, before);
}

#[test]
fn an_edit_takes_effect_in_place() {
    let mut cluster = Cluster::new(&json!({"spec": {"duration": "60s"}}));
    cluster.work();
    cluster.edit_spec(&json!({"spec": {"direction": "both", "duration": "90s"}}));
    cluster.work();
    let spec = &cluster.on("n1").spec;
    assert_eq!((spec.run, spec.remaining.as_deref()), (1, Some("1m30s")));
    assert!(spec.fault.network.as_ref().unwrap().ends[0].ingress.is_some());
    cluster.edit_spec(&json!({"spec": {"target": null, "selector": {"nodes": ["n2"]}}}));
    cluster.work();
    assert_eq!(cluster.injections.len(), 1, "n1 has no target any more");
    assert_eq!(cluster.on("n2").spec.targets.len(), 1);
    assert_eq!(cluster.status().experiment.targets.unwrap().selected, 1);
    assert_eq!(cluster.events, ["Started", "Applied", "Updated", "Updated"]);
}

#[test]
fn abandoned_injections_are_deleted_and_let_go() {
    let mut cluster = Cluster::new(&json!({}));
    cluster.work();
    let abandoned = |cluster: &Cluster| {
        let injections: Vec<_> = cluster.injections.iter().cloned().map(Arc::new).collect();
        abandon(&injections, &cluster.world, cluster.now)
    };
    let actions = abandoned(&cluster);
    assert!(actions.iter().all(|action| matches!(action, Action::DeleteInjection(_))) && actions.len() == 2);
    for action in actions {
        cluster.carry_out(action);
    }
    assert_eq!(abandoned(&cluster), [], "the daemons have not answered");
    cluster.daemons();
    for action in abandoned(&cluster) {
        cluster.carry_out(action);
    }
    assert!(cluster.injections.is_empty());
}

/// The whole life, with a controller that dies before write number `crash_at`.
fn life(crash_at: Option<usize>) -> (Cluster, Vec<Value>) {
    let mut seen = Vec::new();
    let mut cluster = Cluster::new(&json!({"spec": {"duration": "60s", "mode": "one"}}));
    cluster.crash_at = crash_at;
    let mut note = |cluster: &Cluster| {
        let specs: Vec<_> = cluster.injections.iter().map(|injection| &injection.spec).collect();
        seen.push(json!([cluster.chaos, specs]));
    };
    cluster.work();
    note(&cluster);
    cluster.wait(60);
    cluster.work();
    note(&cluster);
    cluster.delete();
    cluster.work();
    note(&cluster);
    (cluster, seen)
}

#[test]
fn a_controller_may_die_before_any_write() {
    let (undisturbed, expected) = life(None);
    assert!(undisturbed.chaos.is_none() && undisturbed.writes > 12, "{} writes", undisturbed.writes);
    for crash_at in 1..=undisturbed.writes {
        let (_, seen) = life(Some(crash_at));
        assert_eq!(seen, expected, "died before write {crash_at}");
    }
}

proptest! {
    /// Whatever happens in whatever order: every step settles, no action contradicts the objects (the
    /// cluster checks each), and deletion always ends.
    #[test]
    fn nothing_gets_stuck(happenings in proptest::collection::vec(0_u8..10, 0..30), crash_at in proptest::option::of(1_usize..40)) {
        let mut cluster = Cluster::new(&json!({"spec": {"duration": "60s"}}));
        cluster.crash_at = crash_at;
        for happening in happenings {
            match happening {
                0 => cluster.settle(),
                1 => cluster.daemons(),
                2 => cluster.wait(7),
                3 => cluster.wait(61),
                4 => cluster.edit(|chaos| drop(chaos.annotations_mut().insert(PAUSE_ANNOTATION.to_owned(), "true".to_owned()))),
                5 => cluster.edit(|chaos| drop(chaos.annotations_mut().remove(PAUSE_ANNOTATION))),
                6 => cluster.edit_spec(&json!({"spec": {"direction": "both"}})),
                7 => cluster.edit_spec(&json!({"spec": {"remoteCluster": "x"}})),
                8 => cluster.edit_spec(&json!({"spec": {"remoteCluster": null}})),
                _ => {
                    if !cluster.silent.remove("n1") {
                        cluster.silent.insert("n1".to_owned());
                    }
                }
            }
        }
        cluster.delete();
        cluster.work();
        cluster.wait(40);
        cluster.work();
        prop_assert!(cluster.chaos.is_none() || !has_finalizer(&cluster.chaos().metadata, RECORDS_FINALIZER));
        prop_assert!(cluster.injections.is_empty());
    }
}

fn halt(namespaces: &[&str]) -> Arc<Halt> {
    let spec = json!({"namespaces": namespaces, "reason": "incident 4711"});
    Arc::new(Halt::new("stop", serde_json::from_value(spec).unwrap()))
}

#[test]
fn a_halt_finishes_what_it_covers_for_good() {
    for namespaces in [&[][..], &["other", "default"]] {
        let mut cluster = Cluster::new(&json!({"spec": {"duration": "60s"}}));
        cluster.work();
        cluster.halts = vec![halt(namespaces)];
        cluster.work();
        let status = cluster.status();
        assert_eq!(status.experiment.ended.as_deref(), Some("Halted"), "{namespaces:?}");
        assert!(status.is(ConditionKind::AllRecovered) && cluster.injections.is_empty());
        let injected = status.condition(ConditionKind::AllInjected).unwrap();
        assert_eq!((injected.status.as_str(), injected.reason.as_deref()), ("False", Some("Halted")));
        assert_eq!(cluster.events, ["Started", "Applied", "Halted", "Recovered"]);
        cluster.halts.clear();
        cluster.edit_spec(&json!({"spec": {"duration": "90s"}}));
        cluster.work();
        assert!(cluster.injections.is_empty(), "the release starts nothing, nor does an edit");
        assert_eq!(cluster.status().experiment.ended.as_deref(), Some("Halted"));
    }
}

#[test]
fn a_halt_that_was_released_before_the_controller_saw_it_counts() {
    let mut cluster = Cluster::new(&json!({}));
    cluster.work();
    // Only one node heard of it in time.
    cluster.injection(&cluster.on("n1").name_any()).status.as_mut().unwrap().ended =
        Some("Halted".to_owned());
    cluster.work();
    assert_eq!(cluster.status().experiment.ended.as_deref(), Some("Halted"));
    assert!(cluster.injections.is_empty());
}

#[test]
fn what_is_created_under_a_halt_waits_for_its_release() {
    for namespaces in [&[][..], &["default"]] {
        let mut cluster = Cluster::new(&json!({}));
        cluster.halts = vec![halt(namespaces)];
        cluster.work();
        cluster.wait(3600);
        cluster.work();
        assert!(cluster.injections.is_empty(), "{namespaces:?}");
        let status = cluster.status();
        let selected = status.condition(ConditionKind::Selected).unwrap();
        assert_eq!((selected.status.as_str(), selected.reason.as_deref()), ("False", Some("Halted")));
        let message = selected.message.as_deref().unwrap();
        assert_eq!(
            message,
            "Halt stop (incident 4711) covers it; it starts after squall halt --release stop"
        );
        assert_eq!(cluster.events, ["Halted"]);
        cluster.halts.clear();
        cluster.work();
        assert!(cluster.status().is(ConditionKind::AllInjected));
        assert_eq!(cluster.events, ["Halted", "Started", "Applied"]);
    }
}

#[test]
fn a_halt_of_other_namespaces_is_none() {
    let mut cluster = Cluster::new(&json!({}));
    cluster.halts = vec![halt(&["other"])];
    cluster.work();
    assert!(cluster.status().is(ConditionKind::AllInjected));
}

#[path = "follow_tests.rs"]
mod following;

#[path = "semantics_tests.rs"]
mod semantics;
