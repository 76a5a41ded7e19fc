//! What a plan is made from: lists of the cluster's objects, and the experiment of that name if there is one.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::api::{Halt, Injection, NetworkChaos, PodChaos, SYSTEM_NAMESPACE};
use crate::cli::apply::Target;
use crate::cli::exit::{Failure, Result, why};
use crate::cli::progress;
use crate::cli::run;
use crate::cli::world::World as Where;
use crate::experiment::kind;
use crate::experiment::peers::Hosts;
use crate::experiment::world::World;
use crate::manifest::Object;

/// How long one name may take to resolve.
const PATIENCE: Duration = Duration::from_secs(2);

/// The cluster as it is now.
pub(super) struct Cluster {
    /// Pods, nodes, Services, endpoints.
    pub(super) world: World,
    /// The parts of running experiments, or why they cannot be read.
    pub(super) injections: std::result::Result<Vec<Arc<Injection>>, String>,
    /// The Halts that exist, or why they cannot be read.
    pub(super) halts: std::result::Result<Vec<Arc<Halt>>, String>,
}

/// One experiment that is to be planned.
pub(super) struct Subject {
    /// `networkchaos.chaos-mesh.org/partition`.
    pub(super) label: String,
    /// What it does, as the file says it.
    pub(super) action: String,
    /// How long, as the file says it.
    pub(super) duration: Option<String>,
    /// As the file has it, with the namespace that it would go to, and the UID of the stored one if there is one.
    pub(super) experiment: Experiment,
    /// The phase of the experiment that has the name already.
    pub(super) exists: Option<&'static str>,
    /// Addresses of the host names in it, as this machine resolves them.
    pub(super) hosts: Hosts,
}

/// Lists what a plan depends on.
pub(super) async fn cluster(client: &Client) -> Result<Cluster> {
    let (pods, nodes, services, slices) = tokio::try_join!(
        all::<Pod>(client, "pods"),
        all::<Node>(client, "nodes"),
        all::<Service>(client, "services"),
        all::<EndpointSlice>(client, "endpointslices"),
    )?;
    let injections = Api::<Injection>::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let injections = injections.list(&ListParams::default()).await;
    let halts = match Api::<Halt>::all(client.clone()).list(&ListParams::default()).await {
        Ok(list) => Ok(list.items.into_iter().map(Arc::new).collect()),
        // An API server that does not know the kind has none.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(why(&error)),
    };
    Ok(Cluster {
        halts,
        world: World::new(pods, nodes, services, slices),
        injections: injections
            .map(|list| list.items.into_iter().map(Arc::new).collect())
            .map_err(|error| why(&error)),
    })
}

async fn all<K>(client: &Client, plural: &str) -> Result<Vec<Arc<K>>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let list = Api::<K>::all(client.clone()).list(&ListParams::default()).await;
    let list = list.map_err(|error| Failure::api(format!("list {plural} of all namespaces"), &error))?;
    Ok(list.items.into_iter().map(Arc::new).collect())
}

/// The experiment of a file, where it would go.
pub(super) async fn subject(object: &Object, world: &Where, namespace: Option<&str>) -> Result<Subject> {
    let target = Target::new(object, world, namespace)?;
    let stored = match target.api.get_opt(&target.name).await {
        Ok(stored) => stored,
        // A kind that the API server does not have yet.
        Err(kube::Error::Api(status)) if status.is_not_found() => None,
        Err(error) => return Err(Failure::api(format!("get {}", target.label()), &error)),
    };
    let exists = stored
        .as_ref()
        .map(|stored| progress::word(&run::status(stored), stored.metadata.deletion_timestamp.is_some()));
    let mut experiment = Experiment::of(object).ok_or_else(|| {
        Failure::bad_input(format!("{}: not an experiment of this release", target.label()))
    })?;
    let metadata = match &mut experiment {
        Experiment::NetworkChaos(chaos) => &mut chaos.metadata,
        Experiment::PodChaos(chaos) => &mut chaos.metadata,
    };
    metadata.namespace = Some(target.namespace.clone());
    metadata.uid = stored.and_then(|stored| stored.metadata.uid);
    let text = |path: &str| object.value.pointer(path).and_then(serde_json::Value::as_str).map(str::to_owned);
    Ok(Subject {
        label: target.label(),
        action: text("/spec/action").unwrap_or_default(),
        duration: text("/spec/duration").filter(|text| !text.is_empty()),
        hosts: resolve(as_kind(&experiment).host_names()).await,
        exists,
        experiment,
    })
}

/// An experiment of a kind that this release runs.
#[derive(Clone, Debug)]
pub(super) enum Experiment {
    /// A network fault.
    NetworkChaos(Box<NetworkChaos>),
    /// A fault of pods or their containers.
    PodChaos(Box<PodChaos>),
}

impl Experiment {
    fn of(object: &Object) -> Option<Self> {
        let network = object.typed().map(|chaos| Self::NetworkChaos(Box::new(chaos)));
        network.or_else(|| object.typed().map(|chaos| Self::PodChaos(Box::new(chaos))))
    }
}

/// What the experiment is to the controller.
pub(super) fn as_kind(experiment: &Experiment) -> &dyn kind::Experiment {
    match experiment {
        Experiment::NetworkChaos(chaos) => &**chaos,
        Experiment::PodChaos(chaos) => &**chaos,
    }
}

async fn resolve(names: BTreeSet<String>) -> Hosts {
    let lookups = names.into_iter().map(async |name| {
        let lookup = timeout(PATIENCE, tokio::net::lookup_host((name.clone(), 0))).await;
        let addresses = match lookup {
            Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
            // A name that does not resolve is reported by the plan.
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        (name, addresses)
    });
    futures::future::join_all(lookups).await.into_iter().collect()
}
