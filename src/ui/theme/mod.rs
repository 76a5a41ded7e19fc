//! Roles and states to colours, modifiers and glyphs.
//!
//! A widget never names a colour: it names a [`Role`], and the theme says what that looks like with the colours and
//! characters that the terminal has. Where there are no colours, modifiers tell the roles apart; and a state is always
//! a glyph and a word as well.

mod downgrade;
mod glyph;
mod palette;
mod state;

use ratatui::style::{Modifier, Style};

use crate::app::look::{Charset, Depth, ThemeName};

pub use glyph::Glyph;
pub use state::{State, of_experiment, of_node, of_pod, of_target};

/// What a piece of text or a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// What is read.
    Text,
    /// What may be passed over.
    Dim,
    /// What stands out without meaning anything good or bad.
    Accent,
    /// A frame.
    Border,
    /// The frame of what the keys act on.
    FocusBorder,
    /// The title of a frame.
    Title,
    /// The titles of columns.
    Header,
    /// The selected row.
    Selected,
    /// The selected row of a list that the keys do not act on.
    SelectedDim,
    /// What is well.
    Ok,
    /// What to be careful about.
    Warn,
    /// What failed, or harms.
    Danger,
    /// A fault that is in place.
    Injected,
    /// On the way: being injected, being undone.
    Moving,
    /// Standing still on purpose.
    Paused,
    /// Not known, or over.
    Unknown,
    /// A key in the footer.
    Key,
    /// What a filter or a search found.
    Match,
    /// The line that says that faults run.
    Banner,
    /// The line that says that all is stopped.
    HaltBanner,
    /// The word that says that this console can do harm.
    Armed,
    /// The word that says that it cannot.
    ReadOnly,
    /// The ground of a time at which a fault was in place.
    Window,
    /// A key of YAML.
    YamlKey,
    /// A text of YAML.
    YamlText,
    /// A number or word of YAML.
    YamlScalar,
    /// A comment.
    Comment,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::Text,
        Self::Dim,
        Self::Accent,
        Self::Border,
        Self::FocusBorder,
        Self::Title,
        Self::Header,
        Self::Selected,
        Self::SelectedDim,
        Self::Ok,
        Self::Warn,
        Self::Danger,
        Self::Injected,
        Self::Moving,
        Self::Paused,
        Self::Unknown,
        Self::Key,
        Self::Match,
        Self::Banner,
        Self::HaltBanner,
        Self::Armed,
        Self::ReadOnly,
        Self::Window,
        Self::YamlKey,
        Self::YamlText,
        Self::YamlScalar,
        Self::Comment,
    ];

    /// What tells it apart where there are no colours, and supports them where there are.
    const fn modifier(self) -> Modifier {
        match self {
            Self::Accent
            | Self::Title
            | Self::Key
            | Self::Ok
            | Self::Paused
            | Self::YamlKey
            | Self::FocusBorder => Modifier::BOLD,
            Self::Header | Self::Danger | Self::Injected => Modifier::BOLD.union(Modifier::UNDERLINED),
            Self::Dim | Self::Border | Self::Unknown | Self::Comment => Modifier::DIM,
            Self::Selected | Self::HaltBanner | Self::Armed => Modifier::REVERSED.union(Modifier::BOLD),
            Self::Banner => Modifier::REVERSED,
            Self::SelectedDim | Self::Match | Self::ReadOnly | Self::Warn | Self::Window => {
                Modifier::UNDERLINED
            }
            Self::Moving => Modifier::ITALIC,
            Self::Text | Self::YamlText | Self::YamlScalar => Modifier::empty(),
        }
    }
}

/// What everything looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    name: ThemeName,
    depth: Depth,
    charset: Charset,
}

impl Theme {
    /// The theme of this name on a terminal that can do this.
    pub const fn new(name: ThemeName, depth: Depth, charset: Charset) -> Self {
        let depth = if matches!(name, ThemeName::Mono) { Depth::None } else { depth };
        Self { name, depth, charset }
    }

    /// What this role looks like.
    pub fn style(&self, role: Role) -> Style {
        if self.depth == Depth::None {
            return Style::new().add_modifier(role.modifier());
        }
        let paint = palette::paint(self.name, role);
        let mut style = self.ground().fg(downgrade::color(paint.front, self.depth));
        if let Some(ground) = paint.ground {
            style = style.bg(downgrade::color(ground, self.depth));
        }
        // Colours say the rest.
        let kept = match role {
            Role::Danger | Role::Injected | Role::Selected | Role::Armed | Role::HaltBanner => Modifier::BOLD,
            Role::Warn
            | Role::Dim
            | Role::Border
            | Role::Unknown
            | Role::Comment
            | Role::Moving
            | Role::Banner
            | Role::SelectedDim
            | Role::Window => Modifier::empty(),
            other => other.modifier(),
        };
        // Sixteen colours are too few to tell the two apart on every ground.
        let extra = match (self.depth, role) {
            (Depth::Ansi16, Role::Injected) => Modifier::UNDERLINED,
            _ => Modifier::empty(),
        };
        style.add_modifier(kept | extra)
    }

    /// The ground that everything stands on.
    pub fn ground(&self) -> Style {
        if self.depth == Depth::None {
            return Style::new();
        }
        let palette = palette::of(self.name);
        Style::new()
            .fg(downgrade::color(palette.text, self.depth))
            .bg(downgrade::color(palette.ground, self.depth))
    }

    /// A glyph in the characters that the terminal has.
    pub const fn glyph(&self, glyph: Glyph) -> &'static str {
        match self.charset {
            Charset::Utf8 => glyph.utf8(),
            Charset::Ascii => glyph.ascii(),
        }
    }

    /// Whether only ASCII may be drawn.
    pub const fn is_ascii(&self) -> bool {
        matches!(self.charset, Charset::Ascii)
    }
}

#[cfg(test)]
mod tests;
