//! The cluster in one thread: users, controller, API server, daemons, kernels, and a clock that only
//! moves when it is told to. Everything that can happen at one moment has happened before it moves on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node as NodeObject, Pod, PodSpec, PodStatus};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::core::ObjectMeta;
use squall::api::{Direction, Injection, LEASE_ANNOTATION, NetworkChaos, PAUSE_ANNOTATION};
use squall::experiment::Limits;
use squall::experiment::lifecycle::{self, Input};
use squall::experiment::peers::Hosts;
use squall::experiment::world::World;

use crate::api::{Api, NAMESPACE, is_deleting};
use crate::check::Ledger;
use crate::kernel::Trouble;
use crate::node::{Node, wall};
use crate::ops::{NODES, Op, PODS, Plan};

/// How often the leader renews its Lease, and looks at every experiment.
pub(crate) const TICK: Duration = Duration::from_secs(2);

/// Longest time until a healthy node has made good for what went wrong: the longest pause between two
/// tries, the pause between two looks, and two renewals of the Lease.
pub(crate) const RECOVERY: Duration = Duration::from_secs(46);

/// How often controller and daemons may answer each other at one moment.
const ROUNDS: usize = 40;

/// What went against the model.
pub(crate) type Verdict = Result<(), String>;

pub(crate) struct Sim {
    pub(crate) now: Duration,
    pub(crate) api: Api,
    pub(crate) nodes: Vec<Node>,
    pub(crate) pods: Vec<SimPod>,
    pub(crate) ledgers: BTreeMap<String, Ledger>,
    /// Experiments, by UID, that were seen to be over.
    pub(crate) over: BTreeSet<String>,
    pub(crate) controller: Option<Controller>,
    /// When a controller last began to work.
    pub(crate) controlled: Option<Duration>,
    /// Seconds that the control plane's wall clock is wrong, now and at the most so far.
    pub(crate) offset: i64,
    pub(crate) most_offset: i64,
    /// Whether any wall clock has jumped.
    pub(crate) jumped: bool,
    /// Whether there was a Halt.
    pub(crate) halted: bool,
    world: Option<Arc<World>>,
    limits: Limits,
    lease: Option<String>,
    beats: u64,
    next_beat: Duration,
    controllers: u32,
    /// The version of the API's objects that the controller has dealt with.
    seen: u64,
}

pub(crate) struct Controller {
    name: u32,
    /// It dies before this many more actions.
    fuse: Option<u8>,
}

/// One pod; `uid` is empty while it does not exist.
pub(crate) struct SimPod {
    pub(crate) name: &'static str,
    pub(crate) app: &'static str,
    pub(crate) uid: String,
    pub(crate) node: usize,
    address: u8,
}

impl Sim {
    pub(crate) fn new(folder: &Path) -> Result<Self, String> {
        let mut api = Api::default();
        let nodes = (0..NODES).map(|index| {
            let name = format!("node-{index}");
            let folder = folder.join(&name);
            Node::new(name, api.uid(), folder)
        });
        let nodes = nodes.collect();
        let pod = |name, app, node| SimPod { name, app, uid: String::new(), node, address: 0 };
        let pods = vec![
            pod("web-0", "web", 0),
            pod("web-1", "web", 1),
            pod("db-0", "db", 1),
            pod("db-1", "db", 0),
            pod("web-2", "web", 1),
        ];
        let mut sim = Self {
            now: Duration::ZERO,
            api,
            nodes,
            pods,
            ledgers: BTreeMap::new(),
            over: BTreeSet::new(),
            controller: None,
            controlled: None,
            offset: 0,
            most_offset: 0,
            jumped: false,
            halted: false,
            world: None,
            limits: Limits::default(),
            lease: None,
            beats: 0,
            next_beat: TICK,
            controllers: 0,
            seen: 0,
        };
        // The last one may come later.
        for pod in 0..PODS - 1 {
            sim.make_pod(pod);
        }
        for node in &mut sim.nodes {
            node.start_daemon()?;
        }
        sim.start_controller();
        // So long a daemon needs to know that the controller lives.
        sim.advance(TICK * 3)?;
        for node in &mut sim.nodes {
            node.shaken = None;
        }
        sim.controlled = None;
        Ok(sim)
    }

    /// Does one thing, and what follows from it at once.
    pub(crate) fn apply(&mut self, op: &Op) -> Verdict {
        match *op {
            Op::Create(ref plan) => self.create(plan),
            Op::Pause(slot) => self.set_pause(slot, true),
            Op::Resume(slot) => self.set_pause(slot, false),
            Op::Edit(slot, seconds) => self.set_duration(slot, seconds),
            Op::Turn(slot, both) => {
                self.api.edit(&name(slot), |chaos| {
                    chaos.spec.direction = if both { Direction::Both } else { Direction::To };
                });
            }
            Op::Halt(whole) => {
                self.halted = true;
                self.api.set_halt(Some(if whole { Vec::new() } else { vec![NAMESPACE.to_owned()] }));
                self.ledgers.values_mut().for_each(Ledger::halt);
            }
            Op::Release => self.release(),
            Op::Spoil(slot, bad) => {
                self.api.edit(&name(slot), |chaos| {
                    chaos.spec.remote_cluster = bad.then(|| "elsewhere".to_owned());
                });
            }
            Op::Delete(slot) => {
                let now = self.wall();
                self.api.delete(&name(slot), now);
            }
            Op::RestartPod(pod) => self.restart_pod(pod),
            Op::ReplacePod(pod, node) => self.replace_pod(pod, node),
            Op::RemovePod(pod) => {
                if !self.pods[pod].uid.is_empty() {
                    self.shake(self.pods[pod].node);
                    self.remove_pod(pod);
                }
            }
            Op::LoseNode(node) => self.lose_node(node),
            Op::ReturnNode(node) => self.return_node(node)?,
            Op::Reboot(node) => self.reboot(node)?,
            Op::KillController(after) => {
                if let Some(controller) = &mut self.controller {
                    controller.fuse = Some(after);
                    if after == 0 {
                        self.controller = None;
                    }
                }
            }
            Op::StartController => self.start_controller(),
            Op::KillDaemon(node) => {
                self.forget_unsent(node);
                self.nodes[node].kill_daemon();
                self.shake(node);
            }
            Op::StopDaemon(node) => {
                let now = self.now;
                self.nodes[node].stop_daemon(&mut self.api, now)?;
                self.shake(node);
            }
            Op::StartDaemon(node) => self.start_daemon(node)?,
            Op::Cut(node) => {
                self.nodes[node].cut();
                self.shake(node);
            }
            Op::Join(node) => {
                self.nodes[node].join();
                self.shake(node);
            }
            Op::Trouble(node, trouble) => self.trouble(node, trouble),
            Op::Advance(tenths) => self.advance(Duration::from_millis(u64::from(tenths) * 100))?,
            Op::JumpControl(by) => {
                self.jumped = true;
                self.offset += i64::from(by);
                self.most_offset = self.most_offset.max(self.offset);
            }
            Op::JumpNode(node, by) => {
                self.jumped = true;
                self.nodes[node].offset += i64::from(by);
            }
            Op::Heal => self.heal()?,
        }
        self.rest()?;
        self.check()
    }

    /// What the API server and the controller call now.
    pub(crate) fn wall(&self) -> Timestamp {
        wall(self.now, self.offset)
    }

    /// Lets time pass, and everything happen at its moment.
    pub(crate) fn advance(&mut self, by: Duration) -> Verdict {
        let end = self.now + by;
        loop {
            let wakes = self.nodes.iter().filter_map(Node::wake);
            let next = wakes.chain([self.next_beat, end]).min().unwrap_or(end).max(self.now);
            self.count_time(next.saturating_sub(self.now));
            self.now = next;
            if self.now >= self.next_beat {
                self.next_beat += TICK;
                self.seen = u64::MAX;
                self.rest()?;
                if let Some(controller) = &self.controller {
                    self.beats += 1;
                    self.lease = Some(format!("{} {}", controller.name, self.beats));
                }
            }
            self.rest()?;
            self.check()?;
            if self.now >= end {
                return Ok(());
            }
        }
    }

    /// Repairs everything that is broken, and gives it the time that it may take.
    fn heal(&mut self) -> Verdict {
        self.repair()?;
        self.advance(RECOVERY + TICK)
    }

    /// Repairs everything that is broken.
    pub(crate) fn repair(&mut self) -> Verdict {
        self.start_controller();
        for node in 0..NODES {
            self.return_node(node)?;
            self.trouble(node, Trouble::None);
            self.start_daemon(node)?;
            if !self.nodes[node].connected {
                self.nodes[node].join();
                self.shake(node);
            }
        }
        self.rest()
    }

    /// Controller and daemons answer each other until nobody has anything to say.
    pub(crate) fn rest(&mut self) -> Verdict {
        for _ in 0..ROUNDS {
            let mut busy = false;
            for node in &mut self.nodes {
                busy |= node.pump(&mut self.api, self.lease.as_deref(), self.now)?;
            }
            self.note();
            if self.controller.is_some() && self.seen != self.api.version {
                busy |= self.control()?;
            }
            if !busy {
                return Ok(());
            }
        }
        Err(format!("controller and daemons do not come to rest: {}", self.api))
    }

    /// One step of the controller with each experiment. Whether it did anything.
    fn control(&mut self) -> Result<bool, String> {
        self.seen = self.api.version;
        let of_injections =
            self.api.injections.values().map(|injection| injection.spec.experiment.name.clone());
        let names: BTreeSet<String> = self.api.experiments.keys().cloned().chain(of_injections).collect();
        let mut busy = false;
        for name in names {
            let actions = self.step(&name);
            for action in actions {
                busy = true;
                let Some(controller) = &mut self.controller else { return Ok(busy) };
                if let Some(fuse) = &mut controller.fuse {
                    if *fuse == 0 {
                        self.controller = None;
                        return Ok(busy);
                    }
                    *fuse -= 1;
                }
                let now = self.wall();
                if !self.api.carry_out(&name, action, now)? {
                    self.seen = u64::MAX;
                    break;
                }
                self.note();
            }
        }
        Ok(busy)
    }

    /// What the controller would do with the experiment of this name, orphans first.
    fn step(&mut self, name: &str) -> Vec<lifecycle::Action> {
        let world = self.world();
        let chaos = self.api.experiments.get(name);
        let uid = chaos.and_then(ResourceExt::uid).unwrap_or_default();
        let of_name = |injection: &&Arc<Injection>| injection.spec.experiment.name == name;
        let all = self.api.injections.values().filter(of_name).cloned();
        let (own, orphans): (Vec<_>, Vec<_>) = all.partition(|one| one.spec.experiment.uid == uid);
        let mut actions = lifecycle::abandon(&orphans, &world, self.wall());
        if let Some(chaos) = chaos {
            actions.extend(lifecycle::step(&Input {
                chaos,
                injections: &own,
                world: &world,
                hosts: &Hosts::new(),
                limits: &self.limits,
                halts: &self.api.halts,
                now: self.wall(),
            }));
        }
        actions
    }

    fn world(&mut self) -> Arc<World> {
        let (pods, nodes) = (&self.pods, &self.nodes);
        let world = self.world.get_or_insert_with(|| {
            let pods = pods.iter().filter(|pod| !pod.uid.is_empty());
            let pods = pods.map(|pod| Arc::new(pod.object(&nodes[pod.node].name))).collect();
            let object = |node: &Node| {
                let metadata = ObjectMeta {
                    name: Some(node.name.clone()),
                    uid: node.object.clone(),
                    ..ObjectMeta::default()
                };
                node.object.is_some().then(|| Arc::new(NodeObject { metadata, ..NodeObject::default() }))
            };
            Arc::new(World::new(pods, nodes.iter().filter_map(object).collect(), Vec::new(), Vec::new()))
        });
        Arc::clone(world)
    }

    /// Pods or nodes changed.
    fn world_changed(&mut self) {
        self.world = None;
        self.seen = u64::MAX;
    }

    pub(crate) fn start_controller(&mut self) {
        if self.controller.is_none() {
            self.controllers += 1;
            self.controller = Some(Controller { name: self.controllers, fuse: None });
            self.controlled = Some(self.now);
            self.seen = u64::MAX;
        } else if let Some(controller) = &mut self.controller {
            controller.fuse = None;
        }
    }

    /// What waited for it begins, and takes its time.
    fn release(&mut self) {
        if !self.api.halts.is_empty() {
            self.api.set_halt(None);
            (0..NODES).for_each(|node| self.shake(node));
        }
    }

    fn shake(&mut self, node: usize) {
        self.nodes[node].shaken = Some(self.now);
    }

    fn create(&mut self, plan: &Plan) {
        let mut chaos = NetworkChaos::new(&name(plan.slot), spec(plan));
        if let Some(lease) = plan.lease {
            chaos.annotations_mut().insert(LEASE_ANNOTATION.to_owned(), format!("{lease}s"));
        }
        if plan.paused {
            chaos.annotations_mut().insert(PAUSE_ANNOTATION.to_owned(), "true".to_owned());
        }
        self.api.create(chaos);
    }

    fn set_pause(&mut self, slot: usize, paused: bool) {
        self.api.edit(&name(slot), |chaos| {
            if paused {
                chaos.annotations_mut().insert(PAUSE_ANNOTATION.to_owned(), "true".to_owned());
            } else {
                chaos.annotations_mut().remove(PAUSE_ANNOTATION);
            }
        });
    }

    fn set_duration(&mut self, slot: usize, seconds: Option<u8>) {
        let name = name(slot);
        let duration = seconds.map(|seconds| format!("{seconds}s"));
        if self.api.edit(&name, |chaos| chaos.spec.duration = duration)
            && let Some(chaos) = self.api.experiments.get(&name)
        {
            let uid = chaos.uid().unwrap_or_default();
            let ledgers = self.ledgers.values_mut().filter(|ledger| ledger.experiment == uid);
            ledgers
                .for_each(|ledger| ledger.allow(seconds.map(|seconds| Duration::from_secs(seconds.into()))));
        }
    }

    fn make_pod(&mut self, index: usize) {
        let uid = self.api.uid();
        let pod = &mut self.pods[index];
        pod.address = pod.address.wrapping_add(8).wrapping_add(u8::try_from(index).unwrap_or_default());
        pod.uid = uid;
        self.nodes[pod.node].kernel.renew(&pod.uid);
        self.world_changed();
    }

    fn remove_pod(&mut self, index: usize) {
        let pod = &mut self.pods[index];
        self.nodes[pod.node].kernel.remove(&pod.uid);
        pod.uid.clear();
        self.world_changed();
    }

    fn restart_pod(&mut self, index: usize) {
        let pod = &self.pods[index];
        if !pod.uid.is_empty() {
            self.nodes[pod.node].kernel.renew(&pod.uid);
            self.shake(pod.node);
        }
    }

    fn replace_pod(&mut self, index: usize, node: usize) {
        if self.nodes[node].object.is_none() {
            return;
        }
        if !self.pods[index].uid.is_empty() {
            self.shake(self.pods[index].node);
            self.remove_pod(index);
        }
        self.pods[index].node = node;
        self.make_pod(index);
        self.shake(node);
    }

    fn lose_node(&mut self, node: usize) {
        if self.nodes[node].object.take().is_none() {
            return;
        }
        self.forget_unsent(node);
        self.nodes[node].switch_off();
        for pod in 0..PODS {
            if self.pods[pod].node == node && !self.pods[pod].uid.is_empty() {
                self.remove_pod(pod);
            }
        }
        self.world_changed();
        self.shake(node);
    }

    fn return_node(&mut self, node: usize) -> Verdict {
        if self.nodes[node].object.is_some() {
            return Ok(());
        }
        self.nodes[node].object = Some(self.api.uid());
        self.nodes[node].switch_on(self.now);
        self.world_changed();
        for pod in 0..PODS {
            if self.pods[pod].node == node && self.pods[pod].uid.is_empty() {
                self.make_pod(pod);
            }
        }
        self.start_daemon(node)
    }

    fn reboot(&mut self, node: usize) -> Verdict {
        if self.nodes[node].object.is_none() {
            return Ok(());
        }
        self.forget_unsent(node);
        self.nodes[node].switch_off();
        self.nodes[node].switch_on(self.now);
        for pod in &self.pods {
            if pod.node == node && !pod.uid.is_empty() {
                self.nodes[node].kernel.renew(&pod.uid);
            }
        }
        self.shake(node);
        self.start_daemon(node)
    }

    fn start_daemon(&mut self, node: usize) -> Verdict {
        if self.nodes[node].object.is_some() && !self.nodes[node].has_daemon() {
            self.nodes[node].start_daemon()?;
            self.shake(node);
        }
        Ok(())
    }

    fn trouble(&mut self, node: usize, trouble: Trouble) {
        let at = &mut self.nodes[node];
        if at.object.is_some() && at.kernel.trouble() != trouble {
            at.kernel.set_trouble(trouble);
            at.troubled = Some(self.now);
            self.shake(node);
        }
    }
}

impl SimPod {
    fn object(&self, node: &str) -> Pod {
        Pod {
            metadata: ObjectMeta {
                namespace: Some(NAMESPACE.to_owned()),
                name: Some(self.name.to_owned()),
                uid: Some(self.uid.clone()),
                labels: Some([("app".to_owned(), self.app.to_owned())].into()),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec { node_name: Some(node.to_owned()), ..PodSpec::default() }),
            status: Some(PodStatus {
                phase: Some("Running".to_owned()),
                pod_ip: Some(format!("10.0.0.{}", self.address)),
                ..PodStatus::default()
            }),
        }
    }
}

/// The name of the experiment in this slot.
fn name(slot: usize) -> String {
    format!("e{slot}")
}

fn spec(plan: &Plan) -> squall::api::NetworkChaosSpec {
    let end = |app: &str, mode: &str| serde_json::json!({"mode": mode, "selector": {"labelSelectors": {"app": app}}});
    let mut spec = end("web", if plan.one { "one" } else { "all" });
    spec["action"] = "partition".into();
    spec["direction"] = "both".into();
    if plan.two_ends {
        spec["target"] = end("db", "all");
    }
    if let Some(seconds) = plan.seconds {
        spec["duration"] = format!("{seconds}s").into();
    }
    serde_json::from_value(spec).unwrap_or_else(|error| unreachable!("a spec of ours: {error}"))
}

/// Whether an experiment is paused by its user.
pub(crate) fn is_paused(chaos: &NetworkChaos) -> bool {
    chaos.annotations().get(PAUSE_ANNOTATION).is_some_and(|value| value == "true")
}

/// Whether this experiment's user wants faults, whatever its time says.
pub(crate) fn is_on(chaos: &NetworkChaos) -> bool {
    !is_deleting(chaos) && !is_paused(chaos) && chaos.spec.remote_cluster.is_none()
}
