//! One connection with a cluster: its watches, and the tasks that fetch and change things.
//!
//! Every task hangs on a token: the console's, of it the session's, of it one for each slot that waits for an answer.
//! What changes the cluster hangs on none of them: it is short, it has its own time limit, and half of it would be
//! worse than all.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::deeds;
use super::fetch::Fetch;
use super::measure::Measuring;
use super::slots::Slots;
use super::watch::Watches;
use crate::app::effect::{Deed, Measurement, Request, Slot};
use crate::app::event::Event;
use crate::report::Trouble;

/// How long a change of the cluster may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A connection with a cluster.
pub(super) struct Session {
    client: Client,
    kubeconfig: Option<PathBuf>,
    events: mpsc::Sender<Event>,
    tasks: TaskTracker,
    cancel: CancellationToken,
    waiting: HashMap<Slot, CancellationToken>,
    watches: CancellationToken,
    measuring: Option<Measuring>,
    /// Where the watches leave what changed.
    pub(super) slots: Arc<Slots>,
}

impl Session {
    /// Begins to watch the cluster behind `client`.
    pub(super) fn start(
        client: Client,
        kubeconfig: Option<PathBuf>,
        events: mpsc::Sender<Event>,
        console: &CancellationToken,
    ) -> Self {
        let cancel = console.child_token();
        let mut session = Self {
            client,
            kubeconfig,
            events,
            tasks: TaskTracker::new(),
            watches: cancel.child_token(),
            cancel,
            waiting: HashMap::new(),
            measuring: None,
            slots: Arc::default(),
        };
        session.watch();
        session
    }

    /// Begins every watch anew.
    pub(super) fn watch(&mut self) {
        self.watches.cancel();
        self.watches = self.cancel.child_token();
        let watches = Watches {
            client: self.client.clone(),
            slots: Arc::clone(&self.slots),
            events: self.events.clone(),
            cancel: self.watches.clone(),
        };
        watches.start(&self.tasks);
    }

    /// Fetches something; what the slot waited for before is not wanted any more.
    pub(super) fn load(&mut self, slot: Slot, ticket: u64, request: Request) {
        let token = self.cancel.child_token();
        if let Some(before) = self.waiting.insert(slot, token.clone()) {
            before.cancel();
        }
        let fetch = Fetch {
            client: self.client.clone(),
            events: self.events.clone(),
            slot,
            ticket,
            kubeconfig: self.kubeconfig.clone(),
        };
        // The answer to a plan keeps lists of the whole cluster in its future.
        let answer = Box::pin(fetch.answer(request));
        self.tasks.spawn(async move { token.run_until_cancelled(answer).await });
    }

    /// Nobody waits for this slot any more.
    pub(super) fn cancel(&mut self, slot: Slot) {
        if let Some(token) = self.waiting.remove(&slot) {
            token.cancel();
        }
    }

    /// Measures this from now on.
    pub(super) fn measure(&mut self, measurement: Option<Measurement>) {
        let Some(measurement) = measurement else {
            self.measuring = None;
            return;
        };
        if !self.measuring.as_ref().is_some_and(|measuring| measuring.turn_to(&measurement)) {
            let (client, events) = (self.client.clone(), self.events.clone());
            self.measuring = Some(Measuring::start(measurement, client, events, &self.tasks, &self.cancel));
        }
    }

    /// Changes the cluster.
    pub(super) fn perform(&self, deed: Deed) {
        let (client, events) = (self.client.clone(), self.events.clone());
        self.tasks.spawn(async move {
            let done = tokio::time::timeout(PATIENCE, deeds::perform(&client, &deed)).await;
            let outcome = done.unwrap_or_else(|_elapsed| {
                let what = format!("{}: no answer within {} s", deed.label(), PATIENCE.as_secs());
                Err(Trouble::new(what).cure("it may have been done all the same: look before you try again"))
            });
            // Nobody listens when the console ends.
            drop(events.send(Event::Done { deed, outcome }).await);
        });
    }

    /// Ends everything but what changes the cluster, and waits for that.
    pub(super) async fn end(self) {
        self.cancel.cancel();
        self.tasks.close();
        drop(self.measuring);
        // Who answers nobody is not waited for: the queue of events may be full.
        drop(self.events);
        if tokio::time::timeout(PATIENCE, self.tasks.wait()).await.is_err() {
            tracing::debug!("a change of the cluster was not answered before the console ended");
        }
    }
}
