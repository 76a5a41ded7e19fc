//! Everything that a key can do. What each is called, which keys do it, and when, is in the [table](super::keymap).

use serde::{Deserialize, Serialize};

/// Makes the enum and the list of all of its variants from one list of names.
macro_rules! actions {
    ($($name:ident),* $(,)?) => {
        /// Something that the user can ask for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[expect(missing_docs, reason = "the table of bindings says what each does")]
        pub enum Action {
            $($name),*
        }

        impl Action {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

actions! {
    // Everywhere.
    Help,
    Command,
    Palette,
    Back,
    Quit,
    Cluster,
    Experiments,
    Templates,
    Editor,
    Errors,
    Settings,
    Halt,
    Release,
    Freeze,
    Refresh,
    Redraw,
    Suspend,
    ToggleMouse,
    Namespace,
    Context,
    // In lists.
    Down,
    Up,
    First,
    Last,
    HalfPageDown,
    HalfPageUp,
    PageDown,
    PageUp,
    Open,
    Filter,
    SortRight,
    SortLeft,
    SortInvert,
    NextPane,
    CopyName,
    // Of an object.
    Describe,
    Yaml,
    Logs,
    Events,
    // Of an experiment.
    Launch,
    Pause,
    Resume,
    Stop,
    TurnUp,
    TurnDown,
    // In a text.
    Search,
    SearchNext,
    SearchPrevious,
    Left,
    Right,
    Wrap,
    CopyText,
    Follow,
    Previous,
    Container,
    // On the steady state.
    SteadyState,
    Dashboard,
    Shorter,
    Longer,
    // In the editor.
    EditExperiment,
    Type,
    Rest,
    Form,
    Complete,
    Save,
    OpenFile,
    NextProblem,
    PreviousProblem,
    Undo,
    Redo,
    Mark,
    Cut,
    Paste,
    RemoveField,
    // In a popup.
    Confirm,
    Cancel,
}

impl Action {
    /// Its name in configuration and documents, such as `half-page-down`.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            // A variant without fields is written as a string.
            _ => format!("{self:?}"),
        }
    }

    /// The action of that name.
    pub fn named(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }
}
