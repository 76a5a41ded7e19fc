//! The server on a unix socket: HTTP/1.1, one task per connection, nothing but transport.

use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

use super::ApiServer;

/// Connections at a time; a client needs one per watch. More wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 1024;

/// Rest after a failed `accept`: the usual cause is a lack of file descriptors, which only time cures.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

impl ApiServer {
    /// Serves the socket until the future is dropped, which also closes every connection.
    pub async fn serve_unix(self, listener: UnixListener) {
        let mut connections = JoinSet::new();
        while connections.len() < MAX_CONNECTIONS || connections.join_next().await.is_some() {
            while connections.try_join_next().is_some() {}
            let stream = match listener.accept().await {
                Ok((stream, _peer)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the API server's socket");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let server = self.clone();
            connections.spawn(async move {
                let service = service_fn(|request| {
                    let server = server.clone();
                    async move { Ok::<_, std::convert::Infallible>(server.answer(request).await) }
                });
                if let Err(error) =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
                {
                    // A client that goes away in the middle of a watch ends like this; it is no fault of the server.
                    tracing::debug!(%error, "a connection to the API server ended");
                }
            });
        }
    }
}
