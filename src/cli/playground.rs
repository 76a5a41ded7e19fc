//! `squall playground`: a cluster in a sandbox of the user's own.

use super::exit::{Failure, Result};

/// Run a three-node cluster in a sandbox, with an application to break
///
/// Needs no root, no cluster and no images. Runs the movies server, its database and a client that keeps them busy, with
/// Squall's controller and daemons beside them. Every other verb, typed in another terminal, then talks to it. Ctrl-C ends
/// it, and nothing of it is left but the database's files.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  squall playground --headless
  squall playground --headless --name second
  squall --playground second get pods")]
pub(crate) struct Args {
    /// Its name: several run side by side
    #[arg(long, value_name = "NAME", default_value = "default")]
    name: String,
    /// Without the console: print progress and wait for Ctrl-C
    #[arg(long)]
    headless: bool,
}

impl Args {
    /// To be called before the process has a second thread.
    #[cfg(feature = "playground")]
    pub(super) fn run(self, out: &mut super::Out) -> Result<std::process::ExitCode> {
        use crate::playground::{Options, run};
        if !self.headless {
            out.say("the console is not in this release: running as with --headless");
        }
        run(Options { name: self.name, headless: true, ..Options::default() }).map_err(Failure::new)
    }

    #[cfg(not(feature = "playground"))]
    pub(super) fn run(self, _out: &mut super::Out) -> Result<std::process::ExitCode> {
        let Self { name, headless: _ } = self;
        Err(Failure::message(format!("this build has no playground; {name} cannot be started"))
            .cure("use a build with the feature `playground`, as `cargo build` makes it"))
    }
}
