//! Until when a client certificate is good: the API server answers to an old one with a word that does not tell.

use jiff::Timestamp;
use x509_parser::pem::Pem;

/// When the certificate of this PEM text ends; nothing where it cannot be read, which the TLS library will say.
pub(super) fn expiry(pem: &[u8]) -> Option<Timestamp> {
    let mut blocks = Pem::iter_from_buffer(pem).filter_map(Result::ok);
    // Those behind the first are of the authorities that signed it.
    let block = blocks.find(|block| block.label == "CERTIFICATE")?;
    let certificate = block.parse_x509().ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a day in 2020: `openssl ca -selfsign -startdate 20200101000000Z -enddate 20200102000000Z`, key thrown away.
    const OLD: &str = include_str!("expired.pem");

    #[test]
    fn an_end_is_read_past_what_else_is_in_the_file() {
        let second = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(expiry(OLD.as_bytes()), Some(second("2020-01-02T00:00:00Z")));
        let behind = format!("some words\n{OLD}");
        assert_eq!(expiry(behind.as_bytes()), Some(second("2020-01-02T00:00:00Z")));
        assert_eq!(expiry(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), None);
        assert_eq!(expiry(b""), None);
    }
}
