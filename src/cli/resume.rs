//! `squall resume`: lets a paused experiment go on for the time that it has left.

use super::Out;
use super::exit::{EXIT_CODES, Exit, Result};
use super::wait::Wait;
use super::which::Which;
use super::world::WorldArgs;
use crate::report::Turn;

/// Let a paused experiment go on
///
/// The fault comes back for what remained of the duration at `squall pause`. Waits until every target has it again,
/// read back from the kernel.
#[derive(clap::Args, Debug)]
#[command(after_long_help = format!("Examples:
  squall resume networkchaos partition
  squall resume -f templates/partition.yaml
  squall resume netchaos/partition -n staging --no-wait

{EXIT_CODES}"))]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    wait: Wait,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        Turn::Resume.run(&self.which, self.wait, world, out).await
    }
}
