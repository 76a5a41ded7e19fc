//! `squall status`: all experiments at a glance, or one of them in depth.
//!
//! Reads and never writes. What it prints as JSON is described in docs/output.md, and scripts rely on it.

mod detail;
mod overview;

use clap::ValueEnum;
use jiff::Timestamp;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client};
use serde::Serialize;

use super::exit::{Exit, Failure, Result};
use super::kinds::Kind;
use super::world::{World, WorldArgs};
use super::{Out, remaining, which};
use crate::api::{Injection, SYSTEM_NAMESPACE};
use overview::Overview;

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
            let namespace = world.namespace(None, self.namespace.as_deref());
            let detail = detail::gather(&world.client, &kind, &namespace, &name).await?;
            if !print(self.output, &detail, out)? {
                detail.lines(Timestamp::now()).iter().try_for_each(|line| out.line(line))?;
            }
        } else {
            let all = self.all(&world.client).await?;
            if !print(self.output, &all, out)? {
                if all.is_empty() {
                    out.say("No experiments found");
                }
                overview::lines(&all, Timestamp::now()).iter().try_for_each(|line| out.line(line))?;
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
        for kind in which::kinds() {
            for object in list(client, &kind, self.namespace.as_deref()).await? {
                let uid = object.metadata.uid.as_deref().unwrap_or_default();
                let own = injections.iter().filter(|injection| injection.spec.experiment.uid == uid);
                all.push(Overview::new(&kind, &object, remaining::Remaining::of(own, now)));
            }
        }
        all.sort_by(|a, b| (&a.namespace, &a.kind, &a.name).cmp(&(&b.namespace, &b.kind, &b.name)));
        Ok(all)
    }
}

/// The experiments of a kind; none of a kind that the API server does not have.
async fn list(client: &Client, kind: &Kind, namespace: Option<&str>) -> Result<Vec<DynamicObject>> {
    match kind.api(client, namespace).list(&ListParams::default()).await {
        Ok(list) => Ok(list.items),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Vec::new()),
        Err(error) => {
            let failure = Failure::api(format!("list {}", kind.resource.plural), &error);
            Err(if namespace.is_none() {
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

/// What `T` prints and the section of docs/output.md under `heading` does not explain, and the other way round.
#[cfg(test)]
pub(crate) fn undocumented<T: schemars::JsonSchema>(heading: &str) -> Vec<String> {
    let page = include_str!("../../../docs/output.md");
    let section = page.split("\n## ").find(|section| section.starts_with(&format!("`{heading}`"))).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let explained: std::collections::BTreeSet<String> = rows.map(str::to_owned).collect();
    let schema = serde_json::to_value(schemars::schema_for!(T)).unwrap();
    let mut printed = std::collections::BTreeSet::new();
    paths(&schema, &schema, "", &mut printed);
    printed.symmetric_difference(&explained).cloned().collect()
}

/// The paths of all fields that a schema names.
#[cfg(test)]
fn paths(
    root: &serde_json::Value,
    schema: &serde_json::Value,
    at: &str,
    found: &mut std::collections::BTreeSet<String>,
) {
    if let Some(name) = schema["$ref"].as_str() {
        return paths(root, root.pointer(name.trim_start_matches('#')).unwrap(), at, found);
    }
    for option in schema["anyOf"].as_array().into_iter().flatten() {
        paths(root, option, at, found);
    }
    if let Some(properties) = schema["properties"].as_object() {
        for (name, schema) in properties {
            let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            paths(root, schema, &path, found);
            found.insert(path);
        }
    }
    if schema["items"].is_object() {
        paths(root, &schema["items"], &format!("{at}[]"), found);
    }
}

#[cfg(test)]
mod tests {
    use super::{Overview, undocumented};

    #[test]
    fn the_overview_is_documented() {
        assert_eq!(undocumented::<Overview>("squall status -o json"), Vec::<String>::new());
    }
}
