//! Which paths are asked for, and how often.

use std::str::FromStr;

use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;

/// The tutorial's client: five paths, each as likely as the others.
pub(crate) const DEFAULT: &str = "/=1,/message1=1,/message2=1,/message3=1,/movies=1";

/// The most paths in a mix: each one is a set of series and a buffer of samples.
const MAX_PATHS: usize = 100;

/// Why a mix was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MixError {
    /// No `PATH=WEIGHT`.
    #[error("'{0}' is not PATH=WEIGHT: write for example /=1,/movies=3")]
    Syntax(String),
    /// A path that cannot stand in a request line.
    #[error("'{0}' is not a path: it must start with / and hold no spaces, control or non-ASCII characters")]
    Path(String),
    /// The same path twice.
    #[error("the path '{0}' occurs twice: add up its weights")]
    Twice(String),
    /// Nothing can be chosen.
    #[error("all weights are 0: give at least one path a weight above 0")]
    NoWeight,
    /// More than this program keeps samples for.
    #[error("more than {MAX_PATHS} paths: leave some out")]
    TooMany,
}

/// A random choice among paths, by weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    paths: Vec<String>,
    index: WeightedIndex<u32>,
}

impl Mix {
    /// The paths in the order they were given.
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// Picks the path of the next request.
    pub(crate) fn pick(&self) -> &str {
        let chosen = self.index.sample(&mut rand::rng());
        self.paths.get(chosen).map_or("/", String::as_str)
    }
}

impl FromStr for Mix {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Self, MixError> {
        let mut paths: Vec<String> = Vec::new();
        let mut weights = Vec::new();
        for item in text.split(',').map(str::trim) {
            let syntax = || MixError::Syntax(item.to_owned());
            // From the right: a query string may hold equals signs.
            let (path, weight) = item.rsplit_once('=').ok_or_else(syntax)?;
            let weight: u16 = weight.parse().map_err(|_not_a_number| syntax())?;
            if !path.starts_with('/') || !path.chars().all(|c| c.is_ascii_graphic()) {
                return Err(MixError::Path(path.to_owned()));
            }
            if paths.iter().any(|known| known == path) {
                return Err(MixError::Twice(path.to_owned()));
            }
            paths.push(path.to_owned());
            weights.push(u32::from(weight));
        }
        if paths.len() > MAX_PATHS {
            return Err(MixError::TooMany);
        }
        let index = WeightedIndex::new(weights).map_err(|_no_weight| MixError::NoWeight)?;
        Ok(Self { paths, index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_with_the_reason() {
        let cases = [
            ("", MixError::Syntax(String::new())),
            ("/movies", MixError::Syntax("/movies".into())),
            ("/=many", MixError::Syntax("/=many".into())),
            ("/=-1", MixError::Syntax("/=-1".into())),
            ("movies=1", MixError::Path("movies".into())),
            ("/a b=1", MixError::Path("/a b".into())),
            ("/=1,/=2", MixError::Twice("/".into())),
            ("/=0,/movies=0", MixError::NoWeight),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Mix>(), Err(error), "{text}");
        }
    }

    #[test]
    fn picks_by_weight() {
        let mix: Mix = "/=0, /movies=3,/movies?page=2=1".parse().unwrap();
        assert_eq!(mix.paths(), ["/", "/movies", "/movies?page=2"]);
        let picks: Vec<&str> = (0..4000).map(|_| mix.pick()).collect();
        let count = |path| picks.iter().filter(|pick| **pick == path).count();
        assert_eq!(count("/"), 0);
        // 3000 expected, standard deviation 27: ten of them on either side.
        assert!((2730..=3270).contains(&count("/movies")), "{}", count("/movies"));
    }
}
