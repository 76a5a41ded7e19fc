//! The kinds of experiments that the controller serves, and where each is kept. The one place to add a kind to.

use std::fmt::{self, Debug};
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use serde::de::DeserializeOwned;

use super::stores::{Key, Store, Stores};
use crate::api::{ExperimentReference, NetworkChaos, PodChaos};
use crate::experiment::kind::Experiment;

/// A kind of experiments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    NetworkChaos,
    PodChaos,
}

impl Kind {
    /// The word of Kubernetes for it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::NetworkChaos => "NetworkChaos",
            Self::PodChaos => "PodChaos",
        }
    }
}

/// Names one experiment, whichever object it is at the time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ExperimentKey {
    pub(super) kind: Kind,
    pub(super) key: Key,
}

impl ExperimentKey {
    /// The experiment that an Injection names; nothing if another release's controller made it.
    pub(super) fn of(reference: &ExperimentReference) -> Option<Self> {
        let kind =
            [Kind::NetworkChaos, Kind::PodChaos].into_iter().find(|kind| kind.word() == reference.kind)?;
        Some(Self { kind, key: (reference.namespace.clone(), reference.name.clone()) })
    }
}

impl fmt::Display for ExperimentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.word(), self.key.0, self.key.1)
    }
}

/// The type of a kind.
pub(super) trait Served:
    Experiment
    + Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + 'static
{
    const KIND: Kind;

    fn store(stores: &Stores) -> &Store<Self>;
}

impl Served for NetworkChaos {
    const KIND: Kind = Kind::NetworkChaos;

    fn store(stores: &Stores) -> &Store<Self> {
        &stores.networkchaos
    }
}

impl Served for PodChaos {
    const KIND: Kind = Kind::PodChaos;

    fn store(stores: &Stores) -> &Store<Self> {
        &stores.podchaos
    }
}

impl Stores {
    /// One experiment.
    pub(super) fn experiment(&self, experiment: &ExperimentKey) -> Option<Arc<dyn Experiment>> {
        fn of<K: Served>(stores: &Stores, key: &Key) -> Option<Arc<dyn Experiment>> {
            K::store(stores).get(key).map(|found| found as Arc<dyn Experiment>)
        }
        match experiment.kind {
            Kind::NetworkChaos => of::<NetworkChaos>(self, &experiment.key),
            Kind::PodChaos => of::<PodChaos>(self, &experiment.key),
        }
    }

    /// Every experiment there is, and every one that an Injection names.
    pub(super) fn experiments(&self) -> Vec<ExperimentKey> {
        fn of<K: Served>(stores: &Stores) -> impl Iterator<Item = ExperimentKey> {
            let keys = K::store(stores).keys().into_iter();
            keys.map(|key| ExperimentKey { kind: K::KIND, key })
        }
        let injections = self.injections.all().into_iter();
        let named = injections.filter_map(|injection| ExperimentKey::of(&injection.spec.experiment));
        of::<NetworkChaos>(self).chain(of::<PodChaos>(self)).chain(named).collect()
    }
}
