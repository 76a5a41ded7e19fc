//! `squall alive`: what the probes of controller and daemon run. There is no shell in their image, and they have no port.

use std::path::PathBuf;
use std::time::Duration;

use super::exit::{Exit, Failure, Result};
use super::seconds;
use crate::alive;

/// Looks at the sign of life of a controller or a daemon
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The file that it writes
    #[arg(long, env = "SQUALL_ALIVE_FILE", value_name = "FILE")]
    alive_file: PathBuf,
    /// How old the sign may be
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = seconds)]
    within: Duration,
    /// It must have heard from the API server, too
    #[arg(long)]
    ready: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit> {
        alive::look(&self.alive_file, self.within, self.ready).map_err(Failure::new)?;
        Ok(Exit::Success)
    }
}
