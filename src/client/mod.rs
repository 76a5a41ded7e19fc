//! The way to an API server: over a playground's socket, by a kubeconfig, or as a pod's service account.
//!
//! Transport, credentials, and what their errors mean in words that name the place and the cure. Which of these worlds is
//! meant is decided by the caller. No token, key or password goes into a message or a log.

mod certificate;
mod credentials;
mod failure;
mod in_cluster;
mod kubeconfig;
mod lean;
mod pauses;
mod plugin;
mod proxy;
mod retry;
mod socket;
pub(crate) mod tally;
mod transport;

pub use failure::TransportError;
pub use in_cluster::in_cluster;
pub use kubeconfig::{Acting, Contexts, Kubeconfig};
pub(crate) use lean::Lean;
pub(crate) use pauses::WatchPauses;
pub use plugin::PluginError;
pub use socket::{SocketError, over_unix};

use kube::runtime::watcher;

use crate::report::Trouble;
use credentials::Credentials;

/// An API server that can be asked.
pub struct Connection {
    /// A client of it. It connects with the first request.
    pub client: kube::Client,
    /// What the user calls it: `context lab (https://…)`.
    pub name: String,
    /// The namespace that the context names, if it names one.
    pub namespace: Option<String>,
    credentials: Credentials,
}

impl Connection {
    /// Gets credentials now, where a plugin has to be asked for them: it may use the terminal. Nothing else is tried.
    ///
    /// # Errors
    /// What became of the plugin.
    pub async fn log_in(&self) -> Result<(), Trouble> {
        self.credentials.issue().await.map(drop).map_err(|error| error.trouble("cannot log in"))
    }

    /// From now on no plugin may use the terminal: somebody else has it.
    pub fn leave_terminal(&self) {
        self.credentials.leave_terminal();
    }
}

/// Whether a watch cannot begin because the API server does not know the kind: its CRD is not installed. The answer
/// to an unknown path is plain text, so that only its code tells.
pub(crate) fn is_not_served(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404)
}

/// Whether a watch is refused for want of a right.
pub(crate) fn is_refused(error: &watcher::Error) -> bool {
    code(error) == Some(403)
}

/// Whether a watch was behind by more than the API server remembers: a new list is the answer, and nothing is wrong.
pub(crate) fn is_expired(error: &watcher::Error) -> bool {
    code(error) == Some(410)
}

fn code(error: &watcher::Error) -> Option<u16> {
    use watcher::Error as E;
    match error {
        E::InitialListFailed(kube::Error::Api(status))
        | E::WatchStartFailed(kube::Error::Api(status))
        | E::WatchFailed(kube::Error::Api(status))
        | E::WatchError(status) => Some(status.code),
        _ => None,
    }
}
