//! The movies server: the service under test of the tutorial.
//!
//! Four of its five paths answer from memory and `/movies` asks a MongoDB database, so a fault between the
//! two shows on one path and spares the others. It gives the database a fixed time (`--db-timeout`) and then
//! answers 500: a client that waits longer than that learns what happened.

mod catalogue;
mod routes;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use prometheus::Registry;
use service_support::http;
use service_support::metrics::{ProcessMetrics, RequestMetrics};
use tokio::net::TcpListener;

use catalogue::Catalogue;

/// Serves films from a MongoDB database over HTTP.
#[derive(Debug, Clone, Parser)]
#[command(name = "movies", version)]
pub struct Args {
    /// Address and port to listen on.
    #[arg(long, env = "MOVIES_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Connection string of the database.
    #[arg(long, env = "MOVIES_MONGO", default_value = "mongodb://mongo:27017")]
    pub mongo: String,
    /// How long the database may take, connecting included, before a request is answered with status 500.
    ///
    /// Below the traffic client's limit of 1 s, so that the client sees the 500 and not a timeout; above the
    /// 450 ms that a new connection and a query take when the tutorial's delay of 150 ms is on the way back.
    #[arg(long, env = "MOVIES_DB_TIMEOUT", default_value = "800ms", value_parser = humantime::parse_duration)]
    pub db_timeout: Duration,
}

/// Serves until `shutdown` resolves; requests in flight then get up to a second.
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
    let registry = Registry::new();
    let metrics = RequestMetrics::register(&registry, "")?;
    ProcessMetrics::register(&registry)?;
    let catalogue = Catalogue::connect(&args.mongo, args.db_timeout).await?;
    let host = nix::unistd::gethostname()?.to_string_lossy().into_owned();
    tracing::info!(listen = %listener.local_addr()?, mongo = %args.mongo, "movies server is up");
    http::serve(listener, routes::router(host, catalogue, metrics, registry), shutdown).await?;
    Ok(())
}
