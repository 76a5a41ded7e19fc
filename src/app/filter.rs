//! What is typed behind `/`: which rows of a list are shown.
//!
//! | typed | shown |
//! |---|---|
//! | `word` | rows that contain it, in any letter case |
//! | `!word` | rows that do not |
//! | `-l app=mongo,tier!=db` | rows whose labels are so, as for kubectl |
//! | `~srv` | rows that contain its letters in this order |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which rows are shown; all of them by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// As it was typed.
    pub text: String,
    test: Test,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Test {
    #[default]
    All,
    Contains(String),
    Lacks(String),
    Fuzzy(String),
    Labels(Vec<Requirement>),
}

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Requirement {
    key: String,
    /// `None`: that the label is there.
    value: Option<String>,
    /// The contrary is required.
    not: bool,
}

impl Filter {
    /// The filter that a text means. Every text means one: half-typed ones too.
    pub fn new(written: &str) -> Self {
        let typed = written.trim();
        let test = if typed.is_empty() {
            Test::All
        } else if let Some(labels) = typed.strip_prefix("-l") {
            Test::Labels(labels.split(',').filter_map(Requirement::new).collect())
        } else if let Some(word) = typed.strip_prefix('!') {
            if word.is_empty() { Test::All } else { Test::Lacks(word.to_lowercase()) }
        } else if let Some(letters) = typed.strip_prefix('~') {
            Test::Fuzzy(letters.to_lowercase())
        } else {
            Test::Contains(typed.to_lowercase())
        };
        Self { text: written.to_owned(), test }
    }

    /// Whether all rows are shown.
    pub fn is_empty(&self) -> bool {
        self.test == Test::All
    }

    /// Whether a row with these texts and labels is shown.
    pub fn shows(&self, texts: &[&str], labels: &BTreeMap<String, String>) -> bool {
        let any = |test: &dyn Fn(&str) -> bool| texts.iter().any(|text| test(text));
        match &self.test {
            Test::All => true,
            Test::Contains(word) => any(&|text| contains(text, word)),
            Test::Lacks(word) => !any(&|text| contains(text, word)),
            Test::Fuzzy(letters) => any(&|text| in_order(text, letters)),
            Test::Labels(all) => all.iter().all(|requirement| requirement.holds(labels)),
        }
    }

    /// The word that shown rows contain, to be marked in them.
    pub fn word(&self) -> Option<&str> {
        match &self.test {
            Test::Contains(word) => Some(word),
            _ => None,
        }
    }
}

impl Requirement {
    fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let (text, not) = text.strip_prefix('!').map_or((text, false), |rest| (rest, true));
        let parts = text.split_once("!=").map(|parts| (parts, true));
        let parts =
            parts.or_else(|| text.split_once("==").or_else(|| text.split_once('=')).map(|p| (p, false)));
        match parts {
            Some(((key, value), unequal)) => Some(Self {
                key: key.trim().to_owned(),
                value: Some(value.trim().to_owned()),
                not: not != unequal,
            }),
            None if text.is_empty() => None,
            None => Some(Self { key: text.to_owned(), value: None, not }),
        }
    }

    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let label = labels.get(&self.key);
        let holds = match &self.value {
            Some(value) => label == Some(value),
            None => label.is_some(),
        };
        holds != self.not
    }
}

/// Whether `text` contains `word`, which is in small letters; without a copy of texts in ASCII, which nearly all are.
fn contains(text: &str, word: &str) -> bool {
    if text.is_ascii() {
        word.is_empty()
            || text.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    } else {
        text.to_lowercase().contains(word)
    }
}

fn in_order(text: &str, letters: &str) -> bool {
    let mut rest = text.chars().flat_map(char::to_lowercase);
    letters.chars().all(|letter| rest.any(|other| other == letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let labels = BTreeMap::from([("app".to_owned(), "mongo".to_owned())]);
        let texts = ["Mongo-596c7bf7bd-tkwpx", "default", "machine3"];
        for (text, shown) in [
            ("", true),
            ("mongo", true),
            ("MACHINE", true),
            ("server", false),
            ("!server", true),
            ("!mongo", false),
            ("!", true),
            ("~mgtk", true),
            ("~tkm", false),
            ("-l app=mongo", true),
            ("-l app==mongo,app", true),
            ("-l app!=mongo", false),
            ("-l !tier", true),
            ("-l tier", false),
            ("-l ", true),
            ("-l app=mon", false),
            ("größe", false),
        ] {
            assert_eq!(Filter::new(text).shows(&texts, &labels), shown, "{text}");
        }
    }
}
