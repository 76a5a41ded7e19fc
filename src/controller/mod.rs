//! The controller: turns experiments into Injections and what the daemons read back into their status.
//!
//! All decisions are taken in [`crate::experiment`]; here is what feeds it and carries out what it says.
//! Several controllers may run; only the holder of the leader Lease acts. Nothing is kept that is not
//! in the objects: a controller that starts again goes on where the last one stopped.

mod act;
mod events;
mod kinds;
mod leader;
mod metrics;
mod pods;
mod resolve;
mod schedule;
mod stores;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::alive::{self, Alive};
use crate::api::ConditionKind;
use crate::experiment::Limits;
use crate::experiment::kind::Experiment;
use crate::experiment::lifecycle::{self, Input};
use crate::experiment::wanted::HaltScope;
use crate::metrics::Metrics;
use act::{Actor, Outcome};
use kinds::ExperimentKey;
pub use leader::LeaseTimes;
use metrics::Times;
use pods::PodFaults;
use resolve::Resolver;
use schedule::Schedule;
use stores::Stores;

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
    /// The image whose containers do nothing, for `pod-failure`; refused with the reason if unset.
    pub failure_image: Option<String>,
    /// Where a sign of life is written, for probes.
    pub alive_file: Option<PathBuf>,
    /// Where it tells about itself, if anybody asked for that.
    pub metrics: Option<Metrics>,
}

impl Options {
    /// The usual limits and times.
    pub fn new(identity: impl Into<String>) -> Self {
        Self {
            identity: identity.into(),
            limits: Limits::default(),
            lease: LeaseTimes::default(),
            failure_image: None,
            alive_file: None,
            metrics: None,
        }
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
    let times = Times::new(options.metrics.as_ref());
    if let Some(all) = &options.metrics {
        all.collect(metrics::World { stores: Arc::clone(&stores), led: led.clone() });
    }
    let signs = give_signs(Arc::clone(&stores), options.alive_file.map(Alive::new));
    let context = Context {
        pods: PodFaults::new(client.clone(), Arc::clone(&stores), options.failure_image),
        actor: Actor::new(client, Arc::clone(&stores), &options.identity),
        times,
        stores,
        resolver: Resolver::default(),
        limits: options.limits,
    };
    tokio::select! {
        () = shutdown => {}
        () = signs => return Err(ControllerError::PartEnded("sign of life")),
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

/// Gives signs of life for ever, in the task that does everything else: if it hangs, they end.
async fn give_signs(stores: Arc<Stores>, alive: Option<Alive>) {
    let Some(mut alive) = alive else { return std::future::pending().await };
    let times = futures::stream::repeat(()).then(|()| tokio::time::sleep(alive::EVERY));
    let mut times = std::pin::pin!(times);
    while times.next().await.is_some() {
        alive.beat(stores.is_synced());
    }
}

/// What every step needs.
struct Context {
    actor: Actor,
    times: Times,
    pods: PodFaults,
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
            let experiments = context.stores.experiments();
            context.actor.forget_others(&experiments);
            context.times.forget_others(&experiments);
            for key in experiments {
                schedule.due(key, now);
            }
            context.mend_forgotten().await;
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
    /// Undoes what nobody remembers. Bounded, so that it holds up nothing else.
    async fn mend_forgotten(&self) {
        match tokio::time::timeout(SWEEP, self.pods.mend_forgotten()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "looking for forgotten pod-failures"
                );
            }
            Err(_late) => tracing::warn!("looking for forgotten pod-failures takes too long"),
        }
    }

    /// Takes one step with one experiment.
    async fn step(&self, key: &ExperimentKey) -> Result<Outcome, act::ActError> {
        let wait = match self.settle_pods(key).await? {
            (Outcome::Again, _) => return Ok(Outcome::Again),
            (_, wait) => wait,
        };
        let chaos = self.stores.experiment(key);
        let uid = chaos.as_ref().map(|chaos| chaos.uid().to_owned()).unwrap_or_default();
        if self.leave_orphans(key, &uid).await? == Outcome::Again {
            return Ok(Outcome::Again);
        }
        let Some(chaos) = chaos else { return Ok(Outcome::Done) };
        self.times.saw(key, &*chaos);
        // A new experiment is to see the pods that were made just before it.
        if !has_targets(&*chaos) {
            self.stores.refresh_world();
        }
        let hosts = self.resolver.resolve(chaos.host_names()).await;
        let halts = self.stores.halts.all();
        let injections = self.stores.injections.filter(|injection| injection.spec.experiment.uid == uid);
        let input = Input {
            chaos: &*chaos,
            injections: &injections,
            world: &self.stores.world(),
            hosts: &hosts,
            limits: &self.limits,
            halts: &halts,
            now: Timestamp::now(),
        };
        let actions = lifecycle::step(&input);
        let outcome = self.actor.execute(key, &*chaos, actions).await?;
        let chaos = self.stores.experiment(key);
        if let Some(chaos) = &chaos {
            self.times.saw(key, &**chaos);
        }
        let status = chaos.as_ref().and_then(|chaos| chaos.status());
        let follow = status.and_then(|status| lifecycle::next_look(status, Timestamp::now()));
        let lag = match outcome {
            Outcome::Again => return Ok(Outcome::Again),
            Outcome::Wait(lag) => Some(lag),
            Outcome::Done => None,
        };
        Ok(wait.into_iter().chain(follow).chain(lag).min().map_or(Outcome::Done, Outcome::Wait))
    }

    /// What every Halt covers.
    fn halts(&self) -> Vec<HaltScope> {
        self.stores.halts.all().iter().map(|halt| HaltScope::from(&halt.spec)).collect()
    }

    /// Does what Injections of this name want of pods, those of earlier experiments too. Gives how long that
    /// is enough.
    async fn settle_pods(
        &self,
        experiment: &ExperimentKey,
    ) -> Result<(Outcome, Option<Duration>), act::ActError> {
        let injections = self.stores.injections.filter(|injection| {
            injection.spec.fault.is_of_controller()
                && ExperimentKey::of(&injection.spec.experiment).as_ref() == Some(experiment)
        });
        let halts = self.halts();
        let mut next: Option<Duration> = None;
        for injection in &injections {
            match self.pods.settle(injection, &halts).await? {
                (Outcome::Again, _) => return Ok((Outcome::Again, None)),
                (_, wait) => next = next.into_iter().chain(wait).min(),
            }
        }
        Ok((Outcome::Done, next))
    }

    /// Lets go of the Injections of earlier experiments of this name. The API server is asked before: a
    /// watch may only be late.
    async fn leave_orphans(&self, key: &ExperimentKey, uid: &str) -> Result<Outcome, act::ActError> {
        let orphans = self.stores.injections.filter(|injection| {
            let experiment = &injection.spec.experiment;
            experiment.uid != uid && ExperimentKey::of(experiment).as_ref() == Some(key)
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

fn has_targets(chaos: &dyn Experiment) -> bool {
    chaos.status().is_some_and(|status| status.is(ConditionKind::Selected))
}
