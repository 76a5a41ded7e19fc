//! What lies over a screen and wants an answer first.

use serde::{Deserialize, Serialize};

use super::effect::Deed;
use super::input::Input;
use crate::report::Trouble;

/// What lies over the screen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Popup {
    /// An answer is being waited for.
    Waiting(String),
    /// Is this to be done?
    Confirm(Box<Confirm>),
    /// Something failed.
    Failed {
        /// What was to be done.
        title: String,
        /// What came of it.
        trouble: Trouble,
        /// Further lines: problems by place, each with its cure.
        lines: Vec<Line>,
        /// The first visible line.
        offset: usize,
    },
    /// Which one?
    Choose(Choose),
}

/// What a line of a popup is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Tone {
    /// Plain.
    #[default]
    Plain,
    /// A heading.
    Heading,
    /// Less important.
    Dim,
    /// To be careful about.
    Warning,
    /// What is wrong, or harms.
    Danger,
    /// What is expected or cures.
    Good,
}

/// A line of a popup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What it is about.
    pub tone: Tone,
    /// The text.
    pub text: String,
}

impl Line {
    /// A line.
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { tone, text: text.into() }
    }
}

/// A question before something is done that can harm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confirm {
    /// What is to be done.
    pub title: String,
    /// How many targets it concerns; every question says so.
    pub targets: usize,
    /// Whom it concerns and what to expect.
    pub lines: Vec<Line>,
    /// The first visible line.
    pub offset: usize,
    /// What is done on yes.
    pub deed: Deed,
    /// What must be typed before yes counts, where many are hit.
    pub typed: Option<Typed>,
    /// Which fault is being turned up or down, and by how many steps.
    pub turning: Option<Turning>,
}

/// A word that must be typed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Typed {
    /// The word.
    pub word: String,
    /// What was typed so far.
    pub input: Input,
}

/// A fault that is being turned up or down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turning {
    /// The UID of the experiment.
    pub uid: String,
    /// By how many steps; negative is down.
    pub steps: i32,
}

/// What a choice is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// The namespace whose objects are shown.
    Namespace,
    /// The context of the kubeconfig.
    Context,
    /// The dashboard that is shown.
    Dashboard,
    /// The container whose logs are shown.
    Container,
    /// Whether the text in the editor may go.
    Discard,
    /// The value of a field.
    Field,
}

/// A choice among names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Choose {
    /// What it is for.
    pub purpose: Purpose,
    /// What is asked.
    pub title: String,
    /// The names.
    pub names: Vec<String>,
    /// Which one is selected.
    pub index: usize,
}
