//! Three users of a real API server: who may only look, who has one namespace, and who may do everything; what verbs and
//! console say to each before and after they try.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::Api;
use kube::api::PostParams;
use kube::core::NamespaceResourceScope;
use serde_json::{Value, json};
use squall::operations::rights;
use squall::report::Right;

use super::manifest_table::network;
use super::program::{Home, kubeconfig_of, token_of};
use super::pty::Pty;
use super::{PATIENCE, client_with_crds, cluster};

async fn create<K>(api: Api<K>, object: Value)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + serde::Serialize,
{
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// Gives a role of a namespace to a service account of `default`.
pub(crate) async fn bind(client: &kube::Client, namespace: &str, account: &str, role: Value) {
    fn of<K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(
        client: &kube::Client,
        namespace: &str,
    ) -> Api<K> {
        Api::namespaced(client.clone(), namespace)
    }
    create(of::<Role>(client, namespace), role).await;
    let binding = json!({
        "metadata": { "name": account },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": "default" }],
    });
    create(of::<RoleBinding>(client, namespace), binding).await;
    // The authorizer learns of it a little later.
    super::eventually("the role is not in force", async || {
        let access = json!({ "spec": {
            "user": format!("system:serviceaccount:default:{account}"),
            "resourceAttributes": { "verb": "list", "resource": "pods", "namespace": namespace },
        } });
        reviewed(client, access).await || account == "pod"
    })
    .await;
}

/// Whether somebody has a right.
pub(crate) async fn reviewed(client: &kube::Client, review: Value) -> bool {
    let review: SubjectAccessReview = serde_json::from_value(review).unwrap();
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await.unwrap();
    answer.status.unwrap().allowed
}

/// Gives these rules everywhere to a service account of `default`.
pub(crate) async fn bind_everywhere(client: &kube::Client, account: &str, rules: Value) {
    create(
        Api::<ClusterRole>::all(client.clone()),
        json!({ "metadata": { "name": account }, "rules": rules }),
    )
    .await;
    let binding = json!({
        "metadata": { "name": account },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": account },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": "default" }],
    });
    create(Api::<ClusterRoleBinding>::all(client.clone()), binding).await;
    super::eventually("the role is not in force", async || {
        let access = json!({ "spec": {
            "user": format!("system:serviceaccount:default:{account}"),
            "resourceAttributes": { "verb": "list", "resource": "pods" },
        } });
        reviewed(client, access).await
    })
    .await;
}

/// Everything may be looked at, nothing changed.
fn viewer() -> Value {
    let read = ["get", "list", "watch"];
    json!([
        { "apiGroups": ["chaos-mesh.org", "squall.dev"], "resources": ["*"], "verbs": read },
        { "apiGroups": [""], "resources": ["pods", "nodes", "services", "namespaces"], "verbs": read },
        { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read },
    ])
}

/// Experiments of one namespace, and its pods.
fn author(name: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "rules": [
            { "apiGroups": ["chaos-mesh.org"], "resources": ["*"], "verbs": ["*"] },
            { "apiGroups": ["", "discovery.k8s.io"], "resources": ["pods", "pods/log", "services", "endpointslices"],
              "verbs": ["get", "list", "watch"] },
        ],
    })
}

async fn namespace(client: &kube::Client, name: &str) {
    create(
        Api::<k8s_openapi::api::core::v1::Namespace>::all(client.clone()),
        json!({ "metadata": { "name": name } }),
    )
    .await;
}

fn experiment(name: &str) -> String {
    let mut object = network(&json!({ "duration": "1h" }));
    object["metadata"] = json!({ "name": name });
    object.to_string()
}

#[tokio::test]
async fn a_refused_verb_names_the_right_and_the_cure_works() {
    let client = client_with_crds().await;
    namespace(&client, "watched").await;
    bind_everywhere(&client, "viewer", viewer()).await;
    let home = Home::new();
    let file = home.file("config", &kubeconfig_of(&token_of(&client, "viewer").await).await);
    let yaml = home.file("e.yaml", &experiment("seen"));
    let yaml = yaml.to_str().unwrap();

    let status = home.squall(&file, &["status"]).await;
    assert_eq!(status.code, Some(0), "{status:?}");
    let apply = ["apply", "-f", yaml, "-n", "watched"];
    let said = home.squall(&file, &apply).await;
    let who = "system:serviceaccount:default:viewer";
    assert!(
        said.err.contains(&format!(
            "because: {who} may not create networkchaos.chaos-mesh.org in namespace watched"
        )),
        "{}",
        said.err
    );
    for words in [&["halt", "--no-wait"][..], &["run", "-f", yaml, "-n", "watched"]] {
        let said = home.squall(&file, words).await;
        assert!(said.code == Some(1) && said.err.contains(who), "{words:?}: {}", said.err);
    }
    let halt = home.squall(&file, &["halt", "--no-wait"]).await;
    assert!(halt.err.contains("may not create halts.squall.dev\n"), "{}", halt.err);

    // What the message says is what helps.
    let command = said.err.split_once("granted: ").unwrap().1.trim();
    administrate(&home, command).await;
    let said = home.squall(&file, &apply).await;
    assert!(said.code == Some(0) && said.out.contains("seen created"), "{said:?}");
    let pause = home.squall(&file, &["pause", "networkchaos", "seen", "-n", "watched", "--no-wait"]).await;
    assert!(
        pause.err.contains("may not patch networkchaos.chaos-mesh.org in namespace watched"),
        "{}",
        pause.err
    );
    // With the right to create alone, it could not be stopped again.
    let other = home.file("o.yaml", &experiment("other"));
    let run = home.squall(&file, &["run", "-f", other.to_str().unwrap(), "-n", "watched"]).await;
    assert!(
        run.err.contains("could not be stopped again") && run.err.contains("may not delete"),
        "{}",
        run.err
    );
    let experiments = Api::<squall::api::NetworkChaos>::namespaced(client, "watched");
    assert!(experiments.get_opt("other").await.unwrap().is_none(), "it was started");
}

/// Runs kubectl commands as somebody who may do everything.
async fn administrate(home: &Home, commands: &str) {
    let path = format!(
        "{}:/usr/bin:/bin",
        test_cluster::programs(test_cluster::Shape::default()).unwrap().display()
    );
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", commands]).env("PATH", path).env("KUBECONFIG", cluster().await.kubeconfig());
    let output = shell.env("HOME", home.0.path()).output().await.unwrap();
    assert!(output.status.success(), "{commands}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn rights_are_asked_for_one_by_one() {
    let client = client_with_crds().await;
    namespace(&client, "asked").await;
    let token = token_of(&client, "asked").await;
    bind(&client, "asked", "asked", author("asked")).await;
    let mut config = cluster().await.config("default").await.unwrap();
    config.auth_info = kube::config::AuthInfo { token: Some(token.into()), ..Default::default() };
    let account = kube::Client::try_from(config).unwrap();
    assert_eq!(rights::who(&account).await.unwrap(), "system:serviceaccount:default:asked");
    for (verb, group, resource, namespace, expected) in [
        ("patch", "chaos-mesh.org", "networkchaos", Some("asked"), true),
        ("patch", "chaos-mesh.org", "networkchaos", Some("default"), false),
        ("patch", "chaos-mesh.org", "networkchaos", None, false),
        ("get", "", "pods/log", Some("asked"), true),
        ("delete", "", "pods", Some("asked"), false),
        ("create", "squall.dev", "halts", None, false),
    ] {
        let right = Right::new(verb, group, resource, namespace);
        assert_eq!(rights::allowed(&account, &right).await.unwrap(), expected, "{right}");
        assert!(rights::allowed(&client, &right).await.unwrap(), "{right}");
    }
}

/// Waits for texts, in any order.
fn shows(pty: &mut Pty, texts: &[&str]) {
    let all = |screen: &super::pty::Screen<'_>| texts.iter().all(|text| screen.has(text));
    pty.wait_for(all, 3 * PATIENCE, &format!("{texts:?}"));
}

/// Presses a key until its effect shows: the row that it is for may not be there yet.
fn presses(pty: &mut Pty, key: &str, effect: &str) {
    for _ in 0..20 {
        pty.press(key);
        for _ in 0..15 {
            pty.watch(Duration::from_millis(200));
            if pty.screen().has(effect) {
                return;
            }
        }
    }
    panic!("no {effect:?} after {key}:\n{}", pty.screen().frame());
}

#[tokio::test]
async fn the_console_of_a_viewer_says_what_may_not_be_done_before_it_is_tried() {
    let client = client_with_crds().await;
    namespace(&client, "looked-at").await;
    bind_everywhere(&client, "looker", viewer()).await;
    let home = Home::new();
    home.file("config", &kubeconfig_of(&token_of(&client, "looker").await).await);
    let config = home.path("config");
    let mut object = network(&json!({ "duration": "1h" }));
    object["metadata"] = json!({ "name": "looked" });
    create(Api::<squall::api::NetworkChaos>::namespaced(client.clone(), "looked-at"), object).await;
    tokio::task::spawn_blocking(move || {
        let mut pty = home.console(config.to_str().unwrap(), &["-n", "looked-at"]).size(120, 40).start();
        shows(&mut pty, &["NO RIGHTS", "looked-at"]);
        pty.press("2");
        presses(&mut pty, "p", "system:serviceaccount:default:looker may not patch networkchaos.chaos-mesh.org in namespace looked-at");
        pty.press("!");
        shows(&mut pty, &["Emergency stop?", "It will be refused"]);
        pty.press("enter");
        // The sentence is wrapped.
        shows(&mut pty, &["Could not emergency stop", "create halts.squall.dev"]);
        pty.press("esc");
        // A key right behind it would be another key.
        pty.wait_for(|screen| !screen.has("Could not"), PATIENCE, "an end of that");
        pty.press("?");
        shows(&mut pty, &["keys: "]);
    })
    .await
    .unwrap();
    // Granted meanwhile: the second try knows.
    let halts = Api::<squall::api::Halt>::all(client);
    assert!(halts.list(&kube::api::ListParams::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn the_console_of_one_namespace_shows_it_and_does_everything_there() {
    let client = client_with_crds().await;
    namespace(&client, "mine").await;
    let token = token_of(&client, "author").await;
    bind(&client, "mine", "author", author("author")).await;
    let home = Home::new();
    let text = kubeconfig_of(&token).await;
    let mut text: Value = serde_json::from_str(&text).unwrap();
    text["contexts"][0]["context"]["namespace"] = json!("mine");
    let config = home.file("config", &text.to_string());
    let mut object = network(&json!({ "duration": "1h" }));
    object["metadata"] = json!({ "name": "own" });
    create(Api::<squall::api::NetworkChaos>::namespaced(client.clone(), "mine"), object).await;
    tokio::task::spawn_blocking(move || {
        let mut pty = home.console(config.to_str().unwrap(), &[]).size(120, 40).start();
        shows(&mut pty, &["mine", "ARMED", "may not list nodes"]);
        pty.press("2");
        shows(&mut pty, &["own", "ARMED"]);
        presses(&mut pty, "p", "Pause NetworkChaos mine/own?");
        pty.press("enter");
        shows(&mut pty, &["is being paused"]);
    })
    .await
    .unwrap();
    let own = Api::<squall::api::NetworkChaos>::namespaced(client, "mine").get("own").await.unwrap();
    assert_eq!(own.metadata.annotations.unwrap().get(squall::api::PAUSE_ANNOTATION).unwrap(), "true");
}
