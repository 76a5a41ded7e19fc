//! `squall logs`: what a container wrote.

use futures::AsyncReadExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};

use super::Out;
use super::exit::{Exit, Failure, Result};
use super::world::{World, WorldArgs};

/// Print the log of a pod's container
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  squall logs mongo-0
  squall logs -f --tail 20 server-app-6d4c-x2x
  squall logs -p -c server server-app-6d4c-x2x")]
pub(crate) struct Args {
    /// Name of the pod
    #[arg(value_name = "POD")]
    pod: String,
    /// Container; needed if the pod has several
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,
    /// Only this many lines from the end
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    tail: Option<i64>,
    /// The log of the container's run before this one
    #[arg(short, long)]
    previous: bool,
    /// Namespace of the pod
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        let world = World::find(world).await?;
        let pod =
            self.pod.strip_prefix("pod/").or_else(|| self.pod.strip_prefix("pods/")).unwrap_or(&self.pod);
        let pods = Api::<Pod>::namespaced(world.client.clone(), &world.namespace(self.namespace.as_deref()));
        let parameters = LogParams {
            container: self.container,
            follow: self.follow,
            previous: self.previous,
            tail_lines: self.tail,
            ..LogParams::default()
        };
        let log = pods
            .log_stream(pod, &parameters)
            .await
            .map_err(|error| Failure::api(format!("read the log of pod/{pod}"), &error))?;
        let mut log = std::pin::pin!(log);
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let read = log.read(&mut buffer).await.map_err(|error| {
                // Not of our own output: a broken pipe here is an error.
                let cure =
                    format!("`squall logs -f --tail 20 {pod}` goes on when the API server answers again");
                Failure::message(error.to_string()).context("the log broke off").cure(cure)
            })?;
            if read == 0 {
                return Ok(Exit::Success);
            }
            out.bytes(buffer.get(..read).unwrap_or_default())?;
        }
    }
}
