//! Forms that older releases of Chaos Mesh read, and those that people carry over from other Kubernetes
//! objects. Each gets the form of today as its cure, where the schema alone would only say "unknown field".

use serde_json::{Map, Value};

use super::finding::Finding;
use crate::api::Problem;

/// Blocks of NetworkChaos whose one required field is often written in their place: `delay: 150ms`.
const BLOCKS: [(&str, &str); 5] = [
    ("delay", "latency"),
    ("loss", "loss"),
    ("duplicate", "duplicate"),
    ("corrupt", "corrupt"),
    ("rate", "rate"),
];

/// Actions that other releases had under this name: kind, old word, what to write.
const ACTIONS: [(&str, &str, &str); 7] = [
    ("IOChaos", "delay", "action: latency, with the time in delay"),
    ("IOChaos", "errno", "action: fault, with the number in errno"),
    ("JVMChaos", "cfl", "action: stress with cpuCount"),
    ("JVMChaos", "delay", "action: latency, with the milliseconds in latency"),
    ("JVMChaos", "oom", "action: stress with memType: heap"),
    ("JVMChaos", "tce", "action: exception, with the expression in exception"),
    ("NetworkChaos", "reorder", "action: delay, with the percentage in delay.reorder.reorder"),
];

/// Fields of `JVMChaos` before release 2.1, whose rules were named another way.
const JVM: [&str; 3] = ["target", "flags", "matchers"];

/// The label selector of Deployments and Services, and its name here.
const SELECTORS: [(&str, &str); 2] =
    [("matchLabels", "labelSelectors"), ("matchExpressions", "expressionSelectors")];

/// The old forms in `object`, an experiment of `kind`.
pub(super) fn old_forms(kind: &str, object: &Value, findings: &mut Vec<Finding>) {
    let Some(spec) = object.get("spec").and_then(Value::as_object) else { return };
    scheduler(kind, spec, findings);
    duration(spec, findings);
    selector("spec", spec, findings);
    if let Some(target) = spec.get("target").and_then(Value::as_object) {
        selector("spec.target", target, findings);
    }
    action(kind, spec, findings);
    if let Some(name) = spec.get("containerName") {
        findings.push(key(
            "spec.containerName",
            "one name was the form of Chaos Mesh 1; now it is a list",
            format!("write containerNames: [{name}]"),
        ));
    }
    match kind {
        "NetworkChaos" => network(spec, findings),
        "JVMChaos" => jvm(spec, findings),
        "PhysicalMachineChaos" if !spec.contains_key("mode") => findings.push(value(
            "spec.mode",
            "required by today's schema, but missing; older files lack it",
            "add mode: all for every machine that is listed",
        )),
        "RemoteCluster" if !spec.contains_key("version") => findings.push(value(
            "spec.version",
            "required, but missing; the examples of Chaos Mesh lack it too",
            "add the version of its chart: version: 2.8.0",
        )),
        _ => {}
    }
}

fn key(path: impl Into<String>, what: impl Into<String>, cure: impl Into<String>) -> Finding {
    Finding::error_at_key(Problem::new(path, what, cure))
}

fn value(path: impl Into<String>, what: impl Into<String>, cure: impl Into<String>) -> Finding {
    Finding::error(Problem::new(path, what, cure))
}

/// Chaos Mesh 1 repeated an experiment by a field of its own; since 2.0 a Schedule does it.
fn scheduler(kind: &str, spec: &Map<String, Value>, findings: &mut Vec<Finding>) {
    let Some(scheduler) = spec.get("scheduler") else { return };
    let cron = scheduler.get("cron").and_then(Value::as_str).unwrap_or("@every 10m");
    findings.push(key(
        "spec.scheduler",
        "this was the form of Chaos Mesh 1; since 2.0 a Schedule repeats experiments",
        format!(
            "remove it to run once; to repeat, write kind: Schedule with schedule: \"{cron}\", type: {kind} and the \
             rest of this spec below {}",
            block_of(kind)
        ),
    ));
}

/// The block of a Schedule or Workflow template that holds the spec of `kind`.
fn block_of(kind: &str) -> String {
    format!("{}Chaos", kind.strip_suffix("Chaos").unwrap_or(kind).to_ascii_lowercase())
}

/// Days, weeks and bare numbers, which Go's durations do not have.
fn duration(spec: &Map<String, Value>, findings: &mut Vec<Finding>) {
    let (what, cure) = match spec.get("duration") {
        Some(Value::Number(number)) => {
            (format!("{number} has no unit"), format!("write duration: {number}s, if these are seconds"))
        }
        Some(Value::String(text)) => match in_hours(text) {
            Some(hours) => (
                format!("\"{text}\" is not a duration: the largest unit is the hour"),
                format!("write duration: {hours}h"),
            ),
            None => return,
        },
        _ => return,
    };
    findings.push(value("spec.duration", what, cure));
}

fn in_hours(text: &str) -> Option<u32> {
    let days = |number: &str, factor: u32| number.trim().parse::<u32>().ok()?.checked_mul(factor * 24);
    if let Some(number) = text.strip_suffix('d') {
        return days(number, 1);
    }
    text.strip_suffix('w').and_then(|number| days(number, 7))
}

fn selector(path: &str, owner: &Map<String, Value>, findings: &mut Vec<Finding>) {
    for (old, new) in SELECTORS {
        if owner.get("selector").and_then(|selector| selector.get(old)).is_some() {
            findings.push(key(
                format!("{path}.selector.{old}"),
                "this is the form of Deployments",
                format!("write {new}"),
            ));
        }
    }
}

fn action(kind: &str, spec: &Map<String, Value>, findings: &mut Vec<Finding>) {
    let Some(action) = spec.get("action").and_then(Value::as_str) else { return };
    if let Some((.., new)) = ACTIONS.iter().find(|(of, old, _)| *of == kind && *old == action) {
        findings.push(value("spec.action", format!("{kind} has no action {action}"), format!("write {new}")));
    }
}

fn network(spec: &Map<String, Value>, findings: &mut Vec<Finding>) {
    for (block, inner) in BLOCKS {
        let text = match spec.get(block) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => continue,
        };
        findings.push(value(
            format!("spec.{block}"),
            "must be a mapping",
            format!("write {block}: {{{inner}: \"{text}\"}}"),
        ));
    }
    for field in ["latency", "jitter"] {
        if let Some(number) = spec.get("delay").and_then(|delay| delay.get(field)).filter(|v| v.is_number()) {
            findings.push(value(
                format!("spec.delay.{field}"),
                format!("{number} has no unit"),
                format!("write {field}: \"{number}ms\", if these are milliseconds"),
            ));
        }
    }
}

fn jvm(spec: &Map<String, Value>, findings: &mut Vec<Finding>) {
    for field in JVM.into_iter().filter(|field| spec.contains_key(*field)) {
        findings.push(key(
            format!("spec.{field}"),
            "this was the form of JVMChaos before Chaos Mesh 2.1",
            "name the place by class and method, and what happens by action and its own field",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_a_schedule_are_named_as_chaos_mesh_names_them() {
        for (kind, block) in [
            ("NetworkChaos", "networkChaos"),
            ("PodChaos", "podChaos"),
            ("IOChaos", "ioChaos"),
            ("JVMChaos", "jvmChaos"),
            ("AWSChaos", "awsChaos"),
            ("DNSChaos", "dnsChaos"),
            ("AzureChaos", "azureChaos"),
            ("PhysicalMachineChaos", "physicalmachineChaos"),
        ] {
            assert_eq!(block_of(kind), block);
        }
    }

    #[test]
    fn days_and_weeks_in_hours() {
        for (text, hours) in [("1d", Some(24)), ("2w", Some(336)), ("1.5d", None), ("d", None), ("90s", None)]
        {
            assert_eq!(in_hours(text), hours, "{text}");
        }
        assert_eq!(in_hours("4294967295d"), None);
    }
}
