//! The tutorial's three films, put into an empty database the way the tutorial does it: by POST to the server.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::http_client;
use super::objects::DEFAULT_NAMESPACE;
use super::replicaset::is_ready;

/// How long the database may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(3);
/// Largest list of films that is looked at.
const LIST: usize = 1024 * 1024;
/// The port of the movies server's container.
const PORT: u16 = 8080;

/// The films and their years.
const FILMS: [(&str, u16); 3] =
    [("The Sound of Music", 1965), ("Fast Times at Ridgemont High", 1982), ("Napoleon Dynamite", 2004)];

/// Why the database has no films.
#[derive(Debug, thiserror::Error)]
pub(super) enum SeedError {
    #[error("cannot find the movies server")]
    Api(#[from] kube::Error),
    #[error("no movies server is ready")]
    NoServer,
    #[error("the movies server gives no answer")]
    Http(#[from] http_client::HttpError),
    #[error("the movies server's answer breaks off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the movies server takes more than {} s", REQUEST.as_secs())]
    Slow(#[from] tokio::time::error::Elapsed),
    #[error("the movies server answers {0}")]
    Status(http::StatusCode),
    #[error("the movies server's list is not JSON")]
    Json(#[from] serde_json::Error),
    #[error("a request is malformed")]
    Request(#[from] http::Error),
}

/// Adds the films if there are none. Tries again for a while: the first connection to a database takes time.
pub(super) async fn run(client: &Client) -> Result<(), SeedError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt(client).await {
            Err(error) if Instant::now() < deadline => tracing::debug!(%error, "the seed has to wait"),
            result => return result,
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn attempt(client: &Client) -> Result<(), SeedError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), DEFAULT_NAMESPACE);
    let servers = pods.list(&ListParams::default().labels("app=server-app")).await?;
    let ready = servers.iter().filter(|pod| is_ready(pod));
    let address =
        ready.into_iter().find_map(|pod| pod.status.as_ref()?.pod_ip.as_ref()?.parse::<IpAddr>().ok());
    let server = SocketAddr::new(address.ok_or(SeedError::NoServer)?, PORT);
    let list = exchange(server, Request::get("/movies").body(Full::default())?).await?;
    let films: Value = serde_json::from_slice(&list)?;
    let count = films.get("data").and_then(Value::as_array).map_or(0, Vec::len);
    // What a former attempt did not get to is added, what is there is kept: a full database is never touched.
    for (title, year) in FILMS.iter().skip(count) {
        let film = json!({ "title": title, "year": year }).to_string();
        exchange(server, Request::post("/movies").body(Full::from(film))?).await?;
    }
    Ok(())
}

async fn exchange(server: SocketAddr, request: Request<Full<Bytes>>) -> Result<Bytes, SeedError> {
    let answer = timeout(REQUEST, http_client::send(server, request)).await??;
    if !answer.status().is_success() {
        return Err(SeedError::Status(answer.status()));
    }
    let body =
        timeout(REQUEST, Limited::new(answer.into_body(), LIST).collect()).await?.map_err(SeedError::Body)?;
    Ok(body.to_bytes())
}
