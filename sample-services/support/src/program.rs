//! The life of a service's program: log, runtime, signals, end.
//!
//! A container's first process is pid 1 of its namespace, for which the kernel ignores signals without a
//! handler. So SIGTERM and SIGINT get handlers before the service starts, and nothing here relies on a
//! signal's default effect.

use std::future::Future;
use std::io;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::GRACE;

/// Runs a service until it ends by itself or SIGTERM or SIGINT comes, which resolves the future it is given.
///
/// Logs go to stderr, filtered by `RUST_LOG` (default `info`).
pub fn run<S, F>(service: S) -> anyhow::Result<()>
where
    S: FnOnce(Stop) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(async { service(stop_signal()?).await });
    // A name look-up runs on a thread that cannot be cancelled; waiting for it would keep the pod for seconds.
    runtime.shutdown_timeout(GRACE);
    result
}

/// Resolves at the first SIGTERM or SIGINT.
pub type Stop = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Installs the handlers at once, not at the first poll: a signal that comes in between is not lost.
fn stop_signal() -> io::Result<Stop> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(Box::pin(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }))
}
