//! `squall get`: objects as tables, JSON, YAML or names, once or as they change.

mod columns;
mod raw;

use std::collections::{HashMap, HashSet};
use std::pin::pin;

use clap::ValueEnum;
use futures::StreamExt;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams, TypeMeta};
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use super::Out;
use super::exit::{Exit, Failure, Result};
use super::world::{World, WorldArgs};
use crate::client::{is_not_served, is_refused};
use crate::operations::{Kind, follow};
use crate::report::{Table, Trouble};
use columns::Columns;

/// Show objects
///
/// Prints the objects of a resource, or one of them, as kubectl does. `--raw` prints the answer to a GET of any path,
/// for example of a pod's own /metrics.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:
  squall get pods -o wide
  squall get networkchaos partition -o yaml
  squall get injections -A -w
  squall get --raw /api/v1/namespaces/default/pods/POD/proxy/metrics")]
pub(crate) struct Args {
    /// Resource: pods (po), nodes (no), networkchaos (netchaos), injections, halts, deployments (deploy), services (svc), events
    /// (ev), leases, namespaces (ns), or any other of the API server; RESOURCE/NAME for one object
    #[arg(value_name = "RESOURCE", required_unless_present = "raw", conflicts_with = "raw")]
    resource: Option<String>,
    /// Name of one object
    #[arg(value_name = "NAME", conflicts_with_all = ["selector", "all_namespaces"])]
    name: Option<String>,
    /// Namespace
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t)]
    output: Output,
    /// Print the body of the answer to a GET of this path
    #[arg(long, value_name = "PATH")]
    raw: Option<String>,
    /// Go on with every change
    #[arg(short, long, conflicts_with = "raw")]
    watch: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Columns
    #[default]
    Table,
    /// More columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// Kind and name only
    Name,
}

impl Args {
    pub(super) async fn run(self, world: &WorldArgs, out: &mut Out) -> Result<Exit> {
        if let Some(path) = &self.raw {
            let world = World::find(world).await?;
            return raw::get(&world.client, path, out).await;
        }
        let (resource, name) = self.words();
        let world = World::find(world).await?;
        let kind = Kind::find(resource, &world.client).await.ok_or_else(|| unknown(resource))?;
        let namespace = (!self.all_namespaces).then(|| world.namespace(self.namespace.as_deref()));
        let query = Query {
            api: kind.api(&world.client, namespace.as_deref()),
            name,
            selector: self.selector.as_deref(),
        };
        let mut printer = Printer::new(kind, self.output, self.all_namespaces);
        if self.watch {
            return query.watch(&mut printer, out).await;
        }
        let objects = query.objects(&printer.kind).await?;
        if objects.is_empty() && matches!(self.output, Output::Table | Output::Wide) {
            out.say(&match namespace.filter(|_| printer.kind.namespaced) {
                Some(namespace) => format!("No resources found in {namespace} namespace."),
                None => "No resources found".to_owned(),
            });
        }
        printer.print(objects, name.is_some(), out)?;
        Ok(Exit::Success)
    }

    /// Resource and name; `pods/mongo` is both in one word.
    fn words(&self) -> (&str, Option<&str>) {
        let resource = self.resource.as_deref().unwrap_or_default();
        match resource.split_once('/') {
            Some((resource, name)) if self.name.is_none() => (resource, Some(name)),
            _ => (resource, self.name.as_deref()),
        }
    }
}

fn unknown(resource: &str) -> Failure {
    let words: Vec<_> = Kind::words().collect();
    Failure::bad_input(format!("the API server has no resource \"{resource}\""))
        .cure(format!("use one of {}, or any other that it serves", words.join(", ")))
}

/// Which objects.
struct Query<'a> {
    api: kube::Api<DynamicObject>,
    name: Option<&'a str>,
    selector: Option<&'a str>,
}

impl Query<'_> {
    async fn objects(&self, kind: &Kind) -> Result<Vec<DynamicObject>> {
        let plural = &kind.resource.plural;
        if let Some(name) = self.name {
            let object = self.api.get(name).await;
            return object
                .map(|object| vec![object])
                .map_err(|error| Failure::api(format!("get {plural}/{name}"), &error));
        }
        let parameters =
            self.selector.map_or_else(ListParams::default, |labels| ListParams::default().labels(labels));
        let list = self
            .api
            .list(&parameters)
            .await
            .map_err(|error| Failure::api(format!("list {plural}"), &error))?;
        Ok(list.items)
    }

    async fn watch(&self, printer: &mut Printer, out: &mut Out) -> Result<Exit> {
        let mut config = follow::watch_config();
        if let Some(labels) = self.selector {
            config = config.labels(labels);
        }
        if let Some(name) = self.name {
            config = config.fields(&format!("metadata.name={name}"));
        }
        let mut events = pin!(follow::watch(self.api.clone(), config));
        let (mut list, mut away) = (Vec::new(), false);
        // What was printed last of each object: after a failure everything is listed once more.
        let mut known = Printed::default();
        while let Some(event) = events.next().await {
            match event {
                Err(error) if is_not_served(&error) || is_refused(&error) => {
                    return Err(
                        Trouble::watch(format!("watch {}", printer.kind.resource.plural), error).into()
                    );
                }
                Err(error) if !away => {
                    away = true;
                    let trouble = Trouble::watch(format!("watch {}", printer.kind.resource.plural), error);
                    out.say(&format!("the API server is out of reach, still trying: {trouble}"));
                }
                Err(_) => {}
                Ok(Event::Init) => list.clear(),
                Ok(Event::InitApply(object)) => list.push(object),
                Ok(Event::InitDone) => {
                    if std::mem::take(&mut away) {
                        out.say("the API server answers again");
                    }
                    for name in known.gone(&list) {
                        out.say(&format!("{}/{name} was deleted meanwhile", printer.kind.singular()));
                    }
                    list.retain(|object| known.is_news(object));
                    printer.print(std::mem::take(&mut list), true, out)?;
                }
                Ok(Event::Apply(object)) => {
                    if known.is_news(&object) {
                        printer.print(vec![object], true, out)?;
                    }
                }
                Ok(Event::Delete(object)) => {
                    known.0.remove(&object.uid().unwrap_or_default());
                    printer.print(vec![object], true, out)?;
                }
            }
        }
        Ok(Exit::Success)
    }
}

/// The version of each object that was printed last, by UID, and its name.
#[derive(Default)]
struct Printed(HashMap<String, (Option<String>, String)>);

impl Printed {
    /// Whether it was not printed yet as it is.
    fn is_news(&mut self, object: &DynamicObject) -> bool {
        let version = object.resource_version();
        let now = (version.clone(), object.name_any());
        let before = self.0.insert(object.uid().unwrap_or_default(), now);
        before.is_none_or(|(before, _)| before != version)
    }

    /// The names of those that are not there any more.
    fn gone(&mut self, list: &[DynamicObject]) -> Vec<String> {
        let there: HashSet<_> = list.iter().filter_map(ResourceExt::uid).collect();
        self.0.extract_if(|uid, _| !there.contains(uid)).map(|(_, (_, name))| name).collect()
    }
}

/// Prints objects of one kind.
struct Printer {
    kind: Kind,
    output: Output,
    columns: Columns,
    table: Table,
    headed: bool,
}

impl Printer {
    fn new(kind: Kind, output: Output, with_namespace: bool) -> Self {
        let with_namespace = with_namespace && kind.namespaced;
        let columns = Columns::of(&kind.resource.plural, output == Output::Wide, with_namespace);
        Self { kind, output, columns, table: Table::default(), headed: false }
    }

    /// Prints them; in JSON and YAML as a list unless they are meant one by one.
    fn print(&mut self, objects: Vec<DynamicObject>, one_by_one: bool, out: &mut Out) -> Result<()> {
        match self.output {
            Output::Table | Output::Wide => self.print_rows(&objects, out),
            Output::Name => {
                for object in &objects {
                    out.line(&self.kind.named(object))?;
                }
                Ok(())
            }
            Output::Json | Output::Yaml => {
                let objects: Vec<_> =
                    objects.into_iter().map(|object| self.typed(object)).collect::<Result<_>>()?;
                if one_by_one {
                    return objects.iter().try_for_each(|object| self.print_value(object, out));
                }
                let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": objects});
                self.print_value(&list, out)
            }
        }
    }

    fn print_rows(&mut self, objects: &[DynamicObject], out: &mut Out) -> Result<()> {
        let now = Timestamp::now();
        let mut rows: Vec<_> = objects
            .iter()
            .map(|object| Ok(self.columns.row(&serde_json::to_value(object)?, now)))
            .collect::<Result<_>>()?;
        if !self.headed && !rows.is_empty() {
            rows.insert(0, self.columns.headers());
            self.headed = true;
        }
        for line in self.table.lines(&rows) {
            out.line(&line)?;
        }
        Ok(())
    }

    fn print_value(&mut self, value: &Value, out: &mut Out) -> Result<()> {
        if self.output == Output::Json {
            out.line(&serde_json::to_string_pretty(value)?)?;
        } else {
            let text = serde_yaml::to_string(value).map_err(Failure::new)?;
            // Documents after the first one are told apart.
            let separator = if std::mem::replace(&mut self.headed, true) { "---\n" } else { "" };
            out.bytes(format!("{separator}{text}").as_bytes())?;
        }
        Ok(())
    }

    /// Objects of a list come without their kind.
    fn typed(&self, mut object: DynamicObject) -> Result<Value> {
        object.types.get_or_insert_with(|| TypeMeta {
            api_version: self.kind.resource.api_version.clone(),
            kind: self.kind.resource.kind.clone(),
        });
        object.managed_fields_mut().clear();
        Ok(serde_json::to_value(&object)?)
    }
}
