//! The program itself on a real API server: as a verb, and as a console on a terminal.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use tokio::process::Command;

use super::pty::Launch;

/// A folder with kubeconfigs.
pub(crate) struct Home(pub(crate) tempfile::TempDir);

/// What a verb said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

pub(crate) fn program() -> PathBuf {
    std::env::var_os("SQUALL_BIN").map_or(env!("CARGO_BIN_EXE_squall").into(), PathBuf::from)
}

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, and says where it is.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Variables of a bare environment.
    fn environment(&self, kubeconfig: &str) -> Vec<(&'static str, String)> {
        let home = self.0.path().display().to_string();
        vec![
            ("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("KUBECONFIG", kubeconfig.to_owned()),
            ("XDG_RUNTIME_DIR", home.clone()),
            ("XDG_STATE_HOME", home.clone()),
            ("HOME", home),
        ]
    }

    pub(crate) fn command(&self, kubeconfig: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(words).env_clear().envs(self.environment(kubeconfig)).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a verb to its end.
    pub(crate) async fn squall(&self, kubeconfig: &Path, words: &[&str]) -> Said {
        let output = self.command(kubeconfig.to_str().unwrap(), words).output();
        tokio::time::timeout(super::PATIENCE, output).await.expect("the verb does not end").unwrap().into()
    }

    /// A console.
    pub(crate) fn console(&self, kubeconfig: &str, words: &[&str]) -> Launch {
        let launch = Launch::squall(&[&["console"], words].concat());
        self.environment(kubeconfig).into_iter().fold(launch, |launch, (name, value)| launch.env(name, value))
    }
}

/// The kubeconfig of the common control plane with something else in it.
pub(crate) async fn kubeconfig(change: impl FnOnce(&mut Value)) -> String {
    let text = std::fs::read_to_string(super::cluster().await.kubeconfig()).unwrap();
    let mut config = serde_json::from_str(&text).unwrap();
    change(&mut config);
    config.to_string()
}

/// The same, for whoever has this token.
pub(crate) async fn kubeconfig_of(token: &str) -> String {
    kubeconfig(|config| config["users"][0]["user"] = json!({ "token": token })).await
}

/// A token of a service account of the namespace `default`, which is made if it is not there.
pub(crate) async fn token_of(client: &kube::Client, account: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    if accounts.get_opt(account).await.unwrap().is_none() {
        let new = serde_json::from_value(json!({ "metadata": { "name": account } })).unwrap();
        accounts.create(&PostParams::default(), &new).await.unwrap();
    }
    let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let issued = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
    issued.status.unwrap().token
}
