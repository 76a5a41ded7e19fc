//! What large experiments cost: the selection among 50,000 pods, and the whole life of an experiment with 5,000 targets on
//! 500 simulated nodes: time, what the real controller writes, what it weighs. Prints figures and asserts nothing:
//! `cargo bench --bench engine`.
//!
//! The controller is a process of its own, this program once more, so that its memory is nobody else's. The API server and
//! the daemons are simulated in the first process; no kernel is touched.

#![expect(clippy::expect_used, reason = "a measurement that went wrong is none")]
#![expect(clippy::print_stdout, reason = "it is made to print")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the simulation is the tests'")]

#[path = "../tests/controller/simulated.rs"]
mod simulated;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use http::{Method, Request};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::client::Body;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use squall::api::{ChaosStatus, ConditionKind, Injection, NetworkChaos, SYSTEM_NAMESPACE};
use squall::controller::{self, Options};
use squall::experiment::Limits;
use squall::experiment::plan::choose;
use squall::experiment::world::World;

/// Pods that are selected from.
const PODS: usize = 50_000;

/// Selections that are timed.
const ROUNDS: usize = 30;

/// Simulated nodes.
const NODES: usize = 500;

/// Pods on each of them; all are targets.
const PODS_OF_NODE: usize = 10;

/// How long any step of the experiment is waited for.
const PATIENCE: Duration = Duration::from_mins(5);

/// The argument that makes this program the controller.
const CONTROLLER: &str = "--controller";

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != CONTROLLER).skip(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if let Some(socket) = arguments.next() {
        runtime.block_on(control(Path::new(&socket)));
        return;
    }
    selection();
    runtime.block_on(async {
        life("every pod cut off from everybody", &json!({"selector": all()})).await;
        let others =
            json!({"expressionSelectors": [{"key": "app", "operator": "NotIn", "values": ["app-0"]}]});
        let target = |mode| json!({"mode": mode, "selector": {"labelSelectors": {"app": "app-0"}}});
        life(
            "nine pods of each node cut off from one",
            &json!({"selector": others, "target": target("one")}),
        )
        .await;
        life(
            "nine pods of each node cut off from every tenth",
            &json!({"selector": others, "target": target("all")}),
        )
        .await;
    });
}

/// The selector of every pod of namespace `default`.
fn all() -> Value {
    json!({"namespaces": ["default"]})
}

/// A partition with this selector, and what else its spec says.
fn experiment(spec: &Value) -> Value {
    let mut whole = json!({"metadata": {"name": "large", "namespace": "default", "uid": "u"},
        "spec": {"action": "partition", "mode": "all"}});
    for (field, value) in spec.as_object().expect("an object") {
        whole["spec"][field] = value.clone();
    }
    whole
}

/// A pod of about the size that a small Deployment's pods have.
fn pod(name: &str, app: &str, node: &str, number: usize) -> Value {
    let address = format!("10.{}.{}.{}", number >> 16, (number >> 8) & 255, number & 255);
    json!({
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"),
            "labels": {"app": app, "pod-template-hash": "7d9c6b8f5d"}},
        "spec": {
            "nodeName": node, "serviceAccountName": "default", "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "dnsPolicy": "ClusterFirst",
            "containers": [{
                "name": "main", "image": "docker.example/team/service:1.2.3", "imagePullPolicy": "IfNotPresent",
                "env": [{"name": "DATABASE", "value": "mongodb://mongo:27017"}, {"name": "LOG", "value": "info"}],
                "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}},
                "resources": {"limits": {"memory": "128Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
                "volumeMounts": [{"name": "kube-api-access", "readOnly": true,
                    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
            }],
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"},
            ],
        },
        "status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "qosClass": "Burstable",
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}],
            "containerStatuses": [{"name": "main", "ready": true, "restartCount": 0,
                "image": "docker.example/team/service:1.2.3", "imageID": "sha256:0", "started": true}],
        },
    })
}

fn node(number: usize) -> String {
    format!("node-{number:03}")
}

/// The pods of one application have its number, `app-0` to `app-9`, and there is one of each on every node.
fn pods(count: usize) -> impl Iterator<Item = (String, Value)> {
    let per_node = count / NODES;
    (0..count).map(move |number| {
        let name = format!("pod-{number:05}");
        let value = pod(&name, &format!("app-{}", number % 10), &node(number / per_node), number);
        (name, value)
    })
}

// ---- selection ---------------------------------------------------------------------------------

fn selection() {
    let pods: Vec<Arc<Pod>> =
        pods(PODS).map(|(_, pod)| Arc::new(serde_json::from_value(pod).expect("a pod"))).collect();
    let nodes: Vec<Arc<Node>> = (0..NODES)
        .map(|number| {
            let value =
                json!({"metadata": {"name": node(number), "labels": {"zone": format!("z{}", number % 3)}}});
            Arc::new(serde_json::from_value(value).expect("a node"))
        })
        .collect();
    let world = || World::new(pods.clone(), nodes.clone(), Vec::new(), Vec::new());
    let mut times: Vec<_> = (0..ROUNDS).map(|_| timed(&world)).collect();
    report(&format!("world of {PODS} pods"), &mut times);
    let world = world();
    let limits = Limits { targets: usize::MAX, ..Limits::default() };
    for (name, spec) in [
        ("mode all, no condition", json!({"selector": all()})),
        ("mode all, a tenth by a label", json!({"selector": {"labelSelectors": {"app": "app-3"}}})),
        (
            "mode one, a tenth by a label",
            json!({"mode": "one", "selector": {"labelSelectors": {"app": "app-3"}}}),
        ),
        ("fixed-percent 10", json!({"mode": "fixed-percent", "value": "10", "selector": all()})),
        (
            "every kind of condition",
            json!({"selector": {
                "namespaces": ["default"], "podPhaseSelectors": ["Running"], "nodeSelectors": {"zone": "z1"},
                "fieldSelectors": {"spec.restartPolicy": "Always"},
                "expressionSelectors": [{"key": "app", "operator": "In", "values": ["app-3", "app-4"]}],
            }}),
        ),
        ("no pod", json!({"selector": {"labelSelectors": {"app": "none"}}})),
    ] {
        let chaos: NetworkChaos = serde_json::from_value(experiment(&spec)).expect("an experiment");
        let chosen = || choose(&chaos, &[], &world, &limits).map_or(0, |chosen| chosen.len());
        let mut times: Vec<_> = (0..ROUNDS).map(|_| timed(&chosen)).collect();
        report(&format!("selection, {name}: {} of {PODS} pods", chosen()), &mut times);
    }
}

fn timed<T>(work: &impl Fn() -> T) -> Duration {
    let begun = Instant::now();
    drop(std::hint::black_box(work()));
    begun.elapsed()
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |percent: usize| times.get((times.len() - 1) * percent / 100).copied().unwrap_or_default();
    println!("{what}: p50 {:.1?}, max {:.1?} (n = {})", at(50), at(100), times.len());
}

// ---- the life of one large experiment ----------------------------------------------------------

async fn life(name: &str, spec: &Value) {
    println!("\n{name}: {} pods on {NODES} nodes", NODES * PODS_OF_NODE);
    let server = simulated::server(&[]);
    let client = server.client("default");
    fill(&client).await;
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&socket).expect("a socket");
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(server.serve_unix(listener));
    for number in 0..NODES {
        tasks.spawn(daemon(client.clone(), node(number)));
    }
    let mut controller = Controller::start(&socket);
    controller.weigh("controller, nothing to do");
    let experiments: Api<NetworkChaos> = Api::default_namespaced(client.clone());
    controller.counts();
    let begun = Instant::now();
    simulated::make(&experiments, experiment(spec)).await;
    let whole = until(&experiments, |status| status.is(ConditionKind::AllInjected)).await;
    println!("created until AllInjected: {:.2?}", begun.elapsed());
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("  requests: {}", controller.counts());
    let size = |value: &Value| value.to_string().len();
    let targets = whole.status.as_ref().and_then(|status| status.experiment.targets).unwrap_or_default();
    println!("  targets: {targets:?}");
    println!("  experiment object: {} bytes", size(&serde_json::to_value(&whole).expect("JSON")));
    let injections: Api<Injection> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let all = injections.list(&kube::api::ListParams::default()).await.expect("Injections").items;
    let sizes = all.iter().map(|injection| size(&serde_json::to_value(injection).expect("JSON")));
    println!("  Injections: {}, the largest {} bytes", all.len(), sizes.max().unwrap_or_default());
    controller.weigh("controller, all injected");
    let used = controller.processor_time();
    tokio::time::sleep(Duration::from_secs(10)).await;
    println!(
        "  ten seconds of rest: {:.2?} of processor time",
        controller.processor_time().saturating_sub(used)
    );
    println!("  requests: {}", controller.counts());
    let begun = Instant::now();
    let pause = json!({"metadata": {"annotations": {squall::api::PAUSE_ANNOTATION: "true"}}});
    experiments.patch("large", &PatchParams::default(), &Patch::Merge(pause)).await.expect("a pause");
    drop(until(&experiments, |status| status.is(ConditionKind::AllRecovered)).await);
    println!("paused until AllRecovered: {:.2?}", begun.elapsed());
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("  requests: {}", controller.counts());
    let begun = Instant::now();
    drop(experiments.delete("large", &DeleteParams::default()).await.expect("a deletion"));
    while experiments.get_opt("large").await.expect("an answer").is_some() {
        assert!(begun.elapsed() < PATIENCE, "it is not gone within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("deleted until gone: {:.2?}", begun.elapsed());
    println!("  requests: {}", controller.counts());
    controller.weigh("controller, after it");
    controller.stop();
}

/// Nodes and their pods.
async fn fill(client: &Client) {
    let whole = |name: String| json!({"metadata": {"name": name}});
    simulated::make::<Namespace>(&Api::all(client.clone()), whole(SYSTEM_NAMESPACE.to_owned())).await;
    for number in 0..NODES {
        simulated::make::<Node>(&Api::all(client.clone()), whole(node(number))).await;
    }
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    futures::stream::iter(pods(NODES * PODS_OF_NODE))
        .for_each(|(name, pod)| {
            let api = &api;
            async move {
                let status = json!({"status": pod["status"]});
                simulated::make(api, pod).await;
                let patch = Patch::Merge(status);
                api.patch_status(&name, &PatchParams::default(), &patch).await.expect("a status");
            }
        })
        .await;
}

/// A daemon that does at once what it is asked to, and watches as the real one does: only what is its own.
async fn daemon(client: Client, node: String) {
    let api: Api<Injection> = Api::namespaced(client, SYSTEM_NAMESPACE);
    let own = watcher::Config::default().fields(&format!("spec.node={node}"));
    let mut watch = Box::pin(watcher(api.clone(), own).default_backoff().applied_objects());
    while let Ok(event) = watch.try_next().await {
        let Some(injection) = event else { return };
        let status = simulated::obey(&injection);
        if injection.status.as_ref() != Some(&status) {
            let patch = Patch::Merge(json!({"status": status}));
            // It may be gone by now.
            drop(api.patch_status(&injection.name_any(), &PatchParams::default(), &patch).await);
        }
    }
}

/// Waits for a status, and gives the experiment that has it.
async fn until(api: &Api<NetworkChaos>, wanted: impl Fn(&ChaosStatus) -> bool) -> NetworkChaos {
    let begun = Instant::now();
    loop {
        let chaos = api.get_status("large").await.expect("the experiment");
        if chaos.status.as_ref().is_some_and(&wanted) {
            return chaos;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {:?}",
            chaos.status.map(|s| s.conditions)
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

// ---- the controller, a process of its own ------------------------------------------------------

/// Runs the controller, and answers each line of standard input with the requests made since the last one.
async fn control(socket: &Path) {
    let requests = Arc::new(Mutex::new(BTreeMap::new()));
    let client = squall::client::over_unix(socket, "default");
    let counted = {
        let requests = Arc::clone(&requests);
        tower::service_fn(move |request: Request<Body>| {
            *requests.lock().expect("the counts").entry(verb(&request)).or_insert(0_u64) += 1;
            let client = client.clone();
            async move { client.send(request).await }
        })
    };
    let limits = Limits { targets: usize::MAX, ..Limits::default() };
    let options = Options { limits, ..Options::new("bench") };
    let asked = tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lock().lines() {
            line.expect("a line");
            let counts = std::mem::take(&mut *requests.lock().expect("the counts"));
            println!("{}", json!(counts));
        }
    });
    let shutdown = async { drop(asked.await) };
    controller::run(Client::new(counted, "default"), options, shutdown).await.expect("the controller");
}

/// What a request does to what: `PATCH networkchaos/status`.
fn verb(request: &Request<Body>) -> String {
    let uri = request.uri();
    let parts: Vec<_> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    // api/VERSION or apis/GROUP/VERSION, then namespaces/NAME for what is in one.
    let rest = parts.get(if parts.first() == Some(&"api") { 2 } else { 3 }..).unwrap_or_default();
    let rest = if rest.len() > 2 && rest.first() == Some(&"namespaces") { &rest[2..] } else { rest };
    let what = match rest {
        [plural, _, below] => format!("{plural}/{below}"),
        [plural, ..] => (*plural).to_owned(),
        [] => uri.path().to_owned(),
    };
    let watch = uri.query().is_some_and(|query| query.contains("watch=true"));
    match (request.method(), watch) {
        (&Method::GET, true) => format!("WATCH {what}"),
        (method, _) => format!("{method} {what}"),
    }
}

struct Controller {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Controller {
    #[expect(clippy::disallowed_methods, reason = "the controller is measured as a process of its own")]
    fn start(socket: &Path) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = std::process::Command::new(program)
            .arg(CONTROLLER)
            .arg(socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the controller starts");
        let asks = child.stdin.take().expect("its input");
        let answers = BufReader::new(child.stdout.take().expect("its output"));
        // Its watches are to be open before anything is asked of it.
        std::thread::sleep(Duration::from_secs(5));
        Self { child, asks, answers }
    }

    /// The requests since the last call, by what they did to what.
    fn counts(&mut self) -> String {
        writeln!(self.asks).expect("a question");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        let counts: BTreeMap<String, u64> = serde_json::from_str(&line).expect("counts");
        counts.iter().map(|(verb, count)| format!("{count} {verb}")).collect::<Vec<_>>().join(", ")
    }

    fn weigh(&self, when: &str) {
        let rollup =
            fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap_or_default();
        let field = |field: &str| -> u64 {
            let lines = rollup.lines().filter_map(|line| line.strip_prefix(field));
            lines.filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok()).sum()
        };
        let own = field("Private_Dirty:") + field("Private_Clean:");
        println!("{when}: PSS {:.1} MiB, own {:.1} MiB", mib(field("Pss:")), mib(own));
    }

    /// User and system time so far: fields 14 and 15 of `/proc/PID/stat`, in hundredths of a second (proc(5)).
    fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let behind_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks =
            behind_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    fn stop(self) {
        let Self { mut child, asks, .. } = self;
        drop(asks);
        assert!(child.wait().expect("its end").success(), "the controller failed");
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
