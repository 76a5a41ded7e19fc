//! Errors of the client as a [`Trouble`].

use std::error::Error;
use std::fmt;

use kube::runtime::watcher;

use crate::client::{PluginError, TransportError};
use crate::report::{INSTALL, Right, Trouble};

impl Trouble {
    /// An answer of the API server; `doing` is what was tried: "create networkchaos/partition".
    pub fn api(doing: impl fmt::Display, error: &kube::Error) -> Self {
        let what = format!("cannot {doing}");
        if let kube::Error::Api(status) = error
            && status.code == 403
            && let Some((who, right)) = Right::of_refusal(&status.message)
        {
            return refused(what, &who, &right);
        }
        if let Some(error) = found::<PluginError>(error) {
            return error.trouble(what);
        }
        Self { what, why: Some(why(error)), cure: cure(error) }
    }

    /// What ended a watch; `doing` is what was watched for: "watch pods".
    pub fn watch(doing: impl fmt::Display, error: watcher::Error) -> Self {
        use watcher::Error as E;
        match error {
            E::InitialListFailed(error) | E::WatchStartFailed(error) | E::WatchFailed(error) => {
                Self::api(doing, &error)
            }
            E::WatchError(status) => Self::api(doing, &kube::Error::Api(status)),
            E::NoResourceVersion => Self::new(format!("cannot {doing}: the API server ended it")),
        }
    }
}

/// A right that is missing, and how it is granted.
fn refused(what: String, who: &str, right: &Right) -> Trouble {
    if who == "system:anonymous" {
        let why = Some("it does not know who you are: no credentials came with the request".to_owned());
        return Trouble { why, ..Trouble::new(what) }.cure(LOG_IN);
    }
    let why = Some(format!("{who} may not {right}"));
    Trouble { why, ..Trouble::new(what) }
        .cure(format!("use another --context, or have it granted: {}", right.grant(who)))
}

/// The first of our own errors in the chain of causes.
fn found<E: Error + 'static>(error: &kube::Error) -> Option<&E> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The one sentence in a client's error that tells something: the server's message, ours, or the innermost cause.
pub(crate) fn why(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        let message = status.message.trim();
        return match message {
            "" => status.reason.clone(),
            "404 page not found" => NOT_SERVED.to_owned(),
            message => message.to_owned(),
        };
    }
    if let Some(error) = found::<TransportError>(error) {
        return error.to_string();
    }
    if let Some(error) = found::<PluginError>(error) {
        return error.to_string();
    }
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

const LOG_IN: &str = "log in again, or check the user of this context in the kubeconfig";

/// What an API server says to a path that it does not know.
const NOT_SERVED: &str = "the API server does not know this kind";

fn cure(error: &kube::Error) -> Option<String> {
    match error {
        kube::Error::Api(status) => match status.code {
            401 => Some(LOG_IN.to_owned()),
            403 => Some("ask for the right, or use another context: --context".to_owned()),
            400 if status.message.contains("HTTP request to an HTTPS server") => {
                Some("write https:// in front of the server in the kubeconfig".to_owned())
            }
            404 if status.message.trim() == "404 page not found" => Some(INSTALL.to_owned()),
            _ => None,
        },
        kube::Error::Service(_) | kube::Error::HyperError(_) => {
            let ours = found::<TransportError>(error).map(|error| error.cure().to_owned());
            ours.or_else(|| {
                Some(
                    "is it running? `squall doctor` shows which API server is meant and what it answers"
                        .to_owned(),
                )
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn an_answer_says_what_why_and_what_to_do() {
        let answer = |message: &str, reason: &str, code| {
            kube::Error::Api(Box::new(Status::failure(message, reason).with_code(code)))
        };
        for (error, why, cure) in [
            (answer("pods is forbidden", "Forbidden", 403), "pods is forbidden", Some("--context")),
            (answer("", "Unauthorized", 401), "Unauthorized", Some("log in")),
            (answer("not there", "NotFound", 404), "not there", None),
        ] {
            let trouble = Trouble::api("list pods", &error);
            assert_eq!(trouble.to_string(), format!("cannot list pods: {why}"));
            let said = trouble.cure.unwrap_or_default();
            assert!(cure.map_or(said.is_empty(), |cure| said.contains(cure)), "{said}");
        }
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let trouble = Trouble::api("list pods", &kube::Error::Service(Box::new(refused)));
        assert_eq!(trouble.to_string(), "cannot list pods: connection refused");
        assert!(trouble.cure.unwrap_or_default().contains("squall doctor"));
    }
}
