//! `squall apply`: experiments from files to the API server.

use std::path::PathBuf;

use super::exit::{EXIT_CODES, Exit, Result};
use super::world::{World, WorldArgs};
use super::{Out, files};
use crate::operations::Target;

/// Create the experiments of a file, or change those that exist
///
/// Every file is checked first: what is wrong is reported with line and column, and then nothing is
/// applied. An experiment begins as soon as it exists. `apply` does not wait for it: `squall get networkchaos`
/// shows how it goes, `squall stop` ends it.
#[derive(clap::Args, Debug)]
#[command(after_long_help = format!("Examples:
  squall apply -f templates/partition.yaml
  squall apply -n staging -f a.yaml -f b.yaml
  generate-experiment | squall apply -f -

{EXIT_CODES}"))]
pub(crate) struct Args {
    /// File with experiments, - for standard input; may be repeated
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    file: Vec<PathBuf>,
    /// Namespace of experiments that name none
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        let objects = files::read(&self.file, out)?;
        let world = World::find(world).await?;
        world.announce(out);
        for object in &objects {
            let target = Target::new(&world.client, object, self.namespace.as_deref())?;
            let change = target.apply(object).await?;
            out.line(&format!("{} {}", target.label(), change.word()))?;
        }
        Ok(Exit::Success)
    }
}
