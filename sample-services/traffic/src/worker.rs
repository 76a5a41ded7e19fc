//! One worker: pick a path, ask, report, wait for its next turn.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::Args;
use crate::client::{Client, RequestError};
use crate::mix::Mix;
use crate::observe::{Observer, Outcome};

/// The pause after a failed request when nothing else paces the worker: a refused connection is known within
/// microseconds, and asking again at once would burn a processor.
const BACK_OFF: Duration = Duration::from_millis(10);

/// What a worker does.
pub(crate) struct Plan {
    client: Client,
    mix: Mix,
    pace: Option<Pace>,
}

/// How far behind its turns a worker may be and still make up for it. Short hitches then do not lower the
/// rate, and a fault is not followed by a burst.
const SLACK: Duration = Duration::from_millis(50);

/// The worker's turns: every `period`, the first one after `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    period: Duration,
    offset: Duration,
}

impl Pace {
    /// Each worker has an equal share of the rate, and the workers take turns evenly.
    fn new(rate: u32, workers: u16, number: u16) -> Self {
        let between_requests = Duration::from_secs(1) / rate.max(1);
        Self { period: between_requests * u32::from(workers), offset: between_requests * u32::from(number) }
    }

    fn start(self, now: Instant) -> Turns {
        Turns { next: now + self.offset, period: self.period }
    }
}

/// When a worker is due.
#[derive(Debug)]
struct Turns {
    next: Instant,
    period: Duration,
}

impl Turns {
    /// The time of the next request, which may have passed. Turns missed by more than [`SLACK`] are lost.
    fn take(&mut self, now: Instant) -> Instant {
        let due = if now > self.next + SLACK { now } else { self.next };
        self.next = due + self.period;
        due
    }
}

impl Plan {
    /// The part of worker `number`, counted from 0.
    pub(crate) fn new(args: &Args, number: u16) -> Self {
        Self {
            client: Client::new(args.url.clone(), args.timeout),
            mix: args.mix.clone(),
            pace: (!args.unthrottled).then(|| Pace::new(args.rate, args.workers, number)),
        }
    }
}

/// Works until `stop`; the request in flight is finished first.
pub(crate) async fn run(plan: Plan, observer: Arc<Observer>, stop: CancellationToken) {
    let Plan { mut client, mix, pace } = plan;
    let mut turns = pace.map(|pace| pace.start(Instant::now()));
    let mut failing = false;
    loop {
        let turn = async {
            match &mut turns {
                Some(turns) => sleep_until(turns.take(Instant::now()).into()).await,
                None if failing => sleep(BACK_OFF).await,
                // Lets the other tasks run where the server always answers at once.
                None => tokio::task::yield_now().await,
            }
        };
        if stop.run_until_cancelled(turn).await.is_none() {
            return;
        }
        let path = mix.pick();
        let (time, start) = (SystemTime::now(), Instant::now());
        let answer = client.get(path).await;
        let elapsed = start.elapsed();
        failing = answer.is_err();
        let outcome = match answer {
            Ok(status) => Outcome::Status(status),
            Err(RequestError::Timeout) => Outcome::Timeout,
            Err(error) => {
                tracing::debug!(path, error = &error as &dyn std::error::Error, "no answer");
                Outcome::Error
            }
        };
        observer.record(path, outcome, time, elapsed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_the_rate_and_take_turns() {
        let ms = Duration::from_millis;
        let paces: Vec<Pace> = (0..4).map(|number| Pace::new(500, 4, number)).collect();
        assert_eq!(paces.iter().map(|pace| pace.period).collect::<Vec<_>>(), [ms(8); 4]);
        assert_eq!(paces.iter().map(|pace| pace.offset).collect::<Vec<_>>(), [ms(0), ms(2), ms(4), ms(6)]);
    }

    #[test]
    fn short_hitches_are_made_up_for_and_long_ones_are_not() {
        let start = Instant::now();
        let ms = |ms: u64| start + Duration::from_millis(ms);
        let mut turns = Pace { period: Duration::from_millis(10), offset: Duration::ZERO }.start(start);
        // When the worker asks, and when it is due.
        let cases = [(0, 0), (1, 10), (35, 20), (35, 30), (36, 40), (200, 200), (200, 210)];
        for (now, due) in cases {
            assert_eq!(turns.take(ms(now)), ms(due), "at {now} ms");
        }
    }
}
