//! The admission policies and roles of an installation, on a real API server: for everything that must not get in, a request
//! that is denied, and beside it a neighbour that is not.
//!
//! Most requests are dry runs: the API server decides about them as about any, and stores nothing. One cluster serves all of
//! these tests; it has nodes that are only objects, on which the real DaemonSet's pods seem to run, so that their tokens are
//! bound to a node.

mod authors;
mod collections;
mod halts;
mod injections;
mod life;
mod pods;
mod roles;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use squall::api::SYSTEM_NAMESPACE;
use squall::install::{CONTROLLER, DAEMON};
use test_cluster::{Cluster, FakeNodes};
use tokio::sync::OnceCell;

use super::program::Home;
use super::{eventually, install::install};

/// A cluster with Squall as `squall install` makes it.
pub(super) struct Governed {
    cluster: Cluster,
    nodes: FakeNodes,
}

/// The nodes.
const NODES: usize = 2;

/// Kinds that hold experiments; of Chaos Mesh's schema nothing but the names.
const COLLECTIONS: [(&str, &str); 2] = [("schedules", "Schedule"), ("workflows", "Workflow")];

/// The common one. Must be called by tests of a runtime that lives as long as they do.
async fn governed() -> &'static Governed {
    static GOVERNED: OnceCell<(Governed, tokio::runtime::Runtime)> = OnceCell::const_new();
    let start = || async {
        // What renews the nodes must outlive the test that comes first.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let start = move || (runtime.block_on(Governed::start()), runtime);
        tokio::task::spawn_blocking(start).await.unwrap()
    };
    &GOVERNED.get_or_init(start).await.0
}

impl Governed {
    async fn start() -> Self {
        let cluster = Cluster::start().await.unwrap();
        let client = cluster.client("default").await.unwrap();
        let nodes = FakeNodes::start(client.clone(), NODES).await.unwrap();
        let said = Home::new().squall(&cluster.kubeconfig(), &["install", "--no-wait"]).await;
        assert_eq!(said.code, Some(0), "{said:?}");
        for (plural, kind) in COLLECTIONS {
            install(&client, &collection(plural, kind)).await;
        }
        let governed = Self { cluster, nodes };
        // The last of the policies; those before it have been known for longer.
        eventually("the policies are not in force", async || {
            let injection = injections::injection("probe", "fake-0000", &json!({}));
            governed.admin().await.create(SYSTEM_NAMESPACE, injection).await.is_err()
        })
        .await;
        governed
    }

    /// Who may do everything.
    async fn admin(&self) -> User {
        User { client: self.cluster.client("default").await.unwrap() }
    }

    /// Whoever has this token.
    async fn with_token(&self, token: String) -> User {
        let mut config = self.cluster.config("default").await.unwrap();
        config.auth_info = kube::config::AuthInfo { token: Some(token.into()), ..Default::default() };
        User { client: Client::try_from(config).unwrap() }
    }

    /// Acts as somebody whose rights are what `rules` and the bindings of a test say.
    async fn user(&self, name: &str) -> User {
        let admin = self.admin().await;
        self.with_token(token(&admin.client, "default", name, None).await).await
    }

    /// The controller, by its own account.
    async fn controller(&self) -> User {
        let admin = self.admin().await;
        self.with_token(token(&admin.client, SYSTEM_NAMESPACE, CONTROLLER, None).await).await
    }

    /// The daemon of a node, by the token that a kubelet would give its pod; or by one that is bound to nothing.
    async fn daemon(&self, node: Option<&str>) -> User {
        let admin = self.admin().await;
        let pods: Api<Pod> = Api::namespaced(admin.client.clone(), SYSTEM_NAMESPACE);
        let mut bound = None;
        if let Some(node) = node {
            let daemons = ListParams::default().labels("app.kubernetes.io/component=daemon");
            let daemons = daemons.fields(&format!("spec.nodeName={node}"));
            eventually("there is no daemon on the node", async || {
                !pods.list(&daemons).await.unwrap().items.is_empty()
            })
            .await;
            bound = pods.list(&daemons).await.unwrap().items.pop();
        }
        self.with_token(token(&admin.client, SYSTEM_NAMESPACE, DAEMON, bound.as_ref()).await).await
    }

    /// Makes namespaces.
    async fn namespaces(&self, names: &[&str]) {
        let admin = self.admin().await;
        for name in names {
            let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
            admin.store(None, object).await.unwrap();
        }
    }

    /// Gives a role of rules to a user in a namespace, or everywhere.
    async fn grant(&self, user: &str, namespace: Option<&str>, rules: Value) {
        let admin = self.admin().await;
        let (role, binding) = match namespace {
            Some(_) => ("Role", "RoleBinding"),
            None => ("ClusterRole", "ClusterRoleBinding"),
        };
        let group = "rbac.authorization.k8s.io";
        let name = format!("{user}-{}", uuid::Uuid::new_v4());
        for object in [
            json!({ "apiVersion": format!("{group}/v1"), "kind": role, "metadata": { "name": name }, "rules": rules }),
            json!({ "apiVersion": format!("{group}/v1"), "kind": binding, "metadata": { "name": name },
                "roleRef": { "apiGroup": group, "kind": role, "name": name },
                "subjects": [{ "kind": "ServiceAccount", "name": user, "namespace": "default" }] }),
        ] {
            admin.store(namespace, object).await.unwrap();
        }
        // The authorizer learns of it a little later.
        let word = |list: &str| rules[0][list][0].as_str().unwrap().replace('*', "create");
        let access = json!({ "spec": {
            "user": format!("system:serviceaccount:default:{user}"),
            "resourceAttributes": {
                "verb": word("verbs"), "group": word("apiGroups"), "resource": word("resources"), "namespace": namespace,
            },
        } });
        eventually("the role is not in force", async || {
            super::rights::reviewed(&admin.client, access.clone()).await
        })
        .await;
    }

    /// Gives one of the roles of an installation to a user.
    async fn bind(&self, user: &str, role: &str, namespace: Option<&str>) {
        let binding = if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
        let group = "rbac.authorization.k8s.io";
        let object = json!({ "apiVersion": format!("{group}/v1"), "kind": binding,
            "metadata": { "name": format!("{user}-{role}") },
            "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": role },
            "subjects": [{ "kind": "ServiceAccount", "name": user, "namespace": "default" }] });
        self.admin().await.store(namespace, object).await.unwrap();
    }
}

/// A kind whose objects may have any fields.
fn collection(plural: &str, kind: &str) -> CustomResourceDefinition {
    let any = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    serde_json::from_value(json!({
        "metadata": { "name": format!("{plural}.chaos-mesh.org"), "labels": { "app.kubernetes.io/part-of": "squall" } },
        "spec": {
            "group": "chaos-mesh.org", "scope": "Namespaced",
            "names": { "plural": plural, "kind": kind, "singular": kind.to_lowercase() },
            "versions": [{ "name": "v1alpha1", "served": true, "storage": true, "schema": { "openAPIV3Schema": any } }],
        },
    }))
    .unwrap()
}

/// A token of an account, which is made if it is not there; bound to a pod, as a kubelet asks for it.
async fn token(client: &Client, namespace: &str, account: &str, pod: Option<&Pod>) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let new: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": account } })).unwrap();
    match accounts.create(&PostParams::default(), &new).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(error) => panic!("{account}: {error}"),
    }
    let bound_object_ref = pod.map(|pod| BoundObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(pod.name_any()),
        uid: pod.uid(),
    });
    let spec = TokenRequestSpec { bound_object_ref, ..TokenRequestSpec::default() };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let issued = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
    issued.status.unwrap().token
}

/// Somebody who asks the API server for something.
struct User {
    client: Client,
}

/// What the API server answered: nothing, or why not.
type Answer = Result<(), String>;

impl User {
    fn api(&self, namespace: Option<&str>, object: &Value) -> Api<DynamicObject> {
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let version = text("apiVersion");
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        let kind = text("kind");
        let mut resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        if kind.ends_with("Chaos") {
            resource.plural = kind.to_lowercase();
        }
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Creates something, and stores it.
    async fn store(&self, namespace: Option<&str>, object: Value) -> Answer {
        self.made(namespace, object, PostParams::default()).await
    }

    /// Whether something could be created in a namespace.
    async fn create(&self, namespace: &str, object: Value) -> Answer {
        self.made(Some(namespace), object, PostParams { dry_run: true, ..PostParams::default() }).await
    }

    async fn made(&self, namespace: Option<&str>, object: Value, how: PostParams) -> Answer {
        let api = self.api(namespace, &object);
        let object = serde_json::from_value(object).unwrap();
        api.create(&how, &object).await.map(drop).map_err(why)
    }

    /// Whether an object could be patched.
    async fn patch(&self, namespace: &str, object: &Value, patch: Value) -> Answer {
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        let api = self.api(Some(namespace), object);
        let name = object["metadata"]["name"].as_str().unwrap();
        api.patch(name, &params, &Patch::Merge(patch)).await.map(drop).map_err(why)
    }

    /// Whether the status of an object could be patched.
    async fn patch_status(&self, namespace: &str, object: &Value, patch: Value) -> Answer {
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        let api = self.api(Some(namespace), object);
        let name = object["metadata"]["name"].as_str().unwrap();
        api.patch_status(name, &params, &Patch::Merge(patch)).await.map(drop).map_err(why)
    }

    /// Whether an object could be deleted.
    async fn delete(&self, namespace: Option<&str>, object: &Value) -> Answer {
        let params = kube::api::DeleteParams { dry_run: true, ..Default::default() };
        let api = self.api(namespace, object);
        let name = object["metadata"]["name"].as_str().unwrap();
        api.delete(name, &params).await.map(drop).map_err(why)
    }
}

fn why(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => panic!("no answer: {other:?}"),
    }
}

/// Fails unless this is denied, and for this reason.
#[track_caller]
fn denied(what: &str, answer: Answer, reason: &str) {
    let Err(why) = answer else { panic!("{what}: it got in") };
    assert!(why.contains(reason), "{what}: denied, but not for {reason:?}: {why}");
}

/// Fails unless this got in.
#[track_caller]
fn allowed(what: &str, answer: Answer) {
    if let Err(why) = answer {
        panic!("{what}: {why}");
    }
}

/// The rules of somebody who may make experiments.
fn makes(resources: &[&str]) -> Value {
    json!([{ "apiGroups": ["chaos-mesh.org"], "resources": resources, "verbs": ["*"] }])
}

/// What the API server's own type check finds in the policies: a misspelt field would hold of nothing, for ever.
#[tokio::test]
async fn the_policies_are_well_typed() {
    use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
    let client = governed().await.admin().await.client;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client);
    let ours = ListParams::default().labels("app.kubernetes.io/part-of=squall");
    eventually("the policies are not checked", async || {
        let list = policies.list(&ours).await.unwrap().items;
        list.iter().all(|policy| policy.status.as_ref().is_some_and(|status| status.type_checking.is_some()))
    })
    .await;
    let list = policies.list(&ours).await.unwrap().items;
    assert!(list.len() >= 8, "{}", list.len());
    for policy in list {
        let checked = policy.status.clone().unwrap().type_checking.unwrap();
        assert_eq!(checked.expression_warnings.unwrap_or_default(), Vec::new(), "{}", policy.name_any());
    }
}
