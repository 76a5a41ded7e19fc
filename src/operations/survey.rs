//! What reports are made from: lists of the cluster's objects, and one experiment with what belongs to it. Only read.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, ObjectMeta};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Target;
use super::trouble::why;
use crate::api::{EXPERIMENT_UID_LABEL, Halt, Injection, SYSTEM_NAMESPACE};
use crate::experiment::peers::Hosts;
use crate::experiment::world::World;
use crate::manifest::Object;
use crate::report::plan::{Cluster, Subject};
use crate::report::{Detail, Trouble};

/// How long one name may take to resolve.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lists what a plan depends on. Who may not list that of all namespaces sees these alone, which the result says.
///
/// # Errors
/// Pods, Services or endpoints can be listed nowhere.
pub async fn cluster(client: &Client, namespaces: &BTreeSet<String>) -> Result<Cluster, Trouble> {
    let mut unseen = Vec::new();
    let (pods, services, slices) = tokio::try_join!(
        all::<Pod>(client, "pods", namespaces),
        all::<Service>(client, "services", namespaces),
        all::<EndpointSlice>(client, "endpointslices", namespaces),
    )?;
    if [pods.1, services.1, slices.1].contains(&true) {
        let names: Vec<_> = namespaces.iter().map(String::as_str).collect();
        unseen.push(format!(
            "you may list {} alone: what is in other namespaces is not in this plan",
            names.join(", ")
        ));
    }
    let nodes = match Api::<Node>::all(client.clone()).list(&ListParams::default()).await {
        Ok(list) => list.items.into_iter().map(Arc::new).collect(),
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            unseen.push(
                "you may not list nodes: their labels and whether they are well is not known".to_owned(),
            );
            of_pods(&pods.0)
        }
        Err(error) => return Err(Trouble::api("list nodes", &error)),
    };
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
        world: World::new(pods.0, nodes, services.0, slices.0),
        injections: injections
            .map(|list| list.items.into_iter().map(Arc::new).collect())
            .map_err(|error| why(&error)),
        unseen,
    })
}

/// The objects of a kind: of all namespaces, or of these if all are refused; and whether they were.
async fn all<K>(
    client: &Client,
    plural: &str,
    namespaces: &BTreeSet<String>,
) -> Result<(Vec<Arc<K>>, bool), Trouble>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let list = Api::<K>::all(client.clone()).list(&ListParams::default()).await;
    let refused = match list {
        Ok(list) => return Ok((list.items.into_iter().map(Arc::new).collect(), false)),
        Err(error) => error,
    };
    if !matches!(&refused, kube::Error::Api(status) if status.is_forbidden()) || namespaces.is_empty() {
        return Err(Trouble::api(format!("list {plural} of all namespaces"), &refused));
    }
    let mut found = Vec::new();
    for namespace in namespaces {
        let list = Api::<K>::namespaced(client.clone(), namespace).list(&ListParams::default()).await;
        let list = list.map_err(|error| Trouble::api(format!("list {plural}"), &error))?;
        found.extend(list.items.into_iter().map(Arc::new));
    }
    Ok((found, true))
}

/// The nodes that pods are on, of which nothing but the name is known.
fn of_pods(pods: &[Arc<Pod>]) -> Vec<Arc<Node>> {
    let names = pods.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.clone());
    let node = |name| {
        let metadata = ObjectMeta { name: Some(name), ..ObjectMeta::default() };
        Arc::new(Node { metadata, ..Node::default() })
    };
    names.collect::<BTreeSet<_>>().into_iter().map(node).collect()
}

/// The experiment of a file, where it would go; nothing if it is none of this release.
///
/// # Errors
/// The API server does not say whether there is one of that name.
pub async fn subject(target: &Target, object: &Object) -> Result<Option<Subject>, Trouble> {
    let stored = match target.api.get_opt(&target.name).await {
        Ok(stored) => stored,
        // A kind that the API server does not have yet.
        Err(kube::Error::Api(status)) if status.is_not_found() => None,
        Err(error) => return Err(Trouble::api(format!("get {}", target.label()), &error)),
    };
    let subject = Subject::new(object, target.label(), &target.namespace, stored.as_ref());
    let Some(mut subject) = subject else { return Ok(None) };
    subject.hosts = resolve(subject.experiment.as_kind().host_names()).await;
    Ok(Some(subject))
}

/// The Injections of the experiment with this UID.
///
/// # Errors
/// What the API server answers.
pub async fn injections(client: &Client, uid: &str) -> Result<Vec<Injection>, Trouble> {
    let api = Api::<Injection>::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let of_experiment = ListParams::default().labels(&format!("{EXPERIMENT_UID_LABEL}={uid}"));
    let list = api.list(&of_experiment).await;
    Ok(list.map_err(|error| Trouble::api("read what the nodes say", &error))?.items)
}

/// Everything that is known of an experiment. What may not be read of it is said in the result.
///
/// # Errors
/// There is no such experiment, or the API server does not say.
pub async fn detail(client: &Client, target: &Target) -> Result<Detail, Trouble> {
    let Target { kind, namespace, name, api } = target;
    let label = target.label();
    let object = api.get_opt(name).await;
    let object = object
        .map_err(|error| Trouble::api(format!("get {label}"), &error))?
        .ok_or_else(|| target.missing())?;
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let now = Timestamp::now();
    let injections = injections(client, uid).await;
    let events = Api::<Event>::namespaced(client.clone(), namespace);
    let of_name = ListParams::default().fields(&format!("regarding.name={name}"));
    let events = events.list(&of_name).await;
    let injections = injections.as_ref().map(|all| all.iter().collect()).map_err(ToString::to_string);
    let events = events
        .as_ref()
        .map(|all| all.items.iter().collect())
        .map_err(|error| Trouble::api("read the events", error).to_string());
    Ok(Detail::new(&kind.resource.kind, &object, injections, events, now))
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
