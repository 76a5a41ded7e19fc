//! Pods that answer badly, on loopback: each costs its own answer and no more, within its time and in bounded memory, and
//! what is said about it leads to the cause.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what is wrong")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use kube::client::Body;
use squall::steady_state::dashboard::TIMEOUT;
use squall::steady_state::discovery::{Endpoint, Reach};
use squall::steady_state::exposition::MAX_SAMPLES;
use squall::steady_state::scrape::{Answer, MAX_BODY, MAX_HELD, ScrapeError, Scraped, Scraper};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// What a busy machine may add to a time limit.
const SLACK: Duration = Duration::from_secs(3);

/// A million series.
static MILLION: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut body = String::new();
    for number in 0..1_000_000 {
        writeln!(body, "m{number} 1").unwrap();
    }
    body.into_bytes()
});

/// Held by the test that measures the memory of this process.
static MEASURING: Mutex<()> = Mutex::const_new(());

/// A pod whose paths each answer in their own bad way.
struct Pod {
    address: IpAddr,
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    _server: AbortOnDropHandle<()>,
}

impl Pod {
    async fn start(address: IpAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((address, 0)).await?;
        let port = listener.local_addr()?.port();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = (Arc::clone(&connections), Arc::clone(&requests));
        let server = tokio::spawn(async move {
            loop {
                let (stream, _peer) = listener.accept().await.unwrap();
                counts.0.fetch_add(1, Ordering::SeqCst);
                let requests = Arc::clone(&counts.1);
                // A scraper that has enough hangs up, which is an error of this side's.
                tokio::spawn(async move { drop(serve(stream, &requests).await) });
            }
        });
        Ok(Self { address, port, connections, requests, _server: AbortOnDropHandle::new(server) })
    }

    async fn local() -> Self {
        Self::start(Ipv4Addr::LOCALHOST.into()).await.unwrap()
    }

    fn endpoint(&self, name: &str, path: &str) -> Endpoint {
        Endpoint {
            namespace: "default".to_owned(),
            pod: name.to_owned(),
            uid: format!("uid-of-{name}"),
            node: "machine1".to_owned(),
            reach: Reach::Direct(self.address),
            port: self.port,
            path: path.to_owned(),
        }
    }
}

async fn serve(mut stream: TcpStream, requests: &AtomicUsize) -> io::Result<()> {
    loop {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await?);
        }
        requests.fetch_add(1, Ordering::SeqCst);
        let request = String::from_utf8(request).unwrap();
        let path = request.split(' ').nth(1).unwrap();
        if !answer(&mut stream, path, &request).await? {
            return Ok(());
        }
    }
}

/// A sample, as a program would tell it.
const GOOD: &str = "# TYPE up gauge\nup{path=\"/u/{id}\"} 1\n";

/// Answers, and says whether the connection stays open.
async fn answer(stream: &mut TcpStream, path: &str, request: &str) -> io::Result<bool> {
    if let Some((head, piece, pause)) = endless(path) {
        stream.write_all(head.as_bytes()).await?;
        loop {
            stream.write_all(&piece).await?;
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
    }
    assert!(request.contains("accept: application/openmetrics-text;version=1.0.0"), "{request}");
    assert!(request.contains("accept-encoding: identity"), "{request}");
    stream.write_all(&at_once(path)).await?;
    Ok(path == "/good")
}

/// Of an answer without an end: how it begins, what follows again and again, and the time between.
fn endless(path: &str) -> Option<(&'static str, Vec<u8>, Duration)> {
    let (minute, second) = (Duration::from_mins(1), Duration::from_secs(1));
    let piece = |text: &str| text.as_bytes().to_vec();
    Some(match path {
        "/hang" => ("", Vec::new(), minute),
        "/hang-after-head" => ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Vec::new(), minute),
        "/slow" => ("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", piece("u"), second),
        "/endless" => ("HTTP/1.1 200 OK\r\n\r\n", piece(&GOOD.repeat(1000)), Duration::ZERO),
        "/endless-line" => ("HTTP/1.1 200 OK\r\n\r\n", piece(&"x".repeat(65536)), Duration::ZERO),
        "/endless-head" => ("HTTP/1.1 200 OK\r\nX: ", piece(&"x".repeat(4096)), Duration::ZERO),
        "/announces-1-gib" => {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n";
            (head, piece(&GOOD.repeat(1000)), Duration::ZERO)
        }
        // 8 MiB; what follows is not of the answer.
        "/large" => (
            "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n",
            piece(&"up 1\n".repeat(1000)),
            Duration::ZERO,
        ),
        _ => return None,
    })
}

/// Answers that are sent at once, and end.
fn at_once(path: &str) -> Vec<u8> {
    let raw = |head: &str, rest: &str| format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{rest}").into_bytes();
    match path {
        "/openmetrics" => {
            let kind = "Content-Type: application/openmetrics-text; version=1.0.0\r\n";
            whole("200 OK", kind, b"up 1 1520879607.789\n# EOF\n")
        }
        "/no-http" => b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(),
        "/nothing" => Vec::new(),
        "/redirect" => whole("302 Found", "Location: /redirect\r\n", b""),
        "/gzip" => whole("200 OK", "Content-Encoding: gzip\r\n", b"\x1f\x8b\x08"),
        "/too-short" => raw("Content-Length: 500", GOOD),
        "/too-long" => raw(&format!("Content-Length: {}", GOOD.len() - 3), GOOD),
        "/bad-chunk" => raw("Transfer-Encoding: chunked", "5\r\nup 1\n\r\nnonsense\r\n"),
        "/closed-in-chunk" => raw("Transfer-Encoding: chunked", "5\r\nup 1\n\r\n500\r\nup"),
        "/404" => whole("404 Not Found", "", b"404 page not found\n"),
        "/500" => whole("500 Internal Server Error", "", b"collector \x1b[2J died"),
        "/401" => whole("401 Unauthorized", "", b""),
        path => whole("200 OK", "Content-Type: text/plain; version=0.0.4\r\n", &odd_body(path)),
    }
}

fn whole(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Bodies of answers that are as they should be otherwise.
fn odd_body(path: &str) -> Vec<u8> {
    match path {
        "/good" => GOOD.as_bytes().to_vec(),
        "/html" => b"<html><head><title>Log in</title></head></html>".to_vec(),
        "/json" => b"{\"status\":\"UP\"}".to_vec(),
        "/binary" => (0..=255).cycle().take(100_000).collect(),
        "/empty" => Vec::new(),
        "/gzip-unsaid" => b"\x1f\x8b\x08\x00 and so on".to_vec(),
        "/million" => MILLION.clone(),
        "/long-line" => format!("up{{a=\"{}\"}} 1\nup 2\n", "x".repeat(1024 * 1024)).into_bytes(),
        "/nan" => b"up NaN\nup{a=\"\"} +Inf\nup{a=\"b\"} -inf\n".to_vec(),
        "/times" => b"up 1 -62135596800000\nup 2 253402300799999\nup 3 99999999999999999999\n".to_vec(),
        other => panic!("{other}"),
    }
}

/// What is said about a pod: of the answer, else of its text, else what it holds.
async fn told(scraper: &Scraper, endpoint: &Endpoint) -> (String, &'static str) {
    told_of(scraper.once(endpoint).await)
}

fn told_of(outcome: Result<Answer, ScrapeError>) -> (String, &'static str) {
    match outcome {
        Err(error) => (error.to_string(), error.cure()),
        Ok(answer) => {
            let mut samples = Vec::new();
            let mut handed = 0;
            let read = answer.read(
                |_name| true,
                |sample| {
                    handed += 1;
                    if handed <= 5 {
                        samples.push(format!("{} {:?}", sample.value, sample.timestamp_ms));
                    }
                },
            );
            match read {
                Err(foreign) => (foreign.to_string(), foreign.cure()),
                Ok(summary) => {
                    let complaint = summary.complaint().unwrap_or_default();
                    (format!("{handed} [{}] {complaint}", samples.join(", ")), "")
                }
            }
        }
    }
}

/// A client of an API server that nobody may ask.
fn nobody() -> kube::Client {
    client(|request| panic!("{request:?}"))
}

fn client(answer: impl Fn(Request<Body>) -> Response<Vec<u8>> + Clone + Send + 'static) -> kube::Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answer(request).map(|body| Full::new(bytes::Bytes::from(body)));
        async move { Ok::<_, std::convert::Infallible>(answer) }
    });
    kube::Client::new(service, "default")
}

/// Memory of this process in MiB: `VmRSS:` now, `VmHWM:` at most since [`forget_most`].
fn memory(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

/// What it has now is the most from now on (proc(5), `clear_refs`).
fn forget_most() -> usize {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    memory("VmRSS:")
}

/// Path, words of what is said, words of the cure.
const CASES: &[(&str, &[&str], &str)] = &[
    ("/good", &["1 [1 None] "], ""),
    ("/openmetrics", &["1 [1 Some(1520879607789)] "], ""),
    ("/hang", &["no answer within 900 ms"], "hangs"),
    ("/hang-after-head", &["no answer within 900 ms but 0 bytes of it"], "network"),
    ("/slow", &["no answer within 900 ms but 1 bytes of it"], "network"),
    ("/endless", &["the answer is larger than 16 MiB"], "fewer series"),
    ("/endless-line", &["the answer is larger than 16 MiB"], "fewer series"),
    ("/announces-1-gib", &["the answer is larger than 16 MiB"], "fewer series"),
    ("/endless-head", &["gave no HTTP answer: "], "http or by https"),
    ("/no-http", &["gave no HTTP answer: "], "http or by https"),
    ("/nothing", &["gave no HTTP answer: "], "http or by https"),
    ("/redirect", &["a redirect (302) to /redirect"], "name that port and path"),
    ("/gzip", &["compressed (gzip), which was not asked for"], "Content-Encoding"),
    ("/gzip-unsaid", &["compressed (gzip), which was not asked for"], "uncompressed"),
    ("/too-short", &["the answer broke off after 37 bytes"], "network"),
    ("/too-long", &["0 [] one line cannot be read: line 2: ", "up{path=\"/u/{id}\""], ""),
    ("/bad-chunk", &["the answer broke off after 5 bytes"], "network"),
    ("/closed-in-chunk", &["the answer broke off after 7 bytes"], "network"),
    ("/404", &["the pod answers with 404: 404 page not found"], "another path"),
    ("/500", &["the pod answers with 500: collector \\u{1b}[2J died"], "log"),
    ("/401", &["the pod answers with 401: Unauthorized"], "credentials"),
    ("/html", &["a web page, not metrics: Log in"], "name the right ones"),
    ("/json", &["JSON, not metrics: {\"status\":\"UP\"}"], "name the right ones"),
    ("/binary", &["bytes, not text"], "text format"),
    ("/empty", &["the answer is empty"], "any metrics yet"),
    ("/million", &["200000 [1 None, ", "800000 samples were left out"], ""),
    ("/long-line", &["1 [2 None] one line cannot be read: line 1: it has 1048586 bytes"], ""),
    ("/nan", &["3 [NaN None, inf None, -inf None] "], ""),
    (
        "/times",
        &["2 [1 Some(-62135596800000), 2 Some(253402300799999)] ", "`99999999999999999999` is no whole"],
        "",
    ),
];

#[tokio::test]
async fn whatever_a_pod_answers_is_told_in_time_and_in_bounded_memory() {
    let _alone = MEASURING.lock().await;
    let (scraper, pod) = (Scraper::new(nobody()), Pod::local().await);
    // It is made before anybody waits for it.
    LazyLock::force(&MILLION);
    let before = forget_most();
    for (path, words, cure) in CASES {
        let begun = Instant::now();
        let outcome = scraper.once(&pod.endpoint("pod", path)).await;
        assert!(begun.elapsed() < TIMEOUT + SLACK, "{path} took {:?}", begun.elapsed());
        let (told, cures) = told_of(outcome);
        for words in *words {
            assert!(told.contains(words), "{path}: {told}");
        }
        assert!(cures.contains(cure), "{path}: {told}; {cures}");
        assert_eq!(cures.is_empty(), cure.is_empty(), "{path}: {told}; {cures}");
    }
    // The largest answer, its copy while it grows, and the server's own; no gibibyte.
    let most = memory("VmHWM:");
    assert!(most < before + 4 * MAX_BODY / 1024 / 1024, "from {before} to {most} MiB");
    assert_eq!(MAX_SAMPLES, 200_000, "the table says so");
}

#[tokio::test]
async fn nobody_listens() {
    let scraper = Scraper::new(nobody());
    let pod = Pod::local().await;
    let endpoint = pod.endpoint("pod", "/good");
    drop(pod);
    // The listener is closed when its task has ended.
    sleep(Duration::from_millis(50)).await;
    let error = scraper.once(&endpoint).await.unwrap_err();
    assert_eq!(error.to_string(), format!("nothing listens on port {} of the pod", endpoint.port));
    assert!(error.cure().contains("127.0.0.1 alone"), "{}", error.cure());
}

#[tokio::test]
async fn an_address_of_the_other_family() {
    let Ok(pod) = Pod::start(Ipv6Addr::LOCALHOST.into()).await else {
        eprintln!("SKIPPED: scraping over IPv6: this machine has no address ::1");
        return;
    };
    let scraper = Scraper::new(nobody());
    assert_eq!(told(&scraper, &pod.endpoint("pod", "/good")).await.0, "1 [1 None] ");
}

/// What an API server answers, as Kubernetes words it.
fn status(code: u16, message: &str) -> Response<Vec<u8>> {
    let body = serde_json::json!({"kind": "Status", "apiVersion": "v1", "code": code, "message": message});
    Response::builder().status(code).body(serde_json::to_vec(&body).unwrap()).unwrap()
}

#[tokio::test]
async fn by_way_of_the_api_server() {
    let endpoint = |tls| Endpoint {
        namespace: "default".to_owned(),
        pod: "server-app-1".to_owned(),
        uid: "u".to_owned(),
        node: String::new(),
        reach: Reach::Proxy { tls },
        port: 8080,
        path: "/metrics?x=1".to_owned(),
    };
    let text =
        |code: u16, body: &str| Response::builder().status(code).body(body.as_bytes().to_vec()).unwrap();
    let refused = "error trying to reach service: dial tcp 10.244.1.5:8080: connect: connection refused";
    let timed_out = "error trying to reach service: dial tcp 10.244.1.5:8080: i/o timeout";
    let no_http = "error trying to reach service: net/http: HTTP/1.x transport connection broken: malformed";
    let forbidden = "pods \"server-app-1\" is forbidden: User \"eve\" cannot get resource \"pods/proxy\"";
    let cases: Vec<(&str, Response<Vec<u8>>, &str, &str)> = vec![
        ("plain refusal", text(503, refused), "nothing listens on port 8080 of the pod", "127.0.0.1"),
        ("refusal as Status", status(500, refused), "nothing listens on port 8080 of the pod", "127.0.0.1"),
        (
            "no way",
            text(503, timed_out),
            "the pod cannot be reached: dial tcp 10.244.1.5:8080: i/o",
            "pod network",
        ),
        ("no HTTP", text(503, no_http), "port 8080 of the pod gave no HTTP answer: net/http: ", "https"),
        (
            "forbidden",
            status(403, forbidden),
            "refuses to ask the pod (403): pods \"server-app-1\" is",
            "pods/proxy",
        ),
        ("gone", status(404, "pods \"server-app-1\" not found"), "(404): pods \"server-app-1\" not", "gone"),
        (
            "the pod's own error",
            text(404, "404 page not found"),
            "the pod answers with 404: 404 page",
            "another path",
        ),
        (
            "the pod's own JSON",
            text(503, "{\"kind\":\"Down\"}"),
            "the pod answers with 503: {\"kind\"",
            "log",
        ),
    ];
    for (name, response, words, cure) in cases {
        let scraper = Scraper::new(client(move |_request| response.clone()));
        let (told, cures) = told(&scraper, &endpoint(false)).await;
        assert!(told.contains(words), "{name}: {told}");
        assert!(cures.contains(cure), "{name}: {told}; {cures}");
    }
    for (tls, scheme) in [(false, ""), (true, "https:")] {
        let expected = format!("/api/v1/namespaces/default/pods/{scheme}server-app-1:8080/proxy/metrics?x=1");
        let scraper = Scraper::new(client(move |request| {
            assert_eq!(request.uri().to_string(), expected);
            assert!(request.headers()["accept"].to_str().unwrap().contains("openmetrics"));
            text(200, "up 1\n")
        }));
        assert_eq!(told(&scraper, &endpoint(tls)).await.0, "1 [1 None] ");
    }
}

#[tokio::test]
async fn an_api_server_that_is_gone() {
    let client = squall::client::over_unix("/nonexistent/api.sock".as_ref(), "default");
    let pod = Pod::local().await;
    let endpoint = Endpoint { reach: Reach::Proxy { tls: false }, ..pod.endpoint("pod", "/good") };
    let error = Scraper::new(client).once(&endpoint).await.unwrap_err();
    assert!(matches!(&error, ScrapeError::NoApi(what) if what.contains("No such file")), "{error}");
}

/// Scrapes `endpoints` for `time`, and hands over what came; the scraper has ended then.
async fn scrape_for(
    time: Duration,
    endpoints: watch::Receiver<Vec<Endpoint>>,
    mut each: impl FnMut(Scraped),
) {
    let cancel = CancellationToken::new();
    let (sender, mut answers) = mpsc::channel(8);
    let task = tokio::spawn(Scraper::new(nobody()).run(endpoints, sender, cancel.clone()));
    let end = Instant::now() + time;
    while let Ok(scraped) = tokio::time::timeout_at(end, answers.recv()).await {
        each(scraped.expect("the scraper ended by itself"));
    }
    cancel.cancel();
    timeout(SLACK, task).await.expect("a cancelled scraper ends").unwrap();
}

#[tokio::test]
async fn each_is_asked_each_second_whatever_the_others_do() {
    let pod = Pod::local().await;
    let good = pod.endpoint("good", "/good");
    let bad = [pod.endpoint("hang", "/hang"), pod.endpoint("slow", "/slow"), pod.endpoint("html", "/html")];
    let (sender, endpoints) = watch::channel([vec![good.clone()], bad.to_vec()].concat());
    let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    scrape_for(Duration::from_millis(4500), endpoints, |scraped| {
        times.entry(scraped.endpoint.pod.clone()).or_default().push(scraped.at_ms);
        assert_eq!(scraped.outcome.is_ok(), matches!(&*scraped.endpoint.pod, "good" | "html"), "{scraped:?}");
    })
    .await;
    drop(sender);
    assert_eq!(times.keys().collect::<Vec<_>>(), ["good", "hang", "html", "slow"]);
    assert!(times.values().all(|times| (3..=5).contains(&times.len())), "{times:?}");
    for pair in times["good"].windows(2) {
        // Turns have fixed moments: what is late does not push those that follow.
        assert!((500..1600).contains(&(pair[1] - pair[0])), "{times:?}");
    }
}

#[tokio::test]
async fn connections_are_kept_and_who_is_gone_is_asked_no_more() {
    let (stays, goes) = (Pod::local().await, Pod::local().await);
    let (sender, endpoints) =
        watch::channel(vec![stays.endpoint("stays", "/good"), goes.endpoint("goes", "/good")]);
    let mut last = None;
    let (requests, connections) = (Arc::clone(&goes.requests), Arc::clone(&stays.connections));
    let sender = Arc::new(sender);
    let left = Arc::clone(&sender);
    let only = stays.endpoint("stays", "/good");
    scrape_for(Duration::from_millis(5500), endpoints, move |scraped| {
        assert!(scraped.outcome.is_ok(), "{scraped:?}");
        if scraped.endpoint.pod == "goes" && last.is_none() {
            left.send(vec![only.clone()]).unwrap();
            last = Some(());
        }
    })
    .await;
    assert_eq!(requests.load(Ordering::SeqCst), 1, "it was asked although it was gone");
    let asked = stays.requests.load(Ordering::SeqCst);
    assert!((4..=6).contains(&asked), "{asked}");
    assert_eq!(connections.load(Ordering::SeqCst), 1, "the connection was not kept");
    drop(sender);
}

/// The answers of twenty pods, 8 MiB each, are kept by somebody who reads none.
#[tokio::test]
async fn answers_that_nobody_reads_have_a_limit() {
    let _alone = MEASURING.lock().await;
    let before = forget_most();
    let pod = Pod::local().await;
    let endpoints = (0..20).map(|number| pod.endpoint(&format!("pod-{number}"), "/large")).collect();
    let (sender, endpoints) = watch::channel(endpoints);
    let mut held = Vec::new();
    scrape_for(Duration::from_secs(4), endpoints, |scraped| held.push(scraped.outcome)).await;
    drop(sender);
    let bytes: usize = held.iter().flatten().map(|answer| answer.body().len()).sum();
    assert!(bytes > 0 && bytes <= MAX_HELD, "{bytes}");
    let refused = held.iter().filter(|outcome| matches!(outcome, Err(ScrapeError::NoRoom))).count();
    assert!(refused > 0, "all {} were held", held.len());
    let most = memory("VmHWM:");
    assert!(most < before + MAX_HELD / 1024 / 1024 + 32, "from {before} to {most} MiB");
    held.clear();
    let again = Scraper::new(nobody()).once(&pod.endpoint("pod-0", "/good")).await;
    assert!(again.is_ok(), "{again:?}");
}
