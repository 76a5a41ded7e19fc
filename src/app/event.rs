//! Everything that can happen to the console, in one order.

use serde::{Deserialize, Serialize};

use super::editor::Manuscript;
use super::effect::{Deed, ObjectRef, Slot};
use super::key::Key;
use super::notice::Severity;
use super::store::{Batch, Link, Topic};
use super::world::World;
use crate::report::Trouble;
use crate::report::plan::Report;
use crate::report::{Happening, Right};
use crate::steady_state::frame::Frame;

/// Something that happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// A key was pressed.
    Pressed(Key),
    /// A text was pasted.
    Pasted(String),
    /// A place was clicked.
    Clicked {
        /// Column, from 0.
        x: u16,
        /// Row, from 0.
        y: u16,
    },
    /// The wheel was turned.
    Scrolled {
        /// Column, from 0.
        x: u16,
        /// Row, from 0.
        y: u16,
        /// By so many rows; negative is up.
        rows: i16,
    },
    /// The terminal has another size.
    Resized {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// The time has come that the state was waiting for.
    Ticked,
    /// The cluster changed.
    Changed(Box<Batch>),
    /// It stands otherwise with a watch.
    Linked {
        /// What is watched.
        topic: Topic,
        /// How it stands with it.
        link: Link,
    },
    /// Something that was asked for is there, or cannot be had.
    Loaded {
        /// What it is for.
        slot: Slot,
        /// The number of the request.
        ticket: u64,
        /// What came.
        outcome: Result<Loaded, Trouble>,
    },
    /// A change of the cluster is made, or failed.
    Done {
        /// What was to be done.
        deed: Deed,
        /// What the API server made of it.
        outcome: Result<String, Trouble>,
    },
    /// The API server said what this user may do.
    Reviewed {
        /// Who that is, if it said so.
        who: Option<String>,
        /// What it said of each right; nothing where it did not answer.
        answers: Vec<(Right, Option<bool>)>,
    },
    /// The application was measured.
    Measured(Box<Frame>),
    /// The loop has something to say.
    Noted {
        /// How bad it is.
        severity: Severity,
        /// What it is.
        trouble: Trouble,
    },
    /// A text that an earlier console could not save.
    Recovered(Manuscript),
    /// The console talks to this world now.
    Connected(World),
}

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Loaded {
    /// A whole text.
    Text(String),
    /// More lines of a text that goes on.
    Lines(Vec<String>),
    /// A text that went on is over.
    End,
    /// The preview of a file.
    Plan {
        /// The file.
        text: String,
        /// One report for each experiment in it.
        reports: Vec<Report>,
    },
    /// A file with a dashboard.
    Dashboard {
        /// Its path.
        path: String,
        /// The file.
        text: String,
    },
    /// A text to be edited. It is recorded, since what is typed means nothing without it.
    Manuscript(Manuscript),
    /// What is edited is in this file.
    Saved {
        /// The file's path.
        path: String,
        /// What it is like now.
        stamp: String,
    },
    /// What happened to an experiment, oldest first.
    Timeline {
        /// The experiment.
        of: ObjectRef,
        /// Its events.
        happenings: Vec<Happening>,
    },
    /// What can be chosen, and what is chosen now.
    Choices {
        /// All there are.
        names: Vec<String>,
        /// The present one.
        current: Option<String>,
    },
}

impl Event {
    /// How much room it takes in a recording, counted in rows.
    pub fn weight(&self) -> usize {
        match self {
            Self::Changed(batch) => 1 + batch.len(),
            Self::Loaded { outcome: Ok(Loaded::Lines(lines)), .. } => 1 + lines.len() / 4,
            Self::Measured(frame) => {
                let lines = frame.panels.iter().filter_map(|panel| panel.lines.as_ref().ok());
                1 + lines.map(Vec::len).sum::<usize>()
            }
            Self::Pasted(text)
            | Self::Loaded {
                outcome: Ok(Loaded::Text(text) | Loaded::Manuscript(Manuscript { text, .. })),
                ..
            } => 1 + text.len() / 400,
            _ => 1,
        }
    }
}
