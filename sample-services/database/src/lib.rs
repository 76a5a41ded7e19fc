//! A stand-in for `mongod`, for the places where the real one is not at hand.
//!
//! It speaks the part of the MongoDB wire protocol that drivers use to connect, insert, find and count, and
//! answers everything else with MongoDB's own error codes. It keeps what it was given: an acknowledged insert
//! is on disk. There is no authentication, no replication, no update and no delete.

mod commands;
mod fault;
mod server;
mod store;
mod value;
mod wire;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use service_support::http;
use tokio::net::TcpListener;

use commands::Database;
use store::Store;
pub use store::StoreError;

/// Answers MongoDB drivers and keeps documents on disk.
#[derive(Debug, Clone, Parser)]
#[command(name = "database", version)]
pub struct Args {
    /// Address and port to listen on.
    #[arg(long, env = "DATABASE_LISTEN", default_value = "0.0.0.0:27017")]
    pub listen: SocketAddr,
    /// Folder of the data, made when missing. The default is mongod's in its container image.
    #[arg(long, env = "DATABASE_DATA_DIR", default_value = "/data/db")]
    pub data_dir: PathBuf,
    /// The most that the data may take on disk, in MiB; inserts beyond it are refused.
    #[arg(long, env = "DATABASE_MAX_SIZE", default_value_t = 256)]
    pub max_size: u32,
}

/// Serves until `shutdown` resolves; commands in progress then get up to a second.
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
    let limit = u64::from(args.max_size) * 1024 * 1024;
    let data_dir = args.data_dir.clone();
    let store = tokio::task::spawn_blocking(move || Store::open(&data_dir, limit)).await??;
    tracing::info!(listen = %listener.local_addr()?, data_dir = %args.data_dir.display(), "database is up");
    server::serve(listener, Arc::new(Database::new(store)), shutdown).await;
    Ok(())
}
