//! What an experiment of any kind is to the rest of this folder. The life of an experiment is the same for
//! all kinds; what differs is which pods it can act on and what happens to them, and that is here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::core::ObjectMeta;

use super::peers::Hosts;
use super::plan::{Chosen, End, NodePlan};
use super::selection::Exclusion;
use super::world::World;
use crate::api::{
    CHAOS_MESH_SEMANTICS, ChaosStatus, ExperimentReference, InjectionTarget, LEASE_ANNOTATION,
    PAUSE_ANNOTATION, Problem, SEMANTICS_ANNOTATION,
};

/// An experiment of one of the kinds that this release runs.
pub trait Experiment: Send + Sync {
    /// Its kind.
    fn kind(&self) -> &'static str;

    /// Its metadata.
    fn metadata(&self) -> &ObjectMeta;

    /// Its status, once it has one.
    fn status(&self) -> Option<&ChaosStatus>;

    /// How long it lasts; `None` until it is deleted, and for what is done once.
    fn duration(&self) -> Option<Duration>;

    /// Whether it is done once and leaves nothing to undo.
    fn is_one_shot(&self) -> bool {
        false
    }

    /// Everything that is wrong with its spec.
    fn problems(&self) -> Vec<Problem>;

    /// Why its action is not injected by this release, if it is not.
    fn unsupported(&self) -> Option<Problem> {
        None
    }

    /// The selectors of its spec.
    fn ends(&self) -> Vec<End<'_>>;

    /// Host names whose addresses the plan needs.
    fn host_names(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// Why this pod cannot be a target of this experiment, if it cannot; what rules out a pod for every
    /// experiment has been looked at before.
    fn exclusion(&self, pod: &Pod) -> Option<Exclusion>;

    /// What it acts on in a picked pod; `target` is the pod itself.
    fn parts(&self, pod: &Pod, target: InjectionTarget) -> Vec<InjectionTarget>;

    /// What each node is to do.
    ///
    /// # Errors
    /// What cannot be planned as it is written.
    fn plan(
        &self,
        chosen: &[Chosen],
        world: &World,
        hosts: &Hosts,
    ) -> Result<BTreeMap<String, NodePlan>, Vec<Problem>>;
}

impl dyn Experiment + '_ {
    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or_default()
    }

    /// Its UID; empty before an API server gave it one.
    pub fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }

    /// Whether it is being deleted.
    pub fn is_deleted(&self) -> bool {
        self.metadata().deletion_timestamp.is_some()
    }

    /// Whether its faults are to be away for now.
    pub fn is_paused(&self) -> bool {
        self.annotation(PAUSE_ANNOTATION) == Some("true")
    }

    /// Whether its time, its pause and its targets follow the rules of Chaos Mesh.
    pub fn is_as_in_chaos_mesh(&self) -> bool {
        self.annotation(SEMANTICS_ANNOTATION) == Some(CHAOS_MESH_SEMANTICS)
    }

    /// What [`SEMANTICS_ANNOTATION`] says if that is nothing known.
    pub fn unknown_semantics(&self) -> Option<&str> {
        self.annotation(SEMANTICS_ANNOTATION).filter(|text| *text != CHAOS_MESH_SEMANTICS)
    }

    /// Whether other pods take the place of targets that are gone. What is done once is not done again.
    pub fn follows(&self) -> bool {
        !self.is_one_shot() && !self.is_as_in_chaos_mesh()
    }

    /// The lease that it asks for.
    pub fn lease(&self) -> Duration {
        crate::api::effective_lease(self.annotation(LEASE_ANNOTATION))
    }

    /// As its Injections name it.
    pub fn reference(&self) -> ExperimentReference {
        ExperimentReference {
            kind: self.kind().to_owned(),
            namespace: self.namespace().to_owned(),
            name: self.metadata().name.clone().unwrap_or_default(),
            uid: self.uid().to_owned(),
        }
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata().annotations.as_ref()?.get(name).map(String::as_str)
    }
}
