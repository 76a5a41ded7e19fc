//! Parts that die, and parts that are away, in the middle of a fault: it ends all the same, nothing of it is left, and nobody
//! has to wait for what is gone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use test_cluster::node_name;

use super::experiment::{
    BEYOND_LEASE, Experiment, SOON, delay, network, no_injection_is_left, pods, pods_of,
};
use super::kubectl::{PATIENCE, eventually, pause, within};
use super::samples::{self, MESSAGE, MOVIES};
use super::system;
use super::traces::{self, Traces, processes};
use super::world::{NODES, World, world};

/// How long an API server is away in a test, in seconds; a minute where somebody has the time.
const OUTAGE: &str = "SQUALL_TEST_OUTAGE";

/// The shortest lease there is.
const LEASE: &str = "5s";
const LEASE_TIME: Duration = Duration::from_secs(5);

/// What a node that was busy meanwhile may add to a lease.
const LATE: Duration = Duration::from_secs(5);

/// The database is slow: half a second is far from what a busy machine does to it.
fn slow_database(world: &World, name: &str, lease: Option<&str>, duration: Option<&str>) -> Experiment {
    let mut spec = delay("mongo", 500);
    if let Some(duration) = duration {
        spec["duration"] = json!(duration);
    }
    let experiment = network(world, name, lease, &spec);
    experiment.injected(world);
    assert!(is_slow(world), "the fault is felt");
    experiment
}

fn is_slow(world: &World) -> bool {
    let seen = samples::watch(world, 3);
    seen.count(MOVIES) > seen.failed(MOVIES) && seen.median(MOVIES) >= 500.0
}

/// Ends it, and looks whether anything of it is left.
fn ends_without_a_trace(world: &World, experiment: &Experiment, before: &BTreeMap<u8, Traces>) {
    experiment.delete(world, SOON);
    no_injection_is_left(world);
    traces::nothing_is_left(world, before);
    system::until_steady(world);
}

/// How often its faults were taken away and came back, as the status says.
fn interruptions(experiment: &Experiment, world: &World) -> u64 {
    let all = experiment.injections(world);
    all.iter().filter_map(|one| one["status"]["interruptions"].as_u64()).sum()
}

/// Sees to it that no controller runs on a node: what is asked is what the loss of a daemon costs.
fn no_controller_on(world: &World, node: u8) {
    let name = node_name(node);
    world.kubectl(&format!("cordon {name}"));
    let there = format!("-l app.kubernetes.io/component=controller --field-selector=spec.nodeName={name}");
    world.kubectl(&format!("-n squall-system delete pods {there}"));
    world.until_squall_is_ready();
    world.kubectl(&format!("uncordon {name}"));
}

/// Kills the processes of this machine that do something.
fn kill_all(world: &World, verb: &str) -> usize {
    let all: Vec<_> = processes(world).into_iter().filter(|process| process.verb.starts_with(verb)).collect();
    for process in &all {
        kill(Pid::from_raw(process.number()), Signal::SIGKILL).unwrap();
    }
    all.len()
}

#[tokio::test]
async fn controllers_that_are_killed_leave_faults_as_they_are_and_others_go_on() {
    let world = world().await;
    let before = traces::everywhere(&world);
    let experiment = slow_database(&world, "orphaned", None, Some("25s"));
    assert_eq!(kill_all(&world, "controller"), 2);
    assert!(is_slow(&world), "the daemon goes on by itself");
    // The next ones find it where the others left it, and see its end.
    within(PATIENCE, "it is recovered", || experiment.is(&world, "AllRecovered"));
    ends_without_a_trace(&world, &experiment, &before);
}

#[tokio::test]
async fn a_daemon_that_is_killed_leaves_nothing_and_the_next_one_injects_again() {
    let world = world().await;
    let before = traces::everywhere(&world);
    let experiment = slow_database(&world, "killed", None, None);
    assert_eq!(kill_all(&world, "daemon"), usize::from(NODES));
    // Its table and its queues were its own, and went with it.
    let again = within(SOON, "the next one injects again", || interruptions(&experiment, &world) == 1);
    println!("a daemon that was killed has a successor that says so after {again:.1?}");
    within(SOON, "the fault is felt again", || is_slow(&world));
    world.until_squall_is_ready();
    ends_without_a_trace(&world, &experiment, &before);
}

/// The worst of it: the daemon's pod goes with everything in it at once, and no other comes.
pub(crate) fn nobody_is_left_but_the_guardian(world: &World, node: u8) {
    let before = traces::everywhere(world);
    no_controller_on(world, node);
    let experiment = slow_database(world, "forced", Some(LEASE), None);
    assert!(traces::of(world, node).faulted() > 0);
    let daemons = world.json("-n squall-system get daemonset squall-daemon");
    world.kubectl("-n squall-system delete daemonset squall-daemon --cascade=orphan");
    world.kubectl(&format!("-n squall-system delete pod {} --force --grace-period=0", world.daemon(node)));
    let gone =
        within(SOON, "nothing is left in the pod's network", || traces::of(world, node).faulted() == 0);
    println!("{}: nothing is left {gone:.1?} after its daemon was deleted by force", node_name(node));
    within(SOON, "no process of ours is left", || {
        !traces::of(world, node).processes.iter().any(|line| !line.contains("controller"))
    });
    // Nobody on that node says that it is gone; its user need not wait for that longer than the lease.
    let deleted = experiment.delete(world, LEASE_TIME + BEYOND_LEASE);
    println!("  the experiment is gone {deleted:.1?} after it was deleted");
    restore(world, daemons);
    no_injection_is_left(world);
    traces::nothing_is_left(world, &before);
    system::until_steady(world);
}

/// Makes an object again as it was.
fn restore(world: &World, mut object: Value) {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
        metadata.remove(field);
    }
    object.as_object_mut().unwrap().remove("status");
    super::kubectl::apply(&world.cluster, &object);
    world.until_squall_is_ready();
}

#[tokio::test]
async fn a_daemons_pod_that_is_deleted_by_force_leaves_nothing() {
    let world = world().await;
    nobody_is_left_but_the_guardian(&world, NODES);
}

#[tokio::test]
async fn a_node_that_is_cut_off_undoes_its_faults_and_holds_nobody_up() {
    let world = world().await;
    let before = traces::everywhere(&world);
    no_controller_on(&world, NODES);
    let experiment = slow_database(&world, "cut-off", Some(LEASE), None);
    world.cluster.cut(NODES).unwrap();
    let undone = within(LEASE_TIME + LATE + LATE, "it undoes its faults by itself", || {
        traces::of(&world, NODES).faulted() == 0
    });
    println!("a node that is cut off has undone its faults after {undone:.1?}");
    let deleted = experiment.delete(&world, LEASE_TIME + BEYOND_LEASE);
    println!("and the experiment is gone {deleted:.1?} after it was deleted");
    world.cluster.heal(NODES).unwrap();
    no_injection_is_left(&world);
    eventually("the node is back", || {
        let ready = "{.status.conditions[?(@.type==\"Ready\")].status}";
        world.kubectl(&format!("get node {} -o jsonpath={ready}", node_name(NODES))) == "True"
    });
    assert_eq!(traces::of(&world, NODES).faulted(), 0, "what it hears now starts nothing");
    traces::nothing_is_left(&world, &before);
    system::until_steady(&world);
}

#[tokio::test]
async fn a_node_that_comes_back_in_time_goes_on() {
    let world = world().await;
    let before = traces::everywhere(&world);
    no_controller_on(&world, NODES);
    let experiment = slow_database(&world, "away", Some(LEASE), None);
    world.cluster.cut(NODES).unwrap();
    within(LEASE_TIME + LATE + LATE, "it undoes its faults by itself", || {
        traces::of(&world, NODES).faulted() == 0
    });
    world.cluster.heal(NODES).unwrap();
    within(SOON, "it injects again", || traces::of(&world, NODES).faulted() > 0);
    within(SOON, "and says how often it was interrupted", || interruptions(&experiment, &world) == 1);
    ends_without_a_trace(&world, &experiment, &before);
}

#[tokio::test]
async fn an_api_server_that_is_away_at_the_end_keeps_no_fault_alive() {
    let mut world = world().await;
    let outage = Duration::from_secs(std::env::var(OUTAGE).map_or(10, |seconds| seconds.parse().unwrap()));
    let before = traces::everywhere(&world);
    let experiment = slow_database(&world, "unattended", Some(LEASE), Some("8s"));
    let start = Instant::now();
    world.stop_api_server();
    let undone =
        within(LEASE_TIME + LATE, "the daemon undoes it", || traces::of(&world, NODES).faulted() == 0);
    println!("with the API server away the fault is gone after {undone:.1?}");
    pause(outage.saturating_sub(start.elapsed()));
    world.start_api_server().await;
    within(SOON, "its end is known", || experiment.is(&world, "AllRecovered"));
    assert_eq!(traces::of(&world, NODES).faulted(), 0, "its time is over");
    ends_without_a_trace(&world, &experiment, &before);
}

#[tokio::test]
async fn an_uninstallation_in_the_middle_of_faults_leaves_nothing() {
    let world = world().await;
    let clean = traces::everywhere(&world);
    let images = "get pods -l app=traffic -o jsonpath={.items[*].spec.containers[*].image}";
    let before = world.kubectl(images);
    slow_database(&world, "forgotten", Some(LEASE), None);
    let partition = json!({
        "action": "partition", "mode": "all", "selector": pods_of("server-app"), "direction": "both",
        "target": { "mode": "all", "selector": pods_of("mongo") },
    });
    network(&world, "forgotten-too", Some(LEASE), &partition).injected(&world);
    let failure = json!({ "action": "pod-failure", "mode": "all", "selector": pods_of("traffic") });
    pods(&world, "forgotten-pods", Some(LEASE), &failure).injected(&world);
    world.uninstall();
    assert_eq!(processes(&world).len(), 0, "{:?}", processes(&world));
    traces::nothing_is_left(&world, &clean);
    assert_eq!(world.kubectl(images), before, "the pods have their images back");
    for node in 1..=NODES {
        assert_eq!(traces::files(&world, node), "", "{}", node_name(node));
    }
    let left = world.kubectl("get clusterroles,clusterrolebindings,crds,validatingadmissionpolicies -o name");
    let ours: Vec<_> =
        left.lines().filter(|line| line.contains("squall") || line.contains("chaos-mesh")).collect();
    assert_eq!(ours, Vec::<&str>::new());
    world.install();
    system::until_steady(&world);
    assert_eq!(samples::watch(&world, 2).failed(MESSAGE), 0);
}
