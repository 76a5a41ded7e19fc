//! The console's screens as a user sees them: every screen in every state, at the sizes that matter.
//!
//! `INSTA_UPDATE=always cargo test --test console_screens` takes what is drawn now as what is meant; look at the
//! difference before committing it.

mod rules;
mod scenes;

use squall::ui::testing::{drawn, styles, text};

/// The sizes: the least that has everything, the usual one, and one with room for more.
const SIZES: [(u16, u16); 3] = [(60, 20), (80, 24), (120, 40)];

fn compare(name: &str, content: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, content));
}

fn every_scene_of(name: &str) {
    for (width, height) in SIZES {
        let mut all = String::new();
        for page in scenes::pages().into_iter().filter(|page| page.name == name) {
            for (state, mut console) in page.scenes {
                let drawn = drawn(&console.resize(width, height).state);
                all.extend(["=== ", state, "\n", &text(&drawn), "\n"]);
                if (width, height) == (80, 24) {
                    all.extend(["--- looks\n", &styles(&drawn), "\n"]);
                }
            }
        }
        compare(&format!("{name}-{width}x{height}"), &all);
    }
}

macro_rules! pages {
    ($($name:ident),+) => {
        $(#[test] fn $name() { every_scene_of(stringify!($name)); })+

        #[test]
        fn every_page_is_looked_at() {
            let names: Vec<_> = scenes::pages().iter().map(|page| page.name).collect();
            assert_eq!(names, [$(stringify!($name)),+]);
        }
    };
}

pages!(
    cluster,
    experiments,
    templates,
    editor,
    run,
    pager,
    logs,
    help,
    steady_state,
    settings,
    errors,
    popups,
    banners
);
