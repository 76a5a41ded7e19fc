//! Errors of the client as a [`Trouble`].

use std::error::Error;
use std::fmt;

use crate::report::Trouble;

impl Trouble {
    /// An answer of the API server; `doing` is what was tried: "create networkchaos/partition".
    pub fn api(doing: impl fmt::Display, error: &kube::Error) -> Self {
        Self { what: format!("cannot {doing}"), why: Some(why(error)), cure: cure(error).map(str::to_owned) }
    }
}

/// The one sentence in a client's error that tells something: the server's message, or the innermost cause.
pub(crate) fn why(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return if status.message.is_empty() { status.reason.clone() } else { status.message.clone() };
    }
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn cure(error: &kube::Error) -> Option<&'static str> {
    match error {
        kube::Error::Api(status) => match status.code {
            401 => Some("log in again, or check the user of this context in the kubeconfig"),
            403 => Some("ask for the right, or use another context: --context"),
            _ => None,
        },
        kube::Error::Service(_) | kube::Error::HyperError(_) => {
            Some("is it running? `squall doctor` shows which API server is meant and what it answers")
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
