//! What a dashboard shows at one moment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The values of all panels at one moment, and how the pods answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Frame {
    /// The moment, on the console's clock.
    pub at: Timestamp,
    /// One for each panel of the dashboard, in its order.
    pub panels: Vec<PanelFrame>,
    /// The pods that were asked.
    pub targets: Vec<Target>,
}

/// What one panel shows at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PanelFrame {
    /// Its lines, or why they cannot be worked out.
    pub lines: Result<Vec<Line>, String>,
    /// How many lines there are beside these: nobody tells more apart.
    #[serde(default)]
    pub omitted: usize,
    /// What is to be known of it: what it needs and nobody tells, or what began anew.
    #[serde(default)]
    pub note: Option<String>,
}

/// One line of a panel at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The number of the query in its panel.
    pub query: usize,
    /// Its labels: with `query` they tell which line it is.
    pub labels: BTreeMap<String, String>,
    /// Its name.
    pub name: String,
    /// Its value. Not a number is a value too: nothing was counted.
    #[serde(with = "number")]
    pub value: f64,
}

/// A pod that is asked for its metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// `namespace/pod`.
    pub pod: String,
    /// How many samples its last answer held, or why there was none, with what cures it.
    pub answer: Result<usize, String>,
    /// What is wrong with an answer of which the rest was read.
    #[serde(default)]
    pub complaint: Option<String>,
}

/// Numbers that JSON has no word for are written as text.
mod number {
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { serializer.serialize_f64(*value) } else { serializer.collect_str(value) }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Number {
            Finite(f64),
            Text(String),
        }
        match Number::deserialize(deserializer)? {
            Number::Finite(value) => Ok(value),
            Number::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}
