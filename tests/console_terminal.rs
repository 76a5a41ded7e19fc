//! The console's terminal on a pseudo terminal: taken over whole, and given back whole however the console ends.
#![cfg(test)]

#[expect(dead_code, reason = "shared with tests that run another copy of the program")]
mod pty;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use pty::{Launch, PATIENCE, Pty};

/// A cluster that is not there: for the terminal it makes no difference.
struct Nowhere(tempfile::TempDir);

impl Nowhere {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: nowhere\n\
            contexts: [{name: nowhere, context: {cluster: nowhere, user: nobody}}]\n\
            clusters: [{name: nowhere, cluster: {server: 'http://127.0.0.1:9'}}]\n\
            users: [{name: nobody, user: {}}]\n";
        fs::write(folder.path().join("config"), kubeconfig).expect("a kubeconfig");
        Self(folder)
    }

    fn console(&self, arguments: &[&str]) -> Launch {
        let arguments = [&["console"], arguments].concat();
        Launch::squall(&arguments)
            .env("KUBECONFIG", self.0.path().join("config"))
            .env("XDG_RUNTIME_DIR", self.0.path())
            .env("XDG_STATE_HOME", self.0.path())
    }
}

/// Waits until the console is there.
fn opened(pty: &mut Pty) {
    pty.wait_text("nowhere");
    assert!(pty.screen().is_alternate());
}

/// The terminal is as it was before the console: modes, screen, cursor, and what it reports.
#[track_caller]
fn assert_given_back(pty: &Pty, before: &nix::sys::termios::Termios) {
    let screen = pty.screen();
    assert!(!screen.is_alternate(), "still on the alternate screen:\n{}", screen.frame());
    assert!(screen.cursor().is_some(), "the cursor is hidden");
    assert_eq!(screen.paste_and_mouse(), (false, false), "paste, mouse");
    assert!(pty.has_sent(b"\x1b[?1004l", 0), "the focus is still reported");
    assert_eq!(&pty.modes(), before, "the modes differ");
}

#[test]
fn quitting_gives_the_terminal_back() {
    let nowhere = Nowhere::new();
    let mut pty = nowhere.console(&[]).start();
    let before = pty.modes();
    opened(&mut pty);
    assert_ne!(pty.modes(), before, "it is in raw mode");
    assert_eq!(pty.screen().cursor(), None, "the cursor is hidden");
    assert_eq!(pty.screen().paste_and_mouse(), (true, true));
    pty.press("q");
    assert!(pty.wait_end().success());
    assert_given_back(&pty, &before);
}

#[test]
fn signals_end_it_in_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let nowhere = Nowhere::new();
        let mut pty = nowhere.console(&[]).start();
        let before = pty.modes();
        opened(&mut pty);
        pty.kill(signal);
        let status = pty.wait_end();
        assert_eq!(status.signal(), None, "{signal}: {status}");
        if signal == Signal::SIGHUP {
            // Nothing is written any more to a terminal that is said to be gone.
            assert_eq!(pty.modes(), before);
        } else {
            assert_given_back(&pty, &before);
        }
    }
}

#[test]
fn a_lost_terminal_ends_it_at_once() {
    let nowhere = Nowhere::new();
    // Nobody tells it: the shell ignores the signal and so does what it starts.
    let mut pty = nowhere.console(&[]).job("trap '' HUP; \"$@\"; exit").start();
    opened(&mut pty);
    pty.hang_up();
    assert!(pty.wait_end().code().is_some(), "the shell waits for its job and ends by itself then");
}

#[test]
fn a_lone_job_ends_with_its_terminal() {
    let nowhere = Nowhere::new();
    let mut pty = nowhere.console(&[]).start();
    opened(&mut pty);
    pty.hang_up();
    assert!(pty.wait_end().success(), "a lost terminal is no error of the console");
}

/// What a panic looks like can be seen only in builds that have a way to ask for one.
#[cfg(debug_assertions)]
#[test]
fn a_panic_is_read_on_the_terminal_that_was_given_back() {
    let nowhere = Nowhere::new();
    let mut pty = nowhere.console(&[]).env("SQUALL_TEST_PANIC", "1").start();
    let before = pty.modes();
    assert_eq!(pty.wait_end().code(), Some(101));
    assert!(pty.has_sent(b"\x1b[?1049h", 0), "the console was open");
    assert_given_back(&pty, &before);
    assert!(pty.screen().has("a test asked for a panic"), "{}", pty.screen().frame());
}

#[test]
fn ctrl_z_stops_it_and_fg_brings_it_back() {
    let nowhere = Nowhere::new();
    let mut pty =
        nowhere.console(&[]).job("\"$@\"; echo STOPPED $?; read -r line; fg; echo ENDED $?").start();
    let before = pty.modes();
    opened(&mut pty);
    let sent = pty.received();
    pty.press("ctrl-z");
    pty.wait_for(|screen| screen.has("STOPPED") && !screen.is_alternate(), PATIENCE, "shell");
    assert_given_back(&pty, &before);
    pty.press("enter");
    pty.wait_for(|screen| screen.has("nowhere") && screen.is_alternate(), PATIENCE, "console");
    assert!(pty.has_sent(b"\x1b[2J", sent), "everything is drawn anew");
    assert_ne!(pty.modes(), before, "raw mode is back");
    assert_eq!(pty.screen().paste_and_mouse(), (true, true));
    pty.press("3");
    pty.wait_text("network-delay");
    pty.press("q");
    pty.wait_text("ENDED 0");
    assert_given_back(&pty, &before);
}

#[test]
fn where_no_shell_could_continue_it_ctrl_z_does_not_stop_it() {
    let nowhere = Nowhere::new();
    let mut pty = nowhere.console(&[]).start();
    opened(&mut pty);
    let sent = pty.received();
    pty.press("ctrl-z");
    pty.wait_for(|screen| screen.has("nowhere"), PATIENCE, "console");
    pty.press("3");
    pty.wait_text("network-delay");
    assert!(pty.has_sent(b"\x1b[?1049l", sent), "it had given the terminal back meanwhile");
    pty.press("q");
    assert!(pty.wait_end().success());
}

#[test]
fn a_stop_that_nobody_asked_for_is_survived() {
    let nowhere = Nowhere::new();
    // Stopped in the middle of a sequence, it leaves the terminal waiting for its last letter: the x.
    let mut pty = nowhere.console(&[]).job("\"$@\"; echo x STOPPED; read -r line; fg; echo ENDED $?").start();
    let before = pty.modes();
    opened(&mut pty);
    pty.kill(Signal::SIGSTOP);
    pty.wait_text("STOPPED");
    // The shell cannot know of the modes that the console left; a person would type `reset`.
    pty.send("\n");
    pty.wait_for(|screen| screen.has("nowhere") && !screen.has("STOPPED"), PATIENCE, "console drawn anew");
    pty.press("q");
    pty.wait_text("ENDED 0");
    assert_given_back(&pty, &before);
}

#[test]
fn it_follows_the_size_of_its_window() {
    let nowhere = Nowhere::new();
    let mut pty = nowhere.console(&[]).size(100, 30).start();
    opened(&mut pty);
    for (columns, rows) in [(20, 5), (100, 30), (1, 1), (80, 24)] {
        pty.resize(columns, rows);
        match columns {
            1 => {}
            20 => pty.wait_text("20x5 is too small"),
            // What can do harm stands in the corner, wherever that is.
            _ => pty.wait_for(
                |screen| screen.has("ARMED") && screen.cell(0, columns - 2).contents() == "D",
                PATIENCE,
                "corner",
            ),
        }
    }
    pty.press("q");
    assert!(pty.wait_end().success());
}

#[test]
fn without_colours_reverse_video_stays() {
    let nowhere = Nowhere::new();
    // Colours that are asked for, or there would be nothing behind the modifier that could take it off.
    let mut pty = nowhere.console(&["--color", "truecolor"]).env("NO_COLOR", "1").start();
    opened(&mut pty);
    pty.press(":");
    pty.wait_for(|screen| screen.cell(23, 0).contents() == ":", PATIENCE, "prompt");
    assert!(pty.screen().cell(23, 1).inverse(), "the cursor of the prompt is not reversed");
    pty.press("ctrl-c");
    pty.press("q");
    assert!(pty.wait_end().success());
}

#[test]
fn the_mouse_can_be_left_to_the_terminal() {
    let nowhere = Nowhere::new();
    let mut pty = nowhere.console(&["--no-mouse"]).start();
    opened(&mut pty);
    assert_eq!(pty.screen().paste_and_mouse(), (true, false));
    pty.press("M");
    pty.wait_for(|screen| screen.paste_and_mouse().1, PATIENCE, "mouse");
    pty.wait_text("STALE");
    pty.press("3");
    pty.wait_text("network-delay");
    // Below the lines of header, banner, frame and titles: the third template.
    pty.click(3, 6);
    pty.wait_text("Takes the database away");
    pty.press("q");
    assert!(pty.wait_end().success());
}

#[test]
fn text_is_pasted_as_a_whole() {
    let nowhere = Nowhere::new();
    let mut pty = nowhere.console(&[]).start();
    opened(&mut pty);
    pty.press("/");
    pty.paste("q and more");
    pty.wait_text("/q and more");
    // It leaves the prompt, as Esc does, and is a key by itself.
    pty.press("ctrl-c");
    pty.type_text("q");
    assert!(pty.wait_end().success());
}

#[test]
fn escape_is_a_key_and_the_begin_of_others() {
    let nowhere = Nowhere::new();
    let mut pty = nowhere.console(&[]).start();
    opened(&mut pty);
    pty.press("3");
    pty.wait_text("network-delay");
    pty.press(":");
    pty.wait_text("Tab completes");
    pty.press("esc");
    pty.wait_for(|screen| !screen.has("Tab completes"), PATIENCE, "no prompt");
    pty.press("G");
    pty.wait_text("╭ container-kill");
    // As a line may deliver it.
    pty.send("\x1b[");
    pty.watch(Duration::from_millis(100));
    pty.send("A");
    pty.wait_text("╭ pod-kill");
    pty.press("q");
    assert!(pty.wait_end().success());
}

/// One that is never completed.
#[test]
fn half_a_key_does_not_hold_it_up() {
    let nowhere = Nowhere::new();
    let mut pty = nowhere.console(&[]).start();
    opened(&mut pty);
    pty.send("\x1b[");
    pty.watch(Duration::from_millis(100));
    pty.resize(40, 10);
    pty.wait_text("40x10 is too small");
    pty.kill(Signal::SIGTERM);
    assert!(pty.wait_end().success());
}

#[test]
fn a_slow_line_only_delays() {
    let nowhere = Nowhere::new();
    let each_way = Duration::from_millis(150);
    let mut pty = nowhere.console(&[]).latency(each_way).start();
    opened(&mut pty);
    let begun = Instant::now();
    pty.press("3");
    pty.wait_text("network-delay");
    assert!(begun.elapsed() >= each_way * 2, "the test's own line is too fast: {:?}", begun.elapsed());
    pty.press("q");
    assert!(pty.wait_end().success());
}

/// Nobody reads the terminal: the console neither waits for that nor keeps every frame.
#[test]
fn a_terminal_that_takes_nothing_does_not_hold_it_up() {
    let nowhere = Nowhere::new();
    let mut pty = nowhere.console(&[]).size(500, 24).start();
    opened(&mut pty);
    pty.press("/");
    pty.wait_text("~fuzzy");
    pty.stall();
    // Each is a frame of some 400 bytes; a pseudo terminal has room for about 10,000.
    for round in 0..100 {
        pty.send("\x15");
        pty.paste(&if round % 2 == 0 { "a" } else { "b" }.repeat(400));
    }
    pty.press("ctrl-c");
    pty.type_text("q");
    assert!(pty.wait_end().success());
}

/// What nobody could see is not shown afterwards either: what comes then is what is.
#[test]
fn frames_that_a_stalled_line_missed_are_skipped() {
    let nowhere = Nowhere::new();
    let mut pty = nowhere.console(&[]).start();
    opened(&mut pty);
    pty.press("3");
    pty.wait_text("network-delay");
    let before = pty.received();
    pty.press("j");
    pty.wait_text("╭ partition ─");
    let one = pty.received() - before;
    let before = pty.received();
    pty.stall();
    for _ in 0..100 {
        for key in ["j", "k"] {
            pty.press(key);
            // Time for a frame of its own.
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
    pty.press("G");
    pty.go_on();
    pty.wait_text("╭ container-kill ─");
    pty.press("q");
    assert!(pty.wait_end().success());
    let bytes = pty.received() - before;
    // A pseudo terminal keeps some 20 KiB by itself.
    assert!(bytes < 60 * one, "a frame has {one} bytes; of 200 while nobody looked {bytes} came");
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let nowhere = Nowhere::new();
    let mut pty = nowhere.console(&[]).job("\"$@\" </dev/null; echo ENDED $?").start();
    pty.wait_text("ENDED 1");
    assert!(pty.screen().has("standard input is none"), "{}", pty.screen().frame());
    assert!(pty.screen().has("to do: start it in a terminal"), "{}", pty.screen().frame());
    assert!(!pty.has_sent(b"\x1b[?1049h", 0), "nothing was changed in the terminal");
}

#[test]
fn without_a_verb_it_is_the_console() {
    let nowhere = Nowhere::new();
    let mut pty = Launch::squall(&[]).env("KUBECONFIG", nowhere.0.path().join("config")).start();
    opened(&mut pty);
    pty.press("q");
    assert!(pty.wait_end().success());
}
