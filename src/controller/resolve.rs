//! Host names of `externalTargets`, resolved and kept fresh.
//!
//! Asked before each step; answers from memory while they are young. A name that stops resolving keeps
//! its last addresses: a fault does not change because a name server is away, least of all when the
//! fault is what keeps it away.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::experiment::peers::Hosts;

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(30);

/// How soon a name that did not resolve is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// How long one lookup may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a name that nobody asks for is remembered.
const MEMORY: Duration = Duration::from_mins(10);

struct Answer {
    addresses: Vec<IpAddr>,
    again: Instant,
    asked: Instant,
}

/// Addresses of host names.
#[derive(Default)]
pub(super) struct Resolver(Mutex<HashMap<String, Answer>>);

impl Resolver {
    /// The addresses of these names; those that do not resolve are left out.
    pub(super) async fn resolve(&self, names: BTreeSet<String>) -> Hosts {
        let now = Instant::now();
        let stale = names.iter().filter(|name| !self.is_fresh(name, now)).cloned();
        let lookups = stale.map(|name| async {
            let addresses = lookup(&name).await;
            (name, addresses)
        });
        for (name, addresses) in futures::future::join_all(lookups).await {
            self.keep(name, addresses, now);
        }
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hosts = Hosts::new();
        for name in names {
            if let Some(answer) = answers.get_mut(&name) {
                answer.asked = now;
                hosts.insert(name, answer.addresses.clone());
            }
        }
        answers.retain(|_, answer| now < answer.asked + MEMORY);
        hosts
    }

    fn is_fresh(&self, name: &str, now: Instant) -> bool {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(name).is_some_and(|answer| now < answer.again)
    }

    fn keep(&self, name: String, addresses: Vec<IpAddr>, now: Instant) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.entry(name).or_insert(Answer { addresses: Vec::new(), again: now, asked: now });
        answer.again = now + if addresses.is_empty() { RETRY } else { FRESH };
        if !addresses.is_empty() {
            answer.addresses = addresses;
        }
    }
}

/// The addresses of a name, in a stable order; none if it does not resolve in time.
async fn lookup(name: &str) -> Vec<IpAddr> {
    let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((name, 0))).await;
    let mut addresses: Vec<_> = match found {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        Ok(Err(error)) => {
            tracing::debug!(%error, name, "the name does not resolve");
            Vec::new()
        }
        Err(_late) => {
            tracing::debug!(name, "no answer about the name");
            Vec::new()
        }
    };
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_stops_resolving_keeps_its_addresses() {
        let resolver = Resolver::default();
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let long_ago = Instant::now();
        resolver.keep("db.invalid".to_owned(), vec![address], long_ago);
        resolver.keep("db.invalid".to_owned(), Vec::new(), long_ago);
        let hosts = resolver.resolve(["db.invalid".to_owned()].into()).await;
        assert_eq!(hosts.get("db.invalid"), Some(&vec![address]));
    }

    #[tokio::test]
    async fn a_fresh_answer_is_not_asked_for_again() {
        let resolver = Resolver::default();
        resolver.keep("a".to_owned(), vec!["10.0.0.1".parse().unwrap()], Instant::now());
        assert!(resolver.is_fresh("a", Instant::now()));
        assert!(!resolver.is_fresh("a", Instant::now() + FRESH));
        assert!(!resolver.is_fresh("b", Instant::now()));
    }
}
