#![expect(clippy::float_cmp, reason = "whole numbers, which nothing was done to")]

use std::convert::Infallible;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::steady_state::exposition::{self, Format};

/// What our own reader makes of it; a complaint ends the test.
fn read(text: &str) -> Vec<(String, f64)> {
    let mut samples = Vec::new();
    let summary = exposition::read(
        text.as_bytes(),
        Format::Text,
        |_| true,
        |sample| {
            samples.push((sample.series.to_owned(), sample.value));
        },
    );
    let summary = summary.unwrap_or_else(|foreign| panic!("{foreign}: {text}"));
    assert_eq!(summary.complaint(), None, "{text}");
    samples
}

fn value(samples: &[(String, f64)], series: &str) -> f64 {
    let found = samples.iter().find(|(name, _)| name == series);
    found.unwrap_or_else(|| panic!("no {series} in {samples:#?}")).1
}

#[test]
fn what_every_part_tells_is_read_by_our_own_reader() {
    let metrics = Metrics::new("daemon");
    let counter = Counter::<u64>::default();
    metrics.register("things", "Things, \\ and \"quotes\"", counter.clone());
    counter.inc_by(3);
    tally::watch_failed("Halt");
    let samples = read(&metrics.text().unwrap());
    assert_eq!(value(&samples, "squall_things_total"), 3.0);
    let build =
        format!("squall_build_info{{version=\"{}\",component=\"daemon\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(value(&samples, &build), 1.0);
    assert!(value(&samples, "squall_watch_failures_total{kind=\"Halt\"}") >= 1.0);
    assert!(value(&samples, "process_resident_memory_bytes") > 1_000_000.0);
    assert!(value(&samples, "process_open_fds") >= 3.0);
    assert!(value(&samples, "process_threads") >= 1.0);
    assert!(value(&samples, "process_cpu_seconds_total") >= 0.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let age = now - value(&samples, "process_start_time_seconds");
    assert!((0.0..3_600.0).contains(&age), "this process is {age} s old");
}

/// A server, and how it answers what is written to it, until it closes the connection.
struct Served(std::net::SocketAddr, tokio::task::JoinHandle<Infallible>);

impl Served {
    async fn start() -> Self {
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address().unwrap();
        Self(address, tokio::spawn(server.run(Metrics::new("controller"))))
    }

    async fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.0).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is cut off with a reset has answered before.
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8(answer).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.1.abort();
    }
}

#[tokio::test]
async fn one_path_and_one_method_are_answered() {
    let served = Served::start().await;
    let answer = served.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(!read(body).is_empty());
    for (request, status) in [
        ("GET / HTTP/1.1", "404"),
        ("GET /metrics/x HTTP/1.1", "404"),
        ("GET /debug/pprof HTTP/1.1", "404"),
        ("POST /metrics HTTP/1.1", "405"),
        ("HEAD /metrics HTTP/1.1", "405"),
        ("GET /metrics?name=x HTTP/1.1", "200"),
    ] {
        let answer = served.ask(&format!("{request}\r\nHost: x\r\nContent-Length: 0\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    }
    let long = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let answer = served.ask(&long).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert!(served.ask("\x16\x03\x01 no HTTP\r\n\r\n").await.starts_with("HTTP/1.1 400"));
}

/// Whoever connects and says nothing holds up others for a few seconds, and no longer.
#[tokio::test]
async fn silence_ends_and_room_is_made() {
    let served = Served::start().await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(served.0).await.unwrap());
    }
    let begun = std::time::Instant::now();
    let answer = served.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    drop(silent);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = first.address().unwrap();
    let second = Server::bind(address).await.unwrap_err();
    assert_eq!(second.to_string(), format!("cannot listen on {address} for --metrics-listen"));
}
