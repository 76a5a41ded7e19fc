//! `squall daemon`: makes this node look like its Injections.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::exit::{Exit, Failure, Result};
use super::signals::Interrupts;
use super::told::{Told, listen_address};
use super::world::{World, WorldArgs};
use crate::daemon;

/// Run the daemon of a node: inject and undo what its Injections say
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Example:
  squall daemon --node machine2")]
pub(crate) struct Args {
    /// The Node that this machine is
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    node: String,
    /// Where `squall halt --local` leaves its file
    #[arg(long, env = "SQUALL_STATE_DIR", value_name = "FOLDER", default_value = "/var/lib/squall")]
    state_dir: PathBuf,
    /// Where the journal lives, best in memory: it describes this boot only
    #[arg(long, env = "SQUALL_RUN_DIR", value_name = "FOLDER", default_value = "/run/squall")]
    run_dir: PathBuf,
    /// How processes of pods are found
    #[arg(long, env = "SQUALL_FINDER", value_enum, default_value_t = Finder::Cgroup)]
    finder: Finder,
    /// Where it leaves a sign of life, for probes
    #[arg(long, env = "SQUALL_ALIVE_FILE", value_name = "FILE")]
    alive_file: Option<PathBuf>,
    /// Tell metrics over HTTP at this address, to whoever can reach it; without it no port is opened
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = listen_address)]
    metrics_listen: Option<SocketAddr>,
}

/// How processes of pods are found.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Finder {
    /// By the names of their cgroups, as the kubelet gives them.
    Cgroup,
    /// By the variable `SQUALL_CONTAINER`, as the playground sets it.
    Environ,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs) -> Result<Exit> {
        let world = World::find(world).await?;
        world.demand_own_namespace()?;
        let mut interrupts = Interrupts::new()?;
        tracing::info!(world = world.name, "daemon starts");
        let finder = match self.finder {
            Finder::Cgroup => daemon::Finder::Cgroup,
            Finder::Environ => daemon::Finder::Environment,
        };
        let told = Told::open(self.metrics_listen, "daemon").await?;
        let Self { node, state_dir, run_dir, alive_file, .. } = self;
        let options =
            daemon::Options { node, state_dir, run_dir, finder, alive_file, metrics: told.metrics() };
        let daemon = Box::pin(daemon::run(world.client, options, interrupts.next()));
        told.beside(daemon).await.map_err(Failure::new)?;
        Ok(Exit::Success)
    }
}
