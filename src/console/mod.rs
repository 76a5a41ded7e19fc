//! The console: the loop that joins state and view with the terminal and the cluster.
//!
//! One task takes one event after the other: signals first, then what the user does, then what comes from tasks, then
//! what changed in the cluster, then the time. It hands each to the update and does what that asks for; it draws when
//! something changed, at most every 16 ms, and not while the terminal is still busy with the frame before.

pub mod clipboard;
mod deeds;
mod fetch;
mod files;
mod input;
mod lifecycle;
mod measure;
mod pulse;
mod session;
mod slots;
pub mod terminal;
mod watch;

use crate::app::look::{Charset, Depth, ThemeName};
use crate::app::settings::Settings;
use crate::client::Kubeconfig;
use crate::report::Trouble;
use terminal::TerminalError;

pub use lifecycle::run;

/// The user's choices, and what is wrong with the file that they are in.
pub fn settings() -> (Settings, Option<Trouble>) {
    files::settings_path().map_or_else(|| (Settings::default(), None), |path| files::read_settings(&path))
}

/// How the user wants it to look, where the command line says so.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The theme.
    pub theme: Option<ThemeName>,
    /// How many colours.
    pub depth: Option<Depth>,
    /// Which characters.
    pub charset: Option<Charset>,
    /// Whether the console takes the mouse.
    pub mouse: Option<bool>,
}

/// What a console is opened on, and how.
#[derive(Clone)]
pub struct Options {
    /// A client of the API server.
    pub client: kube::Client,
    /// What the user calls it: `playground default`, `context lab (https://…)`.
    pub world: String,
    /// The namespace that is shown first; all of them without one.
    pub namespace: Option<String>,
    /// Nothing may be changed.
    pub read_only: bool,
    /// It is a playground that ends with the console ([`Ending::Quit`], [`Ending::Terminated`]).
    pub owner: bool,
    /// Where other contexts can be chosen: the kubeconfig that is in use, if there is one.
    pub kubeconfig: Option<Kubeconfig>,
    /// How it looks.
    pub look: Look,
}

/// How a console ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The user wanted it.
    Quit,
    /// SIGTERM or SIGINT from outside.
    Terminated,
    /// The terminal is gone.
    HungUp,
}

/// Why a console could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The terminal.
    #[error(transparent)]
    Terminal(#[from] TerminalError),
}
