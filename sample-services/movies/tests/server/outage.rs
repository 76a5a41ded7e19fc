//! What clients see when the database is cut off, killed and back.

use std::time::{Duration, Instant};

use crate::system::{DB_TIMEOUT, Link, System, request};

/// Longer than an outage may outlive its cause.
const PATIENCE: Duration = Duration::from_secs(10);

async fn outage(link: Link) {
    let system = System::start().await;
    assert_eq!(system.post(r#"{"title": "Alien", "year": 1979}"#).await.0, 200);
    let before = system.get("/movies").await;
    system.set(link);
    // Long enough for the driver to notice too: requests meet a dead connection first, then a server that the
    // driver knows to be gone.
    let start = Instant::now();
    while start.elapsed() < 4 * DB_TIMEOUT {
        let asked = Instant::now();
        let (status, body) = system.get("/movies").await;
        assert_eq!(status, 500, "{body}");
        assert!(!body["error"].as_str().unwrap().is_empty());
        // The promise of --db-timeout, with room for a slow test machine.
        assert!(asked.elapsed() < DB_TIMEOUT + Duration::from_secs(2), "{:?}", asked.elapsed());
        assert_eq!(system.get("/message1").await.0, 200);
    }
    system.set(Link::Up);
    let start = Instant::now();
    while system.get("/movies").await != before {
        assert!(start.elapsed() < PATIENCE, "no recovery");
    }
    assert_eq!(system.get("/movies").await, before);
    system.stop().await;
}

#[tokio::test]
async fn partition() {
    outage(Link::Silent).await;
}

#[tokio::test]
async fn death() {
    outage(Link::Dead).await;
}

#[tokio::test]
async fn a_request_in_flight_is_answered_when_the_server_stops() {
    let system = System::start().await;
    assert_eq!(system.get("/movies").await.0, 200);
    system.set(Link::Silent);
    let server = system.server;
    let waiting = tokio::spawn(async move { request(server, "GET", "/movies", "").await.0 });
    tokio::time::sleep(DB_TIMEOUT / 4).await;
    system.stop().await;
    assert_eq!(waiting.await.unwrap(), 500);
    assert!(tokio::net::TcpStream::connect(server).await.is_err(), "still listening");
}

#[tokio::test]
async fn a_wrong_connection_string_is_refused() {
    let args = movies::Args {
        listen: "127.0.0.1:0".parse().unwrap(),
        mongo: "mongo:27017".to_owned(),
        db_timeout: DB_TIMEOUT,
    };
    let error = movies::run(args, std::future::pending()).await.unwrap_err();
    assert!(error.to_string().contains("mongodb://HOST:PORT"), "{error}");
}
