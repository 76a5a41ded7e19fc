//! Fifty nodes with ten targets each, over the API server's end: the small sister of the benchmark `cluster_scale`.
//!
//! What grows with pods instead of nodes, or hangs after an outage, is found here. No speed is asserted.

use std::time::Duration;

use squall::api::MAX_RECORDS;
use squall::controller::{self, Options};
use squall::experiment::Limits;
use test_cluster::Cluster;

use super::fleet::{accounts, rig::Rig};
use super::install;

const NODES: usize = 50;

const TARGETS: usize = 500;

/// How long any step may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn fifty_nodes_write_once_each_and_outlive_the_api_server() {
    let mut cluster = Cluster::start().await.unwrap();
    install::squalls(&cluster.client("default").await.unwrap()).await;
    let rig = Rig::new(&cluster, NODES, TARGETS, PATIENCE).await;
    let limits = Limits { targets: TARGETS, ..Limits::default() };
    let options = Options { limits, ..Options::new("controller") };
    let client = accounts::client(&cluster, rig.controller().await).await;
    let controller = tokio::spawn(controller::run(client, options, std::future::pending()));

    let life = rig.life().await;
    assert_eq!(life.injected, TARGETS);
    assert!(
        life.object < 64 * 1024,
        "with {TARGETS} targets, of which {MAX_RECORDS} are listed: {} bytes",
        life.object
    );
    let nodes = NODES as u64;
    let creation = &life.creation;
    assert_eq!(creation.of("injections.squall.dev POST"), nodes, "{creation}");
    // Some daemons may see their targets in place at the second look.
    assert!((nodes..=2 * nodes).contains(&creation.of("injections.squall.dev/status PUT")), "{creation}");
    for (what, most) in [
        ("networkchaos.chaos-mesh.org/status PATCH", 10),
        ("networkchaos.chaos-mesh.org PATCH", 2),
        ("events.events.k8s.io POST", 5),
    ] {
        assert!((1..=most).contains(&creation.of(what)), "{what}: {creation}");
    }
    assert_eq!(life.pause.of("injections.squall.dev PUT"), nodes, "{}", life.pause);
    assert!(
        (nodes..=2 * nodes).contains(&life.pause.of("injections.squall.dev/status PUT")),
        "{}",
        life.pause
    );
    assert_eq!(life.deletion.of("injections.squall.dev DELETE"), nodes, "{}", life.deletion);
    assert_eq!(life.deletion.of("networkchaos.chaos-mesh.org DELETE"), 1, "{}", life.deletion);

    assert_eq!(rig.halt().await.len(), NODES);

    let (duration, lease) = (Duration::from_secs(4), Duration::from_secs(5));
    let outage = rig.outage(&mut cluster, Duration::from_secs(8), duration, lease).await;
    assert_eq!(outage.left, 0, "faults outlived their deadline or their lease");
    assert_eq!((outage.spans.len(), outage.losses.len()), (NODES, TARGETS / 2));
    // The daemon's clock starts a moment before what it did is written down.
    assert!(
        outage.spans[0] + Duration::from_millis(50) >= duration,
        "a fault ended before its time: {:?}",
        outage.spans[0]
    );
    assert!(!controller.is_finished());
}
