//! Server-side apply of one part after the other.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ObjectMeta, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions::is_crd_established};

use super::{FIELD_MANAGER, api};
use crate::install::Part;
use crate::operations::rights;
use crate::report::{Change, Right, Trouble};

/// How long an API server may take to serve a new kind.
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(30);

/// Refuses to begin what could not be brought to an end for want of a right.
///
/// # Errors
/// The first right that is missing.
pub async fn demand_rights(
    client: &Client,
    verbs: &[&str],
    parts: &[Part],
    what: &str,
) -> Result<(), Trouble> {
    let of =
        |part: &Part| (part.resource.group.clone(), part.resource.plural.clone(), part.namespace.clone());
    let resources: BTreeSet<_> = parts.iter().map(of).collect();
    for (group, resource, namespace) in resources {
        for verb in verbs {
            let right = Right::new(verb, &group, &resource, namespace.as_deref());
            rights::demand(client, &right, what).await?;
        }
    }
    Ok(())
}

/// Whether an object is as it was. Its controllers may have written its status meanwhile, which counts for no generation.
fn is_same(before: &ObjectMeta, after: &ObjectMeta) -> bool {
    let by_generation = before.generation.is_some()
        && before.generation == after.generation
        && before.labels == after.labels
        && before.annotations == after.annotations;
    before.resource_version == after.resource_version || by_generation
}

/// Makes a part what it is to be, whoever else has written to it, and says whether that changed anything. A CRD is served when
/// this returns.
///
/// # Errors
/// What the API server answers.
pub async fn apply(client: &Client, part: &Part) -> Result<Change, Trouble> {
    let api = api(client, part);
    let failed = |error: &kube::Error| Trouble::api(format!("apply {}", part.label()), error);
    let before = api.get_opt(&part.name).await.map_err(|error| failed(&error))?;
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let after = api.patch(&part.name, &params, &Patch::Apply(&part.value)).await;
    let after = after.map_err(|error| failed(&error))?;
    if part.resource.kind == "CustomResourceDefinition" {
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        let established = await_condition(definitions, &part.name, is_crd_established());
        let established = tokio::time::timeout(ESTABLISHED_WITHIN, established).await;
        if !matches!(established, Ok(Ok(_))) {
            let what = format!("the API server does not serve {} after {ESTABLISHED_WITHIN:?}", part.name);
            return Err(Trouble::new(what).cure(format!("see why with kubectl describe crd {}", part.name)));
        }
    }
    Ok(match before {
        None => Change::Created,
        Some(before) if is_same(&before.metadata, &after.metadata) => Change::Unchanged,
        Some(_) => Change::Configured,
    })
}
