//! Directions: what `to`, `from` and `both` do to traffic that goes through a Service's address, with each maker of delays.

use serde_json::{Value, json};

use super::experiment::{SOON, network, pods_of};
use super::samples::{self, MESSAGE, MOVIES};
use super::world::{World, world};
use super::{system, traces};

/// In milliseconds, each way.
const DELAY: f64 = 150.0;

/// From the server to the database, whatever the fault.
fn between(action: &Value, direction: &str) -> Value {
    let mut spec = json!({
        "mode": "all", "selector": pods_of("server-app"), "direction": direction,
        "target": { "mode": "all", "selector": pods_of("mongo") },
    });
    spec.as_object_mut().unwrap().extend(action.as_object().unwrap().clone());
    spec
}

/// Delays in each direction; gives what was read back everywhere.
pub(crate) fn delays(world: &World) -> Vec<(&'static str, String)> {
    let action = json!({ "action": "delay", "delay": { "latency": "150ms" } });
    let calm = samples::watch(world, 5);
    println!("server-app to mongo through the Service, before: {calm}");
    let mut evidence = Vec::new();
    for (direction, ways) in [("to", 1.0), ("from", 1.0), ("both", 2.0)] {
        let before = traces::everywhere(world);
        let experiment = network(world, &format!("delay-{direction}"), None, &between(&action, direction));
        experiment.injected(world);
        let during = samples::watch(world, 8);
        println!("delay {direction}: {during}");
        let all =
            ["machine1", "machine2", "machine3", "machine4"].map(|node| experiment.evidence(world, node));
        evidence.push((direction, all.join("\n")));
        experiment.delete(world, SOON);
        traces::nothing_is_left(world, &before);
        during.is_later(&calm, DELAY * ways);
    }
    evidence
}

pub(crate) fn partitions(world: &World) {
    for direction in ["to", "from", "both"] {
        let before = traces::everywhere(world);
        let action = json!({ "action": "partition" });
        let experiment = network(world, &format!("cut-{direction}"), None, &between(&action, direction));
        experiment.injected(world);
        let during = samples::watch(world, 6);
        println!("partition {direction}: {during}");
        experiment.delete(world, SOON);
        traces::nothing_is_left(world, &before);
        assert!(
            during.count(MOVIES) > 0 && during.failed(MOVIES) == during.count(MOVIES),
            "{direction}: {during}"
        );
        assert_eq!(during.failed(MESSAGE), 0, "{direction}: {during}");
        system::until_steady(world);
    }
}

#[tokio::test]
async fn delays_act_on_traffic_through_a_service_in_each_direction() {
    let world = world().await;
    delays(&world);
}

#[tokio::test]
async fn partitions_act_on_traffic_through_a_service_in_each_direction() {
    let world = world().await;
    partitions(&world);
}
