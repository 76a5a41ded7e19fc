//! Lints of NetworkChaos.

use serde::Deserialize;

use super::Lint;
use crate::api::scalar::{ExternalTarget, external_target, percent};
use crate::api::{GoDuration, NetworkChaos, NetworkChaosSpec};
use crate::experiment::kind::Experiment as _;

const MILLISECOND: i64 = 1_000_000;

/// The blocks of netem, each with the field that gives its strength.
const NETEM: [(&str, &str); 5] = [
    ("delay", "latency"),
    ("loss", "loss"),
    ("duplicate", "duplicate"),
    ("corrupt", "corrupt"),
    ("rate", "rate"),
];

pub(super) fn lint(lint: &mut Lint<'_>) {
    not_injected(lint);
    let Some(action) = lint.text("/action") else { return };
    blocks_of_other_actions(lint, action);
    peers(lint, action);
    delay(lint);
    for block in ["loss", "duplicate", "corrupt"] {
        strength(lint, block);
    }
    match (lint.get("/bandwidth/peakrate"), lint.get("/bandwidth/minburst")) {
        (Some(_), None) => lint.warn("spec.bandwidth.peakrate", "it acts only with minburst", "add minburst"),
        (None, Some(_)) => lint.warn("spec.bandwidth.minburst", "it acts only with peakrate", "add peakrate"),
        _ => {}
    }
}

/// The file is right and a later release will run it, so this is no error of the file.
fn not_injected(lint: &mut Lint<'_>) {
    let Ok(spec) = NetworkChaosSpec::deserialize(lint.spec) else { return };
    if let Some(problem) = NetworkChaos::new("", spec).unsupported() {
        lint.warn(problem.path, problem.what, problem.cure);
    }
}

fn blocks_of_other_actions(lint: &mut Lint<'_>, action: &str) {
    let netem = NETEM.map(|(block, _)| block);
    for block in netem.into_iter().chain(["bandwidth"]) {
        if block == action || lint.get(&format!("/{block}")).is_none() {
            continue;
        }
        let path = format!("spec.{block}");
        match (action, block) {
            ("partition", _) => {
                lint.warn(path, "a partition drops everything; this block is passed over", "remove it");
            }
            ("bandwidth", _) => lint.warn(
                path,
                "action bandwidth passes this block over",
                "remove it, or write action: netem without bandwidth",
            ),
            (_, "bandwidth") => lint.warn(
                path,
                format!("action {action} passes this block over"),
                "remove it, or write rate, which netem can limit too",
            ),
            ("netem", _) => {}
            _ => lint.warn(
                path,
                format!("action {action} applies every block that is filled, so this one too"),
                "write action: netem if it is meant, else remove it",
            ),
        }
    }
}

fn peers(lint: &mut Lint<'_>, action: &str) {
    let external: Vec<_> = lint.list("/externalTargets").collect();
    for (index, text) in &external {
        if let Ok(ExternalTarget::Host(host, _)) = external_target(text) {
            lint.warn(
                format!("spec.externalTargets[{index}]"),
                format!("{host} is resolved by the controller, which may get other addresses than the pods"),
                "write addresses where that matters",
            );
        }
    }
    let no_target = lint.get("/target").is_none();
    if action == "partition" && no_target && external.is_empty() {
        lint.warn(
            "spec.target",
            "no target: it drops all traffic of the device, probes included, so containers may be restarted",
            "add target with a selector and a mode, unless that is meant",
        );
    }
    if no_target && lint.get("/targetDevice").is_some() {
        lint.warn("spec.targetDevice", "it acts only with a target", "add target, or write device");
    }
}

fn delay(lint: &mut Lint<'_>) {
    let Some(latency_text) = lint.text("/delay/latency") else { return };
    let nanos = |pointer: &str| lint.text(pointer).map_or(0, nanos);
    let (latency, jitter) = (nanos("/delay/latency"), nanos("/delay/jitter"));
    let correlation = strength_of(lint, "/delay/correlation");
    if latency > 0 && latency < MILLISECOND {
        lint.warn(
            "spec.delay.latency",
            format!("{latency_text} is less than 1 ms, about what timers and scheduling add by themselves"),
            "write 1ms or more, or expect to see nothing of it",
        );
    }
    for (field, value) in [("latency", latency), ("jitter", jitter)] {
        if value > 0 && lint.text(&format!("/delay/{field}")).is_some_and(|text| text.starts_with("0.")) {
            lint.warn(
                format!("spec.delay.{field}"),
                "Chaos Mesh passes over a value that begins with \"0.\"; here it counts",
                format!("write {field}: {} to mean the same in both", in_one_unit(value)),
            );
        }
    }
    if latency == 0 {
        lint.warn("spec.delay.latency", "no latency: nothing is delayed", "write how long: \"150ms\"");
        if jitter > 0 {
            lint.warn("spec.delay.jitter", "jitter acts only with a latency", "write a latency above 0");
        }
        if lint.get("/delay/reorder").is_some() {
            lint.warn(
                "spec.delay.reorder",
                "only packets that are delayed can be overtaken",
                "write a latency above 0",
            );
        }
    } else if jitter > latency {
        lint.warn(
            "spec.delay.jitter",
            "larger than the latency: a delay below zero is none, so the mean is above the latency",
            "write a jitter up to the latency",
        );
    }
    if correlation > 0.0 && jitter == 0 {
        lint.warn(
            "spec.delay.correlation",
            "correlation of a delay acts only with jitter",
            "add jitter, or remove it",
        );
    }
    if strength_of(lint, "/delay/reorder/correlation") > 0.0
        && strength_of(lint, "/delay/reorder/reorder") <= 0.0
    {
        lint.warn(
            "spec.delay.reorder.correlation",
            "correlation acts only with reorder above 0",
            "write reorder: \"25\", or remove it",
        );
    }
}

/// A percentage of nothing, and a correlation of it.
fn strength(lint: &mut Lint<'_>, block: &str) {
    if lint.text(&format!("/{block}/{block}")).is_none()
        || strength_of(lint, &format!("/{block}/{block}")) > 0.0
    {
        return;
    }
    lint.warn(format!("spec.{block}.{block}"), "0 percent: nothing happens", "write a percentage: \"25\"");
    if strength_of(lint, &format!("/{block}/correlation")) > 0.0 {
        lint.warn(
            format!("spec.{block}.correlation"),
            format!("correlation acts only with {block} above 0"),
            format!("write {block}: \"25\", or remove it"),
        );
    }
}

fn strength_of(lint: &Lint<'_>, pointer: &str) -> f64 {
    lint.text(pointer).and_then(|text| percent(text).ok()).unwrap_or_default()
}

/// As `latency` and `jitter` are written: a whole number and one unit.
fn in_one_unit(nanos: i64) -> String {
    let units = [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", MILLISECOND),
        ("us", 1_000),
    ];
    let whole = units.into_iter().find(|(_, size)| nanos % size == 0);
    let (unit, size) = whole.unwrap_or(("ns", 1));
    format!("{}{unit}", nanos / size)
}

fn nanos(text: &str) -> i64 {
    text.parse::<GoDuration>().map_or(0, GoDuration::as_nanos)
}
