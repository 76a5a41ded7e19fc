//! `squall halt`: the emergency stop, for a cluster or for the node that it is called on.
//!
//! The write goes first; everything else that the verb does is telling what became of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::TryStreamExt;
use kube::api::ListParams;
use kube::runtime::reflector::store;
use kube::runtime::watcher::{Event, watcher};
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Api, ResourceExt};

use super::Out;
use super::exit::{EXIT_CODES, Exit, Failure, Result};
use super::wait::Wait;
use super::world::{World, WorldArgs};
use crate::api::{Halt, HaltSpec, Injection, SYSTEM_NAMESPACE};
use crate::daemon::halt_file;
use crate::experiment::lifecycle::PRESENT;
use crate::experiment::wanted::HaltScope;
use crate::operations::{follow, halt};
use crate::report::stopped;

/// Undo every fault at once, and let none start until it is released
///
/// Writes one Halt object, which every daemon obeys by itself, and waits until each has undone its faults and read that
/// back. What a Halt stopped is finished, reason Halted: releasing it starts nothing again. Experiments that are created
/// while it exists wait, and begin when it is released.
///
/// With --local it works without an API server: a file in the daemons' state folder stops the daemons of this machine.
#[derive(clap::Args, Debug)]
#[command(after_long_help = format!("Examples:
  squall halt
  squall halt --namespace shop --namespace billing --reason \"incident 4711\"
  squall halt --release
  squall halt --local --reason \"no API server\"
  squall halt --local --release

{EXIT_CODES}"))]
pub(crate) struct Args {
    /// Halt only faults with a target in this namespace; may be repeated
    #[arg(short, long, value_name = "NAME", conflicts_with_all = ["release", "local"])]
    namespace: Vec<String>,
    /// Why, for people
    #[arg(long, value_name = "TEXT", conflicts_with = "release")]
    reason: Option<String>,
    /// Name of the Halt; without it, one is made
    #[arg(long, value_name = "NAME", conflicts_with_all = ["release", "local"])]
    name: Option<String>,
    /// Release a Halt: the one of this name, or the only one
    #[arg(long, value_name = "NAME", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "clap's form of an option whose value may be left out")]
    release: Option<Option<String>>,
    /// Release every Halt
    #[arg(long, requires = "release", conflicts_with = "local")]
    all: bool,
    /// Halt the daemons of this machine, by a file
    #[arg(long)]
    local: bool,
    /// Where the daemons of this machine look for it, for --local
    #[arg(long, env = "SQUALL_STATE_DIR", value_name = "FOLDER", default_value = "/var/lib/squall")]
    state_dir: PathBuf,
    #[command(flatten)]
    wait: Wait,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        match (self.local, &self.release) {
            (true, None) => put_file(&self.state_dir, self.reason.as_deref(), out),
            (true, Some(None)) => remove_file(&self.state_dir, out),
            (true, Some(Some(name))) => {
                Err(Failure::bad_input(format!("the Halt of a machine has no name \"{name}\""))
                    .cure("write `squall halt --local --release`"))
            }
            (false, None) => self.create(world, out).await,
            (false, Some(name)) => {
                if self.all && name.is_some() {
                    return Err(Failure::bad_input("--release NAME and --all exclude each other")
                        .cure("write one of them"));
                }
                self.release(name.as_deref(), world, out).await
            }
        }
    }

    async fn create(self, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        let spec = HaltSpec { namespaces: self.namespace, reason: self.reason };
        let scope = HaltScope::from(&spec);
        let world = World::find(world).await?;
        world.announce(out);
        let injections: Api<Injection> = Api::namespaced(world.client.clone(), SYSTEM_NAMESPACE);
        // Side by side: nothing may come before the write, and what it stops is soon gone.
        let everything = ListParams::default();
        let write = halt::create(&world.client, spec, self.name.as_deref());
        let (created, known) = futures::join!(write, injections.list(&everything));
        let name = created?;
        let label = halt::label(&name);
        let what = match &scope {
            HaltScope::All => "everything".to_owned(),
            HaltScope::Namespaces(names) => format!("faults in {}", names.join(", ")),
        };
        out.line(&format!("{label} created: halts {what}"))?;
        match known {
            Ok(known) => {
                for line in stopped(&scope, &known.items) {
                    out.line(&line)?;
                }
            }
            // The Halt is in force; the list was only for the reader.
            Err(error) => out.say(&Failure::api("list what it stops", &error).to_string()),
        }
        if !self.wait.no_wait {
            let left = wait_until_clear(injections, &scope, self.wait.timeout).await;
            if !left.is_empty() {
                out.say(&format!("not undone after {:?}:", self.wait.timeout));
                for line in left {
                    out.say(&format!("  {line}"));
                }
                out.say(
                    "  to do: `squall doctor` shows whether the daemons answer; `squall halt --local` stops one on its own machine",
                );
                return Ok(Exit::NotRecovered);
            }
            out.line("nothing of it is injected")?;
        }
        out.say(&format!("nothing that it covers starts until `squall halt --release {name}`"));
        Ok(Exit::Success)
    }

    async fn release(&self, name: Option<&str>, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        let world = World::find(world).await?;
        world.announce(out);
        let known = halt::list(&world.client).await?;
        let (released, left): (Vec<_>, Vec<_>) = match (name, known.len()) {
            (Some(name), _) => known.into_iter().partition(|halt| halt.name_any() == name),
            (None, 0..=1) => (known, Vec::new()),
            (None, _) if self.all => (known, Vec::new()),
            (None, _) => {
                return Err(Failure::bad_input(format!("there are several Halts: {}", names(&known)))
                    .cure("write `squall halt --release NAME`, or `squall halt --release --all`"));
            }
        };
        if released.is_empty() {
            if let Some(name) = name {
                return Err(Failure::message(format!("there is no Halt \"{name}\""))
                    .cure("`squall get halts` lists them"));
            }
            out.say("there is no Halt");
            return Ok(Exit::Success);
        }
        for name in released.iter().map(ResourceExt::name_any) {
            // Nothing is said of one that somebody else was faster with.
            if halt::release(&world.client, &name).await? {
                out.line(&format!("{} released", halt::label(&name)))?;
            }
        }
        if left.is_empty() {
            out.say("what was stopped is finished and does not start again");
        } else {
            out.say(&format!("still in force: {}", names(&left)));
        }
        Ok(Exit::Success)
    }
}

fn names(halts: &[Halt]) -> String {
    halts.iter().map(ResourceExt::name_any).collect::<Vec<_>>().join(", ")
}

fn put_file(state_dir: &Path, reason: Option<&str>, out: &mut Out) -> Result<Exit> {
    let path = halt_file::put(state_dir, reason.unwrap_or_default()).map_err(|error| {
        Failure::new(error)
            .cure("run it as who runs the daemon, and name its folder with --state-dir if it is another one")
    })?;
    out.line(&format!("{} written: the daemons of this machine undo everything", path.display()))?;
    out.say("nothing starts here until `squall halt --local --release`");
    Ok(Exit::Success)
}

fn remove_file(state_dir: &Path, out: &mut Out) -> Result<Exit> {
    let removed = halt_file::remove(state_dir)
        .map_err(|error| Failure::new(error).cure("run it as who wrote the file, or as root"))?;
    if removed {
        out.line("this machine is released")?;
        out.say("what was stopped is finished and does not start again");
    } else {
        out.say("this machine is not halted");
    }
    Ok(Exit::Success)
}

/// Whether the fault may be in place. One that its daemon has not spoken of may be any moment.
fn may_be_injected(injection: &Injection) -> bool {
    injection.status.as_ref().is_none_or(|status| {
        status.wanted.as_deref().is_none_or(|word| word == PRESENT) || !status.all_clear()
    })
}

/// Waits until nothing that the scope covers is injected. What may still be after `timeout`, one line each.
pub(super) async fn wait_until_clear(
    api: Api<Injection>,
    scope: &HaltScope,
    timeout: Duration,
) -> Vec<String> {
    let (known, writer) = store();
    let events = reflector(writer, watcher(api, follow::watch_config())).default_backoff();
    let mut events = std::pin::pin!(events);
    let left = || -> Vec<_> {
        let covered = |injection: &Injection| scope.covers(&injection.spec) && may_be_injected(injection);
        known.state().into_iter().filter(|injection| covered(injection)).collect()
    };
    let mut listed = false;
    let clear = async {
        while !listed || !left().is_empty() {
            // What fails is tried again, further and further apart.
            listed |= matches!(events.try_next().await, Ok(Some(Event::InitDone)));
        }
    };
    if tokio::time::timeout(timeout, clear).await.is_ok() {
        return Vec::new();
    }
    if !listed {
        return vec!["the API server does not say what is injected".to_owned()];
    }
    let line = |injection: &Injection| {
        let of = &injection.spec.experiment;
        format!("{} {}/{} on {}", of.kind.to_ascii_lowercase(), of.namespace, of.name, injection.spec.node)
    };
    left().iter().map(|injection| line(injection)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn injection(experiment: &str, node: &str, namespaces: &[&str], status: &Value) -> Injection {
        let target = |namespace| json!({"namespace": namespace, "pod": "p", "uid": "u", "selectorKey": "."});
        let targets: Vec<_> = namespaces.iter().map(target).collect();
        serde_json::from_value(json!({
            "apiVersion": "squall.dev/v1alpha1", "kind": "Injection", "metadata": {"name": "i"},
            "spec": {
                "experiment": {"kind": "NetworkChaos", "namespace": "default", "name": experiment, "uid": "u"},
                "node": node, "targets": targets, "fault": {}, "run": 1,
                "notAfter": "2026-01-01T00:00:00Z", "lease": "30s",
            },
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn only_what_a_daemon_has_read_back_is_undone() {
        let with = |wanted: &str, phase: &str| {
            let target = json!({"namespace": "a", "pod": "p", "uid": "u", "selectorKey": ".",
                "phase": phase, "since": "2026-01-01T00:00:00Z"});
            json!({"wanted": wanted, "targets": [target]})
        };
        for (status, expected) in [
            (Value::Null, true),
            (json!({}), true),
            (with("Present", "Injected"), true),
            (with("Present", "Waiting"), true),
            (with("Halted", "Injected"), true),
            (with("Halted", "Stuck"), true),
            (with("Halted", "Recovered"), false),
            (with("Halted", "Waiting"), false),
        ] {
            assert_eq!(may_be_injected(&injection("cut", "m1", &["a"], &status)), expected, "{status}");
        }
    }
}
