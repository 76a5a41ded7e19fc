//! Recordings of the console, made by `:dump` before a real playground: what happened then happens again.
#![cfg(test)]

use std::fs;
use std::path::Path;

use squall::app::recorder::{Recording, VERSION};
use squall::ui::testing::{drawn, text};

fn recording(name: &str) -> Recording {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay").join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Everything that was on the screen while it was replayed, once each.
fn screens(name: &str) -> Vec<String> {
    let mut screens = Vec::new();
    recording(name).replay(|state| {
        let screen = text(&drawn(state));
        if screens.last() != Some(&screen) {
            screens.push(screen);
        }
    });
    screens
}

#[test]
fn a_delay_is_launched_again() {
    let screens = screens("delay.json");
    // In this order: the question, the experiment with its evidence, the question about more of it, and the cluster.
    let mut rest = screens.iter();
    for expected in
        ["It acts on 3 targets", "targets 3/3", "read back: delay 150ms", "latency 150ms → 300ms", "FAULTS"]
    {
        let found = rest.any(|screen| screen.contains(expected));
        assert!(
            found,
            "\"{expected}\" is not shown, or not in its order; the last screen:\n{}",
            screens.last().unwrap()
        );
    }
    let last = screens.last().unwrap();
    assert!(
        last.contains("✦ netwo") || last.contains("✦ network-delay"),
        "the fault is on the pods:\n{last}"
    );
}

#[test]
fn every_recording_is_of_this_form_and_ends_the_same_twice() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay");
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert_eq!(recording(&name).version, VERSION, "{name}");
        let end = || serde_json::to_value(recording(&name).replay(|_| {})).unwrap();
        assert_eq!(end(), end(), "{name}");
    }
}
