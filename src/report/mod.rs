//! What there is to say about experiments: the same on the command line and in the console, for scripts and for people.
//!
//! Pure: objects that somebody else has read become values that can be printed, drawn, stored and compared. The words
//! of commands in advice are those of the command line. What is printed as JSON is described in docs/output.md.

pub mod age;
pub mod describe;
mod detail;
mod halt;
mod outcome;
mod overview;
pub mod plan;
mod progress;
mod remaining;
mod right;
mod table;
pub mod top;
mod turn;

pub use detail::{Detail, Happening, OnNode, OnTarget, is_about, timeline};
pub use halt::stopped;
pub use outcome::{Change, INSTALL, Trouble};
pub use overview::Overview;
pub use progress::{Progress, Stage, conditions, left, stage, status, word};
pub use remaining::Remaining;
pub use right::Right;
pub use table::Table;
pub use turn::Turn;

#[cfg(test)]
pub(crate) mod documented;
