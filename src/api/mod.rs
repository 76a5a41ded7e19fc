//! The objects that Squall reads and writes: one file per kind, with defaults and validation.
//!
//! Pure: these types know nothing of sockets, files or clocks. The CRDs come from the same types, so
//! that the schema, the in-memory API server and every check speak of one thing.

mod admit;
mod crd;
mod duration;
mod halt;
mod injection;
mod networkchaos;
mod podchaos;
mod problem;
mod rules;
pub mod scalar;
mod schema;
mod selector;
mod status;

use std::time::Duration;

pub use admit::{CustomKind, admit, custom_kinds};
pub use crd::PART_OF_LABEL;
pub use duration::{DurationError, GoDuration};
pub use halt::{Halt, HaltSpec};
pub use injection::{
    ContainerKill, ExperimentReference, Fault, Injection, InjectionSpec, InjectionStatus, InjectionTarget,
    NetworkEffect, NetworkEnd, NetworkFault, NetworkRule, Peer, PodFailure, PodKill, Shaping, TargetPhase,
    TargetStatus,
};
pub use networkchaos::{
    Bandwidth, Corrupt, DEFAULT_DEVICE, Delay, Direction, Duplicate, Loss, NetworkAction, NetworkChaos,
    NetworkChaosSpec, Rate, Reorder, Target,
};
pub use podchaos::{PodAction, PodChaos, PodChaosSpec};
pub use problem::Problem;
pub use selector::{LabelRequirement, Mode, POD_FIELDS, PodSelector};
pub use status::{
    ChaosStatus, Clock, Condition, ConditionKind, DesiredPhase, ExperimentStatus, Following, MAX_RECORDS,
    Record, RecordEvent, RecordPhase, TargetCounts,
};

/// The namespace of Squall's own objects.
pub const SYSTEM_NAMESPACE: &str = "squall-system";

/// The leader Lease of the controller, in [`SYSTEM_NAMESPACE`]; its renewals are the daemons' heartbeat.
pub const CONTROLLER_LEASE: &str = "squall-controller";

/// Annotation that pauses an experiment; only the exact value `true` does.
pub const PAUSE_ANNOTATION: &str = "experiment.chaos-mesh.org/pause";

/// Annotation on an experiment: how long its faults outlive the last sign of the controller, a Go duration.
pub const LEASE_ANNOTATION: &str = "squall.dev/lease";

/// Annotation on an experiment: whose rules its time, its pause and its targets follow.
pub const SEMANTICS_ANNOTATION: &str = "squall.dev/semantics";

/// The one value of [`SEMANTICS_ANNOTATION`]: the rules of Chaos Mesh.
pub const CHAOS_MESH_SEMANTICS: &str = "chaos-mesh";

/// Annotation on a PodChaos with action `pod-kill`: `"true"` evicts instead of deleting, so that
/// each `PodDisruptionBudget` is respected.
pub const RESPECT_BUDGETS_ANNOTATION: &str = "squall.dev/respect-disruption-budgets";

/// Annotation on a pod under `pod-failure`: which experiment did it, and the images as they were before.
pub const POD_FAILURE_ANNOTATION: &str = "squall.dev/pod-failure";

/// Finalizer of an experiment: held until nothing of it is left on any node.
pub const RECORDS_FINALIZER: &str = "chaos-mesh/records";

/// Finalizer of an Injection: held until its daemon has read back that nothing is left.
pub const RECOVERED_FINALIZER: &str = "squall.dev/recovered";

/// Label of an Injection: the UID of its experiment.
pub const EXPERIMENT_UID_LABEL: &str = "squall.dev/experiment-uid";

/// The selector key of `spec.selector`.
pub const SOURCE_KEY: &str = ".";

/// The selector key of `spec.target.selector`.
pub const TARGET_KEY: &str = ".Target";

/// The lease where nothing else is said: longer than the failover of the controller, 15 s.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(30);

/// The shortest lease: more than two renewals of the leader Lease.
pub const MIN_LEASE: Duration = Duration::from_secs(5);

/// Namespaces whose pods are never targets: the cluster's own parts and ours.
pub const PROTECTED_NAMESPACES: [&str; 2] = ["kube-system", SYSTEM_NAMESPACE];

/// The lease that a text asks for: [`DEFAULT_LEASE`] without one, at least [`MIN_LEASE`].
pub fn effective_lease(text: Option<&str>) -> Duration {
    text.and_then(|text| text.parse::<GoDuration>().ok())
        .and_then(GoDuration::to_std)
        .map_or(DEFAULT_LEASE, |lease| lease.max(MIN_LEASE))
}
