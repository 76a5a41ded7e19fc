//! A partition that is paused and resumed: felt, gone, felt again, and all in all no longer than it was meant to
//! last. The verbs that look at it are asked on the way.

use std::process::Output;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::Value;
use squall::api::NetworkChaos;

use super::cluster::{Sample, pod, pods, samples, tables, until, wall};
use super::harness::{Access, Home};
use super::partition::{BACK_WITHIN, between, partition, steady, successes};

/// How long the fault is to last, pauses not counted.
const DURATION: f64 = 12.0;

/// How far the time under fault may be off: the controller and the daemons need their moments to act.
const TOLERANCE: f64 = 2.0;

async fn squall(home: &Home, words: &[&str], input: &str) -> Output {
    let child = home.squall(words, input);
    tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap()
}

/// What it said; it has to end in `code`.
pub(super) async fn said(home: &Home, words: &[&str], input: &str, code: i32) -> String {
    let output = squall(home, words, input).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        output.status.code(),
        Some(code),
        "{words:?}: {said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

/// Waits until `/movies` has failed for a second.
pub(super) async fn felt(playground: &Access, traffic: &Pod) {
    until("/movies fails", async || {
        let recent = between(&samples(playground, traffic, "/movies").await, wall() - 1.0, wall());
        (recent.len() >= 2 && !recent.iter().any(Sample::succeeded)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_pause_takes_the_fault_away_and_keeps_the_time_that_is_left() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let client = playground.client();
    let traffic = pod(&client, "traffic").await;
    let server = pod(&client, "server-app").await;
    let faulted: Vec<Pod> =
        pods(&client, "server-app").await.into_iter().chain(pods(&client, "mongo").await).collect();
    let Some(clean) = tables(&home, &server) else {
        eprintln!("SKIPPED: pausing a partition, which needs nft and nsenter to see the tables");
        return;
    };
    let has_table =
        |pod: &Pod| tables(&home, pod).is_some_and(|listing| listing.contains("table inet squall_pod"));
    let file = partition("pause-me", "to", Some("12s")).to_string();
    let experiments: Api<NetworkChaos> = Api::default_namespaced(client.clone());
    steady(&playground, &traffic).await;

    let plan = said(&home, &["plan", "-f", "-", "-o", "json"], &file, 0).await;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan[0]["verdict"], "runs", "{plan}");
    assert!(experiments.get_opt("pause-me").await.unwrap().is_none(), "plan has applied it");

    said(&home, &["apply", "-f", "-"], &file, 0).await;
    until("the fault is in place", async || has_table(&server).then_some(())).await;
    let begun = Instant::now();
    felt(&playground, &traffic).await;
    while begun.elapsed().as_secs_f64() < DURATION / 3.0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (paused, first) = tokio::join!(said(&home, &["pause", "networkchaos", "pause-me"], "", 0), async {
        until("the fault is gone", async || (!has_table(&server)).then_some(())).await;
        begun.elapsed().as_secs_f64()
    });
    let pausing = wall();
    assert!(paused.contains("paused; ") && paused.contains("remain"), "{paused}");
    // It has waited: what is true now was true when it returned.
    for pod in &faulted {
        assert!(!has_table(pod), "a table is left in {:?} after the pause", pod.metadata.name);
    }
    assert_eq!(tables(&home, &server), Some(clean.clone()));
    let status = said(&home, &["status", "networkchaos", "pause-me", "-o", "json"], "", 0).await;
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["phase"], "Paused", "{status}");
    let left = status["remainingSeconds"].as_f64().unwrap();
    assert!((left + first - DURATION).abs() < TOLERANCE, "{left} s remain after {first} s of {DURATION} s");
    until("/movies answers again", async || {
        let movies = samples(&playground, &traffic, "/movies").await;
        assert!(wall() - pausing < BACK_WITHIN, "not back {BACK_WITHIN} s after the pause");
        movies.into_iter().find(|sample| sample.succeeded() && sample.end() > pausing)
    })
    .await;
    // Longer than the whole duration has passed: time that stood still has not been used up.
    while wall() - pausing < DURATION {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!has_table(&server), "the fault came back during the pause");
    }
    steady(&playground, &traffic).await;

    let (resumed, resuming) =
        tokio::join!(said(&home, &["resume", "networkchaos", "pause-me"], "", 0), async {
            until("the fault is back", async || has_table(&server).then_some(())).await;
            (Instant::now(), wall())
        });
    assert!(resumed.contains("resumed; "), "{resumed}");
    for pod in &faulted {
        assert!(has_table(pod), "no table in {:?} after the resume", pod.metadata.name);
    }
    until("it ends by itself", async || (!has_table(&server)).then_some(())).await;
    let second = resuming.0.elapsed().as_secs_f64();
    let movies = samples(&playground, &traffic, "/movies").await;
    let (from, to) = (resuming.1 + 1.0, resuming.1 + second - 0.5);
    assert_eq!(successes(&movies, from, to), 0, "{:?}", between(&movies, from, to));
    assert!((first + second - DURATION).abs() < TOLERANCE, "under fault for {first} s and {second} s");
    until("its status says so", async || {
        let status = experiments.get("pause-me").await.unwrap().status?;
        (status.experiment.ended.as_deref() == Some("DurationElapsed")).then_some(())
    })
    .await;
    said(&home, &["pause", "networkchaos", "pause-me"], "", 1).await;
    assert_eq!(tables(&home, &server), Some(clean));
    eprintln!("under fault for {first:.2} s and {second:.2} s of {DURATION} s, {left} s shown at the pause");
    experiments.delete("pause-me", &DeleteParams::default()).await.unwrap();
}
