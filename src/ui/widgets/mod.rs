//! The parts that screens are made of. They take plain values and a theme, never the console's state.

pub mod axis;
pub mod editor;
pub mod popup;
pub mod sparkline;
pub mod table;
pub mod yaml;
