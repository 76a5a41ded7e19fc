//! `squall uninstall`: undoes every fault, then removes what `squall install` made.

use std::io::IsTerminal as _;
use std::time::Duration;

use kube::{Api, Client};

use super::Out;
use super::exit::{EXIT_CODES, Exit, Failure, Result};
use super::halt::wait_until_clear;
use super::seconds;
use super::world::{World, WorldArgs};
use crate::api::{Injection, SYSTEM_NAMESPACE};
use crate::experiment::wanted::HaltScope;
use crate::install::{self, Options, Part};
use crate::operations::installation::{demand_rights, is_of_fair_share, no_fair_share, removal};
use crate::report::Right;

/// Undo every fault, and remove Squall from a cluster
///
/// Shows what is there and what runs. Then it stops everything with a Halt, waits until every daemon has read back that its
/// faults are gone, deletes all experiments, and removes controllers and daemons, accounts, policies, the namespace, and at last
/// the kinds. What cannot be shown to be undone ends it before a daemon is removed: run it again when the node is well.
#[derive(clap::Args, Debug)]
#[command(after_long_help = format!("Examples:
  squall uninstall
  squall uninstall --yes --timeout 5m

{EXIT_CODES}"))]
pub(crate) struct Args {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Go on although something may be left on a node; it is listed
    #[arg(long)]
    force: bool,
    /// How long to wait for each step, in seconds or with a unit (90s, 5m); a daemon that does not answer takes its lease and 10 s
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = seconds)]
    timeout: Duration,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        let world = World::find(world).await?;
        if world.is_playground() {
            return Err(Failure::bad_input("a playground is not uninstalled")
                .cure("end it with `squall playground --stop`"));
        }
        world.announce(out);
        let client = &world.client;
        let mut parts = install::everything(&Options::default());
        let verbs = ["get", "delete"];
        if let Some(lacks) = no_fair_share(client, &verbs, &parts).await? {
            out.say(&format!(
                "objects of {} are left alone, if there are any: {}",
                install::FLOW_CONTROL,
                lacks.what
            ));
            parts.retain(|part| !is_of_fair_share(part));
        }
        let parts = removal::present(client, &parts).await?;
        if parts.is_empty() {
            out.say("nothing of Squall is installed");
            return Ok(Exit::Success);
        }
        let experiments = removal::experiments(client).await?;
        for part in &parts {
            out.line(&format!("{} is to be removed", part.label()))?;
        }
        for experiment in &experiments {
            out.line(&format!("{} is to be ended and deleted", experiment.label))?;
        }
        if !self.yes && !confirmed(out)? {
            return Err(Failure::bad_input("nothing was removed").cure("say yes, or write --yes"));
        }
        demand_rights(client, &verbs, &parts, "nothing was removed").await?;
        let mut exit = Exit::Success;
        if removal::is_served(client).await? {
            for right in rights() {
                crate::operations::rights::demand(client, &right, "nothing was removed").await?;
            }
            exit = self.undo(client, out).await?;
            if exit != Exit::Success && !self.force {
                return Ok(exit);
            }
        }
        self.remove(client, &parts, out).await?;
        Ok(exit)
    }

    /// Takes every fault away, and everything that remembers one.
    async fn undo(&self, client: &Client, out: &mut Out) -> Result<Exit> {
        removal::halt_everything(client).await?;
        out.say(&format!("halt.squall.dev/{} stops everything", removal::HALT));
        let injections: Api<Injection> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
        for line in wait_until_clear(injections, &HaltScope::All, self.timeout).await {
            out.say(&format!("not undone after {:?}: {line}", self.timeout));
        }
        removal::delete_experiments(client, &removal::experiments(client).await?).await?;
        let mut said = String::new();
        let mut progress = async || -> Result<bool> {
            let left = removal::injections(client).await?.len();
            let experiments = removal::experiments(client).await?.len();
            let line = format!("{experiments} experiments and {left} Injections are left");
            if line != said {
                out.say(&line);
                said = line;
            }
            Ok(left == 0 && experiments == 0)
        };
        // An API server that is away for a moment is asked again.
        if removal::until(self.timeout, async || progress().await.unwrap_or(false)).await {
            return Ok(Exit::Success);
        }
        self.let_go(client, out).await
    }

    /// What no controller lets go of: it may not run any more.
    async fn let_go(&self, client: &Client, out: &mut Out) -> Result<Exit> {
        let left = removal::leftovers(client).await?;
        for (_, why) in &left.free {
            if let Some(why) = why {
                out.say(&format!("not read back: {why}"));
            }
        }
        for line in &left.held {
            out.say(&format!("not undone: {line}"));
        }
        if !left.held.is_empty() && !self.force {
            out.say(
                "  to do: see to the node, and run squall uninstall again; or write --force to remove Squall although \
                 this may be left",
            );
            return Ok(Exit::NotRecovered);
        }
        // The policy is against whoever is not the controller.
        for part in install::policies(&Options::default()) {
            removal::delete(client, &part).await?;
        }
        for injection in removal::injections(client).await? {
            removal::release_injection(client, &injection).await?;
        }
        removal::release_experiments(client, &removal::experiments(client).await?).await?;
        Ok(if left.held.is_empty() { Exit::Success } else { Exit::NotRecovered })
    }

    /// Removes what was there of the installation: what runs, what it may do, where it was, and the kinds.
    async fn remove(&self, client: &Client, parts: &[Part], out: &mut Out) -> Result<()> {
        let options = Options::default();
        let stages = [
            install::workloads(&options),
            install::policies(&options),
            install::accounts(),
            install::flows(),
            install::surroundings(),
            install::definitions(),
        ];
        for (index, stage) in stages.into_iter().enumerate() {
            let stage: Vec<Part> = stage.into_iter().rev().filter(|part| parts.contains(part)).collect();
            for part in &stage {
                if removal::delete(client, part).await? {
                    out.line(&format!("{} removed", part.label()))?;
                }
            }
            let gone = removal::gone(client, &stage, self.timeout).await
                && (index > 0 || removal::pods_gone(client, self.timeout).await);
            if !gone {
                let names: Vec<_> = stage.iter().map(Part::label).collect();
                return Err(Failure::message(format!(
                    "not gone after {:?}, one of: {}",
                    self.timeout,
                    names.join(", ")
                ))
                .cure("see with kubectl describe what holds it, then run squall uninstall again"));
            }
        }
        Ok(())
    }
}

/// What it takes beside the rights to delete the parts themselves.
fn rights() -> Vec<Right> {
    let mut rights = vec![Right::new("create", "squall.dev", "halts", None)];
    for kind in crate::api::custom_kinds().iter().filter(|kind| kind.kind != "Halt") {
        let verbs = ["list", "delete", "patch"];
        rights.extend(verbs.map(|verb| Right::new(verb, kind.group, kind.plural, None)));
    }
    rights
}

/// Asks at the terminal; without one there is nobody to ask.
fn confirmed(out: &mut Out) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    out.say("end all of that and remove it? write yes:");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
