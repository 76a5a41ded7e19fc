//! What an installation consists of: every object that is applied to a cluster, made from a few options.
//!
//! Pure: the same options make the same objects, so that `squall install`, the files of `deploy/` and the tests of the
//! admission policies speak of one thing. How they are applied and taken away is in `crate::operations::installation`.

mod accounts;
mod authors;
mod flows;
mod part;
mod pods;
mod policies;
mod workloads;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::ObjectMeta;

use crate::api::{PART_OF_LABEL, PROTECTED_NAMESPACES, SYSTEM_NAMESPACE, custom_kinds};
pub use part::Part;

/// Name of the controller's Deployment, service account and roles, and of its budget of disruptions.
pub const CONTROLLER: &str = "squall-controller";

/// Name of the `DaemonSet`, and of the daemons' service account and roles.
pub const DAEMON: &str = "squall-daemon";

/// The right to create and release Halts, for who carries the pager.
pub const ADMIN: &str = "squall-admin";

/// The value of [`PART_OF_LABEL`].
pub const PART_OF: &str = "squall";

/// How the API server calls the controller's service account.
pub const CONTROLLER_USER: &str = "system:serviceaccount:squall-system:squall-controller";

/// How the API server calls the daemons' service account.
pub const DAEMON_USER: &str = "system:serviceaccount:squall-system:squall-daemon";

/// Name of the priority class.
const PRIORITY: &str = "squall";

/// Above what users run, below what the cluster itself needs: who is evicted first must not be who undoes faults.
const PRIORITY_VALUE: i32 = 900_000_000;

/// The image where none is named: one of this release that every node has, or a registry of the cluster's provides.
pub const DEFAULT_IMAGE: &str = concat!("squall:", env!("CARGO_PKG_VERSION"));

/// What can be chosen about an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The image of controller and daemons, which failed pods run as well.
    pub image: String,
    /// `imagePullPolicy` of controller and daemons.
    pub pull_policy: String,
    /// Namespaces whose pods are never targets, and that no experiment may name.
    pub protected: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            image: DEFAULT_IMAGE.to_owned(),
            pull_policy: "IfNotPresent".to_owned(),
            protected: PROTECTED_NAMESPACES.map(str::to_owned).into(),
        }
    }
}

/// The CRDs.
pub fn definitions() -> Vec<Part> {
    custom_kinds().iter().map(|kind| Part::of(kind.definition())).collect()
}

/// The namespace, and the priority of what runs in it.
pub fn surroundings() -> Vec<Part> {
    let mut meta = meta(SYSTEM_NAMESPACE);
    // The daemon shares the host's processes and mounts its folders; a cluster that enforces a stricter level would take none.
    for mode in ["enforce", "audit", "warn"] {
        let label = format!("pod-security.kubernetes.io/{mode}");
        meta.labels.get_or_insert_default().insert(label, "privileged".to_owned());
    }
    let priority = PriorityClass {
        metadata: self::meta(PRIORITY),
        value: PRIORITY_VALUE,
        description: Some("Squall: what undoes faults outlives what it may have hurt.".to_owned()),
        ..PriorityClass::default()
    };
    vec![Part::of(&Namespace { metadata: meta, ..Namespace::default() }), Part::of(&priority)]
}

pub use accounts::accounts;
pub use flows::{FLOW_CONTROL, LEVEL, flows};
pub use policies::policies;
pub use workloads::workloads;

/// Everything, in the order in which it is applied: each part finds there what it needs, and the policies are in force
/// before anything runs that they are about.
pub fn everything(options: &Options) -> Vec<Part> {
    [definitions(), surroundings(), flows(), accounts(), policies(options), workloads(options)].concat()
}

fn labels() -> BTreeMap<String, String> {
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    [label(PART_OF_LABEL, PART_OF), label("app.kubernetes.io/managed-by", PART_OF)].into()
}

/// The metadata of something that has no namespace.
fn meta(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), labels: Some(labels()), ..ObjectMeta::default() }
}

/// The metadata of something in our namespace.
fn meta_in_system(name: &str) -> ObjectMeta {
    ObjectMeta { namespace: Some(SYSTEM_NAMESPACE.to_owned()), ..meta(name) }
}

/// Owned texts.
fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests;
