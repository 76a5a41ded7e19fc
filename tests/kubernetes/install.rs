//! CRDs on a real API server. Shared with the benchmark of large clusters.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use kube::{Api, Client, ResourceExt};

/// How long the API server may take for what it does in the background.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Applies those of Squall.
pub(crate) async fn squalls(client: &Client) {
    for kind in squall::api::custom_kinds() {
        install(client, kind.definition()).await;
    }
}

/// Applies a CRD as `squall install` will, and waits until its kind is served.
pub(crate) async fn install(client: &Client, definition: &CustomResourceDefinition) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = definition.name_any();
    let params = PatchParams::apply("squall").force();
    let applied = definitions.patch(&name, &params, &Patch::Apply(definition)).await;
    applied.unwrap_or_else(|error| panic!("{name} is refused: {error}"));
    let established = await_condition(definitions, &name, is_crd_established());
    tokio::time::timeout(PATIENCE, established).await.expect("it is not established").unwrap();
    // Every group's handler learns of it a little later.
    let spec = &definition.spec;
    let path = format!("/apis/{}/{}/{}", spec.group, spec.versions[0].name, spec.names.plural);
    let served = async {
        while client.request_text(http::Request::get(&path).body(Vec::new()).unwrap()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, served).await.expect("it is not served");
}
