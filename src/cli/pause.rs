//! `squall pause`: takes the fault of an experiment away for a while. `squall resume` shares the code.
//!
//! Only an annotation is written (`crate::operations::turn`); the controller and the daemons do the rest. What
//! is waited for is what they read back.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use kube::{Client, ResourceExt};
use tokio::time::{Instant, sleep, timeout_at};

use super::exit::{EXIT_CODES, Exit, Result};
use super::wait::Wait;
use super::which::Which;
use super::world::WorldArgs;
use super::{Out, stop};
use crate::api::{ChaosStatus, ConditionKind, Injection, SYSTEM_NAMESPACE};
use crate::experiment::lifecycle;
use crate::operations::{Target, follow, rights, survey, turn};
use crate::report::{Remaining, Right, Stage, Trouble, Turn, stage, status};

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

/// What the verbs do beside the write: waiting, and telling what became of it.
impl Turn {
    /// Turns these experiments; none of them if one cannot be.
    pub(super) async fn run(
        self,
        which: &Which,
        wait: Wait,
        world: &WorldArgs,
        out: &mut Out,
    ) -> Result<Exit> {
        let (world, targets) = which.find(self.verb(), world, out).await?;
        let uids = turn(self, &targets).await?;
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
        let (mut last, mut away) = (ChaosStatus::default(), false);
        while let Ok(Some(state)) = timeout_at(deadline, states.next()).await {
            let object = match state {
                Ok(Some(object)) if object.uid().as_deref() == Some(uid) => object,
                Ok(_) => return Ok(Reached::Gone),
                // The watch tries again by itself; the deadline ends it.
                Err(error) => {
                    if !std::mem::replace(&mut away, true) {
                        let trouble = Trouble::watch(format!("watch {}", target.label()), error);
                        out.say(&format!("the API server is out of reach, still trying: {trouble}"));
                    }
                    continue;
                }
            };
            if std::mem::take(&mut away) {
                out.say("the API server answers again");
            }
            last = status(&object);
            if let Stage::Recovered { reason, .. } = stage(&last) {
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
                let injections = survey::injections(client, uid).await.unwrap_or_default();
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
    let list = Right::new("list", "squall.dev", "injections", Some(SYSTEM_NAMESPACE));
    loop {
        match survey::injections(client, uid).await {
            Ok(injections) if injections.iter().all(is_away) => return,
            Err(_) if rights::allowed(client, &list).await == Ok(false) => return,
            // An API server that is away for a moment has said nothing.
            Ok(_) | Err(_) => sleep(LOOK).await,
        }
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
