//! The controller: turns experiments into Injections and what the daemons read back into their status.
//!
//! All decisions are taken in [`crate::experiment`]; here is what feeds it and carries out what it says.
//! Several controllers may run; only the holder of the leader Lease acts. Nothing is kept that is not
//! in the objects: a controller that starts again goes on where the last one stopped.

mod act;
mod events;
mod leader;
mod resolve;
mod schedule;
mod stores;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::jiff::Timestamp;
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::{ConditionKind, NetworkChaos};
use crate::experiment::lifecycle::{self, Input};
use crate::experiment::{Limits, peers};
use act::{Actor, Outcome};
pub use leader::LeaseTimes;
use resolve::Resolver;
use schedule::Schedule;
use stores::{Key, Stores};

/// How often every experiment is looked at, whether something changed or not: time passes too.
const SWEEP: Duration = Duration::from_secs(2);

/// How long changes of pods, nodes, Services and endpoints are gathered before experiments follow them.
const GATHER: Duration = Duration::from_secs(1);

/// What a controller is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name in the Lease and in events; no two controllers may share one.
    pub identity: String,
    /// How far experiments may reach.
    pub limits: Limits,
    /// The times of leader election.
    pub lease: LeaseTimes,
}

impl Options {
    /// The usual limits and times.
    pub fn new(identity: impl Into<String>) -> Self {
        Self { identity: identity.into(), limits: Limits::default(), lease: LeaseTimes::default() }
    }
}

/// Why a controller ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// A part of it ended; a controller without it would act on what is no longer so.
    #[error("the {0} of the controller ended unexpectedly; start it again")]
    PartEnded(&'static str),
}

/// Runs a controller until `shutdown`. Then the Lease is given back, so that another one can go on at once.
///
/// # Errors
/// A part of it ended by itself.
pub async fn run(
    client: Client,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ControllerError> {
    let stores = Stores::new();
    let mut watches = JoinSet::new();
    stores.watch(&client, &mut watches);
    let (leading, led) = watch::channel(false);
    let stop = CancellationToken::new();
    // A task of its own: renewals do not wait for steps. In a set, so that it ends with this future.
    let mut election = JoinSet::new();
    let identity = options.identity.clone();
    election.spawn(leader::contend(client.clone(), identity, options.lease, leading, stop.clone()));
    let context = Context {
        actor: Actor::new(client, Arc::clone(&stores), &options.identity),
        stores,
        resolver: Resolver::default(),
        limits: options.limits,
    };
    tokio::select! {
        () = shutdown => {}
        _ = watches.join_next() => return Err(ControllerError::PartEnded("watches")),
        _ = election.join_next() => return Err(ControllerError::PartEnded("leader election")),
        () = act_while_leading(&context, led) => return Err(ControllerError::PartEnded("leader election")),
    }
    stop.cancel();
    match election.join_next().await {
        None | Some(Ok(())) => Ok(()),
        Some(Err(_)) => Err(ControllerError::PartEnded("leader election")),
    }
}

/// What every step needs.
struct Context {
    actor: Actor,
    stores: Arc<Stores>,
    resolver: Resolver,
    limits: Limits,
}

/// Acts whenever the Lease is held; drops everything under way when it is lost. Ends when the election does.
async fn act_while_leading(context: &Context, mut led: watch::Receiver<bool>) {
    context.stores.synced().await;
    while led.wait_for(|leading| *leading).await.is_ok() {
        tokio::select! {
            () = act(context) => return,
            lost = led.wait_for(|leading| !*leading) => {
                if lost.is_err() {
                    return;
                }
                // What was under way is dropped with `act`.
                tracing::warn!("not leading any more");
            }
        }
    }
}

/// Looks at experiments as they change and as time passes.
async fn act(context: &Context) {
    let mut schedule = Schedule::default();
    let mut steps = FuturesUnordered::new();
    let mut sweep = Instant::now();
    let mut gathered: Option<Instant> = None;
    loop {
        let now = Instant::now();
        let changes = context.stores.take_changes();
        changes.experiments.into_iter().for_each(|key| schedule.due(key, now));
        if changes.world && gathered.is_none() {
            gathered = Some(now + GATHER);
        }
        let follow = gathered.is_some_and(|at| at <= now);
        if follow {
            gathered = None;
            context.stores.refresh_world();
        }
        if follow || changes.halts || sweep <= now {
            sweep = now + SWEEP;
            context.known().into_iter().for_each(|key| schedule.due(key, now));
        }
        for key in schedule.take(now) {
            steps.push(async move {
                let outcome = context.step(&key).await;
                (key, outcome)
            });
        }
        let wake = schedule.next().into_iter().chain(gathered).chain([sweep]).min().unwrap_or(sweep);
        tokio::select! {
            () = context.stores.changed() => {}
            () = tokio::time::sleep_until(wake) => {}
            Some((key, outcome)) = steps.next() => schedule.done(key, outcome, Instant::now()),
        }
    }
}

impl Context {
    /// Every experiment there is, and every one that an Injection names.
    fn known(&self) -> Vec<Key> {
        let named = self.stores.injections.all().into_iter().map(|injection| {
            let experiment = &injection.spec.experiment;
            (experiment.namespace.clone(), experiment.name.clone())
        });
        self.stores.experiments.keys().into_iter().chain(named).collect()
    }

    /// Takes one step with one experiment.
    async fn step(&self, key: &Key) -> Result<Outcome, act::ActError> {
        let chaos = self.stores.experiments.get(key);
        let uid = chaos.as_ref().and_then(|chaos| chaos.uid()).unwrap_or_default();
        if self.leave_orphans(key, &uid).await? == Outcome::Again {
            return Ok(Outcome::Again);
        }
        let Some(chaos) = chaos else { return Ok(Outcome::Done) };
        // A new experiment is to see the pods that were made just before it.
        if !has_targets(&chaos) {
            self.stores.refresh_world();
        }
        let hosts = self.resolver.resolve(peers::host_names(&chaos.spec.external_targets)).await;
        let halts = self.stores.halts.all();
        let injections = self.stores.injections.filter(|injection| injection.spec.experiment.uid == uid);
        let input = Input {
            chaos: &chaos,
            injections: &injections,
            world: &self.stores.world(),
            hosts: &hosts,
            limits: &self.limits,
            halts: &halts,
            now: Timestamp::now(),
        };
        self.actor.execute(&chaos, lifecycle::step(&input)).await
    }

    /// Lets go of the Injections of earlier experiments of this name. The API server is asked before: a
    /// watch may only be late.
    async fn leave_orphans(&self, key: &Key, uid: &str) -> Result<Outcome, act::ActError> {
        let orphans = self.stores.injections.filter(|injection| {
            let experiment = &injection.spec.experiment;
            experiment.uid != uid && (&experiment.namespace, &experiment.name) == (&key.0, &key.1)
        });
        let actions = lifecycle::abandon(&orphans, &self.stores.world(), Timestamp::now());
        if actions.is_empty() {
            return Ok(Outcome::Done);
        }
        for orphan in &orphans {
            if self.actor.exists(key, &orphan.spec.experiment.uid).await? {
                return Ok(Outcome::Done);
            }
        }
        self.actor.on_injections(actions).await
    }
}

fn has_targets(chaos: &NetworkChaos) -> bool {
    chaos.status.as_ref().is_some_and(|status| status.is(ConditionKind::Selected))
}
