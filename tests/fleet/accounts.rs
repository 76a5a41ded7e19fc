//! Squall's own accounts on a control plane, with the rights and the share of the API server that an installation gives them,
//! and clients that act as they do. No policies: the tokens here are bound to no pod, so that they would deny everything.

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::AuthInfo;
use kube::{Api, Client};
use squall::api::SYSTEM_NAMESPACE;
use squall::install;
use squall::operations::installation;
use test_cluster::Cluster;

/// Makes namespace, accounts, roles and flows. Squall's kinds are there already.
pub(crate) async fn make(client: &Client) {
    for part in [install::surroundings(), install::flows(), install::accounts()].concat() {
        installation::apply(client, &part).await.unwrap();
    }
}

/// A token of one of the accounts.
pub(crate) async fn token(client: &Client, account: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let request = TokenRequest::default();
    let issued = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
    issued.status.unwrap().token
}

/// A client with such a token. An administrator's certificate is checked anew with each request and waits for nobody:
/// nothing that is measured with it is what controller and daemons get.
pub(crate) async fn client(cluster: &Cluster, token: String) -> Client {
    let mut config = cluster.config("default").await.unwrap();
    config.auth_info = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
    Client::try_from(config).unwrap()
}
