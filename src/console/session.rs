//! One connection with a cluster: its watches, and the tasks that fetch and change things.
//!
//! Every task hangs on a token: the console's, of it the session's, of it one for each slot that waits for an answer.
//! What changes the cluster hangs on none of them: it is short, it has its own time limit, and half of it would be
//! worse than all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::Client;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::deeds;
use super::fetch::Fetch;
use super::measure::Measuring;
use super::slots::Slots;
use super::watch::Watches;
use crate::app::effect::{Deed, Measurement, Request, Slot};
use crate::app::event::Event;
use crate::app::notice::Severity;
use crate::client::Kubeconfig;
use crate::operations::{installed, rights};
use crate::report::{Right, Trouble};

/// How long a change of the cluster may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// How many rights are asked for at once.
const AT_ONCE: usize = 6;

/// What a connection begins with.
pub(super) struct Start {
    /// The API server.
    pub(super) client: Client,
    /// Where it was found, and other contexts are.
    pub(super) kubeconfig: Option<Kubeconfig>,
    /// The namespace that is shown; all of them without one.
    pub(super) namespace: Option<String>,
}

/// A connection with a cluster.
pub(super) struct Session {
    client: Client,
    kubeconfig: Option<Kubeconfig>,
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
    /// Begins to watch a cluster.
    pub(super) fn start(from: Start, events: mpsc::Sender<Event>, console: &CancellationToken) -> Self {
        let Start { client, kubeconfig, namespace } = from;
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
        session.watch(namespace);
        session.look_whether_it_will_do();
        session
    }

    /// Begins every watch anew; of this namespace, or the client's own, where all of them may not be listed.
    pub(super) fn watch(&mut self, namespace: Option<String>) {
        self.watches.cancel();
        self.watches = self.cancel.child_token();
        let watches = Watches {
            namespace: namespace.unwrap_or_else(|| self.client.default_namespace().to_owned()),
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

    /// Says what is wrong with the API server as such: too old, or without our kinds.
    fn look_whether_it_will_do(&self) {
        let (client, events, cancel) = (self.client.clone(), self.events.clone(), self.cancel.clone());
        let looking = async move {
            let mut troubles = installed::kinds(&client).await;
            troubles.extend(installed::version(&client).await.ok().and_then(|(_, old)| old));
            for trouble in troubles {
                drop(events.send(Event::Noted { severity: Severity::Warning, trouble }).await);
            }
        };
        self.tasks.spawn(async move { cancel.run_until_cancelled(looking).await });
    }

    /// Asks for these rights, several at once. What is not answered stays unknown.
    pub(super) fn review(&self, rights: Vec<Right>) {
        let (client, events) = (self.client.clone(), self.events.clone());
        let cancel = self.cancel.clone();
        let asking = async move {
            let who = rights::who(&client).await.ok();
            let asked = futures::stream::iter(rights).map(|right| {
                let client = client.clone();
                async move {
                    let answer = timeout(PATIENCE, rights::allowed(&client, &right)).await;
                    let answer = answer.ok().and_then(Result::ok);
                    (right, answer)
                }
            });
            let answers = asked.buffer_unordered(AT_ONCE).collect().await;
            // Nobody listens when the console ends.
            drop(events.send(Event::Reviewed { who, answers }).await);
        };
        self.tasks.spawn(async move { cancel.run_until_cancelled(asking).await });
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
            let done = timeout(PATIENCE, deeds::perform(&client, &deed)).await;
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
        if timeout(PATIENCE, self.tasks.wait()).await.is_err() {
            tracing::debug!("a change of the cluster was not answered before the console ended");
        }
    }
}
