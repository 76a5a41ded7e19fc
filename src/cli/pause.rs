//! `squall pause`: takes the fault of an experiment away for a while. `squall resume` shares the code.
//!
//! Only the annotation is written; the controller and the daemons do the rest. What is waited for is what
//! they read back.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};

use super::apply::Target;
use super::exit::{EXIT_CODES, Exit, Failure, Result};
use super::progress::{self, Stage};
use super::remaining::{self, Remaining};
use super::wait::Wait;
use super::which::Which;
use super::world::WorldArgs;
use super::{Out, follow, run, stop};
use crate::api::{ChaosStatus, ConditionKind, Injection, PAUSE_ANNOTATION};
use crate::experiment::lifecycle;

/// How often the daemons' answers are looked at once the controller has said its word.
const LOOK: Duration = Duration::from_millis(100);

/// Take the fault of an experiment away for a while
///
/// The fault is undone on every node and what remains of the duration stands still until `squall resume`. Waits
/// until every node has read back that nothing is left.
#[derive(clap::Args, Debug)]
#[command(after_long_help = format!("Examples:
  squall pause networkchaos partition
  squall pause -f templates/partition.yaml
  squall pause netchaos/partition -n staging --no-wait

{EXIT_CODES}"))]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    wait: Wait,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        Turn::Pause.run(&self.which, self.wait, world, out).await
    }
}

/// Which way the annotation is turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The fault goes, the time stands still.
    Pause,
    /// The fault comes back for the rest of the time.
    Resume,
}

/// What came of waiting.
enum Reached {
    /// What was asked for.
    Yes,
    /// The experiment was over before; why.
    Over(String),
    /// Somebody deleted the experiment.
    Gone,
    /// Not in time; what the controller said last.
    Late(Box<ChaosStatus>),
}

impl Turn {
    const fn verb(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Resume => "resumed",
        }
    }

    /// Turns these experiments; none of them if one cannot be.
    pub(super) async fn run(
        self,
        which: &Which,
        wait: Wait,
        world: &WorldArgs,
        out: &mut Out,
    ) -> Result<Exit> {
        let (world, targets) = which.find(self.verb(), world, out).await?;
        let mut uids = Vec::new();
        for target in &targets {
            uids.push(self.allowed(target).await?);
        }
        let annotation = match self {
            Self::Pause => json!("true"),
            Self::Resume => json!(null),
        };
        let patch = Patch::Merge(json!({"metadata": {"annotations": {PAUSE_ANNOTATION: annotation}}}));
        for target in &targets {
            let patched = target.api.patch(&target.name, &PatchParams::default(), &patch).await;
            patched.map_err(|error| Failure::api(format!("{} {}", self.verb(), target.label()), &error))?;
        }
        let deadline = Instant::now() + wait.timeout;
        let mut exit = Exit::Success;
        for (target, uid) in targets.iter().zip(uids) {
            if wait.no_wait {
                out.line(&format!("{} is being {}", target.label(), self.done()))?;
                continue;
            }
            let reached = self.reached(target, &uid, &world.client, deadline, out).await?;
            match self.report(target, reached, &uid, &world.client, out).await? {
                Exit::Success => {}
                other => exit = other,
            }
        }
        Ok(exit)
    }

    /// The UID of the experiment, if it can be turned.
    async fn allowed(self, target: &Target) -> Result<String> {
        let (label, namespace) = (target.label(), &target.namespace);
        let failed = |error| Failure::api(format!("{} {label}", self.verb()), &error);
        let object = target.api.get_opt(&target.name).await.map_err(failed)?.ok_or_else(|| {
            Failure::message(format!("{label} does not exist in namespace {namespace}"))
                .cure("`squall status` lists the experiments of all namespaces")
        })?;
        match self.hindrance(&object, target) {
            Some((what, cure)) => Err(Failure::message(format!("{label} {what}")).cure(cure)),
            None => Ok(object.uid().unwrap_or_default()),
        }
    }

    /// Why this experiment cannot be turned, and what to do.
    fn hindrance(self, object: &DynamicObject, target: &Target) -> Option<(String, String)> {
        let paused = object.annotations().get(PAUSE_ANNOTATION).is_some_and(|value| value == "true");
        let (word, name) = (&target.kind.resource.plural, &target.name);
        let command = |verb: &str| format!("`squall {verb} {word} {name} -n {}`", target.namespace);
        if object.metadata.deletion_timestamp.is_some() {
            let cure = format!("{} waits until it is gone", command("stop"));
            return Some(("is being stopped".to_owned(), cure));
        }
        match progress::stage(&run::status(object)) {
            Stage::Recovered { reason, .. } => {
                let cure = "start it again with `squall run -f FILE`";
                return Some((format!("is over already: {reason}"), cure.to_owned()));
            }
            Stage::Recovering => {
                let cure = format!("{} shows what is still being undone", command("status"));
                return Some(("is over and being undone".to_owned(), cure));
            }
            Stage::Invalid(why) => {
                let cure = "change the file and apply it again";
                return Some((format!("cannot run: {why}"), cure.to_owned()));
            }
            Stage::Active => {}
        }
        match self {
            Self::Pause if paused => {
                Some(("is paused already".to_owned(), format!("{} lets it go on", command("resume"))))
            }
            Self::Resume if !paused => {
                Some(("is not paused".to_owned(), format!("{} shows how it stands", command("status"))))
            }
            Self::Pause | Self::Resume => None,
        }
    }

    /// Waits until what was asked for was read back on every node.
    async fn reached(
        self,
        target: &Target,
        uid: &str,
        client: &Client,
        deadline: Instant,
        out: &mut Out,
    ) -> Result<Reached> {
        let mut states = pin!(follow::object(target.api.clone(), &target.name));
        let mut last = ChaosStatus::default();
        while let Ok(Some(state)) = timeout_at(deadline, states.next()).await {
            let object = match state {
                Ok(Some(object)) if object.uid().as_deref() == Some(uid) => object,
                Ok(_) => return Ok(Reached::Gone),
                // The watch tries again by itself; the deadline ends it.
                Err(_) => continue,
            };
            last = run::status(&object);
            if let Stage::Recovered { reason, .. } = progress::stage(&last) {
                return Ok(Reached::Over(reason));
            }
            if self.holds(&last) {
                return Ok(match self {
                    Self::Pause if timeout_at(deadline, answered(client, uid)).await.is_err() => {
                        Reached::Late(Box::new(last))
                    }
                    Self::Pause | Self::Resume => Reached::Yes,
                });
            }
            let counts = last.experiment.targets.unwrap_or_default();
            let (word, count) = match self {
                Self::Pause => ("recovered", counts.recovered),
                Self::Resume => ("injected", counts.injected),
            };
            out.live(&format!("{}: {word} {count}/{}", target.label(), counts.selected))?;
        }
        Ok(Reached::Late(Box::new(last)))
    }

    /// Whether the status says that it is so.
    fn holds(self, status: &ChaosStatus) -> bool {
        let paused = status.is(ConditionKind::Paused);
        let none_selected = status.experiment.targets.is_none_or(|targets| targets.selected == 0);
        match self {
            Self::Pause => paused && (none_selected || status.is(ConditionKind::AllRecovered)),
            Self::Resume => !paused && status.is(ConditionKind::AllInjected),
        }
    }

    async fn report(
        self,
        target: &Target,
        reached: Reached,
        uid: &str,
        client: &Client,
        out: &mut Out,
    ) -> Result<Exit> {
        let label = target.label();
        out.end_live()?;
        match reached {
            Reached::Yes => {
                // Who may not see the nodes' parts does not learn what remains.
                let injections = remaining::injections(client, uid).await.unwrap_or_default();
                let left = match Remaining::of(&injections, Timestamp::now()) {
                    Remaining::Unknown => String::new(),
                    Remaining::UntilStopped => "; it has no end but `squall stop`".to_owned(),
                    time @ Remaining::Time(_) => format!("; {} remain", time.text().unwrap_or_default()),
                };
                out.line(&format!("{label} {}{left}", self.done()))?;
                Ok(Exit::Success)
            }
            Reached::Over(reason) => {
                out.say(&format!("{label} was over before it was {}: {reason}", self.done()));
                Ok(Exit::Error)
            }
            Reached::Gone => {
                out.say(&format!("{label} was deleted by somebody else; nothing of it is left"));
                Ok(Exit::Aborted)
            }
            Reached::Late(status) => Ok(match self {
                Self::Pause => {
                    stop::report_left(target, out).await;
                    Exit::NotRecovered
                }
                Self::Resume => {
                    out.say(&format!("{label} is not injected everywhere in time:"));
                    for line in missing(&status) {
                        out.say(&format!("  {line}"));
                    }
                    out.say("  to do: it is tried again by itself; `squall doctor` shows whether the controller and the daemons answer");
                    Exit::Error
                }
            }),
        }
    }
}

/// What is not in place, one line per target.
fn missing(status: &ChaosStatus) -> Vec<String> {
    let records = status.experiment.container_records.iter();
    let missing = records.filter(|record| record.phase == crate::api::RecordPhase::NotInjected);
    let lines: Vec<_> = missing
        .map(|record| {
            let failed = record.events.last().filter(|event| event.kind == "Failed");
            let why = failed.and_then(|event| event.message.as_deref()).unwrap_or("not yet injected");
            format!("{}: {why}", record.id)
        })
        .collect();
    if lines.is_empty() { vec!["no target is known yet".to_owned()] } else { lines }
}

/// Waits until the daemon of every node has answered to the pause itself: a status from before may say that
/// nothing is there because it was not there yet. Who may not see the Injections has the controller's word.
async fn answered(client: &Client, uid: &str) {
    while let Ok(injections) = remaining::injections(client, uid).await {
        if injections.iter().all(is_away) {
            return;
        }
        sleep(LOOK).await;
    }
}

fn is_away(injection: &Injection) -> bool {
    injection.spec.paused
        && injection.status.as_ref().is_some_and(|status| {
            status.observed_generation >= injection.metadata.generation.unwrap_or_default()
                && status.wanted.as_deref().is_some_and(|wanted| wanted != lifecycle::PRESENT)
                && status.all_clear()
        })
}
