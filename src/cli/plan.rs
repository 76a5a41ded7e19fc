//! `squall plan`: what an experiment would do to the cluster as it is now. Nothing is applied.
//!
//! What is printed as JSON is described in docs/output.md.

use std::path::PathBuf;

use super::exit::{Exit, Failure, Result};
use super::status::{Form, print};
use super::world::{World, WorldArgs};
use super::{Out, files};
use crate::operations::{Target, survey};
use crate::report::plan::{Report, Verdict, report};

/// Show what an experiment would do, without doing it
///
/// Selects the targets in the cluster as it is now and says, node by node, what would be changed in each of them;
/// which pods match and are left out and why; which running experiments act on the same pods; what to expect; and
/// what to beware of. Nothing is written to the API server.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  squall plan -f templates/partition.yaml
  squall plan -f experiment.yaml -o json
  squall plan -n staging -f a.yaml -f b.yaml

Exit codes:
  0  every experiment could run, or would wait for pods to come or a Halt to be released
  1  error
  2  the command line or a file is wrong, or an experiment could not run as it is written")]
pub(crate) struct Args {
    /// File with experiments, - for standard input; may be repeated
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    file: Vec<PathBuf>,
    /// Namespace of experiments that name none
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t)]
    output: Form,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        let objects = files::read(&self.file, out)?;
        let world = World::find(world).await?;
        let targets = objects
            .iter()
            .map(|object| Target::new(&world.client, object, self.namespace.as_deref()))
            .collect::<Result<Vec<_>, _>>()?;
        let namespaces = targets.iter().map(|target| target.namespace.clone()).collect();
        let cluster = survey::cluster(&world.client, &namespaces).await?;
        let mut reports = Vec::new();
        for (object, target) in objects.iter().zip(&targets) {
            let subject = survey::subject(target, object).await?.ok_or_else(|| {
                Failure::bad_input(format!("{}: not an experiment of this release", target.label()))
            })?;
            reports.push(report(&subject, &cluster));
        }
        if !print(self.output, &reports, out)? {
            for line in reports.iter().flat_map(Report::lines) {
                out.line(&line)?;
            }
        }
        let refused = reports.iter().any(|report| report.verdict == Verdict::Refused);
        Ok(if refused { Exit::BadInput } else { Exit::Success })
    }
}
