//! A `kube::Client` over HTTPS. Built here from kube's parts, since credentials, proxies and retries are our own
//! ([ADR 16](../../docs/adr/0016-our-own-transport.md)).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioExecutor;
use kube::Config;
use kube::client::{Body, ConfigExt as _};
use kube::config::AuthInfo;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer as _, Service as _, ServiceExt as _};

use super::credentials::{Certificate, Credentials, Issued};
use super::failure::TransportError;
use super::proxy::Proxy;
use super::retry::Retry;

/// How long a connection may take, TLS included.
const CONNECT: Duration = Duration::from_secs(10);

/// After so long without a word the kernel asks whether the other side is still there, so many times, so often. Without an answer the
/// connection is over after 20 s: a watch over it, which may be silent for long, is then made anew.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(5);
const KEEPALIVE_TRIES: u32 = 2;

type Connections = BoxCloneSyncService<Request<Body>, Response<Incoming>, hyper_util::client::legacy::Error>;

/// A client that connects with the first request. Must be called inside a tokio runtime.
///
/// # Errors
/// Certificates and names in `config` that cannot be used.
pub(super) fn client(
    config: Config,
    credentials: Credentials,
    proxy: Option<Proxy>,
) -> kube::Result<kube::Client> {
    let (base, headers) = (config.base_uri_layer(), config.extra_headers_layer()?);
    let namespace = config.default_namespace.clone();
    let connections = connections(&config, proxy.as_ref())?;
    let transport =
        Arc::new(Transport { config, credentials, proxy, made: Mutex::new(Made { connections, of: None }) });
    let service = tower::service_fn(move |request| {
        let transport = Arc::clone(&transport);
        async move { transport.answer(request).await }
    });
    Ok(kube::Client::new(headers.layer(base.layer(service)), namespace))
}

struct Transport {
    config: Config,
    credentials: Credentials,
    proxy: Option<Proxy>,
    made: Mutex<Made>,
}

/// The connections, and the certificate that they show, if a plugin gave it.
struct Made {
    connections: Connections,
    of: Option<Arc<Certificate>>,
}

impl Transport {
    async fn answer(&self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let (parts, mut body) = request.into_parts();
        let (mut retry, mut renewed) = (Retry::default(), false);
        loop {
            let copy = body.try_clone();
            let issued = self.credentials.issue().await?;
            let mut request = Request::from_parts(parts.clone(), body);
            if let Some(header) = &issued.header {
                request.headers_mut().insert(AUTHORIZATION, header.clone());
            }
            let response = self.connections(&issued)?.call(request).await;
            let response = response.map_err(|source| self.failed(source))?;
            let status = response.status();
            tracing::debug!(method = %parts.method, uri = %parts.uri, %status, "answered");
            let Some(copy) = copy else { return Ok(response) };
            if status == StatusCode::UNAUTHORIZED && !renewed && self.credentials.refused(&issued) {
                renewed = true;
            } else if let Some(wait) = retry.wait(status, response.headers()) {
                tracing::info!("the API server is busy ({status}): again in {wait:?}");
                tokio::time::sleep(wait).await;
            } else {
                return Ok(response);
            }
            body = copy;
        }
    }

    /// The connections that show this certificate. Those of one before end with their last answer.
    fn connections(&self, issued: &Issued) -> kube::Result<Connections> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(certificate) = &issued.certificate
            && made.of.as_ref().is_none_or(|of| !Arc::ptr_eq(of, certificate))
        {
            use secrecy::ExposeSecret as _;
            let mut config = self.config.clone();
            config.auth_info.client_certificate_data = Some(BASE64_STANDARD.encode(&certificate.chain));
            let key = BASE64_STANDARD.encode(certificate.key.expose_secret());
            config.auth_info.client_key_data = Some(key.into());
            *made = Made {
                connections: connections(&config, self.proxy.as_ref())?,
                of: Some(Arc::clone(certificate)),
            };
        }
        Ok(made.connections.clone())
    }

    fn failed(&self, source: hyper_util::client::legacy::Error) -> TransportError {
        let via = self.proxy.as_ref().map(ToString::to_string);
        TransportError::new(&self.config.cluster_url, via, source)
    }
}

/// Connections to the server, straight or through a proxy.
fn connections(config: &Config, proxy: Option<&Proxy>) -> kube::Result<Connections> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_AGAIN));
    tcp.set_keepalive_retries(Some(KEEPALIVE_TRIES));
    let Some(proxy) = proxy else { return over(config, tcp) };
    match proxy.scheme() {
        "http" => over(config, tunnel(proxy, tcp)),
        "https" => {
            // The proxy is none of the cluster's: it has a certificate that everybody trusts, and ours is not for it.
            let mut own = Config::new(proxy.uri());
            own.auth_info = AuthInfo::default();
            over(config, tunnel(proxy, own.rustls_https_connector_with_connector(tcp)?))
        }
        _ => {
            let mut socks = SocksV5::new(proxy.uri(), tcp);
            if let Some((user, password)) = proxy.user() {
                socks = socks.with_auth(user, password);
            }
            over(config, socks)
        }
    }
}

fn tunnel<C>(proxy: &Proxy, connector: C) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy.uri(), connector);
    match proxy.header() {
        Some(header) => tunnel.with_auth(header),
        None => tunnel,
    }
}

fn over<C>(config: &Config, connector: C) -> kube::Result<Connections>
where
    C: tower::Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: hyper_util::client::legacy::connect::Connection + hyper::rt::Read + hyper::rt::Write,
    C::Response: Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: std::error::Error + Send + Sync + 'static,
{
    let secured = config.rustls_https_connector_with_connector(connector)?;
    let connector = tower::service_fn(move |uri: Uri| {
        let connecting = tokio::time::timeout(CONNECT, secured.clone().oneshot(uri));
        Box::pin(async move { connecting.await.map_err(BoxError::from).flatten() })
    });
    let client = Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
    Ok(BoxCloneSyncService::new(client))
}
