//! `squall stop`: ends experiments and waits until nothing of them is left.

use super::Out;
use super::exit::{EXIT_CODES, Exit, Result};
use super::wait::Wait;
use super::which::Which;
use super::world::WorldArgs;
use crate::operations::{Target, follow};
use crate::report::{left, status};

/// End experiments, and wait until nothing of them is left
///
/// Deletes the experiment and waits until every node has undone it and read that back. What of the fault is
/// still in place when the time is up is listed.
#[derive(clap::Args, Debug)]
#[command(after_long_help = format!("Examples:
  squall stop networkchaos partition
  squall stop -f templates/partition.yaml
  squall stop netchaos/partition --no-wait

{EXIT_CODES}"))]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    wait: Wait,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        let (_, targets) = self.which.find("stop", world, out).await?;
        // All are told first, so that they end together.
        let mut deleted = Vec::new();
        for target in targets {
            let uid = target.stop().await?;
            deleted.push((target, uid));
        }
        let mut exit = Exit::Success;
        for (target, uid) in deleted {
            if self.wait.no_wait {
                out.line(&format!("{} is stopping", target.label()))?;
            } else if follow::gone(&target, uid.as_deref(), self.wait.timeout).await {
                out.line(&format!("{} stopped", target.label()))?;
            } else {
                report_left(&target, out).await;
                exit = Exit::NotRecovered;
            }
        }
        Ok(exit)
    }
}

/// Says what of an experiment is still in place.
pub(crate) async fn report_left(target: &Target, out: &mut Out) {
    out.say(&format!("{} is not recovered:", target.label()));
    let object = target.api.get(&target.name).await;
    let left = object.map(|object| left(&status(&object))).unwrap_or_default();
    if left.is_empty() {
        out.say("  no target reports the fault, but the controller has not confirmed that it is gone");
    }
    for line in left {
        out.say(&format!("  {line}"));
    }
    out.say("  to do: `squall doctor` shows whether the controller and the daemons answer; each daemon undoes its part by itself when the lease is over");
}
