//! An API server that is away for some seconds: what waits goes on, says so, and loses nothing.

use std::process::Stdio;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use test_cluster::Cluster;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::sync::mpsc;

use super::manifest_table::network;
use super::program::Home;
use super::{PATIENCE, install};

/// How long it is away.
const AWAY: Duration = Duration::from_secs(6);

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
}

/// Reads lines until one has this text, and gives all that came.
async fn until<R: tokio::io::AsyncBufRead + Unpin>(lines: &mut Lines<R>, wanted: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let reading = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            seen.push(line);
            if seen.last().unwrap().contains(wanted) {
                return true;
            }
        }
        false
    };
    let found = tokio::time::timeout(2 * PATIENCE, reading).await.unwrap_or(false);
    assert!(found, "no {wanted:?} in {seen:?}");
    seen
}

#[tokio::test]
async fn verbs_that_wait_go_on() {
    let mut cluster = Cluster::start().await.unwrap();
    let client = cluster.client("default").await.unwrap();
    for kind in squall::api::custom_kinds() {
        install(&client, kind.definition()).await;
    }
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    for name in ["stays", "goes"] {
        maps.create(&PostParams::default(), &map(name)).await.unwrap();
    }
    let home = Home::new();
    let config = cluster.kubeconfig();
    let config = config.to_str().unwrap();
    let mut watch = home.command(config, &["get", "configmaps", "-w", "-o", "name"]).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut talk = BufReader::new(watch.stderr.take().unwrap()).lines();
    until(&mut lines, "configmap/stays").await;
    let mut object = network(&json!({ "duration": "1h" }));
    object["metadata"] = json!({ "name": "run" });
    let file = home.file("run.yaml", &object.to_string());
    let mut run = home.command(config, &["run", "-f", file.to_str().unwrap()]);
    let mut run = run.stdin(Stdio::null()).spawn().unwrap();
    let mut progress = BufReader::new(run.stdout.take().unwrap()).lines();
    let mut said = BufReader::new(run.stderr.take().unwrap()).lines();
    until(&mut progress, "run created").await;

    cluster.stop_api_server().unwrap();
    let away = Instant::now();
    until(&mut talk, "the API server is out of reach, still trying: cannot watch configmaps").await;
    until(&mut said, "the API server is out of reach, still trying: cannot watch networkchaos").await;
    // Ctrl-C while nobody answers is not lost.
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(run.id().unwrap().cast_signed()),
        nix::sys::signal::Signal::SIGINT,
    )
    .unwrap();
    until(&mut said, "it is stopped as soon as the API server answers").await;
    tokio::time::sleep(AWAY.saturating_sub(away.elapsed())).await;
    cluster.start_api_server().await.unwrap();
    maps.delete("goes", &DeleteParams::default()).await.unwrap();
    maps.create(&PostParams::default(), &map("comes")).await.unwrap();
    until(&mut talk, "the API server answers again").await;
    let again = until(&mut lines, "configmap/comes").await;
    assert!(!again.iter().any(|line| line.contains("stays")), "what is known is printed again: {again:?}");
    until(&mut said, "stopped and recovered").await;
    assert_eq!(run.wait().await.unwrap().code(), Some(5));
    println!("away for {:.1} s in all", away.elapsed().as_secs_f64());
}

fn pod(name: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": name }, "spec": {
            "schedulerName": "none", "containers": [{ "name": "main", "image": "example.invalid/main:1" }],
        },
    }))
    .unwrap()
}

/// What the test on the terminal asks of the cluster.
enum Order {
    Stop,
    /// Start it, make a pod and take another away.
    Start,
}

#[tokio::test]
async fn the_console_says_since_when_it_knows_nothing_and_comes_back_by_itself() {
    let mut cluster = Cluster::start().await.unwrap();
    let client = cluster.client("default").await.unwrap();
    for kind in squall::api::custom_kinds() {
        install(&client, kind.definition()).await;
    }
    let pods: Api<Pod> = Api::default_namespaced(client);
    for name in ["stays", "goes"] {
        pods.create(&PostParams::default(), &pod(name)).await.unwrap();
    }
    let home = Home::new();
    let config = cluster.kubeconfig();
    let (orders, mut received) = mpsc::channel(1);
    let seen = tokio::task::spawn_blocking(move || {
        let mut pty = home.console(config.to_str().unwrap(), &[]).size(100, 30).start();
        pty.wait_for(|screen| screen.has("stays") && screen.has("goes"), PATIENCE, "the pods");
        orders.blocking_send(Order::Stop).unwrap();
        pty.wait_for(
            |screen| screen.has("STALE") && screen.has("connection refused"),
            PATIENCE,
            "word of the loss",
        );
        assert!(pty.screen().has("stays"), "what was known is gone:\n{}", pty.screen().frame());
        pty.watch(AWAY);
        pty.wait_for(
            |screen| screen.has("STALE 5s") || screen.has("STALE 6s") || screen.has("STALE 7s"),
            PATIENCE,
            "since when",
        );
        orders.blocking_send(Order::Start).unwrap();
        pty.wait_for(
            |screen| screen.has("comes") && !screen.has("goes") && !screen.has("STALE"),
            2 * PATIENCE,
            "what is now",
        );
        let frame = pty.screen().frame();
        pty.press("q");
        assert!(pty.wait_end().success());
        frame
    });
    while let Some(order) = received.recv().await {
        match order {
            Order::Stop => cluster.stop_api_server().unwrap(),
            Order::Start => {
                cluster.start_api_server().await.unwrap();
                pods.delete("goes", &DeleteParams::default().grace_period(0)).await.unwrap();
                pods.create(&PostParams::default(), &pod("comes")).await.unwrap();
            }
        }
    }
    println!("{}", seen.await.unwrap());
}

#[tokio::test]
async fn one_console_goes_from_one_living_cluster_to_another() {
    let (one, two) = tokio::join!(Cluster::start(), Cluster::start());
    let (one, two) = (one.unwrap(), two.unwrap());
    let mut merged = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "one", "clusters": [], "users": [], "contexts": [],
    });
    for (name, cluster) in [("one", &one), ("two", &two)] {
        let pods: Api<Pod> = Api::default_namespaced(cluster.client("default").await.unwrap());
        pods.create(&PostParams::default(), &pod(&format!("only-in-{name}"))).await.unwrap();
        let text = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        for list in ["clusters", "users"] {
            config[list][0]["name"] = json!(name);
            merged[list].as_array_mut().unwrap().push(config[list][0].take());
        }
        let mut context = json!({ "cluster": name, "user": name });
        if name == "two" {
            context["namespace"] = json!("default");
        }
        merged["contexts"].as_array_mut().unwrap().push(json!({ "name": name, "context": context }));
    }
    let asks = json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "true", "interactiveMode": "Always",
    } });
    merged["users"].as_array_mut().unwrap().push(json!({ "name": "asks", "user": asks }));
    merged["contexts"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "asks", "context": { "cluster": "one", "user": "asks" } }));
    let home = Home::new();
    let config = home.file("config", &merged.to_string());
    tokio::task::spawn_blocking(move || {
        let mut pty = home.console(config.to_str().unwrap(), &[]).size(120, 40).start();
        let on = |pty: &mut super::pty::Pty, name: &str, other: &str| {
            let (here, there) = (format!("only-in-{name}"), format!("only-in-{other}"));
            let shown = |screen: &super::pty::Screen<'_>| {
                screen.has(&format!("context {name} (")) && screen.has(&here) && !screen.has(&there)
            };
            pty.wait_for(shown, PATIENCE, name);
        };
        on(&mut pty, "one", "two");
        pty.type_text(":ctx two\r");
        on(&mut pty, "two", "one");
        // The namespace of that context, and then all of the other's.
        assert!(pty.screen().text().lines().next().unwrap().contains("default"), "{}", pty.screen().frame());
        pty.type_text("gx");
        pty.wait_text("Talk to which context?");
        pty.press("enter");
        on(&mut pty, "one", "two");
        assert!(pty.screen().has("all namespaces"), "{}", pty.screen().frame());
        pty.type_text(":ctx nowhere\r");
        pty.wait_text("has no context \"nowhere\"");
        pty.press("esc");
        // A key right behind it would be another key.
        pty.wait_for(|screen| !screen.has("has no context"), PATIENCE, "an end of that");
        pty.watch(Duration::from_millis(500));
        on(&mut pty, "one", "two");
        pty.type_text(":ctx asks\r");
        pty.wait_text("needs the terminal, and the console has it");
        pty.type_text(":ctx two\r");
        on(&mut pty, "two", "one");
    })
    .await
    .unwrap();
}
