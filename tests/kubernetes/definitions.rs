//! Our CRDs as a real API server has them.

use http::Request;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use squall::api::{Injection, NetworkChaos, custom_kinds};

use super::client_with_crds;
use super::manifest_table::network;

#[tokio::test]
async fn every_crd_is_accepted_as_it_is_and_nothing_of_it_is_dropped() {
    let client = client_with_crds().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for kind in custom_kinds() {
        let wanted = kind.definition();
        let name = wanted.name_any();
        let found = definitions.get(&name).await.unwrap();
        let conditions = found.status.clone().unwrap_or_default().conditions.unwrap_or_default();
        let wrong = conditions.iter().find(|condition| condition.type_ == "NonStructuralSchema");
        assert_eq!(wrong, None, "{name}");
        let (found, wanted) = (json!(found.spec), json!(wanted.spec));
        assert_eq!(lost(&wanted, &found, "spec"), Vec::<String>::new(), "{name}");
        let generation = definitions.get(&name).await.unwrap().metadata.generation;
        assert_eq!(warnings(&client, kind.definition()).await, Vec::<String>::new(), "{name}");
        let again = definitions.get(&name).await.unwrap().metadata.generation;
        assert_eq!(again, generation, "{name}: to apply it again changes nothing");
    }
}

/// What the API server warns of when a CRD is applied.
async fn warnings(client: &kube::Client, definition: &CustomResourceDefinition) -> Vec<String> {
    let name = definition.name_any();
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let request = Request::patch(format!("{definitions}/{name}?fieldManager=squall&force=true"))
        .header("content-type", "application/apply-patch+yaml");
    let body = serde_json::to_vec(definition).unwrap();
    let answer = client.send(request.body(body.into()).unwrap()).await.unwrap();
    assert!(answer.status().is_success(), "{name}: {}", answer.status());
    let warnings = answer.headers().get_all("warning").iter();
    warnings.map(|warning| warning.to_str().unwrap().to_owned()).collect()
}

/// What of `wanted` is not in `found`. Lists are as long in both.
fn lost(wanted: &Value, found: &Value, path: &str) -> Vec<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted
            .iter()
            .flat_map(|(key, value)| {
                lost(value, found.get(key).unwrap_or(&Value::Null), &format!("{path}.{key}"))
            })
            .collect(),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            let pairs = wanted.iter().zip(found).enumerate();
            pairs
                .flat_map(|(index, (wanted, found))| lost(wanted, found, &format!("{path}[{index}]")))
                .collect()
        }
        _ if wanted == found => Vec::new(),
        _ => vec![format!("{path}: {wanted} became {found}")],
    }
}

/// What `kubectl get` prints: the API server makes the table.
async fn table(client: &kube::Client, path: &str) -> (Vec<String>, Vec<Value>) {
    let request = Request::get(path).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table: Value = client.request(request.body(Vec::new()).unwrap()).await.unwrap();
    let columns = table["columnDefinitions"].as_array().unwrap().iter();
    let cells = table["rows"][0]["cells"].as_array().cloned().unwrap_or_default();
    (columns.map(|column| column["name"].as_str().unwrap().to_owned()).collect(), cells)
}

#[tokio::test]
async fn kubectl_shows_how_far_an_experiment_is() {
    let client = client_with_crds().await;
    let experiments: Api<NetworkChaos> = Api::namespaced(client.clone(), "kube-public");
    let mut object: NetworkChaos = serde_json::from_value(network(&json!({ "duration": "1h" }))).unwrap();
    object.metadata = ObjectMeta { name: Some("shown".into()), ..ObjectMeta::default() };
    experiments.create(&PostParams::default(), &object).await.unwrap();
    let status = json!({ "status": { "experiment": {
        "desiredPhase": "Run", "injected": "3/5", "remaining": "until 2026-01-01T01:00:00Z",
    } } });
    experiments.patch_status("shown", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let path = "/apis/chaos-mesh.org/v1alpha1/namespaces/kube-public/networkchaos";
    let (columns, cells) = table(&client, path).await;
    let expected = ["Name", "Action", "Injected", "Phase", "Ended", "Duration", "Remaining", "Age"];
    assert_eq!(columns, expected);
    let texts = ["shown", "partition", "3/5", "Run"].map(|text| json!(text));
    assert_eq!(cells[..4], texts);
    assert_eq!(cells[5..7], [json!("1h"), json!("until 2026-01-01T01:00:00Z")]);
}

#[tokio::test]
async fn names_and_categories_are_served() {
    let client = client_with_crds().await;
    let names = |resource: &Value, key: &str| -> Vec<String> {
        serde_json::from_value(resource[key].clone()).unwrap_or_default()
    };
    for (group, plural, short, categories) in [
        ("chaos-mesh.org", "networkchaos", &["netchaos"][..], &["squall", "chaos"][..]),
        ("chaos-mesh.org", "podchaos", &[], &["squall", "chaos"]),
        ("squall.dev", "injections", &["inj"], &["squall"]),
        ("squall.dev", "halts", &[], &["squall"]),
    ] {
        let request = Request::get(format!("/apis/{group}/v1alpha1")).body(Vec::new()).unwrap();
        let list: Value = client.request(request).await.unwrap();
        let resources = list["resources"].as_array().unwrap();
        let resource = resources.iter().find(|resource| resource["name"] == plural).unwrap();
        assert_eq!(names(resource, "shortNames"), short, "{plural}");
        assert_eq!(names(resource, "categories"), categories, "{plural}");
    }
}

#[tokio::test]
async fn injections_are_selected_by_their_node() {
    let client = client_with_crds().await;
    let injections: Api<Injection> = Api::namespaced(client.clone(), "kube-public");
    for node in ["n1", "n2"] {
        let injection = serde_json::from_value(json!({
            "metadata": { "name": format!("of-{node}") },
            "spec": {
                "experiment": { "kind": "NetworkChaos", "namespace": "default", "name": "x", "uid": "u" },
                "node": node, "targets": [], "fault": {}, "run": 1, "notAfter": "2026-01-01T00:00:00Z", "lease": "30s",
            },
        }));
        injections.create(&PostParams::default(), &injection.unwrap()).await.unwrap();
    }
    let params = kube::api::ListParams::default().fields("spec.node=n2");
    let found = injections.list(&params).await.unwrap();
    assert_eq!(found.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["of-n2"]);
}
