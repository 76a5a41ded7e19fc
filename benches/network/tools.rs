//! The tools: how they are run, what they are fed, and how their times stand beside ours.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use squall::daemon::sys::netns::NetNs;

use crate::peers;

/// Both sides of a comparison are measured until there are so many times or so long has passed, but a few times at least.
const MOST: usize = 200;
const LEAST: usize = 10;
const LONGEST: Duration = Duration::from_secs(4);

pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// Runs programs one after another in the pod's namespace, each with its standard input: how long all of them took, or
/// why one failed.
pub(crate) fn tools(pod: &NetNs, commands: &[(&str, &str)]) -> Result<Duration, String> {
    let all = || {
        let begun = Instant::now();
        commands.iter().try_for_each(|(line, input)| tool(line, input)).map(|()| begun.elapsed())
    };
    pod.run_in(all).unwrap()
}

fn tool(line: &str, input: &str) -> Result<(), String> {
    let (program, arguments) = line.split_once(' ').unwrap();
    let mut command = Command::new(program);
    command.args(arguments.split(' ')).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    // One that fails reads no further; its status says so.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}", text.lines().next().unwrap_or("failed").replace('|', "/")))
}

/// A row of the table: ours and theirs by turns, after each was tried once; ours alone where the tool cannot do it here.
pub(crate) fn compare(
    what: &str,
    tool: &str,
    goal: &str,
    mut ours: impl FnMut() -> Duration,
    mut theirs: impl FnMut() -> Result<Duration, String>,
) {
    let refused = theirs().err();
    ours();
    let (mut times, mut their_times) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    while times.len() < LEAST || times.len() < MOST && begun.elapsed() < LONGEST {
        times.push(ours());
        if refused.is_none() {
            their_times.push(theirs().unwrap());
        }
    }
    let [p50, p99] = percentiles(&mut times);
    let [shown, shown99] = [p50, p99].map(show);
    if let Some(reason) = refused {
        eprintln!("SKIPPED: {what}, {tool}: {reason}");
        println!("| {what} | {shown} | {shown99} | {tool} | not here: {reason} | – | – | {goal} |");
        return;
    }
    let [their_p50, their_p99] = percentiles(&mut their_times);
    let ratio = their_p50.as_secs_f64() / p50.as_secs_f64();
    let [theirs, theirs99] = [their_p50, their_p99].map(show);
    println!("| {what} | {shown} | {shown99} | {tool} | {theirs} | {theirs99} | {ratio:.1} | {goal} |");
}

pub(crate) fn table(headings: &[&str]) {
    println!("\n| {} |\n|{}", headings.join(" | "), "---|".repeat(headings.len()));
}

/// p50 and p99.
pub(crate) fn percentiles(times: &mut [Duration]) -> [Duration; 2] {
    times.sort_unstable();
    [50, 99].map(|percent| *times.get((times.len() * percent / 100).min(times.len() - 1)).unwrap())
}

pub(crate) fn show(time: Duration) -> String {
    let microseconds = time.as_secs_f64() * 1e6;
    match microseconds {
        ..100.0 => format!("{microseconds:.1} µs"),
        ..10_000.0 => format!("{microseconds:.0} µs"),
        _ => format!("{:.1} ms", microseconds / 1e3),
    }
}

/// The same as our table, for `nft -j -f -`; both chains look into one set.
pub(crate) fn nft_json(count: u32) -> String {
    let mut commands = vec![
        json!({"add": {"table": {"family": "inet", "name": "other"}}}),
        json!({"add": {"set": {"family": "inet", "table": "other", "name": "peers", "type": "ipv4_addr",
            "elem": peers(count).map(|peer| peer.to_string()).collect::<Vec<_>>()}}}),
    ];
    for (chain, hook, device, address) in
        [("egress", "output", "oifname", "daddr"), ("ingress", "prerouting", "iifname", "saddr")]
    {
        let is = |left, right| json!({"match": {"op": "==", "left": left, "right": right}});
        commands.push(json!({"add": {"chain": {"family": "inet", "table": "other", "name": chain,
            "type": "filter", "hook": hook, "prio": -300, "policy": "accept"}}}));
        commands.push(json!({"add": {"rule": {"family": "inet", "table": "other", "chain": chain, "expr": [
            is(json!({"meta": {"key": device}}), "a0"),
            is(json!({"payload": {"protocol": "ip", "field": address}}), "@peers"),
            json!({"counter": {"packets": 0, "bytes": 0}}),
            json!({"drop": null}),
        ]}}}));
    }
    json!({"nftables": commands}).to_string()
}

pub(crate) fn ipset_list(count: u32) -> String {
    let mut text = "create peers hash:ip family inet hashsize 8192 maxelem 65536\n".to_owned();
    peers(count).for_each(|peer| writeln!(text, "add peers {peer}").unwrap());
    text
}

/// Rules that look into that list.
pub(crate) const MATCH_SET: &str = "*filter\n-A OUTPUT -o a0 -m set --match-set peers dst -j DROP\n\
     -A INPUT -i a0 -m set --match-set peers src -j DROP\nCOMMIT\n";

pub(crate) fn rule_for_each(count: u32) -> String {
    let mut text = "*filter\n".to_owned();
    for peer in peers(count) {
        writeln!(text, "-A OUTPUT -o a0 -d {peer} -j DROP\n-A INPUT -i a0 -s {peer} -j DROP").unwrap();
    }
    text + "COMMIT\n"
}
