//! The whole way of an experiment in the console: written in the editor, launched, and its effect read off the
//! application's own metrics, which know nothing of the console or the fault.

use std::time::Duration;

use super::console::{all_ready, on_terminal, opened};
use super::console_tutorial::{Witness, agree, leave};
use super::harness::Home;
use super::pty::{Pty, Screen};

/// The paths that need no database.
const OTHERS: [&str; 4] = ["/", "/message1", "/message2", "/message3"];

/// How long the panels may take to show it: they are of the last minute, so that it rises from the first second on and is
/// forgotten after a minute.
const MINUTE: Duration = Duration::from_secs(90);

/// The present value of this path in the legend of the large chart, in seconds.
fn now(screen: &Screen<'_>, path: &str) -> Option<f64> {
    let text = screen.text();
    let line = text.lines().find(|line| line.split_whitespace().any(|word| word == path))?;
    let mut words = line.split_whitespace().skip_while(|word| *word != path).skip(1);
    let value: f64 = words.next()?.parse().ok()?;
    let unit = match words.next()? {
        "s" => 1.0,
        "ms" => 1e-3,
        "µs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    };
    Some(value * unit)
}

/// What is in the editor is broken, mended, and launched.
fn edit_and_launch(pty: &mut Pty) {
    pty.press("3");
    pty.wait_text("WHAT IT DOES");
    pty.press("home");
    pty.wait_text("╭ network-delay ─");
    pty.press("enter");
    pty.wait_text("editor ▸ template network-delay");
    pty.wait_text("would hit 3 pods");
    let screen = pty.screen().text();
    let number = |text: &str| {
        let line = screen.lines().find(|line| line.contains(text)).expect("the line is on the screen");
        let number = line.split(|c: char| !c.is_ascii_digit()).find(|word| !word.is_empty());
        number.and_then(|number| number.parse::<usize>().ok()).expect("a line number")
    };
    let (from, latency) = (number("apiVersion:"), number("latency: 150ms"));
    for _ in from..latency {
        pty.press("down");
    }
    pty.press("end");
    pty.type_text("x");
    pty.wait_text("1 problem");
    let problem = format!("{latency}:14 spec.delay.latency: \"150msx\" is not one number with one");
    let at_its_line = format!("✗{latency}     latency: 150msx");
    pty.wait_for(|screen| screen.has(&problem) && screen.has(&at_its_line), MINUTE, "problem at its line");
    // Nothing of that kind is launched: it leads to what is to be mended.
    pty.press("f5");
    pty.wait_text(&format!("typing  {latency}:14"));
    assert!(!pty.screen().has("It acts on"), "{}", pty.screen().frame());
    pty.press("end");
    pty.press("backspace");
    pty.wait_text("no problem");
    pty.wait_text("would hit 3 pods");
    pty.press("f5");
    pty.wait_text("It acts on 3 targets:");
    pty.press("enter");
    pty.wait_text("network-delay Injected 3/3");
}

#[tokio::test]
async fn an_experiment_is_edited_launched_and_seen_in_the_metrics_of_the_application() {
    let home = Home::new();
    let Some(mut pty) = opened(on_terminal(&home, &["playground"]).size(120, 40)) else { return };
    all_ready(&mut pty);
    let witness = Witness::of(&home).await;
    let normal = witness.normal().await;

    pty.press("4");
    pty.wait_text("Movies · 2 pods");
    pty.press("j");
    pty.press("enter");
    pty.wait_text("steady state ▸ Average response time");
    pty.wait_for(|screen| now(screen, "/movies").is_some(), MINUTE, "value of /movies");
    // A time without a fault to compare with.
    pty.watch(Duration::from_secs(10));
    let before = now(&pty.screen(), "/movies").expect("a value");
    assert!(before < 0.05, "/movies takes {before} s before");

    edit_and_launch(&mut pty);
    let slower = witness.slower("150 ms", normal, 0.150).await;
    pty.press("4");
    pty.wait_text("network-delay injected");
    pty.wait_for(
        |screen| now(screen, "/movies").is_some_and(|now| now > before + 0.015),
        MINUTE,
        "rise of /movies",
    );
    let risen = now(&pty.screen(), "/movies").expect("a value");
    for path in OTHERS {
        let other = now(&pty.screen(), path).expect("a value");
        assert!(other < 0.02, "{path} needs no database, and took {other} s\n{}", pty.screen().frame());
    }

    agree(&mut pty, "S", "Stop NetworkChaos default/network-delay?");
    pty.wait_text("network-delay recovered");
    witness.as_before("stop", normal).await;
    pty.wait_for(
        |screen| now(screen, "/movies").is_some_and(|now| now < before + 0.002),
        MINUTE,
        "fall of /movies",
    );
    let fallen = now(&pty.screen(), "/movies").expect("a value");
    eprintln!(
        "the client: {:+.1} ms; the chart of /movies: {:.2} ms, then {:.2} ms, then {:.2} ms",
        slower * 1e3,
        before * 1e3,
        risen * 1e3,
        fallen * 1e3
    );
    leave(&home, pty);
}
