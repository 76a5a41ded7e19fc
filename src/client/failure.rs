//! What it means that an API server gave no answer: which server, by which way, why, and what cures it.

use std::error::Error;
use std::io;

use http::Uri;
use hyper_util::client::legacy;
use rustls::CertificateError as C;

/// Why a request over the network got no answer.
#[derive(Debug, thiserror::Error)]
#[error("{server}{}: {why}", via.as_ref().map(|via| format!(" through the proxy {via}")).unwrap_or_default())]
pub struct TransportError {
    server: String,
    via: Option<String>,
    why: String,
    cure: String,
    #[source]
    source: legacy::Error,
}

impl TransportError {
    pub(super) fn new(server: &Uri, via: Option<String>, source: legacy::Error) -> Self {
        let (why, cure) = explain(&source, via.is_some());
        Self { server: server.to_string().trim_end_matches('/').to_owned(), via, why, cure, source }
    }

    /// What to do about it.
    pub fn cure(&self) -> &str {
        &self.cure
    }
}

/// The first error of this kind in a chain of causes, also in those that an `io::Error` hides.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let hidden = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match hidden {
            Some(hidden) => Some(hidden),
            None => error.source(),
        };
    }
    None
}

/// The last cause: the one that nothing explains.
fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

/// Why, and what cures it.
fn explain(error: &legacy::Error, by_proxy: bool) -> (String, String) {
    const NETWORK: &str =
        "check the server in the kubeconfig, and the network between here and there: VPN, proxy, firewall";
    let with = |why: &str, cure: &str| (why.to_owned(), cure.to_owned());
    if let Some(error) = find::<rustls::Error>(error) {
        return tls(error);
    }
    if find::<tokio::time::error::Elapsed>(error).is_some() {
        return with("no connection within 10 s", NETWORK);
    }
    if let Some(error) = find::<io::Error>(error) {
        let nobody = "nobody listens there: is it running, and is the server in the kubeconfig right? `squall doctor` shows which is meant";
        match error.kind() {
            io::ErrorKind::ConnectionRefused if by_proxy => {
                return with("connection refused", "is the proxy running? proxy-url or HTTPS_PROXY names it");
            }
            io::ErrorKind::ConnectionRefused => return with("connection refused", nobody),
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                return with(&error.to_string(), NETWORK);
            }
            _ => {}
        }
    }
    let why = innermost(error).to_string();
    if error.is_connect() {
        (why, NETWORK.to_owned())
    } else {
        (why, "the connection broke: try again; `squall doctor` shows whether it answers".to_owned())
    }
}

/// What is wrong with the server's certificate, or with ours.
fn tls(error: &rustls::Error) -> (String, String) {
    let rustls::Error::InvalidCertificate(certificate) = error else {
        let cure = match error {
            rustls::Error::AlertReceived(_) => {
                "it does not take our TLS or our certificate: get the kubeconfig anew"
            }
            rustls::Error::InvalidMessage(_) => {
                "it does not speak TLS: is its server http:// and no https://?"
            }
            _ => "check the server and the certificates in the kubeconfig",
        };
        return (error.to_string(), cure.to_owned());
    };
    let (why, cure) = match certificate {
        C::UnknownIssuer | C::BadSignature => (
            "its certificate is signed by an authority that is not trusted here".to_owned(),
            "certificate-authority in the kubeconfig is not this cluster's: get the kubeconfig anew, or correct the server",
        ),
        C::Expired => ("its certificate has expired".to_owned(), RENEW),
        C::ExpiredContext { not_after, .. } => {
            (format!("its certificate expired on {}", date(*not_after)), RENEW)
        }
        C::NotValidYet | C::NotValidYetContext { .. } => {
            ("its certificate is not valid yet".to_owned(), "compare this machine's clock with the server's")
        }
        C::NotValidForName => ("its certificate is for another name".to_owned(), NAME),
        C::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| plain(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            (format!("its certificate is not for {} but for {names}", expected.to_str()), NAME)
        }
        other => (format!("its certificate cannot be used: {other}"), RENEW),
    };
    (why, cure.to_owned())
}

const RENEW: &str = "whoever runs the cluster has to renew it; or compare this machine's clock";
const NAME: &str =
    "correct the server in the kubeconfig, or write one of these names as tls-server-name of the cluster";

/// `DnsName("x")` and `IpAddress(10.0.0.1)` as rustls writes them, without the frame.
fn plain(name: &str) -> String {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(name).trim_matches('"').to_owned()
}

fn date(time: rustls::pki_types::UnixTime) -> String {
    let second = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(second).map_or_else(|_| "a day long ago".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_found_in_what_hides_it() {
        let inner = rustls::Error::InvalidCertificate(C::UnknownIssuer);
        let once = io::Error::new(io::ErrorKind::InvalidData, inner);
        let twice = io::Error::other(once);
        assert!(find::<rustls::Error>(&twice).is_some());
        assert!(find::<rustls::Error>(&io::Error::from(io::ErrorKind::ConnectionRefused)).is_none());
    }

    #[test]
    fn certificates_are_told_with_their_names() {
        let expected = rustls::pki_types::ServerName::try_from("10.0.0.1").unwrap();
        let presented = vec!["DnsName(\"kubernetes\")".to_owned(), "IpAddress(127.0.0.1)".to_owned()];
        let error = rustls::Error::InvalidCertificate(C::NotValidForNameContext { expected, presented });
        let (why, cure) = tls(&error);
        assert_eq!(why, "its certificate is not for 10.0.0.1 but for kubernetes, 127.0.0.1");
        assert!(cure.contains("tls-server-name"), "{cure}");
    }
}
