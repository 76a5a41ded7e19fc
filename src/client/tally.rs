//! What this process asked of API servers and how they answered, and how often a watch failed: counted where it happens, for
//! whoever wants to know (`crate::metrics`).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{Method, Request, StatusCode};

/// Counts of this process. There is one API server for each, so that none has to be told apart.
static COUNTS: Mutex<Counts> =
    Mutex::new(Counts { answers: BTreeMap::new(), failed_watches: BTreeMap::new() });

/// What was counted so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// By verb and code; without a code where no answer came. Each try counts.
    pub(crate) answers: BTreeMap<(&'static str, Option<u16>), u64>,
    /// By kind.
    pub(crate) failed_watches: BTreeMap<String, u64>,
}

fn counts() -> MutexGuard<'static, Counts> {
    // Every change is one call: a panic cannot leave it half done.
    COUNTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was counted so far.
pub(crate) fn so_far() -> Counts {
    counts().clone()
}

/// A watch of this kind failed, and is made anew.
pub(crate) fn watch_failed(kind: &str) {
    *counts().failed_watches.entry(kind.to_owned()).or_default() += 1;
}

/// The verb of a request, in few words: HTTP's own, but for a watch.
pub(super) fn verb<B>(request: &Request<B>) -> &'static str {
    let watches = |query: &str| query.split('&').any(|part| part == "watch=true");
    match *request.method() {
        Method::GET if request.uri().query().is_some_and(watches) => "watch",
        Method::GET => "get",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// A request of this verb was answered, or was not.
pub(super) fn answered(verb: &'static str, code: Option<StatusCode>) {
    *counts().answers.entry((verb, code.map(|code| code.as_u16()))).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_no_ordinary_get() {
        for (method, uri, expected) in [
            ("GET", "/api/v1/pods", "get"),
            ("GET", "/api/v1/pods?watch=true&timeoutSeconds=20", "watch"),
            ("GET", "/api/v1/pods?labelSelector=watch%3Dtrue", "get"),
            ("GET", "/api/v1/pods?x=watch=true", "get"),
            ("PATCH", "/api/v1/pods/p", "patch"),
            ("OPTIONS", "/", "other"),
        ] {
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            assert_eq!(verb(&request), expected, "{method} {uri}");
        }
    }

    #[test]
    fn what_is_counted_adds_up() {
        // The only test that asks for this.
        for _ in 0..2 {
            answered("other", Some(StatusCode::IM_A_TEAPOT));
            watch_failed("Teapot");
        }
        answered("other", None);
        let counts = so_far();
        assert_eq!(counts.answers.get(&("other", Some(418))), Some(&2));
        assert_eq!(counts.answers.get(&("other", None)), Some(&1));
        assert_eq!(counts.failed_watches.get("Teapot"), Some(&2));
    }
}
