//! The tutorial's experiments done in the console, by keys alone. What the screen says is one thing; what they did is
//! measured at the traffic client, which knows nothing of it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cluster::{Sample, median, pod, samples, wall};
use super::console::{CLEARING, all_ready, answers, on_terminal, opened, playground, squall};
use super::delay::{WITHIN, median_from, risen};
use super::harness::{Access, Home};
use super::partition::{between, steady, successes};
use super::pause::felt;
use super::pty::{PATIENCE, Pty, Screen};

/// How much slower than before requests may be once a fault of 150 ms or more is gone, in seconds.
const GONE: f64 = 0.015;

/// The way to a playground's API server, and the traffic client that feels what happens.
pub(super) struct Witness {
    access: Access,
    traffic: Pod,
}

impl Witness {
    /// Once `/movies` is answered as it should be.
    pub(super) async fn of(home: &Home) -> Self {
        let access = home.access("default");
        let traffic = pod(&access.client(), "traffic").await;
        steady(&access, &traffic).await;
        Self { access, traffic }
    }

    async fn samples(&self, path: &str) -> Vec<Sample> {
        samples(&self.access, &self.traffic, path).await
    }

    pub(super) async fn normal(&self) -> f64 {
        median_from(&self.access, &self.traffic, wall()).await
    }

    /// The median rises by `asked` seconds; how much it did.
    pub(super) async fn slower(&self, what: &str, normal: f64, asked: f64) -> f64 {
        risen(&self.access, &self.traffic, what, normal, asked).await - normal
    }

    pub(super) async fn as_before(&self, what: &str, normal: f64) {
        let median = median_from(&self.access, &self.traffic, wall() + WITHIN).await;
        assert!(median - normal < GONE, "{what}: the median is {median} s, {normal} s before");
    }
}

/// Launches the template with this number, and checks whom the question names.
fn launch(pty: &mut Pty, number: usize, name: &str, targets: &str) {
    pty.press("3");
    pty.wait_text("WHAT IT DOES");
    pty.press("home");
    for _ in 0..number {
        pty.press("j");
    }
    // The title of what is shown of it.
    pty.wait_text(&format!("╭ {name} ─"));
    pty.press("L");
    pty.wait_text(&format!("It acts on {targets}:"));
    assert!(pty.screen().has(&format!("/{name} in default?")), "{}", pty.screen().frame());
    pty.press("enter");
}

/// Presses a key that asks before it does something, and says yes.
pub(super) fn agree(pty: &mut Pty, key: &str, question: &str) {
    pty.press(key);
    pty.wait_text(question);
    pty.press("enter");
    pty.wait_for(|screen| !screen.has(question), PATIENCE, "end of the question");
}

/// Leaves a playground's own console: asked twice, it ends and leaves nothing.
pub(super) fn leave(home: &Home, mut pty: Pty) {
    pty.press("q");
    pty.wait_text("this ends the playground");
    assert!(answers(home, "default"), "once is not enough");
    pty.press("q");
    assert!(pty.wait_end().success());
    home.wait_for_no_process(CLEARING).expect("nothing is left");
    assert!(!home.socket("default").exists(), "the socket is left");
}

/// What frames and edges look like: the first and the last column.
fn edges(pty: &Pty, (columns, rows): (u16, u16)) -> Vec<[String; 2]> {
    let screen = pty.screen();
    let cell = |row, column| screen.cell(row, column).contents().to_owned();
    // The second line is a banner's, and the last but one may be a notice's.
    (2..rows - 2).map(|row| [cell(row, 0), cell(row, columns - 1)]).collect()
}

/// Makes the window as small as a finger and large again: the picture is whole, as it was.
fn squeeze(pty: &mut Pty) {
    let before = edges(pty, (80, 24));
    pty.resize(20, 5);
    pty.wait_text("20x5 is too small");
    pty.resize(80, 24);
    pty.wait_text("? help");
    pty.wait_for(|screen| screen.has("╭ timeline ─") && screen.has(" S stop "), PATIENCE, "whole picture");
    assert_eq!(edges(pty, (80, 24)), before, "\n{}", pty.screen().frame());
}

/// A second console sees the same run, and takes nothing along when it goes.
fn look_over_the_shoulder(home: &Home, experiment: &str, evidence: &str) {
    let mut guest = on_terminal(home, &["attach"]).start();
    guest.wait_text("Injected 3/3");
    guest.press("2");
    guest.wait_text(&format!("╭ {experiment} ─"));
    guest.press("enter");
    guest.wait_text(evidence);
    guest.press("q");
    guest.wait_text("will go on without the console");
    guest.press("q");
    assert!(guest.wait_end().success());
    assert!(answers(home, "default"), "a guest ended the playground");
}

#[tokio::test]
async fn a_delay_is_launched_turned_paused_resumed_and_stopped() {
    let home = Home::new();
    let Some(mut pty) = playground(&home, &[]) else { return };
    all_ready(&mut pty);
    let witness = Witness::of(&home).await;
    let normal = witness.normal().await;

    launch(&mut pty, 0, "network-delay", "3 targets");
    pty.wait_text("network-delay Injected 3/3");
    let begun = wall();
    let first = witness.slower("150 ms", normal, 0.150).await;
    let others = between(&witness.samples("/message1").await, begun + WITHIN, wall());
    assert!(median(&others) < 0.05, "/message1 needs no database, and took {} s", median(&others));
    pty.wait_text("experiment ▸ network-delay");
    pty.wait_text("delay 150ms ±10ms");
    squeeze(&mut pty);

    pty.press("+");
    pty.wait_text("latency 150ms → 200ms");
    pty.press("+");
    pty.wait_text("latency 150ms → 300ms");
    assert!(pty.screen().has("Changed in place on 3 targets:"), "{}", pty.screen().frame());
    pty.press("enter");
    pty.wait_text("delay 300ms ±10ms");
    let second = witness.slower("300 ms", normal, 0.300).await;
    look_over_the_shoulder(&home, "network-delay", "delay 300ms ±10ms");

    agree(&mut pty, "p", "Pause NetworkChaos default/network-delay?");
    pty.wait_text("Paused   targets 0/3, 3 recovered");
    witness.as_before("pause", normal).await;
    agree(&mut pty, "r", "Resume NetworkChaos default/network-delay?");
    pty.wait_text("Injected   targets 3/3");
    let third = witness.slower("resume", normal, 0.300).await;
    agree(&mut pty, "S", "Stop NetworkChaos default/network-delay?");
    pty.wait_text("gone: stopped and deleted");
    witness.as_before("stop", normal).await;
    eprintln!(
        "/movies {:.1} ms; by keys {:+.1}, {:+.1} and {:+.1} ms",
        normal * 1e3,
        first * 1e3,
        second * 1e3,
        third * 1e3
    );
    leave(&home, pty);
}

#[tokio::test]
async fn a_partition_is_undone_by_the_emergency_stop_and_a_failed_pod_by_stop() {
    let home = Home::new();
    let Some(mut pty) = playground(&home, &[]) else { return };
    all_ready(&mut pty);
    let witness = Witness::of(&home).await;

    launch(&mut pty, 1, "partition", "3 targets");
    pty.wait_text("partition Injected 3/3");
    let from = wall() + WITHIN;
    tokio::time::sleep(Duration::from_secs_f64(WITHIN + 3.0)).await;
    let movies = between(&witness.samples("/movies").await, from, wall());
    assert!(movies.len() >= 2 && !movies.iter().any(Sample::succeeded), "{movies:?}");
    let others = successes(&witness.samples("/message1").await, from, wall());
    assert!(others >= 3, "/message1 answered {others} times in 3 s");
    assert!(pty.screen().has("partition Injected 3/3"), "it is over too soon to tell");

    pty.press("!");
    pty.wait_text("Every fault is undone at once: 1 experiment, 3 targets.");
    pty.press("enter");
    pty.wait_text("HALTED: everything is stopped");
    steady(&witness.access, &witness.traffic).await;
    assert!(pty.screen().has("HALTED"), "it stays until it is released");
    pty.type_text(":release");
    pty.press("enter");
    pty.wait_text("Release the emergency stop?");
    pty.press("enter");
    pty.wait_for(|screen| !screen.has("HALTED"), PATIENCE, "end of the banner");

    launch(&mut pty, 2, "pod-failure", "1 target");
    pty.wait_text("pod-failure Injected 1/1");
    felt(&witness.access, &witness.traffic).await;
    let recent = between(&witness.samples("/movies").await, wall() - 1.0, wall());
    assert!(recent.iter().any(|sample| sample.status == "500"), "{recent:?}");
    // What was launched is what is acted on, beside the one that was stopped.
    pty.wait_text("experiment ▸ pod-failure");
    agree(&mut pty, "S", "Stop PodChaos default/pod-failure?");
    pty.wait_text("gone: stopped and deleted");
    steady(&witness.access, &witness.traffic).await;
    leave(&home, pty);
}

/// A console that is killed takes nothing along; one whose API server stands still says so, and goes on by itself.
#[test]
fn a_killed_console_and_a_silent_api_server_are_survived() {
    let home = Home::new();
    let Some(mut pty) = playground(&home, &[]) else { return };
    all_ready(&mut pty);
    launch(&mut pty, 1, "partition", "3 targets");
    pty.wait_text("partition Injected 3/3");
    pty.kill(Signal::SIGKILL);
    pty.wait_end();
    let mut pty = on_terminal(&home, &["attach"]).start();
    pty.wait_text("partition Injected 3/3");
    pty.press("2");
    pty.wait_text("╭ partition ─");

    let room = Pid::from_raw(home.part("room"));
    kill(room, Signal::SIGSTOP).expect("stop the machine room");
    let stale = |screen: &Screen<'_>| {
        let text = screen.text();
        let age = text.split("STALE ").nth(1).and_then(|rest| rest.split('s').next()?.parse().ok());
        age.is_some_and(|seconds: u32| seconds >= 5)
    };
    pty.wait_for(stale, PATIENCE, "STALE with its age");
    assert!(pty.screen().has("the API server does not answer"), "{}", pty.screen().frame());
    // What is known can still be looked at.
    pty.press("1");
    pty.wait_text("machine1");
    pty.press("2");
    pty.wait_text("╭ partition ─");
    kill(room, Signal::SIGCONT).expect("continue the machine room");
    pty.wait_for(|screen| !screen.has("STALE"), PATIENCE, "end of STALE");
    // What is shown is what is.
    agree(&mut pty, "S", "Stop NetworkChaos default/partition?");
    pty.wait_for(|screen| !screen.has("╭ partition ─"), PATIENCE, "end of the experiment");
    pty.press("q");
    assert!(pty.wait_end().success());
    let (stopped, said) = squall(&home, &["playground", "--stop"]);
    assert!(stopped, "{said}");
    home.wait_for_no_process(CLEARING).expect("nothing is left");
}

/// The keys of a session that sees everything once, and what is on the screen then.
const SESSION: [(&str, &str); 29] = [
    ("3", "WHAT IT DOES"),
    ("j", ""),
    ("j", ""),
    ("j", ""),
    ("j", ""),
    ("j", ""),
    ("j", ""),
    ("j", ""),
    ("j", ""),
    ("j", ""),
    ("k", ""),
    ("k", ""),
    ("k", ""),
    ("k", ""),
    ("k", ""),
    ("k", ""),
    ("k", ""),
    ("k", ""),
    ("k", ""),
    ("enter", "apiVersion"),
    ("esc", "resting"),
    ("1", "machine1"),
    ("2", "experiments"),
    ("4", "steady state"),
    ("6", "errors"),
    ("7", "settings"),
    ("?", "help"),
    ("/", "~fuzzy"),
    ("n", "/n"),
];

/// What a slow line has to carry. The bounds are far from what is measured (docs/performance.md): they catch a console
/// that draws everything anew with each key.
#[test]
fn a_frame_is_small() {
    for (columns, rows) in [(80, 24), (120, 40)] {
        let home = Home::new();
        let launch = on_terminal(&home, &["playground"]).size(columns, rows);
        let Some(mut pty) = opened(launch) else { return };
        all_ready(&mut pty);
        pty.watch(Duration::from_millis(500));
        let first = pty.received();
        let (mut largest, mut all) = (0, Vec::new());
        for (key, text) in SESSION {
            let before = pty.received();
            pty.press(key);
            pty.wait_text(text);
            pty.watch(Duration::from_millis(100));
            let bytes = pty.received() - before;
            if key == "j" || key == "k" {
                assert!(bytes > 0, "{key} moves nothing");
            }
            largest = largest.max(bytes);
            all.push(bytes);
        }
        let mean = all.iter().sum::<usize>() / all.len();
        all.sort_unstable();
        eprintln!(
            "{columns}x{rows}: {first} bytes until the cluster is shown; {} keys, median {} bytes, mean {mean}, \
             largest {largest}",
            all.len(),
            all[all.len() / 2]
        );
        assert!(mean <= 4 * 1024, "{columns}x{rows}: {mean} bytes a key");
        assert!(largest <= 40 * 1024, "{columns}x{rows}: a key brought {largest} bytes");
        leave_at_once(pty);
        home.wait_for_no_process(CLEARING).expect("nothing is left");
    }
}

/// Ends the console as `kill` does.
fn leave_at_once(mut pty: Pty) {
    pty.kill(Signal::SIGTERM);
    assert!(pty.wait_end().success());
}

/// A line with a round trip of 300 ms: everything works, only later, and the console is never behind its user.
#[test]
fn over_a_slow_line_it_only_takes_longer() {
    let home = Home::new();
    let launch = on_terminal(&home, &["playground"]).latency(Duration::from_millis(150));
    let Some(mut pty) = opened(launch) else { return };
    all_ready(&mut pty);
    pty.press("3");
    pty.wait_text("WHAT IT DOES");
    // One after the other, each seen on the screen before the next.
    let before = pty.received();
    for name in ["partition", "pod-failure", "network-loss"] {
        pty.press("j");
        pty.wait_text(&format!("╭ {name} ─"));
    }
    let one = (pty.received() - before) / 3;
    pty.press("home");
    pty.wait_text("╭ network-delay ─");
    // As a key that is held down: what is in between is skipped, and where it stops is what is shown.
    let before = pty.received();
    pty.send("jk".repeat(100) + &"j".repeat(10));
    pty.press("enter");
    pty.wait_text("kind: PodChaos");
    assert!(pty.screen().has("container-kill"), "{}", pty.screen().frame());
    let bytes = pty.received() - before;
    assert!(bytes < 60 * one, "210 keys at once brought {bytes} bytes, one brings {one}");
    // Once to rest, once to leave.
    pty.press("esc");
    pty.wait_text("resting");
    pty.press("esc");
    pty.wait_text("╭ container-kill ─");
    pty.press("?");
    pty.wait_text("help ▸ templates");
    pty.press("esc");
    pty.wait_text("╭ container-kill ─");
    eprintln!("one key brings {one} bytes, 210 and a screen {bytes}");
    leave(&home, pty);
}
