//! The labels of a series: small, and cheap to copy and to compare.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// The label that holds the name of the metric.
pub const NAME: &str = "__name__";

/// The longest name or value of a label, in bytes: its length is kept as one character.
pub const MAX_TEXT: usize = 0xD000;

/// Pairs of name and value, sorted by name, no name twice, no value empty: an empty value and a label that is not
/// there are the same, as in Prometheus.
///
/// All of it is one text in one allocation, each part after a character whose code is the part's length: fifty pods
/// bring a hundred thousand of these.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<str>);

impl Labels {
    /// No labels.
    pub fn empty() -> Self {
        Self(Arc::from(""))
    }

    /// The pairs; of a name that is there twice the last value, of texts longer than [`MAX_TEXT`] nothing.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        // Stable: the last of a name stays the last.
        pairs.sort_by_key(|(name, _)| *name);
        let mut text =
            String::with_capacity(pairs.iter().map(|(name, value)| name.len() + value.len() + 2).sum());
        for (at, (name, value)) in pairs.iter().enumerate() {
            let last = pairs.get(at + 1).is_none_or(|(next, _)| next != name);
            if last && !value.is_empty() {
                push(&mut text, name, value);
            }
        }
        Self(text.into())
    }

    /// The pairs, sorted by name.
    pub fn iter(&self) -> Iter<'_> {
        Iter(&self.0)
    }

    /// The value of the label `name`; empty if it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.iter().find(|(have, _)| *have == name).map_or("", |(_, value)| value)
    }

    /// The name of the metric; empty if it has none.
    pub fn name(&self) -> &str {
        self.get(NAME)
    }

    /// The labels for whose names `keep` holds.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        if self.iter().all(|(name, _)| keep(name)) {
            return self.clone();
        }
        let mut text = String::with_capacity(self.0.len());
        for (name, value) in self.iter().filter(|(name, _)| keep(name)) {
            push(&mut text, name, value);
        }
        Self(text.into())
    }

    /// All but the name of the metric.
    #[must_use]
    pub fn without_name(&self) -> Self {
        self.filtered(|name| name != NAME)
    }

    /// The same with `name` set to `value`; without it where that is empty.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        Self::new(self.iter().chain([(name, value)]))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes they take, shared or not.
    pub(super) fn bytes(&self) -> usize {
        // Two counters are before the text.
        self.0.len() + 2 * size_of::<usize>()
    }
}

fn push(text: &mut String, name: &str, value: &str) {
    let length = |part: &str| {
        u32::try_from(part.len()).ok().filter(|_| part.len() <= MAX_TEXT).and_then(char::from_u32)
    };
    if let (Some(names), Some(values)) = (length(name), length(value)) {
        text.push(names);
        text.push_str(name);
        text.push(values);
        text.push_str(value);
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The pairs of [`Labels`].
#[derive(Clone, Debug)]
pub struct Iter<'a>(&'a str);

impl<'a> Iter<'a> {
    fn part(&mut self) -> Option<&'a str> {
        let mut chars = self.0.chars();
        let length = u32::from(chars.next()?) as usize;
        let (part, rest) = chars.as_str().split_at_checked(length)?;
        self.0 = rest;
        Some(part)
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.part()?, self.part()?))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As in Prometheus: `name{label="value"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        f.write_str(name)?;
        let mut separator = "{";
        for (label, value) in self.iter().filter(|(label, _)| *label != NAME) {
            write!(f, "{separator}{label}={value:?}")?;
            separator = ", ";
        }
        match (separator, name) {
            ("{", "") => f.write_str("{}"),
            ("{", _) => Ok(()),
            _ => f.write_str("}"),
        }
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_sorted_and_empty_values_are_none() {
        let labels =
            Labels::new([("b", "2"), (NAME, "up"), ("a", "old"), ("c", ""), ("a", "1"), ("ü", "ß\u{1}\"")]);
        let pairs: Vec<_> = labels.iter().collect();
        assert_eq!(pairs, [(NAME, "up"), ("a", "1"), ("b", "2"), ("ü", "ß\u{1}\"")]);
        assert_eq!((labels.get("b"), labels.get("c"), labels.name()), ("2", "", "up"));
        assert_eq!(labels.to_string(), "up{a=\"1\", b=\"2\", ü=\"ß\\u{1}\\\"\"}");
        assert_eq!(
            labels.without_name().with("a", "").with("d", "4").to_string(),
            "{b=\"2\", d=\"4\", ü=\"ß\\u{1}\\\"\"}"
        );
        assert_eq!(Labels::empty().to_string(), "{}");
        assert_eq!(Labels::new([(NAME, "up")]).to_string(), "up");
        assert_eq!(Labels::new([("a", "1"), ("b", "2")]), Labels::new([("b", "2"), ("a", "1")]));
    }

    #[test]
    fn long_texts_are_kept_whole_or_not_at_all() {
        for length in [0x7f, 0x80, 0x7ff, 0x800, MAX_TEXT] {
            let value = "x".repeat(length);
            assert_eq!(Labels::new([("a", value.as_str()), ("b", "1")]).get("a"), value);
        }
        let value = "x".repeat(MAX_TEXT + 1);
        assert_eq!(Labels::new([("a", value.as_str()), ("b", "1")]).to_string(), "{b=\"1\"}");
    }

    #[test]
    fn order_is_that_of_the_pairs() {
        let of = |value: &str| Labels::new([("a", value), ("b", "1")]);
        assert!(of("10") < of("9") && of("a") < of("aa") && Labels::empty() < of("1"));
    }
}
