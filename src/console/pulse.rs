//! Whether the API server still answers. A watch that hears nothing cannot tell a quiet cluster from a dead line.

use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// The time between an answer and the next question.
const INTERVAL: Duration = Duration::from_secs(3);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pulse {
    /// It answers, or it refuses in a way that every watch learns by itself.
    Beats,
    /// It has not answered since then.
    Silent { since: Timestamp },
}

/// Where a watch hears of it.
#[derive(Clone, Debug)]
pub(super) struct Heard(watch::Receiver<Pulse>);

impl Heard {
    /// Waits until the API server is silent, and says since when.
    pub(super) async fn silence(&mut self) -> Timestamp {
        let silent = self.0.wait_for(|pulse| matches!(pulse, Pulse::Silent { .. })).await.map(|pulse| *pulse);
        match silent {
            Ok(Pulse::Silent { since }) => since,
            // Nobody asks any more: the watches end too.
            _ => std::future::pending().await,
        }
    }

    /// Waits until it answers.
    pub(super) async fn answer(&mut self) {
        // Nobody asks any more: the watches end too.
        drop(self.0.wait_for(|pulse| *pulse == Pulse::Beats).await);
    }
}

/// Asks for ever, and what is heard of it. Any answer will do, also a refusal: that it comes is what counts.
pub(super) fn pulse(client: Client) -> (impl Future<Output = ()> + Send + 'static, Heard) {
    let (sender, receiver) = watch::channel(Pulse::Beats);
    let asking = async move {
        let mut last = Timestamp::now();
        loop {
            let pulse = match timeout(PATIENCE, client.apiserver_version()).await {
                Ok(_) => {
                    last = Timestamp::now();
                    Pulse::Beats
                }
                Err(_elapsed) => Pulse::Silent { since: last },
            };
            sender.send_if_modified(|known| std::mem::replace(known, pulse) != pulse);
            if pulse == Pulse::Beats {
                sleep(INTERVAL).await;
            }
        }
    };
    (asking, Heard(receiver))
}
