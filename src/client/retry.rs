//! When a request is sent again: only where the API server asks for it, and not for long.
//!
//! A 429 or 503 with `Retry-After` says that nothing was done and when to come back. Everything else is an answer: a 504
//! may have been done, and who waits for minutes wants to be told why. What waits by itself (watches, `squall run`) has
//! patience of its own.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

/// How long one request may be put off in all.
const PATIENCE: Duration = Duration::from_secs(10);

/// The least wait: "0 seconds" must not become a storm.
const LEAST: Duration = Duration::from_millis(200);

/// How long one request was put off already.
#[derive(Debug, Default)]
pub(super) struct Retry {
    waited: Duration,
}

impl Retry {
    /// How long to wait before the request is sent again; nothing if this answer is to be taken.
    pub(super) fn wait(&mut self, status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
        if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            return None;
        }
        let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        let wait = Duration::from_secs(seconds.min(PATIENCE.as_secs() + 1)).max(LEAST);
        self.waited += wait;
        (self.waited <= PATIENCE).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: &str) -> HeaderMap {
        HeaderMap::from_iter([(RETRY_AFTER, seconds.parse().unwrap())])
    }

    #[test]
    fn only_what_the_server_asks_for_and_not_for_ever() {
        let mut retry = Retry::default();
        let busy = StatusCode::TOO_MANY_REQUESTS;
        let waits: Vec<_> = std::iter::from_fn(|| retry.wait(busy, &after("1"))).collect();
        assert_eq!(waits, vec![Duration::from_secs(1); 10]);
        let mut retry = Retry::default();
        assert_eq!(std::iter::from_fn(|| retry.wait(busy, &after("0"))).count(), 50);
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(Retry::default().wait(unavailable, &after("2")), Some(Duration::from_secs(2)));
        for (status, headers) in [
            (unavailable, HeaderMap::new()),
            (unavailable, after("600")),
            (unavailable, after("18446744073709551615")),
            (unavailable, after("Fri, 31 Dec 1999 23:59:59 GMT")),
            (StatusCode::GATEWAY_TIMEOUT, after("1")),
            (StatusCode::INTERNAL_SERVER_ERROR, after("1")),
            (StatusCode::OK, after("1")),
        ] {
            assert_eq!(Retry::default().wait(status, &headers), None, "{status} {headers:?}");
        }
    }
}
