//! Who we are to an API server: what stands in the header `Authorization`, or which certificate is shown.
//!
//! Tokens in files are read again as they get old, those of plugins when they end or are refused. None of this is kube's
//! own way, which gives plugins the terminal even where a console has it, prints what a failed one wrote (tokens, too),
//! and lives with a refused token until it ends by its own word.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use kube::config::AuthInfo;
use secrecy::{ExposeSecret as _, SecretString};

use super::plugin::{Plugin, PluginError};

/// How old a token out of a file may be. The kubelet replaces a pod's when a fifth of its time is left, which is minutes.
const FRESH: Duration = Duration::from_secs(10);

/// What is wrong, and what cures it.
type Wrong = (String, String);

/// Where credentials come from. Clones share them.
#[derive(Clone)]
pub(super) struct Credentials(Source);

#[derive(Clone)]
enum Source {
    Fixed(Issued),
    File(Arc<TokenFile>),
    Plugin(Arc<Plugin>),
}

/// What a request goes with.
#[derive(Clone, Default)]
pub(super) struct Issued {
    /// The header, marked as secret.
    pub(super) header: Option<HeaderValue>,
    /// A client certificate other than the kubeconfig's own.
    pub(super) certificate: Option<Arc<Certificate>>,
}

/// A client certificate and its key, in PEM.
pub(super) struct Certificate {
    pub(super) chain: String,
    pub(super) key: SecretString,
}

impl Credentials {
    /// Those of a kubeconfig's user. Runs no plugin yet.
    ///
    /// # Errors
    /// Why they cannot be used, and what cures it.
    pub(super) fn of(user: &AuthInfo) -> Result<Self, Wrong> {
        if let Some(provider) = &user.auth_provider {
            let token = provider.config.get("id-token").filter(|_| provider.name == "oidc");
            let token = token.ok_or_else(|| outdated(&provider.name))?;
            return Self::fixed(bearer(token)?);
        }
        if let (Some(name), Some(password)) = (&user.username, &user.password) {
            let pair = BASE64_STANDARD.encode(format!("{name}:{}", password.expose_secret()));
            return Self::fixed(secret(&format!("Basic {pair}"))?);
        }
        if let Some(token) = user.token.as_ref().filter(|token| !token.expose_secret().is_empty()) {
            return Self::fixed(bearer(token.expose_secret())?);
        }
        if let Some(path) = &user.token_file {
            return TokenFile::open(path.into()).map(|file| Self(Source::File(Arc::new(file))));
        }
        if let Some(exec) = &user.exec {
            return Plugin::new(exec).map(|plugin| Self(Source::Plugin(Arc::new(plugin))));
        }
        Ok(Self(Source::Fixed(Issued::default())))
    }

    #[expect(clippy::unnecessary_wraps, reason = "the last word of a function that may fail")]
    fn fixed(header: HeaderValue) -> Result<Self, Wrong> {
        Ok(Self(Source::Fixed(Issued { header: Some(header), certificate: None })))
    }

    /// Those that are good now.
    pub(super) async fn issue(&self) -> Result<Issued, PluginError> {
        match &self.0 {
            Source::Fixed(issued) => Ok(issued.clone()),
            Source::File(file) => Ok(file.issue()),
            Source::Plugin(plugin) => plugin.issue().await,
        }
    }

    /// The API server does not take them. Whether there may be others, so that it is worth asking again.
    pub(super) fn refused(&self, issued: &Issued) -> bool {
        match &self.0 {
            Source::Fixed(_) => false,
            Source::File(file) => file.refused(issued),
            Source::Plugin(plugin) => plugin.refused(),
        }
    }

    /// From now on no plugin may use the terminal.
    pub(super) fn leave_terminal(&self) {
        if let Source::Plugin(plugin) = &self.0 {
            plugin.leave_terminal();
        }
    }
}

/// Kubernetes took these out of its own clients in 1.26.
fn outdated(provider: &str) -> Wrong {
    let cure = match provider {
        "gcp" => {
            "install gke-gcloud-auth-plugin, then `gcloud container clusters get-credentials CLUSTER` writes it anew"
        }
        "azure" => "install kubelogin, then `kubelogin convert-kubeconfig` changes it",
        "oidc" => "its id-token is missing: log in again, or use an exec plugin (`kubectl oidc-login setup`)",
        _ => "ask whoever runs the cluster for a kubeconfig with an exec plugin or a token",
    };
    (format!("it logs in with auth-provider \"{provider}\", which clients no longer have"), cure.to_owned())
}

fn bearer(token: &str) -> Result<HeaderValue, Wrong> {
    secret(&format!("Bearer {}", token.trim()))
}

fn secret(text: &str) -> Result<HeaderValue, Wrong> {
    let mut value = HeaderValue::from_str(text).map_err(|_invalid| {
        let cure = "copy it once more: it is one line of printable characters";
        ("its token has characters that no token has".to_owned(), cure.to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The header with a token that a plugin issued; nothing if it cannot stand in one.
pub(super) fn bearer_of(token: &str) -> Option<HeaderValue> {
    bearer(token).ok()
}

/// A token in a file that somebody else replaces.
struct TokenFile {
    path: PathBuf,
    read: Mutex<(HeaderValue, Instant)>,
}

impl TokenFile {
    fn open(path: PathBuf) -> Result<Self, Wrong> {
        let header = read(&path)?;
        Ok(Self { path, read: Mutex::new((header, Instant::now())) })
    }

    fn issue(&self) -> Issued {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.1.elapsed() > FRESH {
            self.renew(&mut read);
        }
        Issued { header: Some(read.0.clone()), certificate: None }
    }

    fn refused(&self, issued: &Issued) -> bool {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        self.renew(&mut read);
        issued.header.as_ref() != Some(&read.0)
    }

    /// A file that is gone or empty for a moment leaves what was in it in force.
    fn renew(&self, known: &mut (HeaderValue, Instant)) {
        match read(&self.path) {
            Ok(header) => known.0 = header,
            Err((why, _)) => tracing::debug!("the token stays as it was: {why}"),
        }
        known.1 = Instant::now();
    }
}

fn read(path: &Path) -> Result<HeaderValue, Wrong> {
    let cure = || "log in again, or correct tokenFile; in a pod, give it a service account".to_owned();
    let text = std::fs::read_to_string(path);
    let text =
        text.map_err(|error| (format!("cannot read its token, {}: {error}", path.display()), cure()))?;
    if text.trim().is_empty() {
        return Err((format!("its token file {} is empty", path.display()), cure()));
    }
    bearer(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn of_file(file: &tempfile::NamedTempFile) -> AuthInfo {
        AuthInfo { token_file: Some(file.path().to_str().unwrap().to_owned()), ..AuthInfo::default() }
    }

    fn header(issued: &Issued) -> &str {
        issued.header.as_ref().unwrap().to_str().unwrap()
    }

    #[tokio::test]
    async fn a_refused_token_is_read_again_and_one_that_is_gone_stays_in_force() {
        let file = file("one\n");
        let credentials = Credentials::of(&of_file(&file)).unwrap();
        let first = credentials.issue().await.unwrap();
        assert_eq!(header(&first), "Bearer one");
        assert!(!credentials.refused(&first), "it is still the same");
        std::fs::write(file.path(), "two").unwrap();
        assert_eq!(header(&credentials.issue().await.unwrap()), "Bearer one", "read a moment ago");
        assert!(credentials.refused(&first));
        assert_eq!(header(&credentials.issue().await.unwrap()), "Bearer two");
        std::fs::write(file.path(), "").unwrap();
        credentials.refused(&first);
        assert_eq!(header(&credentials.issue().await.unwrap()), "Bearer two");
    }

    #[test]
    fn a_token_grows_old_and_its_file_is_read_again() {
        let place = file("one");
        let token = TokenFile::open(place.path().into()).unwrap();
        std::fs::write(place.path(), "two").unwrap();
        assert_eq!(header(&token.issue()), "Bearer one");
        token.read.lock().unwrap().1 = Instant::now().checked_sub(2 * FRESH).unwrap();
        assert_eq!(header(&token.issue()), "Bearer two");
    }

    #[tokio::test]
    async fn each_kind_of_user_has_its_header() {
        let secret = |text: &str| Some(SecretString::from(text));
        let provider = |name: &str, token: &[(&str, &str)]| {
            let config = token.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let provider =
                kube::config::AuthProviderConfig { name: name.to_owned(), config, ..Default::default() };
            AuthInfo { auth_provider: Some(provider), ..AuthInfo::default() }
        };
        for (user, expected) in [
            (AuthInfo { token: secret("abc"), ..AuthInfo::default() }, Some("Bearer abc")),
            (
                AuthInfo { username: Some("me".into()), password: secret("pw"), ..AuthInfo::default() },
                Some("Basic bWU6cHc="),
            ),
            (provider("oidc", &[("id-token", "xyz")]), Some("Bearer xyz")),
            (AuthInfo::default(), None),
        ] {
            let issued = Credentials::of(&user).unwrap().issue().await.unwrap();
            assert_eq!(issued.header.as_ref().map(|_| header(&issued)), expected);
            assert!(issued.header.is_none_or(|header| header.is_sensitive()));
        }
        for (user, says) in [
            (provider("gcp", &[("cmd-path", "gcloud")]), "gke-gcloud-auth-plugin"),
            (provider("azure", &[]), "kubelogin convert-kubeconfig"),
            (provider("oidc", &[]), "log in again"),
            (provider("other", &[]), "exec plugin"),
            (AuthInfo { token: secret("a\nb"), ..AuthInfo::default() }, "copy it once more"),
            (AuthInfo { token_file: Some("/nonexistent/t".into()), ..AuthInfo::default() }, "tokenFile"),
        ] {
            let (why, cure) = Credentials::of(&user).err().unwrap();
            assert!(cure.contains(says) && !why.contains("a\nb"), "{why}: {cure}");
        }
    }
}
