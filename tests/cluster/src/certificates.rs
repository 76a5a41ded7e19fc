//! The certificates of a cluster: one authority that signs for every part, and lives no longer than the cluster.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use serde_json::json;

/// The authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, in PEM.
    pub(crate) certificate: String,
    /// Its key, in PEM: the controller manager signs with it, too.
    pub(crate) key: String,
}

/// A certificate and its key, in PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = name("test-cluster", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, key: key.serialize_pem(), issuer: Issuer::new(params, key) })
    }

    /// Signs for a user, a member of `group`, and for a server under `addresses`: names or IP addresses.
    pub(crate) fn identity(
        &self,
        user: &str,
        group: Option<&str>,
        addresses: &[&str],
    ) -> Result<Identity, rcgen::Error> {
        let addresses: Vec<String> = addresses.iter().map(|&address| address.to_owned()).collect();
        let mut params = CertificateParams::new(addresses)?;
        params.distinguished_name = name(user, group);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }

    /// A kubeconfig that needs no other file, for `identity` at the API server `url`.
    pub(crate) fn kubeconfig(&self, url: &str, identity: &Identity) -> String {
        let data = |pem: &str| BASE64_STANDARD.encode(pem);
        let cluster = json!({ "server": url, "certificate-authority-data": data(&self.certificate) });
        let user = json!({
            "client-certificate-data": data(&identity.certificate), "client-key-data": data(&identity.key),
        });
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test-cluster",
            "clusters": [{ "name": "test-cluster", "cluster": cluster }],
            "users": [{ "name": "user", "user": user }],
            "contexts": [{ "name": "test-cluster", "context": { "cluster": "test-cluster", "user": "user" } }],
        });
        // JSON is YAML.
        format!("{config:#}\n")
    }
}

/// The keys that service accounts' tokens are signed and checked with, in PEM: private, public.
pub(crate) fn signing_keys() -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

/// Kubernetes takes the common name for the user, the organisation for the group.
fn name(user: &str, group: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, user);
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    name
}
