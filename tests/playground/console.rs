//! The playground below its console: it ends when the console is quit, and with nothing else that becomes of a terminal.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::harness::Home;
use super::pty::{Launch, PATIENCE, Pty, Screen};

/// How long the kernel may take to clear away what has ended.
pub(super) const CLEARING: Duration = Duration::from_secs(5);

/// A verb on a terminal, with the same folders and as the same user as everything of this home.
pub(super) fn on_terminal(home: &Home, arguments: &[&str]) -> Launch {
    let launch = Launch::squall(arguments).program(home.program());
    let launch = home.folders().into_iter().fold(launch, |launch, (name, folder)| launch.env(name, folder));
    match Home::user() {
        Some(user) => launch.user(user),
        None => launch,
    }
}

/// A way to lose a console.
type Loss = fn(&mut Pty);

/// Opens the console of `squall playground`; `None`, with a loud word, where the machine forbids sandboxes.
pub(super) fn playground(home: &Home, arguments: &[&str]) -> Option<Pty> {
    opened(on_terminal(home, &[&["playground"], arguments].concat()))
}

/// Opens this console of `squall playground`, as [`playground`] does.
pub(super) fn opened(launch: Launch) -> Option<Pty> {
    let mut pty = launch.start();
    let wanted = "does not let you make a sandbox";
    pty.wait_for(|screen| screen.is_alternate() || screen.has(wanted), PATIENCE, "console");
    if pty.screen().has(wanted) {
        eprintln!("SKIPPED: {}", pty.screen().text());
        return None;
    }
    pty.wait_text("playground ");
    Some(pty)
}

/// Waits until the cluster is shown with all its eight pods ready.
pub(super) fn all_ready(pty: &mut Pty) {
    let is_ready = |line: &&str| line.contains(" 1/1 ") && line.contains("✓ Running");
    let ready = |screen: &Screen<'_>| screen.text().lines().filter(is_ready).count() == 8;
    pty.wait_for(ready, PATIENCE, "eight pods that are ready");
}

pub(super) fn answers(home: &Home, name: &str) -> bool {
    UnixStream::connect(home.socket(name)).is_ok()
}

/// The names of the movies server's pods, once there are so many.
fn server_pods(home: &Home, count: usize) -> BTreeSet<String> {
    let begun = Instant::now();
    loop {
        let (_, text) = squall(home, &["get", "pods", "-l", "app=server-app"]);
        let names = text.lines().filter_map(|line| line.split_whitespace().next());
        let names: BTreeSet<_> =
            names.filter(|name| name.starts_with("server-app")).map(str::to_owned).collect();
        if names.len() == count {
            return names;
        }
        assert!(begun.elapsed() < PATIENCE, "not {count} pods of server-app: {text}");
    }
}

/// A verb beside it, and what it said.
pub(super) fn squall(home: &Home, arguments: &[&str]) -> (bool, String) {
    let output = home.squall(arguments, "").wait_with_output().expect("the verb's output");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn quitting_the_console_ends_the_playground() {
    let home = Home::new();
    let Some(mut pty) = playground(&home, &[]) else { return };
    let before = pty.received();
    assert!(answers(&home, "default"));
    assert!(pty.has_sent(b"starting playground default", 0), "nothing was said before the console opened");
    pty.press("q");
    pty.wait_text("this ends the playground; again to leave");
    pty.press("q");
    assert!(pty.wait_end().success());
    home.wait_for_no_process(CLEARING).expect("nothing is left");
    assert!(!home.socket("default").exists(), "the socket is left");
    assert!(pty.has_sent(b"ending playground default", before));
    let log = fs::read_to_string(home.log("default")).expect("the log");
    assert!(log.contains("ending the playground"), "it did not end in order: {log}");
}

#[test]
fn a_request_to_end_ends_both() {
    let home = Home::new();
    let Some(mut pty) = playground(&home, &[]) else { return };
    kill(Pid::from_raw(pty.pid()), Signal::SIGTERM).expect("signal the console");
    assert!(pty.wait_end().success());
    home.wait_for_no_process(CLEARING).expect("nothing is left");
}

/// A lost connection, a closed window, a killed console: whoever comes back finds everything as it was.
#[test]
fn a_lost_terminal_leaves_the_playground_alone() {
    let home = Home::new();
    let losses: [(&str, Loss); 3] = [
        ("hang-up", Pty::hang_up),
        ("SIGHUP", |pty| pty.kill(Signal::SIGHUP)),
        ("SIGKILL", |pty| pty.kill(Signal::SIGKILL)),
    ];
    let Some(mut pty) = playground(&home, &[]) else { return };
    let before = server_pods(&home, 2);
    // The second and the third console are opened by the same verb again, which finds the playground running.
    for (loss, lose) in losses {
        lose(&mut pty);
        pty.wait_end();
        assert_eq!(server_pods(&home, 2), before, "after {loss}");
        pty = playground(&home, &[]).expect("the console again");
    }
    // This one is a guest.
    pty.press("q");
    assert!(pty.wait_end().success());
    assert!(answers(&home, "default"), "quitting an attached console ended the playground");

    let mut attached = on_terminal(&home, &["attach"]).start();
    attached.wait_text("playground default");
    let mut second = on_terminal(&home, &["attach", "default", "--read-only"]).start();
    second.wait_text("playground default");
    for console in [&mut attached, &mut second] {
        console.press("q");
        assert!(console.wait_end().success());
    }
    let (stopped, said) = squall(&home, &["playground", "--stop"]);
    assert!(stopped, "{said}");
    assert!(said.contains("ending playground default"), "{said}");
    home.wait_for_no_process(CLEARING).expect("nothing is left");
    assert!(!home.socket("default").exists(), "the socket is left");
}

#[test]
fn stop_ends_the_one_that_is_meant() {
    let home = Home::new();
    let Some(mut one) = home.start("one") else { return };
    let two = home.start("two").expect("a second playground");
    let (stopped, said) = squall(&home, &["playground", "--stop", "--name", "one"]);
    assert!(stopped, "{said}");
    assert!(one.wait().success(), "it was asked to end, and did in order");
    assert!(answers(&home, "two"), "the other one lives on");
    let (stopped, said) = squall(&home, &["playground", "--stop", "--name", "one"]);
    assert!(!stopped && said.contains("no playground 'one' is running"), "{said}");
    // Ended by Ctrl-C in the end, as if nobody had ever asked for the other.
    assert!(two.stop().success());
    home.wait_for_no_process(CLEARING).expect("nothing is left");
}

#[test]
fn ctrl_c_before_the_console_leaves_nothing() {
    let home = Home::new();
    let Some(mut pty) = playground(&home, &["--name", "probe"]) else { return };
    pty.press("q");
    pty.press("q");
    assert!(pty.wait_end().success());
    let mut pty = on_terminal(&home, &["playground"]).start();
    pty.wait_for(
        |screen| screen.has("starting playground") || screen.is_alternate(),
        PATIENCE,
        "sign of a start",
    );
    // Where the console was quicker, the key asks for nothing there, and the signal ends it.
    pty.kill(Signal::SIGINT);
    pty.wait_end();
    home.wait_for_no_process(CLEARING).expect("nothing is left");
}

#[test]
fn a_start_that_fails_says_why() {
    let home = Home::new();
    let Some(first) = home.start("taken") else { return };
    // The name is taken, but nobody answers by it: the socket is gone.
    fs::remove_file(home.socket("taken")).expect("remove the socket");
    let mut pty = on_terminal(&home, &["playground", "--name", "taken"]).start();
    assert!(!pty.wait_end().success());
    assert!(!pty.has_sent(b"\x1b[?1049h", 0), "there was nothing to open a console on");
    assert!(pty.screen().has("still has processes"), "{}", pty.screen().frame());
    drop(first);
}

#[test]
fn without_a_terminal_the_playground_runs_without_its_console() {
    let home = Home::new();
    let Some(probe) = home.start("probe") else { return };
    drop(probe);
    let child = home.squall(&["playground"], "");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process number"));
    let begun = Instant::now();
    while !answers(&home, "default") {
        assert!(begun.elapsed() < PATIENCE, "it does not start");
        thread::park_timeout(Duration::from_millis(10));
    }
    kill(pid, Signal::SIGINT).expect("signal the playground");
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no terminal"), "{output:?}");
    home.wait_for_no_process(CLEARING).expect("nothing is left");
}
