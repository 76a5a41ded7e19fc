//! The console on nodes: what it shows of pods comes from kubelets, and what it launches is felt.

use super::experiment::{SOON, no_injection_is_left};
use super::kubectl::within;
use super::pty::{Launch, Pty};
use super::samples;
use super::traces;
use super::world::{World, world};

/// Of the template network-delay, in milliseconds.
const DELAY: f64 = 150.0;

fn console(world: &World, home: &tempfile::TempDir) -> Pty {
    let launch = Launch::squall(&["console"]).env("KUBECONFIG", world.cluster.kubeconfig());
    launch.env("HOME", home.path()).size(120, 40).start()
}

/// The log of a pod, by its name.
fn logs(pty: &mut Pty) {
    pty.wait_text("squall-daemon-");
    pty.press("/");
    pty.type_text("squall-daemon");
    pty.press("enter");
    pty.wait_for(|screen| !screen.has("server-app-"), SOON, "pods of that name alone");
    pty.press("l");
    pty.wait_text("daemon started");
    pty.press("esc");
    // A key right behind it would be another key.
    pty.wait_for(|screen| !screen.has("daemon started"), SOON, "an end of the log");
}

/// The movies' own metrics, each asked of its pod.
fn metrics(pty: &mut Pty) {
    pty.press("4");
    pty.wait_text("Movies · ");
    pty.press("j");
    pty.press("enter");
    pty.wait_text("steady state ▸ Average response time");
    pty.wait_for(|screen| screen.has("/movies"), SOON, "series of the paths");
}

#[tokio::test]
async fn the_console_shows_logs_and_metrics_and_launches_a_delay() {
    let world = world().await;
    let before = traces::everywhere(&world);
    let calm = samples::watch(&world, 5);
    let home = tempfile::tempdir().unwrap();
    let mut pty = console(&world, &home);
    logs(&mut pty);
    metrics(&mut pty);

    pty.press("3");
    pty.wait_text("WHAT IT DOES");
    pty.press("home");
    pty.wait_text("╭ network-delay ─");
    pty.press("enter");
    pty.wait_text("editor ▸ template network-delay");
    pty.wait_text("would hit ");
    pty.press("f5");
    pty.wait_text("It acts on ");
    pty.press("enter");
    pty.wait_text("network-delay Injected");
    let during = samples::watch(&world, 8);
    println!("launched from the console, before: {calm}; during: {during}");
    during.is_later(&calm, DELAY);
    pty.press("4");
    pty.wait_text("network-delay injected");

    pty.press("2");
    pty.wait_text("NetworkChaos");
    pty.press("S");
    pty.wait_text("Stop NetworkChaos default/network-delay?");
    pty.press("enter");
    within(SOON, "it is gone", || world.kubectl("get networkchaos -o name").is_empty());
    no_injection_is_left(&world);
    traces::nothing_is_left(&world, &before);
}
