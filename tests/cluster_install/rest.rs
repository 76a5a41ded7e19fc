//! Squall at rest: what it listens on, and what it costs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use squall::report::top::Top;
use test_cluster::node_name;

use super::experiment::{SOON, delay, network};
use super::kubectl::{PATIENCE, apply, pause, pod, within};
use super::samples;
use super::traces::processes;
use super::world::{NODES, World, world};

/// Pods with a fault.
const MANY: u32 = 30;

/// How many seconds costs are measured for.
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

/// Prints what every process of ours costs in the next seconds, and what is run in its container besides: the probes.
fn costs(world: &World, what: &str) {
    let all = processes(world);
    let leader = leader(world);
    let before: Vec<_> = all.iter().map(|one| (one.ticks(), one.time_of_container())).collect();
    let span = seconds();
    pause(Duration::from_secs(span.into()));
    for (process, (ticks, container)) in all.iter().zip(before) {
        let share = f64::from(u32::try_from(process.ticks() - ticks).unwrap()) / f64::from(span);
        let container =
            100.0 * process.time_of_container().saturating_sub(container).as_secs_f64() / f64::from(span);
        let mut part = process.verb.split(' ').next().unwrap().to_owned();
        if part == "controller" {
            part += if process.is_of(&leader) { ", which leads" } else { ", which waits" };
        }
        let [resident, own] = ["VmRSS:", "RssAnon:"].map(|line| process.memory(line));
        println!(
            "{part}, {what}, {}: {resident} KiB resident, {own} KiB its own, {} KiB its share; {share:.2} % of a core, its \
             container {container:.2} %, over {span} s",
            process.node(),
            process.share()
        );
    }
}

fn seconds() -> u32 {
    std::env::var(SECONDS).map_or(10, |seconds| seconds.parse().unwrap())
}

/// UID of the controller's pod that leads.
fn leader(world: &World) -> String {
    let lease = "-n squall-system get lease squall-controller -o jsonpath={.spec.holderIdentity}";
    let holder = world.kubectl(lease);
    let pods = world.json("-n squall-system get pods -l app.kubernetes.io/component=controller");
    let of_it = |pod: &&Value| holder.contains(pod["metadata"]["name"].as_str().unwrap());
    let pod = pods["items"].as_array().unwrap().iter().find(of_it).unwrap();
    pod["metadata"]["uid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_rest_costs() {
    let world = world().await;
    costs(&world, "at rest beside a system at work");
    // Alone on the nodes: what others do takes caches from who rests.
    world.kubectl("scale deployment traffic --replicas=0");
    within(SOON, "the client is gone", || world.pods("default", "app=traffic").is_empty());
    costs(&world, "at rest");
    world.kubectl("scale deployment traffic --replicas=1");
}

/// `squall top` against what the nodes' own kernels say.
#[tokio::test]
async fn top_says_what_kubelets_measure_of_each_part() {
    let world = world().await;
    let said = world.squall(&["top", "--once", "-o", "json"]);
    assert!(said.status.success(), "{said:?}");
    let top: Top = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(top.unknown, [], "everything may be read by an administrator");
    let daemons = top.nodes.iter().map(|node| ("daemon", node.daemon.clone().unwrap()));
    let controllers = top.controllers.iter().map(|controller| ("controller", controller.part.clone()));
    let parts: Vec<_> = daemons.chain(controllers).collect();
    assert_eq!(parts.len(), usize::from(NODES) + 2, "{parts:?}");
    let processes = processes(&world);
    for (verb, part) in parts {
        let order = format!("-n squall-system get pod {} -o jsonpath={{.metadata.uid}}", part.pod);
        let uid = world.kubectl(&order);
        let process = processes.iter().find(|one| one.verb.starts_with(verb) && one.is_of(&uid)).unwrap();
        let (memory, cpu) = (part.memory_bytes.unwrap() / 1024, part.cpu_cores.unwrap());
        println!("{}: {memory} KiB, {:.2} % of a core", part.pod, 100.0 * cpu);
        assert_eq!(part.state, "Ready");
        // Pages of the program's file are whoever's who read them first: no more is sure than what is its own alone.
        let own = process.memory("RssAnon:");
        assert!((own..64 * 1024).contains(&memory), "{part:?}, {own} KiB its own");
        assert!(cpu > 0.0 && cpu < 0.5, "{part:?}");
    }
}

/// Three experiments at work: every packet of the database waits, some of the server's answers are lost, and so are packets of
/// thirty pods of one node.
#[tokio::test]
async fn what_work_costs() {
    let world = world().await;
    let gateway = world.cluster.block().unwrap().switch();
    let mut many = pod("many", NODES, &format!("exec ping -q {gateway}"));
    let spec = many["spec"].take();
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "many" },
        "spec": {
            "replicas": MANY, "selector": { "matchLabels": { "app": "many" } },
            "template": { "metadata": { "labels": { "app": "many" } }, "spec": spec },
        },
    });
    apply(&world.cluster, &deployment);
    world.kubectl(&format!("rollout status deployment/many --timeout={}s", PATIENCE.as_secs()));
    let mut loss = delay("server-app", 0);
    loss["action"] = json!("loss");
    loss["loss"] = json!({ "loss": "1" });
    loss.as_object_mut().unwrap().remove("delay");
    let all = [("many", delay("many", 50)), ("database", delay("mongo", 20)), ("answers", loss)];
    let start = Instant::now();
    let all = all.map(|(name, spec)| network(&world, name, None, &spec));
    for experiment in &all {
        experiment.injected(&world);
    }
    println!("three experiments, {MANY} pods in one of them: injected after {:.1?}", start.elapsed());
    costs(&world, "at work");
    println!("the client meanwhile: {}", samples::watch(&world, 5));
    for experiment in &all {
        experiment.delete(&world, SOON);
    }
    world.kubectl("delete deployment many");
}

/// The kubelet starts a program in the container for each of its looks. Here it looks every second.
#[tokio::test]
async fn what_a_look_of_the_kubelet_costs() {
    let world = world().await;
    let daemon = || {
        let daemons = processes(&world).into_iter().filter(|process| process.verb.starts_with("daemon"));
        daemons.into_iter().find(|process| process.node() == node_name(NODES)).unwrap()
    };
    let span = Duration::from_secs(seconds().into());
    let cost = || {
        let daemon = daemon();
        let times = || (daemon.time_of_container(), daemon.time_of_node());
        let (container, node) = times();
        pause(span);
        let now = times();
        (now.0.saturating_sub(container), now.1.saturating_sub(node))
    };
    let usual = cost();
    let every_second = json!([
        { "op": "replace", "path": "/spec/updateStrategy", "value": { "type": "OnDelete" } },
        { "op": "replace", "path": "/spec/template/spec/containers/0/readinessProbe/periodSeconds", "value": 1 },
    ]);
    world.kubectl(&format!(
        "-n squall-system patch daemonset squall-daemon --type json --patch {every_second}"
    ));
    world.replace_daemon(NODES);
    pause(Duration::from_secs(5));
    let often = cost();
    // Each second instead of each tenth.
    let looks = span.as_secs_f64() * 0.9;
    let each =
        |usual: Duration, often: Duration| 1000.0 * (often.as_secs_f64() - usual.as_secs_f64()) / looks;
    println!(
        "a look of the kubelet: {:.1} ms of processor time in the container, {:.1} ms in the whole node",
        each(usual.0, often.0),
        each(usual.1, often.1)
    );
    world.install();
}
