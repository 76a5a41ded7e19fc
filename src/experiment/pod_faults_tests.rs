use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::fixtures::{UID, changed_pod, start};
use super::*;
use crate::api::{ExperimentReference, Fault, InjectionSpec, PodFailure};

/// One pod on an API server that applies patches, with a kubelet that runs what the pod says.
struct Bench {
    injection: Injection,
    pod: Option<Pod>,
    image: Option<&'static str>,
    now: Timestamp,
    /// How many containers were started.
    started: usize,
    /// The API server refuses every change of the pod.
    refusing: bool,
    calls: usize,
}

fn target() -> InjectionTarget {
    InjectionTarget {
        namespace: "default".to_owned(),
        pod: "web".to_owned(),
        uid: "uid-web".to_owned(),
        node_uid: None,
        selector_key: ".".to_owned(),
        container: None,
        container_id: None,
    }
}

fn web(changes: &Value) -> Pod {
    let mut whole = json!({
        "spec": {
            "initContainers": [{"name": "setup", "image": "setup:1"}],
            "containers": [{"name": "c", "image": "web:1"}, {"name": "side", "image": "side:2"}],
        },
    });
    super::super::fixtures::merge(&mut whole, changes);
    changed_pod("web", "web", "n1", "10.0.1.1", &whole)
}

fn failure() -> Fault {
    Fault { pod_failure: Some(PodFailure {}), ..Fault::default() }
}

fn kill() -> Fault {
    Fault { pod_kill: Some(PodKill { grace_period_seconds: 0, evict: false }), ..Fault::default() }
}

impl Bench {
    fn new(fault: Fault, remaining: Option<&str>) -> Self {
        let spec = InjectionSpec {
            experiment: ExperimentReference {
                kind: "PodChaos".to_owned(),
                namespace: "default".to_owned(),
                name: "p".to_owned(),
                uid: UID.to_owned(),
            },
            node: "n1".to_owned(),
            targets: vec![target()],
            fault,
            paused: false,
            run: 1,
            used: None,
            remaining: remaining.map(str::to_owned),
            not_after: Time(start() + SignedDuration::from_hours(1)),
            lease: "30s".to_owned(),
        };
        let mut injection = Injection::new("podchaos-x", spec);
        injection.metadata.generation = Some(1);
        let mut bench = Self {
            injection,
            pod: Some(web(&json!({}))),
            image: Some("hold"),
            now: start(),
            started: 0,
            refusing: false,
            calls: 0,
        };
        bench.kubelet();
        bench
    }

    /// Runs each container under an id of its own that changes with its image.
    fn kubelet(&mut self) {
        let Some(pod) = &mut self.pod else { return };
        let old: BTreeMap<String, (String, String)> = statuses(pod)
            .map(|status| (status.name.clone(), (status.image.clone(), status.container_id.clone().unwrap())))
            .collect();
        let wanted: Vec<(String, String)> =
            containers(pod).iter().map(|c| (c.name.clone(), image_of(c).to_owned())).collect();
        let statuses: Vec<Value> = wanted
            .into_iter()
            .map(|(name, image)| {
                let known = old.get(&name).filter(|(known, _)| *known == image).map(|(_, id)| id.clone());
                let id = known.unwrap_or_else(|| {
                    self.started += 1;
                    format!("run://{}", self.started)
                });
                json!({"name": name, "image": image, "imageID": image, "containerID": id, "ready": true,
                    "restartCount": 0, "state": {"running": {}}})
            })
            .collect();
        let status = pod.status.as_mut().unwrap();
        status.container_statuses = Some(serde_json::from_value(Value::Array(statuses)).unwrap());
    }

    /// One pass of the controller.
    fn settle(&mut self) -> InjectionStatus {
        let (wanted, _) = decide(&self.injection, &[], self.now);
        let error = match act(&self.injection, wanted, self.pod.as_ref(), &target(), self.image) {
            Ok(None) => None,
            Ok(Some(_)) if self.refusing => Some("refused".to_owned()),
            Ok(Some(act)) => {
                self.calls += 1;
                self.carry_out(act);
                None
            }
            Err(why) => Some(why),
        };
        let target = target();
        let attempt = Attempt { target: &target, pod: self.pod.as_ref(), error };
        let status = report(&self.injection, wanted, &[attempt], self.now);
        self.injection.status = Some(status.clone());
        status
    }

    fn carry_out(&mut self, act: Act) {
        match act {
            Act::Kill(_) => self.pod = None,
            Act::Patch(patch) => {
                let mut value = serde_json::to_value(&self.pod).unwrap();
                let has_annotations = value["metadata"].get("annotations").is_some();
                // An API server takes a test for null as one for absence (evanphx/json-patch).
                let operations = patch
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|op| !op["value"].is_null() || op["op"] == "remove");
                let tested_absence = patch
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|op| op["path"] == "/metadata/annotations" && op["op"] == "test");
                assert!(!(has_annotations && tested_absence), "{patch}");
                let operations: Vec<Value> = operations.cloned().collect();
                let operations: json_patch::Patch = serde_json::from_value(Value::Array(operations)).unwrap();
                json_patch::patch(&mut value, &operations).unwrap_or_else(|error| panic!("{error}: {patch}"));
                self.pod = Some(serde_json::from_value(value).unwrap());
            }
        }
    }

    fn phase(&self) -> TargetPhase {
        self.injection.status.as_ref().unwrap().targets[0].phase
    }

    fn images(&self) -> Vec<String> {
        places(self.pod.as_ref().unwrap()).into_iter().map(|(_, c)| image_of(c).to_owned()).collect()
    }

    fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    fn delete(&mut self) {
        self.injection.metadata.deletion_timestamp = Some(Time(self.now));
        self.injection.metadata.generation = Some(2);
    }
}

const BEFORE: [&str; 3] = ["web:1", "side:2", "setup:1"];
const DURING: [&str; 3] = ["hold"; 3];

#[test]
fn a_failed_pod_is_injected_when_its_containers_are_gone_and_comes_back_exactly() {
    for annotations in [json!(null), json!({}), json!({"note": "x"})] {
        let mut bench = Bench::new(failure(), Some("30s"));
        bench.pod.as_mut().unwrap().metadata.annotations =
            serde_json::from_value(annotations.clone()).unwrap();
        let before = bench.pod.clone().unwrap();
        bench.settle();
        assert_eq!(bench.images(), DURING);
        assert_eq!(bench.phase(), TargetPhase::Waiting, "a patch is no proof");
        assert_eq!(bench.injection.status.as_ref().unwrap().started_at, None);
        bench.wait(3);
        bench.kubelet();
        let status = bench.settle();
        assert_eq!((bench.phase(), status.started_at), (TargetPhase::Injected, Some(Time(bench.now))));
        bench.wait(29);
        assert_eq!(bench.settle().ended, None, "the time counts from the first injection");
        assert_eq!(decide(&bench.injection, &[], bench.now).1, Some(Duration::from_secs(1)));
        bench.wait(1);
        let status = bench.settle();
        assert_eq!(status.ended.as_deref(), Some("DurationElapsed"));
        assert_eq!((bench.phase(), status.targets[0].recovered_count), (TargetPhase::Recovered, 1));
        assert_eq!(bench.images(), BEFORE);
        let after = bench.pod.clone().unwrap();
        assert_eq!(after.spec, before.spec);
        assert_eq!(after.annotations(), before.annotations());
        assert_eq!(bench.calls, 2, "each patch once");
        bench.wait(100);
        bench.settle();
        assert_eq!(bench.calls, 2, "what is over does not start again");
    }
}

#[test]
fn every_end_undoes_a_failure_whoever_began_it() {
    type End = (&'static str, fn(&mut Bench));
    let ends: [End; 4] = [
        ("paused", |bench| bench.injection.spec.paused = true),
        ("deleted", Bench::delete),
        ("out of the selection", |bench| bench.injection.spec.targets.clear()),
        ("cap", |bench| bench.wait(3600)),
    ];
    for (name, end) in ends {
        for kubelet_works in [true, false] {
            let mut bench = Bench::new(failure(), None);
            bench.settle();
            if kubelet_works {
                bench.kubelet();
                bench.settle();
            }
            // Another controller has nothing but the objects; this one's last status may be lost too.
            end(&mut bench);
            let status = bench.settle();
            assert_eq!(bench.images(), BEFORE, "{name}");
            assert!(status.all_clear(), "{name}: {status:?}");
            assert_ne!(status.wanted.as_deref() == Some(PRESENT), name != "out of the selection", "{name}");
        }
    }
}

#[test]
fn a_pause_keeps_the_time_and_a_resume_fails_the_pod_again() {
    let mut bench = Bench::new(failure(), Some("30s"));
    bench.settle();
    bench.kubelet();
    bench.settle();
    bench.wait(10);
    bench.injection.spec.paused = true;
    let status = bench.settle();
    assert_eq!((status.elapsed.as_deref(), bench.phase()), (Some("10s"), TargetPhase::Recovered));
    bench.wait(500);
    assert_eq!(bench.settle().elapsed.as_deref(), Some("10s"));
    bench.kubelet();
    bench.injection.spec.paused = false;
    bench.injection.spec.run = 2;
    bench.injection.spec.remaining = Some("20s".to_owned());
    let status = bench.settle();
    assert_eq!((status.observed_run, status.started_at), (2, None));
    bench.kubelet();
    let status = bench.settle();
    assert_eq!((bench.phase(), status.targets[0].injected_count), (TargetPhase::Injected, 2));
    bench.wait(20);
    assert_eq!(bench.settle().ended.as_deref(), Some("DurationElapsed"));
    assert_eq!(bench.images(), BEFORE);
}

#[test]
fn what_cannot_be_done_is_said() {
    let mut bench = Bench::new(failure(), None);
    bench.image = None;
    assert!(bench.settle().targets[0].error.as_ref().unwrap().contains("--failure-image"));
    assert_eq!(bench.phase(), TargetPhase::Failed);

    bench.image = Some("hold");
    bench.settle();
    bench.kubelet();
    bench.settle();
    assert_eq!(bench.phase(), TargetPhase::Injected, "it is tried again");

    bench.refusing = true;
    bench.delete();
    let status = bench.settle();
    assert_eq!((bench.phase(), status.targets[0].error.as_deref()), (TargetPhase::Stuck, Some("refused")));
    assert!(!status.all_clear());
    bench.refusing = false;
    assert!(bench.settle().all_clear());
}

#[test]
fn a_patch_whose_effect_was_never_seen_is_undone_all_the_same() {
    let mut bench = Bench::new(failure(), None);
    bench.settle();
    bench.refusing = true;
    bench.delete();
    assert!(!bench.settle().all_clear(), "the pod still carries it");
    bench.refusing = false;
    assert!(bench.settle().all_clear());
    assert_eq!(bench.images(), BEFORE);
}

#[test]
fn only_one_experiment_fails_a_pod() {
    let mut first = Bench::new(failure(), None);
    first.settle();
    let mut second = Bench::new(failure(), None);
    second.injection.spec.experiment.uid = "another".to_owned();
    second.pod = first.pod.clone();
    let status = second.settle();
    assert!(status.targets[0].error.as_ref().unwrap().contains(UID), "{status:?}");
    second.delete();
    assert!(second.settle().all_clear(), "what is not ours is not left behind by us");
    assert_eq!(second.pod, first.pod);
}

#[test]
fn an_image_that_somebody_set_meanwhile_stays() {
    let mut bench = Bench::new(failure(), None);
    bench.settle();
    bench.pod.as_mut().unwrap().spec.as_mut().unwrap().containers[1].image = Some("side:3".to_owned());
    bench.delete();
    bench.settle();
    assert_eq!(bench.images(), ["web:1", "side:3", "setup:1"]);
}

#[test]
fn an_annotation_that_is_not_ours_is_left_alone() {
    let mut bench = Bench::new(failure(), None);
    bench
        .pod
        .as_mut()
        .unwrap()
        .annotations_mut()
        .insert(POD_FAILURE_ANNOTATION.to_owned(), "gibberish".to_owned());
    assert!(bench.settle().targets[0].error.as_ref().unwrap().contains("gibberish"));
    assert_eq!((bench.images(), bench.calls), (BEFORE.map(str::to_owned).to_vec(), 0));
}

#[test]
fn a_pod_that_goes_takes_its_failure_along() {
    let mut bench = Bench::new(failure(), None);
    bench.settle();
    bench.kubelet();
    bench.settle();
    bench.pod = None;
    bench.settle();
    assert_eq!(bench.phase(), TargetPhase::Recovered);
    bench.settle();
    assert_eq!(bench.phase(), TargetPhase::Recovered, "it stays so");
}

#[test]
fn a_kill_is_done_once() {
    let mut bench = Bench::new(kill(), None);
    let status = bench.settle();
    assert_eq!((bench.calls, bench.phase()), (1, TargetPhase::Done));
    assert_eq!(status.ended.as_deref(), Some("Completed"));
    assert_eq!(status.targets[0].injected_count, 1);
    // The next pod of that name has another UID, and is not looked at; nor is this one if it is seen again.
    bench.pod = Some(web(&json!({})));
    assert_eq!(bench.settle().ended.as_deref(), Some("Completed"));
    bench.delete();
    assert!(bench.settle().all_clear());
    assert_eq!((bench.calls, bench.phase()), (1, TargetPhase::Done));
}

#[test]
fn a_kill_whose_answer_was_lost_counts_when_it_is_seen() {
    let mut bench = Bench::new(kill(), None);
    let deleting =
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 7}});
    bench.pod = Some(web(&deleting));
    let status = bench.settle();
    assert_eq!((bench.calls, bench.phase()), (0, TargetPhase::Done));
    assert!(status.targets[0].evidence.as_ref().unwrap().contains("7 s"));
}

#[test]
fn a_paused_kill_waits() {
    let mut bench = Bench::new(kill(), None);
    bench.injection.spec.paused = true;
    bench.settle();
    assert_eq!((bench.calls, bench.phase()), (0, TargetPhase::Waiting));
    bench.injection.spec.paused = false;
    bench.settle();
    assert_eq!(bench.phase(), TargetPhase::Done);
}
