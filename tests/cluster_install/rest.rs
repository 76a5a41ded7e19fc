//! Squall at rest: what it listens on, and what it costs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::experiment::{SOON, delay, network};
use super::kubectl::pause;
use super::traces::processes;
use super::world::{NODES, world};

/// How many seconds the cost of rest is measured for.
const SECONDS: &str = "SQUALL_TEST_REST";

#[tokio::test]
async fn no_process_of_ours_has_a_socket_that_others_could_send_to() {
    let world = world().await;
    let all = processes(&world);
    let count = |verb: &str| all.iter().filter(|process| process.verb.starts_with(verb)).count();
    assert_eq!((count("daemon"), count("controller")), (usize::from(NODES), 2), "{all:?}");
    // With a fault in place the helpers are there, too.
    let experiment = network(&world, "listening", None, &delay("mongo", 50));
    experiment.injected(&world);
    let all = processes(&world);
    assert!(all.iter().any(|process| process.verb.starts_with("shaper")), "{all:?}");
    for process in &all {
        assert_eq!(process.listens(), Vec::<String>::new(), "{process:?}");
    }
    experiment.delete(&world, SOON);
}

#[tokio::test]
async fn what_rest_costs() {
    let world = world().await;
    let seconds = std::env::var(SECONDS).map_or(10, |seconds| seconds.parse().unwrap());
    let all = processes(&world);
    let before: BTreeMap<_, _> = all.iter().map(|process| (process.number(), process.ticks())).collect();
    pause(Duration::from_secs(seconds));
    for process in &all {
        let ticks = process.ticks() - before[&process.number()];
        let share = f64::from(u32::try_from(ticks).unwrap()) / f64::from(u32::try_from(seconds).unwrap());
        let part = process.verb.split(' ').next().unwrap();
        let (resident, own) = (process.memory("VmRSS:"), process.memory("RssAnon:"));
        println!(
            "{part} at rest: {resident} KiB resident, {own} KiB its own, {share:.2} % of a core over {seconds} s"
        );
    }
}
