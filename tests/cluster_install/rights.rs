//! What each capability of the daemon buys: one is taken away at a time, and what then fails is held against the list that is
//! installed, which is the one of docs/security.md.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use squall::capabilities::{Buys, CAPABILITIES};

use super::experiment::{Experiment, SOON, network, no_injection_is_left, pods, pods_of};
use super::kubectl::{pod, ready, shell, within};
use super::traces;
use super::world::{NODES, World, world};

/// Of the delay, in milliseconds.
const DELAY: f64 = 300.0;

/// The user of one of the victims.
const SOMEBODY: u32 = 65_532;

const VICTIMS: [&str; 2] = ["roots", "somebodys"];

/// What became of an experiment.
#[derive(Debug)]
enum Outcome {
    /// It took effect.
    Works,
    /// It did not, and the status of its Injection says this.
    Fails(String),
}

/// Gives the daemon of a node these capabilities; the others keep what they have.
fn give(world: &World, node: u8, capabilities: &[&str]) {
    let add = "/spec/template/spec/containers/0/securityContext/capabilities/add";
    let patch = json!([
        { "op": "replace", "path": "/spec/updateStrategy", "value": { "type": "OnDelete" } },
        { "op": "replace", "path": add, "value": capabilities },
    ]);
    world.kubectl(&format!("-n squall-system patch daemonset squall-daemon --type json --patch {patch}"));
    world.replace_daemon(node);
}

/// Two pods that differ in their user.
fn victims(world: &World, node: u8) {
    for (name, user) in VICTIMS.into_iter().zip([0, SOMEBODY]) {
        let mut victim = pod(name, node, "exec sleep 100000");
        victim["spec"]["securityContext"] = json!({ "runAsUser": user });
        ready(&world.cluster, &victim);
    }
}

fn no_victims(world: &World) {
    world.kubectl(&format!("delete pod {}", VICTIMS.join(" ")));
}

/// How long the way of the first victim, who may ping, is to the switch and back: in milliseconds, at the least of three. Nothing
/// if there is none.
fn round_trip(world: &World) -> Option<f64> {
    let gateway = world.cluster.block().unwrap().switch();
    let said = shell(&world.cluster, VICTIMS[0], &format!("ping -c 3 -W 2 {gateway}"));
    let said = String::from_utf8(said.stdout).unwrap();
    // round-trip min/avg/max = 0.058/0.123/0.300 ms
    said.rsplit_once("= ")?.1.split('/').next()?.parse().ok()
}

fn restarts(world: &World, victim: &str) -> String {
    world.kubectl(&format!("get pod {victim} -o jsonpath={{.status.containerStatuses[0].restartCount}}"))
}

/// Waits until the daemon has done it or said why not.
fn outcome(world: &World, experiment: &Experiment) -> Outcome {
    let mut found = None;
    within(SOON, "the daemon says what became of it", || {
        let injections = experiment.injections(world);
        let targets =
            injections.iter().flat_map(|one| one["status"]["targets"].as_array().into_iter().flatten());
        let said = |target: &Value, field: &str| target[field].as_str().unwrap_or_default().to_owned();
        let errors: Vec<_> =
            targets.map(|target| said(target, "error")).filter(|text| !text.is_empty()).collect();
        found = match errors.first() {
            Some(error) => Some(Outcome::Fails(error.clone())),
            None => experiment.is(world, "AllInjected").then_some(Outcome::Works),
        };
        found.is_some()
    });
    found.unwrap()
}

/// Tries a fault of the network, and measures that it does what it says: something or nothing.
fn try_network(world: &World, spec: &Value, is_felt: impl Fn(Option<f64>) -> bool) -> Outcome {
    let experiment = network(world, "tried", None, spec);
    let outcome = outcome(world, &experiment);
    let way = round_trip(world);
    assert_eq!(is_felt(way), matches!(outcome, Outcome::Works), "{way:?} ms: {outcome:?}");
    experiment.delete(world, SOON);
    assert!(round_trip(world).is_some_and(|way| way < DELAY / 2.0), "it is gone");
    outcome
}

fn try_kill(world: &World, victim: &str) -> Outcome {
    let before = restarts(world, victim);
    let spec = json!({
        "action": "container-kill", "mode": "all", "selector": pods_of(victim), "containerNames": ["main"],
    });
    let experiment = pods(world, "tried", None, &spec);
    let outcome = outcome(world, &experiment);
    match outcome {
        Outcome::Works => drop(within(SOON, "it runs again", || restarts(world, victim) != before)),
        Outcome::Fails(_) => assert_eq!(restarts(world, victim), before),
    }
    experiment.delete(world, SOON);
    outcome
}

/// Tries every fault on a node, and gives those that fail with what they say.
fn failing(world: &World, node: u8, shaping: Buys) -> Vec<(Buys, String)> {
    victims(world, node);
    let gateway = world.cluster.block().unwrap().switch().to_string();
    let delay = json!({
        "action": "delay", "mode": "all", "selector": pods_of(VICTIMS[0]), "delay": { "latency": format!("{DELAY}ms") },
    });
    let partition = json!({
        "action": "partition", "mode": "all", "selector": pods_of(VICTIMS[0]), "direction": "to",
        "externalTargets": [gateway],
    });
    let tried = [
        (shaping, try_network(world, &delay, |way| way.is_some_and(|way| way >= DELAY))),
        (Buys::Partition, try_network(world, &partition, |way| way.is_none())),
        (Buys::KillOfRoot, try_kill(world, VICTIMS[0])),
        (Buys::KillOfOthers, try_kill(world, VICTIMS[1])),
    ];
    no_victims(world);
    no_injection_is_left(world);
    let failed = tried.into_iter().filter_map(|(fault, outcome)| match outcome {
        Outcome::Works => None,
        Outcome::Fails(error) => Some((fault, error)),
    });
    failed.collect()
}

/// Takes each capability away from the daemon of a node. `shaping` is what delays packets there.
pub(crate) fn each_is_needed_for_what_it_buys(world: &World, node: u8, shaping: Buys) {
    let before = traces::everywhere(world);
    let other = if shaping == Buys::Netem { Buys::Shaper } else { Buys::Netem };
    assert_eq!(failing(world, node, shaping), Vec::new(), "with all of them");
    for one in CAPABILITIES {
        let rest: Vec<_> =
            CAPABILITIES.iter().map(|each| each.name).filter(|name| *name != one.name).collect();
        give(world, node, &rest);
        let failed = failing(world, node, shaping);
        println!("without CAP_{} on machine{node}: {failed:#?}", one.name);
        let found: BTreeSet<_> = failed.iter().map(|(fault, _)| *fault).collect();
        let listed: BTreeSet<_> = one.buys.iter().copied().filter(|fault| *fault != other).collect();
        assert_eq!(found, listed, "CAP_{}", one.name);
        for (fault, error) in &failed {
            let name = format!("CAP_{}", one.name);
            assert!(error.contains(&name) && error.contains("squall install"), "{fault:?}: {error}");
        }
    }
    // As the errors say.
    world.install();
    assert_eq!(failing(world, node, shaping), Vec::new(), "with all of them again");
    traces::nothing_is_left(world, &before);
}

#[tokio::test]
async fn every_capability_of_the_daemon_buys_the_faults_that_it_is_said_to() {
    let world = world().await;
    each_is_needed_for_what_it_buys(&world, NODES, Buys::Shaper);
}
