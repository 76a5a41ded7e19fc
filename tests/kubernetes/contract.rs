//! The API contract, on a kube-apiserver.

use super::step::{self, Fixture};
use super::{cases, cluster, install};

#[tokio::test]
async fn the_contract_holds_on_a_kube_apiserver() {
    let mut config = cluster().await.config("default").await.unwrap();
    // What the server says is held against the contract, not what comes of asking it again.
    config.default_retry = false;
    let client = kube::Client::try_from(config).unwrap();
    install(&client, &serde_yaml::from_str(include_str!("../api_contract/widgets.yaml")).unwrap()).await;
    let fixture = Fixture { client, namespace: "default".into(), run: "run".into() };
    let cases = cases::all();
    let failures = step::run(&fixture, &cases).await;
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}
