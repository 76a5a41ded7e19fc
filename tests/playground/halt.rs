//! The emergency stop, through the real controller and daemons, measured at the client and by nft.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use squall::api::{ConditionKind, Halt, HaltSpec, Injection, NetworkChaos};

use super::cluster::{pod, pods, samples, tables, until, wall};
use super::harness::Home;
use super::partition::{BACK_WITHIN, partition, steady};

#[tokio::test]
async fn a_halt_undoes_everything_and_its_release_starts_nothing() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let client = playground.client();
    let traffic = pod(&client, "traffic").await;
    let faulted: Vec<Pod> =
        pods(&client, "server-app").await.into_iter().chain(pods(&client, "mongo").await).collect();
    let clean: Vec<_> = faulted.iter().map(|pod| tables(&home, pod)).collect();
    if clean.contains(&None) {
        eprintln!("SKIPPED: the emergency stop, which needs nft and nsenter to see the tables");
        return;
    }
    let has_table = |pod: &Pod| tables(&home, pod).is_some_and(|listing| listing.contains("squall_pod"));
    let verb = async |arguments: &[&str], input: &str| {
        let child = home.squall(arguments, input);
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
        let said = [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (ended.status.code(), said.concat())
    };

    steady(&playground, &traffic).await;
    let endless = partition("endless", "both", None).to_string();
    let run = home.squall(&["run", "-f", "-", "--keep"], &endless);
    until("every pod has a table", async || faulted.iter().all(has_table).then_some(())).await;
    let (code, said) = verb(&["halt", "--name", "stop", "--reason", "incident 4711"], "").await;
    // It has waited: what is true now was true when it returned.
    let left: Vec<_> = faulted.iter().map(|pod| tables(&home, pod)).collect();
    assert_eq!((code, left), (Some(0), clean.clone()), "{said}");
    let over = wall();
    assert!(said.contains("stops networkchaos default/endless: 3 targets on machine2, machine3"), "{said}");
    let ended = tokio::task::spawn_blocking(move || run.wait_with_output().unwrap()).await.unwrap();
    let run_said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert_eq!(ended.status.code(), Some(5), "{run_said}");
    assert!(run_said.ends_with("over: Halted\n"), "{run_said}");
    until("/movies answers again", async || {
        let movies = samples(&playground, &traffic, "/movies").await;
        assert!(wall() - over < BACK_WITHIN, "not back {BACK_WITHIN} s after the Halt");
        movies.into_iter().find(|sample| sample.succeeded() && sample.end() > over)
    })
    .await;

    // What comes under the Halt waits for its release; what was stopped is not started by it.
    let later = partition("later", "to", None).to_string();
    assert_eq!(verb(&["apply", "-f", "-"], &later).await.0, Some(0));
    let experiments: Api<NetworkChaos> = Api::default_namespaced(client.clone());
    until("it says what it waits for", async || {
        let status = experiments.get("later").await.unwrap().status?;
        (status.condition(ConditionKind::Selected)?.reason.as_deref() == Some("Halted")).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(faulted.iter().map(|pod| tables(&home, pod)).collect::<Vec<_>>(), clean);
    assert_eq!(verb(&["halt", "--release"], "").await.0, Some(0));
    until("what has waited begins", async || faulted.iter().all(has_table).then_some(())).await;
    let injections: Api<Injection> = Api::namespaced(client.clone(), "squall-system");
    let all = injections.list(&ListParams::default()).await.unwrap().items;
    let of: Vec<_> = all.iter().map(|injection| injection.spec.experiment.name.as_str()).collect();
    assert_eq!(of, ["later", "later"], "what was stopped started again");

    // The way of the write itself, without the start of a program.
    let halts: Api<Halt> = Api::all(client.clone());
    let namespaces = vec!["default".to_owned()];
    let spec = HaltSpec { namespaces, ..HaltSpec::default() };
    let begun = Instant::now();
    halts.create(&PostParams::default(), &Halt::new("again", spec)).await.unwrap();
    let written = begun.elapsed();
    let undone = until("the daemons say that it is undone", async || {
        let all = injections.list(&ListParams::default()).await.unwrap().items;
        let clear = |one: &Injection| {
            one.status.as_ref().is_some_and(|status| status.ended.is_some() && status.all_clear())
        };
        all.iter().all(clear).then(|| begun.elapsed())
    })
    .await;
    let waits = faulted.iter().map(|pod| {
        while has_table(pod) {
            assert!(begun.elapsed() < Duration::from_secs(10), "{} keeps its table", pod.name_any());
        }
        begun.elapsed()
    });
    let gone: Vec<_> = waits.map(|wait| wait.as_millis()).collect();
    eprintln!(
        "Halt written after {} ms; undone, by its daemons, after {} ms; by nft after {gone:?} ms",
        written.as_millis(),
        undone.as_millis()
    );
    assert_eq!(verb(&["halt", "--release"], "").await.0, Some(0));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(faulted.iter().map(|pod| tables(&home, pod)).collect::<Vec<_>>(), clean);
    steady(&playground, &traffic).await;
}
