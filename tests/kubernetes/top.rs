//! `squall top` on a real API server, for who may see everything, who may see what `squall-admin` gives, and who may see nothing.
//! The nodes are only objects, so that no kubelet answers; what kubelets tell is read by tests on real nodes.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use test_cluster::{Cluster, FakeNodes};

use super::eventually;
use super::program::{Home, Said, token_of};
use super::pty::Launch;

const NODES: usize = 2;

/// Has the API server look for the kubelets at its own loopback address, where it asks nobody.
async fn nobody_answers(client: &Client) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nodes: Api<Node> = Api::all(client.clone());
    let status = json!({ "status": {
        "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": free } },
    } });
    for node in (0..NODES).map(FakeNodes::name) {
        let patch = Patch::Strategic(&status);
        nodes.patch_status(&node, &PatchParams::default(), &patch).await.unwrap();
    }
}

/// The kubeconfig of whoever has a token of this account.
async fn kubeconfig(cluster: &Cluster, home: &Home, client: &Client, account: &str) -> PathBuf {
    let text = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["users"][0]["user"] = json!({ "token": token_of(client, account).await });
    home.file(account, &config.to_string())
}

/// How long a verb may take on a busy machine.
const LONG: Duration = Duration::from_mins(2);

async fn squall(home: &Home, config: &Path, words: &[&str]) -> Said {
    let output = home.command(config.to_str().unwrap(), words).output();
    tokio::time::timeout(LONG, output).await.expect("the verb does not end").unwrap().into()
}

async fn top(home: &Home, config: &Path) -> Value {
    let said = squall(home, config, &["top", "-o", "json"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    serde_json::from_str(&said.out).unwrap()
}

/// Texts of this field of all elements.
fn all(list: &Value, path: &str) -> Vec<String> {
    let text = |one: &Value| one.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    list.as_array().unwrap().iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_what_he_may_and_is_told_what_he_may_not() {
    let cluster = Cluster::start().await.unwrap();
    let client = cluster.client("default").await.unwrap();
    let nodes = FakeNodes::start(client.clone(), NODES).await.unwrap();
    nobody_answers(&client).await;
    let home = Home::new();
    let admin = cluster.kubeconfig();
    let none = squall(&home, &admin, &["top", "--once"]).await;
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.err.contains("to install it: squall install"), "{}", none.err);
    assert_eq!(squall(&home, &admin, &["install", "--no-wait"]).await.code, Some(0));
    eventually("not everything seems to run", async || {
        let seen = top(&home, &admin).await;
        all(&seen["nodes"], "/daemon/state") == ["Ready"; NODES]
            && all(&seen["controllers"], "/state") == ["Ready"; 2]
    })
    .await;
    let seen = top(&home, &admin).await;
    assert_eq!(all(&seen["nodes"], "/node"), ["fake-0000", "fake-0001"]);
    assert_eq!(all(&seen["nodes"], "/daemon/version"), [env!("CARGO_PKG_VERSION"); NODES]);
    assert_eq!(all(&seen["nodes"], "/daemon/usageUnknown"), ["not known"; NODES], "{seen:#}");
    assert_eq!(seen["unknown"][0]["why"], "400 Bad Request: address not allowed", "{seen:#}");
    assert_eq!(seen["nodes"][0]["problems"], json!([]), "{seen:#}");

    let pager = kubeconfig(&cluster, &home, &client, "pager").await;
    let kubectl = cluster
        .kubectl()
        .args([
            "create",
            "clusterrolebinding",
            "pager",
            "--clusterrole=squall-admin",
            "--serviceaccount=default:pager",
        ])
        .output()
        .unwrap();
    assert!(kubectl.status.success(), "{kubectl:?}");
    eventually("the role is not in force", async || {
        let seen = top(&home, &pager).await;
        all(&seen["nodes"], "/daemon/usageUnknown") == ["no right"; NODES]
    })
    .await;
    let seen = top(&home, &pager).await;
    let unknown = &seen["unknown"];
    assert_eq!(unknown.as_array().unwrap().len(), 1, "{unknown:#}");
    assert_eq!(unknown[0]["why"], "system:serviceaccount:default:pager may not get nodes/proxy");
    assert!(unknown[0]["cure"].as_str().unwrap().contains("--resource=nodes/proxy"), "{unknown:#}");

    let stranger = kubeconfig(&cluster, &home, &client, "stranger").await;
    let said = squall(&home, &stranger, &["top"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    for line in
        ["Controllers: 0 of 0 ready", "not known: cannot list nodes", "not known: cannot list injections"]
    {
        assert!(said.out.contains(line), "{line}: {}", said.out);
    }

    let mut pty = Launch::squall(&["top", "--kubeconfig", admin.to_str().unwrap()]).size(80, 24).start();
    pty.wait_text("fake-0001");
    assert!(pty.screen().has("Daemons:     2 of 2 ready"), "{}", pty.screen().frame());
    assert!(pty.screen().is_alternate());
    pty.press("q");
    assert!(pty.wait_end().success());
    assert!(!pty.screen().is_alternate(), "the terminal is not as it was");
    drop(nodes);
}
