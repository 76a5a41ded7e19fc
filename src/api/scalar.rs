//! The small grammars of NetworkChaos: percentages, rates, peers outside the cluster.

use std::net::IpAddr;

use ipnet::IpNet;

/// Reads a percentage that the API carries as text (`"25"`, `"0.5"`).
///
/// # Errors
/// A sentence for the user when the text is no number or not between 0 and 100.
pub fn percent(text: &str) -> Result<f64, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    match text.parse::<f64>() {
        Ok(value) if plain && !text.starts_with('-') && (0.0..=100.0).contains(&value) => Ok(value),
        Ok(_) if plain => Err(format!("\"{text}\" is not between 0 and 100")),
        _ => Err(format!("\"{text}\" is not a number")),
    }
}

/// Units of tc's rate grammar with the bits per second that one of them is worth. `…bps` are *bytes*
/// per second, as in tc(8).
const RATE_UNITS: [(&str, u64); 10] = [
    ("bit", 1),
    ("kbit", 1_000),
    ("mbit", 1_000_000),
    ("gbit", 1_000_000_000),
    ("tbit", 1_000_000_000_000),
    ("bps", 8),
    ("kbps", 8_000),
    ("mbps", 8_000_000),
    ("gbps", 8_000_000_000),
    ("tbps", 8_000_000_000_000),
];

/// Reads a rate: a whole number, optional spaces, a unit of tc(8) in any case. Gives bits per second.
///
/// # Errors
/// A sentence for the user: not a whole number, an unknown unit, more than 64 bits hold, or zero.
pub fn rate(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 =
        number.parse().map_err(|_e| format!("\"{text}\" does not begin with a whole number"))?;
    let unit = unit.trim_start_matches(' ').to_ascii_lowercase();
    let scale = RATE_UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, scale)| *scale)
        .ok_or_else(|| format!("\"{text}\" lacks a unit that is known"))?;
    match number.checked_mul(scale) {
        Some(0) => Err(format!("\"{text}\" lets nothing through; use action partition for that")),
        Some(bits) => Ok(bits),
        None => Err(format!("\"{text}\" is more than 64 bits can hold")),
    }
}

/// One entry of `externalTargets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExternalTarget {
    /// An address or CIDR, with a port if only that port is meant.
    Network(IpNet, Option<u16>),
    /// A host name, to be resolved.
    Host(String, Option<u16>),
}

/// Reads one entry of `externalTargets`: an address, a CIDR or a host name, each with an optional
/// `:port`; IPv6 with a port in brackets.
///
/// # Errors
/// A sentence for the user.
pub fn external_target(text: &str) -> Result<ExternalTarget, String> {
    if let Some(network) = network(text) {
        return Ok(ExternalTarget::Network(network, None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => {
            let port: u16 =
                port.parse().map_err(|_e| format!("\"{port}\" in \"{text}\" is not a port (1 to 65535)"))?;
            if port == 0 {
                return Err(format!("port 0 in \"{text}\" does not exist (1 to 65535)"));
            }
            (host, Some(port))
        }
        None => (text, None),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Some(network) = network(bare) {
        return Ok(ExternalTarget::Network(network, port));
    }
    if is_host_name(host) {
        return Ok(ExternalTarget::Host(host.to_owned(), port));
    }
    Err(format!("\"{text}\" is neither an address, a CIDR nor a host name"))
}

fn network(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.ok().or_else(|| text.parse::<IpNet>().ok()).map(|network| network.trunc())
}

/// RFC 1123, section 2.1: labels of letters, digits and inner hyphens, 63 at most, 253 in all. A name
/// of digits and dots only is a mistyped address.
fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split('.').all(label) && name.bytes().any(|b| b.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages() {
        assert_eq!(percent("25"), Ok(25.0));
        assert_eq!(percent("0.5"), Ok(0.5));
        for bad in ["", "x", "-1", "100.1", "NaN", "1%"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_bits_per_second_and_bps_are_bytes() {
        assert_eq!(rate("1mbps"), Ok(8_000_000));
        assert_eq!(rate("10 Mbit"), Ok(10_000_000));
        assert_eq!(rate("7bit"), Ok(7));
        for bad in ["1.5mbit", "10", "mbit", "10 parsec", "0kbit", "99999999999tbps"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn external_targets() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        for (text, expected) in [
            ("10.0.0.1", ExternalTarget::Network(net("10.0.0.1/32"), None)),
            ("10.0.0.1:443", ExternalTarget::Network(net("10.0.0.1/32"), Some(443))),
            ("10.1.2.3/8", ExternalTarget::Network(net("10.0.0.0/8"), None)),
            ("10.0.0.0/8:80", ExternalTarget::Network(net("10.0.0.0/8"), Some(80))),
            ("fd00::1", ExternalTarget::Network(net("fd00::1/128"), None)),
            ("[fd00::1]:53", ExternalTarget::Network(net("fd00::1/128"), Some(53))),
            ("example.com", ExternalTarget::Host("example.com".into(), None)),
            ("example.com:8080", ExternalTarget::Host("example.com".into(), Some(8080))),
        ] {
            assert_eq!(external_target(text), Ok(expected), "{text}");
        }
        for bad in ["", "10.0.0.300", "a b", "host:0", "host:99999", "-x.com", "http://example.com"] {
            assert!(external_target(bad).is_err(), "{bad}");
        }
    }
}
