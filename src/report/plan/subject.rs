//! What a plan is made from: the cluster's objects, and the experiment that is to be planned.

use std::sync::Arc;

use kube::api::DynamicObject;
use serde_json::Value;

use crate::api::{Halt, Injection, NetworkChaos, PodChaos};
use crate::experiment::kind;
use crate::experiment::peers::Hosts;
use crate::experiment::world::World;
use crate::manifest::Object;
use crate::report::{status, word};

/// The cluster as it is now.
pub struct Cluster {
    /// Pods, nodes, Services, endpoints.
    pub world: World,
    /// The parts of running experiments, or why they cannot be read.
    pub injections: Result<Vec<Arc<Injection>>, String>,
    /// The Halts that exist, or why they cannot be read.
    pub halts: Result<Vec<Arc<Halt>>, String>,
    /// What may not be read of it, in sentences.
    pub unseen: Vec<String>,
}

/// One experiment that is to be planned.
#[derive(Clone, Debug)]
pub struct Subject {
    /// `networkchaos.chaos-mesh.org/partition`.
    pub label: String,
    /// What it does, as the file says it.
    pub action: String,
    /// How long, as the file says it.
    pub duration: Option<String>,
    /// As the file has it, with the namespace that it would go to, and the UID of the stored one if there is one.
    pub experiment: Experiment,
    /// The phase of the experiment that has the name already.
    pub exists: Option<&'static str>,
    /// Addresses of the host names in it, as this machine resolves them; at first none.
    pub hosts: Hosts,
}

impl Subject {
    /// The experiment of a file that would go to this namespace, where `stored` has its name already. Nothing if it is
    /// none of this release.
    pub fn new(
        object: &Object,
        label: String,
        namespace: &str,
        stored: Option<&DynamicObject>,
    ) -> Option<Self> {
        let mut experiment = Experiment::of(object)?;
        let metadata = match &mut experiment {
            Experiment::NetworkChaos(chaos) => &mut chaos.metadata,
            Experiment::PodChaos(chaos) => &mut chaos.metadata,
        };
        metadata.namespace = Some(namespace.to_owned());
        metadata.uid = stored.and_then(|stored| stored.metadata.uid.clone());
        let text = |path: &str| object.value.pointer(path).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            label,
            action: text("/spec/action").unwrap_or_default(),
            duration: text("/spec/duration").filter(|text| !text.is_empty()),
            exists: stored.map(|stored| word(&status(stored), stored.metadata.deletion_timestamp.is_some())),
            hosts: Hosts::new(),
            experiment,
        })
    }
}

/// An experiment of a kind that this release runs.
#[derive(Clone, Debug)]
pub enum Experiment {
    /// A network fault.
    NetworkChaos(Box<NetworkChaos>),
    /// A fault of pods or their containers.
    PodChaos(Box<PodChaos>),
}

impl Experiment {
    /// The experiment of a file.
    fn of(object: &Object) -> Option<Self> {
        let network = object.typed().map(|chaos| Self::NetworkChaos(Box::new(chaos)));
        network.or_else(|| object.typed().map(|chaos| Self::PodChaos(Box::new(chaos))))
    }

    /// What the experiment is to the controller.
    pub fn as_kind(&self) -> &dyn kind::Experiment {
        match self {
            Self::NetworkChaos(chaos) => &**chaos,
            Self::PodChaos(chaos) => &**chaos,
        }
    }
}
