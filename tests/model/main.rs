//! Random sequences of what users and machines do, against the real lifecycle, engine and journal, in a
//! simulated cluster; held against a simple model at every moment.
//!
//! Without settings it draws other sequences on each run and prints the seed. `SQUALL_SEED` begins at
//! another one, `SQUALL_SEQUENCES` says how many. A sequence that fails is made as short as it can be and
//! printed with the command that runs it again.
#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "nodes, pods and slots are counted out beforehand; a test that cannot go on fails"
)]

mod api;
mod check;
mod kernel;
mod node;
mod ops;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs, thread};

use ops::Op;
use world::{Sim, Verdict};

/// How many sequences an ordinary run takes.
const SEQUENCES: u64 = 10_000;

#[test]
fn whatever_happens_the_kernels_end_up_as_asked_and_nothing_gets_stuck() {
    let first = setting("SQUALL_SEED").unwrap_or_else(|| {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        time.wrapping_mul(1_000_000)
    });
    let count = setting("SQUALL_SEQUENCES").unwrap_or(SEQUENCES);
    println!("{count} sequences from SQUALL_SEED={first}");
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
    let folder = tempfile::tempdir_in(place).expect("a folder for the journals");
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = |worker: usize| {
        let folder = folder.path().join(worker.to_string());
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return None;
            }
            let seed = first.wrapping_add(index);
            let ops = ops::draw(seed);
            if let Err(what) = run(&ops, &folder) {
                failed.store(true, Ordering::Relaxed);
                return Some(report(seed, ops, &what, &folder));
            }
        }
        None
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let failure = thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
        workers.into_iter().find_map(|worker| worker.join().expect("a worker's own code does not fail"))
    });
    if let Some(failure) = failure {
        panic!("{failure}");
    }
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("SQUALL_SEED and SQUALL_SEQUENCES are numbers"))
}

/// Runs one sequence in a world of its own. A panic in the code under test is a failure like others.
fn run(ops: &[Op], folder: &Path) -> Verdict {
    let journals: PathBuf = folder.join("journals");
    drop(fs::remove_dir_all(&journals));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut sim = Sim::new(&journals)?;
        ops.iter().try_for_each(|op| sim.apply(op))?;
        sim.end()
    }));
    outcome.unwrap_or_else(|_| Err("a panic, see above".to_owned()))
}

/// The sequence without what does not matter to its failure, and how to see it again.
fn report(seed: u64, ops: Vec<Op>, what: &str, folder: &Path) -> String {
    let (mut short, mut what) = (ops, what.to_owned());
    let mut size = short.len().div_ceil(2);
    while size > 0 {
        let mut begin = 0;
        while begin < short.len() {
            let mut shorter = short.clone();
            shorter.drain(begin..(begin + size).min(short.len()));
            if let Err(still) = run(&shorter, folder) {
                (short, what) = (shorter, still);
            } else {
                begin += size;
            }
        }
        size /= 2;
    }
    let lines: Vec<_> = short.iter().map(|op| format!("  {op:?}")).collect();
    format!(
        "{what}\n\nafter\n{}\n\nagain: SQUALL_SEED={seed} SQUALL_SEQUENCES=1 cargo test --test model\n",
        lines.join("\n")
    )
}
