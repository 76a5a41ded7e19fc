//! `squall controller`: turns experiments into Injections.

use std::path::PathBuf;

use super::exit::{Exit, Failure, Result};
use super::signals::Interrupts;
use super::world::{World, WorldArgs};
use crate::controller;

/// Run the controller: experiments in, Injections out
///
/// Several may run; the holder of the Lease squall-controller in squall-system acts, and renews it every 2 s.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Example:
  squall controller --context my-cluster")]
pub(crate) struct Args {
    /// Its name in the Lease; no two may share one
    #[arg(long, env = "HOSTNAME", value_name = "NAME", default_value_os_t = host_name())]
    identity: PathBuf,
    /// The image that pods run during pod-failure: Squall's own, or any that only waits
    #[arg(long, env = "SQUALL_FAILURE_IMAGE", value_name = "IMAGE")]
    failure_image: Option<String>,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs) -> Result<Exit> {
        let world = World::find(world).await?;
        let mut interrupts = Interrupts::new()?;
        let identity = format!("{}_{}", self.identity.display(), std::process::id());
        tracing::info!(world = world.name, identity, "controller starts");
        let options =
            controller::Options { failure_image: self.failure_image, ..controller::Options::new(identity) };
        controller::run(world.client, options, interrupts.next()).await.map_err(Failure::new)?;
        Ok(Exit::Success)
    }
}

/// The pod's name, in a pod.
fn host_name() -> PathBuf {
    nix::unistd::gethostname().unwrap_or_default().into()
}
