//! The real controller against an API server in the same process, with simulated daemons.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod cluster;
mod simulated;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use squall::api::{ConditionKind, DesiredPhase, NetworkEffect};
use squall::controller::LeaseTimes;

use cluster::Cluster;

#[tokio::test]
async fn a_partition_reaches_every_node_with_the_right_peers_and_goes_again() {
    let cluster = Cluster::start().await;
    cluster.controller("c1");
    cluster.daemons();
    cluster.create("cut", json!({})).await;
    cluster.experiment("cut", |status| status.is(ConditionKind::AllInjected)).await;

    let injections = cluster.injections().await;
    let nodes: Vec<_> = injections.iter().map(|injection| injection.spec.node.as_str()).collect();
    assert_eq!(nodes, ["n1", "n2"]);
    for injection in &injections {
        let network = injection.spec.fault.network.as_ref().unwrap();
        assert_eq!(network.exempt.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.96.0.99/32"]);
        for end in &network.ends {
            let (rule, expected) = match end.selector_key.as_str() {
                "." => (end.egress.as_ref().unwrap(), vec!["10.0.2.2/32", "10.96.0.2/32"]),
                _ => (end.ingress.as_ref().unwrap(), vec!["10.0.1.1/32", "10.0.2.1/32"]),
            };
            let peers = rule.peers.iter().flatten().map(|peer| peer.network.to_string());
            assert_eq!(peers.collect::<Vec<_>>(), expected, "{}", end.selector_key);
            assert_eq!(rule.action, NetworkEffect::Drop);
        }
    }

    cluster.delete("cut").await;
    cluster.gone("cut").await;
    assert!(cluster.injections().await.is_empty());
    assert_eq!(cluster.event_reasons("cut").await, ["Applied", "Deleted", "Recovered", "Started"]);
}

#[tokio::test]
async fn a_run_ends_when_its_daemons_say_so_and_does_not_start_again() {
    let cluster = Cluster::start().await;
    let controller = cluster.controller("c1");
    cluster.daemons();
    cluster.create("short", json!({"duration": "200ms"})).await;
    let is_over = |status: &squall::api::ChaosStatus| {
        status.experiment.ended.is_some() && status.is(ConditionKind::AllRecovered)
    };
    let over = cluster.experiment("short", is_over).await;
    assert_eq!(over.experiment.ended.as_deref(), Some("DurationElapsed"));
    assert_eq!(over.experiment.desired_phase, Some(DesiredPhase::Stop));
    assert_eq!(over.experiment.container_records.len(), 3);
    cluster.no_injections().await;

    controller.stop().await;
    cluster.controller("c2");
    cluster.create("next", json!({})).await;
    cluster.experiment("next", |status| status.is(ConditionKind::AllInjected)).await;
    let names: Vec<_> = cluster.injections().await.iter().map(|i| i.spec.experiment.name.clone()).collect();
    assert_eq!(names, ["next", "next"], "the new controller left what is over as it is");
    let after = cluster.experiment("short", |_| true).await;
    assert_eq!(after, over);
}

#[tokio::test]
async fn what_cannot_be_injected_yet_is_said() {
    let cluster = Cluster::start().await;
    cluster.controller("c1");
    let narrow = json!({"rate": "1mbps", "limit": 20_000, "buffer": 10_000});
    cluster.create("narrow", json!({"action": "bandwidth", "bandwidth": narrow})).await;
    let status = cluster.experiment("narrow", |status| status.is(ConditionKind::Invalid)).await;
    let message = status.condition(ConditionKind::Invalid).unwrap().message.clone().unwrap();
    assert!(message.contains("\"bandwidth\"") && message.contains("partition"), "{message}");
    cluster.event("narrow", "NotSupported").await;
    cluster.patch("narrow", json!({"spec": {"action": "partition"}})).await;
    cluster.daemons();
    cluster.experiment("narrow", |status| status.is(ConditionKind::AllInjected)).await;
}

#[tokio::test]
async fn an_empty_selection_is_tried_again_when_a_pod_comes() {
    let cluster = Cluster::start().await;
    cluster.controller("c1");
    cluster.daemons();
    cluster.create("early", json!({"selector": {"labelSelectors": {"app": "late"}}})).await;
    let status = cluster.experiment("early", |status| !status.conditions.is_empty()).await;
    assert!(!status.is(ConditionKind::Selected));
    cluster.pod("late", "late", "n1", "10.0.1.9").await;
    cluster.experiment("early", |status| status.is(ConditionKind::AllInjected)).await;
}

#[tokio::test]
async fn pause_and_resume() {
    let cluster = Cluster::start().await;
    cluster.controller("c1");
    cluster.daemons();
    cluster.create("cut", json!({"duration": "1h"})).await;
    cluster.experiment("cut", |status| status.is(ConditionKind::AllInjected)).await;
    let pause = |value: &str| json!({"metadata": {"annotations": {squall::api::PAUSE_ANNOTATION: value}}});
    cluster.patch("cut", pause("true")).await;
    cluster
        .experiment("cut", |status| {
            status.is(ConditionKind::Paused) && status.is(ConditionKind::AllRecovered)
        })
        .await;
    cluster.patch("cut", pause("false")).await;
    cluster.experiment("cut", |status| status.is(ConditionKind::AllInjected)).await;
    assert!(cluster.injections().await.iter().all(|injection| injection.spec.run == 2));
}

#[tokio::test]
async fn a_halt_finishes_what_runs_and_holds_back_what_comes() {
    let cluster = Cluster::start().await;
    cluster.controller("c1");
    cluster.daemons();
    cluster.create("before", json!({})).await;
    cluster.experiment("before", |status| status.is(ConditionKind::AllInjected)).await;
    cluster.halt("elsewhere", &["other"]).await;
    cluster.halt("stop", &["default"]).await;
    let over = cluster
        .experiment("before", |status| {
            status.experiment.ended.is_some() && status.is(ConditionKind::AllRecovered)
        })
        .await;
    assert_eq!(over.experiment.ended.as_deref(), Some("Halted"));
    cluster.no_injections().await;
    cluster.event("before", "Halted").await;

    cluster.create("during", json!({})).await;
    let waiting = cluster.experiment("during", |status| !status.conditions.is_empty()).await;
    let selected = waiting.condition(ConditionKind::Selected).unwrap();
    assert_eq!((selected.status.as_str(), selected.reason.as_deref()), ("False", Some("Halted")));
    cluster.event("during", "Halted").await;
    assert!(cluster.injections().await.is_empty());

    cluster.release("stop").await;
    cluster.experiment("during", |status| status.is(ConditionKind::AllInjected)).await;
    let names: Vec<_> = cluster.injections().await.iter().map(|i| i.spec.experiment.name.clone()).collect();
    assert_eq!(names, ["during", "during"], "what was stopped does not start again");
    assert_eq!(cluster.experiment("before", |_| true).await, over);
}

#[tokio::test]
async fn an_api_server_that_knows_no_halts_has_none() {
    let cluster = Cluster::start_without(&["Halt"]).await;
    cluster.controller("c1");
    cluster.daemons();
    cluster.create("cut", json!({})).await;
    cluster.experiment("cut", |status| status.is(ConditionKind::AllInjected)).await;
}

#[tokio::test]
async fn injections_without_an_experiment_are_taken_away() {
    let cluster = Cluster::start().await;
    let controller = cluster.controller("c1");
    cluster.daemons();
    cluster.create("cut", json!({})).await;
    cluster.experiment("cut", |status| status.is(ConditionKind::AllInjected)).await;
    controller.stop().await;
    // Somebody forces it out of the way while no controller is there.
    cluster.patch("cut", json!({"metadata": {"finalizers": null}})).await;
    cluster.delete("cut").await;
    assert_eq!(cluster.injections().await.len(), 2);
    cluster.controller("c2");
    cluster.no_injections().await;
}

fn quick() -> LeaseTimes {
    LeaseTimes { duration: Duration::from_secs(1), renew_every: Duration::from_millis(100) }
}

async fn holder(cluster: &Cluster) -> Option<String> {
    let lease: Lease = cluster.api("squall-system").get_opt("squall-controller").await.unwrap()?;
    lease.spec?.holder_identity
}

#[tokio::test]
async fn of_two_controllers_one_acts_and_the_other_takes_over() {
    let cluster = Cluster::start().await;
    let first = cluster.controller_with("first", quick());
    cluster.until("somebody leads", async || holder(&cluster).await.is_some()).await;
    let second = cluster.controller_with("second", quick());
    cluster.daemons();
    cluster.create("one", json!({})).await;
    cluster.experiment("one", |status| status.is(ConditionKind::AllInjected)).await;
    assert_eq!(cluster.event_reporters("one").await, ["first"]);

    // Killed: no Lease is given back, it has to run out.
    first.kill();
    cluster.until("the second leads", async || holder(&cluster).await.as_deref() == Some("second")).await;
    cluster.delete("one").await;
    cluster.gone("one").await;

    // Stopped in order: the next one need not wait.
    let third = cluster.controller_with("third", quick());
    second.stop().await;
    cluster.until("the third leads", async || holder(&cluster).await.as_deref() == Some("third")).await;
    cluster.create("two", json!({})).await;
    cluster.experiment("two", |status| status.is(ConditionKind::AllInjected)).await;
    third.stop().await;
    assert_eq!(holder(&cluster).await, None);
}

#[tokio::test]
async fn a_leader_whose_lease_is_taken_stops_acting() {
    let cluster = Cluster::start().await;
    cluster.controller_with("c1", quick());
    cluster.until("it leads", async || holder(&cluster).await.is_some()).await;
    let leases: kube::Api<Lease> = cluster.api("squall-system");
    let taken = json!({"spec": {"holderIdentity": "usurper", "leaseDurationSeconds": 3600}});
    leases.patch("squall-controller", &PatchParams::default(), &Patch::Merge(taken)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.create("cut", json!({})).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(cluster.injections().await.is_empty());
    let untouched = cluster.experiment("cut", |_| true).await;
    assert_eq!(untouched, squall::api::ChaosStatus::default());
    assert_eq!(holder(&cluster).await.as_deref(), Some("usurper"));
}

#[tokio::test]
async fn the_lease_is_renewed_as_a_heartbeat() {
    let cluster = Cluster::start().await;
    cluster.controller_with("c1", quick());
    cluster.until("it leads", async || holder(&cluster).await.is_some()).await;
    let version = async || {
        let lease: Lease = cluster.api("squall-system").get("squall-controller").await.unwrap();
        lease.resource_version()
    };
    let before = version().await;
    cluster.until("it is renewed", async || version().await != before).await;
}

#[tokio::test]
async fn a_pod_failure_that_nobody_remembers_is_undone() {
    use k8s_openapi::api::core::v1::Pod;
    let cluster = Cluster::start().await;
    let pods: kube::Api<Pod> = cluster.api("default");
    let before = json!({"experiment": "gone", "image": "hold", "containers": {"c": "i"}}).to_string();
    let patch = json!([
        {"op": "add", "path": "/metadata/annotations", "value": {"squall.dev/pod-failure": before, "note": "x"}},
        {"op": "replace", "path": "/spec/containers/0/image", "value": "hold"},
    ]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).unwrap());
    pods.patch("web-1", &PatchParams::default(), &patch).await.unwrap();
    cluster.controller("c1");
    cluster
        .until("the image is back", async || {
            let pod = pods.get("web-1").await.unwrap();
            let image = pod.spec.as_ref().unwrap().containers[0].image.clone();
            image.as_deref() == Some("i") && pod.annotations().keys().eq(["note"])
        })
        .await;
}

#[tokio::test]
async fn a_pod_that_is_gone_is_replaced_and_the_other_end_follows() {
    let cluster = Cluster::start().await;
    let first = cluster.controller("c1");
    cluster.daemons();
    cluster.create("cut", json!({"duration": "1h"})).await;
    cluster.experiment("cut", |status| status.is(ConditionKind::AllInjected)).await;
    cluster.remove_pod("web-2").await;
    cluster.pod("web-3", "web", "n1", "10.0.1.3").await;
    // A controller that starts in between is as patient as the last.
    first.stop().await;
    cluster.controller("c2");
    let replaced = |status: &squall::api::ChaosStatus| {
        let following = status.experiment.following.as_ref();
        following.is_some_and(|following| !following.replaced.is_empty())
            && status.is(ConditionKind::AllInjected)
            && status.experiment.targets.is_some_and(|counts| counts.injected == 3)
    };
    cluster.experiment("cut", replaced).await;
    let injections = cluster.injections().await;
    let pods: Vec<_> = injections[0].spec.targets.iter().map(|target| target.pod.as_str()).collect();
    assert_eq!(pods, ["web-1", "web-3"]);
    let network = injections[1].spec.fault.network.as_ref().unwrap();
    let end = network.ends.iter().find(|end| end.selector_key == ".Target").unwrap();
    let peers = end.ingress.as_ref().unwrap().peers.iter().flatten().map(|peer| peer.network.to_string());
    assert_eq!(peers.collect::<Vec<_>>(), ["10.0.1.1/32", "10.0.1.3/32"]);
    cluster.event("cut", "Replaced").await;
}

#[tokio::test]
async fn two_experiments_of_one_name_in_two_namespaces_are_two() {
    let cluster = Cluster::start().await;
    cluster.controller("c1");
    cluster.daemons();
    cluster.create("cut", json!({})).await;
    cluster.experiment("cut", |status| status.is(ConditionKind::AllInjected)).await;
    let selector = json!({"namespaces": ["default"], "labelSelectors": {"app": "web"}});
    cluster.create_in("other", "cut", json!({"selector": selector, "target": null})).await;
    let of = async |namespace: &str| {
        let all = cluster.injections().await.into_iter();
        all.filter(|one| one.spec.experiment.namespace == namespace).collect::<Vec<_>>()
    };
    cluster.until("both have their Injections", async || of("other").await.len() == 2).await;
    let before: Vec<_> = of("other").await.iter().filter_map(ResourceExt::uid).collect();
    cluster.delete("cut").await;
    cluster.gone("cut").await;
    let after: Vec<_> = of("other").await.iter().filter_map(ResourceExt::uid).collect();
    assert_eq!(after, before, "the end of one leaves the other as it is");
    assert!(of("default").await.is_empty());
}

#[tokio::test]
async fn a_failover_in_mid_experiment_loses_nothing() {
    let cluster = Cluster::start().await;
    let first = cluster.controller_with("first", quick());
    cluster.until("somebody leads", async || holder(&cluster).await.is_some()).await;
    cluster.controller_with("second", quick());
    cluster.daemons();
    cluster.create("cut", json!({"duration": "1h"})).await;
    let before = cluster
        .experiment("cut", |status| {
            status.is(ConditionKind::AllInjected) && status.experiment.clock.is_some()
        })
        .await;
    let specs: Vec<_> = cluster.injections().await.into_iter().map(|one| (one.uid(), one.spec)).collect();
    first.kill();
    cluster.until("the second leads", async || holder(&cluster).await.as_deref() == Some("second")).await;
    // Longer than a sweep: it has looked at everything.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let after: Vec<_> = cluster.injections().await.into_iter().map(|one| (one.uid(), one.spec)).collect();
    assert_eq!(after, specs, "no fault was touched");
    assert_eq!(cluster.experiment("cut", |_| true).await, before, "nothing was said anew");
    // What it does next, it does for good.
    cluster.patch("cut", json!({"metadata": {"annotations": {squall::api::PAUSE_ANNOTATION: "true"}}})).await;
    cluster.experiment("cut", |status| status.is(ConditionKind::AllRecovered)).await;
    cluster.delete("cut").await;
    cluster.gone("cut").await;
}

#[tokio::test]
async fn a_deletion_ends_without_a_daemon_and_over_a_restart() {
    let cluster = Cluster::start().await;
    let first = cluster.controller("c1");
    let lease = json!({"metadata": {"annotations": {"squall.dev/lease": "5s"}}});
    cluster.create("cut", json!({})).await;
    cluster.patch("cut", lease).await;
    cluster
        .until("the lease is told", async || {
            let all = cluster.injections().await;
            all.len() == 2 && all.iter().all(|one| one.spec.lease == "5s")
        })
        .await;
    let asked = std::time::Instant::now();
    cluster.delete("cut").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    first.kill();
    cluster.release_lease().await;
    cluster.controller("c2");
    cluster.gone("cut").await;
    // The lease, and what it waits beyond that.
    assert!(asked.elapsed() > Duration::from_secs(5 + 6), "somebody might have answered");
    assert!(cluster.injections().await.is_empty());
}
