//! The same on a node with Debian's kernel, which has netem: a virtual machine. Its tests are together, since the cluster with
//! the machine and the one without are not there at once.

use squall::capabilities::Buys;

use super::world::{MACHINE, NODES, with_machine};
use super::{directions, rights, survive, system, tutorial};

#[tokio::test]
async fn the_delay_of_the_tutorial_is_netems() {
    let Some(world) = with_machine().await else { return };
    system::place(&world, "mongo", MACHINE);
    let evidence = tutorial::delay_is_felt(&world, "machine4");
    system::place(&world, "mongo", NODES);
    assert!(evidence.contains("netem in band"), "{evidence}");
}

#[tokio::test]
async fn netem_delays_what_the_machine_sends_and_the_shaper_what_the_others_do() {
    let Some(world) = with_machine().await else { return };
    system::place(&world, "server-app", MACHINE);
    let evidence = directions::delays(&world);
    directions::partitions(&world);
    system::place(&world, "server-app", NODES);
    let has = |direction: &str, word: &str| {
        let (_, text) = evidence.iter().find(|(known, _)| *known == direction).unwrap();
        assert!(text.contains(word), "{direction}: {text}");
    };
    has("to", "netem in band");
    has("both", "netem in band");
}

#[tokio::test]
async fn a_daemons_pod_that_is_deleted_by_force_leaves_nothing() {
    let Some(world) = with_machine().await else { return };
    system::place(&world, "mongo", MACHINE);
    survive::nobody_is_left_but_the_guardian(&world, MACHINE);
    system::place(&world, "mongo", NODES);
}

#[tokio::test]
async fn every_capability_buys_what_it_is_said_to_and_netem_needs_no_raw_sockets() {
    let Some(world) = with_machine().await else { return };
    rights::each_is_needed_for_what_it_buys(&world, MACHINE, Buys::Netem);
}
