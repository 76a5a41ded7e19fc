//! `--metrics-listen` of the real controller and daemon, against the in-memory API server on a unix socket: what they tell, that
//! docs/metrics.md tells all of it, and that nothing is open without the option.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::float_cmp,
    reason = "a test stops at what is wrong"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource as _};
use serde_json::{Value, json};
use squall::api::{self, NetworkChaos, SYSTEM_NAMESPACE};
use squall::apiserver::{
    Admission, ApiServer, ByteStream, Cause, Config, LogOptions, NodeAccess, Resource, StatusError,
};
use squall::steady_state::exposition::{self, Format};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener};
use tokio::process::{Child, Command};

const PATIENCE: Duration = Duration::from_secs(30);

struct Everything;

impl Admission for Everything {
    fn admit(&self, _: &Resource, _: Option<&Value>, _: &mut Value) -> Result<(), Vec<Cause>> {
        Ok(())
    }
}

impl NodeAccess for Everything {
    fn log(&self, _: &str, _: &str, _: LogOptions) -> BoxFuture<'static, Result<ByteStream, StatusError>> {
        Box::pin(std::future::pending())
    }

    fn proxy(
        &self,
        _: &str,
        _: &str,
        _: Option<u16>,
        _: Request<Bytes>,
    ) -> BoxFuture<'static, Result<Response<Bytes>, StatusError>> {
        Box::pin(std::future::pending())
    }
}

/// An API server on a socket in a folder, with one node and one pod on it that has no process.
async fn cluster() -> (TempDir, Client) {
    let mut resources = Resource::builtin();
    resources.extend(api::custom_kinds().iter().map(|kind| Resource {
        group: kind.group,
        version: kind.version,
        plural: kind.plural,
        kind: kind.kind,
        namespaced: kind.namespaced,
        status: kind.status,
        selectable: kind.selectable,
    }));
    let server = ApiServer::new(Config::new(resources, Arc::new(Everything), Arc::new(Everything)));
    let client = server.client("default");
    let folder = tempfile::tempdir().unwrap();
    tokio::spawn(server.serve_unix(UnixListener::bind(folder.path().join("socket")).unwrap()));
    make::<k8s_openapi::api::core::v1::Namespace>(
        &Api::all(client.clone()),
        json!({ "metadata": { "name": SYSTEM_NAMESPACE } }),
    )
    .await;
    let ready = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
    make::<k8s_openapi::api::core::v1::Node>(
        &Api::all(client.clone()),
        json!({ "metadata": { "name": "n" }, "status": ready }),
    )
    .await;
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), "default");
    let container = json!({ "name": "c", "image": "i" });
    let pod = json!({ "metadata": { "name": "p" }, "spec": { "nodeName": "n", "containers": [container] } });
    make(&pods, pod).await;
    let status = json!({ "status": {
        "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.1" }],
        "conditions": [{ "type": "Ready", "status": "True" }],
        "containerStatuses": [{ "name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
            "containerID": "x://1", "state": { "running": {} } }],
    } });
    pods.patch_status("p", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    (folder, client)
}

async fn make<K>(api: &Api<K>, object: Value)
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// A part of Squall in a process of its own; with a port that nobody had a moment ago, if it is to tell metrics.
struct Part {
    process: Child,
    port: Option<SocketAddr>,
}

impl Part {
    fn start(folder: &TempDir, words: &[&str], tells: bool) -> Self {
        let port = tells.then(|| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
        let program = std::env::var("SQUALL_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_squall").to_owned());
        let mut command = Command::new(program);
        command
            .args(words)
            .args(port.map(|port| format!("--metrics-listen={port}")))
            .env("SQUALL_API_SOCKET", folder.path().join("socket"))
            .env("SQUALL_STATE_DIR", folder.path().join("state"))
            .env("SQUALL_RUN_DIR", folder.path().join("run"))
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Self { process: command.spawn().unwrap(), port }
    }

    fn controller(folder: &TempDir, tells: bool) -> Self {
        Self::start(folder, &["controller", "--identity", "c"], tells)
    }

    fn daemon(folder: &TempDir, tells: bool) -> Self {
        Self::start(folder, &["daemon", "--node", "n", "--finder", "environ"], tells)
    }

    /// What it tells now, once it listens.
    async fn text(&self) -> String {
        let begun = std::time::Instant::now();
        let mut stream = loop {
            match TcpStream::connect(self.port.unwrap()).await {
                Ok(stream) => break stream,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body.to_owned()
    }

    /// Waits until a series has this value.
    async fn until(&self, series: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        let begun = std::time::Instant::now();
        loop {
            let samples = samples(&self.text().await);
            if let Some(value) = samples.get(series).filter(|value| wanted(**value)) {
                return *value;
            }
            assert!(begun.elapsed() < PATIENCE, "{series}: {samples:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many of its sockets listen for TCP.
    fn listening(&self) -> usize {
        let id = self.process.id().unwrap();
        let tables =
            ["tcp", "tcp6"].map(|table| std::fs::read_to_string(format!("/proc/{id}/net/{table}")).unwrap());
        // State 0A is LISTEN; the tenth field is the socket's inode (proc_pid_net(5)).
        let rows = tables.iter().flat_map(|table| table.lines().skip(1));
        let rows = rows.map(|row| row.split_whitespace().collect::<Vec<_>>());
        let inodes: BTreeSet<String> =
            rows.filter(|row| row[3] == "0A").map(|row| row[9].to_owned()).collect();
        let open = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().filter_map(Result::ok);
        open.filter(|entry| {
            let inode = std::fs::metadata(entry.path()).map(|file| file.ino().to_string());
            inode.is_ok_and(|inode| inodes.contains(&inode))
        })
        .count()
    }
}

/// What our own reader makes of it: nothing to complain about.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    let summary = exposition::read(
        text.as_bytes(),
        Format::Text,
        |_| true,
        |sample| {
            assert_eq!(
                all.insert(sample.series.to_owned(), sample.value),
                None,
                "{} is there twice",
                sample.series
            );
        },
    );
    assert_eq!(summary.unwrap().complaint(), None, "{text}");
    all
}

/// Name and type of each metric.
fn kinds(text: &str) -> BTreeSet<(String, String)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    lines
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn controller_and_daemon_tell_what_they_do() {
    let (folder, client) = cluster().await;
    let (controller, daemon) = (Part::controller(&folder, true), Part::daemon(&folder, true));
    controller.until("squall_leader", |leads| leads == 1.0).await;
    let experiments: Api<NetworkChaos> = Api::namespaced(client, "default");
    for (name, label) in [("reaches", None), ("reaches-nothing", Some("x"))] {
        let selector = label.map_or_else(|| json!({}), |label| json!({ "labelSelectors": { "app": label } }));
        let spec = json!({ "action": "partition", "mode": "all", "selector": selector, "externalTargets": ["192.0.2.1"] });
        let kind = NetworkChaos::kind(&());
        let object = json!({ "apiVersion": NetworkChaos::api_version(&()), "kind": kind, "metadata": { "name": name }, "spec": spec });
        make(&experiments, object).await;
    }
    controller
        .until(r#"squall_experiments{kind="NetworkChaos",phase="Waiting"}"#, |count| count >= 1.0)
        .await;
    controller
        .until(r#"squall_experiment_targets{kind="NetworkChaos",state="failed"}"#, |count| count == 1.0)
        .await;
    // The pod has no process here, so that nothing can be put in place.
    daemon.until(r#"squall_targets{state="asked"}"#, |count| count == 1.0).await;
    daemon.until(r#"squall_targets{state="failed"}"#, |count| count == 1.0).await;
    daemon.until(r#"squall_failures_total{operation="inject"}"#, |count| count >= 1.0).await;
    daemon.until("squall_heartbeat_age_seconds", |age| (0.0..10.0).contains(&age)).await;
    daemon.until(r#"squall_api_requests_total{verb="watch",code="200"}"#, |count| count >= 3.0).await;
    daemon.until(r#"squall_api_requests_total{verb="put",code="200"}"#, |count| count >= 1.0).await;
    controller.until(r#"squall_api_requests_total{verb="post",code="201"}"#, |count| count >= 2.0).await;
    assert_eq!((controller.listening(), daemon.listening()), (1, 1));

    let told: BTreeSet<_> =
        [controller.text().await, daemon.text().await].iter().flat_map(|text| kinds(text)).collect();
    let page = include_str!("../docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let documented: BTreeSet<_> =
        rows.map(|(name, rest)| (name.to_owned(), rest.split(' ').next().unwrap().to_owned())).collect();
    assert_eq!(told, documented, "docs/metrics.md");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_open_without_the_option() {
    let (folder, client) = cluster().await;
    let (controller, daemon) = (Part::controller(&folder, false), Part::daemon(&folder, false));
    let leases: Api<k8s_openapi::api::coordination::v1::Lease> = Api::namespaced(client, SYSTEM_NAMESPACE);
    let begun = std::time::Instant::now();
    // By then both do all that they do.
    while leases.get_opt("squall-controller").await.unwrap().is_none()
        || !folder.path().join("run/n/journal").exists()
    {
        assert!(begun.elapsed() < PATIENCE, "they do not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((controller.listening(), daemon.listening()), (0, 0));
}

/// A port that somebody has is said before anything is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    let (folder, _client) = cluster().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let option = format!("--metrics-listen={}", taken.local_addr().unwrap());
    let mut part = Part::start(&folder, &["controller", "--identity", "c", &option], false);
    let ended = tokio::time::timeout(PATIENCE, part.process.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(1));
}
