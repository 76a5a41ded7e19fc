//! Asks pods for their metrics: one request, one answer or what is wrong; and again each second, until nobody wants it.
//!
//! What comes from a pod is not trusted: an answer has [`TIMEOUT`] and [`MAX_BODY`], all answers that nobody has read yet
//! have [`MAX_HELD`] together, and redirects are not followed, since they could lead anywhere. Reading an answer is work
//! of milliseconds, and so belongs on a thread of its own ([`Answer::read`]); nothing here takes longer than a copy.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dashboard::{INTERVAL, TIMEOUT};
use super::discovery::{Endpoint, MAX_ENDPOINTS, Reach};
use super::exposition::{self, Foreign, Format, Sample, Summary, excerpt};

/// The largest answer in bytes: some hundred thousand series.
pub const MAX_BODY: usize = 16 * 1024 * 1024;

/// How many bytes of answers may wait for being read, of all pods together.
pub const MAX_HELD: usize = 64 * 1024 * 1024;

/// The unit in which memory for answers is taken.
const PIECE: usize = 64 * 1024;

/// How much of an answer that is an error is read to find out what it says.
const MAX_ERROR: usize = 4 * 1024;

/// How long a connection to a pod is kept for the next scrape.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// An answer with metrics.
#[derive(Debug)]
pub struct Answer {
    body: Vec<u8>,
    /// In which format it is.
    pub format: Format,
    /// How long it took, from the request to the last byte.
    pub took: Duration,
    _held: OwnedSemaphorePermit,
}

impl Answer {
    /// The text as it came.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Hands every sample whose name is `wanted` to `sink`, see [`exposition::read`].
    ///
    /// # Errors
    /// It is something else altogether.
    pub fn read(
        &self,
        wanted: impl FnMut(&str) -> bool,
        sink: impl FnMut(&Sample<'_>),
    ) -> Result<Summary, Foreign> {
        exposition::read(&self.body, self.format, wanted, sink)
    }
}

/// What became of one scrape.
#[derive(Debug)]
pub struct Scraped {
    /// Who was asked.
    pub endpoint: Arc<Endpoint>,
    /// When, in milliseconds since 1970: samples without a timestamp are of this moment.
    pub at_ms: i64,
    /// The answer, or why there is none.
    pub outcome: Result<Answer, ScrapeError>,
}

/// Why there is no answer, or none of use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScrapeError {
    /// It took too long.
    #[error("no answer within {} ms{}", TIMEOUT.as_millis(), so_far(*.0))]
    Timeout(Option<usize>),
    /// The pod's kernel says that nobody is there.
    #[error("nothing listens on port {0} of the pod")]
    Refused(u16),
    /// The pod cannot be reached.
    #[error("the pod cannot be reached: {0}")]
    Unreachable(String),
    /// What listens there speaks something else, or broke off before an answer came.
    #[error("port {port} of the pod gave no HTTP answer: {what}")]
    NoHttp {
        /// The port.
        port: u16,
        /// What went wrong.
        what: String,
    },
    /// The answer broke off.
    #[error("the answer broke off after {got} bytes: {what}")]
    BrokeOff {
        /// Bytes of it that came.
        got: usize,
        /// What went wrong.
        what: String,
    },
    /// There is no end of it.
    #[error("the answer is larger than {} MiB", MAX_BODY / 1024 / 1024)]
    TooLarge,
    /// Other pods' answers wait for being read, and take all the memory that there is for it.
    #[error("no room for the answer: {} MiB of others are not read yet", MAX_HELD / 1024 / 1024)]
    NoRoom,
    /// The metrics are somewhere else.
    #[error("the answer is a redirect ({code}) to {location}")]
    Redirect {
        /// The status code.
        code: u16,
        /// The header `Location`.
        location: String,
    },
    /// The pod answers with an error.
    #[error("the pod answers with {code}: {says}")]
    Status {
        /// The status code.
        code: u16,
        /// How its body begins.
        says: String,
    },
    /// It is compressed.
    #[error("the answer is compressed ({0}), which was not asked for")]
    Compressed(String),
    /// The API server refuses to ask.
    #[error("the API server refuses to ask the pod ({code}): {says}")]
    Api {
        /// The status code.
        code: u16,
        /// What the API server says.
        says: String,
    },
    /// The API server does not answer.
    #[error("the API server cannot be reached: {0}")]
    NoApi(String),
}

fn so_far(got: Option<usize>) -> String {
    got.map(|got| format!(" but {got} bytes of it")).unwrap_or_default()
}

impl ScrapeError {
    /// What cures it.
    pub fn cure(&self) -> &'static str {
        match self {
            Self::Timeout(None) => "look whether the program hangs, or a fault acts on its network",
            Self::Timeout(Some(_)) | Self::BrokeOff { .. } => {
                "look whether a fault acts on the pod's network, and whether it has more series than it can tell in a second"
            }
            Self::Refused(_) => {
                "look which port its metrics are on, and whether it listens on all addresses and not on 127.0.0.1 alone"
            }
            Self::Unreachable(_) => {
                "with `via: direct` the console has to be in the pod network: else set `via: proxy` in the dashboard"
            }
            Self::NoHttp { .. } => "look whether that port serves metrics, and by http or by https",
            Self::TooLarge => "let the program tell fewer series: labels with many values are most of it",
            Self::NoRoom => "ask fewer pods: narrow the labels in the dashboard",
            Self::Redirect { .. } => "redirects are not followed: name that port and path in the dashboard",
            Self::Status { code: 401 | 403, .. } => {
                "its metrics need credentials, and none are sent: let it serve them without"
            }
            Self::Status { code: 404, .. } => {
                "its metrics are at another path or port: name the right ones in the dashboard"
            }
            Self::Status { .. } => "read the pod's log",
            Self::Compressed(_) => "let it answer as asked, without Content-Encoding; a proxy may be between",
            Self::Api { code: 403, .. } => {
                "it takes the right to `get` the resource `pods/proxy`: ask for it, or set `via: direct`"
            }
            Self::Api { code: 404, .. } => "the pod is gone: another one is found when it runs",
            Self::Api { .. } | Self::NoApi(_) => "look whether the API server is well",
        }
    }
}

type Connections = legacy::Client<HttpConnector, Empty<Bytes>>;

/// Asks pods for their metrics. Clones share connections and the memory for answers.
#[derive(Clone)]
pub struct Scraper {
    api: kube::Client,
    direct: Connections,
    room: Arc<Semaphore>,
}

impl Scraper {
    /// Asks by way of `api`, or directly. Must be called inside a tokio runtime.
    pub fn new(api: kube::Client) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let direct = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEEP_ALIVE)
            .pool_max_idle_per_host(1)
            .http1_max_buf_size(PIECE)
            .build(connector);
        Self { api, direct, room: Arc::new(Semaphore::new(MAX_HELD / PIECE)) }
    }

    /// Asks once.
    ///
    /// # Errors
    /// There is no answer in time, or it is none of use.
    pub async fn once(&self, endpoint: &Endpoint) -> Result<Answer, ScrapeError> {
        let progress = Progress::default();
        let begun = Instant::now();
        let exchange = timeout(TIMEOUT, self.exchange(endpoint, &progress)).await;
        let (body, held, format) =
            exchange.unwrap_or_else(|_elapsed| Err(ScrapeError::Timeout(progress.get())))?;
        Ok(Answer { body, format, took: begun.elapsed(), _held: held })
    }

    /// Asks each of `endpoints` once an [`INTERVAL`], at its own moment of it, until it is cancelled or nobody listens.
    ///
    /// Whoever has not answered, or whose answer was not taken yet, when its next turn comes misses that turn.
    pub async fn run(
        self,
        mut endpoints: watch::Receiver<Vec<Endpoint>>,
        answers: mpsc::Sender<Scraped>,
        cancel: CancellationToken,
    ) {
        let all = cancel.child_token();
        let tasks = TaskTracker::new();
        let mut asked: HashMap<Arc<Endpoint>, CancellationToken> = HashMap::new();
        loop {
            let wanted: BTreeSet<_> =
                endpoints.borrow_and_update().iter().take(MAX_ENDPOINTS).cloned().collect();
            asked.retain(|endpoint, token| {
                let stays = wanted.contains(&**endpoint);
                if !stays {
                    token.cancel();
                }
                stays
            });
            for endpoint in wanted {
                if !asked.contains_key(&endpoint) {
                    let (endpoint, token) = (Arc::new(endpoint), all.child_token());
                    let asking = self.clone().ask_on(Arc::clone(&endpoint), answers.clone());
                    let until = token.clone();
                    tasks.spawn(async move { until.run_until_cancelled(asking).await });
                    asked.insert(endpoint, token);
                }
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                () = answers.closed() => break,
                changed = endpoints.changed() => if changed.is_err() { break },
            }
        }
        all.cancel();
        tasks.close();
        tasks.wait().await;
    }

    /// Asks again and again.
    async fn ask_on(self, endpoint: Arc<Endpoint>, answers: mpsc::Sender<Scraped>) {
        let mut turns = interval_at(Instant::now() + endpoint.offset(), INTERVAL);
        turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            turns.tick().await;
            let at_ms = Timestamp::now().as_millisecond();
            let outcome = self.once(&endpoint).await;
            if answers.send(Scraped { endpoint: Arc::clone(&endpoint), at_ms, outcome }).await.is_err() {
                return;
            }
        }
    }

    async fn exchange(&self, endpoint: &Endpoint, progress: &Progress) -> Result<Read, ScrapeError> {
        let Endpoint { namespace, pod, port, path, .. } = endpoint;
        match endpoint.reach {
            Reach::Proxy { tls } => {
                let scheme = if tls { "https:" } else { "" };
                let uri = format!("/api/v1/namespaces/{namespace}/pods/{scheme}{pod}:{port}/proxy{path}");
                let request = request(&uri, kube::client::Body::empty(), *port)?;
                let answer = self.api.send(request).await;
                let answer = answer.map_err(|error| ScrapeError::NoApi(chain(&error)))?;
                self.take(answer, *port, true, progress).await
            }
            Reach::Direct(address) => {
                let uri = format!("http://{}{path}", SocketAddr::new(address, *port));
                let answer = self.direct.request(request(&uri, Empty::new(), *port)?).await;
                let answer = answer.map_err(|error| not_answered(&error, *port))?;
                self.take(answer, *port, false, progress).await
            }
        }
    }

    /// Takes in an answer whose head is there.
    async fn take<B>(
        &self,
        answer: Response<B>,
        port: u16,
        by_proxy: bool,
        progress: &Progress,
    ) -> Result<Read, ScrapeError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Error + 'static,
    {
        let (head, mut body) = answer.into_parts();
        progress.add(0);
        if head.status != StatusCode::OK {
            let begin = begin_of(&mut body).await;
            return Err(refusal(head.status, &head.headers, &begin, port, by_proxy));
        }
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let encoding = header(header::CONTENT_ENCODING).unwrap_or("identity");
        if !encoding.eq_ignore_ascii_case("identity") {
            return Err(ScrapeError::Compressed(excerpt(encoding.as_bytes())));
        }
        let format = Format::of(header(header::CONTENT_TYPE));
        let (text, room) = self.read_body(body, progress).await?;
        Ok((text, room, format))
    }

    async fn read_body<B>(
        &self,
        mut body: B,
        progress: &Progress,
    ) -> Result<(Vec<u8>, OwnedSemaphorePermit), ScrapeError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Error + 'static,
    {
        let announced =
            body.size_hint().exact().map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if announced > MAX_BODY {
            return Err(ScrapeError::TooLarge);
        }
        let mut text = Vec::new();
        let mut held = self.room(1)?;
        let mut room = 0;
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| ScrapeError::BrokeOff { got: text.len(), what: chain(&error) })?;
            // Trailers are of no use.
            let Ok(data) = frame.into_data() else { continue };
            progress.add(data.len());
            let needed = text.len() + data.len();
            if needed > MAX_BODY {
                return Err(ScrapeError::TooLarge);
            }
            if needed > room {
                // What is announced is believed only as far as it was delivered.
                let pieces =
                    needed.max(announced.min(2 * needed)).max(room * 3 / 2).min(MAX_BODY).div_ceil(PIECE);
                held.merge(self.room(pieces.saturating_sub(held.num_permits()))?);
                room = held.num_permits() * PIECE;
                text.reserve_exact(room - text.len());
            }
            text.extend_from_slice(&data);
        }
        Ok((text, held))
    }

    fn room(&self, pieces: usize) -> Result<OwnedSemaphorePermit, ScrapeError> {
        let pieces = u32::try_from(pieces).unwrap_or(u32::MAX);
        Arc::clone(&self.room).try_acquire_many_owned(pieces).map_err(|_full| ScrapeError::NoRoom)
    }
}

/// A body, the memory that it takes, and its format.
type Read = (Vec<u8>, OwnedSemaphorePermit, Format);

/// How many bytes of an answer have come.
#[derive(Default)]
struct Progress(AtomicUsize);

impl Progress {
    fn add(&self, bytes: usize) {
        // One more than the bytes, so that 0 means that not even the head came.
        self.0.fetch_max(1, Ordering::Relaxed);
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn get(&self) -> Option<usize> {
        self.0.load(Ordering::Relaxed).checked_sub(1)
    }
}

fn request<B>(uri: &str, body: B, port: u16) -> Result<Request<B>, ScrapeError> {
    let built = Request::get(uri)
        .header(header::ACCEPT, HeaderValue::from_static(Format::ACCEPT))
        .header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))
        .header(header::USER_AGENT, HeaderValue::from_static(concat!("squall/", env!("CARGO_PKG_VERSION"))))
        .body(body);
    built.map_err(|error| ScrapeError::NoHttp { port, what: error.to_string() })
}

/// How the body of an error begins; it is not worth an error of its own.
async fn begin_of<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Vec<u8> {
    let mut begin = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let data = frame.into_data().unwrap_or_default();
        begin.extend_from_slice(data.get(..MAX_ERROR).unwrap_or(&data));
        if begin.len() >= MAX_ERROR {
            break;
        }
    }
    begin
}

/// What an answer other than 200 means.
fn refusal(status: StatusCode, headers: &HeaderMap, begin: &[u8], port: u16, by_proxy: bool) -> ScrapeError {
    let code = status.as_u16();
    if let Some(location) = headers.get(header::LOCATION).filter(|_| status.is_redirection()) {
        return ScrapeError::Redirect { code, location: excerpt(location.as_bytes()) };
    }
    if by_proxy {
        let said: Option<serde_json::Value> = serde_json::from_slice(begin).ok();
        let of_server = said.as_ref().filter(|said| said["kind"] == "Status" && said["apiVersion"] == "v1");
        let message = of_server.and_then(|said| said["message"].as_str());
        let text = message.map_or_else(|| String::from_utf8_lossy(begin), Into::into);
        // What the API server says where it could not connect, as text or as a Status.
        if let Some((_, what)) = text.split_once("error trying to reach service: ") {
            return unproxied(what, port);
        }
        if let Some(message) = message {
            return ScrapeError::Api { code, says: excerpt(message.as_bytes()) };
        }
    }
    let says = if begin.is_empty() {
        status.canonical_reason().unwrap_or("nothing more").to_owned()
    } else {
        excerpt(begin)
    };
    ScrapeError::Status { code, says }
}

/// What the API server met when it asked the pod. It is another program's text: what is not recognised is shown.
fn unproxied(what: &str, port: u16) -> ScrapeError {
    let lower = what.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if says(&["connection refused"]) {
        ScrapeError::Refused(port)
    } else if says(&["no route", "unreachable", "timeout", "timed out", "deadline", "no address"]) {
        ScrapeError::Unreachable(excerpt(what.as_bytes()))
    } else {
        ScrapeError::NoHttp { port, what: excerpt(what.as_bytes()) }
    }
}

/// Why a pod that was asked directly did not answer.
fn not_answered(error: &legacy::Error, port: u16) -> ScrapeError {
    if !error.is_connect() {
        return ScrapeError::NoHttp { port, what: chain(error) };
    }
    let cause = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => ScrapeError::Refused(port),
        _ => ScrapeError::Unreachable(cause.map_or_else(|| chain(error), ToString::to_string)),
    }
}

fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The innermost cause: the outer ones say no more than that something failed.
fn chain(error: &(dyn Error + 'static)) -> String {
    let innermost = causes(error).last().map(ToString::to_string).unwrap_or_default();
    excerpt(innermost.as_bytes())
}
