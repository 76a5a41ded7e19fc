//! Whether Chaos Mesh is in the cluster: two controllers of the same kinds would each act on every experiment.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams};
use kube::{Client, Resource, ResourceExt};

use crate::api::PART_OF_LABEL;
use crate::install::PART_OF;
use crate::operations::installed;
use crate::report::Trouble;

/// What Chaos Mesh's chart calls its parts, in whatever namespace.
const CONTROLLER: &str = "chaos-controller-manager";
const DAEMON: &str = "chaos-daemon";

/// Every group of Chaos Mesh's kinds ends so.
const GROUP: &str = ".chaos-mesh.org";

/// Why Squall cannot work in this cluster: Kubernetes is too old, or Chaos Mesh is there.
///
/// # Errors
/// The API server does not say.
pub async fn unfit(client: &Client) -> Result<Option<Trouble>, Trouble> {
    match installed::version(client).await? {
        (_, Some(old)) => Ok(Some(old)),
        _ => chaos_mesh(client).await,
    }
}

/// What is there of Chaos Mesh, with what to do about it; `None` where nothing is.
///
/// # Errors
/// The API server does not say. A kind that it does not have has no objects.
async fn chaos_mesh(client: &Client) -> Result<Option<Trouble>, Trouble> {
    let named = |name: &str| ListParams::default().fields(&format!("metadata.name={name}"));
    let deployments = Api::<Deployment>::all(client.clone()).list(&named(CONTROLLER)).await;
    let daemons = Api::<DaemonSet>::all(client.clone()).list(&named(DAEMON)).await;
    let mut running = names(deployments.map(|list| list.items), "Deployment", "list deployments")?;
    running.extend(names(daemons.map(|list| list.items), "DaemonSet", "list daemonsets")?);
    if !running.is_empty() {
        let what = format!("Chaos Mesh runs in this cluster: {}", running.join(", "));
        let why =
            Some("it would act on the same experiments, and each would undo what the other does".to_owned());
        return Ok(Some(
            Trouble { why, ..Trouble::new(what) }
                .cure("end its experiments, then uninstall it (helm uninstall chaos-mesh -n NAMESPACE) and delete its CRDs"),
        ));
    }
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definitions = match definitions.list_metadata(&ListParams::default()).await {
        Ok(list) => list.items,
        Err(kube::Error::Api(status)) if status.is_not_found() => Vec::new(),
        Err(error) => {
            return Err(Trouble::api("list customresourcedefinitions.apiextensions.k8s.io", &error));
        }
    };
    let ours = |labels: &std::collections::BTreeMap<String, String>| {
        labels.get(PART_OF_LABEL).is_some_and(|of| of == PART_OF)
    };
    let foreign: Vec<_> = definitions
        .iter()
        .filter(|definition| definition.name_any().ends_with(GROUP) && !ours(definition.labels()))
        .map(ResourceExt::name_any)
        .collect();
    if foreign.is_empty() {
        return Ok(None);
    }
    let what = format!("CRDs of Chaos Mesh are in this cluster: {}", foreign.join(", "));
    let why = Some("they are not Squall's, and a controller of Chaos Mesh may come back to them".to_owned());
    Ok(Some(Trouble { why, ..Trouble::new(what) }.cure(format!(
        "keep copies of the experiments that you need, then delete them with their kinds: kubectl delete crd {}",
        foreign.join(" ")
    ))))
}

fn names<K: Resource<DynamicType = ()>>(
    found: kube::Result<Vec<K>>,
    kind: &str,
    doing: &str,
) -> Result<Vec<String>, Trouble> {
    match found {
        Ok(found) => Ok(found
            .iter()
            .map(|object| format!("{kind} {}/{}", object.namespace().unwrap_or_default(), object.name_any()))
            .collect()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(Trouble::api(doing, &error)),
    }
}
