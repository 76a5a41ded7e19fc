//! `squall console`: the console on a cluster or a playground; and what every verb that opens one shares.

use super::exit::{Exit, Failure, Result};
use super::world::{World, WorldArgs};
use crate::app::look::{Charset, Depth, ThemeName};
use crate::console::{self, Ending, Look, Options, terminal};

/// Open the console
///
/// It shows the cluster, its experiments and what they do to it, and starts and stops them. What runs belongs to the
/// controller: closing the console, or losing the terminal, stops nothing. `squall` without a verb is the same.
#[derive(clap::Args, Debug, Default)]
#[command(after_long_help = "Examples:
  squall
  squall console --context my-cluster --read-only
  squall console --playground second -n default")]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
}

/// Flags of every verb that opens a console.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct Flags {
    /// Show everything, change nothing
    #[arg(long, help_heading = "Console")]
    read_only: bool,
    /// Show this namespace first
    #[arg(short, long, value_name = "NAME", help_heading = "Console")]
    namespace: Option<String>,
    /// Use this theme: dark, light, high-contrast, colour-blind or mono
    #[arg(long, value_name = "NAME", help_heading = "Console")]
    theme: Option<ThemeName>,
    /// How many colours to use; `auto` asks the environment
    #[arg(long, value_name = "COLOURS", help_heading = "Console")]
    color: Option<Depth>,
    /// Use no character beyond ASCII
    #[arg(long, help_heading = "Console")]
    ascii: bool,
    /// Leave the mouse to the terminal
    #[arg(long, help_heading = "Console")]
    no_mouse: bool,
}

/// The part of the console's verbs that depends on who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A cluster, or whatever the flags and the surroundings mean.
    Guest,
    /// A playground that goes on after the console.
    Attached,
    /// A playground that ends with the console.
    Owner,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs) -> Result<Exit> {
        check_terminal()?;
        let world = World::find(world).await?;
        world.log_in().await?;
        let role = if world.is_playground() { Role::Attached } else { Role::Guest };
        open(world, self.flags, role).await?;
        Ok(Exit::Success)
    }
}

/// Refuses early where there is no terminal: nothing is started for a console that cannot be shown.
pub(crate) fn check_terminal() -> Result<()> {
    terminal::check().map_err(|error| {
        Failure::new(error).cure("start it in a terminal; `squall --help` has the verbs for scripts")
    })
}

/// Opens the console and waits for its end.
pub(crate) async fn open(world: World, flags: Flags, role: Role) -> Result<Ending> {
    let options = Options {
        owner: role == Role::Owner,
        client: world.client,
        world: world.name,
        namespace: flags.namespace.or(world.own_namespace),
        read_only: flags.read_only,
        kubeconfig: world.kubeconfig,
        look: Look {
            theme: flags.theme,
            depth: flags.color,
            charset: flags.ascii.then_some(Charset::Ascii),
            mouse: flags.no_mouse.then_some(false),
        },
    };
    // All that the console knows is in its future.
    Box::pin(console::run(options)).await.map_err(|error| Failure::new(error).context("the console ended"))
}
