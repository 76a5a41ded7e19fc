//! The test cluster itself: that it starts beside another, and that nothing of it outlives whoever started it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use test_cluster::Cluster;

use super::PATIENCE;

/// Set in a process that is to hold a cluster until it is killed: the file that tells when it is up.
const HOLDS: &str = "SQUALL_TEST_HOLDS";

/// The processes that have a cluster's folder in their command lines.
fn processes(folder: &Path) -> Vec<u32> {
    let folder = folder.to_str().unwrap().as_bytes();
    let of = |entry: std::io::Result<std::fs::DirEntry>| {
        let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
        line.windows(folder.len()).any(|part| part == folder).then_some(id)
    };
    std::fs::read_dir("/proc").unwrap().filter_map(of).collect()
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing else runs on this test's thread")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

#[tokio::test]
async fn two_run_side_by_side_and_know_nothing_of_each_other() {
    let start = Instant::now();
    let (one, two) = tokio::join!(Cluster::start(), Cluster::start());
    let (one, two) = (one.unwrap(), two.unwrap());
    println!("two control planes at once: {:.1} s", start.elapsed().as_secs_f64());
    let object =
        |name: &str| serde_json::from_value::<ConfigMap>(json!({ "metadata": { "name": name } })).unwrap();
    let maps: Vec<Api<ConfigMap>> = vec![
        Api::default_namespaced(one.client("default").await.unwrap()),
        Api::default_namespaced(two.client("default").await.unwrap()),
    ];
    maps[0].create(&PostParams::default(), &object("only-here")).await.unwrap();
    assert!(maps[1].get_opt("only-here").await.unwrap().is_none());

    let folder = one.kubeconfig().parent().unwrap().to_owned();
    assert!(processes(&folder).len() >= 4, "{:?}", processes(&folder));
    drop(one);
    assert_eq!(processes(&folder), Vec::<u32>::new());
    assert!(!folder.exists(), "its folder is left");
    maps[1].create(&PostParams::default(), &object("still-here")).await.unwrap();
}

#[tokio::test]
async fn an_api_server_that_was_away_has_its_data() {
    let mut cluster = Cluster::start().await.unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client("default").await.unwrap());
    let object = serde_json::from_value(json!({ "metadata": { "name": "kept" } })).unwrap();
    maps.create(&PostParams::default(), &object).await.unwrap();
    cluster.stop_api_server().unwrap();
    maps.get("kept").await.unwrap_err();
    cluster.start_api_server().await.unwrap();
    maps.get("kept").await.unwrap();
}

/// Not a test of its own: what the next ones start, to kill it.
#[tokio::test]
async fn holds_a_cluster_until_it_is_killed() {
    let Some(file) = std::env::var_os(HOLDS) else { return };
    let mut cluster = Cluster::start().await.unwrap();
    let folder = cluster.kubeconfig().parent().unwrap().to_owned();
    std::fs::write(file, format!("{}\n{}", folder.display(), cluster.id())).unwrap();
    cluster.wait().unwrap();
}

/// Starts a process with a cluster and gives it, the cluster's folder and the process that the rest hangs on.
#[expect(clippy::disallowed_methods, reason = "the test starts itself, to be killed")]
fn holder() -> (std::process::Child, PathBuf, u32) {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("up");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["life::holds_a_cluster_until_it_is_killed", "--exact"])
        .env(HOLDS, &file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let read = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("the cluster does not start", || read().contains('\n'));
    let text = read();
    let (folder, id) = text.split_once('\n').unwrap();
    (child, folder.into(), id.parse().unwrap())
}

#[test]
fn whoever_is_killed_takes_the_cluster_along() {
    let (mut child, folder, _) = holder();
    assert!(processes(&folder).len() >= 4);
    // SIGKILL: nothing of it can clean up.
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("processes are left", || processes(&folder).is_empty());
    eventually("the folder is left", || !folder.exists());
}

#[test]
fn a_cluster_whose_first_process_is_killed_is_gone_too() {
    let (mut child, folder, first) = holder();
    kill(Pid::from_raw(first.cast_signed()), Signal::SIGKILL).unwrap();
    eventually("processes are left", || processes(&folder).is_empty());
    assert!(child.wait().unwrap().success(), "its holder learns of it");
    assert!(!folder.exists(), "the folder is left");
}
