//! `/metrics` over HTTP: one path, one method, a few connections at a time, each for a few seconds. There is no TLS and nobody is
//! asked who they are: nothing that is told is secret, and nothing can be changed here.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Metrics;

/// Connections at a time. More wait until one ends, at most [`PATIENCE`].
const CONNECTIONS: usize = 8;

/// How long a request line and headers may take.
const HEADERS: Duration = Duration::from_secs(5);

/// How long a connection lasts, whoever is slow. Each is for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Rest after a failed `accept`: the usual cause is a lack of file descriptors, which only time cures.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// The largest request line with headers, in bytes; hyper takes no less.
const MAX_HEADERS: usize = 8 * 1024;

/// The only path.
const PATH: &str = "/metrics";

/// Nobody can listen there.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for --metrics-listen")]
pub struct ServeError {
    address: SocketAddr,
    source: io::Error,
}

/// A port that is open.
#[derive(Debug)]
pub struct Server(TcpListener);

impl Server {
    /// Opens the port. Inside a tokio runtime.
    ///
    /// # Errors
    /// The address is none of this machine, or in use.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        let listener = TcpListener::bind(address).await.map_err(|source| ServeError { address, source })?;
        let at = listener.local_addr().map_err(|source| ServeError { address, source })?;
        tracing::info!("metrics are at http://{at}{PATH}");
        Ok(Self(listener))
    }

    /// Where it is, with the port that the kernel chose if 0 was asked for.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers until this is dropped, which closes the port and every connection.
    #[expect(
        clippy::infinite_loop,
        reason = "it ends when it is dropped, and a task must have a type that can be named"
    )]
    pub async fn run(self, metrics: Metrics) -> Infallible {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = tokio::task::JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            // Nobody closes it, so that there is always a permit in the end.
            let permit = Arc::clone(&room).acquire_owned().await;
            match self.0.accept().await {
                Ok((stream, _peer)) => {
                    let metrics = metrics.clone();
                    connections.spawn(async move {
                        serve(stream, &metrics).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection for metrics");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, metrics: &Metrics) {
    let service =
        service_fn(
            |request: Request<Incoming>| async move { Ok::<_, Infallible>(answer(&request, metrics)) },
        );
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS).keep_alive(false).max_buf_size(MAX_HEADERS);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(PATIENCE, connection).await {
        Ok(Ok(())) => {}
        // Somebody who goes away, sends something else or nothing; no fault of ours.
        Ok(Err(error)) => tracing::debug!(%error, "a connection for metrics ended"),
        Err(_late) => tracing::debug!("a connection for metrics took too long"),
    }
}

/// The body of the request, if it has one, is not read.
fn answer<B>(request: &Request<B>, metrics: &Metrics) -> Response<Full<Bytes>> {
    if request.uri().path() != PATH {
        return plain(StatusCode::NOT_FOUND, "metrics are at /metrics\n");
    }
    if request.method() != Method::GET {
        let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "GET is all that there is\n");
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        return answer;
    }
    match metrics.text() {
        Ok(text) => {
            let mut answer = Response::new(Full::new(text.into()));
            answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
            answer
        }
        Err(error) => {
            tracing::error!(%error, "metrics cannot be written");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written\n")
        }
    }
}

fn plain(code: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = code;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
