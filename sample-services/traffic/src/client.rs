//! One worker's connection: HTTP/1.1 with keep-alive, opened when needed and dropped after anything odd.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// The longest answer that is read, in bytes.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// Why a URL was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a server: write http://HOST or http://HOST:PORT")]
pub struct TargetError(String);

/// The server that requests go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
    authority: HeaderValue,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let refuse = || TargetError(text.to_owned());
        let uri: Uri = text.parse().map_err(|_not_a_uri| refuse())?;
        let authority = uri.authority().ok_or_else(refuse)?;
        let only_server = uri.path() == "/" && uri.query().is_none() && !authority.as_str().contains('@');
        if uri.scheme_str() != Some("http") || !only_server || authority.host().is_empty() {
            return Err(refuse());
        }
        // An IPv6 address stands in brackets in a URL, without them in a look-up.
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let header = HeaderValue::from_str(authority.as_str()).map_err(|_not_a_header| refuse())?;
        Ok(Self { host, port: authority.port_u16().unwrap_or(80), authority: header })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority.to_str().unwrap_or(&self.host))
    }
}

/// Why a request has no status.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("the connection failed")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be written")]
    Request(#[from] hyper::http::Error),
    #[error("the answer broke off or is longer than {ANSWER_LIMIT} bytes")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer in time")]
    Timeout,
}

/// Sends requests one after the other.
pub(crate) struct Client {
    target: Target,
    timeout: Duration,
    connection: Option<Connection>,
}

/// An open connection and the task that moves its bytes; dropping it closes the socket.
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    pub(crate) fn new(target: Target, timeout: Duration) -> Self {
        Self { target, timeout, connection: None }
    }

    /// GETs `path` and reads the whole answer. After an error or a timeout the next request opens a new
    /// connection: a late answer on the old one would be taken for its own.
    pub(crate) async fn get(&mut self, path: &str) -> Result<StatusCode, RequestError> {
        let kept = self.connection.take();
        let exchange = async {
            let mut connection = match kept.filter(|connection| !connection.sender.is_closed()) {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            connection.sender.ready().await?;
            let status = self.exchange(&mut connection.sender, path).await?;
            Ok::<_, RequestError>((connection, status))
        };
        let timed = tokio::time::timeout(self.timeout, exchange).await;
        let (connection, status) = timed.map_err(|_elapsed| RequestError::Timeout)??;
        self.connection = Some(connection);
        Ok(status)
    }

    async fn connect(&self) -> Result<Connection, RequestError> {
        let address = (self.target.host.as_str(), self.target.port);
        let stream = TcpStream::connect(address).await.map_err(RequestError::Connect)?;
        stream.set_nodelay(true).map_err(RequestError::Connect)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(Connection { sender, driver })
    }

    async fn exchange(
        &self,
        sender: &mut SendRequest<Empty<Bytes>>,
        path: &str,
    ) -> Result<StatusCode, RequestError> {
        let request =
            Request::get(path).header(HOST, self.target.authority.clone()).body(Empty::<Bytes>::new())?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        Limited::new(body, ANSWER_LIMIT).collect().await.map_err(RequestError::Answer)?;
        Ok(head.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let parse = |text: &str| text.parse::<Target>().map(|t| (t.host, t.port)).ok();
        let cases = [
            ("http://server-app", Some(("server-app", 80))),
            ("http://10.0.0.1:8080/", Some(("10.0.0.1", 8080))),
            ("http://[::1]:8080", Some(("::1", 8080))),
            ("https://server-app", None),
            ("server-app", None),
            ("server-app:80", None),
            ("http://server-app/movies", None),
            ("http://user@server-app", None),
            ("http://", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected.map(|(host, port)| (host.to_owned(), port)), "{text}");
        }
    }
}
