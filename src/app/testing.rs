//! A console for tests: pressed keys go in, what it asks for comes out. Not a part of the program.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::effect::Effect;
use super::event::{Event, Loaded};
use super::key::Key;
use super::state::State;
use super::store::{Batch, Delta, Experiment, HaltRow, Link, NodeRow, Part, PodRow, Topic};
use super::update;
use crate::api::{Halt, HaltSpec};
use crate::report::{Right, Trouble};
use crate::steady_state::dashboard::{Dashboard, Panel, Query, Scrape, Unit, Via};
use crate::steady_state::frame::{Frame, Line, PanelFrame, Target};

/// A console, its clock, and everything that it has asked for.
pub struct Console {
    /// Its state.
    pub state: State,
    /// What it asked for, oldest first, but for rights.
    pub effects: Vec<Effect>,
    /// The rights that it asked for.
    pub reviewed: Vec<Right>,
    now: Timestamp,
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

/// Nine panels, of which the first and the fourth have a line for each path.
fn dashboard() -> Dashboard {
    let titles = [
        ("Requests per second", Unit::PerSecond),
        ("Errors per second", Unit::PerSecond),
        ("Total requests per minute", Unit::PerMinute),
        ("Average response time", Unit::Seconds),
        ("Request duration p50", Unit::Seconds),
        ("Request duration p90", Unit::Seconds),
        ("Requests under 100 ms", Unit::Ratio),
        ("Memory usage", Unit::Bytes),
        ("CPU usage", Unit::Cores),
    ];
    let panels = titles.map(|(title, unit)| {
        let expr = "sum(rate(http_requests_total[1m])) by (path)".to_owned();
        Panel { title: title.to_owned(), unit, queries: vec![Query { expr, legend: None }] }
    });
    let scrape = Scrape {
        namespaces: vec!["default".to_owned()],
        labels: [("app".to_owned(), "server-app".to_owned())].into(),
        port: Some(8080),
        path: "/metrics".to_owned(),
        via: Via::Proxy,
    };
    Dashboard { title: "Movies server".to_owned(), scrape, panels: panels.into() }
}

/// What the dashboard shows so many seconds after noon.
fn frame(second: i64) -> Frame {
    let line = |name: &str, value: f64| Line {
        query: 0,
        labels: [("path".to_owned(), name.to_owned())].into(),
        name: name.to_owned(),
        value,
    };
    let paths = ["/", "/message1", "/message2", "/message3", "/movies"];
    // A little unrest, the same each time.
    let unrest = |number: usize| {
        let number = i64::try_from(number).unwrap_or(0);
        f64::from(i32::try_from((second * 7 + number * 13).rem_euclid(10)).unwrap_or(0)) / 100.0
    };
    let is_slow = second > -10;
    let by_path = |of: &dyn Fn(&str, f64) -> f64| {
        paths.iter().enumerate().map(|(number, path)| line(path, of(path, 1.0 + unrest(number)))).collect()
    };
    let slow = |path: &str| is_slow && path == "/movies";
    let time = |path: &str, unrest: f64| {
        unrest * if path == "/movies" { 0.001_85 + f64::from(u8::from(slow(path))) * 0.15 } else { 0.000_11 }
    };
    let pods = ["server-app-698785988d-6xszv", "server-app-698785988d-bnq84"];
    let by_pod = |value: f64| pods.iter().map(|pod| line(pod, value)).collect::<Vec<_>>();
    let panels = vec![
        Ok(by_path(&|path, unrest| unrest * if slow(path) { 4.0 } else { 110.0 })),
        Ok(vec![line("errors", 0.0)]),
        Ok(vec![line("200", if is_slow { 900.0 } else { 33_000.0 })]),
        Ok(by_path(&time)),
        Ok(by_path(&time)),
        Ok(by_path(&|path, unrest| 1.5 * time(path, unrest))),
        Ok(by_path(&|path, _| if slow(path) { 0.0 } else { 1.0 })),
        Ok(by_pod(12_400_000.0)),
        Ok(by_pod(if is_slow { 0.02 } else { 0.12 })),
    ];
    let panels = panels.into_iter().map(|lines| PanelFrame { lines, omitted: 0, note: None }).collect();
    let targets = pods.map(|pod| Target { pod: format!("default/{pod}"), answer: Ok(124), complaint: None });
    let at = Timestamp::from_second(NOON + second).unwrap_or_default();
    Frame { at, panels, targets: targets.into() }
}

/// The noon at which every test begins.
const NOON: i64 = 1_767_268_800;

/// A time so many seconds after noon, RFC 3339.
pub fn after_noon(seconds: i64) -> String {
    Timestamp::from_second(NOON + seconds).map_or_else(|_| String::new(), |time| time.to_string())
}

impl Console {
    /// One that knows nothing yet.
    pub fn new() -> Self {
        let now = Timestamp::from_second(NOON).unwrap_or_default();
        let mut console = Self { state: State::default(), effects: Vec::new(), reviewed: Vec::new(), now };
        "playground default".clone_into(&mut console.state.world.name);
        console.happen(Event::Resized { width: 80, height: 24 });
        console
    }

    /// The playground, at rest: three nodes, four pods, no experiment.
    pub fn playground() -> Self {
        let mut console = Self::new();
        let nodes = (1..=3).map(|number| node(&format!("machine{number}"))).collect();
        let pods = vec![
            pod("mongo-596c7bf7bd-tkwpx", "mongo", "machine3"),
            pod("server-app-698785988d-6xszv", "server-app", "machine2"),
            pod("server-app-698785988d-bnq84", "server-app", "machine3"),
            pod("traffic-64f8ddcd8c-kxbd7", "traffic", "machine1"),
        ];
        console.change(Batch {
            nodes: Delta { upserted: nodes, ..Delta::default() },
            pods: Delta { upserted: pods, ..Delta::default() },
            ..Batch::default()
        });
        for topic in [
            Topic::Pods,
            Topic::Nodes,
            Topic::Experiments("NetworkChaos".to_owned()),
            Topic::Experiments("PodChaos".to_owned()),
            Topic::Injections,
            Topic::Halts,
        ] {
            console.happen(Event::Linked { topic, link: Link::Live });
        }
        // That its pods are to be measured is nothing that a test pressed a key for.
        console.effects.clear();
        console
    }

    /// Something happens.
    pub fn happen(&mut self, event: Event) -> &mut Self {
        for effect in update(&mut self.state, event, self.now) {
            match effect {
                Effect::Review(rights) => self.reviewed.extend(rights),
                effect => self.effects.push(effect),
            }
        }
        self
    }

    /// The cluster changes.
    pub fn change(&mut self, batch: Batch) -> &mut Self {
        self.happen(Event::Changed(Box::new(batch)))
    }

    /// Keys are pressed, written as in the table of keys, with spaces between them.
    pub fn press(&mut self, keys: &str) -> &mut Self {
        for key in Key::sequence(keys).unwrap_or_default() {
            self.happen(Event::Pressed(key));
        }
        self
    }

    /// A text is typed, key by key.
    pub fn type_text(&mut self, text: &str) -> &mut Self {
        for char in text.chars() {
            self.happen(Event::Pressed(Key::char(char)));
        }
        self
    }

    /// Time goes by, and the console is told.
    pub fn wait(&mut self, milliseconds: i64) -> &mut Self {
        self.now = self.now.saturating_add(SignedDuration::from_millis(milliseconds)).unwrap_or(self.now);
        self.happen(Event::Ticked)
    }

    /// The terminal gets another size.
    pub fn resize(&mut self, width: u16, height: u16) -> &mut Self {
        self.happen(Event::Resized { width, height })
    }

    /// What it asked for since the last call.
    pub fn asked(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// An experiment comes, or changes.
    pub fn experiment(&mut self, object: &Value) -> &mut Self {
        let kind = object.pointer("/kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let object = serde_json::from_value::<kube::core::DynamicObject>(object.clone());
        debug_assert!(object.is_ok(), "{:?}", object.err());
        let Ok(object) = object else { return self };
        let delta = Delta { upserted: vec![Arc::new(Experiment::from(object))], ..Delta::default() };
        self.change(Batch { experiments: [(kind, delta)].into(), ..Batch::default() })
    }

    /// The part of a node in an experiment comes, or changes.
    pub fn part(&mut self, object: &Value) -> &mut Self {
        let injection = serde_json::from_value(object.clone());
        debug_assert!(injection.is_ok(), "{:?}", injection.err());
        let Ok(injection) = injection else { return self };
        let injections = Delta { upserted: vec![Arc::new(Part(injection))], ..Delta::default() };
        self.change(Batch { injections, ..Batch::default() })
    }

    /// The delay of the tutorial, injected on its three targets ten seconds before noon, for a minute.
    pub fn with_delay(&mut self) -> &mut Self {
        self.experiment(&delay());
        self.part(&delay_part("machine2", &[("server-app-698785988d-6xszv", false)]));
        self.part(&delay_part(
            "machine3",
            &[("server-app-698785988d-bnq84", false), ("mongo-596c7bf7bd-tkwpx", true)],
        ))
    }

    /// The tutorial's dashboard, measured for so many seconds: `/movies` takes 150 ms longer in the last ten.
    pub fn with_measurements(&mut self, seconds: i64) -> &mut Self {
        "movies".clone_into(&mut self.state.measure.name);
        self.state.measure.dashboard = Some(Arc::new(dashboard()));
        for second in 1 - seconds..=0 {
            self.happen(Event::Measured(Box::new(frame(second))));
        }
        self
    }

    /// What the console asked for last comes, or cannot be had.
    pub fn answer(&mut self, outcome: Result<Loaded, Trouble>) -> &mut Self {
        let last = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Load { slot, ticket, .. } => Some((*slot, *ticket)),
            _ => None,
        });
        let Some((slot, ticket)) = last else { return self };
        self.happen(Event::Loaded { slot, ticket, outcome })
    }

    /// Everything that can fail has failed: a node, a pod, a target of the delay, an experiment that cannot run, and
    /// a kind that may not be read.
    pub fn with_failures(&mut self) -> &mut Self {
        self.with_delay().experiment(&invalid());
        let mut sick = NodeRow::clone(&node("machine2"));
        "NotReady".clone_into(&mut sick.status);
        let mut crashing = PodRow::clone(&pod("traffic-64f8ddcd8c-kxbd7", "traffic", "machine1"));
        (crashing.ready, crashing.restarts) = (0, 7);
        "CrashLoopBackOff".clone_into(&mut crashing.status);
        self.change(Batch {
            nodes: Delta { upserted: vec![Arc::new(sick)], ..Delta::default() },
            pods: Delta { upserted: vec![Arc::new(crashing)], ..Delta::default() },
            ..Batch::default()
        });
        let mut part = delay_part(
            "machine3",
            &[("server-app-698785988d-bnq84", false), ("mongo-596c7bf7bd-tkwpx", true)],
        );
        if let Some(target) = part.pointer_mut("/status/targets/1") {
            target["phase"] = json!("Failed");
            target["evidence"] = Value::Null;
            target["error"] = json!(
                "the kernel of machine3 can neither shape (sch_netem) nor queue (nfnetlink_queue): run \
                 `modprobe sch_netem` there, then `squall resume network-delay`"
            );
        }
        let mut failed = delay();
        for (path, value) in [
            ("/status/conditions/1/status", json!("False")),
            (
                "/status/experiment/targets",
                json!({"selected": 3, "injected": 2, "recovered": 0, "failed": 1}),
            ),
        ] {
            if let Some(place) = failed.pointer_mut(path) {
                *place = value;
            }
        }
        self.part(&part).experiment(&failed);
        let forbidden = Trouble {
            what: "cannot watch podchaos.chaos-mesh.org".to_owned(),
            why: Some("forbidden: User \"ann\" cannot list resource \"podchaos\"".to_owned()),
            cure: Some("ask for the role squall-viewer, or choose another user with --context".to_owned()),
        };
        let topic = Topic::Experiments("PodChaos".to_owned());
        let since = self.now;
        self.happen(Event::Linked { topic, link: Link::Lost { since, trouble: forbidden } });
        self.press("esc")
    }

    /// The API server has not been heard from for so many seconds.
    pub fn lost(&mut self, seconds: i64) -> &mut Self {
        let trouble =
            Trouble::new("the API server does not answer").cure("the console goes on trying by itself");
        let since = self.now;
        for topic in
            [Topic::Pods, Topic::Nodes, Topic::Injections, Topic::Experiments("NetworkChaos".to_owned())]
        {
            self.happen(Event::Linked { topic, link: Link::Lost { since, trouble: trouble.clone() } });
        }
        self.press("esc").wait(seconds * 1_000)
    }

    /// The emergency stop comes.
    pub fn halted(&mut self) -> &mut Self {
        let mut halt =
            Halt::new("halt-x7k2p", HaltSpec { reason: Some("drill".to_owned()), ..HaltSpec::default() });
        halt.metadata.uid = Some("halt-uid".to_owned());
        let halts = Delta { upserted: vec![Arc::new(HaltRow(halt))], ..Delta::default() };
        self.change(Batch { halts, ..Batch::default() })
    }
}

/// A node that is ready.
pub fn node(name: &str) -> Arc<NodeRow> {
    Arc::new(NodeRow {
        uid: format!("uid-{name}"),
        name: name.to_owned(),
        status: "Ready".to_owned(),
        version: "v1.33.0".to_owned(),
        address: "10.0.0.1".to_owned(),
        created: after_noon(-600).parse().ok(),
        ..NodeRow::default()
    })
}

/// A pod that runs.
pub fn pod(name: &str, app: &str, node: &str) -> Arc<PodRow> {
    Arc::new(PodRow {
        uid: format!("uid-{name}"),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        node: node.to_owned(),
        address: "10.244.1.7".to_owned(),
        status: "Running".to_owned(),
        ready: 1,
        containers: vec![app.to_owned()],
        created: after_noon(-300).parse().ok(),
        labels: Arc::new([("app".to_owned(), app.to_owned())].into()),
        ..PodRow::default()
    })
}

/// The delay of the tutorial as it stands while it is injected.
pub fn delay() -> Value {
    let record = |pod: &str, key: &str| {
        json!({"id": format!("default/{pod}"), "selectorKey": key, "phase": "Injected", "injectedCount": 1,
            "recoveredCount": 0, "events": []})
    };
    json!({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "NetworkChaos",
        "metadata": {"name": "network-delay", "namespace": "default", "uid": "uid-delay", "resourceVersion": "7",
            "creationTimestamp": after_noon(-11)},
        "spec": {"action": "delay", "mode": "all", "selector": {"labelSelectors": {"app": "server-app"}},
            "target": {"mode": "all", "selector": {"labelSelectors": {"app": "mongo"}}}, "direction": "to",
            "delay": {"latency": "150ms", "jitter": "10ms", "correlation": "25"}, "duration": "1m"},
        "status": {
            "conditions": [{"type": "Selected", "status": "True"}, {"type": "AllInjected", "status": "True"}],
            "experiment": {"desiredPhase": "Run", "targets": {"selected": 3, "injected": 3, "recovered": 0, "failed": 0},
                "containerRecords": [
                    record("server-app-698785988d-6xszv", "."), record("server-app-698785988d-bnq84", "."),
                    record("mongo-596c7bf7bd-tkwpx", ".Target"),
                ]},
        },
    })
}

/// An experiment that cannot run as it is written.
pub fn invalid() -> Value {
    json!({
        "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "PodChaos",
        "metadata": {"name": "kill-mongo", "namespace": "default", "uid": "uid-kill", "resourceVersion": "9",
            "creationTimestamp": after_noon(-75)},
        "spec": {"action": "pod-kill", "mode": "fixed", "value": "many",
            "selector": {"labelSelectors": {"app": "mongo"}}},
        "status": {
            "conditions": [{"type": "Invalid", "status": "True", "reason": "NotANumber",
                "message": "spec.value: \"many\" is no number; write how many pods, such as \"2\""}],
            "experiment": {"desiredPhase": "Stop", "containerRecords": []},
        },
    })
}

/// The part of a node in the delay of the tutorial; of each pod on it whether it is the other end.
pub fn delay_part(node: &str, pods: &[(&str, bool)]) -> Value {
    let target = |(pod, is_peer): &(&str, bool)| {
        json!({"namespace": "default", "pod": pod, "uid": format!("uid-{pod}"),
            "selectorKey": if *is_peer { ".Target" } else { "." }})
    };
    let injected = |pod: &(&str, bool)| {
        let said = json!({"phase": "Injected", "since": after_noon(-10), "evidence":
            "delay 150ms ±10ms correlated 25%: shaper, queue 52345 out; nf_tables lists table inet squall_pod: \
             rules 3, addresses 2"});
        let mut injected = target(pod);
        if let (Value::Object(injected), Value::Object(said)) = (&mut injected, said) {
            injected.extend(said);
        }
        injected
    };
    json!({
        "apiVersion": "squall.dev/v1alpha1", "kind": "Injection",
        "metadata": {"name": format!("networkchaos-1-{node}"), "namespace": "squall-system",
            "uid": format!("uid-part-{node}")},
        "spec": {
            "experiment": {"kind": "NetworkChaos", "namespace": "default", "name": "network-delay", "uid": "uid-delay"},
            "node": node, "targets": pods.iter().map(target).collect::<Vec<_>>(), "fault": {}, "paused": false,
            "run": 1, "remaining": "1m", "notAfter": after_noon(3600), "lease": "30s",
        },
        "status": {
            "observedRun": 1, "startedAt": after_noon(-10), "wanted": "Present", "interruptions": 0,
            "targets": pods.iter().map(injected).collect::<Vec<_>>(),
        },
    })
}
