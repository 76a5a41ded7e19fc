//! The kubeconfig: which files, which context, and what is wrong with them, in words that name file, context and cure.
//!
//! As kubectl has it: `KUBECONFIG` may list several files, the first to say something wins, and one that is not there is
//! passed over. Asks no API server. What is secret in the files is in no message.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kube::Config;
use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig as Content, KubeconfigError, LoadDataError,
};

use super::credentials::Credentials;
use super::proxy::Proxy;
use super::{Connection, certificate, transport};
use crate::report::Trouble;

/// How many names of what there is a message lists.
const LISTED: usize = 12;

/// Which kubeconfig is meant, and as whom to act.
#[derive(Clone, Debug, Default)]
pub struct Kubeconfig {
    /// The file that was named; without one those of `KUBECONFIG`, or the user's own.
    pub file: Option<PathBuf>,
    /// As whom to act, instead of the user whose credentials it has.
    pub acting: Acting,
}

/// As whom to act: `kubectl --as`. The right `impersonate` is needed for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acting {
    /// The user.
    pub user: Option<String>,
    /// The user's groups.
    pub groups: Vec<String>,
}

/// The contexts of a kubeconfig.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contexts {
    /// Their names, in the order of the files.
    pub names: Vec<String>,
    /// The one that is meant where none is named.
    pub current: Option<String>,
}

/// What all files say together, and which they are.
struct Read {
    content: Content,
    places: String,
}

impl Kubeconfig {
    /// The contexts that there are.
    ///
    /// # Errors
    /// A file cannot be read, or there is no context.
    pub fn contexts(&self) -> Result<Contexts, Trouble> {
        let Read { content, places } = self.read()?;
        let names: Vec<_> = content.contexts.into_iter().map(|context| context.name).collect();
        if names.is_empty() {
            let cure = "`kubectl config set-context` adds one; --kubeconfig or KUBECONFIG names another file";
            return Err(Trouble::new(format!("{places} has no context")).cure(cure));
        }
        Ok(Contexts { names, current: content.current_context.filter(|name| !name.is_empty()) })
    }

    /// The way to the API server of a context; of the current one if none is named. Nothing is asked of it yet.
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What is wrong with the files, the context, its cluster or its user.
    pub async fn connect(&self, context: Option<&str>) -> Result<Connection, Trouble> {
        let Read { content, places } = self.read()?;
        let name = context_name(&content, context, &places)?;
        let there = About { places, context: name.clone() };
        let chosen = there.context(&content)?;
        let cluster = there.cluster(&content, &chosen)?;
        let user = there.user(&content, &chosen)?;
        let options = KubeConfigOptions { context: Some(name.clone()), ..KubeConfigOptions::default() };
        let provides = user.exec.as_ref().is_some_and(|exec| exec.provide_cluster_info);
        let config = Config::from_custom_kubeconfig(content, &options).await;
        let mut config = config.map_err(|error| there.unusable(&error))?;
        if config.root_cert.as_ref().is_some_and(Vec::is_empty) {
            return Err(there.no_certificate());
        }
        let mut credentials = user.clone();
        if let Some(exec) = credentials.exec.as_mut().filter(|_| provides) {
            // Read with the kubeconfig, since the certificate of the cluster may be in a file.
            exec.cluster = config.auth_info.exec.as_mut().and_then(|exec| exec.cluster.take());
        }
        let credentials = Credentials::of(&credentials).map_err(|(why, cure)| Trouble {
            why: Some(why),
            cure: Some(cure),
            ..Trouble::new(there.what(chosen.user.as_deref()))
        })?;
        let proxy = Proxy::find(&cluster, &config.cluster_url).map_err(|why| {
            let cure = "write http://, https:// or socks5:// and the proxy's host and port";
            Trouble { why: Some(why), ..Trouble::new(there.what(None)) }.cure(cure)
        })?;
        config.auth_info = self.identity(user);
        there.check_certificate(&config.auth_info)?;
        let server = config.cluster_url.clone();
        let client = transport::client(config, credentials.clone(), proxy);
        let client = client.map_err(|error| match error {
            kube::Error::InferKubeconfig(error) => there.unusable(&error),
            error => {
                let cure = "look at the certificates of this cluster and user, and at tls-server-name";
                let why = Some(crate::operations::why(&error));
                Trouble { why, ..Trouble::new(there.what(None)) }.cure(cure)
            }
        })?;
        let namespace = chosen.namespace.filter(|namespace| !namespace.is_empty());
        Ok(Connection { client, name: format!("context {name} ({server})"), namespace, credentials })
    }

    /// What the transport needs of a user: certificates, and as whom to act. The rest is for [`Credentials`].
    fn identity(&self, user: AuthInfo) -> AuthInfo {
        let mut identity = AuthInfo {
            client_certificate: user.client_certificate,
            client_certificate_data: user.client_certificate_data,
            client_key: user.client_key,
            client_key_data: user.client_key_data,
            impersonate: user.impersonate,
            impersonate_uid: user.impersonate_uid,
            impersonate_groups: user.impersonate_groups,
            impersonate_user_extra: user.impersonate_user_extra,
            ..AuthInfo::default()
        };
        if let Some(user) = &self.acting.user {
            identity.impersonate = Some(user.clone());
            identity.impersonate_groups = Some(self.acting.groups.clone());
            (identity.impersonate_uid, identity.impersonate_user_extra) = (None, None);
        }
        identity
    }

    fn read(&self) -> Result<Read, Trouble> {
        let files = self.files()?;
        let places: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        let places = places.join(" and ");
        let (mut content, mut found) = (Content::default(), false);
        for file in &files {
            match Content::read_from(file) {
                Ok(next) => {
                    found = true;
                    content = content.merge(next).map_err(|error| {
                        let cure = "each file begins with `apiVersion: v1` and `kind: Config`";
                        Trouble { why: Some(error.to_string()), ..Trouble::new(places.clone()) }.cure(cure)
                    })?;
                }
                Err(KubeconfigError::ReadConfig(error, _))
                    if error.kind() == io::ErrorKind::NotFound && files.len() > 1 => {}
                Err(error) => return Err(unreadable(file, &error)),
            }
        }
        if found {
            return Ok(Read { content, places });
        }
        Err(Trouble::new(format!("there is no kubeconfig at {places}")).cure(NAME_ANOTHER))
    }

    /// The files, in the order in which they count.
    fn files(&self) -> Result<Vec<PathBuf>, Trouble> {
        if let Some(file) = &self.file {
            return Ok(vec![file.clone()]);
        }
        let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
        let listed: Vec<_> =
            std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
        if !listed.is_empty() {
            return Ok(listed);
        }
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        let home = home
            .ok_or_else(|| Trouble::new("your home folder is not known: HOME is unset").cure(NAME_ANOTHER));
        Ok(vec![home?.join(".kube").join("config")])
    }
}

const NAME_ANOTHER: &str = "name a file with --kubeconfig or KUBECONFIG";

/// What is wrong with a file as such.
fn unreadable(file: &Path, error: &KubeconfigError) -> Trouble {
    let file = file.display();
    match error {
        KubeconfigError::ReadConfig(error, _) => {
            let cure = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "make it readable for yourself: chmod 600 with your user as owner"
                }
                _ => NAME_ANOTHER,
            };
            Trouble {
                why: Some(error.to_string()),
                ..Trouble::new(format!("cannot read the kubeconfig {file}"))
            }
            .cure(cure)
        }
        KubeconfigError::Parse(error) => {
            let error = error.without_snippet();
            let place = error.location().filter(|place| place.line() > 0);
            let place =
                place.map_or_else(String::new, |place| format!(":{}:{}", place.line(), place.column()));
            Trouble {
                why: Some(without_values(&error.to_string())),
                ..Trouble::new(format!("{file}{place}: this is no kubeconfig"))
            }
            .cure("mend that line; `kubectl config view` reads the file in the same way")
        }
        error => Trouble {
            why: Some(error.to_string()),
            ..Trouble::new(format!("cannot use the kubeconfig {file}"))
        },
    }
}

/// A parser's message without the values that it quotes: one of them may be a token.
fn without_values(message: &str) -> String {
    let mut parts = message.split('"');
    let mut shown = parts.next().unwrap_or_default().to_owned();
    while parts.next().is_some() {
        shown.push_str("\"…\"");
        shown.push_str(parts.next().unwrap_or_default());
    }
    // The place is told in front.
    let first = shown.lines().next().unwrap_or_default();
    first.split(" at line ").next().unwrap_or(first).to_owned()
}

/// The context that is meant.
fn context_name(content: &Content, named: Option<&str>, places: &str) -> Result<String, Trouble> {
    let current = content.current_context.as_deref().filter(|name| !name.is_empty());
    named.or(current).map(str::to_owned).ok_or_else(|| {
        let there = listed(content.contexts.iter().map(|context| context.name.as_str()), "");
        Trouble::new(format!("{places} names no current context"))
            .cure(format!("name one with --context: {there}"))
    })
}

/// Names that there are, those most like `wanted` first.
fn listed<'a>(names: impl Iterator<Item = &'a str>, wanted: &str) -> String {
    let mut names: Vec<_> = names.collect();
    if names.is_empty() {
        return "there is none".to_owned();
    }
    if names.len() > LISTED {
        names.sort_by_cached_key(|name| strsim::damerau_levenshtein(name, wanted));
    }
    let more = names.len().saturating_sub(LISTED);
    names.truncate(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

/// What messages are about.
struct About {
    places: String,
    context: String,
}

impl About {
    /// `context "lab" of /home/me/.kube/config cannot be used`.
    fn what(&self, user: Option<&str>) -> String {
        let user = user.map(|user| format!("user \"{user}\" of ")).unwrap_or_default();
        format!("cannot use {user}context \"{}\" of {}", self.context, self.places)
    }

    fn context(&self, content: &Content) -> Result<Context, Trouble> {
        let found = content.contexts.iter().find(|context| context.name == self.context);
        found.and_then(|found| found.context.clone()).ok_or_else(|| {
            let there = listed(content.contexts.iter().map(|context| context.name.as_str()), &self.context);
            Trouble::new(format!("{} has no context \"{}\"", self.places, self.context))
                .cure(format!("name one of these with --context: {there}"))
        })
    }

    fn cluster(&self, content: &Content, chosen: &Context) -> Result<Cluster, Trouble> {
        let found = content.clusters.iter().find(|cluster| cluster.name == chosen.cluster);
        let cluster = found.and_then(|found| found.cluster.clone()).ok_or_else(|| {
            let there = listed(content.clusters.iter().map(|cluster| cluster.name.as_str()), &chosen.cluster);
            let why = format!("it names the cluster \"{}\", which is not there", chosen.cluster);
            Trouble { why: Some(why), ..Trouble::new(self.what(None)) }
                .cure(format!("correct the name or add the cluster; clusters that are there: {there}"))
        })?;
        if cluster.server.as_deref().unwrap_or_default().is_empty() {
            let why = format!("the cluster \"{}\" has no server", chosen.cluster);
            return Err(Trouble { why: Some(why), ..Trouble::new(self.what(None)) }
                .cure("write `server: https://HOST:PORT` into it"));
        }
        Ok(cluster)
    }

    /// The context's user.
    fn user(&self, content: &Content, chosen: &Context) -> Result<AuthInfo, Trouble> {
        let Some(name) = chosen.user.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(AuthInfo::default());
        };
        if let Some(found) = content.auth_infos.iter().find(|user| user.name == name) {
            return Ok(found.auth_info.clone().unwrap_or_default());
        }
        let there = listed(content.auth_infos.iter().map(|user| user.name.as_str()), name);
        let why = format!("it names the user \"{name}\", who is not there");
        Err(Trouble { why: Some(why), ..Trouble::new(self.what(None)) }
            .cure(format!("correct the name or add the user; users that are there: {there}")))
    }

    /// An old certificate is refused by the API server with no word on why.
    fn check_certificate(&self, user: &AuthInfo) -> Result<(), Trouble> {
        let pem = match (&user.client_certificate_data, &user.client_certificate) {
            (Some(data), _) => {
                use base64::Engine as _;
                base64::prelude::BASE64_STANDARD.decode(data).ok()
            }
            (None, Some(path)) => std::fs::read(path).ok(),
            (None, None) => None,
        };
        let end = pem.and_then(|pem| certificate::expiry(&pem)).filter(|end| *end < Timestamp::now());
        end.map_or(Ok(()), |end| {
            let why = format!("its client certificate expired on {end}");
            Err(Trouble { why: Some(why), ..Trouble::new(self.what(None)) }
                .cure("get a new kubeconfig from whoever gave you this one (kubeadm: `kubeadm certs renew`)"))
        })
    }

    fn no_certificate(&self) -> Trouble {
        let why = "what certificate-authority holds is no certificate".to_owned();
        Trouble { why: Some(why), ..Trouble::new(self.what(None)) }
            .cure("it wants PEM text: -----BEGIN CERTIFICATE-----")
    }

    /// What is wrong with what a context, its cluster and its user say.
    fn unusable(&self, error: &KubeconfigError) -> Trouble {
        use KubeconfigError as E;
        let (field, source) = match error {
            E::LoadCertificateAuthority(source) => ("certificate-authority", source),
            E::LoadClientCertificate(source) => ("client-certificate", source),
            E::LoadClientKey(source) => ("client-key", source),
            E::ParseClusterUrl(error) => {
                return Trouble { why: Some(format!("server: {error}")), ..Trouble::new(self.what(None)) }
                    .cure("write `server: https://HOST:PORT`");
            }
            E::ParseCertificates(_) => return self.no_certificate(),
            error => return Trouble { why: Some(error.to_string()), ..Trouble::new(self.what(None)) },
        };
        let (why, cure) = match source {
            LoadDataError::ReadFile(error, path) => {
                let why = format!("{field}: cannot read {}: {error}", path.display());
                (
                    why,
                    "correct the path, which counts from the kubeconfig's own folder, or bring the file back",
                )
            }
            LoadDataError::DecodeBase64(_) => {
                (format!("{field}-data is not base64"), "encode the PEM text: base64 -w0 FILE")
            }
            LoadDataError::NoBase64DataOrFile => {
                (format!("{field} is missing"), "a client certificate and its key go together")
            }
        };
        Trouble { why: Some(why), ..Trouble::new(self.what(None)) }.cure(cure)
    }
}

#[cfg(test)]
#[path = "kubeconfig_tests.rs"]
mod tests;
