//! The program as its users and their scripts meet it: the real binary against the in-memory API server on a unix socket,
//! with a stand-in for the controller that writes status as the real one does.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what is wrong"
)]

mod verbs;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use squall::api::{self, GoDuration, Halt, Injection, NetworkChaos};
use squall::apiserver::{
    Admission, ApiServer, ByteStream, Cause, Config, LogOptions, NodeAccess, Resource, StatusError,
};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixListener;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// How long a test waits for something that takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

const FINALIZER: &str = api::RECORDS_FINALIZER;

struct Rules;

impl Admission for Rules {
    fn admit(&self, resource: &Resource, old: Option<&Value>, new: &mut Value) -> Result<(), Vec<Cause>> {
        api::admit(resource.group, resource.kind, old, new).map_err(|problems| {
            let cause = |problem: api::Problem| Cause { field: problem.path, message: problem.what };
            problems.into_iter().map(cause).collect()
        })
    }
}

/// Pods that answer with what they were asked.
struct Pods;

impl NodeAccess for Pods {
    fn log(
        &self,
        _: &str,
        pod: &str,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<ByteStream, StatusError>> {
        let text = format!("{pod} {:?} {:?} {}\n", options.container, options.tail_lines, options.previous);
        Box::pin(async move { Ok(futures::stream::iter([Ok(Bytes::from(text))]).boxed()) })
    }

    fn proxy(
        &self,
        _: &str,
        pod: &str,
        _: Option<u16>,
        request: Request<Bytes>,
    ) -> BoxFuture<'static, Result<Response<Bytes>, StatusError>> {
        let body = format!("# {pod} {}\nup 1", request.uri().path());
        Box::pin(async move { Ok(Response::new(Bytes::from(body))) })
    }
}

/// A user's machine on which playgrounds run.
struct Machine {
    folder: TempDir,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Machine {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), tasks: Vec::new() }
    }

    /// One playground, with the stand-in for the controller.
    fn with_playground() -> (Self, Client) {
        let mut machine = Self::new();
        let client = machine.playground("default");
        machine.tasks.push(tokio::spawn(control(client.clone())));
        (machine, client)
    }

    fn playground(&mut self, name: &str) -> Client {
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
        let server = ApiServer::new(Config::new(resources, Arc::new(Rules), Arc::new(Pods)));
        let sockets = self.folder.path().join("squall");
        if !sockets.exists() {
            use std::os::unix::fs::DirBuilderExt;
            std::fs::DirBuilder::new().mode(0o700).create(&sockets).unwrap();
        }
        let listener = UnixListener::bind(squall::paths::socket(&sockets, name)).unwrap();
        let client = server.client("default");
        self.tasks.push(tokio::spawn(server.serve_unix(listener)));
        client
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, words: &[&str]) -> Command {
        self.program(&program(), words)
    }

    /// Any program, in the same surroundings.
    fn program(&self, program: &str, words: &[&str]) -> Command {
        // Under nohup a hang-up is ignored, and children inherit that.
        let mut command = Command::new("/usr/bin/env");
        command
            .args(["--default-signal=HUP", program])
            .args(words)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("XDG_RUNTIME_DIR", self.folder.path())
            .kill_on_drop(true)
            .stdin(Stdio::null());
        command
    }

    async fn squall(&self, words: &[&str]) -> Ended {
        self.ended(self.command(words)).await
    }

    async fn ended(&self, mut command: Command) -> Ended {
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        Ended::new(output.unwrap_or_else(|_| panic!("{command:?} does not end")).unwrap())
    }

    fn start(&self, words: &[&str]) -> Child {
        self.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

/// Squall, wherever the tests were moved to.
fn program() -> String {
    std::env::var("SQUALL_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_squall").to_owned())
}

#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn new(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

async fn ended(child: Child) -> Ended {
    Ended::new(
        tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("it does not end").unwrap(),
    )
}

fn interrupt(child: &Child) {
    kill(Pid::from_raw(child.id().unwrap().try_into().unwrap()), Signal::SIGINT).unwrap();
}

/// Reads lines until one has these words.
async fn line_with(child: &mut Child, words: &str) {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let found = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(words) {
                return;
            }
        }
        panic!("no line with \"{words}\"");
    };
    tokio::time::timeout(PATIENCE, found).await.expect(words);
}

/// An experiment file; the stand-in does what `behaviour` says.
fn experiment(name: &str, behaviour: &str, duration: &str) -> String {
    format!(
        "apiVersion: chaos-mesh.org/v1alpha1
kind: NetworkChaos
metadata:
  name: {name}
  labels: {{behaviour: {behaviour}}}
spec:
  action: partition
  mode: all
  selector: {{labelSelectors: {{app: mongo}}}}
  externalTargets: [192.0.2.1]
  duration: {duration}
"
    )
}

#[expect(clippy::infinite_loop, reason = "its task is aborted with the machine")]
/// The stand-in for the controller. Polls: what is tested is what the verbs make of the status.
async fn control(client: Client) {
    let all = Api::<NetworkChaos>::all(client.clone());
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let Ok(list) = all.list(&ListParams::default()).await else { continue };
        for chaos in list {
            // A conflict is tried again on the next round.
            drop(control_one(&client, &chaos).await);
        }
    }
}

async fn control_one(client: &Client, chaos: &NetworkChaos) -> kube::Result<()> {
    let api = Api::<NetworkChaos>::namespaced(client.clone(), &chaos.namespace().unwrap());
    let name = chaos.name_any();
    let behaviour = chaos.labels().get("behaviour").map(String::as_str).unwrap_or_default();
    let merge = PatchParams::default();
    if behaviour == "ignored" {
        return Ok(());
    }
    if chaos.metadata.deletion_timestamp.is_some() {
        if behaviour != "stuck" {
            api.patch(&name, &merge, &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await?;
        }
        return Ok(());
    }
    if chaos.finalizers().is_empty() {
        api.patch(&name, &merge, &Patch::Merge(json!({"metadata": {"finalizers": [FINALIZER]}}))).await?;
    }
    let age =
        jiff::Timestamp::now().as_millisecond() - chaos.creation_timestamp().unwrap().0.as_millisecond();
    let duration = chaos
        .spec
        .effective_duration()
        .map_or(i64::MAX, |duration: GoDuration| duration.as_nanos() / 1_000_000);
    let status = match behaviour {
        "invalid" => {
            json!({"conditions": [{"type": "Invalid", "status": "True", "message": "spec.x: wrong; write y"}]})
        }
        "halted" => status(true, Some("Halted")),
        _ if chaos.annotations().get(api::PAUSE_ANNOTATION).is_some_and(|value| value == "true") => {
            let mut status = status(behaviour != "late", None);
            status["conditions"].as_array_mut().unwrap().push(json!({"type": "Paused", "status": "True"}));
            status
        }
        _ if age >= duration => status(behaviour != "late", Some("DurationElapsed")),
        _ => status(false, None),
    };
    let stored = serde_json::to_value(&chaos.status).unwrap();
    if stored != status {
        api.patch_status(&name, &merge, &Patch::Merge(json!({"status": status}))).await?;
    }
    Ok(())
}

fn status(recovered: bool, ended: Option<&str>) -> Value {
    let injected = u32::from(!recovered);
    let word = |yes: bool| if yes { "True" } else { "False" };
    let event = |operation: &str, message: &str| json!({"type": "Succeeded", "operation": operation, "message": message, "timestamp": "2026-01-01T00:00:00Z"});
    let mut events = vec![event("Apply", "table squall: 2 rules")];
    if recovered {
        events = vec![event("Recover", "no table")];
    }
    let mut experiment = json!({
        "desiredPhase": if ended.is_some() { "Stop" } else { "Run" },
        "containerRecords": [{
            "id": "default/mongo-0", "selectorKey": ".", "phase": if recovered { "Not Injected" } else { "Injected" },
            "injectedCount": 1, "recoveredCount": 1 - injected, "events": events}],
        "targets": {"selected": 1, "injected": injected, "recovered": 1 - injected, "failed": 0}
    });
    if let Some(ended) = ended {
        experiment["ended"] = json!(ended);
    }
    json!({
        "conditions": [
            {"type": "Selected", "status": "True"},
            {"type": "AllInjected", "status": word(!recovered)},
            {"type": "AllRecovered", "status": word(recovered)}],
        "experiment": experiment
    })
}

async fn exists(client: &Client, name: &str) -> bool {
    Api::<NetworkChaos>::namespaced(client.clone(), "default").get_opt(name).await.unwrap().is_some()
}

async fn pod(client: &Client, name: &str) {
    let pod = json!({
        "metadata": {"name": name, "labels": {"app": "mongo"}}, "spec": {"containers": [{"name": "mongo", "image": "mongo"}]}
    });
    let pods = Api::<k8s_openapi::api::core::v1::Pod>::namespaced(client.clone(), "default");
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_creates_changes_and_leaves_alone() {
    let (machine, client) = Machine::with_playground();
    let file = machine.file("a.yaml", &experiment("p", "ignored", "1m"));
    let apply = ["apply", "-f", file.to_str().unwrap()];
    for (text, word) in [
        (experiment("p", "ignored", "1m"), "created"),
        (experiment("p", "ignored", "60s"), "configured"),
        (experiment("p", "ignored", "60s"), "unchanged"),
    ] {
        machine.file("a.yaml", &text);
        let ended = machine.squall(&apply).await;
        assert_eq!(ended.out, format!("networkchaos.chaos-mesh.org/p {word}\n"), "{ended:?}");
        assert_eq!(ended.err, "in playground default\n");
        assert_eq!(ended.code, Some(0));
    }
    assert!(exists(&client, "p").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_applies_nothing_and_says_where() {
    let (machine, client) = Machine::with_playground();
    let good = machine.file("good.yaml", &experiment("p", "ignored", "1m"));
    machine.file("bad.yaml", &experiment("q", "ignored", "1d"));
    let ended = machine.squall(&["apply", "-f", good.to_str().unwrap(), "-f", "bad.yaml"]).await;
    assert_eq!(ended.code, Some(2));
    assert_eq!(ended.out, "");
    assert!(
        ended.err.starts_with("bad.yaml:11:13: error: spec.duration: \"1d\" is not a duration"),
        "{}",
        ended.err
    );
    assert!(!exists(&client, "p").await, "the good file was applied");
    assert_eq!(machine.squall(&["apply", "-f", "missing.yaml"]).await.code, Some(1));
    assert_eq!(machine.squall(&["apply", "--no-such-flag"]).await.code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn run_ends_in_0_when_the_experiment_ended_by_itself() {
    let (machine, client) = Machine::with_playground();
    machine.file("a.yaml", &experiment("p", "normal", "1s"));
    let ended = machine.squall(&["run", "-f", "a.yaml"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        ended.out,
        "networkchaos.chaos-mesh.org/p created
selected 1 target
injected default/mongo-0: table squall: 2 rules
injected 1/1
ends in 1s
recovered default/mongo-0: no table
recovered 1/1
over: DurationElapsed
"
    );
    assert!(!exists(&client, "p").await, "the object was left behind");
    let kept = machine.squall(&["run", "-f", "a.yaml", "--keep"]).await;
    assert_eq!(kept.code, Some(0), "{kept:?}");
    assert!(exists(&client, "p").await, "--keep did not keep the object");
    let again = machine.squall(&["run", "-f", "a.yaml"]).await;
    assert_eq!(again.code, Some(0), "one that is over is not replaced: {again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_replaces_itself_on_a_terminal_and_is_plain_lines_in_a_pipe() {
    let (machine, _client) = Machine::with_playground();
    machine.file("a.yaml", &experiment("p", "normal", "2s"));
    let piped = machine.squall(&["run", "-f", "a.yaml"]).await;
    assert_eq!(piped.code, Some(0), "{piped:?}");
    assert!(!piped.out.contains(['\x1b', '\r']), "{:?}", piped.out);
    assert!(!piped.out.contains("Ctrl-C"), "what may be pressed is no line of a log: {:?}", piped.out);
    if !Path::new("/usr/bin/script").exists() {
        eprintln!("SKIPPED: progress on a terminal, for which script of util-linux is needed");
        return;
    }
    // It gives its child a terminal, and passes on what is written there.
    let run = format!("{} run -f a.yaml", program());
    let shown = machine.ended(machine.program("/usr/bin/script", &["-qefc", &run, "/dev/null"])).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let (live, end) = ("\x1b[?7l\r\x1b[K", "\x1b[?7h");
    assert!(shown.out.contains(&format!("{live}injected 1/1  ")), "{:?}", shown.out);
    assert!(shown.out.contains("(Ctrl-C stops it)"), "{:?}", shown.out);
    // Without what replaced itself it is the same story, and nothing of it stays on the screen.
    let (first, rest) = shown.out.split_once(live).unwrap();
    let kept = rest.split(live).map(|part| part.split_once(end).unwrap().1);
    let text: String = std::iter::once(first).chain(kept).collect();
    let lines: Vec<_> = text.split("\r\n").map(|line| line.trim_start_matches("\r\x1b[K")).collect();
    let told: Vec<_> = lines.iter().filter(|line| piped.out.lines().any(|plain| plain == **line)).collect();
    assert_eq!(told.len(), piped.out.lines().count(), "{lines:?} instead of {:?}", piped.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn run_ends_in_2_when_the_controller_refuses() {
    let (machine, client) = Machine::with_playground();
    machine.file("a.yaml", &experiment("p", "invalid", "1m"));
    let ended = machine.squall(&["run", "-f", "a.yaml"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("cannot run: spec.x: wrong; write y"), "{}", ended.err);
    assert!(!exists(&client, "p").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn run_ends_in_5_when_it_is_stopped_before_its_time() {
    let (machine, client) = Machine::with_playground();
    machine.file("a.yaml", &experiment("p", "normal", "10m"));
    let mut child = machine.start(&["run", "-f", "a.yaml"]);
    line_with(&mut child, "injected 1/1").await;
    let second = machine.squall(&["run", "-f", "a.yaml"]).await;
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.err.contains("is active already"), "{}", second.err);
    interrupt(&child);
    let stopped = ended(child).await;
    assert_eq!(stopped.code, Some(5), "{stopped:?}");
    assert!(stopped.err.contains("stopped and recovered"), "{}", stopped.err);
    assert!(!exists(&client, "p").await);

    let mut child = machine.start(&["run", "-f", "a.yaml"]);
    line_with(&mut child, "injected 1/1").await;
    let api = Api::<NetworkChaos>::namespaced(client.clone(), "default");
    api.delete("p", &DeleteParams::default()).await.unwrap();
    let deleted = ended(child).await;
    assert_eq!(deleted.code, Some(5), "{deleted:?}");
    assert!(deleted.err.contains("deleted by somebody else"), "{}", deleted.err);

    machine.file("b.yaml", &experiment("h", "halted", "10m"));
    let halted = machine.squall(&["run", "-f", "b.yaml"]).await;
    assert_eq!(halted.code, Some(5), "{halted:?}");
    assert!(halted.out.ends_with("over: Halted\n"), "{}", halted.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn run_ends_in_6_when_recovery_is_not_seen() {
    let (machine, _client) = Machine::with_playground();
    machine.file("a.yaml", &experiment("late", "late", "1s"));
    let late = machine.squall(&["run", "-f", "a.yaml", "--timeout", "1"]).await;
    assert_eq!(late.code, Some(6), "{late:?}");
    assert!(late.err.contains("default/mongo-0: not yet undone"), "{}", late.err);

    machine.file("b.yaml", &experiment("stuck", "stuck", "10m"));
    let mut child = machine.start(&["run", "-f", "b.yaml"]);
    line_with(&mut child, "injected 1/1").await;
    interrupt(&child);
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.starts_with("stopping") {
            break;
        }
    }
    interrupt(&child);
    let left = ended(child).await;
    assert_eq!(left.code, Some(6), "{left:?}");
    assert!(left.err.contains("left alone"), "{}", left.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_up_leaves_the_experiment_running() {
    let (machine, client) = Machine::with_playground();
    machine.file("a.yaml", &experiment("p", "normal", "10m"));
    let mut child = machine.start(&["run", "-f", "a.yaml"]);
    line_with(&mut child, "injected 1/1").await;
    kill(Pid::from_raw(child.id().unwrap().try_into().unwrap()), Signal::SIGHUP).unwrap();
    assert_eq!(ended(child).await.code, None, "it should die by the signal");
    let chaos = Api::<NetworkChaos>::namespaced(client, "default").get("p").await.unwrap();
    assert_eq!(chaos.metadata.deletion_timestamp, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_waits_until_it_is_recovered() {
    let (machine, client) = Machine::with_playground();
    machine.file("a.yaml", &(experiment("p", "normal", "10m") + "---\n" + &experiment("q", "normal", "10m")));
    assert_eq!(machine.squall(&["apply", "-f", "a.yaml"]).await.code, Some(0));
    let stopped = machine.squall(&["stop", "netchaos/p"]).await;
    assert_eq!(stopped.out, "networkchaos.chaos-mesh.org/p stopped\n", "{stopped:?}");
    assert!(!exists(&client, "p").await && exists(&client, "q").await);
    assert_eq!(
        machine.squall(&["stop", "networkchaos", "q", "--no-wait"]).await.out,
        "networkchaos.chaos-mesh.org/q is stopping\n"
    );
    let missing = machine.squall(&["stop", "networkchaos", "p"]).await;
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert!(missing.err.contains("not found"), "{}", missing.err);
    assert_eq!(machine.squall(&["stop", "pod", "mongo"]).await.code, Some(2), "pods are not experiments");

    machine.file("b.yaml", &experiment("stuck", "stuck", "10m"));
    assert_eq!(machine.squall(&["apply", "-f", "b.yaml"]).await.code, Some(0));
    // Until it is injected, its deletion would find no finalizer.
    while !machine.squall(&["get", "netchaos", "stuck"]).await.out.contains("Injected") {}
    let stuck = machine.squall(&["stop", "-f", "b.yaml", "--timeout", "500ms"]).await;
    assert_eq!(stuck.code, Some(6), "{stuck:?}");
    assert!(stuck.err.contains("default/mongo-0"), "{}", stuck.err);
}

/// An Injection on one target, and a stand-in for its daemon that obeys Halts if `obeys`.
async fn injected(machine: &mut Machine, client: &Client, obeys: bool) {
    let namespace = json!({"metadata": {"name": api::SYSTEM_NAMESPACE}});
    let namespaces = Api::<k8s_openapi::api::core::v1::Namespace>::all(client.clone());
    namespaces.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
    let target = json!({"namespace": "default", "pod": "mongo-0", "uid": "u", "selectorKey": "."});
    let injection = json!({
        "apiVersion": "squall.dev/v1alpha1", "kind": "Injection", "metadata": {"name": "i"},
        "spec": {
            "experiment": {"kind": "NetworkChaos", "namespace": "default", "name": "cut", "uid": "u"},
            "node": "machine1", "targets": [target], "fault": {}, "run": 1,
            "notAfter": "2026-01-01T00:00:00Z", "lease": "30s",
        },
    });
    let injections = Api::<Injection>::namespaced(client.clone(), api::SYSTEM_NAMESPACE);
    injections.create(&PostParams::default(), &serde_json::from_value(injection).unwrap()).await.unwrap();
    let status = |wanted: &str, phase: &str| {
        let mut target = target.clone();
        target["phase"] = json!(phase);
        target["since"] = json!("2026-01-01T00:00:00Z");
        Patch::Merge(json!({"status": {"wanted": wanted, "targets": [target]}}))
    };
    let merge = PatchParams::default();
    injections.patch_status("i", &merge, &status("Present", "Injected")).await.unwrap();
    if obeys {
        let halted = status("Halted", "Recovered");
        let halts = Api::<Halt>::all(client.clone());
        machine.tasks.push(tokio::spawn(async move {
            while halts.list(&ListParams::default()).await.unwrap().items.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            injections.patch_status("i", &merge, &halted).await.unwrap();
        }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn halt_waits_until_everything_is_undone_and_release_takes_it_back() {
    let (mut machine, client) = Machine::with_playground();
    injected(&mut machine, &client, true).await;
    let halted = machine.squall(&["halt", "--name", "stop", "--reason", "incident 4711"]).await;
    assert_eq!(halted.code, Some(0), "{halted:?}");
    assert_eq!(
        halted.out,
        "halt.squall.dev/stop created: halts everything
stops networkchaos default/cut: 1 target on machine1
nothing of it is injected
"
    );
    assert!(halted.err.starts_with("in playground default\n"), "{}", halted.err);
    assert!(halted.err.contains("squall halt --release stop"), "{}", halted.err);
    let table = machine.squall(&["get", "halts"]).await;
    assert!(table.out.lines().nth(1).unwrap().starts_with("stop   <all>        incident 4711"), "{table:?}");

    let again = machine.squall(&["halt", "--name", "stop"]).await;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.err.contains("in force already"), "{}", again.err);
    let some = machine.squall(&["halt", "-n", "shop", "--namespace", "default"]).await;
    assert_eq!(some.code, Some(0), "{some:?}");
    assert!(some.out.starts_with("halt.squall.dev/halt-"), "{}", some.out);
    assert!(some.out.contains("created: halts faults in shop, default\n"), "{}", some.out);
    let typo = machine.squall(&["halt", "--namespace", "Shop"]).await;
    assert_eq!(typo.code, Some(1), "{typo:?}");
    assert!(typo.err.contains("spec.namespaces[0]"), "{}", typo.err);

    let unclear = machine.squall(&["halt", "--release"]).await;
    assert_eq!(unclear.code, Some(2), "{unclear:?}");
    assert!(unclear.err.contains("several Halts: halt-"), "{}", unclear.err);
    let one = machine.squall(&["halt", "--release", "stop"]).await;
    assert_eq!(one.out, "halt.squall.dev/stop released\n", "{one:?}");
    assert!(one.err.contains("still in force: halt-"), "{}", one.err);
    assert_eq!(machine.squall(&["halt", "--release", "stop"]).await.code, Some(1), "it is gone");
    assert_eq!(machine.squall(&["halt", "--name", "second", "--no-wait"]).await.code, Some(0));
    let all = machine.squall(&["halt", "--release", "--all"]).await;
    assert_eq!((all.code, all.out.lines().count()), (Some(0), 2), "{all:?}");
    let none = machine.squall(&["halt", "--release"]).await;
    assert_eq!((none.code, none.out.as_str()), (Some(0), ""), "{none:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn halt_ends_in_6_when_a_node_does_not_answer() {
    let (mut machine, client) = Machine::with_playground();
    injected(&mut machine, &client, false).await;
    let halted = machine.squall(&["halt", "--timeout", "500ms"]).await;
    assert_eq!(halted.code, Some(6), "{halted:?}");
    assert!(halted.err.contains("networkchaos default/cut on machine1"), "{}", halted.err);
    let elsewhere = machine.squall(&["halt", "--namespace", "shop", "--timeout", "5s"]).await;
    assert_eq!(elsewhere.code, Some(0), "{elsewhere:?}");
    assert!(!elsewhere.out.contains("stops"), "{}", elsewhere.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn halt_of_a_machine_needs_no_api_server() {
    let machine = Machine::new();
    let nowhere = machine.squall(&["halt"]).await;
    assert_eq!(nowhere.code, Some(1), "{nowhere:?}");
    let local = ["halt", "--local", "--state-dir", "state"];
    let missing = machine.squall(&local).await;
    assert_eq!(missing.code, Some(1), "a folder that no daemon looks at: {missing:?}");
    assert!(missing.err.contains("--state-dir"), "{}", missing.err);
    std::fs::create_dir(machine.folder.path().join("state")).unwrap();
    assert_eq!(machine.squall(&local).await.code, Some(0));
    let file = machine.folder.path().join("state/HALT");
    assert!(file.exists());
    let release = machine.squall(&[&local[..], &["--release"]].concat()).await;
    assert_eq!((release.code, release.out.as_str()), (Some(0), "this machine is released\n"), "{release:?}");
    assert!(!file.exists());
    for words in [
        &["halt", "--local", "--namespace", "a"][..],
        &["halt", "--local", "--release", "name"],
        &["halt", "--all"],
        &["halt", "--release", "name", "--all"],
    ] {
        assert_eq!(machine.squall(words).await.code, Some(2), "{words:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn get_prints_tables_lists_and_names() {
    let (machine, client) = Machine::with_playground();
    pod(&client, "mongo-0").await;
    let table = machine.squall(&["get", "po"]).await;
    let rows: Vec<Vec<&str>> = table.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "READY", "STATUS", "RESTARTS", "AGE"], "{table:?}");
    assert_eq!(rows[1][..2], ["mongo-0", "0/1"]);
    assert_eq!(table.err, "");
    assert_eq!(machine.squall(&["get", "pods", "-o", "name"]).await.out, "pod/mongo-0\n");
    let all = machine.squall(&["get", "pods", "-A"]).await;
    assert!(all.out.starts_with("NAMESPACE   NAME      READY"), "{all:?}");
    let none = machine.squall(&["get", "pods", "-l", "app=other"]).await;
    assert_eq!((none.out.as_str(), none.err.as_str()), ("", "No resources found in default namespace.\n"));

    let list: Value =
        serde_json::from_str(&machine.squall(&["get", "pods", "-o", "json"]).await.out).unwrap();
    assert_eq!((&list["kind"], &list["items"][0]["kind"]), (&json!("List"), &json!("Pod")));
    let yaml = machine.squall(&["get", "pod/mongo-0", "-o", "yaml"]).await;
    assert!(yaml.out.starts_with("apiVersion: v1\nkind: Pod\nmetadata:"), "{yaml:?}");

    let missing = machine.squall(&["get", "pod", "nobody"]).await;
    assert_eq!(missing.code, Some(1));
    assert!(missing.err.contains("pods \"nobody\" not found"), "{}", missing.err);
    let unknown = machine.squall(&["get", "widgets"]).await;
    assert_eq!(unknown.code, Some(2), "{unknown:?}");

    machine.file("a.yaml", &experiment("p", "ignored", "1m"));
    machine.squall(&["apply", "-f", "a.yaml"]).await;
    let experiments = machine.squall(&["get", "networkchaos"]).await;
    let lines: Vec<_> = experiments.out.lines().collect();
    assert_eq!(lines[0], "NAME   ACTION      PHASE     TARGETS   REMAINING/DURATION   AGE");
    assert!(
        lines[1].starts_with("p      partition   Waiting   <none>    -/1m0s               "),
        "{experiments:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn get_watches() {
    let (machine, client) = Machine::with_playground();
    pod(&client, "first").await;
    let mut child = machine.start(&["get", "pods", "-w", "-o", "name"]);
    line_with(&mut child, "pod/first").await;
    pod(&client, "second").await;
    line_with(&mut child, "pod/second").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_and_logs_pass_bytes_through() {
    let (machine, client) = Machine::with_playground();
    pod(&client, "mongo-0").await;
    let raw =
        machine.squall(&["get", "--raw", "/api/v1/namespaces/default/pods/mongo-0/proxy/metrics"]).await;
    assert_eq!(raw.out, "# mongo-0 /metrics\nup 1", "{raw:?}");
    let missing = machine.squall(&["get", "--raw", "/api/v1/namespaces/default/pods/nobody"]).await;
    assert_eq!((missing.code, missing.out.as_str()), (Some(1), ""));
    assert!(missing.err.contains("pods \"nobody\" not found"), "{}", missing.err);
    let log = machine.squall(&["logs", "pod/mongo-0", "-c", "mongo", "--tail", "5", "-p"]).await;
    assert_eq!(log.out, "mongo-0 Some(\"mongo\") Some(5) true\n", "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_error() {
    let (machine, client) = Machine::with_playground();
    for index in 0..20 {
        pod(&client, &format!("mongo-{index}")).await;
    }
    let mut child = machine.start(&["get", "pods", "-o", "json"]);
    drop(child.stdout.take());
    let ended = ended(child).await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_playgrounds_have_to_be_told_apart() {
    let mut machine = Machine::new();
    let none = machine.squall(&["get", "pods"]).await;
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.err.contains("no playground is running"), "{}", none.err);
    let one = machine.playground("one");
    machine.playground("two");
    pod(&one, "mongo-0").await;
    let unclear = machine.squall(&["get", "pods"]).await;
    assert_eq!(unclear.code, Some(2), "{unclear:?}");
    assert!(unclear.err.contains("one, two") && unclear.err.contains("--playground NAME"), "{}", unclear.err);
    let clear = machine.squall(&["get", "pods", "--playground", "one", "-o", "name"]).await;
    assert_eq!(clear.out, "pod/mongo-0\n", "{clear:?}");
    let wrong = machine.squall(&["--playground", "three", "get", "pods"]).await;
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.err.contains("one, two"), "{}", wrong.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_what_is_there_and_what_is_not() {
    let (machine, client) = Machine::with_playground();
    let ended = machine.squall(&["doctor"]).await;
    assert_eq!(ended.code, Some(1), "there is no controller: {ended:?}");
    assert!(ended.out.contains("✓ ok    world             playground default"), "{}", ended.out);
    assert!(ended.out.contains("✗ fail  controller        no controller has ever led here"), "{}", ended.out);
    let namespace = json!({"metadata": {"name": api::SYSTEM_NAMESPACE}});
    let namespaces = Api::<k8s_openapi::api::core::v1::Namespace>::all(client.clone());
    namespaces.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
    let lease = json!({
        "metadata": {"name": api::CONTROLLER_LEASE},
        "spec": {"holderIdentity": "c-1", "renewTime": format!("{:.6}", jiff::Timestamp::now())}
    });
    let leases = Api::<k8s_openapi::api::coordination::v1::Lease>::namespaced(client, api::SYSTEM_NAMESPACE);
    leases.create(&PostParams::default(), &serde_json::from_value(lease).unwrap()).await.unwrap();
    let json = machine.squall(&["doctor", "-o", "json"]).await;
    let checks: Vec<Value> = serde_json::from_str(&json.out).unwrap();
    let controller = checks.iter().find(|check| check["name"] == "controller").unwrap();
    assert_eq!(controller["verdict"], "ok", "{controller}");
}

#[tokio::test(flavor = "multi_thread")]
async fn version_and_help() {
    let machine = Machine::new();
    let version = machine.squall(&["--version"]).await;
    assert_eq!(version.out, format!("squall {}\n", env!("CARGO_PKG_VERSION")));
    let help = machine.squall(&["run", "--help"]).await;
    assert!(help.out.contains("squall run -f templates/partition.yaml"), "{}", help.out);
    assert!(help.out.contains("6  something of the fault may still be in place"), "{}", help.out);
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/partition.yaml").exists());
}
