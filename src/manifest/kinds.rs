//! The kinds of `chaos-mesh.org/v1alpha1` that have no type in [`crate::api`]: they are recognised, held
//! against the few rules that tell a wrong file from one that has to wait, and named as not built.
//!
//! A kind that gets a type is found there first and needs no change here.

use serde_json::Value;

use super::finding::Finding;
use crate::api::{self, CustomKind, Problem};

/// The group of experiments.
pub(super) const GROUP: &str = "chaos-mesh.org";

/// The only version of that group.
pub(super) const VERSION: &str = "v1alpha1";

/// A kind without a type.
pub(super) struct Unbuilt {
    /// The kind.
    pub(super) kind: &'static str,
    /// Fields that `spec` must have.
    required: &'static [&'static str],
    /// Fields of `spec` that are one of some words.
    words: &'static [(&'static str, &'static [&'static str])],
}

const MODES: &[&str] = &["one", "all", "fixed", "fixed-percent", "random-max-percent"];

/// Every kind that users write, with the `required` lists and enums of Chaos Mesh 2.8's CRDs.
const KINDS: [Unbuilt; 19] = [
    Unbuilt {
        kind: "AWSChaos",
        required: &["action", "awsRegion", "ec2Instance"],
        words: &[("action", &["ec2-stop", "ec2-restart", "detach-volume"])],
    },
    Unbuilt {
        kind: "AzureChaos",
        required: &["action", "subscriptionID", "resourceGroupName", "vmName"],
        words: &[("action", &["vm-stop", "vm-restart", "disk-detach"])],
    },
    Unbuilt {
        kind: "BlockChaos",
        required: &["action", "mode", "selector", "volumeName"],
        words: &[("action", &["delay"]), ("mode", MODES)],
    },
    Unbuilt {
        kind: "DNSChaos",
        required: &["action", "mode", "selector"],
        words: &[("action", &["error", "random"]), ("mode", MODES)],
    },
    Unbuilt {
        kind: "GCPChaos",
        required: &["action", "project", "zone", "instance"],
        words: &[("action", &["node-stop", "node-reset", "disk-loss"])],
    },
    Unbuilt {
        kind: "HTTPChaos",
        required: &["mode", "selector", "target", "port"],
        words: &[("mode", MODES), ("target", &["Request", "Response"])],
    },
    Unbuilt {
        kind: "IOChaos",
        required: &["action", "mode", "selector", "volumePath"],
        words: &[("action", &["latency", "fault", "attrOverride", "mistake"]), ("mode", MODES)],
    },
    Unbuilt {
        kind: "JVMChaos",
        required: &["action", "mode", "selector"],
        words: &[
            ("action", &["latency", "return", "exception", "stress", "gc", "ruleData", "mysql"]),
            ("mode", MODES),
        ],
    },
    Unbuilt {
        kind: "KernelChaos",
        required: &["failKernRequest", "mode", "selector"],
        words: &[("mode", MODES)],
    },
    Unbuilt { kind: "PhysicalMachine", required: &["address"], words: &[] },
    Unbuilt { kind: "PhysicalMachineChaos", required: &["action", "mode"], words: &[("mode", MODES)] },
    Unbuilt {
        kind: "PodChaos",
        required: &["action", "mode", "selector"],
        words: &[("action", &["pod-kill", "pod-failure", "container-kill"]), ("mode", MODES)],
    },
    Unbuilt { kind: "RemoteCluster", required: &["namespace", "version", "kubeConfig"], words: &[] },
    Unbuilt {
        kind: "Schedule",
        required: &["schedule", "type"],
        words: &[("concurrencyPolicy", &["Forbid", "Allow"])],
    },
    Unbuilt {
        kind: "StatusCheck",
        required: &[],
        words: &[("mode", &["Synchronous", "Continuous"]), ("type", &["HTTP"])],
    },
    Unbuilt { kind: "StressChaos", required: &["mode", "selector"], words: &[("mode", MODES)] },
    Unbuilt { kind: "TimeChaos", required: &["mode", "selector", "timeOffset"], words: &[("mode", MODES)] },
    Unbuilt { kind: "Workflow", required: &["entry", "templates"], words: &[] },
    Unbuilt { kind: "WorkflowNode", required: &["templateName", "workflowName", "type"], words: &[] },
];

/// What Chaos Mesh's controllers write for their own use; a user's file that has one was taken from a
/// cluster.
const INTERNAL: [&str; 3] = ["PodHttpChaos", "PodIOChaos", "PodNetworkChaos"];

/// A kind of the group, as this release knows it.
pub(super) enum Known {
    /// It has a type, and can be applied.
    Built(&'static CustomKind),
    /// It has none yet.
    Unbuilt(&'static Unbuilt),
    /// Not for users to write.
    Internal,
}

/// Finds a kind of the group by its name.
pub(super) fn find(kind: &str) -> Option<Known> {
    built()
        .find(|known| known.kind == kind)
        .map(Known::Built)
        .or_else(|| KINDS.iter().find(|known| known.kind == kind).map(Known::Unbuilt))
        .or_else(|| INTERNAL.contains(&kind).then_some(Known::Internal))
}

/// The names of all kinds that users write.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    built().map(|known| known.kind).chain(KINDS.iter().map(|known| known.kind))
}

/// Whether other API groups have a kind of that name too.
pub(super) fn is_common(kind: &str) -> bool {
    matches!(kind, "Schedule" | "Workflow" | "RemoteCluster" | "StatusCheck" | "PhysicalMachine")
}

fn built() -> impl Iterator<Item = &'static CustomKind> {
    api::custom_kinds().iter().filter(|known| known.group == GROUP)
}

impl Unbuilt {
    /// What is wrong with such an object whatever release reads it.
    pub(super) fn check(&self, object: &Value, findings: &mut Vec<Finding>) {
        let Some(spec) = object.get("spec").filter(|spec| spec.is_object()) else {
            let problem = Problem::new("spec", "must be a mapping", "write the fields of this kind below it");
            return findings.push(Finding::error(problem));
        };
        for field in self.required.iter().filter(|field| spec.get(**field).is_none()) {
            let problem = Problem::new(format!("spec.{field}"), "required, but missing", "add it");
            findings.push(Finding::error(problem));
        }
        for (field, words) in self.words {
            if let Some(value) = spec.get(*field).filter(|value| !words.iter().any(|word| *value == word)) {
                let problem = Problem::new(
                    format!("spec.{field}"),
                    format!("unsupported value {value}"),
                    format!("write one of {}", words.join(", ")),
                );
                findings.push(Finding::error(problem));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_once_by_its_name() {
        for kind in KINDS.iter().map(|known| known.kind) {
            match find(kind) {
                Some(Known::Built(found)) => assert_eq!(found.kind, kind),
                Some(Known::Unbuilt(found)) => assert_eq!(found.kind, kind),
                _ => panic!("{kind} is not found"),
            }
        }
        assert!(matches!(find("NetworkChaos"), Some(Known::Built(_))));
        assert!(find("Injection").is_none(), "another group's kinds are not this one's");
    }
}
