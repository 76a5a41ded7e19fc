//! `kube::Client` over a unix socket: how every part reaches the playground's API server.

use std::path::{Path, PathBuf};

use http::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::Body;
use kube::client::middleware::BaseUriLayer;
use tokio::net::UnixStream;
use tower::{Layer, ServiceExt};

use super::tally;

/// The authority of request URIs. HTTP/1.1 wants one; the connector does not look at it.
const BASE_URI: &str = "http://localhost";

/// Why a request over the socket got no answer.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Nothing listens on the socket.
    #[error("no API server answers on {}: is the playground running?", socket.display())]
    Connect {
        /// The socket's path.
        socket: PathBuf,
        /// What the connection attempt failed with.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// The connection broke before the answer came.
    #[error("the connection to the API server on {} broke", socket.display())]
    Request {
        /// The socket's path.
        socket: PathBuf,
        /// What went wrong.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
}

/// A client of the API server that listens on the socket. Connects when the first request is made, reuses idle connections
/// and gives each watch one of its own. Must be called inside a tokio runtime.
pub fn over_unix(path: &Path, default_namespace: &str) -> kube::Client {
    let socket = path.to_owned();
    let connector = {
        let socket = socket.clone();
        tower::service_fn(move |_uri: Uri| {
            let socket = socket.clone();
            Box::pin(async move { UnixStream::connect(socket).await.map(TokioIo::new) })
        })
    };
    let client = Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let counted = tower::service_fn(move |request: Request<Body>| {
        let (verb, answer) = (tally::verb(&request), client.request(request));
        async move {
            let answer = answer.await;
            tally::answered(verb, answer.as_ref().ok().map(Response::status));
            answer
        }
    });
    let service = BaseUriLayer::new(Uri::from_static(BASE_URI)).layer(counted.map_err(move |source| {
        let socket = socket.clone();
        if source.is_connect() {
            SocketError::Connect { socket, source }
        } else {
            SocketError::Request { socket, source }
        }
    }));
    kube::Client::new(service, default_namespace)
}
