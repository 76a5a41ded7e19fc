//! What the user chose: in `~/.config/squall/config.yaml`, on the command line, on the settings screen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::look::{Charset, Depth, ThemeName};

/// The user's choices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// The theme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub theme: Option<ThemeName>,
    /// How many colours; what the terminal says without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colors: Option<Depth>,
    /// Which characters; what the locale says without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charset: Option<Charset>,
    /// Whether the console takes the mouse, as it does without it; off lets the terminal mark text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mouse: Option<bool>,
    /// The dashboard that opens by itself: `movies`, `none`; whatever fits the pods without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dashboard: Option<String>,
    /// Other keys for actions: `halt: [ctrl-x]`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, Vec<String>>,
}

/// How the console looks now: the settings, and where they say nothing what the terminal can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// The theme.
    pub theme: ThemeName,
    /// How many colours.
    pub depth: Depth,
    /// Which characters.
    pub charset: Charset,
    /// Whether the console takes the mouse.
    pub mouse: bool,
}

impl Settings {
    /// How the console looks on a terminal that can do this.
    pub fn look(&self, depth: Depth, charset: Charset) -> Look {
        Look {
            theme: self.theme.unwrap_or(if depth == Depth::None { ThemeName::Mono } else { ThemeName::Dark }),
            depth: self.colors.unwrap_or(depth),
            charset: self.charset.unwrap_or(charset),
            mouse: self.mouse.unwrap_or(true),
        }
    }
}
