//! One HTTP/1.1 request over one connection, from the sandbox's root network namespace to a pod.
//!
//! For probes, the pod proxy and the seed. No pool: a probe is also a test of connecting.

use std::io;
use std::net::SocketAddr;

use http::{HeaderValue, Request, Response, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("cannot connect to {target}")]
    Connect {
        target: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("no HTTP answer from {target}")]
    Exchange {
        target: SocketAddr,
        #[source]
        source: hyper::Error,
    },
}

/// Sends `request`, whose URI is a path, and returns the head of the answer. No time limit: the caller has one.
pub(crate) async fn send<B>(
    target: SocketAddr,
    mut request: Request<B>,
) -> Result<Response<Incoming>, HttpError>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let exchange = |source| HttpError::Exchange { target, source };
    let stream = TcpStream::connect(target).await.map_err(|source| HttpError::Connect { target, source })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(exchange)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, %target, "a connection to a pod ended");
        }
    });
    if !request.headers().contains_key(header::HOST)
        && let Ok(host) = HeaderValue::from_str(&target.to_string())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    sender.send_request(request).await.map_err(exchange)
}
