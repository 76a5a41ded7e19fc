//! The table of manifests, through the reader of files, a real API server, and for what that cannot refuse, the controller.

use std::time::Duration;

use http::{Method, Request};
use kube::Client;
use kube::api::{Api, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use serde_json::{Value, json};
use squall::api::{ChaosStatus, ConditionKind, NetworkChaos, SYSTEM_NAMESPACE, admit, custom_kinds};
use squall::controller::{self, Options};
use squall::manifest;

use super::manifest_table::{By, NO_RULE, bad, files, good, network};
use super::{PATIENCE, client_with_crds};

/// What the API server says to an object, which it does not keep: the code, and why.
async fn tried(client: &Client, object: &Value) -> (u16, String) {
    let kind = custom_kinds().iter().find(|kind| object["kind"] == kind.kind).unwrap();
    let version = object["apiVersion"].as_str().unwrap();
    let namespace = if kind.namespaced { "/namespaces/default" } else { "" };
    let path = format!("/apis/{version}{namespace}/{}?dryRun=All", kind.plural);
    let mut object = object.clone();
    // Where it is put is not what is tried.
    if let Some(metadata) = object["metadata"].as_object_mut().filter(|_| kind.namespaced) {
        metadata.insert("namespace".to_owned(), json!("default"));
    }
    let request =
        Request::builder().method(Method::POST).uri(path).header("content-type", "application/json");
    let answer = client.request::<Value>(request.body(object.to_string().into_bytes()).unwrap()).await;
    match answer {
        Ok(_) => (201, String::new()),
        Err(kube::Error::Api(status)) => (status.code, status.message),
        Err(error) => panic!("{error}"),
    }
}

/// Whether `squall validate` refuses it. It reads experiments; a Halt is held against admission.
fn by_us(object: &Value) -> bool {
    let kind = object["kind"].as_str().unwrap();
    if kind == "Halt" {
        return admit("squall.dev", kind, None, &mut object.clone()).is_err();
    }
    let text = object.to_string();
    manifest::read(text.as_bytes()).diagnostics.iter().any(|found| found.severity.refuses())
}

#[tokio::test]
async fn what_we_refuse_an_api_server_refuses() {
    let client = client_with_crds().await;
    let mut wrong = Vec::new();
    for (object, by) in bad() {
        let (code, why) = tried(&client, &object).await;
        let expected = if matches!(by, By::Validator(_)) { 201 } else { 422 };
        if code != expected || !by_us(&object) {
            wrong.push(format!("{by:?}: {code} {why}: {object:.300}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_is_right_is_accepted() {
    let client = client_with_crds().await;
    let mut wrong = Vec::new();
    for object in good() {
        let (code, why) = tried(&client, &object).await;
        if code != 201 || by_us(&object) {
            wrong.push(format!("{code} {why}: {object}"));
        }
    }
    for folder in ["templates", "tests/manifests/valid"] {
        for (file, _, object) in files(folder) {
            let (code, why) = tried(&client, &object).await;
            if code != 201 {
                wrong.push(format!("{file}: {code} {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What an API server refuses for reasons of its own: a group or metadata that it cannot read, a name, a pattern.
const BY_THE_SERVER: [(&str, u16); 7] = [
    ("api-version-of-another-group.yaml", 404),
    ("bad-name.yaml", 422),
    ("latency-of-two-units.yaml", 422),
    ("metadata-is-text.yaml", 400),
    ("name-is-number.yaml", 400),
    ("old-group.yaml", 404),
    ("unquoted-annotation.yaml", 400),
];

#[tokio::test]
async fn files_that_are_refused_are_refused_here_too_or_named() {
    let client = client_with_crds().await;
    let mut wrong = Vec::new();
    for (file, _, object) in files("tests/manifests/invalid") {
        let by_server = BY_THE_SERVER.iter().find(|(name, _)| *name == file).map(|(_, code)| *code);
        let passes = NO_RULE.iter().any(|(name, _)| *name == file);
        let expected = by_server.unwrap_or(if passes { 201 } else { 422 });
        let (code, why) = tried(&client, &object).await;
        if code != expected {
            wrong.push(format!("{file}: {code} instead of {expected} {why}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn once_targets_are_selected_the_selection_stays() {
    let client = client_with_crds().await;
    let experiments: Api<NetworkChaos> = Api::namespaced(client, "kube-public");
    let mut object: NetworkChaos = serde_json::from_value(network(&json!({ "duration": "1h" }))).unwrap();
    object.metadata = ObjectMeta { name: Some("fixed".into()), ..ObjectMeta::default() };
    experiments.create(&PostParams::default(), &object).await.unwrap();
    let params = PatchParams::default();
    for (selected, fixed) in [(0, false), (3, true)] {
        let counts = json!({ "selected": selected, "injected": 0, "recovered": 0, "failed": 0 });
        let status = json!({ "status": { "experiment": { "targets": counts } } });
        experiments.patch_status("fixed", &params, &Patch::Merge(status)).await.unwrap();
        let change = |spec: Value| {
            let (experiments, params) = (experiments.clone(), params.clone());
            async move { experiments.patch("fixed", &params, &Patch::Merge(json!({ "spec": spec }))).await }
        };
        change(json!({ "duration": format!("{}m", selected + 1) })).await.unwrap();
        let changed =
            change(json!({ "selector": { "labelSelectors": { "a": format!("v{selected}") } } })).await;
        match changed {
            Ok(_) => assert!(!fixed, "the selection changed under {selected} targets"),
            Err(kube::Error::Api(status)) => {
                assert!(fixed && status.code == 422, "{status:?}");
                assert!(
                    status.message.contains("delete the experiment and apply the file again"),
                    "{status:?}"
                );
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// What only the validator refuses is stored; then the controller says so on the object.
#[tokio::test]
async fn what_no_rule_can_refuse_the_controller_marks() {
    let client = client_with_crds().await;
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    for name in [SYSTEM_NAMESPACE, "marked"] {
        let namespace = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    }
    let (stop, asked) = tokio::sync::oneshot::channel::<()>();
    let run = controller::run(client.clone(), Options::new("marks"), async move { drop(asked.await) });
    let run = tokio::spawn(run);
    let rows = bad().into_iter().filter(|(_, by)| matches!(by, By::Validator(_)));
    let mut count = 0;
    for (index, (mut object, by)) in rows.enumerate() {
        let name = format!("row-{index}");
        object["metadata"] = json!({ "name": name });
        let [group, version] =
            object["apiVersion"].as_str().unwrap().split('/').collect::<Vec<_>>().try_into().unwrap();
        let kind = custom_kinds().iter().find(|kind| object["kind"] == kind.kind).unwrap();
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind.kind), kind.plural);
        let objects: Api<DynamicObject> = Api::namespaced_with(client.clone(), "marked", &resource);
        let stored = serde_json::from_value(object.clone()).unwrap();
        objects.create(&PostParams::default(), &stored).await.unwrap();
        let marked = async {
            loop {
                let found = objects.get(&name).await.unwrap();
                let status: ChaosStatus =
                    serde_json::from_value(found.data["status"].clone()).unwrap_or_default();
                if let Some(condition) =
                    status.condition(ConditionKind::Invalid).filter(|c| c.status == "True")
                {
                    return condition.message.clone().unwrap_or_default();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let said =
            tokio::time::timeout(PATIENCE, marked).await.unwrap_or_else(|_| panic!("{by:?}: {object}"));
        assert!(said.contains("spec"), "the place is missing: {said}");
        count += 1;
    }
    assert!(count >= 5, "only {count} rows");
    stop.send(()).unwrap();
    run.await.unwrap().unwrap();
}
