//! The proxy between here and an API server: of the kubeconfig, or of the environment as kubectl reads it.

use std::fmt;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use kube::config::Cluster;

/// A proxy. Shown without what is secret in it.
#[derive(Clone)]
pub(super) struct Proxy(Intercept);

impl Proxy {
    /// The cluster's `proxy-url`; without one that of `HTTPS_PROXY` and its kin, unless `NO_PROXY` excepts the server.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn find(cluster: &Cluster, server: &Uri) -> Result<Option<Self>, String> {
        let url = cluster.proxy_url.as_deref().filter(|url| !url.is_empty());
        let found = match url {
            Some(url) => {
                let wrong = || "proxy-url is no address of a proxy".to_owned();
                let uri: Uri = url.parse().map_err(|_invalid| wrong())?;
                let host = uri.host().filter(|host| !host.is_empty());
                host.ok_or_else(wrong)?;
                Matcher::builder().all(url).build().intercept(server)
            }
            None => Matcher::from_env().intercept(server),
        };
        let Some(found) = found.map(Self) else {
            return url.map_or(Ok(None), |_| Err("proxy-url is no address of a proxy".to_owned()));
        };
        match found.scheme() {
            "http" | "https" | "socks5" | "socks5h" => Ok(Some(found)),
            other => Err(format!("a proxy of the kind {other}:// cannot be used")),
        }
    }

    pub(super) fn scheme(&self) -> &str {
        self.0.uri().scheme_str().unwrap_or_default()
    }

    pub(super) fn uri(&self) -> Uri {
        self.0.uri().clone()
    }

    /// User and password, of a SOCKS proxy.
    pub(super) fn user(&self) -> Option<(String, String)> {
        self.0.raw_auth().map(|(user, password)| (user.to_owned(), password.to_owned()))
    }

    /// What an HTTP proxy is told.
    pub(super) fn header(&self) -> Option<http::HeaderValue> {
        self.0.basic_auth().cloned()
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = self.0.uri();
        write!(f, "{}://{}", self.scheme(), uri.host().unwrap_or_default())?;
        uri.port_u16().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(url: &str) -> Result<Option<Proxy>, String> {
        let cluster = Cluster { proxy_url: Some(url.to_owned()), ..Cluster::default() };
        Proxy::find(&cluster, &Uri::from_static("https://10.0.0.1:6443"))
    }

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        for (url, shown) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("https://me:s3cret@proxy", "https://proxy"),
            ("socks5://me:s3cret@127.0.0.1:1080", "socks5://127.0.0.1:1080"),
        ] {
            assert_eq!(found(url).unwrap().unwrap().to_string(), shown, "{url}");
        }
        let proxy = found("socks5://me:s3cret@127.0.0.1:1080").unwrap().unwrap();
        assert_eq!(proxy.user(), Some(("me".to_owned(), "s3cret".to_owned())));
        assert!(found("http://me:s3cret@proxy").unwrap().unwrap().header().is_some());
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_repeating_it() {
        for url in ["ftp://me:s3cret@proxy", "me:s3cret@", "http://", "://s3cret"] {
            let error = found(url).err().unwrap_or_else(|| panic!("{url} is taken"));
            assert!(!error.contains("s3cret"), "{url}: {error}");
        }
    }
}
