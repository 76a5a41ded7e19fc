//! How the console looks: which theme, how many colours, which characters. Only the choice is made
//! here, from the values of environment variables that the caller read; what a choice looks like is
//! `ui::theme`'s.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that is not one of those that a setting knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{given}\" is no {setting}; write one of: {known}")]
pub struct UnknownName {
    /// What was to be chosen.
    setting: &'static str,
    given: String,
    /// The names that there are, separated by commas.
    known: String,
}

impl UnknownName {
    fn new<T: fmt::Display>(setting: &'static str, given: &str, all: &[T]) -> Self {
        let known: Vec<_> = all.iter().map(ToString::to_string).collect();
        Self { setting, given: given.to_owned(), known: known.join(", ") }
    }
}

/// Gives an enum of plain variants its names: `ALL`, `Display` and `FromStr`.
macro_rules! named {
    ($kind:ident, $setting:literal, $($variant:ident = $name:literal),+) => {
        impl $kind {
            /// Every value, in the order in which a menu shows them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name that users write and read.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $kind {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                let found = Self::ALL.iter().find(|value| value.name() == text);
                found.copied().ok_or_else(|| UnknownName::new($setting, text, Self::ALL))
            }
        }
    };
}

/// A set of colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThemeName {
    /// Light text on a dark ground, in colours that most colour-blind people tell apart.
    #[default]
    Dark,
    /// Dark text on a light ground.
    Light,
    /// Pure colours on black.
    HighContrast,
    /// The colours of Okabe and Ito on black, with blue, not green, for what is well.
    ColourBlind,
    /// No colours: bold, underlined and reversed text.
    Mono,
}

named!(
    ThemeName,
    "theme",
    Dark = "dark",
    Light = "light",
    HighContrast = "high-contrast",
    ColourBlind = "colour-blind",
    Mono = "mono"
);

/// How many colours a terminal has; more is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// None, or the user wants none.
    None,
    /// The eight colours of ECMA-48 and their bright forms, whose looks the user's own settings decide.
    Ansi16,
    /// The palette of xterm.
    Indexed256,
    /// 24 bits a colour.
    Truecolor,
}

named!(
    Depth,
    "colour depth",
    None = "none",
    Ansi16 = "ansi16",
    Indexed256 = "indexed256",
    Truecolor = "truecolor"
);

/// Parts of the TERM of terminals that have all colours and do not always say so in COLORTERM.
const TRUECOLOR_TERMS: &[&str] =
    &["-direct", "truecolor", "kitty", "alacritty", "wezterm", "ghostty", "foot", "contour"];

impl Depth {
    /// What the terminal can show, by the values of COLORTERM, TERM and `NO_COLOR` (see no-color.org: any value
    /// but the empty one means no colours).
    pub fn detect(colorterm: Option<&str>, term: Option<&str>, no_color: Option<&str>) -> Self {
        let term = term.unwrap_or_default();
        if no_color.is_some_and(|value| !value.is_empty()) || is_plain(term) {
            return Self::None;
        }
        let truecolor = matches!(colorterm, Some("truecolor" | "24bit"))
            || TRUECOLOR_TERMS.iter().any(|part| term.contains(part));
        // GNU screen hands COLORTERM on but misreads colours of 24 bits.
        if truecolor && !term.starts_with("screen") {
            Self::Truecolor
        } else if truecolor || term.contains("256") {
            Self::Indexed256
        } else {
            Self::Ansi16
        }
    }
}

/// Whether a terminal of this TERM has neither colours nor more characters than ASCII.
fn is_plain(term: &str) -> bool {
    term.is_empty() || term == "dumb" || term.starts_with("vt1") || term.starts_with("vt2")
}

/// The characters that a terminal can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Charset {
    /// Unicode.
    #[default]
    Utf8,
    /// ASCII only: whatever is not shows as `?`, also in what others write, such as logs.
    Ascii,
}

named!(Charset, "character set", Utf8 = "utf8", Ascii = "ascii");

impl Charset {
    /// What the terminal can show, by the values of `LC_ALL`, `LC_CTYPE`, LANG (the first that is set and not
    /// empty counts, as in locale(7)) and TERM.
    pub fn detect(
        lc_all: Option<&str>,
        lc_ctype: Option<&str>,
        lang: Option<&str>,
        term: Option<&str>,
    ) -> Self {
        let locale = [lc_all, lc_ctype, lang].into_iter().flatten().find(|value| !value.is_empty());
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        let term = term.unwrap_or_default();
        // The kernel's console reads UTF-8, but its fonts have 512 characters at most.
        let few_glyphs = is_plain(term) || term.starts_with("linux");
        if !few_glyphs && (locale.contains("utf-8") || locale.contains("utf8")) {
            Self::Utf8
        } else {
            Self::Ascii
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_of_terminals() {
        for (colorterm, term, no_color, depth) in [
            (None, None, None, Depth::None),
            (None, Some(""), None, Depth::None),
            (Some("truecolor"), Some("dumb"), None, Depth::None),
            (None, Some("vt100"), None, Depth::None),
            (None, Some("vt220"), None, Depth::None),
            (None, Some("xterm"), None, Depth::Ansi16),
            (None, Some("linux"), None, Depth::Ansi16),
            (None, Some("screen"), None, Depth::Ansi16),
            (None, Some("xterm-256color"), None, Depth::Indexed256),
            (Some(""), Some("xterm-256color"), None, Depth::Indexed256),
            (Some("yes"), Some("rxvt"), None, Depth::Ansi16),
            (Some("truecolor"), Some("xterm-256color"), None, Depth::Truecolor),
            (Some("24bit"), Some("xterm"), None, Depth::Truecolor),
            (None, Some("xterm-kitty"), None, Depth::Truecolor),
            (None, Some("xterm-direct"), None, Depth::Truecolor),
            (Some("truecolor"), Some("screen.xterm"), None, Depth::Indexed256),
            (Some("truecolor"), Some("xterm-256color"), Some("1"), Depth::None),
            (Some("truecolor"), Some("xterm-256color"), Some("0"), Depth::None),
            (Some("truecolor"), Some("xterm-256color"), Some(""), Depth::Truecolor),
        ] {
            let found = Depth::detect(colorterm, term, no_color);
            assert_eq!(found, depth, "COLORTERM={colorterm:?} TERM={term:?} NO_COLOR={no_color:?}");
        }
    }

    #[test]
    fn character_sets_of_locales() {
        let xterm = Some("xterm");
        for (lc_all, lc_ctype, lang, term, charset) in [
            (None, None, None, xterm, Charset::Ascii),
            (None, None, Some("C"), xterm, Charset::Ascii),
            (None, None, Some("C.UTF-8"), xterm, Charset::Utf8),
            (None, None, Some("en_US.utf8"), xterm, Charset::Utf8),
            (None, Some("de_DE.UTF-8"), Some("C"), xterm, Charset::Utf8),
            (None, Some("POSIX"), Some("de_DE.UTF-8"), xterm, Charset::Ascii),
            (Some("C"), Some("de_DE.UTF-8"), Some("de_DE.UTF-8"), xterm, Charset::Ascii),
            (Some(""), Some(""), Some("de_DE.UTF-8"), xterm, Charset::Utf8),
            (None, None, Some("ru_RU.KOI8-R"), xterm, Charset::Ascii),
            (None, None, Some("en_US.UTF-8"), Some("linux"), Charset::Ascii),
            (None, None, Some("en_US.UTF-8"), Some("dumb"), Charset::Ascii),
            (None, None, Some("en_US.UTF-8"), None, Charset::Ascii),
        ] {
            let found = Charset::detect(lc_all, lc_ctype, lang, term);
            assert_eq!(found, charset, "{lc_all:?} {lc_ctype:?} {lang:?} {term:?}");
        }
    }

    /// The names in files are those on the command line.
    fn named<T>(all: &[T])
    where
        T: Copy + fmt::Debug + fmt::Display + FromStr<Err = UnknownName> + PartialEq + Serialize,
    {
        for value in all {
            assert_eq!(value.to_string().parse(), Ok(*value));
            assert_eq!(serde_json::to_value(value).unwrap(), serde_json::json!(value.to_string()));
        }
    }

    #[test]
    fn names_are_the_same_everywhere() {
        named(ThemeName::ALL);
        named(Depth::ALL);
        named(Charset::ALL);
        assert_eq!(
            "pink".parse::<ThemeName>().unwrap_err().to_string(),
            "\"pink\" is no theme; write one of: dark, light, high-contrast, colour-blind, mono"
        );
    }

    #[test]
    fn more_colours_are_greater() {
        assert!(Depth::ALL.is_sorted());
    }
}
