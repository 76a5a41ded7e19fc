//! The colours of each theme. Those of states are ordered so that most colour-blind people tell them apart: blue for
//! what is well, orange for care, vermilion for harm (Okabe and Ito).

use super::Role;
use crate::app::look::ThemeName;

/// A colour: red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rgb(pub(super) u8, pub(super) u8, pub(super) u8);

/// A front, and a ground where it is not the theme's.
pub(super) struct Paint {
    pub(super) front: Rgb,
    pub(super) ground: Option<Rgb>,
}

/// The colours of a theme.
pub(super) struct Palette {
    pub(super) ground: Rgb,
    pub(super) text: Rgb,
    dim: Rgb,
    accent: Rgb,
    border: Rgb,
    selection: Rgb,
    well: Rgb,
    warn: Rgb,
    danger: Rgb,
    injected: Rgb,
    moving: Rgb,
    paused: Rgb,
    /// The ground of a time at which a fault was in place.
    window: Rgb,
    /// On the ground of [`Self::injected`] and [`Self::danger`].
    inverse: Rgb,
}

const DARK: Palette = Palette {
    ground: Rgb(22, 24, 29),
    text: Rgb(220, 223, 228),
    dim: Rgb(148, 155, 166),
    accent: Rgb(97, 175, 239),
    border: Rgb(92, 99, 112),
    selection: Rgb(52, 61, 80),
    well: Rgb(86, 190, 230),
    warn: Rgb(240, 190, 80),
    danger: Rgb(255, 120, 100),
    injected: Rgb(230, 159, 60),
    moving: Rgb(204, 160, 220),
    paused: Rgb(240, 228, 120),
    window: Rgb(58, 44, 24),
    inverse: Rgb(16, 16, 20),
};

const LIGHT: Palette = Palette {
    ground: Rgb(250, 250, 248),
    text: Rgb(36, 41, 47),
    dim: Rgb(96, 104, 114),
    accent: Rgb(9, 86, 180),
    border: Rgb(150, 157, 166),
    selection: Rgb(208, 224, 245),
    well: Rgb(0, 98, 155),
    warn: Rgb(140, 84, 0),
    danger: Rgb(184, 44, 20),
    injected: Rgb(158, 74, 0),
    moving: Rgb(128, 56, 150),
    paused: Rgb(110, 92, 0),
    window: Rgb(250, 232, 204),
    inverse: Rgb(255, 255, 255),
};

const HIGH_CONTRAST: Palette = Palette {
    ground: Rgb(0, 0, 0),
    text: Rgb(255, 255, 255),
    dim: Rgb(204, 204, 204),
    accent: Rgb(0, 255, 255),
    border: Rgb(255, 255, 255),
    selection: Rgb(0, 60, 190),
    well: Rgb(0, 255, 0),
    warn: Rgb(255, 255, 0),
    danger: Rgb(255, 140, 140),
    injected: Rgb(255, 176, 0),
    moving: Rgb(255, 140, 255),
    paused: Rgb(255, 255, 140),
    window: Rgb(72, 44, 0),
    inverse: Rgb(0, 0, 0),
};

const COLOUR_BLIND: Palette = Palette {
    ground: Rgb(12, 12, 14),
    text: Rgb(235, 235, 235),
    dim: Rgb(165, 165, 165),
    accent: Rgb(86, 180, 233),
    border: Rgb(110, 110, 110),
    selection: Rgb(0, 62, 100),
    well: Rgb(86, 180, 233),
    warn: Rgb(240, 228, 66),
    danger: Rgb(255, 130, 50),
    injected: Rgb(230, 159, 0),
    moving: Rgb(214, 150, 190),
    paused: Rgb(240, 228, 66),
    window: Rgb(56, 40, 10),
    inverse: Rgb(0, 0, 0),
};

/// The colours of the theme of this name.
pub(super) const fn of(name: ThemeName) -> &'static Palette {
    match name {
        // Mono has no colours; it is never asked.
        ThemeName::Dark | ThemeName::Mono => &DARK,
        ThemeName::Light => &LIGHT,
        ThemeName::HighContrast => &HIGH_CONTRAST,
        ThemeName::ColourBlind => &COLOUR_BLIND,
    }
}

/// The colours of a role.
pub(super) const fn paint(name: ThemeName, role: Role) -> Paint {
    let palette = of(name);
    let (front, ground) = match role {
        Role::Text | Role::Title => (palette.text, None),
        Role::Dim | Role::Unknown | Role::Comment => (palette.dim, None),
        Role::Accent | Role::FocusBorder | Role::Header | Role::Key | Role::YamlKey => (palette.accent, None),
        Role::Border => (palette.border, None),
        Role::Selected | Role::SelectedDim => (palette.text, Some(palette.selection)),
        Role::Ok | Role::YamlText => (palette.well, None),
        Role::Warn => (palette.warn, None),
        Role::Danger => (palette.danger, None),
        Role::Injected => (palette.injected, None),
        Role::Moving | Role::YamlScalar => (palette.moving, None),
        Role::Paused => (palette.paused, None),
        Role::Window => (palette.text, Some(palette.window)),
        Role::Match => (palette.inverse, Some(palette.warn)),
        Role::Banner => (palette.inverse, Some(palette.injected)),
        Role::HaltBanner | Role::Armed => (palette.inverse, Some(palette.danger)),
        Role::ReadOnly => (palette.inverse, Some(palette.well)),
    };
    Paint { front, ground }
}
