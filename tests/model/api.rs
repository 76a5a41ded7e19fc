//! The two tables of the API server that matter here, with its semantics: generations, deletion that
//! waits for finalizers, refusal of names that are taken, a version for every change.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt};
use squall::api::{
    Halt, HaltSpec, Injection, InjectionSpec, InjectionStatus, NetworkChaos, NetworkChaosSpec,
    RECORDS_FINALIZER, RECOVERED_FINALIZER,
};
use squall::experiment::lifecycle::Action;
use squall::experiment::wanted::HaltScope;

/// The namespace of the experiments and their pods.
pub(crate) const NAMESPACE: &str = "default";

/// What the API server holds.
#[derive(Debug, Default)]
pub(crate) struct Api {
    pub(crate) experiments: BTreeMap<String, NetworkChaos>,
    pub(crate) injections: BTreeMap<String, Arc<Injection>>,
    pub(crate) halts: Vec<Arc<Halt>>,
    /// Grows with each change of anything.
    pub(crate) version: u64,
    made: u64,
}

impl Api {
    fn stamp(&mut self, meta: &mut ObjectMeta) {
        self.version += 1;
        meta.resource_version = Some(self.version.to_string());
    }

    /// A name and a UID for something new; the first eight characters of the UID are enough to know it.
    pub(crate) fn uid(&mut self) -> String {
        self.made += 1;
        format!("{:08x}-0000-4000-8000-000000000000", self.made)
    }

    /// Somebody makes a Halt of these namespaces, or takes the one away that is there.
    pub(crate) fn set_halt(&mut self, namespaces: Option<Vec<String>>) {
        self.version += 1;
        let spec = |namespaces| HaltSpec { namespaces, reason: None };
        self.halts = namespaces.map(|names| Arc::new(Halt::new("stop", spec(names)))).into_iter().collect();
    }

    /// What the Halts cover.
    pub(crate) fn scopes(&self) -> Vec<HaltScope> {
        self.halts.iter().map(|halt| HaltScope::from(&halt.spec)).collect()
    }

    /// A user creates an experiment; false if the name is taken.
    pub(crate) fn create(&mut self, mut chaos: NetworkChaos) -> bool {
        let name = chaos.name_any();
        if self.experiments.contains_key(&name) {
            return false;
        }
        chaos.metadata.uid = Some(self.uid());
        chaos.metadata.generation = Some(1);
        chaos.metadata.namespace = Some(NAMESPACE.to_owned());
        self.stamp(&mut chaos.metadata);
        self.experiments.insert(name, chaos);
        true
    }

    /// A user changes an experiment; false if there is none.
    pub(crate) fn edit(&mut self, name: &str, change: impl FnOnce(&mut NetworkChaos)) -> bool {
        let Some(mut chaos) = self.experiments.remove(name) else { return false };
        let before: NetworkChaosSpec = chaos.spec.clone();
        change(&mut chaos);
        if chaos.spec != before {
            raise(&mut chaos.metadata);
        }
        self.stamp(&mut chaos.metadata);
        if !is_gone(&chaos) {
            self.experiments.insert(name.to_owned(), chaos);
        }
        true
    }

    /// A user deletes an experiment.
    pub(crate) fn delete(&mut self, name: &str, now: Timestamp) {
        self.edit(name, |chaos| mark_deleted(&mut chaos.metadata, now));
    }

    fn edit_injection(&mut self, name: &str, change: impl FnOnce(&mut Injection)) -> bool {
        let Some(stored) = self.injections.remove(name) else { return false };
        let mut injection = Arc::unwrap_or_clone(stored);
        change(&mut injection);
        self.stamp(&mut injection.metadata);
        if !is_gone(&injection) {
            self.injections.insert(name.to_owned(), Arc::new(injection));
        }
        true
    }

    /// A daemon writes a status. It names the object only; one that is gone takes nothing.
    pub(crate) fn report(&mut self, name: &str, status: InjectionStatus) {
        self.edit_injection(name, |injection| injection.status = Some(status));
    }

    /// The controller does something; false if the objects are not as it believed.
    pub(crate) fn carry_out(&mut self, name: &str, action: Action, now: Timestamp) -> Result<bool, String> {
        Ok(match action {
            Action::AddFinalizer => self.edit(name, |chaos| {
                chaos.finalizers_mut().push(RECORDS_FINALIZER.to_owned());
            }),
            Action::RemoveFinalizer => {
                if let Some(left) = self.injections.values().find(|i| i.spec.experiment.name == name) {
                    return Err(format!("{name} is let go while {} is left", left.name_any()));
                }
                self.edit(name, |chaos| chaos.finalizers_mut().retain(|held| held != RECORDS_FINALIZER))
            }
            Action::PatchStatus(status) => self.edit(name, |chaos| chaos.status = Some(*status)),
            Action::Emit(_) => true,
            Action::CreateInjection(injection) => self.create_injection(name, *injection)?,
            Action::UpdateInjection(name, spec) => self.edit_injection(&name, |injection| {
                if injection.spec != *spec {
                    raise(&mut injection.metadata);
                }
                injection.spec = *spec;
            }),
            Action::DeleteInjection(name) => {
                self.edit_injection(&name, |injection| mark_deleted(&mut injection.metadata, now))
            }
            Action::ReleaseInjection(name) => self.edit_injection(&name, |injection| {
                injection.finalizers_mut().retain(|held| held != RECOVERED_FINALIZER);
            }),
        })
    }

    fn create_injection(&mut self, experiment: &str, mut injection: Injection) -> Result<bool, String> {
        let name = injection.name_any();
        let held = self.experiments.get(experiment);
        if held.is_none_or(|chaos| !chaos.finalizers().iter().any(|held| held == RECORDS_FINALIZER)) {
            return Err(format!("{name} is made for an experiment that nothing holds"));
        }
        if self.injections.contains_key(&name) {
            return Ok(false);
        }
        injection.metadata.uid = Some(self.uid());
        injection.metadata.generation = Some(1);
        self.stamp(&mut injection.metadata);
        self.injections.insert(name, Arc::new(injection));
        Ok(true)
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, chaos) in &self.experiments {
            let status = chaos.status.as_ref().map(|status| &status.experiment);
            let (deleting, duration) = (is_deleting(chaos), &chaos.spec.duration);
            write!(f, "\n  {name}: deleting {deleting}, duration {duration:?}, {:?}", chaos.annotations())?;
            write!(f, ", {:?}, ended {:?}", status.map(|s| s.desired_phase), status.map(|s| &s.ended))?;
            write!(f, ", {:?}, {:?}", status.map(|s| &s.following), status.map(|s| &s.clock))?;
        }
        for (name, injection) in &self.injections {
            let (deleting, spec) = (is_deleting(&**injection), &injection.spec);
            let InjectionSpec { node, run, paused, used, remaining, lease, .. } = spec;
            let of = &spec.experiment.name;
            write!(f, "\n  {name} of {of} on {node}: deleting {deleting}, run {run}, paused {paused}, ")?;
            write!(
                f,
                "used {used:?}, remaining {remaining:?}, lease {lease}, generation {:?}",
                injection.metadata.generation
            )?;
            if let Some(status) = &injection.status {
                let phases: Vec<_> = status.targets.iter().map(|target| target.phase).collect();
                let InjectionStatus { observed_generation, observed_run, wanted, elapsed, .. } = status;
                write!(f, "; observed {observed_generation} run {observed_run}, {wanted:?}, ")?;
                write!(f, "elapsed {elapsed:?}, ended {:?}, {phases:?}", status.ended)?;
            }
        }
        Ok(())
    }
}

fn raise(meta: &mut ObjectMeta) {
    meta.generation = meta.generation.map(|generation| generation + 1);
}

fn mark_deleted(meta: &mut ObjectMeta, now: Timestamp) {
    if meta.deletion_timestamp.is_none() {
        meta.deletion_timestamp = Some(Time(now));
        raise(meta);
    }
}

fn is_gone<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some() && object.finalizers().is_empty()
}

/// Whether it is being deleted.
pub(crate) fn is_deleting<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}
