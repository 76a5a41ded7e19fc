//! The tutorial's network delay, through the real controller and daemons, measured at the client.
//!
//! Requests are judged by the traffic clients' samples, what is on the pods' networks by nft and tc. A second
//! client of the same database is the bystander.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use squall::api::Injection;

use super::cluster::{Sample, median, network, pod, pods, samples, until, wall};
use super::harness::{Access, Home};
use super::partition::{between, bystander, partition, steady};
use super::pause::said;
use super::pods::pod_chaos;

/// How soon after its start and its end the fault is felt or is not.
pub(super) const WITHIN: f64 = 2.0;

/// How far the rise of the median may be from what was asked for, as a share of it.
const EXACT: f64 = 0.1;

/// How much slower than before the bystander's median may be, in seconds.
const BYSTANDER: f64 = 0.002;

/// A delay of what the servers send to the database.
fn delay(name: &str, latency: &str, direction: &str, duration: Option<&str>) -> Value {
    let mut chaos = partition(name, direction, duration);
    chaos["spec"]["action"] = json!("delay");
    chaos["spec"]["delay"] = json!({"latency": latency});
    chaos
}

/// The samples of `/movies` that lie between two moments, both of sending and of the answer.
async fn movies(playground: &Access, traffic: &Pod, from: f64, to: f64) -> Vec<Sample> {
    let all = samples(playground, traffic, "/movies").await;
    all.into_iter().filter(|sample| sample.time >= from && sample.end() <= to).collect()
}

/// The median of `/movies` in a window of three seconds that begins now or at `from`.
pub(super) async fn median_from(playground: &Access, traffic: &Pod, from: f64) -> f64 {
    let to = from + 3.0;
    while wall() < to {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    median(&movies(playground, traffic, from, to).await)
}

/// Waits until the fault must be felt and gives the median then: risen from `normal` by `asked` seconds. A machine that
/// is busy with other things makes requests later than that, so that it is measured again; it makes none earlier.
pub(super) async fn risen(playground: &Access, traffic: &Pod, what: &str, normal: f64, asked: f64) -> f64 {
    let mut from = wall() + WITHIN;
    for last in [false, false, true] {
        let median = median_from(playground, traffic, from).await;
        let rise = median - normal;
        if (rise - asked).abs() <= asked * EXACT {
            return median;
        }
        assert!(
            rise > asked && !last,
            "{what}: the median rose by {:.1} ms instead of {:.0} ms",
            rise * 1e3,
            asked * 1e3
        );
        from = wall();
    }
    unreachable!("the last one returns or fails")
}

#[tokio::test]
async fn the_tutorials_delay_is_felt_by_its_target_only_and_goes_away() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let client = playground.client();
    let traffic = pod(&client, "traffic").await;
    let bystander = bystander(&playground).await;
    let faulted: Vec<Pod> =
        pods(&client, "server-app").await.into_iter().chain(pods(&client, "mongo").await).collect();
    let clean: Vec<_> = faulted.iter().map(|pod| network(&home, pod)).collect();
    steady(&playground, &traffic).await;
    let normal = median_from(&playground, &traffic, wall()).await;
    let bystanders = median(&samples(&playground, &bystander, "/movies").await);

    let mut template: Value =
        serde_yaml::from_str(&std::fs::read_to_string("templates/network-delay.yaml").unwrap()).unwrap();
    template["spec"]["duration"] = json!("15s");
    let begun = wall();
    let run = home.squall(&["run", "-f", "-"], &template.to_string());
    let during = risen(&playground, &traffic, "during", normal, 0.150).await;
    let at_bystander =
        median(&between(&samples(&playground, &bystander, "/movies").await, begun + WITHIN, wall()));
    let others = samples(&playground, &traffic, "/message1").await;
    let others = median(&between(&others, begun + WITHIN, wall()));
    let ended = tokio::task::spawn_blocking(move || run.wait_with_output().unwrap()).await.unwrap();
    let over = wall();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(ended.status.code(), Some(0), "{said}\n{}", String::from_utf8_lossy(&ended.stderr));
    assert!(said.contains("delay 150ms ±10ms"), "the evidence names the delay: {said}");
    assert!(
        at_bystander - bystanders < BYSTANDER,
        "the bystander went from {bystanders} to {at_bystander} s"
    );
    assert!(others < 0.05, "/message1 needs no database, and took {others} s");
    let left: Vec<_> = faulted.iter().map(|pod| network(&home, pod)).collect();
    assert_eq!(left, clean, "the pods' networks are not as before");
    let after = median_from(&playground, &traffic, over + WITHIN).await;
    assert!(after - normal < BYSTANDER * 2.0, "after the end the median is {after} s, {normal} s before");
    eprintln!(
        "/movies {:.1} ms before, {:.1} ms during, {:.1} ms after; bystander {:.1} and {:.1} ms; {}",
        normal * 1e3,
        during * 1e3,
        after * 1e3,
        bystanders * 1e3,
        at_bystander * 1e3,
        said.lines().find(|line| line.contains("injected default/")).unwrap_or_default()
    );
}

#[tokio::test]
async fn every_direction_is_shaped_once() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let traffic = pod(&playground.client(), "traffic").await;
    steady(&playground, &traffic).await;
    let normal = median_from(&playground, &traffic, wall()).await;
    for (direction, asked) in [("to", 0.1), ("from", 0.1), ("both", 0.2)] {
        let file = delay(direction, "100ms", direction, None).to_string();
        said(&home, &["apply", "-f", "-"], &file, 0).await;
        let during = risen(&playground, &traffic, direction, normal, asked).await;
        said(&home, &["stop", "networkchaos", direction], "", 0).await;
        eprintln!("direction {direction}: +{:.1} ms", (during - normal) * 1e3);
    }
}

#[tokio::test]
async fn it_is_turned_in_place_and_goes_with_pause_halt_and_stop() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let client = playground.client();
    let traffic = pod(&client, "traffic").await;
    steady(&playground, &traffic).await;
    let normal = median_from(&playground, &traffic, wall()).await;
    let gone = async |what: &str| {
        let median = median_from(&playground, &traffic, wall() + WITHIN).await;
        assert!(median - normal < BYSTANDER * 2.0, "{what}: the median is {median} s, {normal} s before");
    };
    said(&home, &["apply", "-f", "-"], &delay("turn", "150ms", "to", None).to_string(), 0).await;
    let first = risen(&playground, &traffic, "150 ms", normal, 0.150).await;
    // In place: no request in between is answered without a delay.
    let turned = wall();
    said(&home, &["apply", "-f", "-"], &delay("turn", "300ms", "to", None).to_string(), 0).await;
    let second = risen(&playground, &traffic, "300 ms", normal, 0.300).await;
    let between = movies(&playground, &traffic, turned, wall()).await;
    let quickest = between.iter().map(|sample| sample.seconds).fold(f64::INFINITY, f64::min);
    assert!(quickest > 0.145, "a request took only {quickest} s while the delay was turned up");

    said(&home, &["pause", "networkchaos", "turn"], "", 0).await;
    gone("pause").await;
    said(&home, &["resume", "networkchaos", "turn"], "", 0).await;
    let resumed = risen(&playground, &traffic, "resume", normal, 0.300).await;
    said(&home, &["halt", "--name", "all"], "", 0).await;
    gone("Halt").await;
    said(&home, &["halt", "--release"], "", 0).await;
    said(&home, &["stop", "networkchaos", "turn"], "", 0).await;

    said(&home, &["apply", "-f", "-"], &delay("again", "150ms", "to", None).to_string(), 0).await;
    risen(&playground, &traffic, "again", normal, 0.150).await;
    said(&home, &["stop", "networkchaos", "again"], "", 0).await;
    gone("stop").await;
    eprintln!(
        "/movies {:.1} ms; +{:.1}, +{:.1} and +{:.1} ms; quickest while turned {:.1} ms",
        normal * 1e3,
        (first - normal) * 1e3,
        (second - normal) * 1e3,
        (resumed - normal) * 1e3,
        quickest * 1e3
    );
}

#[tokio::test]
async fn delay_partition_and_pod_failure_come_off_in_any_order() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let client = playground.client();
    let traffic = pod(&client, "traffic").await;
    let faulted: Vec<Pod> =
        pods(&client, "server-app").await.into_iter().chain(pods(&client, "mongo").await).collect();
    let clean: Vec<_> = faulted.iter().map(|pod| network(&home, pod)).collect();
    steady(&playground, &traffic).await;
    let files = [
        delay("slow", "50ms", "both", None),
        partition("cut", "to", None),
        pod_chaos("fail", "mongo", &json!({"action": "pod-failure"})),
    ];
    let kinds = ["networkchaos", "networkchaos", "podchaos"];
    let names = ["slow", "cut", "fail"];
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1]] {
        for file in &files {
            said(&home, &["apply", "-f", "-"], &file.to_string(), 0).await;
        }
        let injections: Api<Injection> = Api::namespaced(client.clone(), "squall-system");
        until("all three are injected", async || {
            let all = injections.list(&ListParams::default()).await.unwrap().items;
            let injected = |injection: &Injection| {
                let status = injection.status.as_ref();
                status.is_some_and(|status| {
                    !status.targets.is_empty()
                        && status.targets.iter().all(|target| target.phase.took_effect())
                })
            };
            (all.len() >= 5 && all.iter().all(injected)).then_some(())
        })
        .await;
        for index in order {
            said(&home, &["stop", kinds[index], names[index]], "", 0).await;
        }
        let left: Vec<_> = faulted.iter().map(|pod| network(&home, pod)).collect();
        assert_eq!(left, clean, "{order:?}: the pods' networks are not as before");
        steady(&playground, &traffic).await;
    }
}
