//! `--metrics-listen` of the parts that serve.

use std::net::{IpAddr, SocketAddr};

use super::exit::{Failure, Result};
use crate::metrics::{Metrics, Server};

/// Address and port of the option: `10.0.0.1:9690`, `[fd00::1]:9690`, and `fd00::1:9690`, as a pod's own address is put in front of a
/// port.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let (address, port) = text.rsplit_once(':').ok_or("write an address and a port, as 127.0.0.1:9690")?;
    let address = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
    let address = address.parse::<IpAddr>().map_err(|_no| format!("\"{address}\" is no address of IP"))?;
    let port = port.parse::<u16>().map_err(|_no| format!("\"{port}\" is no port"))?;
    Ok(SocketAddr::new(address, port))
}

/// The port of a part, if it opens one.
pub(crate) struct Told(Option<(Server, Metrics)>);

impl Told {
    /// Opens it. `component` is what the metrics call the part.
    pub(crate) async fn open(address: Option<SocketAddr>, component: &'static str) -> Result<Self> {
        let Some(address) = address else { return Ok(Self(None)) };
        let server = Server::bind(address).await.map_err(|error| {
            Failure::new(error)
                .cure("name an address of this machine and a port that nobody has, or leave it out")
        })?;
        Ok(Self(Some((server, Metrics::new(component)))))
    }

    /// Where the part tells what it does.
    pub(crate) fn metrics(&self) -> Option<Metrics> {
        self.0.as_ref().map(|(_, metrics)| metrics.clone())
    }

    /// Serves as long as the part runs. Whoever asks has no influence on it: a task of its own, which ends with it.
    pub(crate) async fn beside<T>(self, part: impl Future<Output = T>) -> T {
        let Some((server, metrics)) = self.0 else { return part.await };
        let mut serving = tokio::task::JoinSet::new();
        serving.spawn(server.run(metrics));
        part.await
    }
}

#[cfg(test)]
mod tests {
    use super::listen_address;

    #[test]
    fn addresses_of_both_kinds_are_read() {
        for (text, expected) in [
            ("127.0.0.1:9690", Some("127.0.0.1:9690")),
            ("[fd00::1]:9690", Some("[fd00::1]:9690")),
            ("fd00::1:9690", Some("[fd00::1]:9690")),
            ("[::]:0", Some("[::]:0")),
            ("9690", None),
            (":9690", None),
            ("localhost:9690", None),
            ("127.0.0.1:99999", None),
        ] {
            let read = listen_address(text).ok().map(|address| address.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
