//! What the console asks the outside for. The loop does it in tasks of its own; answers come back as events.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::settings::Settings;
use crate::report::Right;
use crate::steady_state::board::Board;
use crate::steady_state::discovery::Endpoint;

/// Something to be done outside of the state.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Fetch something to show. A later load of the same slot takes its place.
    Load {
        /// What it is for.
        slot: Slot,
        /// Comes back with the answer: one that nobody waits for any more is recognised by it.
        ticket: u64,
        /// What to fetch.
        request: Request,
    },
    /// Nobody waits for this slot any more.
    Cancel(Slot),
    /// Change something in the cluster.
    Do(Deed),
    /// Ask the API server for these rights, and who we are.
    Review(Vec<Right>),
    /// Measure this from now on, instead of what was measured before; nothing without it.
    Measure(Option<Box<Measurement>>),
    /// Put a text into the clipboard.
    Copy(String),
    /// Take the mouse, or leave it to the terminal.
    TakeMouse(bool),
    /// Write the settings to the user's file.
    Save(Box<Settings>),
    /// Talk to another context of the kubeconfig.
    Connect(String),
    /// Begin every watch anew. Where not all namespaces may be listed, this one is.
    Watch(Option<String>),
    /// Write the recording to a file.
    Dump,
    /// Give the terminal back to the shell.
    Suspend,
    /// Forget what is on the screen and draw it whole.
    Redraw,
    /// End.
    Quit,
}

/// What is measured: the panels, and the pods that are asked.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// The panels.
    pub board: Arc<Board>,
    /// The pods.
    pub endpoints: Vec<Endpoint>,
}

impl PartialEq for Measurement {
    fn eq(&self, other: &Self) -> bool {
        self.board.dashboard() == other.board.dashboard() && self.endpoints == other.endpoints
    }
}

/// What a load is for; each slot waits for one answer at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Slot {
    /// The text that is open.
    Pager,
    /// The events of the experiment that is open.
    Timeline,
    /// The preview before a launch.
    Plan,
    /// What can be chosen.
    Choice,
    /// A file with a dashboard.
    Dashboard,
    /// The text that is edited: read, or saved.
    Editor,
    /// Whom the text that is edited would hit.
    Preview,
}

/// An object of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Its kind, such as `Pod`.
    pub kind: String,
    /// Its namespace, if it has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its UID: another object of the same name is not meant.
    pub uid: String,
}

impl ObjectRef {
    /// `Pod default/mongo-1`.
    pub fn label(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{} {namespace}/{}", self.kind, self.name),
            None => format!("{} {}", self.kind, self.name),
        }
    }
}

/// What to fetch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// The object as YAML.
    Yaml(ObjectRef),
    /// The object for people, with its events.
    Describe(ObjectRef),
    /// The object's events.
    Events(ObjectRef),
    /// What a container wrote, and goes on writing.
    Logs {
        /// The pod.
        pod: ObjectRef,
        /// The container; the first without one.
        container: Option<String>,
        /// Of the container before its last restart.
        previous: bool,
    },
    /// Whom an experiment would hit.
    Plan {
        /// The text of the file.
        text: String,
        /// The namespace of objects that name none.
        namespace: Option<String>,
    },
    /// A file of experiments, and whom it would hit.
    PlanFile {
        /// Its path.
        path: String,
        /// The namespace of objects that name none.
        namespace: Option<String>,
    },
    /// A file with a dashboard.
    Dashboard {
        /// Its path.
        path: String,
    },
    /// The contexts of the kubeconfig.
    Contexts,
    /// The experiment as somebody would have written it, to be edited.
    Manuscript(ObjectRef),
    /// A file, to be edited.
    ReadFile(String),
    /// Write a text into a file.
    WriteFile {
        /// The file's path.
        path: String,
        /// The text.
        text: String,
        /// What the file was like when it was read; nothing for one that must not be there yet.
        stamp: Option<String>,
    },
}

/// A change of the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Deed {
    /// Create or change the experiments of a file.
    Apply {
        /// The text of the file.
        text: String,
        /// The namespace of objects that name none.
        namespace: Option<String>,
    },
    /// Undo the fault, keep the remaining time.
    Pause(ObjectRef),
    /// Inject again for the remaining time.
    Resume(ObjectRef),
    /// Undo the fault and delete the experiment.
    Stop(ObjectRef),
    /// Change a running experiment.
    Patch {
        /// The experiment.
        object: ObjectRef,
        /// A merge patch (RFC 7396).
        patch: Value,
        /// What it changes, in words.
        what: String,
    },
    /// The emergency stop.
    Halt {
        /// Why, for whoever finds it.
        reason: String,
    },
    /// Take every Halt away.
    Release,
}

impl Deed {
    /// What it does, for the line that reports it.
    pub fn label(&self) -> String {
        match self {
            Self::Apply { .. } => "launch".to_owned(),
            Self::Pause(object) => format!("pause {}", object.label()),
            Self::Resume(object) => format!("resume {}", object.label()),
            Self::Stop(object) => format!("stop {}", object.label()),
            Self::Patch { object, what, .. } => format!("change {}: {what}", object.label()),
            Self::Halt { .. } => "emergency stop".to_owned(),
            Self::Release => "release".to_owned(),
        }
    }
}
