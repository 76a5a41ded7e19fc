//! The tutorial's partition, through the real controller and daemons, measured at the client.
//!
//! Nothing here believes our own status: requests are judged by the traffic client's samples, tables by
//! nft, and a second client of the same database is the bystander.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use squall::api::{Injection, NetworkChaos};

use super::cluster::{
    Sample, is_ready, median, pod, pods, process_of, process_with, samples, sandbox_of, tables, until, wall,
};
use super::harness::{Access, Home, Playground};

/// How soon after `run` the fault is felt.
const FELT_WITHIN: f64 = 2.0;

/// How long TCP's back-off may keep `/movies` away after the end.
pub(super) const BACK_WITHIN: f64 = 15.0;

/// How much slower than before the bystander's median may be, in seconds.
const BYSTANDER: f64 = 0.002;

pub(super) fn partition(name: &str, direction: &str, duration: Option<&str>) -> Value {
    let of = |app: &str| json!({"namespaces": ["default"], "labelSelectors": {"app": app}});
    json!({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "NetworkChaos",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "action": "partition", "mode": "all", "selector": of("server-app"), "direction": direction,
            "target": {"mode": "all", "selector": of("mongo")}, "duration": duration,
        },
    })
}

/// A second movies server on the same database with a client of its own: it shares everything with the
/// target but the fault.
pub(super) async fn bystander(playground: &Playground) -> Pod {
    let client = playground.client();
    let deployment = |name: &str, container: Value| -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
            },
        }))
        .unwrap()
    };
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let server = json!({
        "name": "server", "image": "movies:0.1.0", "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    });
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": "bystander"},
        "spec": {"selector": {"app": "bystander"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }))
    .unwrap();
    let caller = json!({
        "name": "client", "image": "traffic:0.1.0", "ports": [{"containerPort": 9090}],
        "args": ["--url", "http://bystander", "--mix", "/movies=1", "--workers", "1", "--rate", "50"],
        "readinessProbe": {"httpGet": {"path": "/metrics", "port": 9090}, "periodSeconds": 1},
    });
    deployments.create(&PostParams::default(), &deployment("bystander", server)).await.unwrap();
    Api::default_namespaced(client.clone()).create(&PostParams::default(), &service).await.unwrap();
    deployments.create(&PostParams::default(), &deployment("bystander-client", caller)).await.unwrap();
    until("the bystander's client has answers", async || {
        let caller = pods(&client, "bystander-client").await.into_iter().find(is_ready)?;
        let answered = samples(playground, &caller, "/movies").await.iter().filter(|s| s.succeeded()).count();
        (answered >= 100).then_some(caller)
    })
    .await
}

pub(super) fn between(samples: &[Sample], from: f64, to: f64) -> Vec<Sample> {
    samples.iter().filter(|sample| sample.end() >= from && sample.end() <= to).cloned().collect()
}

pub(super) fn successes(samples: &[Sample], from: f64, to: f64) -> usize {
    between(samples, from, to).iter().filter(|sample| sample.succeeded()).count()
}

/// Waits until `/movies` is answered as it should be.
pub(super) async fn steady(playground: &Access, traffic: &Pod) {
    until("/movies answers", async || {
        let recent = samples(playground, traffic, "/movies").await;
        (successes(&recent, wall() - 1.0, wall()) >= 20).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_partition_is_felt_by_its_target_only_and_goes_away() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let client = playground.client();
    let traffic = pod(&client, "traffic").await;
    let bystander = bystander(&playground).await;
    let faulted: Vec<Pod> =
        pods(&client, "server-app").await.into_iter().chain(pods(&client, "mongo").await).collect();
    let clean: Vec<_> = faulted.iter().map(|pod| tables(&home, pod)).collect();

    for direction in ["to", "from", "both"] {
        steady(&playground, &traffic).await;
        let normal = median(&samples(&playground, &bystander, "/movies").await);

        let begun = wall();
        let run = home.squall(
            &["run", "-f", "-"],
            &partition(&format!("partition-{direction}"), direction, Some("6s")).to_string(),
        );
        tokio::time::sleep(Duration::from_secs(4)).await;
        let listed: Vec<_> = faulted.iter().map(|pod| tables(&home, pod)).collect();
        for (pod, listing) in faulted.iter().zip(&listed) {
            let Some(listing) = listing else {
                eprintln!("SKIPPED: looking at the tables with nft, which needs nft and nsenter");
                break;
            };
            assert!(listing.contains("table inet squall_pod"), "{} has no table: {listing}", pod.name_any());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (from, to) = (begun + FELT_WITHIN, begun + 5.0);
        let movies = samples(&playground, &traffic, "/movies").await;
        assert_eq!(
            successes(&movies, from, to),
            0,
            "direction {direction}: {:?}",
            between(&movies, from, to)
        );
        for path in ["/", "/message1"] {
            let answered = successes(&samples(&playground, &traffic, path).await, from, to);
            assert!(answered >= 3, "direction {direction}: {path} answered {answered} times in 3 s");
        }
        let during = between(&samples(&playground, &bystander, "/movies").await, from, to);
        let median = median(&during);
        // Faster it may become: its database has less to do.
        assert!(
            median - normal < BYSTANDER,
            "direction {direction}: the bystander's median went from {normal} to {median} s"
        );

        let ended = tokio::task::spawn_blocking(move || run.wait_with_output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert_eq!(ended.status.code(), Some(0), "{said}\n{}", String::from_utf8_lossy(&ended.stderr));
        let over = wall();
        let back = until("/movies answers again", async || {
            let movies = samples(&playground, &traffic, "/movies").await;
            movies.into_iter().find(|sample| sample.succeeded() && sample.end() > begun + 5.5)
        })
        .await;
        let waited = back.end() - over;
        assert!(waited < BACK_WITHIN, "direction {direction}: /movies was back only after {waited} s");
        let left: Vec<_> = faulted.iter().map(|pod| tables(&home, pod)).collect();
        assert_eq!(left, clean, "direction {direction}: the pods' tables are not as before");
        eprintln!(
            "direction {direction}: no /movies from {FELT_WITHIN} s on; back {waited:+.2} s after the end; \
             bystander's median {:.2} ms before, {:.2} ms during",
            normal * 1e3,
            median * 1e3
        );
    }
}

#[tokio::test]
async fn a_killed_daemon_takes_its_tables_with_it_and_the_next_one_does_what_is_wanted() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let client = playground.client();
    let server = pods(&client, "server-app").await;
    let on = |node: &str| {
        server.iter().find(|pod| pod.spec.as_ref().unwrap().node_name.as_deref() == Some(node)).unwrap()
    };
    let (near, far) = (on("machine2"), on("machine3"));
    if tables(&home, near).is_none() {
        eprintln!("SKIPPED: killing a daemon in mid-fault, which needs nft and nsenter to see the tables");
        return;
    }
    let has_table = |pod: &Pod| tables(&home, pod).is_some_and(|listing| listing.contains("squall_pod"));
    let experiments: Api<NetworkChaos> = Api::default_namespaced(client.clone());
    let chaos: NetworkChaos = serde_json::from_value(partition("endless", "both", None)).unwrap();
    experiments.create(&PostParams::default(), &chaos).await.unwrap();
    until("both servers have a table", async || (has_table(near) && has_table(far)).then_some(())).await;

    let daemon = daemon_of(&playground, &home, "machine2").await;
    kill(Pid::from_raw(daemon), Signal::SIGKILL).unwrap();
    let killed = std::time::Instant::now();
    while has_table(near) {
        assert!(killed.elapsed() < Duration::from_secs(1), "the table outlived its daemon");
    }
    let gone = killed.elapsed();
    assert!(has_table(far), "another node's fault is none of its business");
    until("the next daemon injects again", async || has_table(near).then_some(())).await;
    eprintln!("table gone {} ms after kill -9, back after {:?}", gone.as_millis(), killed.elapsed());
    let injections: Api<Injection> = Api::namespaced(client.clone(), "squall-system");
    until("the interruption is counted", async || {
        let all = injections.list(&ListParams::default()).await.unwrap().items;
        let near = all.into_iter().find(|injection| injection.spec.node == "machine2")?;
        (near.status?.interruptions == 1).then_some(())
    })
    .await;

    // Deleted while its daemon is dead: the next one must not bring it back.
    let daemon = daemon_of(&playground, &home, "machine2").await;
    kill(Pid::from_raw(daemon), Signal::SIGKILL).unwrap();
    experiments.delete("endless", &DeleteParams::default()).await.unwrap();
    until("the experiment is gone", async || {
        experiments.get_opt("endless").await.unwrap().is_none().then_some(())
    })
    .await;
    assert!(!has_table(near) && !has_table(far), "something came back");
    assert_eq!(injections.list(&ListParams::default()).await.unwrap().items.len(), 0);
    // Both pods are the same as ever: their networks were never touched otherwise.
    assert_eq!(sandbox_of(&home, near), sandbox_of(&home, &pod_named(&playground, near).await));
}

#[tokio::test]
async fn ctrl_c_ends_the_run_and_waits_until_everything_is_as_before() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let client = playground.client();
    let server = pod(&client, "server-app").await;
    let traffic = pod(&client, "traffic").await;
    let clean = tables(&home, &server);
    steady(&playground, &traffic).await;
    let run = home.squall(&["run", "-f", "-"], &partition("until-ctrl-c", "to", None).to_string());
    until("/movies fails", async || {
        let recent = between(&samples(&playground, &traffic, "/movies").await, wall() - 1.0, wall());
        (recent.len() >= 2 && !recent.iter().any(Sample::succeeded)).then_some(())
    })
    .await;
    kill(Pid::from_raw(i32::try_from(run.id()).unwrap()), Signal::SIGINT).unwrap();
    let ended = tokio::task::spawn_blocking(move || run.wait_with_output().unwrap()).await.unwrap();
    // It has waited: what is true now was true when it returned.
    assert_eq!(tables(&home, &server), clean);
    let over = wall();
    let said =
        format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert_eq!(ended.status.code(), Some(5), "{said}");
    until("/movies answers again", async || {
        let movies = samples(&playground, &traffic, "/movies").await;
        assert!(wall() - over < BACK_WITHIN, "not back {BACK_WITHIN} s after the end");
        movies.into_iter().find(|sample| sample.succeeded() && sample.end() > over)
    })
    .await;
    let left: Api<Injection> = Api::namespaced(client, "squall-system");
    assert_eq!(left.list(&ListParams::default()).await.unwrap().items.len(), 0);
}

async fn pod_named(playground: &Playground, pod: &Pod) -> Pod {
    Api::default_namespaced(playground.client()).get(&pod.name_any()).await.unwrap()
}

/// The machine's process number of the daemon of a node, once it runs.
async fn daemon_of(playground: &Playground, home: &Home, node: &str) -> i32 {
    let pods: Api<Pod> = Api::namespaced(playground.client(), "squall-system");
    let name = format!("squall-daemon-{node}");
    until(&format!("{name} runs"), async || process_of(home, &pods.get(&name).await.unwrap())).await
}

#[tokio::test]
async fn what_cannot_be_injected_says_so() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let mut bandwidth = partition("narrow", "to", Some("1m"));
    bandwidth["spec"]["action"] = json!("bandwidth");
    bandwidth["spec"]["bandwidth"] = json!({"rate": "1mbps", "limit": 20_000, "buffer": 10_000});
    let run = home.squall(&["run", "-f", "-"], &bandwidth.to_string());
    let ended = tokio::task::spawn_blocking(move || run.wait_with_output().unwrap()).await.unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("does not inject \"bandwidth\" yet"), "{said}");
    assert!(process_with(&home, "SQUALL_FINDER=environ").is_some(), "{said}");
    drop(playground);
}
