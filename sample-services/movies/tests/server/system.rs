//! A movies server and its database on the loopback interface, with a proxy between them that fails on command.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// How long the server under test gives its database.
pub(crate) const DB_TIMEOUT: Duration = Duration::from_millis(400);

/// What the proxy does with the database's traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Up,
    /// Nothing passes, nothing is refused: a partition.
    Silent,
    /// Connections are reset and refused: the database is dead.
    Dead,
}

/// The services of one test.
pub(crate) struct System {
    pub(crate) server: SocketAddr,
    link: watch::Sender<Link>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
    _data: TempDir,
}

impl System {
    pub(crate) async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let listener = loopback().await;
        let database = listener.local_addr().unwrap();
        let args = database::Args { listen: database, data_dir: data.path().to_owned(), max_size: 64 };
        tokio::spawn(database::serve(listener, args, std::future::pending()));
        let (link, watched) = watch::channel(Link::Up);
        let listener = loopback().await;
        let mongo = format!("mongodb://{}", listener.local_addr().unwrap());
        tokio::spawn(proxy(listener, database, watched));
        let listener = loopback().await;
        let server = listener.local_addr().unwrap();
        let args = movies::Args { listen: server, mongo, db_timeout: DB_TIMEOUT };
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(movies::serve(listener, args, async { drop(stopped.await) }));
        Self { server, link, stop, task, _data: data }
    }

    pub(crate) fn set(&self, link: Link) {
        self.link.send(link).unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = request(self.server, "GET", path, "").await;
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
    }

    pub(crate) async fn post(&self, body: &str) -> (u16, Value) {
        let (status, body) = request(self.server, "POST", "/movies", body).await;
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    }

    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap().unwrap();
    }
}

async fn loopback() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// One request on a connection of its own, with the content type that `curl -d` sends.
pub(crate) async fn request(server: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Forwards connections while the link is up. When it falls silent, open connections hang for good, as TCP
/// connections do whose packets are dropped longer than both ends' patience.
async fn proxy(listener: TcpListener, target: SocketAddr, link: watch::Receiver<Link>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let mut link = link.clone();
        tokio::spawn(async move {
            if *link.borrow() == Link::Up {
                let mut database = TcpStream::connect(target).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut database) => return,
                    _ = link.wait_for(|link| *link != Link::Up) => {}
                }
            }
            if *link.borrow() == Link::Silent {
                // Holds the connection open and says nothing.
                std::future::pending::<()>().await;
            }
        });
    }
}
