//! Looks into a playground from outside, as its user can: pods, their processes, their networks.

use std::fs;
use std::future::Future;
use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use nix::unistd::geteuid;
use serde::Deserialize;

use super::harness::{Access, Home};

/// How long an effect may take to show on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what `attempt` gives.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut attempt: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(result) = attempt().await {
            return result;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The pods with the label `app`.
pub(crate) async fn pods(client: &Client, app: &str) -> Vec<Pod> {
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    api.list(&ListParams::default().labels(&format!("app={app}"))).await.expect("list pods").items
}

/// One of the pods with the label `app`.
pub(crate) async fn pod(client: &Client, app: &str) -> Pod {
    pods(client, app).await.into_iter().next().unwrap_or_else(|| panic!("no pod of {app}"))
}

/// Whether the pod says that it is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

/// The machine's process number of the first process with this variable in its environment.
pub(crate) fn process_with(home: &Home, variable: &str) -> Option<i32> {
    let carries = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|found| found == variable.as_bytes())
    };
    home.processes().into_iter().find(carries)
}

/// The process that holds the pod's network.
pub(crate) fn sandbox_of(home: &Home, pod: &Pod) -> i32 {
    let variable = format!("SQUALL_CONTAINER={}/sandbox", pod.uid().expect("a UID"));
    process_with(home, &variable).unwrap_or_else(|| panic!("no process with {variable}"))
}

/// The process of the first container of a pod of ours, which has one.
pub(crate) fn process_of(home: &Home, pod: &Pod) -> Option<i32> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let id = statuses.first()?.container_id.as_deref()?.strip_prefix("squall://")?;
    process_with(home, &format!("SQUALL_CONTAINER={}/{id}", pod.uid()?))
}

/// Every `nf_tables` table on the pod's network, as nft lists them: measured by a tool that is not ours.
/// `None` where the machine has no nft or nsenter.
pub(crate) fn tables(home: &Home, pod: &Pod) -> Option<String> {
    inside(home, pod, &["/usr/sbin/nft", "list", "ruleset"])
}

/// The tables and queueing disciplines on the pod's network, as nft and tc list them.
pub(crate) fn network(home: &Home, pod: &Pod) -> Option<String> {
    let tables = tables(home, pod)?;
    let disciplines = inside(home, pod, &["/usr/sbin/tc", "qdisc", "show"])?;
    Some(format!("{tables}{disciplines}"))
}

/// What a tool says on the pod's network; `None` where the machine does not have it.
#[expect(clippy::disallowed_methods, reason = "a second opinion needs a second tool")]
fn inside(home: &Home, pod: &Pod, command: &[&str]) -> Option<String> {
    let pid = sandbox_of(home, pod).to_string();
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--net", "--target", &pid]);
    if !geteuid().is_root() {
        // The sandbox belongs to this user, who is root in it, and nowhere else.
        nsenter.args(["--user", "--preserve-credentials"]);
    }
    let listing = nsenter.args(command).output().ok()?;
    assert!(listing.status.success(), "{command:?}: {}", String::from_utf8_lossy(&listing.stderr));
    Some(String::from_utf8_lossy(&listing.stdout).into_owned())
}

/// One request of a traffic client.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Sample {
    /// When it was sent, in seconds of the wall clock.
    pub(crate) time: f64,
    /// The status code, or why there was none.
    pub(crate) status: String,
    /// How long it took.
    pub(crate) seconds: f64,
}

impl Sample {
    /// Whether the application gave what was asked for.
    pub(crate) fn succeeded(&self) -> bool {
        self.status == "200"
    }

    /// When the answer was there.
    pub(crate) fn end(&self) -> f64 {
        self.time + self.seconds
    }
}

/// The latest requests of a traffic client for `path`, at most 1,000.
pub(crate) async fn samples(playground: &Access, traffic: &Pod, path: &str) -> Vec<Sample> {
    let name = traffic.name_any();
    let target = format!("/api/v1/namespaces/default/pods/{name}:9090/proxy/samples?path={path}");
    let lines = playground.raw(&target).await.expect("the client's samples");
    lines.lines().map(|line| serde_json::from_str(line).expect("a sample")).collect()
}

/// The median of how long the successful ones took, in seconds.
pub(crate) fn median(samples: &[Sample]) -> f64 {
    let mut times: Vec<f64> = samples.iter().filter(|s| s.succeeded()).map(|s| s.seconds).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().expect("a successful request")
}

/// Seconds of the wall clock, as samples have them.
pub(crate) fn wall() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs_f64()
}
