//! An HTTP listener that stops gracefully, but not for ever.

use std::future::{Future, IntoFuture};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::GRACE;

/// Why a service's HTTP side ended.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is taken, not this machine's, or a port below 1024 without the right.
    #[error("cannot listen on {address}: choose another address with --listen")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The listening socket failed for good.
    #[error("the HTTP listener failed")]
    Serve(#[source] io::Error),
}

/// Opens the listening socket of a service.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, HttpError> {
    TcpListener::bind(address).await.map_err(|source| HttpError::Listen { address, source })
}

/// Serves `router` until `shutdown` resolves, then lets requests in flight finish for at most [`GRACE`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), HttpError> {
    let stop = CancellationToken::new();
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY refused");
        }
    });
    let server = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let mut server = pin!(server.into_future());
    tokio::select! {
        ended = &mut server => return ended.map_err(HttpError::Serve),
        () = shutdown => stop.cancel(),
    }
    match tokio::time::timeout(GRACE, server).await {
        Ok(ended) => ended.map_err(HttpError::Serve),
        Err(_elapsed) => {
            tracing::warn!("requests still in flight after {GRACE:?} are cut off");
            Ok(())
        }
    }
}
