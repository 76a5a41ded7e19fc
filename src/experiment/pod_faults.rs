//! Faults that are calls of the API: killing pods, and failing them.
//!
//! The controller is to these what a daemon is to the faults of its node: it makes the pods look like the
//! Injection and writes down what it reads back. [`decide`] says whether the fault should be there, [`act`]
//! what is to be done about one target, [`report`] what is to be written; all from the objects alone, so that
//! any controller goes on where another one died. What a pod was like before stands on the pod itself.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::lifecycle::PRESENT;
use super::wanted::{Absence, Facts, HaltScope, Now, Run, Wanted, next_change, wanted};
use crate::api::{
    GoDuration, Injection, InjectionStatus, InjectionTarget, POD_FAILURE_ANNOTATION, PodKill, TargetPhase,
    TargetStatus,
};

/// Evidence is a line, not a dump; in characters of mostly one byte.
const EVIDENCE: usize = 240;

/// [`POD_FAILURE_ANNOTATION`]: what is needed to undo a pod-failure, and to see whether it took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// UID of the experiment.
    pub experiment: String,
    /// The image that the containers have meanwhile.
    pub image: String,
    /// The images of the containers before, by name.
    pub containers: BTreeMap<String, String>,
    /// The images of the init containers before, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub init_containers: BTreeMap<String, String>,
    /// The ids of the containers that ran then, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ids: BTreeMap<String, String>,
}

/// What a pod says about a pod-failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marked {
    /// Nothing.
    No,
    /// It is under one.
    Yes(Failed),
    /// Something that we did not write.
    Unreadable(String),
}

impl Marked {
    /// Reads it from a pod.
    pub fn of(pod: &Pod) -> Self {
        match pod.annotations().get(POD_FAILURE_ANNOTATION) {
            None => Self::No,
            Some(text) => serde_json::from_str(text)
                .map_or_else(|error| Self::Unreadable(format!("{error}: {text}")), Self::Yes),
        }
    }
}

/// One call of the API.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Delete the pod, or evict it.
    Kill(PodKill),
    /// Send this JSON patch, every step of which is guarded by a test.
    Patch(Value),
}

/// What is to be done about one target, or why nothing can be.
pub type Step = Result<Option<Act>, String>;

/// Whether the fault should be there, and how long that stays so if nothing happens. The wall clock is the
/// only one that two controllers have in common, so it stands for `CLOCK_BOOTTIME` here.
pub fn decide(injection: &Injection, halts: &[HaltScope], now: Timestamp) -> (Wanted, Option<Duration>) {
    let status = injection.status.clone().unwrap_or_default();
    let clock = since_epoch(now);
    let run = if injection.spec.run > status.observed_run {
        Run { number: injection.spec.run, started: None, ended: None }
    } else {
        Run {
            number: status.observed_run,
            started: status.started_at.as_ref().map(|at| at.0.duration_since(Timestamp::UNIX_EPOCH)),
            ended: status.ended.as_deref().map(Absence::of_word),
        }
    };
    let facts = Facts {
        spec: &injection.spec,
        deleted: injection.metadata.deletion_timestamp.is_some(),
        run,
        stopping: false,
        halts,
        // Who asks is the controller: its own pulse needs no proof.
        heartbeat: Some(clock),
        now: Now { boot: clock, wall: now },
    };
    let change = next_change(&facts).map(|at| at.saturating_sub(clock));
    (wanted(&facts), change)
}

fn since_epoch(moment: Timestamp) -> Duration {
    moment.duration_since(Timestamp::UNIX_EPOCH).try_into().unwrap_or_default()
}

/// What is to be done about one target. `pod` is the pod of its UID, `image` what failed pods run.
pub fn act(
    injection: &Injection,
    wanted: Wanted,
    pod: Option<&Pod>,
    target: &InjectionTarget,
    image: Option<&str>,
) -> Step {
    let fault = &injection.spec.fault;
    let present = wanted == Wanted::Present && injection.spec.targets.contains(target);
    let Some(pod) = pod else { return Ok(None) };
    if let Some(kill) = &fault.pod_kill {
        let due = present && !is_done(injection, target) && pod.metadata.deletion_timestamp.is_none();
        return Ok(due.then(|| Act::Kill(kill.clone())));
    }
    let experiment = &injection.spec.experiment.uid;
    match (Marked::of(pod), present) {
        (Marked::No, true) => {
            let image = image.ok_or(
                "the controller was not told what failed pods should run; start it with --failure-image",
            )?;
            fail(pod, experiment, image).map(|patch| Some(Act::Patch(patch)))
        }
        (Marked::Yes(failed), present) if failed.experiment == *experiment => {
            Ok((!present).then(|| Act::Patch(restore(pod, &failed))))
        }
        (Marked::Yes(failed), true) => Err(format!(
            "the pod is under a pod-failure of another experiment (UID {}); it is tried again",
            failed.experiment
        )),
        (Marked::No | Marked::Yes(_), false) => Ok(None),
        (Marked::Unreadable(why), _) => Err(format!(
            "the annotation {POD_FAILURE_ANNOTATION} cannot be read ({why}); set the images of the pod as they \
             were and remove it, or delete the pod"
        )),
    }
}

fn is_done(injection: &Injection, target: &InjectionTarget) -> bool {
    known(injection, target).is_some_and(|status| status.phase == TargetPhase::Done)
}

fn known<'a>(injection: &'a Injection, target: &InjectionTarget) -> Option<&'a TargetStatus> {
    injection.status.as_ref()?.targets.iter().find(|status| status.target == *target)
}

/// The patch that fails a pod: every image replaced, what was there before written down, all or nothing.
fn fail(pod: &Pod, experiment: &str, image: &str) -> Result<Value, String> {
    let images = |containers: &[Container]| -> BTreeMap<String, String> {
        let image = |container: &Container| (container.name.clone(), image_of(container).to_owned());
        containers.iter().map(image).collect()
    };
    let ids = statuses(pod).filter_map(|status| Some((status.name.clone(), status.container_id.clone()?)));
    let failed = Failed {
        experiment: experiment.to_owned(),
        image: image.to_owned(),
        containers: images(containers(pod)),
        init_containers: images(init_containers(pod)),
        ids: ids.collect(),
    };
    let text = serde_json::to_string(&failed).map_err(|error| error.to_string())?;
    let mut patch = vec![json!({"op": "test", "path": "/metadata/uid", "value": pod.metadata.uid})];
    if pod.metadata.annotations.is_some() {
        patch.push(json!({"op": "test", "path": annotation_path(), "value": null}));
    } else {
        patch.push(json!({"op": "test", "path": "/metadata/annotations", "value": null}));
        patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
    }
    patch.push(json!({"op": "add", "path": annotation_path(), "value": text}));
    for (path, container) in places(pod) {
        patch.extend(swap(&path, container, image_of(container), image));
    }
    Ok(Value::Array(patch))
}

/// The patch that makes a failed pod what it was. An image that somebody else has set meanwhile stays.
pub fn restore(pod: &Pod, failed: &Failed) -> Value {
    let text = pod.annotations().get(POD_FAILURE_ANNOTATION);
    let mut patch = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": pod.metadata.uid}),
        json!({"op": "test", "path": annotation_path(), "value": text}),
    ];
    for (path, container) in places(pod).into_iter().filter(|(_, c)| image_of(c) == failed.image) {
        let before =
            if path.starts_with("/spec/init") { &failed.init_containers } else { &failed.containers };
        if let Some(image) = before.get(&container.name) {
            patch.extend(swap(&path, container, &failed.image, image));
        }
    }
    patch.push(json!({"op": "remove", "path": annotation_path()}));
    Value::Array(patch)
}

/// Containers have no identity in a JSON patch but their place: the test of the name makes sure of it.
fn swap(path: &str, container: &Container, from: &str, to: &str) -> [Value; 3] {
    [
        json!({"op": "test", "path": format!("{path}/name"), "value": container.name}),
        json!({"op": "test", "path": format!("{path}/image"), "value": from}),
        json!({"op": "replace", "path": format!("{path}/image"), "value": to}),
    ]
}

/// Every container and init container of the pod, with its JSON pointer (RFC 6901).
fn places(pod: &Pod) -> Vec<(String, &Container)> {
    let all = [("/spec/containers", containers(pod)), ("/spec/initContainers", init_containers(pod))];
    let of = |(path, containers): (&'static str, _)| {
        let containers: &[Container] = containers;
        containers.iter().enumerate().map(move |(index, container)| (format!("{path}/{index}"), container))
    };
    all.into_iter().flat_map(of).collect()
}

fn annotation_path() -> String {
    format!("/metadata/annotations/{}", POD_FAILURE_ANNOTATION.replace('~', "~0").replace('/', "~1"))
}

fn containers(pod: &Pod) -> &[Container] {
    pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default()
}

fn init_containers(pod: &Pod) -> &[Container] {
    pod.spec.as_ref().and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default()
}

fn image_of(container: &Container) -> &str {
    container.image.as_deref().unwrap_or_default()
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten())
}

/// What was found of one target after everything that could be done was done.
struct Found {
    /// Whether the fault took effect; `None` if that cannot be told yet.
    in_place: Option<String>,
    /// What says that nothing of it is left; `None` if something may be.
    clear: Option<String>,
}

fn look(injection: &Injection, pod: Option<&Pod>) -> Found {
    if injection.spec.fault.pod_kill.is_some() {
        let gone = match pod.map(|pod| (&pod.metadata.deletion_timestamp, pod)) {
            None => Some("the API server has no pod of this UID any more".to_owned()),
            Some((Some(_), pod)) => Some(format!(
                "the pod is being deleted, with a grace period of {} s",
                pod.metadata.deletion_grace_period_seconds.unwrap_or_default()
            )),
            Some((None, _)) => None,
        };
        return Found { in_place: gone, clear: Some("nothing was done".to_owned()) };
    }
    let Some(pod) = pod else {
        return Found { in_place: None, clear: Some("the pod is gone, and the fault with it".to_owned()) };
    };
    match Marked::of(pod) {
        Marked::Yes(failed) if failed.experiment == injection.spec.experiment.uid => {
            Found { in_place: effect(pod, &failed), clear: None }
        }
        Marked::Unreadable(_) => Found { in_place: None, clear: None },
        Marked::No | Marked::Yes(_) => {
            let images = containers(pod).iter().map(|c| format!("{}={}", c.name, image_of(c)));
            let images = images.collect::<Vec<_>>().join(" ");
            Found { in_place: None, clear: Some(format!("the pod's images are {images}")) }
        }
    }
}

/// What shows that none of the containers that ran before does any more: the kubelet says so, by their ids.
/// The patch alone is no proof.
fn effect(pod: &Pod, failed: &Failed) -> Option<String> {
    let runs = |status: &&ContainerStatus| status.state.as_ref().is_some_and(|state| state.running.is_some());
    let survives = |status: &ContainerStatus| failed.ids.get(&status.name) == status.container_id.as_ref();
    if statuses(pod).filter(runs).any(survives) {
        return None;
    }
    let ended = failed.ids.iter().map(|(name, id)| {
        let id = id.rsplit('/').next().unwrap_or(id);
        format!("{name} ({})", id.chars().take(12).collect::<String>())
    });
    let ended = ended.collect::<Vec<_>>().join(", ");
    let text = format!("every container has the image {}; ended, says the kubelet: {ended}", failed.image);
    Some(text.chars().take(EVIDENCE).collect())
}

/// What became of the attempt on one target.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    /// Which target.
    pub target: &'a InjectionTarget,
    /// The pod as it was read after it.
    pub pod: Option<&'a Pod>,
    /// What went wrong, with its cure.
    pub error: Option<String>,
}

/// The targets of an Injection: those of its spec, then those that left it and may still carry something.
pub fn targets(injection: &Injection) -> Vec<InjectionTarget> {
    let left = injection.status.iter().flat_map(|status| &status.targets);
    let left = left.filter(|status| status.phase.may_be_present()).map(|status| &status.target);
    let mut all = injection.spec.targets.clone();
    all.extend(left.filter(|target| !injection.spec.targets.contains(target)).cloned());
    all
}

/// The status to write.
pub fn report(
    injection: &Injection,
    wanted: Wanted,
    attempts: &[Attempt<'_>],
    now: Timestamp,
) -> InjectionStatus {
    let old = injection.status.clone().unwrap_or_default();
    let spec = &injection.spec;
    let same_run = spec.run <= old.observed_run;
    let targets: Vec<TargetStatus> =
        attempts.iter().map(|attempt| target_status(injection, wanted, attempt, now)).collect();
    let effective = targets.iter().any(|status| status.phase.took_effect());
    let started_at = old.started_at.clone().filter(|_| same_run);
    let started_at = started_at.or_else(|| effective.then_some(Time(now)));
    let done = spec.fault.is_one_shot()
        && !targets.is_empty()
        && targets.iter().all(|status| status.phase == TargetPhase::Done);
    let ended = match wanted {
        Wanted::Absent(reason) if reason.ends_run() => Some(reason),
        _ => done.then_some(Absence::Completed),
    };
    let was_present = old.wanted.as_deref() == Some(PRESENT);
    let elapsed = if wanted == Wanted::Present || was_present {
        let elapsed = started_at.as_ref().map(|at| now.duration_since(at.0));
        elapsed
            .and_then(|elapsed| elapsed.try_into().ok())
            .map(|elapsed| GoDuration::from_std(elapsed).to_string())
    } else {
        old.elapsed.clone().filter(|_| same_run)
    };
    let mut status = InjectionStatus {
        observed_generation: injection.metadata.generation.unwrap_or_default(),
        observed_run: spec.run.max(old.observed_run),
        wanted: Some(match wanted {
            Wanted::Present => PRESENT.to_owned(),
            Wanted::Absent(reason) => reason.word().to_owned(),
        }),
        ended: old.ended.clone().filter(|_| same_run).or_else(|| ended.map(|ended| ended.word().to_owned())),
        started_at,
        elapsed: old.elapsed.clone(),
        interruptions: 0,
        targets,
    };
    // The passing of time alone is no news.
    if status != old {
        status.elapsed = elapsed;
    }
    status
}

fn target_status(
    injection: &Injection,
    wanted: Wanted,
    attempt: &Attempt<'_>,
    now: Timestamp,
) -> TargetStatus {
    let target = attempt.target;
    let old = known(injection, target).cloned().unwrap_or_else(|| TargetStatus {
        target: target.clone(),
        phase: TargetPhase::Waiting,
        evidence: None,
        error: None,
        since: Time(now),
        injected_count: 0,
        recovered_count: 0,
    });
    let present = wanted == Wanted::Present && injection.spec.targets.contains(target);
    let one_shot = injection.spec.fault.is_one_shot();
    let found = look(injection, attempt.pod);
    let (phase, evidence, error) = match (old.phase, found.in_place, found.clear) {
        (TargetPhase::Done, ..) => (TargetPhase::Done, None, None),
        (_, Some(evidence), _) if present && one_shot => (TargetPhase::Done, Some(evidence), None),
        (_, Some(evidence), _) if present => (TargetPhase::Injected, Some(evidence), None),
        // A pod that is gone takes its fault with it; another one that comes is another target.
        (TargetPhase::Injected, None, clear @ Some(_)) if attempt.pod.is_none() => {
            (TargetPhase::Recovered, clear, None)
        }
        (phase, None, _) if present && attempt.error.is_none() && attempt.pod.is_some() => {
            (phase, None, None)
        }
        (TargetPhase::Recovered, ..) if present && attempt.pod.is_none() => {
            (TargetPhase::Recovered, None, None)
        }
        (..) if present => {
            let gone = || "the pod is gone; select again by creating the experiment anew".to_owned();
            (TargetPhase::Failed, None, Some(attempt.error.clone().unwrap_or_else(gone)))
        }
        (TargetPhase::Injected | TargetPhase::Stuck, _, clear @ Some(_)) => {
            (TargetPhase::Recovered, clear, None)
        }
        (TargetPhase::Failed, _, Some(_)) => (TargetPhase::Waiting, None, None),
        (phase, _, Some(_)) => (phase, None, None),
        (_, _, None) => {
            let unknown = || "not undone yet; it is tried again".to_owned();
            (TargetPhase::Stuck, None, Some(attempt.error.clone().unwrap_or_else(unknown)))
        }
    };
    let changed = phase != old.phase;
    TargetStatus {
        target: target.clone(),
        phase,
        // What was seen first stays: a container that restarts once more is no news.
        evidence: if changed { evidence.or(old.evidence) } else { old.evidence.or(evidence) },
        error,
        since: if changed { Time(now) } else { old.since },
        injected_count: old.injected_count + u32::from(changed && phase.took_effect()),
        recovered_count: old.recovered_count + u32::from(changed && phase == TargetPhase::Recovered),
    }
}

#[cfg(test)]
#[path = "pod_faults_tests.rs"]
mod tests;
