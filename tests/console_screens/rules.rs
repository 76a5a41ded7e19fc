//! What holds on every screen, in every state and at every size.

use squall::ui::testing::{drawn, text};

use crate::scenes::pages;

#[test]
fn a_terminal_that_was_small_for_a_while_shows_the_same_afterwards() {
    for page in pages() {
        for (state, mut console) in page.scenes {
            let expected = drawn(&console.state);
            console.resize(120, 40).resize(20, 5);
            assert!(text(&drawn(&console.state)).contains("too small"), "{} {state}", page.name);
            assert_eq!(text(&drawn(&console.resize(80, 24).state)), text(&expected), "{} {state}", page.name);
        }
    }
}

#[test]
fn no_size_is_too_odd() {
    for page in pages() {
        for (state, mut console) in page.scenes {
            for width in (1..=200).step_by(7).chain([59, 60, 99, 100, 139, 140]) {
                for height in (1..=60).step_by(5).chain([15, 17]) {
                    let buffer = drawn(&console.resize(width, height).state);
                    assert_eq!(
                        (buffer.area.width, buffer.area.height),
                        (width, height),
                        "{} {state}",
                        page.name
                    );
                }
            }
        }
    }
}
