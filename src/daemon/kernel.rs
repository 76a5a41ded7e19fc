//! What the engine needs of the kernel, as a trait: the engine is tested against a simulated one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::daemon::engine::error_chain;
use crate::daemon::shaper::Counts;
use crate::daemon::sys::fingerprint::Fingerprint;
use crate::daemon::sys::tc::Root;
use crate::network::plan::NetworkPlan;

/// What there was on a pod's network before a fault, to be put back and compared after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Everything that is compared.
    pub fingerprint: Fingerprint,
    /// The root queueing disciplines that can be put back, by the index of their interface.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roots: BTreeMap<u32, Root>,
}

/// Why a fault could not be put in place or taken away.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// No process of the pod was found.
    #[error("pod {pod} has no process on this node")]
    NoProcess {
        /// The pod's UID.
        pod: String,
    },
    /// The pod shares the node's network.
    #[error("pod {pod} uses the node's network (hostNetwork)")]
    HostNetwork {
        /// The pod's UID.
        pod: String,
    },
    /// A kernel of its own runs the pod.
    #[error("pod {pod} is run by {by}: this node's kernel sees neither its processes nor its packets")]
    OwnKernel {
        /// The pod's UID.
        pod: String,
        /// What runs it.
        by: &'static str,
    },
    /// No process of the container was found.
    #[error("container {container} of pod {pod} has no process on this node")]
    NoContainer {
        /// The pod's UID.
        pod: String,
        /// The container's id.
        container: String,
    },
    /// A call into the kernel failed.
    #[error("{operation} failed")]
    Kernel {
        /// What was attempted.
        operation: &'static str,
        /// What the kernel said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kernel refused it to a daemon that lacks a right.
    #[error("{operation} failed: the daemon has no {missing}")]
    Forbidden {
        /// What was attempted.
        operation: &'static str,
        /// Capabilities.
        missing: String,
        /// What the kernel said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It cannot be done on this pod or this kernel.
    #[error("{what}")]
    Impossible {
        /// What stands in the way.
        what: String,
        /// What the user can do about it.
        cure: &'static str,
    },
    /// The kernel took the change, but what it lists is something else.
    #[error("the kernel does not list what was injected: {0}")]
    NotReadBack(String),
    /// The fault is gone, but the network is not as it was before.
    #[error("the pod's network is not as it was before the fault: {0}")]
    LeftBehind(String),
}

impl FaultError {
    /// What the user can do about it.
    pub const fn cure(&self) -> &'static str {
        match self {
            Self::NoProcess { .. } => "it is tried again; see the pod's status if it does not start",
            Self::NoContainer { .. } => "it ended before it was killed; create the experiment anew",
            Self::HostNetwork { .. } => "select pods with a network of their own",
            Self::OwnKernel { .. } => "select pods of a RuntimeClass that the node's kernel runs",
            Self::Kernel { .. } => "run squall doctor on the node; it names missing modules and rights",
            Self::Forbidden { .. } => "squall install gives it back to the daemon's container",
            Self::Impossible { cure, .. } => cure,
            Self::NotReadBack(_) => "something else changes this pod's nf_tables; it is tried again",
            Self::LeftBehind(_) => "the difference was made by something else while the fault was in place",
        }
    }

    /// With every cause, on one line.
    pub fn chain(&self) -> String {
        error_chain(self)
    }
}

/// The kernel of this node, as far as faults go. Every call is bounded in time.
pub trait Kernel {
    /// What is on the pod's network now, apart from our own table.
    ///
    /// # Errors
    /// When the pod has no process here, or the kernel does not answer.
    fn observe(&mut self, pod: &str) -> Result<Before, FaultError>;

    /// Makes the pod's faults exactly `plan`, at once and as a whole, and reads them back. Gives the
    /// evidence: a short text about what the kernel lists. Taking faults away from a pod that is gone
    /// succeeds. `before` is what is put back of what a fault replaces.
    ///
    /// # Errors
    /// When the change failed and nothing was changed; [`FaultError::NotReadBack`] when it may have been.
    fn set_network(
        &mut self,
        pod: &str,
        plan: Option<&NetworkPlan>,
        before: Option<&Before>,
    ) -> Result<String, FaultError>;

    /// Kills a container, by its id, and waits for its end. Gives the evidence.
    ///
    /// # Errors
    /// When it has no process here, or does not end.
    fn kill(&mut self, pod: &str, container: &str) -> Result<String, FaultError>;

    /// Compares what is there now with `before`. A pod that is gone has nothing left.
    ///
    /// # Errors
    /// [`FaultError::LeftBehind`] names the difference.
    fn compare(&mut self, pod: &str, before: &Before) -> Result<(), FaultError>;

    /// Reads back again what was injected earlier.
    ///
    /// # Errors
    /// When it is not there any more, or the pod has another network by now.
    fn verify(&mut self, pod: &str, plan: &NetworkPlan) -> Result<(), FaultError>;

    /// What a shaper did with the packets of each queue since that was bound; nothing where the kernel shapes by itself, or
    /// nothing is shaped.
    fn shaped(&mut self) -> Vec<(Queue, Counts)> {
        Vec::new()
    }
}

/// A pod's UID, and the number of one of its queues.
pub type Queue = (String, u16);
