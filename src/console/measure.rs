//! Measures the application: asks its pods, keeps what they answer, and sends once a second what the dashboard shows.
//!
//! The loop of the console must not wait for a large answer to be read, so the monitor is handed from one task of the
//! blocking pool to the next: only one has it at a time.

use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::effect::Measurement;
use crate::app::event::Event;
use crate::app::notice::Severity;
use crate::report::Trouble;
use crate::steady_state::board::Board;
use crate::steady_state::dashboard::INTERVAL;
use crate::steady_state::discovery::Endpoint;
use crate::steady_state::monitor::Monitor;
use crate::steady_state::scrape::{Scraped, Scraper};

/// How many answers may wait to be read. Whose answer waits is not asked again, so that slow reading asks less often.
const QUEUE: usize = 8;

/// What is measured now.
pub(super) struct Measuring {
    board: Arc<Board>,
    endpoints: watch::Sender<Vec<Endpoint>>,
    cancel: CancellationToken,
}

/// A dashboard that is measured by nobody any more ends.
impl Drop for Measuring {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Measuring {
    /// Begins to measure.
    pub(super) fn start(
        measurement: Measurement,
        client: Client,
        events: mpsc::Sender<Event>,
        tasks: &TaskTracker,
        session: &CancellationToken,
    ) -> Self {
        let Measurement { board, endpoints } = measurement;
        let cancel = session.child_token();
        let (asked, of_scraper) = watch::channel(endpoints);
        let (answers, scraped) = mpsc::channel(QUEUE);
        tasks.spawn(Scraper::new(client).run(of_scraper, answers, cancel.clone()));
        let work = Work { board: Arc::clone(&board), asked: asked.subscribe(), scraped, events };
        let until = cancel.clone();
        tasks.spawn(async move { until.run_until_cancelled(work.go_on()).await });
        Self { board, endpoints: asked, cancel }
    }

    /// Goes on with other pods; false if it is another dashboard, whose past is not this one's.
    pub(super) fn turn_to(&self, measurement: &Measurement) -> bool {
        let is_same = Arc::ptr_eq(&self.board, &measurement.board);
        is_same && self.endpoints.send(measurement.endpoints.clone()).is_ok()
    }
}

struct Work {
    board: Arc<Board>,
    asked: watch::Receiver<Vec<Endpoint>>,
    scraped: mpsc::Receiver<Scraped>,
    events: mpsc::Sender<Event>,
}

impl Work {
    async fn go_on(mut self) {
        let mut monitor = Monitor::new(Board::clone(&self.board));
        let mut turns = interval(INTERVAL);
        turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
        self.asked.mark_changed();
        loop {
            let worked = tokio::select! {
                biased;
                changed = self.asked.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let endpoints = self.asked.borrow_and_update().clone();
                    apart(monitor, move |monitor| monitor.ask(&endpoints, Timestamp::now())).await
                }
                _ = turns.tick() => self.send(monitor).await,
                scraped = self.scraped.recv() => {
                    let Some(scraped) = scraped else { return };
                    apart(monitor, move |monitor| take(monitor, scraped)).await
                }
            };
            match worked {
                Some(worked) => monitor = worked,
                None => return self.gave_up().await,
            }
        }
    }

    /// Sends what the dashboard shows now.
    async fn send(&self, monitor: Monitor) -> Option<Monitor> {
        let evaluated = tokio::task::spawn_blocking(move || (monitor.frame(Timestamp::now()), monitor)).await;
        let (frame, monitor) = evaluated.ok()?;
        // Nobody listens when the console ends.
        drop(self.events.send(Event::Measured(Box::new(frame))).await);
        Some(monitor)
    }

    async fn gave_up(&self) {
        let what = "an error of the console's own ended the measuring";
        let trouble = Trouble::new(what).cure("choose the dashboard again, and report it with `:dump`");
        drop(self.events.send(Event::Noted { severity: Severity::Error, trouble }).await);
    }
}

fn take(monitor: &mut Monitor, scraped: Scraped) {
    let Scraped { endpoint, at_ms, outcome } = scraped;
    match outcome {
        Ok(answer) => monitor.answered(&endpoint, at_ms, answer.body(), answer.format),
        Err(error) => monitor.failed(&endpoint, at_ms, format!("{error}: {}", error.cure())),
    }
}

/// Lets a thread of the blocking pool do it; nothing if it panicked.
async fn apart(mut monitor: Monitor, work: impl FnOnce(&mut Monitor) + Send + 'static) -> Option<Monitor> {
    let done = tokio::task::spawn_blocking(move || {
        work(&mut monitor);
        monitor
    });
    done.await.ok()
}
