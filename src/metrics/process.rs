//! What this process uses, by the names that Prometheus's own clients have for it.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Labels, counters, float_of, gauges};

/// Clock ticks a second as the kernel tells them (`USER_HZ`): the same on every architecture that there is an image for.
const TICKS: f64 = 100.0;

/// `/proc/self`, read with each scrape.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let (stat, status) = (read("/proc/self/stat"), read("/proc/self/status"));
        let stat = Stat::parse(&stat);
        counters(
            &mut encoder,
            "process_cpu_seconds",
            "User and system CPU time of this process, without its helpers",
            one(stat.map(|stat| seconds(stat.cpu))),
        )?;
        let kibibytes = |name| line(&status, name).map(|count| float_of(count) * 1024.0);
        let started = line(&read("/proc/stat"), "btime").zip(stat);
        let open = fs::read_dir("/proc/self/fd").ok().map(|entries| float_of(entries.count() as u64));
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory", kibibytes("VmRSS:")),
            ("process_virtual_memory_bytes", "Virtual memory", kibibytes("VmSize:")),
            (
                "process_start_time_seconds",
                "Start of the process, in seconds since 1970",
                started.map(|(boot, stat)| float_of(boot) + seconds(stat.started)),
            ),
            ("process_open_fds", "Open file descriptors", open),
            (
                "process_max_fds",
                "Most file descriptors that may be open",
                line(&read("/proc/self/limits"), "Max open files").map(float_of),
            ),
            ("process_threads", "Threads", line(&status, "Threads:").map(float_of)),
        ] {
            gauges(&mut encoder, name, help, one(value))?;
        }
        Ok(())
    }
}

/// A sample without labels, if there is one.
fn one(value: Option<f64>) -> Option<(Labels, f64)> {
    value.map(|value| (Labels::new(), value))
}

/// Clock ticks as seconds.
fn seconds(ticks: u64) -> f64 {
    float_of(ticks) / TICKS
}

/// Of `proc_pid_stat(5)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    /// User and system time, in clock ticks.
    cpu: u64,
    /// Clock ticks since boot.
    started: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is a name in parentheses, which may itself hold blanks and parentheses.
        let (_, fields) = text.rsplit_once(") ")?;
        let fields: Vec<_> = fields.split_ascii_whitespace().collect();
        // The fields here begin with the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self { cpu: field(14)? + field(15)?, started: field(22)? })
    }
}

/// The number behind a name at the start of a line; nothing if there is none, as where something is unlimited.
fn line(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        let text = "7 (a) b) c) S 1 7 7 0 -1 4194560 900 0 0 0 12 30 0 0 20 0 5 0 4400 120000000 700 18446744073709551615 1";
        assert_eq!(Stat::parse(text), Some(Stat { cpu: 42, started: 4400 }));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
        assert_eq!(line("cpu 1 2\nbtime 1700000000\nprocesses 3\n", "btime"), Some(1_700_000_000));
        assert_eq!(line("Name:\tsquall\nVmRSS:\t   12345 kB\n", "VmRSS:"), Some(12_345));
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            20000                20000                files\n";
        assert_eq!(line(limits, "Max open files"), Some(20_000));
        assert_eq!(line("Max open files unlimited unlimited files", "Max open files"), None);
    }
}
