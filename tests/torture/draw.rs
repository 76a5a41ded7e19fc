//! What a round does: all of it drawn before it begins, so that the draws do not depend on time.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Victim {
    Daemon,
    Guardian,
    Shaper,
}

/// After which change it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Created,
    Edited,
    Deleted,
}

/// What the daemon finds that comes after a killed one: in each case nothing may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequel {
    /// The Injections are there, and no sign of life of a controller.
    Withheld,
    /// They are being deleted.
    Deleted,
    /// They are gone.
    Gone,
}

/// Which direction of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wall {
    Egress,
    Ingress,
    Both,
}

/// Faults of a round: a delay, a partition from another peer, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Indices of the pods.
    pub(crate) pods: Vec<usize>,
    /// How long packets to the near peer wait, in milliseconds.
    pub(crate) egress: u64,
    /// How long those from it wait.
    pub(crate) ingress: u64,
    pub(crate) wall: Option<Wall>,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) fault: Fault,
    /// What it becomes where it is edited.
    pub(crate) edited: Fault,
    pub(crate) moment: Moment,
    /// From the change to the first kill.
    pub(crate) wait: Duration,
    /// In this order, each after a pause. Who is not there is passed over; if none is, the daemon is killed.
    pub(crate) kills: Vec<(Victim, Duration)>,
    pub(crate) sequel: Sequel,
}

fn one_of<T: Copy>(random: &mut StdRng, all: &[T]) -> T {
    *all.get(random.random_range(0..all.len())).expect("one of some")
}

fn fault(random: &mut StdRng) -> Fault {
    let pods = one_of(random, &[&[0][..], &[1], &[0, 1]]).to_vec();
    let kind = random.random_range(0..5);
    let mut fault = Fault { pods, egress: 0, ingress: 0, wall: None };
    redraw(random, &mut fault, kind != 0, kind == 0 || kind > 2);
    fault
}

/// Other numbers for the same kinds of faults. The sums differ by 30 ms at least, so that they can be told apart.
fn redraw(random: &mut StdRng, fault: &mut Fault, delay: bool, wall: bool) {
    const DELAYS: [(u64, u64); 6] = [(30, 0), (90, 0), (0, 30), (0, 90), (30, 30), (90, 30)];
    if delay {
        let others: Vec<_> =
            DELAYS.into_iter().filter(|(out, back)| out + back != fault.egress + fault.ingress).collect();
        (fault.egress, fault.ingress) = one_of(random, &others);
    }
    if wall {
        fault.wall = Some(one_of(random, &[Wall::Egress, Wall::Ingress, Wall::Both]));
    }
}

impl Plan {
    pub(crate) fn draw(random: &mut StdRng) -> Self {
        let fault = fault(random);
        let mut edited = fault.clone();
        redraw(random, &mut edited, fault.egress + fault.ingress > 0, fault.wall.is_some());
        // Most changes are done within a few milliseconds: early moments are drawn more often.
        let share: f64 = random.random();
        let mut order = vec![Victim::Daemon, Victim::Guardian, Victim::Shaper];
        let last = random.random_range(0..3);
        order.swap(last, 2);
        let first = random.random_range(0..2);
        order.swap(first, 1);
        let chosen: u8 = random.random_range(1..8);
        let mut bit = 1;
        let mut kills = Vec::new();
        for victim in order {
            let gap = if random.random_bool(0.5) { 0 } else { random.random_range(0..20_000) };
            if chosen & bit != 0 {
                kills.push((victim, Duration::from_micros(gap)));
            }
            bit <<= 1;
        }
        Self {
            fault,
            edited,
            moment: one_of(random, &[Moment::Created, Moment::Edited, Moment::Deleted]),
            wait: Duration::from_secs_f64(0.4 * share * share),
            kills,
            sequel: one_of(random, &[Sequel::Withheld, Sequel::Deleted, Sequel::Gone]),
        }
    }

    /// What is there after the change, if it is not deleted.
    pub(crate) fn final_fault(&self) -> &Fault {
        if self.moment == Moment::Edited { &self.edited } else { &self.fault }
    }
}
