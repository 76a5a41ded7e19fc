//! `squall run`: one experiment from its start to the proof that it is gone.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::ResourceExt;
use kube::api::DynamicObject;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::exit::{EXIT_CODES, Exit, Failure, Result};
use super::signals::Interrupts;
use super::world::{World, WorldArgs};
use super::{Out, files, seconds, stop};
use crate::api::GoDuration;
use crate::operations::{Target, follow, rights};
use crate::report::{Progress, Right, Stage, Trouble, stage, status};

/// How long the controller may say nothing before the user is asked to look after it.
const SILENCE: Duration = Duration::from_secs(5);

/// How long the API server may be out of reach before the run gives up watching.
const LOST: Duration = Duration::from_mins(2);

/// Run one experiment and watch it until nothing of it is left
///
/// Starts the experiment, shows what was selected, what each node read back from its kernel and how long it
/// still lasts, and ends when everything is undone. Ctrl-C (or SIGTERM) stops the experiment and waits until it is
/// undone; a second Ctrl-C leaves without waiting. A closed terminal leaves the experiment running: it belongs to the
/// controller. Without a duration it runs until Ctrl-C.
#[derive(clap::Args, Debug)]
#[command(after_long_help = format!("Examples:
  squall run -f templates/partition.yaml
  squall run -f experiment.yaml --keep | tee run.log

{EXIT_CODES}"))]
pub(crate) struct Args {
    /// File with one experiment, - for standard input
    #[arg(short, long = "filename", value_name = "FILE")]
    file: PathBuf,
    /// Namespace of an experiment that names none
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Keep the experiment object when it is over
    #[arg(long)]
    keep: bool,
    /// How long recovery may take, in seconds or with a unit (90s, 2m)
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = seconds)]
    timeout: Duration,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        let objects = files::read(&[&self.file], out)?;
        let [object] = objects.as_slice() else {
            return Err(Failure::bad_input(format!(
                "the file has {} experiments; run watches one",
                objects.len()
            ))
            .cure("split the file, or start all of them with `squall apply`"));
        };
        let world = World::find(world).await?;
        world.announce(out);
        let target = Target::new(&world.client, object, self.namespace.as_deref())?;
        // Whoever starts a fault must be able to end it.
        let (group, plural) = (&target.kind.resource.group, &target.kind.resource.plural);
        let delete = Right::new("delete", group, plural, Some(&target.namespace));
        let what = format!("{} is not started: it could not be stopped again", target.label());
        rights::demand(&world.client, &delete, &what).await?;
        // Before the experiment begins: from then on Ctrl-C must stop it.
        let interrupts = Interrupts::new()?;
        let started = target.start(object, self.timeout).await?;
        out.line(&format!("{} created", target.label()))?;
        let run = Run {
            target: &target,
            uid: started.uid(),
            duration: object.duration(),
            keep: self.keep,
            timeout: self.timeout,
            progress: Progress::default(),
            started: Instant::now(),
            injected: None,
            ending: None,
            over: None,
            lost: None,
            stops_when_back: false,
            asked: false,
        };
        let result = run.watch(interrupts, out).await;
        out.end_live()?;
        result
    }
}

/// An experiment that is being watched.
struct Run<'a> {
    target: &'a Target,
    uid: Option<String>,
    duration: Option<Duration>,
    keep: bool,
    timeout: Duration,
    progress: Progress,
    started: Instant,
    /// When the fault was first seen in place.
    injected: Option<Instant>,
    /// The object was deleted: what the run ends in when it is gone, and when it has to be.
    ending: Option<(Exit, Instant)>,
    /// Since when it is over without being recovered.
    over: Option<Instant>,
    /// Since when the API server is out of reach.
    lost: Option<Instant>,
    /// The user wants it stopped, and the API server does not answer.
    stops_when_back: bool,
    /// Whether the user was asked to look after the controller.
    asked: bool,
}

impl Run<'_> {
    async fn watch(mut self, mut interrupts: Interrupts, out: &mut Out) -> Result<Exit> {
        let mut states = pin!(follow::object(self.target.api.clone(), &self.target.name));
        let mut ticks = interval(Duration::from_millis(500));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let exit = tokio::select! {
                biased;
                () = interrupts.next() => self.interrupted(out).await?,
                Some(state) = states.next() => match state {
                    Ok(Some(object)) if object.uid() == self.uid => self.seen(&object, out).await?,
                    Ok(_) => Some(self.gone(out)),
                    Err(error) => {
                        self.unreachable(error, out);
                        None
                    }
                },
                _ = ticks.tick() => self.tick(out).await?,
            };
            if let Some(exit) = exit {
                return Ok(exit);
            }
        }
    }

    async fn interrupted(&mut self, out: &mut Out) -> Result<Option<Exit>> {
        if self.ending.is_some() || self.stops_when_back {
            out.say(&format!(
                "left alone: {} is still being undone; `squall get {} {} -n {}` shows it",
                self.target.label(),
                self.target.kind.resource.plural,
                self.target.name,
                self.target.namespace
            ));
            return Ok(Some(Exit::NotRecovered));
        }
        out.say("stopping; Ctrl-C again leaves without waiting");
        if let Err(failure) = self.end(Exit::Aborted).await {
            out.say(&failure.to_string());
            out.say("it is stopped as soon as the API server answers");
            (self.ending, self.stops_when_back) = (None, true);
        }
        Ok(None)
    }

    /// Deletes the object; the run ends in `exit` when it is gone.
    async fn end(&mut self, exit: Exit) -> Result<()> {
        self.ending = Some((exit, Instant::now() + self.timeout));
        Ok(self.target.delete(self.uid.as_deref()).await?)
    }

    async fn seen(&mut self, object: &DynamicObject, out: &mut Out) -> Result<Option<Exit>> {
        self.back(out);
        for line in self.progress.update(status(object)) {
            out.line(&line)?;
        }
        if self.injected.is_none() && self.progress.is_injected() {
            self.injected = Some(Instant::now());
            let end = self.duration.map_or_else(
                || "runs until Ctrl-C".to_owned(),
                |duration| format!("ends in {}", GoDuration::from_std(duration)),
            );
            out.line(&end)?;
        }
        if self.ending.is_some() {
            return Ok(None);
        }
        match stage(self.progress.status()) {
            Stage::Active => Ok(None),
            Stage::Invalid(why) => {
                out.say(&format!("{} cannot run: {why}", self.target.label()));
                self.finish(Exit::BadInput).await
            }
            Stage::Recovering => {
                self.over.get_or_insert_with(Instant::now);
                Ok(None)
            }
            Stage::Recovered { in_time, reason } => {
                out.line(&format!("over: {reason}"))?;
                self.finish(if in_time { Exit::Success } else { Exit::Aborted }).await
            }
        }
    }

    async fn finish(&mut self, exit: Exit) -> Result<Option<Exit>> {
        if self.keep {
            return Ok(Some(exit));
        }
        self.end(exit).await?;
        Ok(None)
    }

    /// The object is gone, and its finalizer with it: nothing of the fault is left.
    fn gone(&self, out: &mut Out) -> Exit {
        let Some((exit, _)) = self.ending else {
            out.say(&format!("{} was deleted by somebody else", self.target.label()));
            return Exit::Aborted;
        };
        if exit == Exit::Aborted {
            out.say("stopped and recovered");
        }
        exit
    }

    fn back(&mut self, out: &mut Out) {
        if self.lost.take().is_some() {
            out.say("the API server answers again");
        }
    }

    fn unreachable(&mut self, error: kube::runtime::watcher::Error, out: &mut Out) {
        if self.lost.is_none() {
            self.lost = Some(Instant::now());
            let trouble = Trouble::watch(format!("watch {}", self.target.label()), error);
            out.say(&format!("the API server is out of reach, still trying: {trouble}"));
        }
    }

    async fn tick(&mut self, out: &mut Out) -> Result<Option<Exit>> {
        let now = Instant::now();
        if self.lost.is_some_and(|since| now > since + LOST) {
            return Err(Failure::not_recovered("lost the API server").cure(
                "the experiment goes on without this program; `squall get networkchaos` shows it when the server is back",
            ));
        }
        if self.stops_when_back && self.lost.is_none() {
            self.stops_when_back = self.end(Exit::Aborted).await.is_err();
            self.ending = self.ending.filter(|_| !self.stops_when_back);
        }
        let late = self.ending.map(|(_, by)| by).or_else(|| self.over.map(|since| since + self.timeout));
        if late.is_some_and(|by| now > by) {
            stop::report_left(self.target, out).await;
            return Ok(Some(Exit::NotRecovered));
        }
        let silent = self.progress.status().conditions.is_empty() && self.ending.is_none();
        if silent && !self.asked && now > self.started + SILENCE {
            self.asked = true;
            out.say("nothing has happened yet: is the controller running? `squall doctor` shows it");
        }
        if let Some(since) = self.lost {
            out.live(&format!("no API server for {} s; still trying", since.elapsed().as_secs()))?;
            return Ok(None);
        }
        let left = self
            .injected
            .zip(self.duration)
            .map(|(since, duration)| duration.saturating_sub(now.duration_since(since)));
        out.live(&self.progress.live(self.ending.is_some(), left))?;
        Ok(None)
    }
}
