//! The words for kinds: plural, singular and short names, and what the API calls them.

use kube::api::{Api, ApiResource, DynamicObject};
use kube::discovery::{Discovery, Scope};
use kube::{Client, ResourceExt};

use super::exit::{Failure, Result};

/// A kind of objects.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    /// What the API calls it.
    pub(crate) resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub(crate) namespaced: bool,
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
const KNOWN: [Known; 13] = [
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
    Known { version: "v1alpha1", ..known("injections", "inj", "squall.dev", "Injection") },
    Known { version: "v1alpha1", namespaced: false, ..known("halts", "halts", "squall.dev", "Halt") },
];

impl Kind {
    /// The kind that a word on the command line means; asks the API server for words that are not in our table.
    pub(crate) async fn find(word: &str, client: &Client) -> Result<Self> {
        if let Some(kind) = Self::known(word) {
            return Ok(kind);
        }
        let unknown = || {
            let words: Vec<_> = KNOWN.iter().map(|known| known.plural).collect();
            Failure::bad_input(format!("the API server has no resource \"{word}\""))
                .cure(format!("use one of {}, or any other that it serves", words.join(", ")))
        };
        // A server without discovery has nothing beside our table.
        let discovery = Discovery::new(client.clone()).run().await.map_err(|_no_discovery| unknown())?;
        let found = discovery
            .groups_alphabetical()
            .into_iter()
            .flat_map(kube::discovery::ApiGroup::recommended_resources)
            .find(|(resource, _)| names(word, &resource.plural, &resource.kind, &resource.group));
        let (resource, capabilities) = found.ok_or_else(unknown)?;
        Ok(Self { resource, namespaced: capabilities.scope == Scope::Namespaced })
    }

    /// The kind that a word means, if it is one of our table.
    pub(crate) fn known(word: &str) -> Option<Self> {
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

    /// Its API: of a namespace, or of all objects.
    pub(crate) fn api(&self, client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &self.resource),
            None => Api::all_with(client.clone(), &self.resource),
        }
    }

    /// `networkchaos.chaos-mesh.org/partition`, as kubectl names an object.
    pub(crate) fn named(&self, object: &DynamicObject) -> String {
        format!("{}/{}", self.singular(), object.name_any())
    }

    /// `networkchaos.chaos-mesh.org`: the word of this kind in kubectl's messages.
    pub(crate) fn singular(&self) -> String {
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
    use super::Kind;

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
