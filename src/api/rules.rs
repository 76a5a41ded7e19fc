//! What the CRDs make an API server check: bounds of every list and text, and rules in CEL.
//!
//! An API server knows nothing of our code, so what one object's own fields tell is said here a second time, in
//! the language of CRDs (`x-kubernetes-validations`, `apiextensions/v1`). The validators of the kinds say the
//! same with better words and a place; a table of manifests holds the two together. What crosses the items of a
//! list (addresses, phases, operators) is left to the validators: its cost could not be bounded.

use kube::core::Rule;
use schemars::Schema;
use serde_json::{Map, Value, json};

/// Longest text where nothing else is said, in characters: the longest name in Kubernetes (RFC 1123, subdomain).
const TEXT: u64 = 253;

/// Most items of a list where nothing else is said.
const ITEMS: u64 = 256;

/// Most entries of a map where nothing else is said.
const ENTRIES: u64 = 64;

/// Longest number, duration, percentage or rate, in characters.
const SCALAR: u64 = 64;

/// Most entries of `externalTargets`.
const EXTERNAL_TARGETS: u64 = 1_024;

/// Fields whose texts are short and fed to expressions, whose cost grows with their length.
const SCALARS: [&str; 12] = [
    "value",
    "duration",
    "latency",
    "jitter",
    "correlation",
    "reorder",
    "loss",
    "duplicate",
    "corrupt",
    "rate",
    "device",
    "targetDevice",
];

/// One rule of a spec.
struct SpecRule {
    rule: String,
    message: &'static str,
    /// The field that it is about, below the spec.
    field: &'static str,
}

fn rule(field: &'static str, rule: impl Into<String>, message: &'static str) -> SpecRule {
    SpecRule { rule: rule.into(), message, field }
}

/// Bounds and rules of a NetworkChaos's spec.
pub(super) fn network_chaos(schema: &mut Schema) {
    let mut rules = common();
    rules.extend(amount("target.value", "self.target", "has(self.target)"));
    let blocks = ["delay", "loss", "duplicate", "corrupt", "rate"].map(|block| format!("has(self.{block})"));
    rules.extend([
        rule(
            "direction",
            "self.action == 'partition' || !(self.direction in ['from', 'both']) || !has(self.externalTargets) || \
             self.externalTargets.size() == 0",
            "traffic from external targets cannot be shaped at their end; write direction: to, or remove externalTargets",
        ),
        rule(
            "direction",
            "self.action == 'partition' || !(self.direction in ['from', 'both']) || has(self.target)",
            "directions from and both need a target; add spec.target, or write direction: to",
        ),
        rule(
            "bandwidth",
            "self.action != 'bandwidth' || has(self.bandwidth)",
            "action bandwidth needs this block; add rate, limit and buffer",
        ),
        rule(
            "action",
            format!("self.action in ['partition', 'bandwidth'] || {}", blocks.join(" || ")),
            "the action has nothing to do; fill at least one of delay, loss, duplicate, corrupt, rate",
        ),
    ]);
    for (field, block) in [
        ("delay.correlation", "delay"),
        ("loss.loss", "loss"),
        ("loss.correlation", "loss"),
        ("duplicate.duplicate", "duplicate"),
        ("duplicate.correlation", "duplicate"),
        ("corrupt.corrupt", "corrupt"),
        ("corrupt.correlation", "corrupt"),
    ] {
        rules.push(percentage(field, &format!("has(self.{block})")));
    }
    for field in ["delay.reorder.reorder", "delay.reorder.correlation"] {
        rules.push(percentage(field, "has(self.delay) && has(self.delay.reorder)"));
    }
    rules.push(rule(
        "delay.reorder.gap",
        "!has(self.delay) || !has(self.delay.reorder) || self.delay.reorder.gap >= 0",
        "a gap is not negative; write 1 or more",
    ));
    for (field, block) in [("rate.rate", "rate"), ("bandwidth.rate", "bandwidth")] {
        rules.push(rule(
            field,
            format!(
                "!has(self.{block}) || self.{field}.matches('^[0-9]*[1-9][0-9]* *(?i:[kmgt]?(bit|bps))$')"
            ),
            "not a rate; write a whole number and bit, kbit, mbit, gbit, tbit (bits) or bps, kbps, mbps, gbps, tbps (bytes)",
        ));
    }
    for field in ["device", "targetDevice"] {
        rules.push(rule(
            field,
            format!("!has(self.{field}) || self.{field}.matches('^ *[^/@\\\\s]{{0,15}} *(@.*)?$')"),
            "this cannot be an interface; write a name like eth0, 15 bytes at most",
        ));
    }
    apply(schema, &rules);
}

/// Bounds and rules of a PodChaos's spec.
pub(super) fn pod_chaos(schema: &mut Schema) {
    let mut rules = common();
    rules.push(rule(
        "containerNames",
        "self.action != 'container-kill' || has(self.containerNames) && self.containerNames.size() > 0",
        "action container-kill needs the names of the containers; list at least one container of the pods",
    ));
    apply(schema, &rules);
}

/// Bounds and rules of a Halt's spec.
pub(super) fn halt(schema: &mut Schema) {
    apply(
        schema,
        &[rule(
            "namespaces",
            "!has(self.namespaces) || self.namespaces.all(name, name.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'))",
            "this cannot be the name of a namespace; write lower-case letters, digits and -, or no namespaces at all \
             to stop everything",
        )],
    );
}

/// Rules of every experiment.
fn common() -> Vec<SpecRule> {
    let mut rules = amount("value", "self", "true");
    rules.extend([
        rule(
            "duration",
            "!has(self.duration) || self.duration == '' || \
             self.duration.matches('^[+]?(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+$') && \
             self.duration.matches('[1-9]')",
            "not a duration; write hours, minutes and seconds like 1h30m or 90s",
        ),
        rule(
            "remoteCluster",
            "!has(self.remoteCluster) || self.remoteCluster == ''",
            "Squall injects only in the cluster that the object is in; apply the file to that cluster instead",
        ),
    ]);
    rules
}

/// The value of the modes that need one, in `of` if `present`.
fn amount(field: &'static str, of: &str, present: &str) -> Vec<SpecRule> {
    vec![
        rule(
            field,
            format!(
                "!({present}) || {of}.mode != 'fixed' || has({of}.value) && \
                 {of}.value.matches('^[+]?0*[1-9][0-9]{{0,8}}$')"
            ),
            "this mode needs a value; write the number of pods, quoted: value: \"2\"",
        ),
        rule(
            field,
            format!(
                "!({present}) || !({of}.mode in ['fixed-percent', 'random-max-percent']) || has({of}.value) && \
                 {of}.value.matches('^[+]?0*([1-9][0-9]?|100)$')"
            ),
            "this mode needs a value; write a percentage from 1 to 100, quoted: value: \"50\"",
        ),
    ]
}

fn percentage(field: &'static str, present: &str) -> SpecRule {
    rule(
        field,
        format!(
            "!({present}) || self.{field}.matches('^[+]?([0-9]+[.]?[0-9]*|[.][0-9]+)$') && \
             double(self.{field}) <= 100.0"
        ),
        "not a percentage; write a number from 0 to 100, quoted: \"25\"",
    )
}

/// The rule that an experiment keeps to its targets: once some were selected, these fields of its spec stay as they
/// are. Magnitudes and the duration may change.
pub(super) fn fixed(fields: &[&str]) -> Rule {
    let same = |field: &&str| {
        format!(
            "has(self.spec.{field}) == has(oldSelf.spec.{field}) && \
             (!has(self.spec.{field}) || self.spec.{field} == oldSelf.spec.{field})"
        )
    };
    let all: Vec<_> = fields.iter().map(same).collect();
    Rule::new(format!(
        "!(has(oldSelf.status) && has(oldSelf.status.experiment) && has(oldSelf.status.experiment.targets) && \
         oldSelf.status.experiment.targets.selected > 0) || {}",
        all.join(" && ")
    ))
    .message(FIXED)
}

/// What [`fixed`] says.
pub(super) const FIXED: &str = "action, mode, value, selectors, direction and devices stay as they are once targets were \
    selected; delete the experiment and apply the file again";

fn apply(schema: &mut Schema, rules: &[SpecRule]) {
    let object = schema.ensure_object();
    bound(object, None);
    let rules: Vec<Value> = rules
        .iter()
        .map(|rule| json!({"rule": rule.rule, "message": rule.message, "fieldPath": format!(".{}", rule.field)}))
        .collect();
    object.insert("x-kubernetes-validations".to_owned(), Value::Array(rules));
}

/// Gives every text, list and map below a schema a bound, where it has none yet. `name` is the field's.
fn bound(schema: &mut Map<String, Value>, name: Option<&str>) {
    let is = |schema: &Map<String, Value>, kind: &str| match schema.get("type") {
        Some(Value::String(only)) => only == kind,
        Some(Value::Array(several)) => several.iter().any(|one| one == kind),
        _ => false,
    };
    if is(schema, "string") && !schema.contains_key("enum") {
        let short = name.is_some_and(|name| SCALARS.contains(&name));
        schema.entry("maxLength").or_insert_with(|| if short { SCALAR } else { TEXT }.into());
    }
    if is(schema, "array") {
        let most = if name == Some("externalTargets") { EXTERNAL_TARGETS } else { ITEMS };
        schema.entry("maxItems").or_insert_with(|| most.into());
    }
    if schema.get("additionalProperties").is_some_and(Value::is_object) {
        schema.entry("maxProperties").or_insert_with(|| ENTRIES.into());
    }
    for key in ["items", "additionalProperties"] {
        if let Some(Value::Object(below)) = schema.get_mut(key) {
            bound(below, None);
        }
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (name, below) in properties.iter_mut() {
            if let Value::Object(below) = below {
                bound(below, Some(name));
            }
        }
    }
    for key in ["anyOf", "allOf", "oneOf"] {
        if let Some(Value::Array(several)) = schema.get_mut(key) {
            for below in several.iter_mut().filter_map(Value::as_object_mut) {
                bound(below, name);
            }
        }
    }
}
