//! The tutorial's three experiments, from its own files, measured where its reader looks: at the client.

use std::time::{Duration, Instant, SystemTime};

use super::experiment::{self, SOON, tutorial};
use super::kubectl::{pod, ready, shell, within};
use super::samples::{self, MESSAGE, MOVIES, NOISE};
use super::world::{World, world};
use super::{system, traces};

/// Of `network-delay-example`, in milliseconds.
const DELAY: f64 = 150.0;

/// Something that uses the database and is no part of the system.
fn bystander(world: &World) {
    ready(&world.cluster, &pod("bystander", 2, "exec sleep 100000"));
}

/// Whether the bystander gets an answer of the database within a second, through its Service.
fn bystander_is_answered(world: &World) -> bool {
    let ask = "timeout 1 wget -qO- http://$MONGO_SERVICE_HOST:27017 | grep -q 'native driver port'";
    shell(&world.cluster, "bystander", ask).status.success()
}

/// Delays the database and measures; gives what was read back on its node.
pub(crate) fn delay_is_felt(world: &World, node: &str) -> String {
    let before = traces::everywhere(world);
    let calm = samples::watch(world, 5);
    let delay = tutorial(world, "tutorial-network-delay.yaml", "networkchaos", "network-delay-example");
    let injected = delay.injected(world);
    let during = samples::watch(world, 10);
    let evidence = delay.evidence(world, node);
    let gone = delay.delete(world, SOON);
    let after = samples::watch(world, 5);
    println!("delay of 150 ms on {node}: injected after {injected:.1?}, gone after {gone:.1?}");
    println!("  {evidence}");
    for (phase, seen) in [("before", &calm), ("during", &during), ("after", &after)] {
        println!("  {phase}: {seen}");
    }
    during.is_later(&calm, DELAY);
    assert!((after.median(MOVIES) - calm.median(MOVIES)).abs() < NOISE, "it is gone");
    assert_eq!(calm.failed(MESSAGE) + during.failed(MESSAGE) + after.failed(MESSAGE), 0);
    traces::nothing_is_left(world, &before);
    experiment::no_injection_is_left(world);
    evidence
}

#[tokio::test]
async fn the_delay_is_what_its_file_says() {
    let world = world().await;
    let evidence = delay_is_felt(&world, "machine3");
    assert!(evidence.contains("shaper") || evidence.contains("netem"), "{evidence}");
}

#[tokio::test]
async fn the_partition_cuts_off_the_database_and_nobody_else() {
    let world = world().await;
    bystander(&world);
    assert!(bystander_is_answered(&world));
    let before = traces::everywhere(&world);
    let start = Instant::now();
    let partition = tutorial(&world, "tutorial-partition.yaml", "networkchaos", "partition");
    let injected = partition.injected(&world);
    let during = samples::watch(&world, 10);
    println!("partition: injected after {injected:.1?}; {during}");
    assert!(during.count(MOVIES) > 0 && during.failed(MOVIES) == during.count(MOVIES), "{during}");
    assert_eq!(during.failed(MESSAGE), 0, "{during}");
    assert!(bystander_is_answered(&world), "the bystander uses the same database");
    // Its minute passes, and it ends by itself.
    partition.wait(&world, "AllRecovered");
    let lasted = start.elapsed();
    println!("partition of one minute: recovered {:.1} s after it was applied", lasted.as_secs_f64());
    assert!(lasted >= Duration::from_mins(1), "{lasted:?}");
    within(SOON, "the database is reached again", || samples::watch(&world, 2).failed(MOVIES) == 0);
    partition.delete(&world, SOON);
    traces::nothing_is_left(&world, &before);
    world.kubectl("delete pod bystander");
}

#[tokio::test]
async fn the_pod_failure_takes_the_database_away_for_its_time() {
    let world = world().await;
    let images = "get pods -l app=mongo -o jsonpath={.items[*].spec.containers[*].image}";
    let before = world.kubectl(images);
    let start = SystemTime::now();
    let failure = tutorial(&world, "tutorial-pod-failure.yaml", "podchaos", "pod-failure-example");
    let injected = failure.injected(&world);
    assert_ne!(world.kubectl(images), before);
    let during = samples::watch(&world, 10);
    println!("pod failure: injected after {injected:.1?}; {during}");
    assert!(during.failed(MOVIES) > 0 && during.failed(MOVIES) == during.count(MOVIES), "{during}");
    assert_eq!(during.failed(MESSAGE), 0, "{during}");
    let state =
        "get pods -l app=mongo -o jsonpath={.items[0].status.containerStatuses[0].state.running.startedAt}";
    assert!(!world.kubectl(state).is_empty(), "what it runs instead waits and does not crash");
    failure.wait(&world, "AllRecovered");
    assert!(start.elapsed().unwrap() >= Duration::from_secs(30));
    assert_eq!(world.kubectl(images), before);
    system::until_steady(&world);
    println!(
        "pod failure of 30 s: served again {:.1} s after it was applied",
        start.elapsed().unwrap().as_secs_f64()
    );
    failure.delete(&world, SOON);
}

/// What the console shows beside an experiment comes the same ways.
#[tokio::test]
async fn logs_and_metrics_come_through_the_api_server() {
    let world = world().await;
    let daemon = world.daemon(1);
    let logs = world.squall(&["logs", "-n", "squall-system", &daemon]);
    let text = String::from_utf8_lossy(&logs.stdout).into_owned();
    assert!(logs.status.success() && text.contains("daemon started"), "{logs:?}");
    let server = samples::scrape(&world, "server-app", 8080, "metrics");
    assert!(server.contains("http_request_duration_seconds_bucket{"), "{server}");
    let client = samples::scrape(&world, "traffic", 9090, "metrics");
    assert!(client.contains("traffic_http_requests_total{"), "{client}");
}
