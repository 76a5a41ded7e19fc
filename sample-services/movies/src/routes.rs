//! The HTTP side: paths, JSON and status codes. It decides nothing about the database.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, MatchedPath, Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use mongodb::bson::oid::ObjectId;
use prometheus::Registry;
use serde::{Deserialize, Serialize};
use serde_json::json;
use service_support::metrics::{RequestMetrics, exposition, method_label};

use crate::catalogue::{Catalogue, CatalogueError, Film};

/// The largest body that POST /movies reads, in bytes.
const BODY_LIMIT: usize = 64 * 1024;

/// The path label of requests that no route answers: what clients invent must not make new series.
const UNMATCHED: &str = "unmatched";

const METRICS: &str = "/metrics";

struct App {
    host: String,
    catalogue: Catalogue,
    metrics: RequestMetrics,
    registry: Registry,
}

/// All paths of the server. `host` is the name that the messages show.
pub(crate) fn router(
    host: String,
    catalogue: Catalogue,
    metrics: RequestMetrics,
    registry: Registry,
) -> Router {
    let app = Arc::new(App { host, catalogue, metrics, registry });
    Router::new()
        .route("/", get(welcome))
        .route("/message1", get(|State(app): State<Arc<App>>| async move { message(&app, "A") }))
        .route("/message2", get(|State(app): State<Arc<App>>| async move { message(&app, "A second") }))
        .route("/message3", get(|State(app): State<Arc<App>>| async move { message(&app, "A third") }))
        .route("/movies", get(list).post(add))
        .route("/movies/{id}", get(get_one))
        .route(METRICS, get(|State(app): State<Arc<App>>| async move { exposition(&app.registry) }))
        .fallback(unknown_path)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(Arc::clone(&app), measure))
        .with_state(app)
}

/// Counts every request but the scrapes themselves.
async fn measure(
    State(app): State<Arc<App>>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let path = path.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    let method = method_label(request.method());
    let start = Instant::now();
    let response = next.run(request).await;
    if path != METRICS {
        app.metrics.observe(method, path, response.status().as_str(), start.elapsed());
    }
    response
}

async fn welcome(State(app): State<Arc<App>>) -> Response {
    let message = format!("Welcome to Movies app! I am running inside {} pod!", app.host);
    Json(json!({ "message": message })).into_response()
}

fn message(app: &App, which: &str) -> Response {
    let message = format!("You've hit {}. {which} very interesting message.", app.host);
    Json(json!({ "message": message })).into_response()
}

/// A film as clients see it.
#[derive(Serialize)]
struct FilmBody {
    id: String,
    title: String,
    year: i32,
}

impl From<Film> for FilmBody {
    fn from(film: Film) -> Self {
        Self { id: film.id.to_hex(), title: film.title, year: film.year }
    }
}

async fn list(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let films: Vec<FilmBody> = app.catalogue.list().await?.into_iter().map(FilmBody::from).collect();
    Ok(Json(json!({ "data": films })).into_response())
}

async fn get_one(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Failure> {
    let unknown = || Failure::new(StatusCode::NOT_FOUND, "no movie has this id; GET /movies lists them");
    let id = ObjectId::parse_str(&id).map_err(|_not_an_id| unknown())?;
    let film = app.catalogue.get(id).await?.ok_or_else(unknown)?;
    Ok(Json(json!({ "movie": FilmBody::from(film) })).into_response())
}

#[derive(Deserialize)]
struct NewFilm {
    title: String,
    year: i32,
}

/// Takes any content type: `curl -d` says that its JSON is a form.
async fn add(State(app): State<Arc<App>>, body: Result<Bytes, BytesRejection>) -> Result<Response, Failure> {
    let body = body.map_err(|rejection| Failure::new(rejection.status(), rejection.body_text()))?;
    let film: NewFilm = serde_json::from_slice(&body).map_err(|error| {
        let why = format!(
            r#"the body is not a movie: {error}; send {{"title": "The Sound of Music", "year": 1965}}"#
        );
        Failure::new(StatusCode::BAD_REQUEST, why)
    })?;
    app.catalogue.add(film.title, film.year).await?;
    Ok(Json(json!({ "message": "Movie saved successfully!" })).into_response())
}

async fn unknown_path() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "no such path; try / or /movies")
}

/// An answer that says what went wrong: `{"error": "…"}`.
struct Failure {
    status: StatusCode,
    error: String,
}

impl Failure {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }
}

impl From<CatalogueError> for Failure {
    fn from(error: CatalogueError) -> Self {
        let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        tracing::debug!("{error}{cause}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}{cause}"))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error }))).into_response()
    }
}
