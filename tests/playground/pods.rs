//! Faults of whole pods, through the real controller and the playground's kubelets, measured at the client.
//!
//! Requests are judged by the traffic client's samples, pods by what the API server has of them.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::DeleteParams;
use kube::{Api, ResourceExt as _};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use squall::api::PodChaos;

use super::cluster::{Sample, is_ready, pod, pods, process_of, samples, sandbox_of, until, wall};
use super::harness::{Home, Playground};

pub(super) fn pod_chaos(name: &str, app: &str, spec: &Value) -> Value {
    let mut whole = json!({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "PodChaos",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"mode": "one", "selector": {"namespaces": ["default"], "labelSelectors": {"app": app}}},
    });
    whole["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    whole
}

fn between(samples: &[Sample], from: f64, to: f64) -> impl Iterator<Item = &Sample> {
    samples.iter().filter(move |sample| sample.time >= from && sample.end() <= to)
}

fn successes(samples: &[Sample], from: f64, to: f64) -> usize {
    between(samples, from, to).filter(|sample| sample.succeeded()).count()
}

/// Waits until `/movies` is answered as it should be.
async fn steady(playground: &Playground, traffic: &Pod) {
    until("/movies answers", async || {
        let recent = samples(playground, traffic, "/movies").await;
        (successes(&recent, wall() - 1.0, wall()) >= 20).then_some(())
    })
    .await;
}

fn container(pod: &Pod) -> ContainerStatus {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.clone());
    statuses.and_then(|all| all.into_iter().next()).expect("a container")
}

/// What a pod-failure may not change for good.
fn lasting(pod: &Pod) -> (Option<String>, Value, Value) {
    let annotations = serde_json::to_value(pod.annotations()).unwrap();
    (pod.uid(), serde_json::to_value(&pod.spec).unwrap(), annotations)
}

/// The output of a verb, and its exit code.
async fn squall(home: &Home, arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let verb = home.squall(arguments, input);
    let ended = tokio::task::spawn_blocking(move || verb.wait_with_output().unwrap()).await.unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test]
async fn a_failed_database_is_felt_and_comes_back_as_it_was() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let client = playground.client();
    let traffic = pod(&client, "traffic").await;
    steady(&playground, &traffic).await;
    let before = pod(&client, "mongo").await;

    let begun = wall();
    let file = pod_chaos("failure", "mongo", &json!({"action": "pod-failure", "duration": "6s"})).to_string();
    let run = squall(&home, &["run", "-f", "-"], &file);
    let during = async {
        let failed = until("the database's container is another", async || {
            let now = pod(&client, "mongo").await;
            (container(&now).container_id != container(&before).container_id).then_some(now)
        })
        .await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        (
            failed,
            samples(&playground, &traffic, "/movies").await,
            samples(&playground, &traffic, "/").await,
            wall(),
        )
    };
    let ((code, said), (failed, movies, root, looked)) = tokio::join!(run, during);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(container(&failed).image, "hold", "{said}");
    let from = looked - 1.8;
    assert_eq!(successes(&movies, from, looked), 0, "{said}");
    // Four closed-loop workers, each 0.8 s on every fifth request: about nine are expected.
    assert!(successes(&root, from, looked) >= 1, "what does not need the database goes on");
    let took = wall() - begun;
    // When the run began is kept in the status, in whole seconds as Kubernetes writes times: up to one is lost.
    assert!(took >= 5.0, "{took} s: {said}");

    let after = pod(&client, "mongo").await;
    assert_eq!(lasting(&after), lasting(&before), "{said}");
    steady(&playground, &traffic).await;
    let after = pod(&client, "mongo").await;
    assert_eq!(container(&after).image, container(&before).image);
    assert_eq!(container(&after).restart_count, container(&before).restart_count + 2);
}

#[tokio::test]
async fn a_failure_ends_although_the_controller_died_in_its_midst() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let client = playground.client();
    let before = pod(&client, "mongo").await;
    let file = pod_chaos("failure", "mongo", &json!({"action": "pod-failure", "duration": "5s"})).to_string();
    let (code, said) = squall(&home, &["apply", "-f", "-"], &file).await;
    assert_eq!(code, Some(0), "{said}");
    until("the pod carries the fault", async || {
        let now = pod(&client, "mongo").await;
        (!now.annotations().is_empty()).then_some(())
    })
    .await;
    let system: Api<Pod> = Api::namespaced(client.clone(), "squall-system");
    let all = system.list(&kube::api::ListParams::default().labels("app=squall-controller")).await.unwrap();
    let controller = process_of(&home, all.items.first().expect("a controller")).expect("its process");
    kill(Pid::from_raw(controller), Signal::SIGKILL).unwrap();
    let experiments: Api<PodChaos> = Api::default_namespaced(client.clone());
    let over = until("the next controller has ended it", async || {
        let status = experiments.get("failure").await.unwrap().status?;
        status.experiment.ended.clone().filter(|_| status.is(squall::api::ConditionKind::AllRecovered))
    })
    .await;
    assert_eq!(over, "DurationElapsed");
    let after = pod(&client, "mongo").await;
    assert_eq!(lasting(&after), lasting(&before));
    drop(experiments.delete("failure", &DeleteParams::default()).await.unwrap());
}

#[tokio::test]
async fn a_killed_pod_is_replaced_and_hardly_felt() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let client = playground.client();
    let traffic = pod(&client, "traffic").await;
    steady(&playground, &traffic).await;
    let uids = async || -> Vec<String> {
        pods(&client, "server-app").await.iter().filter(|pod| is_ready(pod)).filter_map(Pod::uid).collect()
    };
    let before = uids().await;
    let begun = wall();
    let file = pod_chaos("kill", "server-app", &json!({"action": "pod-kill"}));
    let (code, said) = squall(&home, &["run", "-f", "-"], &file.to_string()).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("over: Completed"), "{said}");
    let after = until("two replicas are ready again", async || {
        let after = uids().await;
        (after.len() == 2 && after.iter().any(|uid| !before.contains(uid))).then_some(after)
    })
    .await;
    assert_eq!(
        after.iter().filter(|uid| before.contains(uid)).count(),
        1,
        "one was killed, the other was not"
    );
    let recent = samples(&playground, &traffic, "/").await;
    let (all, failed) = between(&recent, begun, wall())
        .fold((0, 0), |(all, failed), sample| (all + 1, failed + usize::from(!sample.succeeded())));
    assert!(failed * 5 < all, "{failed} of {all} requests failed: the other replica was there all the time");

    let mut polite = pod_chaos("evict", "server-app", &json!({"action": "pod-kill"}));
    polite["metadata"]["annotations"] = json!({"squall.dev/respect-disruption-budgets": "true"});
    let (code, said) = squall(&home, &["apply", "-f", "-"], &polite.to_string()).await;
    assert_eq!(code, Some(0), "{said}");
    let experiments: Api<PodChaos> = Api::default_namespaced(client.clone());
    let why = until("the refusal is said", async || {
        let status = experiments.get("evict").await.unwrap().status?;
        status.experiment.container_records.first()?.events.first()?.message.clone()
    })
    .await;
    assert!(why.contains("does not serve evictions"), "{why}");
    assert_eq!(uids().await, after, "nothing was deleted instead");
}

#[tokio::test]
async fn a_killed_container_is_started_anew_in_the_same_pod() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let client = playground.client();
    let before = pod(&client, "mongo").await;
    let sandbox = sandbox_of(&home, &before);
    let daemon = || {
        let named = |pid: &i32| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).contains("daemon\0--node\0machine3")
        };
        home.processes().into_iter().find(named)
    };
    let file = pod_chaos("kill", "mongo", &json!({"action": "container-kill", "containerNames": ["mongo"]}));
    let (code, said) = squall(&home, &["run", "--keep", "-f", "-"], &file.to_string()).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("default/") && said.contains("/mongo") && said.contains("SIGKILL"), "{said}");
    let restarted = async || {
        let now = pod(&client, "mongo").await;
        (is_ready(&now) && container(&now).container_id != container(&before).container_id).then_some(now)
    };
    let after = until("the container runs again", restarted).await;
    assert_eq!(after.uid(), before.uid());
    assert_eq!(container(&after).restart_count, container(&before).restart_count + 1);
    assert_eq!(sandbox_of(&home, &after), sandbox, "the pod's network outlives its containers");

    let killed = daemon().expect("the daemon of machine3");
    kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
    until("another daemon runs", async || daemon().filter(|pid| *pid != killed)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let later = pod(&client, "mongo").await;
    assert_eq!(container(&later).container_id, container(&after).container_id, "nothing is killed twice");
}
