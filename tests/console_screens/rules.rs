//! What holds on every screen, in every state and at every size.

use ratatui::buffer::Buffer;
use ratatui::style::Color;
use squall::app::look::{Charset, Depth, ThemeName};
use squall::app::testing::Console;
use squall::ui::testing::{drawn, text};

use crate::SIZES;
use crate::scenes::pages;

/// Looks at every state of every screen.
fn everywhere(mut look: impl FnMut(&str, Console)) {
    for page in pages() {
        for (state, console) in page.scenes {
            look(&format!("{}, {state}", page.name), console);
        }
    }
}

fn first_line(buffer: &Buffer) -> String {
    text(buffer).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_terminal_that_was_small_for_a_while_shows_the_same_afterwards() {
    everywhere(|name, mut console| {
        let expected = text(&drawn(&console.state));
        console.resize(120, 40).resize(20, 5);
        assert!(text(&drawn(&console.state)).contains("too small"), "{name}");
        assert_eq!(text(&drawn(&console.resize(80, 24).state)), expected, "{name}");
    });
}

/// Widths and heights around everything that depends on them, and some in between.
#[test]
fn no_size_is_too_odd() {
    let widths = [1, 2, 3, 59, 60, 61, 99, 100, 139, 140, 200];
    let heights = [1, 2, 15, 16, 17, 20, 60];
    everywhere(|name, mut console| {
        for (width, height) in widths.iter().flat_map(|width| heights.map(|height| (*width, height))) {
            let buffer = drawn(&console.resize(width, height).state);
            assert_eq!((buffer.area.width, buffer.area.height), (width, height), "{name}");
        }
    });
}

#[test]
fn the_same_corner_says_which_cluster_it_is_and_what_can_be_done_to_it() {
    everywhere(|name, mut console| {
        "context prod".clone_into(&mut console.state.world.name);
        console.state.namespace = Some("shop".to_owned());
        console.state.look.charset = Charset::Utf8;
        for (width, height) in SIZES {
            for (read_only, word) in [(false, "ARMED"), (true, "READ-ONLY")] {
                console.state.read_only = read_only;
                let line = first_line(&drawn(&console.resize(width, height).state));
                let corner = format!("context prod · shop  {word}");
                assert!(line.ends_with(&corner), "{name} at {width}x{height}: {line}");
                // One blank at the edge, which is as coloured as the word.
                assert_eq!(line.chars().count(), usize::from(width) - 1, "{name} at {width}x{height}");
            }
        }
    });
}

#[test]
fn long_names_give_way_to_each_other_and_neither_goes() {
    let mut console = Console::playground();
    "context arn:aws:eks:eu-central-1:123456789012:cluster/production".clone_into(&mut console.state.world.name);
    console.state.namespace = Some("payments-and-billing-production".to_owned());
    for (width, height) in SIZES {
        let line = first_line(&drawn(&console.resize(width, height).state));
        let parts = ["cluster", "context", "oduction · payments", "oduction  ARMED"];
        assert!(parts.iter().all(|part| line.contains(part)), "{width}x{height}: {line}");
    }
}

#[test]
fn ascii_is_ascii_whatever_others_write() {
    everywhere(|name, mut console| {
        console.state.look.charset = Charset::Ascii;
        for (width, height) in SIZES {
            let text = text(&drawn(&console.resize(width, height).state));
            let other = text.chars().find(|char| !char.is_ascii());
            assert_eq!(other, None, "{name} at {width}x{height}:\n{text}");
        }
    });
}

#[test]
fn without_colours_there_are_none_and_the_selected_row_is_still_seen() {
    everywhere(|name, mut console| {
        let coloured = text(&drawn(&console.state));
        for (theme, depth) in [(ThemeName::Mono, Depth::Truecolor), (ThemeName::Dark, Depth::None)] {
            (console.state.look.theme, console.state.look.depth) = (theme, depth);
            let buffer = drawn(&console.state);
            let plain = |color| matches!(color, Color::Reset);
            assert!(buffer.content.iter().all(|cell| plain(cell.fg) && plain(cell.bg)), "{name}, {theme}");
            if !name.starts_with("settings") {
                assert_eq!(text(&buffer), coloured, "{name}: colours change nothing that is written");
            }
            let looks = squall::ui::testing::styles(&buffer);
            assert!(looks.contains("reversed"), "{name}, {theme}: the mode at least");
        }
    });
}

/// Whoever sees no colours reads the state in a word, whoever reads fast sees it by its glyph.
#[test]
fn every_state_is_a_glyph_and_a_word() {
    for (page, state, expected) in [
        ("cluster", "failing", &["✗ NotReady", "✓ Ready", "✗ CrashLo", "✓ Running", "✦ network-de"][..]),
        ("cluster", "stale", &["! STALE 12s", "✦ network-delay Injected"]),
        ("experiments", "failing", &["↺ Injecting", "✗ Invalid"]),
        ("run", "normal", &["✦ Injected"]),
        ("run", "failing", &["✗ Failed", "✗ failed: the kernel", "1 failed"]),
        ("run", "waiting", &["◌ Waiting"]),
        ("run", "gone", &["▪ gone"]),
        ("errors", "several", &["✗ failed", "✓ done"]),
        ("pager", "failed", &["✗ cannot get"]),
        ("banners", "halted", &["✗ HALTED"]),
        ("banners", "frozen", &["ǁ FROZEN 5s"]),
    ] {
        let mut seen = false;
        everywhere(|name, console| {
            if name == format!("{page}, {state}") {
                let text = text(&drawn(&console.state));
                for words in expected {
                    assert!(text.contains(words), "{name}: no {words} in\n{text}");
                }
                seen = true;
            }
        });
        assert!(seen, "there is no {page}, {state}");
    }
}
