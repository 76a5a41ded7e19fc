//! The traffic client: the tutorial's users, and the place where a fault's effect is measured.
//!
//! A few workers send requests in a closed loop: each waits for its answer before it sends the next. So when
//! the server blocks, fewer requests are sent, as with real users who wait. What they saw is served as
//! metrics and, request by request, as samples. It never retries: an error that a retry hides is not seen.

mod client;
mod mix;
mod observe;
mod samples;
mod worker;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use service_support::http;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use client::{Target, TargetError};
pub use mix::{Mix, MixError};
use observe::Observer;

/// Sends requests to the movies server and reports how they went.
#[derive(Debug, Clone, Parser)]
#[command(name = "traffic", version)]
pub struct Args {
    /// The server, as `http://HOST` or `http://HOST:PORT`. The name is looked up for each new connection.
    #[arg(long, env = "TRAFFIC_URL", default_value = "http://server-app")]
    pub url: Target,
    /// Address and port that serve /metrics and /samples.
    #[arg(long, env = "TRAFFIC_LISTEN", default_value = "0.0.0.0:9090")]
    pub listen: SocketAddr,
    /// How many requests are in flight at most.
    #[arg(long, env = "TRAFFIC_WORKERS", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub workers: u16,
    /// Requests per second of all workers together, while the server keeps up.
    #[arg(long, env = "TRAFFIC_RATE", default_value_t = 550, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// Sends the next request as soon as the answer is there; --rate is not used.
    #[arg(long, env = "TRAFFIC_UNTHROTTLED")]
    pub unthrottled: bool,
    /// How long a request may take, connecting and reading the whole answer included.
    #[arg(long, env = "TRAFFIC_TIMEOUT", default_value = "1s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Paths and how often each is asked for, relative to the others: PATH=WEIGHT,…
    #[arg(long, env = "TRAFFIC_MIX", default_value = mix::DEFAULT)]
    pub mix: Mix,
}

/// Sends requests until `shutdown` resolves; requests in flight then get up to a second.
pub async fn run(args: Args, shutdown: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
    let listener = http::listen(args.listen).await?;
    serve(listener, args, shutdown).await
}

/// Like [`run`], on a socket that the caller opened; `args.listen` is not used.
pub async fn serve(
    listener: TcpListener,
    args: Args,
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let observer = Arc::new(Observer::new(args.mix.paths())?);
    tracing::info!(listen = %listener.local_addr()?, url = %args.url, "traffic client is up");
    let stop = CancellationToken::new();
    let workers = TaskTracker::new();
    for number in 0..args.workers {
        workers.spawn(worker::run(worker::Plan::new(&args, number), Arc::clone(&observer), stop.clone()));
    }
    workers.close();
    let stopping = async {
        shutdown.await;
        stop.cancel();
    };
    let served = http::serve(listener, observe::router(observer), stopping).await;
    stop.cancel();
    if tokio::time::timeout(service_support::GRACE, workers.wait()).await.is_err() {
        tracing::warn!("requests still in flight are given up");
    }
    Ok(served?)
}
