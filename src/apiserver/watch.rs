//! Watches: the stream of one client, fed by the store through a bounded queue.
//!
//! An event is in the queue before the write that caused it is answered; nothing here polls.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::request::{Target, WatchOptions};
use super::store::Scope;
use super::{Inner, Resource, StatusError};

/// One line of a watch.
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
    resource: Resource,
    first: VecDeque<Event>,
    queue: mpsc::Receiver<Event>,
    deadline: Instant,
    bookmarks: bool,
    next_bookmark: Instant,
    ended: bool,
}

/// Starts a watch and gives its lines, without end until its timeout.
pub(super) fn open(
    server: &Arc<Inner>,
    target: &Target<'_>,
    scope: Scope,
    options: &WatchOptions,
) -> impl Stream<Item = Bytes> + use<> {
    let mut store = server.store();
    let (first, queue) = match store.watch(target.table, scope, options.since) {
        Ok((mut first, queue)) => {
            if options.mark_initial_end {
                first.push(bookmark(target.resource, store.version(), true));
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
    let watch = Watch {
        server: Arc::clone(server),
        resource: target.resource.clone(),
        first: first.into(),
        queue,
        deadline: Instant::now() + options.timeout,
        bookmarks: options.bookmarks,
        next_bookmark: Instant::now() + server.config.bookmark_interval,
        ended: false,
    };
    stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        Some((event.line(), watch))
    })
}

impl Watch {
    /// The next event; `None` at the timeout, or when the client was too slow and the store let go of it. The timeout
    /// comes with a last bookmark, so that the client resumes from there.
    async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.first.pop_front() {
            return Some(event);
        }
        while !self.ended {
            let wake = self.deadline.min(self.next_bookmark);
            tokio::select! {
                biased;
                () = sleep_until(wake) => {
                    self.ended = wake == self.deadline;
                    self.next_bookmark = wake + self.server.config.bookmark_interval;
                    if let Some(event) = self.bookmark() {
                        return Some(event);
                    }
                }
                event = self.queue.recv() => return event,
            }
        }
        None
    }

    /// A bookmark of the newest version, unless events before it still wait in the queue: a client that breaks off
    /// right after such a bookmark would never see them.
    fn bookmark(&self) -> Option<Event> {
        let store = self.server.store();
        (self.bookmarks && self.queue.is_empty()).then(|| bookmark(&self.resource, store.version(), false))
    }
}

fn bookmark(resource: &Resource, version: u64, ends_initial_events: bool) -> Event {
    let version = version.to_string();
    let annotations =
        if ends_initial_events { json!({ "k8s.io/initial-events-end": "true" }) } else { json!({}) };
    let metadata =
        json!({ "resourceVersion": version, "annotations": annotations, "creationTimestamp": null });
    let object = json!({ "kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata });
    Event { kind: "BOOKMARK", object: object.to_string().into() }
}
