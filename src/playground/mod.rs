//! The rootless playground: a three-node cluster in one sandbox of the user's own.
//!
//! ```text
//! squall playground         supervisor, in the user's terminal   sandbox.rs
//! └─ init                   process 1 of the sandbox             init.rs
//!    └─ machine room        the cluster                          room.rs
//!       ├─ sandbox          one per pod, holds its network       hold.rs
//!       └─ container        a program of a pod                   container.rs
//! ```
//!
//! Each level dies with the one above it, by the kernel's own doing: the supervisor's death kills init, and init's
//! death ends the PID namespace and with it every process, namespace, mount and table. Nothing outside the sandbox
//! can be touched: its file system is read-only except the database's folder, and its network has no way out.

mod container;
mod controllers;
mod detached;
mod diagnose;
mod dns;
mod exec;
mod hold;
mod http_client;
mod init;
mod kubelet;
mod network;
mod objects;
mod paths;
mod process;
mod replicaset;
mod room;
mod sandbox;
mod scheduler;
mod seed;
mod services;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use nix::sys::signal::SigSet;
use service_support::program::Stop;
use tokio::runtime::Builder;
use tracing_subscriber::EnvFilter;

pub use detached::{Detached, DetachedError, Running, is_running};
pub use paths::{PathError, Places};
pub use sandbox::SandboxError;

/// The folder inside the sandbox for what the playground itself needs.
const RUN_FOLDER: &str = "/run/squall";
/// Where a container puts its root folder together, in its own mount namespace.
const ROOT_FOLDER: &str = "/run/squall/root";
/// The API server's socket for those inside the sandbox.
const API_SOCKET: &str = "/run/squall/api.sock";
/// The database's folder, the only one that outlives the sandbox: one folder per volume claim.
const DATABASE_FOLDER: &str = "/run/squall/claims";
/// The variable that tells which container of which pod a process belongs to: `POD_UID/CONTAINER_ID`.
pub const CONTAINER_ENV: &str = "SQUALL_CONTAINER";

/// What the user chooses about a playground.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name: several run side by side.
    pub name: String,
    /// Whether it gets a session of its own, so that no terminal can end it. Its standard output is then a file, which
    /// is kept below a megabyte and takes its errors as well.
    pub detached: bool,
    /// Where its folders are.
    pub places: Places,
}

impl Default for Options {
    fn default() -> Self {
        Self { name: "default".to_owned(), detached: false, places: Places::default() }
    }
}

/// Why there is no playground.
#[derive(Debug, thiserror::Error)]
pub enum PlaygroundError {
    /// Its folders, its name or its socket cannot be had.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The sandbox could not be made or did not live.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// It could not be started apart from this process, found or ended.
    #[error(transparent)]
    Detached(#[from] DetachedError),
}

/// Runs a playground until the user ends it.
///
/// To be called before the process has a second thread: the kernel refuses a new user namespace to one that has.
pub fn run(options: Options) -> Result<ExitCode, PlaygroundError> {
    let Options { name, detached, places } = options;
    if detached {
        sandbox::leave_terminal()?;
    }
    let claim = paths::claim(&places, &name)?;
    // Before anybody can know of it: what ends it must find it listening for signals.
    let signals = sandbox::receive_signals()?;
    let listening = claim.listen()?;
    sandbox::enter()?;
    sandbox::supervise(listening, signals, &name, detached)?;
    Ok(ExitCode::SUCCESS)
}

/// Enters a sandbox as a playground does, to find out whether this machine allows it. There is no way back out.
///
/// To be called before the process has a second thread.
pub(crate) fn enter_sandbox() -> Result<(), PlaygroundError> {
    Ok(sandbox::enter()?)
}

/// Runs a hidden verb: what follows `squall builtin` on the command line.
pub fn builtin(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let verb = arguments.next().unwrap_or_default();
    let rest: Vec<OsString> = arguments.collect();
    // The supervisor and init block signals to receive them in order; that is inherited.
    if verb != "init"
        && let Err(errno) = SigSet::empty().thread_set_mask()
    {
        return fail(&errno);
    }
    let text =
        |index: usize| rest.get(index).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    let result: Result<ExitCode, Box<dyn std::error::Error>> = match verb.to_str() {
        Some("init") => {
            let argument = |index: usize| rest.get(index).cloned().unwrap_or_default();
            let arguments =
                init::Arguments { name: argument(0), database: argument(1).into(), socket: argument(2) };
            init::run(&arguments).map_err(Into::into)
        }
        Some("room") => room(&text(1)).map(|()| ExitCode::SUCCESS),
        Some("sandbox") => hold::sandbox(&text(0)).map(|()| ExitCode::SUCCESS).map_err(Into::into),
        Some("container") => container::run().map(|never| match never {}).map_err(Into::into),
        Some("hold") => hold::hold().map(|()| ExitCode::SUCCESS).map_err(Into::into),
        Some("movies") => service(rest, movies::run),
        Some("traffic") => service(rest, traffic::run),
        Some("database") => service(rest, database::run),
        _ => Err(format!("no built-in program '{}'", verb.display()).into()),
    };
    result.unwrap_or_else(|error| fail(error.as_ref()))
}

fn room(socket: &str) -> Result<(), Box<dyn std::error::Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(room::run(socket))?;
    runtime.shutdown_background();
    Ok(())
}

/// Runs a sample service as its own program would.
fn service<A, F>(
    arguments: Vec<OsString>,
    run: impl FnOnce(A, Stop) -> F,
) -> Result<ExitCode, Box<dyn std::error::Error>>
where
    A: clap::Parser,
    F: Future<Output = anyhow::Result<()>>,
{
    let name = OsString::from(A::command().get_name().to_owned());
    let arguments = A::try_parse_from(std::iter::once(name).chain(arguments))?;
    service_support::program::run(|stop| run(arguments, stop))?;
    Ok(ExitCode::SUCCESS)
}

/// Tells why a built-in program ended, with every cause.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let text = causes.fold(format!("squall: {error}"), |text, cause| format!("{text}: {cause}"));
    match writeln!(io::stderr(), "{text}") {
        // Nobody listens; the exit status still tells.
        Ok(()) | Err(_) => ExitCode::FAILURE,
    }
}
