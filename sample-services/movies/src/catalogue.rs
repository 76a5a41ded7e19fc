//! The films in the database. Everything here ends within the time that `--db-timeout` gives, whatever the
//! network does.

use std::future::{Future, IntoFuture};
use std::time::Duration;

use futures::TryStreamExt;
use mongodb::bson::doc;
use mongodb::bson::oid::ObjectId;
use mongodb::options::ClientOptions;
use mongodb::{Client, Collection};
use serde::{Deserialize, Serialize};

/// The most films that one listing returns, so that a full database cannot make answers without bound.
const LISTING_LIMIT: u32 = 1_000;

/// How often the driver looks whether the database is there: the least that the driver allows (MongoDB's
/// "Server Monitoring" specification). It bounds how long an outage outlives its cause.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Why the database gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogueError {
    #[error("the connection string '{uri}' is wrong: write mongodb://HOST:PORT")]
    ConnectionString {
        uri: String,
        #[source]
        source: mongodb::error::Error,
    },
    #[error("the database did not answer within {0:?}")]
    Timeout(Duration),
    #[error("the database failed")]
    Database(#[from] mongodb::error::Error),
}

/// A film as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Film {
    #[serde(rename = "_id")]
    pub(crate) id: ObjectId,
    pub(crate) title: String,
    pub(crate) year: i32,
}

/// Access to the collection `movies` of the database `dev`.
#[derive(Clone)]
pub(crate) struct Catalogue {
    films: Collection<Film>,
    timeout: Duration,
}

impl Catalogue {
    /// Prepares the driver. It connects in the background, so the server starts without a database too.
    pub(crate) async fn connect(uri: &str, timeout: Duration) -> Result<Self, CatalogueError> {
        let wrong = |source| CatalogueError::ConnectionString { uri: uri.to_owned(), source };
        let mut options = ClientOptions::parse(uri).await.map_err(wrong)?;
        options.app_name.get_or_insert_with(|| "movies".to_owned());
        // The driver's own limits are 30 s and 10 s; a partition would hold requests and the monitor that long.
        options.server_selection_timeout = Some(timeout);
        options.connect_timeout = Some(timeout);
        options.heartbeat_freq.get_or_insert(HEARTBEAT);
        if options.hosts.len() == 1 && options.repl_set_name.is_none() {
            options.direct_connection.get_or_insert(true);
        }
        let films = Client::with_options(options).map_err(wrong)?.database("dev").collection("movies");
        Ok(Self { films, timeout })
    }

    /// The films in the order they were saved, at most [`LISTING_LIMIT`].
    pub(crate) async fn list(&self) -> Result<Vec<Film>, CatalogueError> {
        self.within(async {
            let limit = LISTING_LIMIT;
            self.films.find(doc! {}).limit(limit.into()).batch_size(limit).await?.try_collect().await
        })
        .await
    }

    /// One film, or None when there is none with this id.
    pub(crate) async fn get(&self, id: ObjectId) -> Result<Option<Film>, CatalogueError> {
        self.within(self.films.find_one(doc! { "_id": id }).into_future()).await
    }

    /// Saves a film under a new id.
    pub(crate) async fn add(&self, title: String, year: i32) -> Result<(), CatalogueError> {
        let film = Film { id: ObjectId::new(), title, year };
        self.within(self.films.insert_one(film).into_future()).await.map(drop)
    }

    /// The driver has no limit for a whole operation. Dropping its future closes the connection, so that an
    /// answer that comes too late is never taken for the answer to the next question.
    async fn within<T>(
        &self,
        operation: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T, CatalogueError> {
        match tokio::time::timeout(self.timeout, operation).await {
            Ok(result) => Ok(result?),
            Err(_elapsed) => Err(CatalogueError::Timeout(self.timeout)),
        }
    }
}
