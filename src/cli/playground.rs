//! `squall playground`: a three-node cluster in a sandbox of the user's own.

use std::process::ExitCode;

use super::exit::{Failure, Result};

/// Start a playground: three nodes and an application under load, without root and without a cluster
///
/// Everything runs in Linux namespaces of your own. Other terminals find it by themselves: every verb talks to the
/// running playground unless told otherwise. Ctrl-C ends it and leaves nothing behind.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  squall playground --headless
  squall playground --headless --name second")]
pub(crate) struct Args {
    /// Its name; several run side by side
    #[arg(long, value_name = "NAME", default_value = "default")]
    name: String,
    /// Do not open the console: print what happens and stay in the foreground. There is no console in this release, so
    /// it is the same without
    #[arg(long)]
    headless: bool,
}

impl Args {
    /// To be called while the process has one thread: the kernel refuses a new user namespace to one that has more.
    #[cfg(feature = "playground")]
    pub(super) fn run(self) -> Result<ExitCode> {
        use crate::playground::{self, Options};
        tracing::debug!(headless = self.headless, "the playground has no console yet");
        playground::run(Options { name: self.name, ..Options::default() }).map_err(Failure::new)
    }

    /// This build is for clusters.
    #[cfg(not(feature = "playground"))]
    pub(super) fn run(self) -> Result<ExitCode> {
        tracing::debug!(name = self.name, headless = self.headless, "not in this build");
        Err(Failure::message("this build of squall has no playground")
            .cure("build it with the feature `playground`, which is on by default"))
    }
}
