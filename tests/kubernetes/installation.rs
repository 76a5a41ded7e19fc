//! `squall install` and `squall uninstall` on a real API server, with nodes that are only objects: what is applied, what is
//! refused, and what is left.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use squall::api::{Halt, Injection, NetworkChaos, SYSTEM_NAMESPACE};
use squall::install::{self, Options};
use test_cluster::{Cluster, FakeNodes};

use super::manifest_table::network;
use super::program::{Home, Said};
use super::{eventually, install as crds};

/// A cluster of its own, with nodes.
struct Bare {
    cluster: Cluster,
    client: Client,
    home: Home,
    _nodes: FakeNodes,
}

const NODES: usize = 3;

/// Leases and grace periods of several seconds are waited for, one after the other.
const LONG: Duration = Duration::from_mins(3);

impl Bare {
    async fn start() -> Self {
        let cluster = Cluster::start().await.unwrap();
        let client = cluster.client("default").await.unwrap();
        let nodes = FakeNodes::start(client.clone(), NODES).await.unwrap();
        Self { cluster, client, home: Home::new(), _nodes: nodes }
    }

    /// Runs a verb to its end, which may take as long as what it waits for.
    async fn squall(&self, words: &[&str]) -> Said {
        self.squall_as(&self.cluster.kubeconfig(), words).await
    }

    /// The same, as whoever is in that kubeconfig.
    async fn squall_as(&self, config: &Path, words: &[&str]) -> Said {
        let output = self.home.command(config.to_str().unwrap(), words).output();
        tokio::time::timeout(LONG, output).await.expect("the verb does not end").unwrap().into()
    }

    /// How many parts there are.
    async fn present(&self) -> usize {
        let parts = install::everything(&Options::default());
        squall::operations::installation::removal::present(&self.client, &parts).await.unwrap().len()
    }
}

fn parts() -> usize {
    install::everything(&Options::default()).len()
}

/// The lines of the data that end so.
fn count(said: &Said, end: &str) -> usize {
    said.out.lines().filter(|line| line.ends_with(end)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_installed_once_and_twice_changed_and_removed() {
    let bare = Bare::start().await;
    let said = bare.squall(&["install", "--no-wait"]).await;
    assert_eq!((said.code, count(&said, " created")), (Some(0), parts()), "{said:?}");
    let again = bare.squall(&["install", "--no-wait"]).await;
    assert_eq!((again.code, count(&again, " unchanged")), (Some(0), parts()), "{again:?}");
    assert!(again.err.contains("everything is unchanged"), "{}", again.err);

    // The Deployment and the DaemonSet make pods that these nodes seem to run; only a leader is missing.
    let waits = bare.squall(&["install", "--timeout", "15s"]).await;
    assert_eq!(waits.code, Some(1), "{waits:?}");
    for line in [
        "2 of 2 controllers ready, no controller leads; 3 of 3 daemons ready",
        "everything is applied, and does not run after 15s",
    ] {
        assert!(waits.err.contains(line), "{line}: {}", waits.err);
    }
    let controller = tokio::spawn(squall::controller::run(
        bare.client.clone(),
        squall::controller::Options::new("test"),
        std::future::pending(),
    ));
    let runs = bare.squall(&["install", "--timeout", "1m"]).await;
    assert_eq!(runs.code, Some(0), "{runs:?}");
    assert!(runs.err.contains("2 of 2 controllers ready, test leads; 3 of 3 daemons ready"), "{}", runs.err);

    // Another release: what is named by the image changes, nothing else.
    let changed =
        bare.squall(&["install", "--no-wait", "--image", "squall:next", "--protect", "ingress"]).await;
    let lines: Vec<_> = changed.out.lines().filter(|line| line.ends_with("configured")).collect();
    assert_eq!(
        lines
            .iter()
            .map(|line| line.split_once('/').unwrap().1.split(' ').next().unwrap())
            .collect::<Vec<_>>(),
        [
            "squall-protected-namespaces",
            "squall-protected-namespaces-of-collections",
            "squall-pod-changes",
            "squall-protected-pods",
            "squall-controller",
            "squall-daemon",
        ],
        "{changed:?}"
    );

    // An experiment that the controller has seen, and lets go of.
    let mut object = network(&json!({ "duration": "1h" }));
    object["metadata"] = json!({ "name": "seen", "finalizers": ["chaos-mesh/records"] });
    let experiments: Api<NetworkChaos> = Api::namespaced(bare.client.clone(), "default");
    experiments.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    let asks = bare.squall(&["uninstall"]).await;
    assert_eq!(asks.code, Some(2), "{asks:?}");
    assert!(asks.out.contains("networkchaos default/seen is to be ended and deleted"), "{}", asks.out);
    assert_eq!(
        (bare.present().await, experiments.get("seen").await.unwrap().metadata.deletion_timestamp),
        (parts(), None)
    );

    let gone = bare.squall(&["uninstall", "--yes"]).await;
    assert_eq!(gone.code, Some(0), "{gone:?}");
    assert_eq!(
        (count(&gone, " removed") - count(&gone, " to be removed"), bare.present().await),
        (parts(), 0),
        "{gone:?}"
    );
    let again = bare.squall(&["uninstall", "--yes"]).await;
    assert!(again.code == Some(0) && again.err.contains("nothing of Squall is installed"), "{again:?}");
    controller.abort();
}

/// No controller and no daemon ever ran, and there are faults in the objects.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_to_be_undone_is_named_and_kept() {
    let bare = Bare::start().await;
    assert_eq!(bare.squall(&["install", "--no-wait"]).await.code, Some(0));
    // As if the controller had done it: the policy is against everybody else.
    for part in install::policies(&Options::default()) {
        squall::operations::installation::removal::delete(&bare.client, &part).await.unwrap();
    }
    let injections: Api<Injection> = Api::namespaced(bare.client.clone(), SYSTEM_NAMESPACE);
    let order = |name: &str, node: &str| -> Injection {
        serde_json::from_value(json!({
            "metadata": { "name": name, "finalizers": ["squall.dev/recovered"] },
            "spec": {
                "experiment": { "kind": "NetworkChaos", "namespace": "default", "name": "cut", "uid": "u" },
                "node": node, "targets": [], "fault": {}, "run": 1, "notAfter": "2026-01-01T00:00:00Z", "lease": "5s",
            },
        }))
        .unwrap()
    };
    let status = |error: Option<&str>, phase: &str| {
        json!({ "status": { "observedGeneration": 9, "wanted": "Halted", "targets": [{
            "namespace": "default", "pod": "p", "uid": "u", "selectorKey": ".", "phase": phase, "error": error,
            "since": "2026-01-01T00:00:00Z",
        }] } })
    };
    for (name, node, told) in [
        ("clear", "fake-0000", Some(status(None, "Recovered"))),
        ("node-is-gone", "gone", None),
        ("stuck", "fake-0001", Some(status(Some("the table cannot be deleted"), "Stuck"))),
        ("silent", "fake-0002", None),
    ] {
        eventually("the policy is still in force", async || {
            injections.create(&PostParams::default(), &order(name, node)).await.is_ok()
        })
        .await;
        if let Some(status) = told {
            injections.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        }
        injections.delete(name, &DeleteParams::default()).await.unwrap();
    }
    let kept = bare.squall(&["uninstall", "--yes", "--timeout", "16s"]).await;
    assert_eq!(kept.code, Some(6), "{kept:?}");
    let stuck = "not undone: networkchaos default/cut on fake-0001: the table cannot be deleted";
    assert!(kept.err.contains(stuck), "{}", kept.err);
    assert!(kept.err.contains("not read back: the daemon of node fake-0002 did not answer"), "{}", kept.err);
    assert!(kept.err.contains("not read back: node gone is gone"), "{}", kept.err);
    let workloads = install::workloads(&Options::default()).len();
    assert!(bare.present().await > workloads, "something that could still undo it was removed: {kept:?}");
    let halts: Api<Halt> = Api::all(bare.client.clone());
    assert_eq!(
        halts.list(&ListParams::default()).await.unwrap().items.len(),
        1,
        "nothing may start meanwhile"
    );

    let forced = bare.squall(&["uninstall", "--yes", "--force", "--timeout", "20s"]).await;
    assert_eq!((forced.code, bare.present().await), (Some(6), 0), "{forced:?}");
    assert!(forced.err.contains(stuck), "{}", forced.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_with_chaos_mesh_is_refused() {
    let bare = Bare::start().await;
    let api: Api<k8s_openapi::api::apps::v1::Deployment> = Api::namespaced(bare.client.clone(), "default");
    let theirs = json!({
        "metadata": { "name": "chaos-controller-manager" },
        "spec": { "replicas": 1, "selector": { "matchLabels": { "a": "b" } }, "template": {
            "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "c", "image": "c" }] } } },
    });
    api.create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
    let runs = "Chaos Mesh runs in this cluster: Deployment default/chaos-controller-manager";
    for words in [&["install"][..], &["controller", "--identity", "x"]] {
        let said = bare.squall(words).await;
        assert!(said.code == Some(1) && said.err.contains(runs), "{words:?}: {said:?}");
    }
    assert_eq!(bare.present().await, 0);
    api.delete("chaos-controller-manager", &DeleteParams::default()).await.unwrap();

    // Its CRDs alone, as an uninstalled chart leaves them.
    let mut definition = serde_json::to_value(squall::api::custom_kinds()[0].definition()).unwrap();
    definition["metadata"].as_object_mut().unwrap().remove("labels");
    let definition: CustomResourceDefinition = serde_json::from_value(definition).unwrap();
    crds::install(&bare.client, &definition).await;
    let there = "CRDs of Chaos Mesh are in this cluster: networkchaos.chaos-mesh.org";
    for words in [&["install"][..], &["controller", "--identity", "x"]] {
        let said = bare.squall(words).await;
        assert!(said.code == Some(1) && said.err.contains(there), "{words:?}: {said:?}");
        assert!(said.err.contains("kubectl delete crd networkchaos.chaos-mesh.org"), "{}", said.err);
    }
    let removed = bare.squall(&["uninstall", "--yes"]).await;
    assert!(removed.err.contains("nothing of Squall is installed"), "{removed:?}");
    let definitions: Api<CustomResourceDefinition> = Api::all(bare.client.clone());
    definitions.get("networkchaos.chaos-mesh.org").await.expect("a CRD of others was removed");
    definitions.delete("networkchaos.chaos-mesh.org", &DeleteParams::default()).await.unwrap();
    eventually("the CRD stays", async || {
        definitions.get_opt("networkchaos.chaos-mesh.org").await.unwrap().is_none()
    })
    .await;
    let fits = bare.squall(&["install", "--no-wait"]).await;
    assert_eq!(fits.code, Some(0), "{fits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lacks_a_right_is_told_before_anything_is_changed() {
    let bare = Bare::start().await;
    let token = super::program::token_of(&bare.client, "visitor").await;
    let text = std::fs::read_to_string(bare.cluster.kubeconfig()).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["users"][0]["user"] = json!({ "token": token });
    let file = bare.home.file("visitor", &config.to_string());
    let said = bare.home.squall(&file, &["install"]).await;
    assert_eq!((said.code, bare.present().await), (Some(1), 0), "{said:?}");
    let who = "because: system:serviceaccount:default:visitor may not list deployments.apps";
    assert!(said.err.contains(who), "{}", said.err);
    // With everything but one kind.
    let mut rules =
        vec![json!({ "apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"] })];
    rules.push(json!({ "apiGroups": ["apps", "", "apiextensions.k8s.io", "admissionregistration.k8s.io", "policy"], "resources": ["*"], "verbs": ["*"] }));
    super::rights::bind_everywhere(&bare.client, "visitor", json!(rules)).await;
    let said = bare.home.squall(&file, &["install"]).await;
    assert_eq!((said.code, bare.present().await), (Some(1), 0), "{said:?}");
    assert!(said.err.contains("nothing was installed"), "{}", said.err);
    assert!(
        said.err.contains("may not create clusterrolebindings.rbac.authorization.k8s.io"),
        "{}",
        said.err
    );
}

/// A share of the API server's attention is the one thing that can be left out.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_make_flows_installs_without_them() {
    let bare = Bare::start().await;
    let token = super::program::token_of(&bare.client, "builder").await;
    let text = std::fs::read_to_string(bare.cluster.kubeconfig()).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["users"][0]["user"] = json!({ "token": token });
    let file = bare.home.file("builder", &config.to_string());
    let groups = [
        "",
        "apps",
        "apiextensions.k8s.io",
        "admissionregistration.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "scheduling.k8s.io",
        "chaos-mesh.org",
        "squall.dev",
    ];
    let rules = json!([{ "apiGroups": groups, "resources": ["*"], "verbs": ["*"] }]);
    super::rights::bind_everywhere(&bare.client, "builder", rules).await;
    let flows = install::flows().len();
    let said = bare.squall_as(&file, &["install", "--no-wait"]).await;
    assert_eq!((said.code, bare.present().await), (Some(0), parts() - flows), "{said:?}");
    for line in [
        "without the objects of flowcontrol.apiserver.k8s.io: system:serviceaccount:default:builder may not get \
         flowschemas.flowcontrol.apiserver.k8s.io",
        "with more than about 100 nodes",
        "to do: kubectl create clusterrole squall-get-flowschemas --verb=get",
    ] {
        assert!(said.err.contains(line), "{line}: {}", said.err);
    }
    // What an administrator made stays there when somebody who cannot see it removes the rest.
    let said = bare.squall(&["install", "--no-wait"]).await;
    assert_eq!((said.code, count(&said, " created")), (Some(0), flows), "{said:?}");
    let said = bare.squall_as(&file, &["uninstall", "--yes"]).await;
    assert_eq!((said.code, bare.present().await), (Some(0), flows), "{said:?}");
    let alone = "objects of flowcontrol.apiserver.k8s.io are left alone, if there are any";
    assert!(said.err.contains(alone), "{}", said.err);
    let said = bare.squall(&["uninstall", "--yes"]).await;
    assert_eq!((said.code, bare.present().await), (Some(0), 0), "{said:?}");
}

/// What another tool applies is what the program applies.
#[tokio::test(flavor = "multi_thread")]
async fn kubectl_takes_the_files_and_finds_nothing_to_change() {
    let bare = Bare::start().await;
    let kubectl = |words: &[&str]| {
        let output = bare.cluster.kubectl().args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");
    let applied = kubectl(&["apply", "-k", deploy]);
    assert_eq!(applied.lines().filter(|line| line.ends_with("created")).count(), parts(), "{applied}");
    assert_eq!(bare.present().await, parts());
    let said = bare.squall(&["install", "--no-wait"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    kubectl(&["apply", "-k", deploy]);
    let said = bare.squall(&["install", "--no-wait"]).await;
    assert_eq!((said.code, count(&said, " unchanged")), (Some(0), parts()), "{said:?}");
    // As a list, too.
    let printed = bare.squall(&["install", "--dry-run=client", "-o", "json"]).await;
    let list = bare.home.file("list.json", &printed.out);
    let list = kubectl(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "-f",
        list.to_str().unwrap(),
    ]);
    assert_eq!(list.lines().count(), parts(), "{list}");
}

/// A protected namespace that an administrator lifts, and one that was added.
#[tokio::test(flavor = "multi_thread")]
async fn protection_is_lifted_and_extended() {
    let bare = Bare::start().await;
    let said = bare
        .squall(&["install", "--no-wait", "--protect", "kube-public", "--unprotect", "kube-system"])
        .await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let reached = |namespace: &str| {
        let mut object = network(&json!({ "selector": { "namespaces": [namespace] } }));
        object["metadata"] = json!({ "name": "x" });
        let experiments: Api<NetworkChaos> = Api::namespaced(bare.client.clone(), "default");
        let object = serde_json::from_value(object).unwrap();
        async move {
            let how = PostParams { dry_run: true, ..PostParams::default() };
            experiments.create(&how, &object).await.is_ok()
        }
    };
    eventually("the policies are not in force", async || !reached("kube-public").await).await;
    assert_eq!((reached("kube-system").await, reached("squall-system").await), (true, false));
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> =
        Api::namespaced(bare.client.clone(), SYSTEM_NAMESPACE);
    let deployment = serde_json::to_value(deployments.get("squall-controller").await.unwrap()).unwrap();
    let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().clone();
    assert!(
        env.contains(&json!({ "name": "SQUALL_PROTECTED_NAMESPACES", "value": "kube-public,squall-system" })),
        "{env:?}"
    );
    let refused = bare.squall(&["install", "--unprotect", "squall-system"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
}
