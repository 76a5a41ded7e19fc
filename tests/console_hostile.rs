//! The console while it measures pods that answer as badly as they can: every key is obeyed, memory is bounded, and each
//! pod's trouble is named with its cure.
#![cfg(test)]

#[expect(dead_code, reason = "shared with tests that watch more")]
mod pty;
#[expect(dead_code, reason = "shared with tests that run the controller")]
#[path = "controller/simulated.rs"]
mod simulated;

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use pty::{Launch, PATIENCE, Pty};

/// What the pods are called, and what must be said of each.
const PODS: [(&str, &str); 8] = [
    ("good", "1 samples"),
    ("hangs", "no answer within 900 ms"),
    ("endless", "larger than 16 MiB"),
    ("million", "larger than 16 MiB"),
    ("page", "a web page"),
    ("redirect", "redirect"),
    ("garbage", "cannot be read"),
    ("absent", "nothing listens on port 1"),
];

/// The longest time from a key to the screen that it asks for, on a machine that is busy with other things, too.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The most memory of the console, in MiB: room for answers is 64 of them.
const MEMORY: u64 = 200;

async fn serve(listener: TcpListener) {
    while let Ok((stream, _peer)) = listener.accept().await {
        // Whoever has enough hangs up, which is an error on this side.
        tokio::spawn(async move { drop(answer(stream).await) });
    }
}

async fn answer(stream: TcpStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut first, mut line) = (String::new(), String::new());
    stream.read_line(&mut first).await?;
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let path = first.split(' ').nth(1).unwrap_or_default();
    let head = |status: &str, more: &str| format!("HTTP/1.1 {status}\r\nConnection: close\r\n{more}\r\n");
    let good = "x 1\n";
    match path {
        "/good" => stream.write_all((head("200 OK", "") + good).as_bytes()).await,
        "/hangs" => {
            tokio::time::sleep(Duration::from_mins(1)).await;
            Ok(())
        }
        "/endless" => {
            stream.write_all(head("200 OK", "").as_bytes()).await?;
            let piece = "x{path=\"/\"} 1\n".repeat(4096);
            loop {
                stream.write_all(piece.as_bytes()).await?;
            }
        }
        "/million" => {
            stream.write_all(head("200 OK", "").as_bytes()).await?;
            for number in 0..1_000 {
                let lines = (0..1_000).map(|line| format!("x{{number=\"{number}\",line=\"{line}\"}} NaN\n"));
                let piece = lines.collect::<Vec<_>>().concat();
                stream.write_all(piece.as_bytes()).await?;
            }
            Ok(())
        }
        "/page" => {
            stream.write_all((head("200 OK", "") + "<!DOCTYPE html><title>x</title>").as_bytes()).await
        }
        "/redirect" => stream.write_all(head("302 Found", "Location: /redirect\r\n").as_bytes()).await,
        _ => stream.write_all((head("200 OK", "") + "x{ 1\nx} 1\n\u{1b}[2J\n" + good).as_bytes()).await,
    }
}

/// Pods with the address of this machine; each is asked for its own path.
async fn fill(client: &Client, port: u16) {
    let pods = Api::<Pod>::namespaced(client.clone(), "default");
    for (name, _) in PODS {
        let port = if name == "absent" { 1 } else { port };
        let pod = json!({
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "hostile"}, "annotations": {
                "prometheus.io/scrape": "true", "prometheus.io/port": port.to_string(),
                "prometheus.io/path": format!("/{name}")}},
            "spec": {"nodeName": "n1", "containers": [{"name": "main", "image": "x"}]},
        });
        simulated::make::<Pod>(&pods, pod).await;
        // As the kubelet does: a status is no part of what is created.
        let status =
            json!({"status": {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}});
        let parameters = PatchParams::default();
        pods.patch_status(name, &parameters, &Patch::Merge(status)).await.expect("a status");
    }
}

/// The most memory that the process has had, in MiB.
fn memory(process: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the console runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// Goes from screen to screen, and gives the longest time that one took to come.
fn hurry(pty: &mut Pty, times: usize) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..times {
        for (key, text) in [("2", "VERDICT"), ("4", "Hostile pods")] {
            let begun = Instant::now();
            pty.press(key);
            pty.wait_text(text);
            longest = longest.max(begun.elapsed());
        }
        pty.watch(Duration::from_millis(200));
    }
    longest
}

/// What is said of each pod; on a busy machine one of them may miss a turn, which is said, too.
fn every_trouble_is_named(pty: &mut Pty) {
    let mut missing = Vec::new();
    for _ in 0..20 {
        pty.press("d");
        pty.wait_text("Pods that are asked once a second: 8");
        let screen = pty.screen().text();
        let says = |pod: &str, said: &str| {
            let name = format!("default/{pod} ");
            screen.lines().any(|line| line.contains(&name) && line.contains(said))
        };
        missing = PODS.iter().filter(|(pod, said)| !says(pod, said)).collect();
        if missing.is_empty() {
            return;
        }
        pty.press("4");
        pty.wait_text("╭ Hostile pods");
        pty.watch(Duration::from_secs(1));
    }
    panic!("{missing:?} are not said:\n{}", pty.screen().frame());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_is_obeyed_while_pods_answer_as_badly_as_they_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let hostile = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = hostile.local_addr().expect("its address").port();
    let server = simulated::server(&[]);
    fill(&server.client("default"), port).await;
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let tasks = [tokio::spawn(server.serve_unix(listener)), tokio::spawn(serve(hostile))];
    let dashboard = folder.path().join("hostile.yaml");
    let text = "title: Hostile pods\nscrape: {labels: {app: hostile}, via: direct}\n\
                panels: [{title: Values, queries: [{expr: x, legend: \"{{pod}}\"}]}]\n";
    fs::write(&dashboard, text).expect("a dashboard");

    tokio::task::spawn_blocking(move || {
        let mut pty = Launch::squall(&["console"])
            .env("SQUALL_API_SOCKET", &socket)
            .env("XDG_RUNTIME_DIR", folder.path())
            .env("XDG_STATE_HOME", folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .size(160, 40)
            .start();
        pty.wait_text("hangs");
        pty.type_text(&format!(":dashboard {}", dashboard.display()));
        pty.press("enter");
        pty.wait_text("Hostile pods");
        pty.wait_for(|screen| screen.has("of 8 pods"), PATIENCE, "answer of every pod");
        let longest = hurry(&mut pty, 10);
        assert!(longest < AT_ONCE, "a screen took {longest:?} to come");
        every_trouble_is_named(&mut pty);
        let memory = memory(pty.pid());
        assert!(memory < MEMORY, "{memory} MiB");
        eprintln!("longest {longest:?}, {memory} MiB");
        pty.press("q");
        assert!(pty.wait_end().success());
    })
    .await
    .expect("the console obeyed");
    for task in tasks {
        task.abort();
    }
}
