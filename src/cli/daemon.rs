//! `squall daemon`: the part that runs on every node.

use std::path::PathBuf;

use clap::ValueEnum;

use super::exit::{Exit, Failure, Result};
use super::signals::Interrupts;
use super::world::{World, WorldArgs};
use crate::daemon::{self, Finder, Options};

/// Run the node daemon: injects the faults of its node and undoes them
///
/// Started by the cluster, one on each node. Undoes everything before it ends on SIGTERM.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Example:
  squall daemon --node machine2")]
pub(crate) struct Args {
    /// Name of the Node that it works on
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node: String,
    /// Folder for what must outlive it, in a folder of the node's name
    #[arg(long, value_name = "FOLDER", env = "SQUALL_STATE_DIR", default_value = "/var/lib/squall")]
    state_dir: PathBuf,
    /// How the processes of a pod are found
    #[arg(long, value_name = "HOW", env = "SQUALL_FINDER", value_enum, default_value_t = Find::Cgroup)]
    finder: Find,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Find {
    /// By their cgroup, as kubelet and container runtimes make them
    Cgroup,
    /// By their environment, where cgroups cannot be made
    Environ,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs) -> Result<Exit> {
        let world = World::find(world).await?;
        let finder = match self.finder {
            Find::Cgroup => Finder::Cgroup,
            Find::Environ => Finder::Environment,
        };
        let mut interrupts = Interrupts::new()?;
        let options = Options { node: self.node, state_dir: self.state_dir, finder };
        let shutdown = async move { interrupts.next().await };
        daemon::run(world.client, options, shutdown).await.map_err(Failure::new)?;
        Ok(Exit::Success)
    }
}
