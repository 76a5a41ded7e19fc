//! What the console asks for to show it: each answer is an event with the number of the request.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event as Happened;
use kube::api::{ListParams, LogParams};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::files;
use crate::app::editor::{Manuscript, Origin};
use crate::app::effect::{ObjectRef, Request, Slot};
use crate::app::event::{Event, Loaded};
use crate::client::Kubeconfig;
use crate::manifest;
use crate::operations::{Kind, Target, survey};
use crate::report::Trouble;
use crate::report::{self, describe, plan};

/// How long anything that is asked for may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many lines of a log that is there already are shown.
const TAIL: i64 = 1_000;

/// How many lines of a log are handed over at once, at most.
const LINES: usize = 500;

/// How long lines of a log are gathered before they are handed over.
const GATHER: Duration = Duration::from_millis(50);

/// The longest line of a log, in bytes; the rest is left out.
const LONGEST: usize = 8 * 1024;

/// Where kubectl keeps what it applied last: the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// One request, and where its answers go.
pub(super) struct Fetch {
    /// The API server.
    pub(super) client: Client,
    /// Where answers go.
    pub(super) events: mpsc::Sender<Event>,
    /// What they are for.
    pub(super) slot: Slot,
    /// The number of the request.
    pub(super) ticket: u64,
    /// The kubeconfig whose contexts can be chosen.
    pub(super) kubeconfig: Option<Kubeconfig>,
}

impl Fetch {
    /// Answers the request.
    pub(super) async fn answer(self, request: Request) {
        if let Request::Logs { pod, container, previous } = request {
            let outcome = self.logs(&pod, container, previous).await.map(|()| Loaded::End);
            return self.send(outcome).await;
        }
        let outcome = match timeout(PATIENCE, self.once(request)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                let what = format!("no answer within {} s", PATIENCE.as_secs());
                Err(Trouble::new(what).cure("look whether the API server is well, and try again"))
            }
        };
        self.send(outcome).await;
    }

    async fn send(&self, outcome: Result<Loaded, Trouble>) {
        // Nobody listens when the console ends.
        drop(self.events.send(Event::Loaded { slot: self.slot, ticket: self.ticket, outcome }).await);
    }

    async fn once(&self, request: Request) -> Result<Loaded, Trouble> {
        match request {
            Request::Yaml(object) => self.yaml(&object).await.map(Loaded::Text),
            Request::Describe(object) => self.describe(&object).await.map(Loaded::Text),
            Request::Events(of) => {
                let happenings = self.events_of(&of).await?;
                Ok(Loaded::Timeline { of, happenings })
            }
            Request::Plan { text, namespace } => self.plan(text, namespace).await,
            Request::PlanFile { path, namespace } => {
                let text = read_file(&path).await?;
                self.plan(text, namespace).await
            }
            Request::Dashboard { path } => {
                let text = read_file(&path).await?;
                Ok(Loaded::Dashboard { path, text })
            }
            Request::Contexts => self.contexts(),
            Request::Manuscript(object) => self.manuscript(object).await,
            Request::ReadFile(path) => {
                let read = blocking(move || files::read_manuscript(&path)).await??;
                Ok(Loaded::Manuscript(read))
            }
            Request::WriteFile { path, text, stamp } => {
                let wrote = blocking(move || files::write_manuscript(&path, &text, stamp.as_deref()));
                let (path, stamp) = wrote.await??;
                Ok(Loaded::Saved { path, stamp })
            }
            Request::Logs { .. } => Ok(Loaded::End),
        }
    }

    async fn object(&self, of: &ObjectRef) -> Result<kube::api::DynamicObject, Trouble> {
        let kind = Kind::known(&of.kind)
            .ok_or_else(|| Trouble::new(format!("the kind {} is not known here", of.kind)))?;
        let object = kind.api(&self.client, of.namespace.as_deref()).get_opt(&of.name).await;
        let object = object.map_err(|error| Trouble::api(format!("get {}", of.label()), &error))?;
        let mut object =
            object.ok_or_else(|| Trouble::new(format!("{} does not exist any more", of.label())))?;
        // For people: who wrote which field last is noise.
        object.metadata.managed_fields = None;
        Ok(object)
    }

    async fn yaml(&self, of: &ObjectRef) -> Result<String, Trouble> {
        let object = self.object(of).await?;
        serde_yaml::to_string(&object)
            .map_err(|error| Trouble::new(format!("cannot write {} as YAML: {error}", of.label())))
    }

    /// The experiment as somebody would have written it: without what the cluster added.
    async fn manuscript(&self, of: ObjectRef) -> Result<Loaded, Trouble> {
        let object = self.object(&of).await?;
        let known = &object.metadata;
        let annotations: BTreeMap<_, _> = known
            .annotations
            .iter()
            .flatten()
            .filter(|(name, _)| *name != LAST_APPLIED)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let mut metadata = serde_json::Map::new();
        metadata.insert("name".to_owned(), serde_json::json!(known.name));
        metadata.insert("namespace".to_owned(), serde_json::json!(known.namespace));
        if let Some(labels) = &known.labels {
            metadata.insert("labels".to_owned(), serde_json::json!(labels));
        }
        if !annotations.is_empty() {
            metadata.insert("annotations".to_owned(), serde_json::json!(annotations));
        }
        let types = object.types.as_ref();
        let whole = serde_json::json!({
            "apiVersion": types.map(|types| &types.api_version),
            "kind": types.map_or(of.kind.as_str(), |types| types.kind.as_str()),
            "metadata": metadata,
            "spec": object.data.get("spec"),
        });
        let text = serde_yaml::to_string(&whole)
            .map_err(|error| Trouble::new(format!("cannot write {} as YAML: {error}", of.label())))?;
        Ok(Loaded::Manuscript(Manuscript { text, origin: Origin::Experiment(of) }))
    }

    async fn describe(&self, of: &ObjectRef) -> Result<String, Trouble> {
        let object = self.object(of).await?;
        let events = self.events_of(of).await.map_err(|trouble| trouble.to_string());
        Ok(describe::lines(&of.kind, &object, events.as_deref(), jiff::Timestamp::now()).join("\n"))
    }

    /// The object's events, oldest first.
    async fn events_of(&self, of: &ObjectRef) -> Result<Vec<report::Happening>, Trouble> {
        let api = match &of.namespace {
            Some(namespace) => Api::<Happened>::namespaced(self.client.clone(), namespace),
            // Those of objects without a namespace are kept in the default one.
            None => Api::<Happened>::namespaced(self.client.clone(), "default"),
        };
        let of_name = ListParams::default().fields(&format!("regarding.name={}", of.name));
        let list = api.list(&of_name).await;
        let list =
            list.map_err(|error| Trouble::api(format!("read the events of {}", of.label()), &error))?;
        Ok(report::timeline(list.items.iter().filter(|event| report::is_about(event, &of.uid))))
    }

    async fn plan(&self, text: String, namespace: Option<String>) -> Result<Loaded, Trouble> {
        let file = manifest::read(text.as_bytes());
        if let Some(first) = file.diagnostics.iter().find(|diagnostic| diagnostic.severity.refuses()) {
            let others = file.count(manifest::Severity::refuses) - 1;
            let more = if others > 0 { format!(" (and {others} more)") } else { String::new() };
            let position = first.position;
            let what = format!("{}:{}: {}: {}{more}", position.line, position.column, first.path, first.what);
            let trouble = Trouble::new(what);
            return Err(if first.cure.is_empty() { trouble } else { trouble.cure(&first.cure) });
        }
        let targets = file
            .objects
            .iter()
            .map(|object| Target::new(&self.client, object, namespace.as_deref()))
            .collect::<Result<Vec<_>, _>>()?;
        let namespaces = targets.iter().map(|target| target.namespace.clone()).collect();
        let cluster = survey::cluster(&self.client, &namespaces).await?;
        let mut reports = Vec::new();
        for (object, target) in file.objects.iter().zip(&targets) {
            let subject = survey::subject(target, object).await?.ok_or_else(|| {
                Trouble::new(format!("{}: not an experiment of this release", target.label()))
            })?;
            reports.push(plan::report(&subject, &cluster));
        }
        Ok(Loaded::Plan { text, reports })
    }

    fn contexts(&self) -> Result<Loaded, Trouble> {
        let kubeconfig = self.kubeconfig.as_ref().ok_or_else(no_kubeconfig)?;
        let contexts = kubeconfig.contexts()?;
        Ok(Loaded::Choices { names: contexts.names, current: contexts.current })
    }

    /// Lines as they come, until the container ends or nobody reads any more.
    async fn logs(&self, pod: &ObjectRef, container: Option<String>, previous: bool) -> Result<(), Trouble> {
        let failed = |error: &kube::Error| Trouble::api(format!("read the logs of {}", pod.label()), error);
        let namespace = pod.namespace.clone().unwrap_or_default();
        let parameters = LogParams {
            container,
            previous,
            follow: !previous,
            tail_lines: Some(TAIL),
            ..LogParams::default()
        };
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let stream = timeout(PATIENCE, api.log_stream(&pod.name, &parameters)).await.map_err(|_elapsed| {
            Trouble::new(format!("no answer within {} s", PATIENCE.as_secs())).cure("try again")
        })?;
        let mut lines = stream.map_err(|error| failed(&error))?.lines();
        // The text is there, though it may still be empty.
        self.send(Ok(Loaded::Lines(Vec::new()))).await;
        loop {
            let Some(first) = next_line(&mut lines).await? else { return Ok(()) };
            let mut batch = vec![first];
            let deadline = tokio::time::Instant::now() + GATHER;
            let ended = loop {
                if batch.len() >= LINES {
                    break false;
                }
                match tokio::time::timeout_at(deadline, next_line(&mut lines)).await {
                    Ok(Ok(Some(line))) => batch.push(line),
                    Ok(Ok(None)) => break true,
                    Ok(Err(trouble)) => {
                        self.send(Ok(Loaded::Lines(batch))).await;
                        return Err(trouble);
                    }
                    Err(_elapsed) => break false,
                }
            };
            self.send(Ok(Loaded::Lines(batch))).await;
            if ended {
                return Ok(());
            }
        }
    }
}

/// Where there are no contexts to choose from.
pub(super) fn no_kubeconfig() -> Trouble {
    Trouble::new("this console has no kubeconfig").cure("start it with --kubeconfig or --context")
}

async fn next_line(
    lines: &mut (impl futures::Stream<Item = std::io::Result<String>> + Unpin),
) -> Result<Option<String>, Trouble> {
    let line = lines.try_next().await;
    let line =
        line.map_err(|error| Trouble::new(format!("the log broke off: {error}")).cure("open it again"))?;
    Ok(line.map(|mut line| {
        let end = (0..=LONGEST.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(end);
        line
    }))
}

/// Does what waits for a disk where nothing else waits for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Trouble::new(format!("it was given up: {error}")))
}

/// Reads a file of experiments, which is no larger than the reader of experiments takes.
async fn read_file(path: &str) -> Result<String, Trouble> {
    let path = files::at_home(path);
    let failed = |error: std::io::Error| {
        Trouble::new(format!("cannot read {path}: {error}"))
            .cure("the path is one of the machine that the console runs on")
    };
    let metadata = tokio::fs::metadata(&path).await.map_err(failed)?;
    if !metadata.is_file() {
        return Err(Trouble::new(format!("{path} is no file")));
    }
    if metadata.len() > u64::try_from(manifest::MAX_BYTES).unwrap_or(u64::MAX) {
        return Err(Trouble::new(format!("{path} is larger than 10 MiB")).cure("split it"));
    }
    tokio::fs::read_to_string(&path).await.map_err(failed)
}
