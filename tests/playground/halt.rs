//! The emergency stop, through the real controller and daemons, measured at the client and by nft.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use squall::api::{ConditionKind, Halt, HaltSpec, Injection, NetworkChaos};

use super::cluster::{pod, pods, samples, tables, until, wall};
use super::harness::{Home, Playground};
use super::partition::{BACK_WITHIN, partition, steady};

/// A playground, and the pods at both ends of the partition.
struct Stage {
    playground: Playground,
    home: Home,
    faulted: Vec<Pod>,
    /// The tables of each pod before any fault.
    clean: Vec<Option<String>>,
}

impl Stage {
    /// `None`, with a loud word, where a playground or nft cannot be had.
    async fn set() -> Option<Self> {
        let home = Home::new();
        let playground = home.start("default")?;
        let client = playground.client();
        let mut faulted = pods(&client, "server-app").await;
        faulted.extend(pods(&client, "mongo").await);
        let clean: Vec<_> = faulted.iter().map(|pod| tables(&home, pod)).collect();
        if clean.contains(&None) {
            eprintln!("SKIPPED: the emergency stop, which needs nft and nsenter to see the tables");
            return None;
        }
        Some(Self { playground, home, faulted, clean })
    }

    fn tables(&self) -> Vec<Option<String>> {
        self.faulted.iter().map(|pod| tables(&self.home, pod)).collect()
    }

    fn has_table(&self, pod: &Pod) -> bool {
        tables(&self.home, pod).is_some_and(|listing| listing.contains("squall_pod"))
    }

    async fn every_pod_has_a_table(&self) {
        let all = async || self.faulted.iter().all(|pod| self.has_table(pod)).then_some(());
        until("every pod has a table", all).await;
    }

    /// The exit code of a verb, and all that it said.
    async fn squall(&self, arguments: &[&str], input: &str) -> (Option<i32>, String) {
        let child = self.home.squall(arguments, input);
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
        let said = [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (ended.status.code(), said.concat())
    }

    async fn injections(&self) -> Vec<Injection> {
        let api: Api<Injection> = Api::namespaced(self.playground.client(), "squall-system");
        api.list(&ListParams::default()).await.unwrap().items
    }
}

#[tokio::test]
async fn a_halt_undoes_everything_and_its_release_starts_nothing() {
    let Some(stage) = Stage::set().await else { return };
    let traffic = pod(&stage.playground.client(), "traffic").await;
    steady(&stage.playground, &traffic).await;
    let endless = partition("endless", "both", None).to_string();
    let run = stage.home.squall(&["run", "-f", "-", "--keep"], &endless);
    stage.every_pod_has_a_table().await;

    let (code, said) = stage.squall(&["halt", "--name", "stop", "--reason", "incident 4711"], "").await;
    // It has waited: what is true now was true when it returned.
    assert_eq!((code, stage.tables()), (Some(0), stage.clean.clone()), "{said}");
    let over = wall();
    assert!(said.contains("stops networkchaos default/endless: 3 targets on machine2, machine3"), "{said}");
    let ended = tokio::task::spawn_blocking(move || run.wait_with_output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(ended.status.code(), Some(5), "{said}");
    assert!(said.ends_with("over: Halted\n"), "{said}");
    until("/movies answers again", async || {
        let movies = samples(&stage.playground, &traffic, "/movies").await;
        assert!(wall() - over < BACK_WITHIN, "not back {BACK_WITHIN} s after the Halt");
        movies.into_iter().find(|sample| sample.succeeded() && sample.end() > over)
    })
    .await;

    assert_eq!(stage.squall(&["halt", "--release"], "").await.0, Some(0));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(stage.tables(), stage.clean);
    steady(&stage.playground, &traffic).await;
}

#[tokio::test]
async fn what_comes_under_a_halt_waits_for_its_release() {
    let Some(stage) = Stage::set().await else { return };
    let client = stage.playground.client();
    let halts: Api<Halt> = Api::all(client.clone());
    let spec = HaltSpec { namespaces: vec!["default".to_owned()], ..HaltSpec::default() };
    halts.create(&PostParams::default(), &Halt::new("first", spec.clone())).await.unwrap();
    let chaos = partition("later", "to", None).to_string();
    assert_eq!(stage.squall(&["apply", "-f", "-"], &chaos).await.0, Some(0));
    let experiments: Api<NetworkChaos> = Api::default_namespaced(client);
    until("it says what it waits for", async || {
        let status = experiments.get("later").await.unwrap().status?;
        (status.condition(ConditionKind::Selected)?.reason.as_deref() == Some("Halted")).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.tables(), stage.clean);
    assert_eq!(stage.squall(&["halt", "--release", "first"], "").await.0, Some(0));
    stage.every_pod_has_a_table().await;

    // The way of the write itself, without the start of a program.
    let begun = Instant::now();
    halts.create(&PostParams::default(), &Halt::new("second", spec)).await.unwrap();
    let written = begun.elapsed();
    until("the daemons say that it is undone", async || {
        let clear = |one: &Injection| {
            one.status.as_ref().is_some_and(|status| status.ended.is_some() && status.all_clear())
        };
        stage.injections().await.iter().all(clear).then_some(())
    })
    .await;
    let undone = begun.elapsed();
    for pod in &stage.faulted {
        assert!(!stage.has_table(pod), "{} is said to be clear, but has its table", pod.name_any());
    }
    eprintln!("Halt written after {} ms, undone after {} ms", written.as_millis(), undone.as_millis());
}
