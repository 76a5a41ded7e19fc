//! What the console costs with a large cluster: 20,000 pods on 200 nodes, 500 changes a second. Prints figures and asserts
//! nothing: `cargo bench --bench console`.
//!
//! First the state and the view alone, in this process: how long an event takes, how long a frame, what both weigh. Then
//! the real program on a pseudo terminal, against an API server in this process: from the key to the changed screen, from
//! the start to the first rows, bytes, memory, and what it does when nothing happens.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark stops at what is wrong"
)]
#![expect(clippy::print_stdout, reason = "it is made to print")]

mod live;
#[expect(dead_code, reason = "shared with tests that do more on a terminal")]
#[path = "../../tests/pty/mod.rs"]
mod pty;
#[expect(dead_code, reason = "shared with tests of the controller")]
#[path = "../../tests/controller/simulated.rs"]
mod simulated;
mod terminal;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::core::DynamicObject;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};
use squall::app::event::Event;
use squall::app::key::Key;
use squall::app::recorder::Recorder;
use squall::app::state::State;
use squall::app::store::{Batch, Delta, Experiment, Part, PodRow};
use squall::app::testing::{Console, after_noon};
use squall::app::update;
use squall::ui;
use squall::ui::theme::Theme;

use terminal::{memory, report};

/// Pods.
const PODS: usize = 20_000;

/// Nodes.
const NODES: usize = 200;

/// Experiments, every second of them over.
const EXPERIMENTS: usize = 50;

/// Nodes that have a part in each experiment.
const PARTS: usize = 20;

/// Targets that an experiment's status lists.
const RECORDS: usize = 100;

/// Changed pods in a batch: the console takes ten batches a second.
const CHANGES: usize = 50;

/// How often each is timed.
const ROUNDS: usize = 300;

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    if only != "live" {
        pure();
    }
    if only != "pure" {
        live::run();
    }
}

/// The rest of a pod's name is as long as a Deployment makes it.
fn pod_name(number: usize) -> String {
    format!("pod-{number:05}-7d9c6b8f5d-x7k2p")
}

/// The parts of its names that are the same everywhere are at most as long as they are in a cluster.
fn pod_row(number: usize, restarts: u32) -> Arc<PodRow> {
    // In no order, as they are.
    let uid = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Arc::new(PodRow {
        uid: format!("{:08x}-7b1d-4c5e-9f3a-{:012x}", uid >> 32, uid & 0xffff_ffff),
        namespace: format!("team-{:02}", number % 20),
        name: pod_name(number),
        node: node_name(number % NODES),
        address: format!("10.{}.{}.{}", number >> 16, (number >> 8) & 255, number & 255),
        status: if restarts % 2 == 1 { "CrashLoopBackOff" } else { "Running" }.to_owned(),
        ready: 1,
        containers: vec!["main".to_owned()],
        restarts,
        created: after_noon(-i64::try_from(number).expect("it is small")).parse().ok(),
        labels: labels(number / 10),
        annotations: BTreeMap::new(),
        ports: Vec::new(),
    })
}

/// Ten pods share them, as those of a Deployment do.
fn labels(app: usize) -> Arc<BTreeMap<String, String>> {
    static ALL: LazyLock<Vec<Arc<BTreeMap<String, String>>>> = LazyLock::new(|| {
        let labels = |app| [("app", format!("app-{app}")), ("pod-template-hash", "7d9c6b8f5d".to_owned())];
        (0..PODS / 10)
            .map(|app| Arc::new(labels(app).map(|(key, value)| (key.to_owned(), value)).into()))
            .collect()
    });
    Arc::clone(&ALL[app])
}

fn node_name(number: usize) -> String {
    format!("node-{number:03}")
}

// ---- the state and the view alone --------------------------------------------------------------

fn pure() {
    let before = memory("self", "VmRSS:");
    let mut bench = Bench::new();
    println!("state of {PODS} pods, {NODES} nodes: {:.1} MiB", memory("self", "VmRSS:") - before);
    bench.experiments();
    println!("with {EXPERIMENTS} experiments: {:.1} MiB", memory("self", "VmRSS:") - before);
    for (width, height) in [(80, 24), (120, 40)] {
        bench.happen(Event::Resized { width, height });
        bench.frames(&format!("{width}x{height}, cluster"));
    }
    bench.changes("update, batch of 50 changed pods, by namespace");
    bench.keys("update, key j", "j", "k");
    // To the column STATUS, which the changes change.
    bench.press("> > >");
    bench.changes("update, batch of 50 changed pods, by status");
    bench.frames("120x40, cluster by status");
    bench.press("< < <");
    bench.keys("update, another column (> and <)", ">", "<");
    bench.keys("update, a letter typed into the filter", "/ 7", "esc");
    bench.press("/ 7 7 enter");
    bench.frames("120x40, cluster with a filter");
    bench.changes("update, batch of 50 changed pods, with a filter");
    bench.press("esc 2");
    bench.frames("120x40, experiments");
    bench.changes("update, batch of 50 changed pods, screen experiments");
    bench.ticks("update, a second passes, screen experiments");
    bench.press("1");
    bench.ticks("update, a second passes, screen cluster");
    let before = memory("self", "VmRSS:");
    bench.record();
    println!("two segments of the recorder: {:.1} MiB more", memory("self", "VmRSS:") - before);
}

struct Bench {
    state: State,
    now: Timestamp,
    restarts: u32,
    next: usize,
}

impl Bench {
    fn new() -> Self {
        let mut console = Console::playground();
        let nodes = (0..NODES).map(|number| squall::app::testing::node(&node_name(number))).collect();
        let pods = (0..PODS).map(|number| pod_row(number, 0)).collect();
        let reset = |rows| Delta { reset: true, upserted: rows, ..Delta::default() };
        console.change(Batch { pods: reset(pods), ..Batch::default() });
        let nodes = Delta { reset: true, upserted: nodes, ..Delta::default() };
        console.change(Batch { nodes, ..Batch::default() });
        let now = console.state.now;
        Self { state: console.state, now, restarts: 0, next: 0 }
    }

    fn experiments(&mut self) {
        let object =
            |number| serde_json::from_value::<DynamicObject>(experiment(number)).expect("an experiment");
        let experiments = (0..EXPERIMENTS).map(|number| Arc::new(Experiment::from(object(number))));
        let parts = (0..EXPERIMENTS).flat_map(|number| (0..PARTS).map(move |part| part_of(number, part)));
        let parts = parts.map(|part| Arc::new(Part(serde_json::from_value(part).expect("an Injection"))));
        let experiments = Delta { upserted: experiments.collect(), ..Delta::default() };
        let injections = Delta { upserted: parts.collect(), ..Delta::default() };
        let experiments = [("NetworkChaos".to_owned(), experiments)].into();
        self.happen(Event::Changed(Box::new(Batch { experiments, injections, ..Batch::default() })));
    }

    fn happen(&mut self, event: Event) {
        drop(update(&mut self.state, event, self.now));
    }

    fn press(&mut self, keys: &str) {
        for key in Key::sequence(keys).expect("keys") {
            self.happen(Event::Pressed(key));
        }
    }

    /// The next changes, a batch of them.
    fn batch(&mut self) -> Event {
        let pods = (0..CHANGES).map(|_| {
            self.next += 1;
            self.restarts = u32::try_from(self.next / PODS).expect("it is small") + 1;
            // A step that has no common divisor with the number of pods: the changes are everywhere.
            pod_row(self.next * 7_919 % PODS, self.restarts)
        });
        let pods = Delta { upserted: pods.collect(), ..Delta::default() };
        Event::Changed(Box::new(Batch { pods, ..Batch::default() }))
    }

    fn changes(&mut self, what: &str) {
        let mut times: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let event = self.batch();
                self.pass(100);
                timed(|| self.happen(event))
            })
            .collect();
        report(what, &mut times);
    }

    fn keys(&mut self, what: &str, there: &str, back: &str) {
        let mut times = Vec::new();
        for _ in 0..ROUNDS / 2 {
            for keys in [there, back] {
                self.pass(10);
                let keys = Key::sequence(keys).expect("keys");
                let count = u32::try_from(keys.len()).expect("it is small");
                let all = timed(|| keys.into_iter().for_each(|key| self.happen(Event::Pressed(key))));
                times.push(all / count);
            }
        }
        report(what, &mut times);
    }

    fn ticks(&mut self, what: &str) {
        let mut times: Vec<_> = (0..ROUNDS)
            .map(|_| {
                self.pass(1_000);
                timed(|| self.happen(Event::Ticked))
            })
            .collect();
        report(what, &mut times);
    }

    /// Frames as the console draws them, up to the cells that differ; between them the selection moves.
    fn frames(&mut self, what: &str) {
        let theme = Theme::new(self.state.look.theme, self.state.look.depth, self.state.look.charset);
        let backend = TestBackend::new(self.state.width, self.state.height);
        let Ok(mut terminal) = Terminal::new(backend);
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            self.press(if round % 200 < 100 { "j" } else { "k" });
            let state = &self.state;
            times.push(timed(|| {
                let Ok(_frame) = terminal.draw(|frame| ui::draw(state, &theme, frame));
            }));
        }
        report(&format!("frame {what}"), &mut times);
    }

    fn pass(&mut self, milliseconds: i64) {
        self.now = self.now.saturating_add(SignedDuration::from_millis(milliseconds)).expect("a time");
    }

    /// Fills both segments with changes of pods.
    fn record(&mut self) {
        let mut recorder = Recorder::default();
        let mut times = Vec::new();
        for _ in 0..2 * PODS / CHANGES {
            let event = self.batch();
            self.pass(100);
            times.push(timed(|| recorder.record(&self.state, &event, self.now)));
            self.happen(event);
        }
        report("recorder, a batch of 50", &mut times);
        std::hint::black_box(&recorder);
    }
}

/// An experiment that runs, or one that is over.
fn experiment(number: usize) -> Value {
    let over = number % 2 == 1;
    let records = (0..RECORDS).map(|record| {
        json!({"id": format!("team-01/{}", pod_name(record)), "selectorKey": ".", "injectedCount": 1,
            "phase": if over { "Not Injected" } else { "Injected" }, "recoveredCount": u32::from(over), "events": []})
    });
    let mut experiment = squall::app::testing::delay();
    experiment["metadata"]["name"] = format!("delay-{number:02}").into();
    experiment["metadata"]["uid"] = format!("uid-{number:02}").into();
    experiment["status"]["experiment"]["containerRecords"] = records.collect();
    if over {
        experiment["status"]["experiment"]["ended"] = "DurationElapsed".into();
        experiment["status"]["conditions"] = json!([{"type": "AllRecovered", "status": "True"}]);
    }
    experiment
}

fn part_of(number: usize, part: usize) -> Value {
    let pod = pod_row(number * PARTS + part, 0);
    let mut object = squall::app::testing::delay_part(&pod.node, &[(pod.name.as_str(), false)]);
    object["spec"]["experiment"]["name"] = format!("delay-{number:02}").into();
    object["spec"]["experiment"]["uid"] = format!("uid-{number:02}").into();
    object["metadata"]["uid"] = format!("part-{number:02}-{part:02}").into();
    object["spec"]["targets"][0]["uid"] = pod.uid.clone().into();
    object["status"]["targets"][0]["uid"] = pod.uid.clone().into();
    object
}

// ---- figures -----------------------------------------------------------------------------------

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}
