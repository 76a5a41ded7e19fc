//! Watches: the stream of one client, fed by the store through a bounded queue.
//!
//! An event is in the queue before the write that caused it is answered; nothing here polls.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use super::request::WatchOptions;
use super::store::Scope;
use super::{Inner, StatusError};

/// One line of a watch.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub(super) kind: &'static str,
    /// The encoded object.
    pub(super) object: Bytes,
}

impl Event {
    fn line(&self) -> Bytes {
        [br#"{"type":""#, self.kind.as_bytes(), br#"","object":"#, &self.object, b"}\n"].concat().into()
    }
}

/// One client's watch.
struct Watch {
    server: Arc<Inner>,
    table: usize,
    first: VecDeque<Event>,
    queue: mpsc::Receiver<Event>,
    deadline: Instant,
    bookmarks: Option<Interval>,
}

/// Starts a watch and gives its lines, without end until its timeout.
pub(super) fn open(
    server: &Arc<Inner>,
    table: usize,
    scope: Scope,
    options: &WatchOptions,
) -> impl Stream<Item = Bytes> + use<> {
    let mut store = server.store();
    let (first, queue) = match store.watch(table, scope, options.since) {
        Ok((mut first, queue)) => {
            if options.mark_initial_end {
                first.push(bookmark(server, table, store.version(), true));
            }
            (first, queue)
        }
        // As the real server: the request succeeds, and its first and only event is the error.
        Err(oldest) => {
            let status = StatusError::expired(options.since.unwrap_or_default(), oldest).to_value();
            let error = Event { kind: "ERROR", object: status.to_string().into() };
            (vec![error], mpsc::channel(1).1)
        }
    };
    drop(store);
    let every = server.config.bookmark_interval;
    let watch = Watch {
        server: Arc::clone(server),
        table,
        first: first.into(),
        queue,
        deadline: Instant::now() + options.timeout,
        bookmarks: options.bookmarks.then(|| ticks(every)),
    };
    stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        Some((event.line(), watch))
    })
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

impl Watch {
    /// The next event; `None` at the timeout, or when the client was too slow and the store let go of it.
    async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.first.pop_front() {
            return Some(event);
        }
        loop {
            let tick = async {
                match &mut self.bookmarks {
                    Some(ticks) => ticks.tick().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = sleep_until(self.deadline) => {
                    // One last bookmark, so that the client resumes from here.
                    self.bookmarks.take()?;
                    return self.bookmark();
                }
                event = self.queue.recv() => return event,
                _at = tick => {
                    if let Some(event) = self.bookmark() {
                        return Some(event);
                    }
                }
            }
        }
    }

    /// A bookmark of the newest version, unless events before it still wait in the queue: a client that breaks off
    /// right after such a bookmark would never see them.
    fn bookmark(&self) -> Option<Event> {
        let store = self.server.store();
        self.queue.is_empty().then(|| bookmark(&self.server, self.table, store.version(), false))
    }
}

fn bookmark(server: &Inner, table: usize, version: u64, ends_initial_events: bool) -> Event {
    let resource = server.config.resources.get(table);
    let mut metadata = json!({ "resourceVersion": version.to_string(), "creationTimestamp": null });
    if ends_initial_events && let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("annotations".to_owned(), json!({ "k8s.io/initial-events-end": "true" }));
    }
    let object = json!({
        "kind": resource.map_or("", |resource| resource.kind),
        "apiVersion": resource.map_or_else(String::new, super::Resource::api_version),
        "metadata": metadata,
    });
    Event { kind: "BOOKMARK", object: object.to_string().into() }
}
