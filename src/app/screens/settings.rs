//! The user's choices: what each is now, and its next value.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Pane;
use crate::app::effect::Effect;
use crate::app::geometry;
use crate::app::list::{List, Row};
use crate::app::look::{Charset, Depth, ThemeName};
use crate::app::state::State;

/// One choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its name, as in the configuration file.
    pub name: &'static str,
    /// What is chosen now.
    pub value: String,
    /// What it is about.
    pub help: &'static str,
}

impl Row for Choice {
    fn id(&self) -> &str {
        self.name
    }
}

/// What the screen remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SettingsScreen {
    /// The choices.
    pub list: List<Choice>,
}

/// Works out the list anew.
pub(in crate::app) fn refresh(state: &mut State) {
    let look = &state.look;
    let choice = |name, value: String, help| Arc::new(Choice { name, value, help });
    let rows = vec![
        choice("theme", look.theme.to_string(), "dark, light, high-contrast, colour-blind, mono"),
        choice("colors", look.depth.to_string(), "how many colours the terminal is given"),
        choice("charset", look.charset.to_string(), "which characters: utf8, or ascii alone"),
        choice("mouse", if look.mouse { "on" } else { "off" }.to_owned(), "off lets the terminal mark text"),
    ];
    let visible = geometry::rows(state, Pane::Settings);
    state.settings_screen.list.set_rows(rows, visible);
}

/// Enter: the next value of the selected choice, in force at once and written to the user's file.
pub(in crate::app) fn next_value(state: &mut State, effects: &mut Vec<Effect>) {
    let Some(name) = state.settings_screen.list.current().map(|choice| choice.name) else { return };
    let (look, settings) = (&mut state.look, &mut state.settings);
    match name {
        "theme" => {
            look.theme = after(ThemeName::ALL, look.theme);
            settings.theme = Some(look.theme);
        }
        "colors" => {
            look.depth = after(Depth::ALL, look.depth);
            settings.colors = Some(look.depth);
        }
        "charset" => {
            look.charset = after(Charset::ALL, look.charset);
            settings.charset = Some(look.charset);
        }
        _ => {
            look.mouse = !look.mouse;
            settings.mouse = Some(look.mouse);
            effects.push(Effect::TakeMouse(look.mouse));
        }
    }
    effects.push(Effect::Save(Box::new(settings.clone())));
    effects.push(Effect::Redraw);
}

/// The value behind this one; behind the last comes the first.
fn after<T: Copy + PartialEq>(all: &[T], value: T) -> T {
    let index = all.iter().position(|other| *other == value).map_or(0, |index| index + 1);
    all.get(index).or_else(|| all.first()).copied().unwrap_or(value)
}
