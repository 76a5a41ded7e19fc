//! How the API server reaches into pods: logs and the pod proxy.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::time::timeout;

use super::logs::Log;
use crate::apiserver::{ByteStream, LogOptions, NodeAccess, StatusError};
use crate::playground::http_client;

/// How long a pod may take to answer a proxied request.
const PROXY_TIME: Duration = Duration::from_secs(30);
/// Largest proxied answer.
const PROXY_BODY: usize = 16 * 1024 * 1024;

/// The logs of a container.
#[derive(Debug, Default)]
pub(super) struct ContainerLogs {
    runs: Mutex<Runs>,
}

/// Of this run and of the one before.
#[derive(Debug, Default)]
struct Runs {
    current: Option<Arc<Log>>,
    previous: Option<Arc<Log>>,
}

impl ContainerLogs {
    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new run begins: its log.
    pub(super) fn begin(&self) -> Arc<Log> {
        let log = Arc::new(Log::default());
        let mut runs = self.runs();
        runs.previous = runs.current.replace(Arc::clone(&log));
        log
    }

    fn get(&self, previous: bool) -> Option<Arc<Log>> {
        let runs = self.runs();
        if previous { runs.previous.clone() } else { runs.current.clone() }
    }
}

/// A pod as the API server needs it.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    /// Tells apart pods that have the same name one after the other.
    pub(super) uid: String,
    /// Where its ports are; `None` until it has a sandbox.
    pub(super) address: Option<IpAddr>,
    /// The port that is meant when none is named.
    pub(super) first_port: Option<u16>,
    /// Logs by container, in the order of the pod's spec.
    pub(super) logs: Vec<(String, Arc<ContainerLogs>)>,
}

/// The running pods of all nodes, by namespace and name.
#[derive(Debug, Default)]
pub(crate) struct PodRegistry {
    pods: Mutex<HashMap<(String, String), Reach>>,
}

impl PodRegistry {
    fn pods(&self) -> MutexGuard<'_, HashMap<(String, String), Reach>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a pod reachable.
    pub(super) fn insert(&self, namespace: &str, name: &str, reach: Reach) {
        self.pods().insert((namespace.to_owned(), name.to_owned()), reach);
    }

    /// The pod is gone, unless another of the same name has taken its place.
    pub(super) fn remove(&self, namespace: &str, name: &str, uid: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        let mut pods = self.pods();
        if pods.get(&key).is_some_and(|reach| reach.uid == uid) {
            pods.remove(&key);
        }
    }

    fn find(&self, namespace: &str, name: &str) -> Result<Reach, StatusError> {
        let found = self.pods().get(&(namespace.to_owned(), name.to_owned())).cloned();
        found.ok_or_else(|| StatusError::unavailable(format!("no node has started the pod \"{name}\" yet")))
    }
}

impl NodeAccess for PodRegistry {
    fn log(
        &self,
        namespace: &str,
        pod: &str,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<ByteStream, StatusError>> {
        let log = self.find(namespace, pod).and_then(|reach| choose(pod, &reach, &options));
        async move { Ok(lines(log?, &options)) }.boxed()
    }

    fn proxy(
        &self,
        namespace: &str,
        pod: &str,
        port: Option<u16>,
        request: Request<Bytes>,
    ) -> BoxFuture<'static, Result<Response<Bytes>, StatusError>> {
        let target = self.find(namespace, pod).and_then(|reach| {
            let address = reach
                .address
                .ok_or_else(|| StatusError::unavailable(format!("the pod \"{pod}\" has no address yet")))?;
            let port = port.or(reach.first_port).unwrap_or(80);
            Ok(SocketAddr::new(address, port))
        });
        async move { proxy(target?, request).await }.boxed()
    }
}

fn choose(pod: &str, reach: &Reach, options: &LogOptions) -> Result<Arc<Log>, StatusError> {
    let names = || reach.logs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ");
    let found = match (&options.container, reach.logs.as_slice()) {
        (None, [(name, logs)]) => Ok((name, logs)),
        (None, _) => {
            Err(format!("a container name must be specified for pod {pod}, choose one of: [{}]", names()))
        }
        (Some(wanted), all) => all
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(name, logs)| (name, logs))
            .ok_or_else(|| format!("container {wanted} is not valid for pod {pod}")),
    };
    let (name, logs) = found.map_err(StatusError::bad_request)?;
    logs.get(options.previous).ok_or_else(|| {
        StatusError::bad_request(if options.previous {
            format!("previous terminated container \"{name}\" in pod \"{pod}\" not found")
        } else {
            format!("container \"{name}\" in pod \"{pod}\" is waiting to start")
        })
    })
}

/// The text of a log, to its present end or as long as the container runs.
fn lines(log: Arc<Log>, options: &LogOptions) -> ByteStream {
    // Subscribed before the first read: what comes in between is a change.
    let changes = log.changes();
    let read = log.read(0);
    let skip = options
        .tail_lines
        .map_or(0, |tail| read.lines.len().saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX)));
    let first = text(read.lines.into_iter().skip(skip));
    let follow = options.follow && !read.closed;
    let rest =
        stream::unfold((log, changes, read.next, follow), |(log, mut changes, next, follow)| async move {
            if !follow || changes.changed().await.is_err() {
                return None;
            }
            let read = log.read(next);
            Some((text(read.lines.into_iter()), (log, changes, read.next, !read.closed)))
        });
    stream::once(async { first }).chain(rest).map(Ok::<_, io::Error>).boxed()
}

fn text(lines: impl Iterator<Item = Bytes>) -> Bytes {
    lines.flatten().collect()
}

async fn proxy(target: SocketAddr, request: Request<Bytes>) -> Result<Response<Bytes>, StatusError> {
    let (mut parts, body) = request.into_parts();
    remove_hop_headers(&mut parts.headers);
    parts.headers.remove(header::HOST);
    parts.headers.remove(header::AUTHORIZATION);
    let request = Request::from_parts(parts, Full::new(body));
    let exchange = async {
        let response = http_client::send(target, request).await.map_err(|error| refused(target, &error))?;
        let (mut parts, body) = response.into_parts();
        let body = Limited::new(body, PROXY_BODY).collect().await.map_err(|error| {
            StatusError::unavailable(format!("cannot read the answer of {target}: {error}"))
        })?;
        remove_hop_headers(&mut parts.headers);
        Ok(Response::from_parts(parts, body.to_bytes()))
    };
    timeout(PROXY_TIME, exchange).await.unwrap_or_else(|_elapsed| {
        let text = format!("{target} gave no answer within {} s", PROXY_TIME.as_secs());
        Err(StatusError::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", text))
    })
}

fn refused(target: SocketAddr, error: &http_client::HttpError) -> StatusError {
    let cause = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    tracing::debug!(%target, %error, "a proxied request failed");
    StatusError::unavailable(format!("error trying to reach service: {error}{cause}"))
}

/// Headers that are about one connection and not about the message (RFC 9110, section 7.6.1).
fn remove_hop_headers(headers: &mut HeaderMap) {
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::TE, header::TRAILER, header::UPGRADE]
    {
        headers.remove(name);
    }
    // The body is complete: its length is set anew.
    headers.remove(header::CONTENT_LENGTH);
}

/// The address at which the root namespace reaches a pod; one with hostNetwork lives in it.
pub(super) fn address_of(on_host: bool, address: Ipv4Addr) -> IpAddr {
    IpAddr::V4(if on_host { Ipv4Addr::LOCALHOST } else { address })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(containers: &[&str]) -> Reach {
        let logs =
            containers.iter().map(|name| ((*name).to_owned(), Arc::new(ContainerLogs::default()))).collect();
        Reach { uid: "u".to_owned(), address: None, first_port: None, logs }
    }

    async fn all(stream: ByteStream) -> String {
        stream
            .map(|piece| String::from_utf8(piece.unwrap().to_vec()).unwrap())
            .collect::<Vec<_>>()
            .await
            .concat()
    }

    #[tokio::test]
    async fn tail_previous_and_follow() {
        let reach = reach(&["c"]);
        let logs = &reach.logs[0].1;
        let first = logs.begin();
        first.push(b"a\nb\nc\n");
        let tail = LogOptions { tail_lines: Some(2), ..LogOptions::default() };
        assert_eq!(all(lines(choose("p", &reach, &tail).unwrap(), &tail)).await, "b\nc\n");
        let second = logs.begin();
        let previous = LogOptions { previous: true, ..LogOptions::default() };
        assert_eq!(all(lines(choose("p", &reach, &previous).unwrap(), &previous)).await, "a\nb\nc\n");
        let follow = LogOptions { follow: true, ..LogOptions::default() };
        let following = tokio::spawn(all(lines(choose("p", &reach, &follow).unwrap(), &follow)));
        second.push(b"x\ny");
        tokio::task::yield_now().await;
        second.push(b"z\n");
        second.close();
        assert_eq!(following.await.unwrap(), "x\nyz\n");
    }

    #[test]
    fn the_container_must_be_clear() {
        let options = |container: Option<&str>| LogOptions {
            container: container.map(ToOwned::to_owned),
            ..LogOptions::default()
        };
        let cases = [
            (None, "choose one of: [a b]"),
            (Some("x"), "container x is not valid"),
            (Some("a"), "waiting to start"),
        ];
        for (container, expected) in cases {
            let error = choose("p", &reach(&["a", "b"]), &options(container)).unwrap_err();
            assert!(error.to_string().contains(expected), "{container:?}: {error}");
        }
    }
}
