//! Who acts: the holder of the leader Lease. Its renewals are at the same time the heartbeat by which
//! every daemon knows that somebody is there to end its faults.
//!
//! The holder steps down when two thirds of the Lease have passed without a renewal; others take it
//! after the whole of it. Only differences on one machine's own clock count, as in client-go.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::{CONTROLLER_LEASE, SYSTEM_NAMESPACE};

/// The times of leader election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    /// How long a Lease holds without a renewal; whole seconds, one at least.
    pub duration: Duration,
    /// How often it is renewed, and how often others look whether it is free.
    pub renew_every: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self { duration: Duration::from_secs(15), renew_every: Duration::from_secs(2) }
    }
}

/// What keeps a controller from the Lease.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot {operation} Lease {SYSTEM_NAMESPACE}/{CONTROLLER_LEASE}")]
    Api {
        operation: &'static str,
        #[source]
        source: kube::Error,
    },
    #[error("no answer about Lease {SYSTEM_NAMESPACE}/{CONTROLLER_LEASE} in {0:?}")]
    Silence(Duration),
}

/// Contends for the Lease until `stop`, and says in `leading` whether it is held. Gives it back at the end.
pub(super) async fn contend(
    client: Client,
    identity: String,
    times: LeaseTimes,
    leading: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let mut elector = Elector::new(client, identity, times);
    while !stop.is_cancelled() {
        let began = Instant::now();
        let result = elector.attempt(began).await;
        elector.log(result);
        let leads = elector.leads(Instant::now());
        leading.send_if_modified(|leading| std::mem::replace(leading, leads) != leads);
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep_until(elector.next_look(began)) => {}
        }
    }
    leading.send_replace(false);
    let result = elector.give_back().await;
    elector.log(result);
}

struct Elector {
    api: Api<Lease>,
    identity: String,
    times: LeaseTimes,
    /// Our own Lease as it was written last, and when that write began.
    held: Option<(Lease, Instant)>,
    /// The Lease of somebody else as it was seen, and since when it has looked like this.
    seen: Option<(LeaseSpec, Instant)>,
    /// Whether the last attempt failed, and was logged.
    failing: bool,
}

impl Elector {
    fn new(client: Client, identity: String, times: LeaseTimes) -> Self {
        let api = Api::namespaced(client, SYSTEM_NAMESPACE);
        Self { api, identity, times, held: None, seen: None, failing: false }
    }

    /// Logs the first of several failures in a row.
    fn log(&mut self, result: Result<(), Error>) {
        let failed = result.is_err();
        if let Err(error) = result
            && !self.failing
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "leader election");
        }
        self.failing = failed;
    }

    /// How long after its last renewal a holder still acts.
    fn patience(&self) -> Duration {
        self.times.duration * 2 / 3
    }

    fn leads(&self, now: Instant) -> bool {
        self.held.as_ref().is_some_and(|(_, renewed)| now < *renewed + self.patience())
    }

    /// The next attempt, or the moment at which a holder must step down if that comes first.
    fn next_look(&self, began: Instant) -> Instant {
        let regular = began + self.times.renew_every;
        match &self.held {
            Some((_, renewed)) if regular > *renewed + self.patience() => {
                (*renewed + self.patience()).max(Instant::now())
            }
            _ => regular.max(Instant::now()),
        }
    }

    /// Renews the Lease, or takes it if it is free.
    async fn attempt(&mut self, now: Instant) -> Result<(), Error> {
        let limit = match &self.held {
            Some((_, renewed)) => (*renewed + self.patience()).saturating_duration_since(now),
            None => self.patience(),
        };
        if limit.is_zero() {
            self.held = None;
            return Ok(());
        }
        tokio::time::timeout(limit, self.renew_or_take(now)).await.unwrap_or(Err(Error::Silence(limit)))
    }

    async fn renew_or_take(&mut self, now: Instant) -> Result<(), Error> {
        if let Some((lease, _)) = self.held.clone() {
            match self.write(lease, now).await {
                // Somebody else has written it: look whose it is.
                Err(Error::Api { source, .. }) if is_conflict(&source) => self.held = None,
                done => return done,
            }
        }
        let read = self.api.get_opt(CONTROLLER_LEASE).await;
        match read.map_err(|source| Error::Api { operation: "read", source })? {
            None => self.create(now).await,
            Some(lease) if self.is_free(&lease, now) => match self.write(lease, now).await {
                // Another contender was quicker.
                Err(Error::Api { source, .. }) if is_conflict(&source) => Ok(()),
                done => done,
            },
            Some(_) => Ok(()),
        }
    }

    /// Whether nobody holds the Lease: nobody is named, it is ours, or it has not changed for as long as
    /// its holder promised to renew it in.
    fn is_free(&mut self, lease: &Lease, now: Instant) -> bool {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return true;
        }
        let promised = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let promised = promised.map_or(self.times.duration, Duration::from_secs);
        match &self.seen {
            Some((seen, since)) if *seen == spec => now >= *since + promised,
            _ => {
                self.seen = Some((spec, now));
                false
            }
        }
    }

    async fn create(&mut self, now: Instant) -> Result<(), Error> {
        let metadata = ObjectMeta { name: Some(CONTROLLER_LEASE.to_owned()), ..ObjectMeta::default() };
        let lease = Lease { metadata, spec: Some(self.spec(None)) };
        match self.api.create(&PostParams::default(), &lease).await {
            Ok(lease) => self.hold(lease, now),
            Err(source) if is_conflict(&source) => {}
            Err(source) => return Err(Error::Api { operation: "create", source }),
        }
        Ok(())
    }

    async fn write(&mut self, mut lease: Lease, now: Instant) -> Result<(), Error> {
        lease.spec = Some(self.spec(lease.spec.as_ref()));
        match self.api.replace(CONTROLLER_LEASE, &PostParams::default(), &lease).await {
            Ok(lease) => self.hold(lease, now),
            Err(source) => return Err(Error::Api { operation: "renew", source }),
        }
        Ok(())
    }

    fn hold(&mut self, lease: Lease, now: Instant) {
        if self.held.is_none() {
            tracing::info!(identity = %self.identity, "leading");
        }
        self.held = Some((lease, now));
        self.seen = None;
    }

    fn spec(&self, old: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let same = old.filter(|old| old.holder_identity.as_ref() == Some(&self.identity));
        let transitions = old.and_then(|old| old.lease_transitions).unwrap_or_default();
        LeaseSpec {
            acquire_time: Some(same.and_then(|old| old.acquire_time.clone()).unwrap_or_else(|| now.clone())),
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.times.duration.as_secs().max(1)).ok(),
            lease_transitions: Some(if same.is_some() { transitions } else { transitions.saturating_add(1) }),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }

    /// Names nobody as the holder, so that the next one need not wait.
    async fn give_back(&mut self) -> Result<(), Error> {
        let Some((mut lease, _)) = self.held.take() else { return Ok(()) };
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        let limit = self.times.renew_every;
        let options = PostParams::default();
        let written = self.api.replace(CONTROLLER_LEASE, &options, &lease);
        let written = tokio::time::timeout(limit, written).await.map_err(|_late| Error::Silence(limit))?;
        written.map(drop).map_err(|source| Error::Api { operation: "give back", source })
    }
}

/// 409: somebody else was quicker, with a change or with the object itself.
fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict() || status.is_already_exists())
}
