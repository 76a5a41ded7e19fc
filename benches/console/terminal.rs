//! The real program on a terminal, with a long list of pods: how long it takes to show them, and from a key to the screen.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::pty::{Launch, Pty, Screen};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(3);

/// Columns and rows.
pub(crate) const SIZE: (u16, u16) = (120, 40);

/// The pods that are there.
pub(crate) struct Rows {
    pub(crate) count: usize,
    /// The name of the pod in the first row.
    pub(crate) first: String,
    /// The name of the pod in the last row.
    pub(crate) last: String,
}

/// Opens the console and waits until it shows everything.
pub(crate) fn start(launch: Launch, rows: &Rows) -> Pty {
    let begun = Instant::now();
    let mut pty = launch.size(SIZE.0, SIZE.1).start();
    pty.wait_for(|screen| screen.has("all namespaces"), PATIENCE, "console");
    let drawn = begun.elapsed();
    pty.wait_for(|screen| screen.has(&rows.first), PATIENCE, "pod");
    let first = begun.elapsed();
    let all = format!(" {} ", rows.count);
    pty.wait_for(|screen| screen.has(&all), PATIENCE, "whole list");
    let all = begun.elapsed();
    println!("start to the first frame {drawn:.0?}, first rows {first:.0?}, all pods {all:.1?}");
    pty
}

/// Presses keys for so long while pods change, and tells how long each took to be seen.
pub(crate) fn keys(pty: &mut Pty, rows: &Rows, changing: Duration, made: &AtomicUsize) {
    pty.watch(Duration::from_secs(2));
    let process = pty.pid().to_string();
    let begun = Instant::now();
    let (first, bytes, used) = (made.load(Ordering::SeqCst), pty.received(), processor_time(&process));
    let (mut moved, mut paged) = (Vec::new(), Vec::new());
    // No multiple of the batches' 100 ms: keys come at every point between them.
    for round in 0_u64.. {
        if begun.elapsed() >= changing {
            break;
        }
        let before = selected(&pty.screen());
        let pressed = Instant::now();
        pty.press(if round % 2 == 0 { "j" } else { "k" });
        pty.wait_for(|screen| selected(screen) != before, PATIENCE, "other row");
        moved.push(pressed.elapsed());
        pty.watch(Duration::from_millis(113 + round * 37 % 100));
        if round % 10 == 9 {
            // To the last row, and back to the first: every line changes.
            for (key, shows) in [("G", &rows.last), ("gg", &rows.first)] {
                let pressed = Instant::now();
                pty.send(key);
                pty.wait_for(|screen| screen.has(shows), PATIENCE, "other page");
                paged.push(pressed.elapsed());
                pty.watch(Duration::from_millis(113));
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    report("key j or k to the screen", &mut moved);
    report("key G or g g to the screen", &mut paged);
    let used = processor_time(&process).saturating_sub(used).as_secs_f64();
    println!(
        "meanwhile: {:.0} changes/s, {:.0} bytes/s, {:.1} % of a core",
        per(made.load(Ordering::SeqCst) - first, seconds),
        per(pty.received() - bytes, seconds),
        100.0 * used / seconds
    );
}

#[expect(clippy::cast_precision_loss, reason = "fewer than 2^52")]
fn per(count: usize, seconds: f64) -> f64 {
    count as f64 / seconds
}

/// The lowest line whose ground is not that of the last: the selected pod.
fn selected(screen: &Screen<'_>) -> Option<u16> {
    let ground = |row: u16| screen.cell(row, SIZE.0 / 2).bgcolor();
    (0..SIZE.1).rev().find(|row| ground(*row) != ground(SIZE.1 - 1))
}

pub(crate) fn report(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |percent: usize| times.get((times.len() - 1) * percent / 100).copied().unwrap_or_default();
    println!(
        "{what}: p50 {:.1?}, p95 {:.1?}, p99 {:.1?}, max {:.1?} (n = {})",
        at(50),
        at(95),
        at(99),
        at(100),
        times.len()
    );
}

/// What the program weighs.
pub(crate) fn weight(process: &str) -> String {
    let (now, most) = (memory(process, "VmRSS:"), memory(process, "VmHWM:"));
    format!("{now:.1} MiB, {most:.1} MiB at most")
}

/// A field of `/proc/PROCESS/status`, in MiB.
pub(crate) fn memory(process: &str, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).expect("a number") / 1024.0
}

/// User and system time so far: fields 14 and 15 of `/proc/PID/stat`, in hundredths of a second (proc(5)).
pub(crate) fn processor_time(process: &str) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process");
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
    Duration::from_millis(10 * ticks.sum::<u64>())
}
