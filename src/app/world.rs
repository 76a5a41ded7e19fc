//! Which cluster the console talks to, and what it may do there.

use serde::{Deserialize, Serialize};

/// The cluster behind the console.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct World {
    /// What the user calls it: `playground default`, `context prod`.
    pub name: String,
    /// The namespace that is shown first; all of them without one.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Whether it ends with the console.
    pub ends_with_console: bool,
    /// Whether the kubeconfig has other contexts to choose.
    pub has_contexts: bool,
}
