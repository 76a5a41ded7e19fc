//! How long things take in a playground: its start, an experiment's way into the kernel and out of it, and what each
//! process weighs. Prints figures and asserts nothing: `cargo bench --bench playground`, as root.

#![expect(clippy::expect_used, clippy::panic, reason = "a measurement that went wrong is none")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is made to print")]

#[path = "../tests/playground/cluster.rs"]
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
mod cluster;
#[path = "../tests/playground/harness.rs"]
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
mod harness;

use std::fs;
use std::time::{Duration, Instant};

use cluster::{pod, sandbox_of, until};
use harness::Home;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use squall::api::{ConditionKind, NetworkChaos};
use squall::daemon::sys::netlink::{Protocol, Socket};
use squall::daemon::sys::netns::NetNs;
use squall::daemon::sys::nft;
use squall::network::layout::TABLE;

/// Starts that are timed.
const STARTS: usize = 10;

/// Experiments that are timed.
const ROUNDS: usize = 50;

/// How long a table is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut starts: Vec<_> = (0..STARTS).filter_map(|_| start()).collect();
    report("playground: start to all pods ready", &mut starts);
    runtime.block_on(rounds());
}

fn start() -> Option<Duration> {
    let mut playground = Home::new().spawn("bench");
    playground.wait_ready().inspect_err(|text| eprintln!("SKIPPED: {text}")).ok()
}

async fn rounds() {
    let home = Home::new();
    let Some(playground) = home.start("bench") else { return };
    let client = playground.client();
    let mongo = pod(&client, "mongo").await;
    weigh(&home);
    let Ok(mut socket) = socket_in(sandbox_of(&home, &mongo)) else {
        eprintln!("SKIPPED: looking at the kernel's tables from outside the sandbox, which needs root");
        return;
    };
    let experiments: Api<NetworkChaos> = Api::default_namespaced(client.clone());
    let [mut into, mut injected, mut out] = [(); 3].map(|()| Vec::with_capacity(ROUNDS));
    for round in 0..ROUNDS {
        let name = format!("round{round}");
        let of = |app: &str| json!({"labelSelectors": {"app": app}});
        let chaos: NetworkChaos = serde_json::from_value(json!({
            "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "NetworkChaos", "metadata": {"name": name},
            "spec": {
                "action": "partition", "mode": "all", "selector": of("server-app"),
                "target": {"mode": "all", "selector": of("mongo")},
            },
        }))
        .expect("an experiment");
        // The table is looked for on a thread of its own, in a closed loop, while the experiment goes its way.
        let begun = Instant::now();
        let watched = tokio::task::spawn_blocking(move || {
            let took = wait(&mut socket, true, begun);
            (took, socket)
        });
        experiments.create(&PostParams::default(), &chaos).await.expect("apply");
        until("all are injected", async || {
            let status = experiments.get(&name).await.expect("the experiment").status?;
            status.is(ConditionKind::AllInjected).then_some(())
        })
        .await;
        injected.push(begun.elapsed());
        let (took, open) = watched.await.expect("the thread");
        into.push(took);
        socket = open;
        let begun = Instant::now();
        let watched = tokio::task::spawn_blocking(move || {
            let took = wait(&mut socket, false, begun);
            (took, socket)
        });
        experiments.delete(&name, &DeleteParams::default()).await.expect("delete");
        let (took, open) = watched.await.expect("the thread");
        out.push(took);
        socket = open;
        until("the experiment is gone", async || {
            experiments.get_opt(&name).await.expect("an answer").is_none().then_some(())
        })
        .await;
    }
    report("apply to table in the kernel", &mut into);
    report("apply to condition AllInjected (polled every 20 ms)", &mut injected);
    report("delete to table gone", &mut out);
}

fn socket_in(pid: i32) -> Result<Socket, Box<dyn std::error::Error>> {
    Ok(NetNs::of_pid(u32::try_from(pid)?)?.socket(Protocol::Netfilter)?)
}

/// Lists tables until ours is there, or is not.
fn wait(socket: &mut Socket, there: bool, begun: Instant) -> Duration {
    loop {
        let tables = nft::list_tables(socket).expect("the kernel's tables");
        if tables.iter().any(|table| table.name == TABLE) == there {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < PATIENCE, "no table within {PATIENCE:?}");
    }
}

/// What each process of the playground weighs: its proportional share of memory (`Pss`), and what is its alone.
fn weigh(home: &Home) {
    println!("{:<40} {:>10} {:>10}", "process", "PSS KiB", "own KiB");
    for pid in home.processes() {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let name = read("cmdline").replace('\0', " ");
        let rollup = read("smaps_rollup");
        let field = |field: &str| -> u64 {
            let lines = rollup.lines().filter_map(|line| line.strip_prefix(field));
            lines.filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok()).sum()
        };
        let name: String = name.split('/').next_back().unwrap_or_default().chars().take(40).collect();
        println!(
            "{name:<40} {:>10} {:>10}",
            field("Pss:"),
            field("Private_Dirty:") + field("Private_Clean:")
        );
    }
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
    if let (Some(p50), Some(p95), Some(most)) = (at(50), at(95), times.last()) {
        println!("{what}: n={} p50 {p50:.1?} p95 {p95:.1?} max {most:.1?}", times.len());
    }
}
