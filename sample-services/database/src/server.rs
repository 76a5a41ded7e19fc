//! Connections: each reads a request, has it answered, writes the reply, in turn.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::commands::Database;
use crate::wire::{self, Frame, Request, WireError};

/// Most connections at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 512;

/// What mongod answers to HTTP.
const HTTP_ANSWER: &str = "HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 85\r\n\r\n\
    It looks like you are trying to access MongoDB over HTTP on the native driver port.\r\n";

/// Serves until `shutdown` resolves; commands in progress then get [`service_support::GRACE`].
pub(crate) async fn serve(
    listener: TcpListener,
    database: Arc<Database>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let stop = CancellationToken::new();
    let connections = TaskTracker::new();
    tokio::select! {
        () = accept(&listener, &database, &connections, &stop) => {}
        () = shutdown => {}
    }
    stop.cancel();
    connections.close();
    if tokio::time::timeout(service_support::GRACE, connections.wait()).await.is_err() {
        tracing::warn!("commands still in progress are cut off");
    }
}

async fn accept(
    listener: &TcpListener,
    database: &Arc<Database>,
    connections: &TaskTracker,
    stop: &CancellationToken,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let next_id = Arc::new(AtomicI32::new(1));
    // The semaphore is never closed, so this loop ends only with the future.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Mostly "too many open files": wait for some to close.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let connection = Connection {
            id: next_id.fetch_add(1, Ordering::Relaxed),
            database: Arc::clone(database),
            stop: stop.clone(),
        };
        connections.spawn(async move {
            let _place = place;
            connection.run(stream, peer).await;
        });
    }
}

struct Connection {
    id: i32,
    database: Arc<Database>,
    stop: CancellationToken,
}

impl Connection {
    async fn run(self, mut stream: TcpStream, peer: SocketAddr) {
        match self.converse(&mut stream).await {
            // Connections come and go; only what a peer did wrong is worth a line.
            Ok(()) | Err(WireError::Io(_)) => {}
            Err(error) => tracing::warn!(%peer, %error, "connection closed because of what it sent"),
        }
    }

    async fn converse(&self, stream: &mut TcpStream) -> Result<(), WireError> {
        stream.set_nodelay(true)?;
        let mut reply_id = 0_i32;
        // Only waiting for a request is cut short by the stop; one that is here is answered.
        while let Some(frame) = self.stop.run_until_cancelled(wire::read(stream)).await.transpose()?.flatten()
        {
            let (id, operation, payload) = match frame {
                Frame::Http => return answer_http(stream).await,
                Frame::Message { request_id, operation, payload } => (request_id, operation, payload),
            };
            let mut request = Request::parse(id, operation, &payload)?;
            drop(payload);
            let database = Arc::clone(&self.database);
            let connection = self.id;
            let answer = move || (database.execute(&mut request, connection), request);
            let (document, request) =
                tokio::task::spawn_blocking(answer).await.map_err(std::io::Error::other)?;
            reply_id = reply_id.wrapping_add(1);
            if let Some(bytes) = wire::reply(&request, reply_id, &document) {
                stream.write_all(&bytes).await?;
            }
        }
        Ok(())
    }
}

/// Answers and waits for the peer to be done: closing a socket with unread bytes resets the connection, and
/// the answer would be lost.
async fn answer_http(stream: &mut TcpStream) -> Result<(), WireError> {
    stream.write_all(HTTP_ANSWER.as_bytes()).await?;
    stream.shutdown().await?;
    let drain = async {
        let mut rest = stream.take(64 * 1024);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    if let Ok(drained) = tokio::time::timeout(service_support::GRACE, drain).await {
        drained?;
    }
    Ok(())
}
