//! The command line: one file per verb, and what they share.
//!
//! Verbs talk to an API server and to the user; they decide nothing about faults. The edge of the program:
//! the only place that turns errors into messages and exit codes.

mod alive;
mod apply;
mod attach;
mod completions;
mod console;
mod controller;
mod daemon;
mod doctor;
mod exit;
mod files;
mod get;
mod halt;
mod install;
mod keys;
mod logs;
mod out;
mod pause;
mod plan;
mod playground;
mod resume;
mod run;
mod signals;
mod status;
mod stop;
mod top;
mod uninstall;
mod validate;
mod wait;
mod which;
mod world;

#[cfg(feature = "playground")]
use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use exit::{Exit, Failure, Result};
use out::Out;
use world::WorldArgs;

use crate::api::GoDuration;

/// A chaos console for Kubernetes
///
/// Reads the experiment files of Chaos Mesh (chaos-mesh.org/v1alpha1), injects their faults, and proves from the
/// kernel that each took effect and went away again.
#[derive(Parser, Debug)]
#[command(name = "squall", version, max_term_width = 100)]
struct Cli {
    /// Say more on standard error; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(flatten)]
    world: WorldArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Console(console::Args),
    Playground(playground::Args),
    Attach(attach::Args),
    Plan(plan::Args),
    Run(run::Args),
    Apply(apply::Args),
    Pause(pause::Args),
    Resume(resume::Args),
    Stop(stop::Args),
    Status(status::Args),
    Top(top::Args),
    Get(get::Args),
    Logs(logs::Args),
    Halt(halt::Args),
    Validate(validate::Args),
    Doctor(doctor::Args),
    Install(install::Args),
    Uninstall(uninstall::Args),
    Keys(keys::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Man(completions::Man),
    Controller(controller::Args),
    Daemon(daemon::Args),
    #[command(hide = true)]
    Alive(alive::Args),
    /// Runs a part of the playground
    #[cfg(feature = "playground")]
    #[command(hide = true, disable_help_flag = true)]
    Builtin {
        /// Which part, and its own arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, num_args = 1..)]
        arguments: Vec<OsString>,
    },
    /// Tries what this kernel has, for `squall doctor`
    #[command(hide = true)]
    Probe {
        /// It is in the sandbox already
        #[arg(long)]
        inside: bool,
    },
    /// Delays the packets that a daemon hands to it, where the kernel cannot
    #[command(hide = true)]
    Shaper {
        /// Number of the daemon's process
        parent: u32,
    },
    /// Undoes what a daemon left in the kernel when it is gone
    #[command(hide = true)]
    Guardian {
        /// State folder of the daemon
        folder: PathBuf,
        /// Number of the daemon's process
        parent: u32,
    },
    /// Waits for ever: what a failed pod runs instead of its program
    #[command(hide = true)]
    Hold,
}

/// Parses the command line of this process and does what it says.
pub fn main() -> ExitCode {
    let Cli { world, verbose, verb } = Cli::parse();
    let verb = verb.unwrap_or_else(|| Verb::Console(console::Args::default()));
    let mut out = Out::new();
    if let Some(level) = verb.log_level(verbose) {
        log_to_stderr(level);
    }
    match verb.run(&world, &mut out) {
        Ok(code) => code,
        Err(failure) if failure.is_broken_pipe() => Exit::Success.into(),
        Err(failure) => {
            out.say(&failure.to_string());
            failure.exit().into()
        }
    }
}

impl Verb {
    fn run(self, world: &WorldArgs, out: &mut Out) -> Result<ExitCode> {
        let exit = match self {
            Self::Playground(args) => return args.run(out),
            Self::Console(args) => block_on(args.run(world)),
            Self::Attach(args) => block_on(args.run(world)),
            #[cfg(feature = "playground")]
            Self::Builtin { arguments } => return Ok(crate::playground::builtin(arguments)),
            Self::Probe { inside } => doctor::probe(inside, out),
            Self::Hold => hold(),
            Self::Alive(args) => args.run(),
            Self::Shaper { parent } => {
                crate::daemon::shaper::run(parent).map(|()| Exit::Success).map_err(Failure::new)
            }
            Self::Guardian { folder, parent } => {
                crate::daemon::guardian::run(&folder, parent).map(|()| Exit::Success).map_err(Failure::new)
            }
            Self::Keys(args) => args.run(out),
            Self::Completions(args) => args.run(Cli::command(), out),
            Self::Man(args) => args.run(Cli::command(), out),
            Self::Plan(args) => block_on(args.run(world, out)),
            Self::Pause(args) => block_on(args.run(world, out)),
            Self::Resume(args) => block_on(args.run(world, out)),
            Self::Status(args) => block_on(args.run(world, out)),
            Self::Top(args) => block_on(args.run(world, out)),
            Self::Run(args) => block_on(args.run(world, out)),
            Self::Apply(args) => block_on(args.run(world, out)),
            Self::Get(args) => block_on(args.run(world, out)),
            Self::Logs(args) => block_on(args.run(world, out)),
            Self::Stop(args) => block_on(args.run(world, out)),
            Self::Halt(args) => block_on(args.run(world, out)),
            Self::Validate(args) => args.run(out),
            Self::Doctor(args) => block_on(args.run(world, out)),
            Self::Install(args) => block_on(args.run(world, out)),
            Self::Uninstall(args) => block_on(args.run(world, out)),
            Self::Controller(args) => block_on(args.run(world)),
            Self::Daemon(args) => block_on(args.run(world)),
        };
        exit.map(ExitCode::from)
    }

    /// What is logged where `RUST_LOG` says nothing: parts that serve tell what they do, verbs only what goes wrong.
    /// Nothing for the parts of the playground, which have logs of their own, and nothing over a console.
    fn log_level(&self, verbose: u8) -> Option<&'static str> {
        match (self, verbose) {
            #[cfg(feature = "playground")]
            (Self::Builtin { .. }, _) => None,
            (Self::Console(_) | Self::Attach(_), _) => None,
            (Self::Playground(args), _) if args.opens_console() => None,
            (Self::Controller(_) | Self::Daemon(_), 0) => Some("info"),
            (_, 0) => Some("warn"),
            (_, 1) => Some("squall=debug,info"),
            _ => Some("trace"),
        }
    }
}

/// Runs a verb on one thread: it waits for the network and nothing else.
fn block_on(verb: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::new)?.block_on(verb)
}

/// Logs go to standard error; `RUST_LOG` says which, else `default`.
fn log_to_stderr(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new(default));
    // It fails only if a logger is set already; then that one is used.
    drop(tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init());
}

/// A time on the command line: Go's grammar, or a plain number of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let duration =
        text.parse::<GoDuration>().map_err(|error| format!("{error}; write seconds, or 90s, or 2m"))?;
    duration.to_std().ok_or_else(|| "a time is not negative".to_owned())
}

/// Waits until it is killed. No signal needs a handler: as the first process of a pod the kernel would
/// ignore them, so it waits for the ones that end it.
fn hold() -> Result<Exit> {
    block_on(async {
        signals::Interrupts::new()?.next().await;
        Ok(Exit::Success)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_an_example() {
        for verb in super::Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let help = verb.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("squall "), "{} has no example", verb.get_name());
        }
    }
}
