//! The screens: what each remembers, and what its keys do.

pub mod cluster;
pub mod errors;
pub mod experiments;
pub mod help;
pub mod pager;
pub mod run;
pub mod settings;
pub mod steady_state;
pub mod templates;

use serde::{Deserialize, Serialize};

use super::keymap::Scope;

/// A screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Screen {
    /// Nodes and pods.
    #[default]
    Cluster,
    /// All experiments.
    Experiments,
    /// Files to start from.
    Templates,
    /// What the application measures of itself.
    SteadyState,
    /// A text that is edited.
    Editor,
    /// One experiment in depth.
    Run,
    /// A text: YAML, a description, logs.
    Pager,
    /// Every key.
    Help,
    /// The user's choices.
    Settings,
    /// What went wrong.
    Errors,
}

impl Screen {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Cluster,
        Self::Experiments,
        Self::Templates,
        Self::SteadyState,
        Self::Editor,
        Self::Run,
        Self::Pager,
        Self::Help,
        Self::Settings,
        Self::Errors,
    ];

    /// Its name at the start of the header.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Experiments => "experiments",
            Self::Templates => "templates",
            Self::SteadyState => "steady state",
            Self::Editor => "editor",
            Self::Run => "experiment",
            Self::Pager => "text",
            Self::Help => "help",
            Self::Settings => "settings",
            Self::Errors => "errors",
        }
    }

    /// The scopes of its keys, the innermost first.
    pub const fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Cluster => &[Scope::Cluster, Scope::List, Scope::Global],
            Self::Experiments => &[Scope::Experiments, Scope::List, Scope::Global],
            Self::Templates => &[Scope::Templates, Scope::List, Scope::Global],
            Self::SteadyState => &[Scope::SteadyState, Scope::Global],
            // What its keys do changes: `State::scopes` knows what they do now.
            Self::Editor => &[Scope::Editor, Scope::Typing, Scope::Form, Scope::Global],
            Self::Run => &[Scope::Run, Scope::List, Scope::Global],
            Self::Pager => &[Scope::Pager, Scope::Global],
            Self::Help => &[Scope::Help, Scope::List, Scope::Global],
            Self::Settings => &[Scope::Settings, Scope::List, Scope::Global],
            Self::Errors => &[Scope::Errors, Scope::List, Scope::Global],
        }
    }
}

/// A part of a screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Pane {
    /// The nodes of the cluster.
    Nodes,
    /// Its pods.
    #[default]
    Pods,
    /// All experiments.
    Experiments,
    /// Files to start from.
    Templates,
    /// The text that is edited.
    Editor,
    /// The same as a form.
    Form,
    /// More about what is selected.
    Details,
    /// How an experiment stands.
    Summary,
    /// Its targets.
    Targets,
    /// What happened to it.
    Timeline,
    /// The panels of a dashboard.
    Panels,
    /// A text.
    Text,
    /// Keys.
    Help,
    /// Choices.
    Settings,
    /// What went wrong.
    Errors,
}
