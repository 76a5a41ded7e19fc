//! `kube::Client` over a unix socket: how every part reaches the playground's API server.
//!
//! Only transport, what its errors mean, and how soon it is tried again. Which socket is meant, and whether a playground is meant at all, is
//! decided by the caller.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::Body;
use kube::client::middleware::BaseUriLayer;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher;
use rand::RngExt;
use tokio::net::UnixStream;
use tower::{Layer, ServiceExt};

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
    let service = BaseUriLayer::new(Uri::from_static(BASE_URI)).layer(client.map_err(move |source| {
        let socket = socket.clone();
        if source.is_connect() {
            SocketError::Connect { socket, source }
        } else {
            SocketError::Request { socket, source }
        }
    }));
    kube::Client::new(service, default_namespace)
}

/// Pauses before a watch that failed is begun anew: half a second, twice as long each time, at most four, each shortened by up
/// to a half by chance, so that a thousand daemons do not all come at once.
///
/// kube's own pauses grow to a minute. For so long after an outage of the API server nobody would see a Halt.
#[derive(Debug)]
pub(crate) struct WatchPauses {
    next: Duration,
}

impl WatchPauses {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(4);
}

impl Default for WatchPauses {
    fn default() -> Self {
        Self { next: Self::FIRST }
    }
}

impl Iterator for WatchPauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(Self::LONGEST);
        Some(pause.mul_f64(rand::rng().random_range(0.5..=1.0)))
    }
}

impl Backoff for WatchPauses {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Whether a watch cannot begin because the API server does not know the kind: its CRD is not installed. The answer
/// to an unknown path is plain text, so that only its code tells.
pub(crate) fn is_not_served(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_four_seconds_and_begin_anew_after_an_answer() {
        let mut pauses = WatchPauses::default();
        for most in [500, 1_000, 2_000, 4_000, 4_000, 4_000] {
            let pause = pauses.next().unwrap();
            let most = Duration::from_millis(most);
            assert!((most / 2..=most).contains(&pause), "{pause:?} of {most:?}");
        }
        pauses.reset();
        assert!(pauses.next().unwrap() <= WatchPauses::FIRST);
    }
}
