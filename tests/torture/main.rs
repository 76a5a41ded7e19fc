//! `kill -9` of the daemon, its guardian and its shaper at random moments: every fault is gone in time, and what should be
//! there is back.
//!
//! The API server, the controller's part and the pods are this program's; the daemon is the real one, a process of its own.
//! All of it is in namespaces of the test's own, process numbers included, so that nothing outlives it.
//!
//! `SQUALL_ROUNDS` says how many rounds, `SQUALL_SEED` where the draws begin: round r of seed s is round 0 of seed s + r.
//! `SQUALL_SLOWER` says how many times slower the machine is than an ordinary one.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what is wrong")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests build their networks with ip, start programs, and sleep"
)]
#![expect(clippy::indexing_slicing, reason = "the simulated API server's are")]
#![expect(clippy::print_stderr, reason = "what was skipped or measured must be seen")]

mod cluster;
mod draw;
mod lab;
mod process;
mod round;
mod summary;

#[path = "../sandbox/mod.rs"]
#[expect(dead_code, reason = "shared with tests that need no process numbers of their own")]
mod sandbox;
#[path = "../controller/simulated.rs"]
#[expect(dead_code, reason = "shared with tests that simulate the daemon too")]
mod simulated;

use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::StdRng;

use draw::Plan;
use round::World;
use summary::Summary;

/// Rounds unless `SQUALL_ROUNDS` says otherwise.
const ROUNDS: u64 = 200;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_e| panic!("{name} is {text:?}: a number is wanted")))
}

#[test]
fn every_fault_is_gone_in_time_whatever_is_killed() {
    let flags = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    sandbox::unshared::run("every_fault_is_gone_in_time_whatever_is_killed", &flags, || {
        let seed = variable("SQUALL_SEED").unwrap_or_else(rand::random);
        let rounds = variable("SQUALL_ROUNDS").unwrap_or(ROUNDS);
        eprintln!("torture: SQUALL_SEED={seed} SQUALL_ROUNDS={rounds}");
        let slower = variable("SQUALL_SLOWER").unwrap_or(1).try_into().unwrap();
        let mut world = World::new(slower);
        let mut summary = Summary::default();
        let begun = Instant::now();
        for number in 0..rounds {
            let own = seed.wrapping_add(number);
            let plan = Plan::draw(&mut StdRng::seed_from_u64(own));
            match world.round(number, &plan) {
                Ok(took) => summary.add(&took),
                Err(breach) => panic!(
                    "round {number} of SQUALL_SEED={seed} (the first of SQUALL_SEED={own}): {breach}\n{plan:#?}\n{}",
                    world.listing()
                ),
            }
        }
        let average = begun.elapsed().as_secs_f64() / f64::from(u32::try_from(rounds.max(1)).unwrap());
        eprintln!("torture: {rounds} rounds of {average:.2} s\n{summary}");
        if let Err(breach) = world.end() {
            panic!("at the end of SQUALL_SEED={seed}: {breach}\n{}", world.listing());
        }
    });
}
