use std::collections::BTreeSet;

use ratatui::style::Color;
use unicode_width::UnicodeWidthStr;

use super::palette::{Rgb, of, paint};
use super::*;

/// Relative luminance, WCAG 2.2.
fn luminance(Rgb(r, g, b): Rgb) -> f64 {
    let part = |part: u8| {
        let part = f64::from(part) / 255.0;
        if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b)
}

fn contrast(one: Rgb, other: Rgb) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn every_text_can_be_read_on_its_ground() {
    for name in [ThemeName::Dark, ThemeName::Light, ThemeName::HighContrast, ThemeName::ColourBlind] {
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Border) {
            let paint = paint(name, role);
            let contrast = contrast(paint.front, paint.ground.unwrap_or(of(name).ground));
            assert!(contrast >= 4.5, "{role:?} in {name}: {contrast:.2}");
        }
        // A state keeps its colour on the selected row.
        for role in [Role::Ok, Role::Warn, Role::Danger, Role::Injected, Role::Moving, Role::Paused] {
            let selection = paint(name, Role::Selected).ground.unwrap();
            let contrast = contrast(paint(name, role).front, selection);
            assert!(contrast >= 3.0, "{role:?} on the selection of {name}: {contrast:.2}");
        }
    }
}

#[test]
fn what_must_not_be_taken_for_each_other_differs_at_every_depth() {
    let apart = [
        &[Role::Text, Role::Danger, Role::Ok, Role::Injected, Role::Paused][..],
        &[Role::Text, Role::Selected, Role::SelectedDim],
        &[Role::Armed, Role::ReadOnly],
        &[Role::Banner, Role::HaltBanner, Role::Text],
        &[Role::Border, Role::FocusBorder],
    ];
    for name in ThemeName::ALL {
        for depth in Depth::ALL {
            let theme = Theme::new(*name, *depth, Charset::Utf8);
            for roles in apart {
                for (number, one) in roles.iter().enumerate() {
                    for other in &roles[number + 1..] {
                        // Without colours, states are told apart by their glyphs as well.
                        let glyphs = *depth == Depth::None || *name == ThemeName::Mono;
                        let states = [Role::Danger, Role::Injected, Role::Ok, Role::Paused];
                        if glyphs && states.contains(one) && states.contains(other) {
                            continue;
                        }
                        assert_ne!(
                            theme.style(*one),
                            theme.style(*other),
                            "{name} {depth} {one:?} {other:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn without_colours_there_are_none() {
    for theme in [
        Theme::new(ThemeName::Mono, Depth::Truecolor, Charset::Utf8),
        Theme::new(ThemeName::Dark, Depth::None, Charset::Utf8),
    ] {
        for role in Role::ALL {
            let style = theme.style(role);
            assert!(
                matches!((style.fg, style.bg), (None | Some(Color::Reset), None | Some(Color::Reset))),
                "{role:?}"
            );
        }
    }
}

#[test]
fn every_glyph_is_one_column_and_has_an_ascii_form() {
    for glyph in Glyph::ALL {
        assert_eq!((glyph.utf8().width(), glyph.ascii().len()), (1, 1), "{glyph:?}");
        assert!(glyph.ascii().is_ascii());
    }
    for glyph in Glyph::STATES {
        assert_eq!(glyph.utf8().width_cjk(), 1, "{glyph:?} is of ambiguous width");
    }
}

#[test]
fn states_of_one_kind_have_glyphs_of_their_own() {
    for (phases, of) in [
        (
            &["Waiting", "Injected", "Paused", "Stopping", "Finished", "Invalid"][..],
            of_experiment as fn(&str) -> State,
        ),
        (&["Waiting", "Injected", "Done", "Recovered", "Failed", "Stuck"], of_target),
    ] {
        for glyphs in [Glyph::utf8 as fn(Glyph) -> &'static str, Glyph::ascii] {
            let all: BTreeSet<_> = phases.iter().map(|phase| glyphs(of(phase).glyph)).collect();
            assert_eq!(all.len(), phases.len());
        }
    }
    assert_eq!(of_pod("Running", false).role, Role::Warn);
    assert_eq!(of_pod("CrashLoopBackOff", false).role, Role::Danger);
}
