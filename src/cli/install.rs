//! `squall install`: everything that a cluster needs, applied in order, until it runs.

use std::time::Duration;

use kube::Client;
use tokio::time::Instant;

use super::Out;
use super::exit::{Exit, Failure, Result};
use super::seconds;
use super::world::{World, WorldArgs};
use crate::api::{PROTECTED_NAMESPACES, SYSTEM_NAMESPACE};
use crate::install::{DEFAULT_IMAGE, FLOW_CONTROL, Options, Part, everything};
use crate::operations::{Trouble, installation};
use crate::report::Change;

/// How often it is looked whether everything runs.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Install Squall in a cluster, or upgrade it
///
/// Applies CRDs, the namespace squall-system, accounts with their rights, admission policies, two controllers and a daemon
/// on each node, and waits until all of them run. What is as it should be already is left alone: run it as often as you like.
/// An upgrade ends no experiment; while a node's daemon is replaced, the faults of that node are undone for some seconds.
///
/// Nothing is applied if Chaos Mesh is there, Kubernetes is older than 1.32, or you lack a right that it takes. Only a share of its
/// own of the API server's attention (flowcontrol.apiserver.k8s.io) can be done without: what that means is said.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  squall install
  squall install --image my-registry/squall:0.1.0
  squall install --protect ingress --protect monitoring
  squall install --dry-run=client -o yaml > squall.yaml")]
pub(crate) struct Args {
    /// The image: of a registry that the nodes can pull from, or one that every node has
    #[arg(long, value_name = "IMAGE", default_value = DEFAULT_IMAGE)]
    image: String,
    /// When nodes pull it
    #[arg(long, value_enum, value_name = "POLICY", default_value_t = PullPolicy::IfNotPresent)]
    pull_policy: PullPolicy,
    /// No experiment may reach this namespace either; may be repeated
    #[arg(long, value_name = "NAMESPACE")]
    protect: Vec<String>,
    /// Experiments may reach this namespace, which is protected otherwise: kube-system
    #[arg(long, value_name = "NAMESPACE", value_parser = ["kube-system"])]
    unprotect: Option<String>,
    /// Print what would be applied, and ask no cluster
    #[arg(long, value_enum, value_name = "WHERE")]
    dry_run: Option<DryRun>,
    /// How it is printed
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Form::Yaml, requires = "dry_run")]
    output: Form,
    /// How long to wait until everything runs, in seconds or with a unit (90s, 5m)
    #[arg(long, visible_alias = "wait-timeout", value_name = "TIME", default_value = "5m", value_parser = seconds)]
    timeout: Duration,
    /// Do not wait
    #[arg(long)]
    no_wait: bool,
}

/// `imagePullPolicy`.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum PullPolicy {
    /// Where the node has no such image
    #[value(name = "IfNotPresent")]
    IfNotPresent,
    /// At each start
    #[value(name = "Always")]
    Always,
    /// Never: every node has it
    #[value(name = "Never")]
    Never,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum DryRun {
    /// Here, as kubectl calls it
    Client,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Form {
    Yaml,
    Json,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        let mut parts = everything(&self.options());
        if self.dry_run.is_some() {
            return print(&parts, self.output, out);
        }
        let world = World::find(world).await?;
        if world.is_playground() {
            return Err(Failure::bad_input("a playground has everything installed")
                .cure("name a cluster with --context or --kubeconfig"));
        }
        world.announce(out);
        demand_fit(&world.client, &mut parts, out).await?;
        let mut changed = 0;
        for part in &parts {
            let change = installation::apply(&world.client, part).await?;
            out.line(&format!("{} {}", part.label(), change.word()))?;
            changed += usize::from(change != Change::Unchanged);
        }
        out.say(&match changed {
            0 => "everything is unchanged".to_owned(),
            some => format!("{some} of {} objects are new or changed", parts.len()),
        });
        if self.no_wait {
            return Ok(Exit::Success);
        }
        wait(&world.client, self.timeout, out).await
    }

    fn options(&self) -> Options {
        let mut protected: Vec<_> = PROTECTED_NAMESPACES.map(str::to_owned).into();
        protected.extend(self.protect.iter().cloned());
        protected.retain(|namespace| self.unprotect.as_ref() != Some(namespace));
        protected.sort();
        protected.dedup();
        let pull_policy = match self.pull_policy {
            PullPolicy::IfNotPresent => "IfNotPresent",
            PullPolicy::Always => "Always",
            PullPolicy::Never => "Never",
        };
        Options { image: self.image.clone(), pull_policy: pull_policy.to_owned(), protected }
    }
}

/// Prints what would be applied: documents of YAML, or a list as JSON.
fn print(parts: &[Part], form: Form, out: &mut Out) -> Result<Exit> {
    match form {
        Form::Yaml => {
            for part in parts {
                out.bytes(b"---\n")?;
                out.bytes(serde_yaml::to_string(&part.value).map_err(Failure::new)?.as_bytes())?;
            }
        }
        Form::Json => {
            let items: Vec<_> = parts.iter().map(|part| &part.value).collect();
            let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items });
            out.line(&serde_json::to_string_pretty(&list)?)?;
        }
    }
    Ok(Exit::Success)
}

/// Nothing is applied to a cluster that it could not work in, or only in part. What it can work without is left out of
/// `parts` where the cluster does not take it, and that is said.
async fn demand_fit(client: &Client, parts: &mut Vec<Part>, out: &mut Out) -> Result<()> {
    if let Some(why) = installation::unfit(client).await? {
        return Err(why.into());
    }
    let verbs = ["get", "create", "patch"];
    let needed: Vec<_> = parts.iter().filter(|part| !installation::is_of_fair_share(part)).cloned().collect();
    installation::demand_rights(client, &verbs, &needed, "nothing was installed").await?;
    if let Some(lacks) = installation::no_fair_share(client, &verbs, parts).await? {
        out.say(&format!("without the objects of {FLOW_CONTROL}: {}", lacks.what));
        for line in lacks.why.iter().chain(lacks.cure.map(|cure| format!("to do: {cure}")).iter()) {
            out.say(&format!("  {line}"));
        }
        *parts = needed;
    }
    Ok(())
}

/// Waits until everything runs, with a line for each step forward.
async fn wait(client: &Client, timeout: Duration, out: &mut Out) -> Result<Exit> {
    let end = Instant::now() + timeout;
    let mut said = String::new();
    loop {
        // An API server that is away for a moment is asked again.
        let ready = installation::readiness(client).await;
        let line = match &ready {
            Ok(ready) => ready.line(),
            Err(trouble) => trouble.whole(),
        };
        if line != said {
            out.say(&line);
            said = line;
        }
        if ready.is_ok_and(|ready| ready.is_complete()) {
            return Ok(Exit::Success);
        }
        if Instant::now() >= end {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let pods = installation::unready(client).await.unwrap_or_default();
    for pod in &pods {
        out.say(&format!("  {pod}"));
    }
    let cure = if pods.iter().any(|pod| pod.contains("ImagePull") || pod.contains("ErrImageNeverPull")) {
        "give the nodes the image, or name one that they can pull with --image (docs/install.md)".to_owned()
    } else {
        format!(
            "look at the pods with kubectl describe pods -n {SYSTEM_NAMESPACE}, then run squall install again"
        )
    };
    let what = format!("everything is applied, and does not run after {timeout:?}");
    Err(Trouble::new(what).cure(cure).into())
}
