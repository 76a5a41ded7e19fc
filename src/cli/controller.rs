//! `squall controller`: the part that turns experiments into Injections.

use super::exit::{Exit, Failure, Result};
use super::signals::Interrupts;
use super::world::{World, WorldArgs};
use crate::controller::{self, Options};

/// Run the controller: selects targets, times experiments and writes their status
///
/// Started by the cluster. Several may run; one of them leads.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Example:
  squall controller")]
pub(crate) struct Args {
    /// The name that it leads under; a suffix tells apart those of equal name
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "squall-controller")]
    name: String,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs) -> Result<Exit> {
        let world = World::find(world).await?;
        let mut interrupts = Interrupts::new()?;
        let identity = format!("{}_{}", self.name, uuid::Uuid::new_v4().simple());
        let shutdown = async move { interrupts.next().await };
        controller::run(world.client, Options::new(identity), shutdown).await.map_err(Failure::new)?;
        Ok(Exit::Success)
    }
}
