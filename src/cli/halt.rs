//! `squall halt`: the emergency stop, for a cluster or for the node that it is called on.
//!
//! The write goes first; everything else that the verb does is telling what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::TryStreamExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::reflector::store;
use kube::runtime::watcher::{Event, watcher};
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Api, ResourceExt};

use super::exit::{EXIT_CODES, Exit, Failure, Result};
use super::wait::Wait;
use super::world::{World, WorldArgs};
use super::{Out, follow};
use crate::api::{Halt, HaltSpec, Injection, SYSTEM_NAMESPACE};
use crate::daemon::halt_file;
use crate::experiment::lifecycle::PRESENT;
use crate::experiment::wanted::HaltScope;

/// What the API server makes names from where none is given.
const NAME_BASE: &str = "halt-";

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
        let mut halt = Halt::new(self.name.as_deref().unwrap_or_default(), spec);
        if self.name.is_none() {
            halt.metadata.name = None;
            halt.metadata.generate_name = Some(NAME_BASE.to_owned());
        }
        let world = World::find(world).await?;
        world.announce(out);
        let halts: Api<Halt> = Api::all(world.client.clone());
        let injections: Api<Injection> = Api::namespaced(world.client, SYSTEM_NAMESPACE);
        // Side by side: nothing may come before the write, and what it stops is soon gone.
        let (creation, everything) = (PostParams::default(), ListParams::default());
        let (created, known) = futures::join!(halts.create(&creation, &halt), injections.list(&everything));
        let created = created.map_err(|error| failed("create a Halt", &error))?;
        let label = label(&created);
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
        let name = created.name_any();
        out.say(&format!("nothing that it covers starts until `squall halt --release {name}`"));
        Ok(Exit::Success)
    }

    async fn release(&self, name: Option<&str>, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        let world = World::find(world).await?;
        world.announce(out);
        let halts: Api<Halt> = Api::all(world.client);
        let known =
            halts.list(&ListParams::default()).await.map_err(|error| failed("list the Halts", &error))?.items;
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
        for halt in &released {
            match halts.delete(&halt.name_any(), &DeleteParams::default()).await {
                Ok(_) => out.line(&format!("{} released", label(halt)))?,
                // Somebody else was faster.
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => return Err(failed(&format!("release {}", label(halt)), &error)),
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

/// An answer of the API server, with the way around it if it gave none.
fn failed(doing: &str, error: &kube::Error) -> Failure {
    let failure = Failure::api(doing, error);
    match error {
        kube::Error::Api(status) if status.is_already_exists() => {
            failure.cure("it is in force already; release it first, or give this one another --name")
        }
        kube::Error::Api(_) => failure,
        _ => failure.cure("without an API server, run `squall halt --local` on each node"),
    }
}

/// `halt.squall.dev/NAME`, as kubectl names an object.
fn label(halt: &Halt) -> String {
    format!("halt.squall.dev/{}", halt.name_any())
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

/// One line for each experiment that the Halt stops.
fn stopped(scope: &HaltScope, injections: &[Injection]) -> Vec<String> {
    let over = |injection: &Injection| injection.status.as_ref().is_some_and(|status| status.ended.is_some());
    let mut experiments: BTreeMap<_, (usize, BTreeSet<&str>)> = BTreeMap::new();
    for injection in injections.iter().filter(|injection| scope.covers(&injection.spec) && !over(injection)) {
        let of = &injection.spec.experiment;
        let (targets, nodes) = experiments.entry((&of.kind, &of.namespace, &of.name)).or_default();
        *targets += injection.spec.targets.len();
        nodes.insert(&injection.spec.node);
    }
    let line = |((kind, namespace, name), (targets, nodes)): (
        (&String, &String, &String),
        (usize, BTreeSet<&str>),
    )| {
        let nodes = nodes.into_iter().collect::<Vec<_>>().join(", ");
        let word = if targets == 1 { "target" } else { "targets" };
        format!("stops {} {namespace}/{name}: {targets} {word} on {nodes}", kind.to_ascii_lowercase())
    };
    experiments.into_iter().map(line).collect()
}

/// Waits until nothing that the scope covers is injected. What may still be after `timeout`, one line each.
async fn wait_until_clear(api: Api<Injection>, scope: &HaltScope, timeout: Duration) -> Vec<String> {
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
    fn what_it_stops_is_summed_up_by_experiment() {
        let over = json!({"ended": "DurationElapsed"});
        let all = [
            injection("cut", "m1", &["a", "b"], &Value::Null),
            injection("cut", "m2", &["b"], &Value::Null),
            injection("other", "m1", &["c"], &Value::Null),
            injection("over", "m1", &["a"], &over),
        ];
        let everything = [
            "stops networkchaos default/cut: 3 targets on m1, m2",
            "stops networkchaos default/other: 1 target on m1",
        ];
        assert_eq!(stopped(&HaltScope::All, &all), everything);
        let some = HaltScope::Namespaces(vec!["b".to_owned()]);
        assert_eq!(stopped(&some, &all), everything[..1]);
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
