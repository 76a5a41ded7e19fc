//! The words for kinds: plural, singular and short names, and what the API calls them.

use kube::api::{Api, ApiResource, DynamicObject};
use kube::discovery::{Discovery, Scope};
use kube::{Client, ResourceExt};

use crate::api;

/// The group of everything that is an experiment.
const EXPERIMENTS: &str = "chaos-mesh.org";

/// A kind of objects.
#[derive(Clone, Debug)]
pub struct Kind {
    /// What the API calls it.
    pub resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

/// One row of the table of kinds with names of their own.
struct Known {
    plural: &'static str,
    short: &'static str,
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    namespaced: bool,
}

/// A built-in namespaced kind.
const fn known(plural: &'static str, short: &'static str, group: &'static str, kind: &'static str) -> Known {
    Known { plural, short, group, version: "v1", kind, namespaced: true }
}

/// Short names are kubectl's; `netchaos` and `inj` are ours. A kind without one repeats its plural.
const KNOWN: [Known; 14] = [
    known("pods", "po", "", "Pod"),
    Known { namespaced: false, ..known("nodes", "no", "", "Node") },
    known("services", "svc", "", "Service"),
    Known { namespaced: false, ..known("namespaces", "ns", "", "Namespace") },
    known("configmaps", "cm", "", "ConfigMap"),
    known("events", "ev", "events.k8s.io", "Event"),
    known("deployments", "deploy", "apps", "Deployment"),
    known("replicasets", "rs", "apps", "ReplicaSet"),
    known("leases", "leases", "coordination.k8s.io", "Lease"),
    known("endpointslices", "endpointslices", "discovery.k8s.io", "EndpointSlice"),
    Known { version: "v1alpha1", ..known("networkchaos", "netchaos", "chaos-mesh.org", "NetworkChaos") },
    Known { version: "v1alpha1", ..known("podchaos", "podchaos", "chaos-mesh.org", "PodChaos") },
    Known { version: "v1alpha1", ..known("injections", "inj", "squall.dev", "Injection") },
    Known { version: "v1alpha1", namespaced: false, ..known("halts", "halts", "squall.dev", "Halt") },
];

impl Kind {
    /// The kind that a word means; asks the API server for words that are not in our table. Nothing if it has none.
    pub async fn find(word: &str, client: &Client) -> Option<Self> {
        if let Some(kind) = Self::known(word) {
            return Some(kind);
        }
        // A server without discovery has nothing beside our table.
        let discovery = Discovery::new(client.clone()).run().await.ok()?;
        let (resource, capabilities) = discovery
            .groups_alphabetical()
            .into_iter()
            .flat_map(kube::discovery::ApiGroup::recommended_resources)
            .find(|(resource, _)| names(word, &resource.plural, &resource.kind, &resource.group))?;
        Some(Self { resource, namespaced: capabilities.scope == Scope::Namespaced })
    }

    /// The kind that a word means, if it is one of our table.
    pub fn known(word: &str) -> Option<Self> {
        let known = KNOWN.iter().find(|known| {
            known.short == word.to_ascii_lowercase() || names(word, known.plural, known.kind, known.group)
        })?;
        let Known { plural, group, version, kind, namespaced, .. } = *known;
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") },
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        Some(Self { resource, namespaced })
    }

    /// The plural words of our table.
    pub fn words() -> impl Iterator<Item = &'static str> {
        KNOWN.iter().map(|known| known.plural)
    }

    /// Every kind of experiment.
    pub fn experiments() -> impl Iterator<Item = Self> {
        let experiments = api::custom_kinds().iter().filter(|kind| kind.group == EXPERIMENTS);
        experiments.filter_map(|kind| Self::known(kind.kind))
    }

    /// Whether its objects are experiments.
    pub fn is_experiment(&self) -> bool {
        self.resource.group == EXPERIMENTS
    }

    /// Its API: of a namespace, or of all objects.
    pub fn api(&self, client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &self.resource),
            None => Api::all_with(client.clone(), &self.resource),
        }
    }

    /// `networkchaos.chaos-mesh.org/partition`, as kubectl names an object.
    pub fn named(&self, object: &DynamicObject) -> String {
        format!("{}/{}", self.singular(), object.name_any())
    }

    /// `networkchaos.chaos-mesh.org`: the word of this kind in kubectl's messages.
    pub fn singular(&self) -> String {
        let word = self.resource.kind.to_ascii_lowercase();
        if self.resource.group.is_empty() { word } else { format!("{word}.{}", self.resource.group) }
    }
}

/// Whether `word` is the plural or singular of a kind, alone or with its group behind a dot.
fn names(word: &str, plural: &str, kind: &str, group: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let (name, rest) = word.split_once('.').unwrap_or((&word, ""));
    (name == plural || name == kind.to_ascii_lowercase()) && (rest.is_empty() || rest == group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_experiment_has_a_word() {
        let experiments = api::custom_kinds().iter().filter(|kind| kind.group == EXPERIMENTS).count();
        assert_eq!(Kind::experiments().count(), experiments, "a kind is missing in the table of words");
    }

    #[test]
    fn words_of_kubectl() {
        for (word, plural) in [
            ("po", "pods"),
            ("pod", "pods"),
            ("Pods", "pods"),
            ("svc", "services"),
            ("deploy", "deployments"),
            ("deployments.apps", "deployments"),
            ("netchaos", "networkchaos"),
            ("NetworkChaos", "networkchaos"),
            ("networkchaos.chaos-mesh.org", "networkchaos"),
            ("ev", "events"),
        ] {
            assert_eq!(Kind::known(word).unwrap().resource.plural, plural, "{word}");
        }
        for word in ["", "pods.apps", "widgets", "podss"] {
            assert!(Kind::known(word).is_none(), "{word}");
        }
    }
}
