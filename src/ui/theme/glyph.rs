//! The glyphs: each in Unicode and in ASCII, one column wide.
//!
//! Those of states are not of ambiguous width (UAX #11): a terminal set up for East Asian text would draw them two
//! columns wide. Lines of frames and the ellipsis are; whoever has such a terminal chooses ASCII.

/// A glyph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glyph {
    /// It is well, or done.
    Well,
    /// It failed.
    Failed,
    /// It waits.
    Waiting,
    /// A fault is in place.
    Injected,
    /// On the way.
    Moving,
    /// It stands still on purpose.
    Paused,
    /// It is over.
    Over,
    /// Not known.
    Unknown,
    /// To be careful about.
    Warning,
    /// The smallest first.
    Ascending,
    /// The largest first.
    Descending,
    /// Something is left out.
    Ellipsis,
    /// Between the parts of a line.
    Separator,
    /// Deeper.
    Into,
    /// A full cell of a bar.
    Full,
    /// An empty cell of a bar.
    Empty,
    /// Before the selected row.
    Pointer,
    /// A horizontal line.
    Horizontal,
    /// A vertical line.
    Vertical,
    /// A corner.
    TopLeft,
    /// A corner.
    TopRight,
    /// A corner.
    BottomLeft,
    /// A corner.
    BottomRight,
}

impl Glyph {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Well,
        Self::Failed,
        Self::Waiting,
        Self::Injected,
        Self::Moving,
        Self::Paused,
        Self::Over,
        Self::Unknown,
        Self::Warning,
        Self::Ascending,
        Self::Descending,
        Self::Ellipsis,
        Self::Separator,
        Self::Into,
        Self::Full,
        Self::Empty,
        Self::Pointer,
        Self::Horizontal,
        Self::Vertical,
        Self::TopLeft,
        Self::TopRight,
        Self::BottomLeft,
        Self::BottomRight,
    ];

    /// Those that stand for a state.
    pub const STATES: [Self; 9] = [
        Self::Well,
        Self::Failed,
        Self::Waiting,
        Self::Injected,
        Self::Moving,
        Self::Paused,
        Self::Over,
        Self::Unknown,
        Self::Warning,
    ];

    /// In Unicode.
    pub const fn utf8(self) -> &'static str {
        match self {
            Self::Well => "✓",
            Self::Failed => "✗",
            Self::Waiting => "◌",
            Self::Injected => "✦",
            Self::Moving => "↺",
            Self::Paused => "ǁ",
            Self::Over => "▪",
            Self::Unknown => "?",
            Self::Warning => "!",
            Self::Ascending => "▴",
            Self::Descending => "▾",
            Self::Ellipsis => "…",
            Self::Separator => "·",
            Self::Full => "█",
            Self::Empty => "░",
            Self::Into | Self::Pointer => "▸",
            Self::Horizontal => "─",
            Self::Vertical => "│",
            Self::TopLeft => "╭",
            Self::TopRight => "╮",
            Self::BottomLeft => "╰",
            Self::BottomRight => "╯",
        }
    }

    /// In ASCII.
    pub const fn ascii(self) -> &'static str {
        match self {
            Self::Failed => "x",
            Self::Waiting => "o",
            Self::Injected | Self::Full => "#",
            Self::Moving | Self::Ellipsis => "~",
            Self::Paused => "=",
            Self::Over | Self::Separator | Self::Horizontal => "-",
            Self::Unknown => "?",
            Self::Warning => "!",
            Self::Ascending => "^",
            Self::Descending => "v",
            Self::Into | Self::Pointer => ">",
            Self::Empty => ".",
            Self::Vertical => "|",
            Self::Well | Self::TopLeft | Self::TopRight | Self::BottomLeft | Self::BottomRight => "+",
        }
    }
}
