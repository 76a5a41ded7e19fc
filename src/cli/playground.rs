//! `squall playground`: a three-node cluster in a sandbox of the user's own, and the console on it.

use std::process::ExitCode;

use super::Out;
use super::console::{self, Flags};
use super::exit::{Failure, Result};

/// Start a playground: three nodes and an application under load, without root and without a cluster
///
/// Opens the console on it. Quitting the console ends the playground and leaves nothing behind but its database. Losing
/// the terminal does not: when the window is closed, the connection breaks or the console is killed, the playground and
/// its experiments go on. `squall attach` returns to them, so does the same command again, and --stop ends them.
///
/// Everything runs in Linux namespaces of your own. Other terminals find it by themselves: every verb talks to the
/// running playground unless told otherwise. What it says while a console is open is in the file NAME.log beside its
/// database, in ~/.local/state/squall where nothing else is set.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  squall playground
  squall playground --headless --name second
  squall playground --stop --name second")]
pub(crate) struct Args {
    /// Its name; several run side by side
    #[arg(long, value_name = "NAME", default_value = "default")]
    name: String,
    /// Do not open the console: print what happens and stay in the foreground until Ctrl-C, which ends the playground.
    /// The same where standard input or output is no terminal
    #[arg(long)]
    headless: bool,
    /// End the playground of this name, wherever it was started
    #[arg(long, conflicts_with = "headless")]
    stop: bool,
    /// It belongs to a console: no terminal can end it, and standard output is its log
    #[arg(long, hide = true, requires = "headless")]
    detached: bool,
    #[command(flatten)]
    console: Flags,
}

impl Args {
    /// Whether a console will be open, over which nothing else may write.
    pub(super) fn opens_console(&self) -> bool {
        !self.headless && !self.stop && console::check_terminal().is_ok()
    }

    /// To be called while the process has one thread: the kernel refuses a new user namespace to one that has more.
    #[cfg(feature = "playground")]
    pub(super) fn run(self, out: &mut Out) -> Result<ExitCode> {
        use crate::playground::{self, Options};
        if self.stop {
            return stop(&self.name, out).map(ExitCode::from);
        }
        if self.opens_console() {
            return super::block_on(open(&self.name, self.console, out)).map(ExitCode::from);
        }
        if !self.headless {
            out.say("no terminal: the playground runs without its console, as with --headless");
        }
        playground::run(Options { name: self.name, detached: self.detached, ..Options::default() })
            .map_err(Failure::new)
    }

    /// This build is for clusters.
    #[cfg(not(feature = "playground"))]
    pub(super) fn run(self, _out: &mut Out) -> Result<ExitCode> {
        tracing::debug!(?self, "not in this build");
        Err(Failure::message("this build of squall has no playground")
            .cure("build it with the feature `playground`, which is on by default"))
    }
}

#[cfg(feature = "playground")]
use with_playground::{open, stop};

/// What needs the playground's code.
#[cfg(feature = "playground")]
mod with_playground {
    use super::super::Out;
    use super::super::console::{self, Flags, Role};
    use super::super::exit::{Exit, Failure, Result};
    use super::super::signals::Interrupts;
    use super::super::world::World;
    use crate::console::Ending;
    use crate::playground::{self, Detached, Running};

    /// Ends a playground, whoever started it.
    pub(super) fn stop(name: &str, out: &mut Out) -> Result<Exit> {
        let process = Running::find(name).map_err(Failure::new)?;
        out.say(&format!("ending playground {name}"));
        process.end().map_err(Failure::new)?;
        Ok(Exit::Success)
    }

    /// Opens the console on the playground of this name, which is started if it does not run.
    pub(super) async fn open(name: &str, flags: Flags, out: &mut Out) -> Result<Exit> {
        if playground::is_running(name).map_err(Failure::new)? {
            console::open(World::of_playground(name), flags, Role::Attached).await?;
            return Ok(Exit::Success);
        }
        let mut interrupts = Interrupts::new()?;
        out.say(&format!("starting playground {name}"));
        let mut playground = Detached::start(name).map_err(Failure::new)?;
        let world = World::of_playground(name);
        tokio::select! {
            ready = playground.ready(&world.client) => ready.map_err(Failure::new)?,
            () = interrupts.next() => return end(&playground.process(), name, &mut interrupts, out).await,
        }
        match console::open(world, flags, Role::Owner).await {
            Ok(Ending::Quit | Ending::Terminated) => {
                end(&playground.process(), name, &mut interrupts, out).await
            }
            Ok(Ending::HungUp) => Ok(Exit::Success),
            Err(failure) => Err(explain(failure, &mut playground, name)),
        }
    }

    /// What an error of the console says about the playground.
    fn explain(failure: Failure, playground: &mut Detached, name: &str) -> Failure {
        match playground.ended() {
            Some(said) => failure.context(format!("the playground ended by itself: {said}")),
            None => failure.cure(format!(
                "the playground is still running: `squall attach {name}` returns to it, \
                 `squall playground --stop --name {name}` ends it"
            )),
        }
    }

    /// Ends it in order; another Ctrl-C ends it at once.
    async fn end(process: &Running, name: &str, interrupts: &mut Interrupts, out: &mut Out) -> Result<Exit> {
        out.say(&format!("ending playground {name}"));
        let orderly = process.clone();
        let mut ended = tokio::task::spawn_blocking(move || orderly.end());
        let result = tokio::select! {
            result = &mut ended => result,
            () = interrupts.next() => {
                process.kill().map_err(Failure::new)?;
                ended.await
            }
        };
        result.map_err(Failure::new)?.map_err(Failure::new)?;
        Ok(Exit::Success)
    }
}
