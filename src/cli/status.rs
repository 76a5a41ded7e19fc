//! `squall status`: all experiments at a glance, or one of them in depth.
//!
//! Reads and never writes. What it prints as JSON is described in docs/output.md, and scripts rely on it.

use clap::ValueEnum;
use jiff::Timestamp;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client};
use serde::Serialize;

use super::exit::{Exit, Failure, Result};
use super::world::{World, WorldArgs};
use super::{Out, which};
use crate::api::{Injection, SYSTEM_NAMESPACE};
use crate::operations::{Kind, Target, survey};
use crate::report::{INSTALL, Overview, Remaining};

/// Show all experiments, or one in depth
///
/// Without a name: phase, targets and remaining time of every experiment of all namespaces. With one: its
/// conditions, what each node read back from its kernel, interruptions, what happened when, and what to do.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  squall status
  squall status networkchaos partition
  squall status -n staging -o json")]
pub(crate) struct Args {
    /// Kind and name of one experiment: `networkchaos partition` or `networkchaos/partition`
    #[arg(value_name = "KIND NAME", num_args = 0..=2)]
    experiment: Vec<String>,
    /// Only experiments of this namespace
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t)]
    output: Form,
}

/// Forms of what a verb reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Text for people
    #[default]
    Table,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        let named = which::named(&self.experiment, "status")?;
        let world = World::find(world).await?;
        if let Some((kind, name)) = named {
            let namespace = world.namespace(self.namespace.as_deref());
            let target = Target::named(&world.client, kind, namespace, name);
            let detail = survey::detail(&world.client, &target).await?;
            if !print(self.output, &detail, out)? {
                detail.lines(Timestamp::now()).iter().try_for_each(|line| out.line(line))?;
            }
        } else {
            let all = self.all(&world.client).await?;
            if !print(self.output, &all, out)? {
                if all.is_empty() {
                    out.say("No experiments found");
                }
                Overview::table(&all, Timestamp::now()).iter().try_for_each(|line| out.line(line))?;
            }
        }
        Ok(Exit::Success)
    }

    async fn all(&self, client: &Client) -> Result<Vec<Overview>> {
        // Who may not see the nodes' parts does without the remaining time.
        let injections = Api::<Injection>::namespaced(client.clone(), SYSTEM_NAMESPACE);
        let injections =
            injections.list(&ListParams::default()).await.map_or_else(|_| Vec::new(), |all| all.items);
        let now = Timestamp::now();
        let mut all = Vec::new();
        let mut served = false;
        for kind in Kind::experiments() {
            let Some(objects) = list(client, &kind, self.namespace.as_deref()).await? else { continue };
            served = true;
            for object in objects {
                let uid = object.metadata.uid.as_deref().unwrap_or_default();
                let own = injections.iter().filter(|injection| injection.spec.experiment.uid == uid);
                all.push(Overview::new(&kind.resource.kind, &object, Remaining::of(own, now)));
            }
        }
        if !served {
            return Err(Failure::message("the API server has no kind of experiment").cure(INSTALL));
        }
        all.sort_by(|a, b| (&a.namespace, &a.kind, &a.name).cmp(&(&b.namespace, &b.kind, &b.name)));
        Ok(all)
    }
}

/// The experiments of a kind; nothing if the API server does not have the kind.
async fn list(client: &Client, kind: &Kind, namespace: Option<&str>) -> Result<Option<Vec<DynamicObject>>> {
    match kind.api(client, namespace).list(&ListParams::default()).await {
        Ok(list) => Ok(Some(list.items)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => {
            let failure = Failure::api(format!("list {}", kind.resource.plural), &error);
            let is_refused = matches!(&error, kube::Error::Api(status) if status.code == 403);
            Err(if is_refused && namespace.is_none() {
                failure.cure("name a namespace that you may read: -n NAME")
            } else {
                failure
            })
        }
    }
}

/// Prints a report as JSON or YAML; `false` if it is wanted as text.
pub(crate) fn print(form: Form, report: &impl Serialize, out: &mut Out) -> Result<bool> {
    match form {
        Form::Table => return Ok(false),
        Form::Json => out.line(&serde_json::to_string_pretty(report)?)?,
        Form::Yaml => out.bytes(serde_yaml::to_string(report).map_err(Failure::new)?.as_bytes())?,
    }
    Ok(true)
}
