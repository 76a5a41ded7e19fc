//! What can be done to experiments and found out about them, over the Kubernetes API: one implementation for the command
//! line and for the console.
//!
//! Nothing here prints, and nothing waits for a fault to come or go but where it says so: each call is one step, and its
//! error a [`Trouble`] that can be shown as it is. What is read becomes a report (`crate::report`).

mod apply;
pub mod follow;
pub mod halt;
pub mod installation;
pub mod installed;
mod kinds;
pub mod rights;
pub mod survey;
mod target;
pub mod top;
mod trouble;

pub use crate::report::Trouble;
pub use kinds::Kind;
pub use target::{Target, turn};
pub(crate) use trouble::why;
