//! `squall controller`: turns experiments into Injections.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::exit::{Exit, Failure, Result};
use super::signals::Interrupts;
use super::told::{Told, listen_address};
use super::world::{World, WorldArgs};
use crate::api::PROTECTED_NAMESPACES;
use crate::controller;
use crate::experiment::Limits;
use crate::operations::installation;

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
    /// Namespaces whose pods are never targets
    #[arg(
        long,
        env = "SQUALL_PROTECTED_NAMESPACES",
        value_name = "NAMES",
        value_delimiter = ',',
        default_values = PROTECTED_NAMESPACES
    )]
    protected_namespaces: Vec<String>,
    /// Where it leaves a sign of life, for probes
    #[arg(long, env = "SQUALL_ALIVE_FILE", value_name = "FILE")]
    alive_file: Option<PathBuf>,
    /// Tell metrics over HTTP at this address, to whoever can reach it; without it no port is opened
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = listen_address)]
    metrics_listen: Option<SocketAddr>,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs) -> Result<Exit> {
        let world = World::find(world).await?;
        world.demand_own_namespace()?;
        let mut interrupts = Interrupts::new()?;
        let identity = format!("{}_{}", self.identity.display(), std::process::id());
        tracing::info!(world = world.name, identity, "controller starts");
        if world.is_cluster() {
            let fit = demand_fit(&world.client);
            tokio::select! {
                fit = fit => fit?,
                () = interrupts.next() => return Ok(Exit::Success),
            }
        }
        let told = Told::open(self.metrics_listen, "controller").await?;
        let limits = Limits { protected_namespaces: self.protected_namespaces, ..Limits::default() };
        let options = controller::Options {
            failure_image: self.failure_image,
            alive_file: self.alive_file,
            metrics: told.metrics(),
            limits,
            ..controller::Options::new(identity)
        };
        told.beside(controller::run(world.client, options, interrupts.next())).await.map_err(Failure::new)?;
        Ok(Exit::Success)
    }
}

/// Stops before anything is done in a cluster where another would act on the same experiments: Chaos Mesh may have come after
/// Squall was installed. An API server that does not say is asked again for a while.
async fn demand_fit(client: &kube::Client) -> Result<()> {
    let mut troubles = 0;
    loop {
        match installation::unfit(client).await {
            Ok(None) => return Ok(()),
            Ok(Some(trouble)) => return Err(trouble.into()),
            Err(trouble) if troubles == TRIES => {
                tracing::warn!(%trouble, "it is not known whether Chaos Mesh runs here");
                return Ok(());
            }
            Err(_trouble) => troubles += 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// How often the API server is asked what else is in the cluster, and the time in between.
const TRIES: u32 = 15;
const PAUSE: Duration = Duration::from_secs(2);

/// The pod's name, in a pod.
fn host_name() -> PathBuf {
    nix::unistd::gethostname().unwrap_or_default().into()
}
