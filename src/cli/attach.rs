//! `squall attach`: the console on a playground that runs already.

use super::console::{self, Flags, Role};
use super::exit::{Exit, Failure, Result};
use super::world::{World, WorldArgs};

/// Open the console on a running playground
///
/// Any number of consoles may be open on one playground, and closing one of these ends nothing: the playground goes on,
/// and so do its experiments. `squall playground --stop` ends one whose own terminal is gone.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  squall attach
  squall attach second --read-only")]
pub(crate) struct Args {
    /// Its name; needed only where several run
    name: Option<String>,
    #[command(flatten)]
    flags: Flags,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs) -> Result<Exit> {
        if world.names_a_cluster() {
            return Err(Failure::bad_input("attach is for playgrounds, and the flags name a cluster")
                .cure("use `squall console` for a cluster"));
        }
        console::check_terminal()?;
        let world = World::of_running_playground(self.name.as_deref().or_else(|| world.playground()))?;
        console::open(world, self.flags, Role::Attached).await?;
        Ok(Exit::Success)
    }
}
