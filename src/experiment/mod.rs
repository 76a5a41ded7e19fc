//! The life of an experiment, as computation: what is selected, what each node is to do, what comes
//! next, and what to say about it.
//!
//! Pure: objects and the time come in, actions go out. No clock, no client, no file: the controller
//! feeds it, and so do the preview and the tests.

mod clock;
pub mod follow;
pub mod kind;
pub mod lifecycle;
mod network;
pub mod peers;
pub mod plan;
pub mod pod_faults;
mod pods;
pub mod selection;
pub mod status;
pub mod wanted;
pub mod world;

#[cfg(test)]
mod fixtures;

use crate::api::PROTECTED_NAMESPACES;

/// How far an experiment may reach; options of the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most targets, both ends together, that one experiment may have.
    pub targets: usize,
    /// Namespaces whose pods are never targets.
    pub protected_namespaces: Vec<String>,
}

/// Most targets of an experiment where nothing else is said: as many as its status lists one by one.
pub const DEFAULT_TARGETS: usize = crate::api::MAX_RECORDS;

impl Default for Limits {
    fn default() -> Self {
        Self {
            targets: DEFAULT_TARGETS,
            protected_namespaces: PROTECTED_NAMESPACES.map(str::to_owned).into(),
        }
    }
}
