use std::sync::Arc;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::Limits;
use super::super::fixtures::{changed_pod, merge, pod_chaos, start, world_of};
use super::super::lifecycle::{Action, Input, step};
use super::super::plan::{Refusal, choose};
use super::super::pod_faults::{self, Attempt};
use super::*;
use crate::api::{ConditionKind, DesiredPhase, Injection, PAUSE_ANNOTATION, RecordPhase, TargetPhase};

/// A pod of a ReplicaSet with one running container.
fn owned(name: &str, changes: &Value) -> Pod {
    let mut whole = json!({
        "metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u",
            "controller": true}]},
        "spec": {"containers": [{"name": "c", "image": "web:1"}]},
        "status": {"containerStatuses": [{"name": "c", "image": "web:1", "imageID": "", "ready": true,
            "restartCount": 0, "containerID": format!("run://{name}"), "state": {"running": {}}}]},
    });
    merge(&mut whole, changes);
    changed_pod(name, "web", "n1", "10.0.1.1", &whole)
}

fn chosen(spec: &Value, pods: Vec<Pod>) -> Result<Vec<String>, Refusal> {
    let chaos = pod_chaos(&json!({"spec": spec}));
    let chosen = choose(&chaos, &[], &world_of(pods), &Limits::default())?;
    let name = |chosen: Chosen| match chosen.target.container {
        Some(container) => {
            format!("{}/{container}={}", chosen.target.pod, chosen.target.container_id.unwrap())
        }
        None => chosen.target.pod,
    };
    Ok(chosen.into_iter().map(name).collect())
}

#[test]
fn which_pods_each_action_can_act_on() {
    let bare = || owned("bare", &json!({"metadata": {"ownerReferences": null}}));
    let mirror =
        || owned("mirror", &json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}));
    let host = || owned("host", &json!({"spec": {"hostNetwork": true}}));
    let young =
        || owned("young", &json!({"status": {"podIP": null, "podIPs": null, "containerStatuses": null}}));
    let cases: [(&str, &[&str], [&str; 2]); 3] = [
        ("pod-kill", &["bare", "host", "young"], ["mirror", "static pod"]),
        ("pod-failure", &["host", "young"], ["bare", "bare pod"]),
        (
            "container-kill",
            &["bare/c=run://bare", "host/c=run://host", "mirror/c=run://mirror"],
            ["young", "named containers"],
        ),
    ];
    for (action, able, [unable, why]) in cases {
        let spec = json!({"action": action, "containerNames": ["c"]});
        assert_eq!(chosen(&spec, vec![bare(), mirror(), host(), young()]).unwrap(), able, "{action}");
        let only = [bare(), mirror(), young()].into_iter().filter(|pod| pod.name_any() == unable).collect();
        let said = match chosen(&spec, only).unwrap_err() {
            Refusal::Nothing(said) => said,
            Refusal::Invalid(problems) => problems[0].to_string(),
        };
        assert!(said.contains(why), "{action}: {said}");
    }
}

#[test]
fn containers_are_chosen_by_name_and_named_by_id() {
    let two = json!({"status": {"containerStatuses": [
        {"name": "a", "containerID": "run://1", "state": {"running": {}}, "image": "", "imageID": "", "ready": true, "restartCount": 0},
        {"name": "b", "containerID": "run://2", "state": {"running": {}}, "image": "", "imageID": "", "ready": true, "restartCount": 0},
        {"name": "c", "containerID": "run://3", "state": {"waiting": {}}, "image": "", "imageID": "", "ready": true, "restartCount": 0},
    ]}});
    let pods = || vec![owned("p", &two)];
    let names = |names: Value| chosen(&json!({"action": "container-kill", "containerNames": names}), pods());
    assert_eq!(names(json!(["b", "a", "c"])).unwrap(), ["p/a=run://1", "p/b=run://2"]);
    assert!(names(json!(["c"])).is_err());
}

#[test]
fn faults() {
    let fault = |changes: &Value| {
        let chaos = pod_chaos(changes);
        let world = world_of(vec![owned("p", &json!({}))]);
        let chosen = choose(&chaos, &[], &world, &Limits::default()).unwrap();
        let plan = chaos.plan(&chosen, &world, &Hosts::new()).unwrap();
        serde_json::to_value(&plan["n1"].fault).unwrap()
    };
    let polite = json!({"metadata": {"annotations": {RESPECT_BUDGETS_ANNOTATION: "true"}}, "spec": {"action": "pod-kill"}});
    for (changes, expected) in [
        (json!({"spec": {"action": "pod-failure"}}), json!({"podFailure": {}})),
        (
            json!({"spec": {"action": "container-kill", "containerNames": ["c"]}}),
            json!({"containerKill": {}}),
        ),
        (
            json!({"spec": {"action": "pod-kill"}}),
            json!({"podKill": {"gracePeriodSeconds": 0, "evict": false}}),
        ),
        (
            json!({"spec": {"action": "pod-kill", "gracePeriod": 7}}),
            json!({"podKill": {"gracePeriodSeconds": 7, "evict": false}}),
        ),
        (polite, json!({"podKill": {"gracePeriodSeconds": 0, "evict": true}})),
    ] {
        assert_eq!(fault(&changes), expected, "{changes}");
    }
}

/// An experiment, its Injection, and pods that obey: what the fault does to them is tested elsewhere.
struct Life {
    chaos: PodChaos,
    injections: Vec<Injection>,
    pods: Vec<Pod>,
    events: Vec<String>,
    now: Timestamp,
    gone: bool,
}

impl Life {
    fn new(changes: &Value) -> Self {
        let pods = vec![owned("p1", &json!({})), owned("p2", &json!({}))];
        let now = start();
        Self { chaos: pod_chaos(changes), injections: Vec::new(), pods, events: Vec::new(), now, gone: false }
    }

    /// The controller until there is nothing to do; a new one each time, since nothing is kept.
    fn work(&mut self) {
        for _ in 0..20 {
            self.settle_pods();
            let injections: Vec<_> = self.injections.iter().cloned().map(Arc::new).collect();
            let world = world_of(self.pods.clone());
            let actions = step(&Input {
                chaos: &self.chaos,
                injections: &injections,
                world: &world,
                hosts: &Hosts::new(),
                limits: &Limits::default(),
                halts: &[],
                now: self.now,
            });
            if actions.is_empty() || self.gone {
                return;
            }
            for action in actions {
                self.carry_out(action);
            }
        }
        panic!("still not settled");
    }

    fn settle_pods(&mut self) {
        let mut injections = std::mem::take(&mut self.injections);
        for injection in injections.iter_mut().filter(|injection| injection.spec.fault.is_of_controller()) {
            let (wanted, _) = pod_faults::decide(injection, &[], self.now);
            let targets = pod_faults::targets(injection);
            for target in &targets {
                let pod =
                    self.pods.iter().find(|pod| pod.metadata.uid.as_ref() == Some(&target.uid)).cloned();
                match pod_faults::act(injection, wanted, pod.as_ref(), target, Some("hold")).unwrap() {
                    Some(pod_faults::Act::Kill(_)) => {
                        self.pods.retain(|pod| pod.metadata.uid.as_ref() != Some(&target.uid));
                    }
                    Some(pod_faults::Act::Patch(patch)) => self.patch(target, &patch),
                    None => {}
                }
            }
            let attempts: Vec<_> = targets
                .iter()
                .map(|target| Attempt {
                    target,
                    pod: self.pods.iter().find(|pod| pod.metadata.uid.as_ref() == Some(&target.uid)),
                    error: None,
                })
                .collect();
            injection.status = Some(pod_faults::report(injection, wanted, &attempts, self.now));
        }
        self.injections = injections;
    }

    /// What the patch does to a pod with one container, and what its kubelet does then.
    fn patch(&mut self, target: &InjectionTarget, patch: &Value) {
        let pod = self.pods.iter_mut().find(|pod| pod.metadata.uid.as_ref() == Some(&target.uid)).unwrap();
        for operation in patch.as_array().unwrap() {
            match (operation["op"].as_str().unwrap(), operation["path"].as_str().unwrap()) {
                ("replace", _) => {
                    let image = operation["value"].as_str().map(str::to_owned);
                    pod.spec.as_mut().unwrap().containers[0].image = image.clone();
                    let status = &mut pod.status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0];
                    status.container_id = Some(format!("run://{}-{}", target.pod, image.unwrap()));
                }
                ("add", "/metadata/annotations") => pod.metadata.annotations = Some(BTreeMap::new()),
                ("add", _) => {
                    let text = operation["value"].as_str().unwrap().to_owned();
                    pod.annotations_mut().insert("squall.dev/pod-failure".to_owned(), text);
                }
                ("remove", _) => pod.annotations_mut().clear(),
                _ => {}
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::CreateInjection(mut injection) => {
                injection.metadata.generation = Some(1);
                self.injections.push(*injection);
            }
            Action::UpdateInjection(_, spec) => self.injections[0].spec = *spec,
            Action::DeleteInjection(_) => {
                let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now);
                self.injections[0].metadata.deletion_timestamp = Some(now);
            }
            Action::ReleaseInjection(_) => self.injections.clear(),
            Action::AddFinalizer => {
                self.chaos.metadata.finalizers = Some(vec!["chaos-mesh/records".to_owned()]);
            }
            Action::RemoveFinalizer => self.gone = true,
            Action::PatchStatus(status) => self.chaos.status = Some(*status),
            Action::Emit(event) => self.events.push(event.reason.to_owned()),
        }
    }

    fn status(&self) -> ChaosStatus {
        self.chaos.status.clone().unwrap()
    }

    fn images(&self) -> Vec<&str> {
        self.pods
            .iter()
            .map(|pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap())
            .collect()
    }

    fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    fn delete(&mut self) {
        let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now);
        self.chaos.metadata.deletion_timestamp = Some(now);
        self.chaos.metadata.generation = Some(2);
    }
}

#[test]
fn the_life_of_a_pod_failure() {
    let mut life = Life::new(&json!({"spec": {"duration": "30s"}}));
    life.work();
    assert!(life.status().is(ConditionKind::AllInjected) && life.status().is(ConditionKind::Selected));
    assert_eq!(life.images(), ["hold", "hold"]);
    let ids: Vec<_> =
        life.status().experiment.container_records.into_iter().map(|record| record.id).collect();
    assert_eq!(ids, ["default/p1", "default/p2"]);
    life.wait(10);
    life.chaos.annotations_mut().insert(PAUSE_ANNOTATION.to_owned(), "true".to_owned());
    life.work();
    assert_eq!(life.images(), ["web:1", "web:1"]);
    assert!(life.status().is(ConditionKind::Paused) && life.status().is(ConditionKind::AllRecovered));
    life.wait(1000);
    life.chaos.annotations_mut().clear();
    life.work();
    assert_eq!(life.injections[0].spec.remaining.as_deref(), Some("20s"));
    assert_eq!(life.images(), ["hold", "hold"]);
    life.wait(19);
    life.work();
    assert!(life.status().experiment.ended.is_none());
    life.wait(1);
    life.work();
    assert_eq!(life.status().experiment.ended.as_deref(), Some("DurationElapsed"));
    assert!(life.status().is(ConditionKind::AllRecovered) && life.injections.is_empty());
    assert_eq!(life.images(), ["web:1", "web:1"]);
    life.delete();
    life.work();
    assert!(life.gone);
    assert_eq!(
        life.events,
        ["Started", "Applied", "Paused", "Recovered", "Started", "Applied", "TimeUp", "Recovered", "Deleted"]
    );
}

#[test]
fn deletion_ends_a_pod_failure_without_a_duration() {
    let mut life = Life::new(&json!({}));
    life.work();
    for _ in 0..20 {
        life.wait(1700);
        life.work();
        assert_eq!(life.images(), ["hold", "hold"]);
    }
    life.delete();
    life.work();
    assert!(life.gone);
    assert_eq!(life.images(), ["web:1", "web:1"]);
}

#[test]
fn the_life_of_a_pod_kill() {
    let mut life = Life::new(&json!({"spec": {"action": "pod-kill", "duration": "1s"}}));
    life.work();
    let status = life.status();
    assert_eq!(status.experiment.ended.as_deref(), Some("Completed"));
    assert_eq!(status.experiment.desired_phase, Some(DesiredPhase::Run), "as in the reference");
    assert!(status.is(ConditionKind::AllInjected) && !status.is(ConditionKind::AllRecovered));
    assert!(status.experiment.container_records.iter().all(|record| record.phase == RecordPhase::Injected));
    assert!(life.injections.is_empty() && life.pods.is_empty());
    life.pods = vec![owned("p3", &json!({}))];
    life.wait(3600);
    life.work();
    assert_eq!((life.pods.len(), life.status()), (1, status), "what comes in their place is left alone");
    life.delete();
    life.work();
    assert!(life.gone);
    assert_eq!(life.events, ["Started", "Applied", "TimeUp", "Deleted"]);
}

#[test]
fn the_life_of_a_container_kill() {
    let mut life = Life::new(&json!({"spec": {"action": "container-kill", "containerNames": ["c"]}}));
    life.work();
    assert_eq!(life.injections.len(), 1, "that is the daemon's to do");
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(life.now);
    let daemon = |injection: &mut Injection, wanted: &str| {
        let status = |target: &InjectionTarget| crate::api::TargetStatus {
            target: target.clone(),
            phase: TargetPhase::Done,
            evidence: Some("process 7 got SIGKILL and has ended".to_owned()),
            error: None,
            since: now.clone(),
            injected_count: 1,
            recovered_count: 0,
        };
        injection.status = Some(crate::api::InjectionStatus {
            observed_generation: 2,
            observed_run: 1,
            wanted: Some(wanted.to_owned()),
            ended: Some("Completed".to_owned()),
            started_at: Some(now.clone()),
            targets: injection.spec.targets.iter().map(status).collect(),
            ..crate::api::InjectionStatus::default()
        });
    };
    daemon(&mut life.injections[0], "Completed");
    life.work();
    let status = life.status();
    let ids: Vec<_> = status.experiment.container_records.iter().map(|record| record.id.as_str()).collect();
    assert_eq!(ids, ["default/p1/c", "default/p2/c"]);
    assert_eq!(status.experiment.ended.as_deref(), Some("Completed"));
    assert!(status.is(ConditionKind::AllInjected) && life.injections.is_empty());
}
