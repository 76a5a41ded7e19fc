//! What a query says about the labels of the series that it wants.

use std::fmt;

use regex::Regex;

use super::labels::{Labels, NAME};
use super::pattern;

/// One condition.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Is(String),
    IsNot(String),
    Matches(String, Regex),
    MatchesNot(String, Regex),
}

impl Matcher {
    /// `name="value"`.
    pub fn is(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), test: Test::Is(value.to_owned()) }
    }

    /// `name!="value"`.
    pub fn is_not(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), test: Test::IsNot(value.to_owned()) }
    }

    /// `name=~"pattern"`; fails with the reason if the pattern cannot be had.
    pub fn matches(name: &str, pattern: &str) -> Result<Self, String> {
        Ok(Self {
            name: name.to_owned(),
            test: Test::Matches(pattern.to_owned(), pattern::compile(pattern)?),
        })
    }

    /// `name!~"pattern"`; fails with the reason if the pattern cannot be had.
    pub fn matches_not(name: &str, pattern: &str) -> Result<Self, String> {
        Ok(Self {
            name: name.to_owned(),
            test: Test::MatchesNot(pattern.to_owned(), pattern::compile(pattern)?),
        })
    }

    fn accepts(&self, value: &str) -> bool {
        match &self.test {
            Test::Is(wanted) => value == wanted,
            Test::IsNot(unwanted) => value != unwanted,
            Test::Matches(_, regex) => regex.is_match(value),
            Test::MatchesNot(_, regex) => !regex.is_match(value),
        }
    }
}

/// All conditions of one selector.
#[derive(Clone, Debug)]
pub struct Selector {
    /// The name of the metric, where it must be one.
    name: Option<String>,
    matchers: Vec<Matcher>,
}

impl Selector {
    /// Series with the name of metric `name`, where there is one, and all that is said of their labels.
    pub fn new(name: Option<String>, mut matchers: Vec<Matcher>) -> Self {
        let is_name = |matcher: &Matcher| match &matcher.test {
            Test::Is(value) if matcher.name == NAME => Some(value.clone()),
            _ => None,
        };
        let name = name.or_else(|| {
            let at = matchers.iter().position(|matcher| is_name(matcher).is_some())?;
            is_name(&matchers.remove(at))
        });
        Self { name, matchers }
    }

    /// The name of the metric, where it must be one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether a series of this metric can be meant.
    pub fn wants(&self, metric: &str) -> bool {
        self.name.as_deref().is_none_or(|name| name == metric)
            && self
                .matchers
                .iter()
                .filter(|matcher| matcher.name == NAME)
                .all(|matcher| matcher.accepts(metric))
    }

    /// Whether it is meant.
    pub fn accepts(&self, labels: &Labels) -> bool {
        self.name.as_deref().is_none_or(|name| labels.name() == name)
            && self.matchers.iter().all(|matcher| matcher.accepts(labels.get(&matcher.name)))
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, value) = match &self.test {
            Test::Is(value) => ("=", value),
            Test::IsNot(value) => ("!=", value),
            Test::Matches(pattern, _) => ("=~", pattern),
            Test::MatchesNot(pattern, _) => ("!~", pattern),
        };
        write!(f, "{}{sign}{value:?}", self.name)
    }
}

/// As in an expression: `name{label="value"}`.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_deref().unwrap_or_default())?;
        for (at, matcher) in self.matchers.iter().enumerate() {
            write!(f, "{}{matcher}", if at == 0 { "{" } else { ", " })?;
        }
        f.write_str(if self.matchers.is_empty() { "" } else { "}" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_is_not_there_is_empty() {
        let labels = Labels::new([(NAME, "up"), ("a", "1")]);
        for (matcher, accepted) in [
            (Matcher::is("a", "1"), true),
            (Matcher::is("b", ""), true),
            (Matcher::is_not("b", ""), false),
            (Matcher::is_not("a", "2"), true),
            (Matcher::matches("a", "[12]").unwrap(), true),
            (Matcher::matches("b", ".+").unwrap(), false),
            (Matcher::matches("b", ".*").unwrap(), true),
            (Matcher::matches_not("a", "[12]").unwrap(), false),
            (Matcher::is(NAME, "up"), true),
            (Matcher::is(NAME, "down"), false),
        ] {
            let text = format!("{matcher:?}");
            assert_eq!(Selector::new(None, vec![matcher.clone()]).accepts(&labels), accepted, "{text}");
            assert_eq!(Selector::new(Some("up".into()), vec![matcher]).accepts(&labels), accepted, "{text}");
            assert!(!Selector::new(Some("down".into()), vec![]).accepts(&labels));
        }
    }

    #[test]
    fn wants_by_the_name_alone() {
        let named = Selector::new(None, vec![Matcher::is("a", "1"), Matcher::is(NAME, "up")]);
        assert_eq!(named.name(), Some("up"));
        assert!(named.wants("up") && !named.wants("upper"));
        let any = Selector::new(None, vec![Matcher::matches(NAME, "a|b").unwrap(), Matcher::is("a", "1")]);
        assert_eq!(any.to_string(), "{__name__=~\"a|b\", a=\"1\"}");
        assert_eq!(
            (named.to_string(), Selector::new(Some("x".into()), vec![]).to_string()),
            ("up{a=\"1\"}".into(), "x".into())
        );
        assert!(any.wants("a") && any.wants("b") && !any.wants("c"));
    }
}
