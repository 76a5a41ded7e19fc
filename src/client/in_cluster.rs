//! A pod's own way to the API server: its service account.

use kube::Config;
use kube::config::InClusterError as E;

use super::credentials::Credentials;
use super::{Connection, transport};
use crate::report::Trouble;

/// The folder that the kubelet fills.
const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The way to the API server of the cluster that this process is a pod of. The token is read again while the client
/// lives: the kubelet replaces it before it ends. Must be called inside a tokio runtime.
///
/// # Errors
/// What is missing of a service account.
pub fn in_cluster() -> Result<Connection, Trouble> {
    let mut config = Config::incluster_env().map_err(|error| unusable(&error))?;
    let namespace = config.default_namespace.trim().to_owned();
    config.default_namespace.clone_from(&namespace);
    let user = std::mem::take(&mut config.auth_info);
    let cannot = |why| Trouble { why: Some(why), ..Trouble::new(WHAT) };
    let credentials = Credentials::of(&user).map_err(|(why, cure)| cannot(why).cure(cure))?;
    let name = format!("this cluster ({})", config.cluster_url);
    let client = transport::client(config, credentials.clone(), None);
    let client = client.map_err(|error| cannot(crate::operations::why(&error)).cure(CURE))?;
    Ok(Connection { client, name, namespace: Some(namespace), credentials })
}

const WHAT: &str = "cannot use the service account of this pod";
const CURE: &str = "give the pod one: serviceAccountName, and not automountServiceAccountToken: false";

fn unusable(error: &E) -> Trouble {
    let (why, cure) = match error {
        E::ReadEnvironmentVariable(_) | E::ParseClusterPort(_) | E::ParseClusterUrl(_) => (
            format!("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT do not name an API server: {error}"),
            "outside of a pod, unset them and name a kubeconfig with --kubeconfig",
        ),
        E::ReadDefaultNamespace(error) => (format!("cannot read {FOLDER}/namespace: {error}"), CURE),
        E::ReadCertificateBundle(error) => (format!("cannot read {FOLDER}/ca.crt: {error}"), CURE),
        E::ParseCertificates(_) => (format!("{FOLDER}/ca.crt holds no certificate"), CURE),
    };
    Trouble { why: Some(why), ..Trouble::new(WHAT) }.cure(cure)
}
