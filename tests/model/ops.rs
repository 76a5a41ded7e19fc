//! What can happen, and how a sequence of it is drawn from a seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::kernel::Trouble;

/// Experiments that exist at most side by side; each has a name of its own.
pub(crate) const SLOTS: usize = 3;

/// Nodes of the cluster.
pub(crate) const NODES: usize = 2;

/// Pods of the cluster.
pub(crate) const PODS: usize = 5;

/// One thing that happens. A later kind of order to the daemons is one more variant here, an arm in
/// `Sim::apply`, and a line in `Sim::may`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// A user makes an experiment, unless its name is taken.
    Create(Plan),
    /// A user sets the pause annotation.
    Pause(usize),
    /// A user takes it off again.
    Resume(usize),
    /// A user writes another duration.
    Edit(usize, Option<u8>),
    /// A user writes another direction: both, or only away from the sources.
    Turn(usize, bool),
    /// Somebody halts everything, or everything in the namespace of the pods.
    Halt(bool),
    /// The Halt is released.
    Release,
    /// A user makes the spec one that is refused, or a good one again.
    Spoil(usize, bool),
    /// A user deletes an experiment.
    Delete(usize),
    /// A pod gets another sandbox; its UID stays.
    RestartPod(usize),
    /// A pod is deleted, and another one of its name is made on this node.
    ReplacePod(usize, usize),
    /// A pod is deleted, and none takes its place.
    RemovePod(usize),
    /// A machine dies and its Node object goes, with its pods.
    LoseNode(usize),
    /// A machine comes back, after a boot, with new pods in the place of those that are missing.
    ReturnNode(usize),
    /// A machine boots again within its Node's patience: its pods keep their UIDs.
    Reboot(usize),
    /// The controller dies before this many more of its actions.
    KillController(u8),
    /// Another controller starts.
    StartController,
    /// `kill -9`.
    KillDaemon(usize),
    /// `SIGTERM`.
    StopDaemon(usize),
    /// A daemon starts.
    StartDaemon(usize),
    /// The API server cannot be reached from this node.
    Cut(usize),
    /// It can again.
    Join(usize),
    /// The node's kernel begins to fail in this way, or stops doing so.
    Trouble(usize, Trouble),
    /// Time passes: tenths of a second.
    Advance(u16),
    /// The wall clock of the control plane jumps by so many seconds.
    JumpControl(i32),
    /// The wall clock of a node jumps by so many seconds.
    JumpNode(usize, i32),
    /// Everything that is broken is repaired, and has time to come right.
    Heal,
}

/// What a new experiment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) slot: usize,
    pub(crate) seconds: Option<u8>,
    pub(crate) lease: Option<u8>,
    /// Between the web and the database pods; else from the web pods to everybody.
    pub(crate) two_ends: bool,
    /// `mode: one`; else `mode: all`.
    pub(crate) one: bool,
    pub(crate) paused: bool,
}

/// The sequence of this seed.
pub(crate) fn draw(seed: u64) -> Vec<Op> {
    let mut rng = StdRng::seed_from_u64(seed);
    // A sequence that has everything in it seldom gets far with anything: each leaves something out.
    let calm = rng.random_bool(0.2);
    let jumps = rng.random_bool(0.25);
    let pods = !calm && rng.random_bool(0.6);
    let nodes = !calm && rng.random_bool(0.4);
    let controllers = rng.random_bool(0.6);
    let daemons = !calm && rng.random_bool(0.6);
    let links = !calm && rng.random_bool(0.6);
    let troubles = !calm && rng.random_bool(0.25);
    let heals = rng.random_bool(0.5);
    let halts = rng.random_bool(0.2);
    let weights = [
        8,
        5,
        5,
        if rng.random_bool(0.5) { 3 } else { 0 },
        if rng.random_bool(0.2) { 2 } else { 0 },
        3,
        if pods { 3 } else { 0 },
        if nodes { 4 } else { 0 },
        if controllers { 5 } else { 0 },
        if daemons { 6 } else { 0 },
        if links { 5 } else { 0 },
        if troubles { 4 } else { 0 },
        if jumps { 3 } else { 0 },
        u32::from(heals),
        18,
        if rng.random_bool(0.3) { 3 } else { 0 },
        if halts { 3 } else { 0 },
    ];
    let length = rng.random_range(3..15);
    let mut ops = vec![create(&mut rng)];
    if pods && rng.random_bool(0.08) {
        storm(&mut rng, &mut ops);
    }
    ops.extend((0..length).map(|_| one(&mut rng, &weights)));
    ops
}

/// Pods that do not last: more of them are replaced, each after the longest wait, than an experiment follows.
fn storm(rng: &mut StdRng, ops: &mut Vec<Op>) {
    if let [Op::Create(plan)] = &mut ops[..] {
        plan.seconds = None;
        plan.paused = false;
    }
    for _ in 0..10 {
        ops.push(Op::ReplacePod(rng.random_range(0..PODS), rng.random_range(0..NODES)));
        ops.push(Op::Advance(rng.random_range(150..300)));
    }
}

fn one(rng: &mut StdRng, weights: &[u32]) -> Op {
    let mut draw = rng.random_range(0..weights.iter().sum());
    let kind = weights.iter().position(|weight| {
        let hit = draw < *weight;
        draw = draw.saturating_sub(*weight);
        hit
    });
    let slot = rng.random_range(0..SLOTS).min(rng.random_range(0..SLOTS));
    let node = rng.random_range(0..NODES);
    let pod = rng.random_range(0..PODS);
    match kind.unwrap_or_default() {
        0 => create(rng),
        1 => Op::Pause(slot),
        2 => Op::Resume(slot),
        3 => Op::Edit(slot, duration(rng)),
        4 => Op::Spoil(slot, rng.random_bool(0.5)),
        5 => Op::Delete(slot),
        6 => match rng.random_range(0..6) {
            0 => Op::RestartPod(pod),
            1 => Op::RemovePod(pod),
            _ => Op::ReplacePod(pod, node),
        },
        7 => match rng.random_range(0..4) {
            0 => Op::LoseNode(node),
            1 => Op::Reboot(node),
            _ => Op::ReturnNode(node),
        },
        8 if rng.random_bool(0.6) => Op::KillController(rng.random_range(0..8)),
        8 => Op::StartController,
        9 => match rng.random_range(0..5) {
            0 | 1 => Op::KillDaemon(node),
            2 => Op::StopDaemon(node),
            _ => Op::StartDaemon(node),
        },
        10 if rng.random_bool(0.5) => Op::Cut(node),
        10 => Op::Join(node),
        11 => Op::Trouble(node, Trouble::ALL[rng.random_range(0..Trouble::ALL.len())]),
        12 => {
            let far = [-7_200, -60, -5, 5, 60, 7_200][rng.random_range(0..6)];
            if rng.random_bool(0.5) { Op::JumpControl(far) } else { Op::JumpNode(node, far) }
        }
        13 => Op::Heal,
        15 => Op::Turn(slot, rng.random_bool(0.5)),
        16 if rng.random_bool(0.4) => Op::Halt(rng.random_bool(0.5)),
        16 => Op::Release,
        _ => Op::Advance(match rng.random_range(0..10) {
            0 => 0,
            1..=4 => rng.random_range(1..15),
            5..=8 => rng.random_range(15..60),
            _ => rng.random_range(60..300),
        }),
    }
}

fn create(rng: &mut StdRng) -> Op {
    Op::Create(Plan {
        slot: rng.random_range(0..SLOTS).min(rng.random_range(0..SLOTS)),
        seconds: duration(rng),
        lease: [Some(5), Some(5), Some(8), None][rng.random_range(0..4)],
        two_ends: rng.random_bool(0.4),
        one: rng.random_bool(0.25),
        paused: rng.random_bool(0.08),
    })
}

fn duration(rng: &mut StdRng) -> Option<u8> {
    [None, Some(3), Some(10), Some(20), Some(60)][rng.random_range(0..5)]
}
