//! The traffic client against a server that misbehaves on command.

#![cfg(test)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use traffic::Args;

/// How long a state may take to show before a test gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers by path: `/ok` 200, `/failing` 500, `/silent` never, `/closing` by closing the connection.
#[derive(Default)]
struct Server {
    connections: AtomicUsize,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

impl Server {
    async fn start() -> (SocketAddr, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Arc::new(Self::default());
        let accepting = Arc::clone(&server);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accepting.connections.fetch_add(1, Ordering::SeqCst);
                let server = Arc::clone(&accepting);
                tokio::spawn(async move { server.converse(stream).await });
            }
        });
        (address, server)
    }

    async fn converse(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while matches!(stream.read_line(&mut line).await, Ok(1..)) {
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            while line != "\r\n" {
                line.clear();
                stream.read_line(&mut line).await.unwrap();
            }
            line.clear();
            let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_in_flight.fetch_max(now, Ordering::SeqCst);
            sleep(Duration::from_millis(1)).await;
            let status = match path.as_str() {
                "/closing" => return,
                // Until the client gives up and closes.
                "/silent" => "",
                "/failing" => "500 Internal Server Error",
                _ => "200 OK",
            };
            if status.is_empty() {
                assert!(!matches!(stream.read(&mut [0]).await, Ok(1..)), "a request behind a silent one");
                self.in_flight.fetch_sub(1, Ordering::SeqCst);
                return;
            }
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nhi");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }
}

/// A running traffic client.
struct Traffic {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Traffic {
    async fn start(server: SocketAddr, args: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{server}");
        let args = Args::try_parse_from([&["traffic", "--url", &url], args].concat()).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(traffic::serve(listener, args, async { drop(stopped.await) }));
        Self { address, stop, task }
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        body.to_owned()
    }

    /// Requests by path and status.
    async fn counts(&self) -> BTreeMap<(String, String), u32> {
        let metrics = self.get("/metrics").await;
        let lines = metrics.lines().filter_map(|line| line.strip_prefix("traffic_http_requests_total{"));
        let count = |line: &str| {
            let (labels, count) = line.split_once("} ").unwrap();
            let labels: Vec<&str> = labels.split('"').collect();
            assert_eq!(labels[1], "GET");
            ((labels[3].to_owned(), labels[5].to_owned()), count.parse().unwrap())
        };
        lines.map(count).collect()
    }

    async fn count(&self, path: &str, status: &str) -> u32 {
        self.counts().await.get(&(path.to_owned(), status.to_owned())).copied().unwrap_or(0)
    }

    async fn wait_for(&self, path: &str, status: &str, least: u32) {
        let start = Instant::now();
        while self.count(path, status).await < least {
            let counts = self.counts().await;
            assert!(start.elapsed() < PATIENCE, "no {least} of {path} {status}: {counts:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn samples(&self, query: &str) -> Vec<Value> {
        let lines = self.get(&format!("/samples{query}")).await;
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn outcomes_are_counted_by_path_and_status() {
    let (server, _) = Server::start().await;
    let mix = "/ok=1,/failing=1,/silent=1,/closing=1";
    let traffic = Traffic::start(server, &["--unthrottled", "--timeout", "50ms", "--mix", mix]).await;
    let expected = [("/ok", "200"), ("/failing", "500"), ("/silent", "timeout"), ("/closing", "error")];
    for (path, status) in expected {
        traffic.wait_for(path, status, 5).await;
    }
    let counts = traffic.counts().await;
    assert_eq!(counts.len(), 4, "one status for each path: {counts:?}");
    traffic.stop().await;
}

#[tokio::test]
async fn samples_tell_each_request() {
    let (server, _) = Server::start().await;
    let traffic =
        Traffic::start(server, &["--rate", "100", "--timeout", "50ms", "--mix", "/ok=1,/silent=1"]).await;
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    traffic.wait_for("/silent", "timeout", 3).await;
    traffic.wait_for("/ok", "200", 3).await;
    let samples = traffic.samples("?path=/silent").await;
    assert!(samples.len() >= 3);
    for sample in &samples {
        assert_eq!((&sample["path"], &sample["status"]), (&"/silent".into(), &"timeout".into()), "{sample}");
        assert!(sample["seconds"].as_f64().unwrap() >= 0.05, "{sample}");
        let time = sample["time"].as_f64().unwrap();
        assert!((time - before).abs() < 60.0, "{sample} against {before}");
    }
    let all = traffic.samples("").await;
    assert!(all.iter().any(|sample| sample["path"] == "/ok" && sample["status"] == "200"), "{all:?}");
    assert!(traffic.samples("?path=/nowhere").await.is_empty());
    traffic.stop().await;
}

#[tokio::test]
async fn connections_are_kept_while_answers_come() {
    let (server, state) = Server::start().await;
    let traffic =
        Traffic::start(server, &["--unthrottled", "--workers", "3", "--mix", "/ok=1,/failing=1"]).await;
    traffic.wait_for("/ok", "200", 200).await;
    assert_eq!(state.connections.load(Ordering::SeqCst), 3);
    traffic.stop().await;
}

#[tokio::test]
async fn never_more_in_flight_than_workers() {
    let (server, state) = Server::start().await;
    let args = ["--rate", "100000", "--workers", "2", "--timeout", "30ms", "--mix", "/ok=1,/silent=1"];
    let traffic = Traffic::start(server, &args).await;
    traffic.wait_for("/silent", "timeout", 10).await;
    // The server learns a little later than the client that a silent request is over.
    let most = state.most_in_flight.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most} in flight");
    traffic.stop().await;
}

#[tokio::test]
async fn never_faster_than_the_rate() {
    let (server, _) = Server::start().await;
    let start = Instant::now();
    let traffic = Traffic::start(server, &["--rate", "200", "--mix", "/ok=1"]).await;
    traffic.wait_for("/ok", "200", 60).await;
    let sent = f64::from(traffic.count("/ok", "200").await);
    let most = 200.0 * start.elapsed().as_secs_f64() + 4.0;
    assert!(sent <= most, "{sent} requests, at most {most} were due");
    traffic.stop().await;
}

#[tokio::test]
async fn goes_on_when_the_server_comes_back() {
    // An address of its own: the port must still be free when the server comes back.
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let traffic = Traffic::start(address, &["--mix", "/ok=1"]).await;
    traffic.wait_for("/ok", "error", 5).await;
    let listener = TcpListener::bind(address).await.unwrap();
    let server = Arc::new(Server::default());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = Arc::clone(&server);
            tokio::spawn(async move { server.converse(stream).await });
        }
    });
    traffic.wait_for("/ok", "200", 5).await;
    traffic.stop().await;
}

#[test]
fn wrong_arguments_are_refused_with_the_cure() {
    let cases = [
        (["--url", "server-app"], "http://HOST"),
        (["--mix", "/movies"], "PATH=WEIGHT"),
        (["--workers", "0"], "1..=1000"),
        (["--rate", "0"], "1..=1000000"),
        (["--timeout", "soon"], "--timeout"),
    ];
    for (args, cure) in cases {
        let error = Args::try_parse_from([&["traffic"], args.as_slice()].concat()).unwrap_err().to_string();
        assert!(error.contains(cure), "{args:?}: {error}");
    }
}
