//! API servers that Squall cannot work with as they are: without its kinds, with those of another release, too old, busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};
use test_cluster::Cluster;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::manifest_table::network;
use super::program::Home;
use super::{PATIENCE, install};

/// What doctor found of this name.
async fn check(home: &Home, config: &std::path::Path, name: &str) -> Value {
    let said = home.squall(config, &["doctor", "-o", "json"]).await;
    let checks: Vec<Value> = serde_json::from_str(&said.out).unwrap();
    checks.into_iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {said:?}"))
}

#[tokio::test]
async fn kinds_that_are_missing_or_of_another_release_are_named_with_the_cure() {
    let cluster = Cluster::start().await.unwrap();
    let client = cluster.client("default").await.unwrap();
    let (home, config) = (Home::new(), cluster.kubeconfig());
    let mut object = network(&json!({ "duration": "1h" }));
    object["metadata"] = json!({ "name": "e" });
    let file = home.file("e.yaml", &object.to_string());
    let cure = "to do: to install it: squall install\n";
    for words in [
        &["status"][..],
        &["get", "networkchaos"],
        &["get", "networkchaos", "-w"],
        &["apply", "-f", file.to_str().unwrap()],
        &["run", "-f", file.to_str().unwrap()],
        &["halt", "--no-wait"],
    ] {
        let said = home.squall(&config, words).await;
        assert!(said.code == Some(1) && said.err.ends_with(cure), "{words:?}: {said:?}");
        assert_eq!(said.err.matches("error: ").count(), 1, "{words:?}: {}", said.err);
    }
    let kinds = check(&home, &config, "kinds").await;
    let all = "the API server does not have networkchaos, podchaos, injections, halts";
    assert_eq!((&kinds["verdict"], &kinds["what"]), (&json!("fail"), &json!(all)), "{kinds}");
    let path = config.clone();
    let home = tokio::task::spawn_blocking(move || {
        let mut pty = home.console(path.to_str().unwrap(), &[]).size(120, 40).start();
        pty.wait_text("the API server does not have networkchaos");
        pty.press("2");
        pty.wait_text("not installed: this API server does not know the kind");
        drop(pty);
        home
    })
    .await
    .unwrap();

    for kind in squall::api::custom_kinds() {
        let mut definition = serde_json::to_value(kind.definition()).unwrap();
        let schema = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties").unwrap();
        if kind.kind == "PodChaos" {
            // Rules speak of what is taken away.
            schema["spec"].as_object_mut().unwrap().remove("x-kubernetes-validations");
            schema["spec"]["properties"].as_object_mut().unwrap().remove("gracePeriod").unwrap();
            schema["status"]["properties"]["experiment"]["properties"]
                .as_object_mut()
                .unwrap()
                .remove("targets")
                .unwrap();
        }
        let root = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema").unwrap();
        root.as_object_mut().unwrap().remove("x-kubernetes-validations");
        let definition: CustomResourceDefinition = serde_json::from_value(definition).unwrap();
        install(&client, &definition).await;
    }
    // The document of a group follows its kinds.
    let begun = Instant::now();
    let kinds = loop {
        let kinds = check(&home, &config, "kinds").await;
        if kinds["what"].as_str().unwrap().contains("podchaos") || begun.elapsed() > PATIENCE {
            break kinds;
        }
    };
    let what = "podchaos of this API server is of an older release, or Chaos Mesh's own: it lacks spec.gracePeriod, \
                status.experiment.targets";
    assert_eq!((&kinds["verdict"], &kinds["what"]), (&json!("fail"), &json!(what)), "{kinds}");
    for kind in squall::api::custom_kinds() {
        install(&client, kind.definition()).await;
    }
    let begun = Instant::now();
    while check(&home, &config, "kinds").await["verdict"] != "ok" {
        assert!(begun.elapsed() < PATIENCE, "{}", check(&home, &config, "kinds").await);
    }
    assert_eq!(check(&home, &config, "Kubernetes").await["verdict"], "ok");
}

/// A server that answers each request with what `answer` makes of its number and path: status, headers, body.
async fn server(
    answer: impl Fn(usize, &str) -> (&'static str, &'static str, String) + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::<AtomicUsize>::default();
    let (requests, answer) = (Arc::clone(&count), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (requests, answer) = (Arc::clone(&requests), Arc::clone(&answer));
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let request = String::from_utf8(request).unwrap();
                let path = request.split(' ').nth(1).unwrap();
                let (status, headers, body) = answer(requests.fetch_add(1, Ordering::SeqCst), path);
                let length = body.len();
                let text = format!(
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
                );
                stream.write_all(text.as_bytes()).await.unwrap();
            });
        }
    });
    let config = json!({
        "current-context": "c", "contexts": [{ "name": "c", "context": { "cluster": "c" } }],
        "clusters": [{ "name": "c", "cluster": { "server": format!("http://{address}") } }],
    });
    (config.to_string(), count)
}

#[tokio::test]
async fn an_old_kubernetes_is_told() {
    let old = |_, path: &str| {
        let version = json!({
            "major": "1", "minor": "31+", "gitVersion": "v1.31.9", "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
        });
        if path == "/version" {
            ("200 OK", "", version.to_string())
        } else {
            ("404 Not Found", "", String::new())
        }
    };
    let home = Home::new();
    let file = home.file("config", &server(old).await.0);
    let version = check(&home, &file, "Kubernetes").await;
    let what = "this is Kubernetes 1.31+, and 1.32 is the oldest that Squall works with";
    assert_eq!((&version["verdict"], &version["what"]), (&json!("fail"), &json!(what)), "{version}");
    tokio::task::spawn_blocking(move || {
        home.console(file.to_str().unwrap(), &[]).size(120, 40).start().wait_text("this is Kubernetes 1.31+");
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn only_what_the_server_asks_for_is_asked_again() {
    let home = Home::new();
    for (status, headers, answers, least) in [
        ("429 Too Many Requests", "retry-after: 1\r\n", 2, Duration::from_secs(1)),
        ("503 Service Unavailable", "retry-after: 1\r\n", 2, Duration::from_secs(1)),
        ("503 Service Unavailable", "", 1, Duration::ZERO),
        ("504 Gateway Timeout", "retry-after: 1\r\n", 1, Duration::ZERO),
    ] {
        let busy = move |number: usize, _: &str| {
            if number == 0 { (status, headers, "busy".to_owned()) } else { ("200 OK", "", "well".to_owned()) }
        };
        let (config, count) = server(busy).await;
        let begun = Instant::now();
        let said = home.squall(&home.file("config", &config), &["get", "--raw", "/x"]).await;
        assert_eq!(count.load(Ordering::SeqCst), answers, "{status} {headers}: {said:?}");
        assert_eq!(said.out == "well", answers == 2, "{status} {headers}: {said:?}");
        assert!(begun.elapsed() >= least, "{status} {headers}: after {:?}", begun.elapsed());
    }
}
