//! Credential plugins: the programs that a kubeconfig names under `exec`, as `client.authentication.k8s.io` v1 and v1beta1
//! define them.
//!
//! A plugin runs once for all who wait for it, and goes on when they give up: it may be waiting for a browser. What it
//! writes to standard output is secret and in no message.

use std::io::IsTerminal as _;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::config::{ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;

use super::credentials::{Certificate, Issued, bearer_of};
use crate::report::Trouble;

/// The versions of the interface.
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// How long a plugin may take that cannot ask anybody. One at the terminal may take as long as its user.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long before their end credentials are not used any more.
const MARGIN: SignedDuration = SignedDuration::from_secs(10);

/// How long a failure stands, and refused credentials do: eight watches that each ask anew would open eight browsers.
const STANDS: Duration = Duration::from_secs(10);

/// How much of what a failed plugin said is shown, in bytes.
const SHOWN: usize = 1000;

/// Why a plugin gave no credentials. Has nothing secret in it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the credential plugin {command} {what}")]
pub struct PluginError {
    command: String,
    what: String,
    cure: String,
}

impl PluginError {
    /// With what to do about it.
    pub fn trouble(&self, what: impl Into<String>) -> Trouble {
        Trouble { why: Some(self.to_string()), ..Trouble::new(what) }.cure(&self.cure)
    }
}

/// A plugin, and what it gave.
pub(super) struct Plugin {
    exec: ExecConfig,
    command: String,
    version: String,
    /// Held by whoever runs it.
    turn: tokio::sync::Mutex<()>,
    last: Mutex<Option<Last>>,
    /// Somebody else has the terminal.
    away: AtomicBool,
}

/// What the last run came to.
struct Last {
    at: Instant,
    outcome: Result<Issued, PluginError>,
    expires: Option<Timestamp>,
    refused: bool,
}

impl Plugin {
    /// # Errors
    /// What is wrong with its entry, and what cures it.
    pub(super) fn new(exec: &ExecConfig) -> Result<Self, (String, String)> {
        let command = exec.command.clone().filter(|command| !command.is_empty());
        let command = command
            .ok_or_else(|| ("its exec has no command".to_owned(), "name the plugin's program".to_owned()))?;
        let version = exec.api_version.clone().unwrap_or_default();
        if !VERSIONS.contains(&version.as_str()) {
            let why = format!("its exec has apiVersion \"{version}\", which is none that plugins have");
            return Err((
                why,
                format!("get the kubeconfig anew with the plugin's present release ({})", VERSIONS[0]),
            ));
        }
        let last = Mutex::new(None);
        let (turn, away) = (tokio::sync::Mutex::default(), AtomicBool::new(false));
        Ok(Self { exec: exec.clone(), command, version, turn, last, away })
    }

    pub(super) fn leave_terminal(&self) {
        self.away.store(true, Ordering::Release);
    }

    /// The credentials that are good now.
    pub(super) async fn issue(self: &Arc<Self>) -> Result<Issued, PluginError> {
        if let Some(outcome) = self.known() {
            return outcome;
        }
        let this = Arc::clone(self);
        let run = tokio::spawn(async move {
            let _turn = this.turn.lock().await;
            if let Some(outcome) = this.known() {
                return outcome;
            }
            let (outcome, expires) = match this.run().await {
                Ok((issued, expires)) => (Ok(issued), expires),
                Err(error) => (Err(error), None),
            };
            let last = Last { at: Instant::now(), outcome: outcome.clone(), expires, refused: false };
            *this.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
            outcome
        });
        run.await.unwrap_or_else(|error| Err(self.failed(format!("was given up: {error}"), "try again")))
    }

    /// The API server does not take what it gave; whether it may be asked again.
    pub(super) fn refused(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_mut().is_some_and(|last| {
            last.refused = true;
            last.at.elapsed() > STANDS
        })
    }

    /// What the last run came to, as long as it counts.
    fn known(&self) -> Option<Result<Issued, PluginError>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let last = last.as_ref()?;
        let stands = last.at.elapsed() <= STANDS;
        let counts = match &last.outcome {
            Err(_) => stands,
            Ok(_) if last.refused && !stands => false,
            Ok(_) => {
                last.expires.is_none_or(|end| Timestamp::now() + MARGIN < end) || stands && last.is_good()
            }
        };
        counts.then(|| last.outcome.clone())
    }

    async fn run(&self) -> Result<(Issued, Option<Timestamp>), PluginError> {
        let interactive = self.may_ask()?;
        tracing::debug!("runs the credential plugin {}", self.command);
        let mut command = self.command(interactive);
        let child = command.spawn().map_err(|error| self.not_started(&error))?;
        let output = if interactive {
            child.wait_with_output().await
        } else {
            let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
            ended.map_err(|_elapsed| {
                let what = format!("has not ended after {} s", PATIENCE.as_secs());
                self.failed(what, "run it by hand to see what it waits for")
            })?
        };
        let output =
            output.map_err(|error| self.failed(format!("cannot be waited for: {error}"), "try again"))?;
        if !output.status.success() {
            return Err(self.ended(output.status, &output.stderr));
        }
        self.read(&output.stdout)
    }

    fn command(&self, interactive: bool) -> Command {
        let mut command = Command::new(&self.command);
        command.args(self.exec.args.iter().flatten()).kill_on_drop(true).stdout(Stdio::piped());
        for variable in self.exec.env.iter().flatten() {
            if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
                command.env(name, value);
            }
        }
        let mut spec = json!({ "interactive": interactive });
        if let (Some(cluster), serde_json::Value::Object(spec)) =
            (self.exec.cluster.as_ref().and_then(|cluster| serde_json::to_value(cluster).ok()), &mut spec)
        {
            spec.insert("cluster".to_owned(), cluster);
        }
        let info = json!({ "apiVersion": self.version, "kind": "ExecCredential", "spec": spec });
        command.env("KUBERNETES_EXEC_INFO", info.to_string());
        if interactive {
            command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
        } else {
            // In the background of the terminal, it cannot read from there either.
            command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        }
        command
    }

    /// Whether it may use the terminal.
    fn may_ask(&self) -> Result<bool, PluginError> {
        let away = self.away.load(Ordering::Acquire);
        let is_free = !away && std::io::stdin().is_terminal();
        match self.exec.interactive_mode {
            Some(ExecInteractiveMode::Never) => Ok(false),
            Some(ExecInteractiveMode::Always) if away => Err(self.failed(
                "needs the terminal, and the console has it",
                "leave the console and start it with --context: it logs in first; or log in with kubectl and try again",
            )),
            Some(ExecInteractiveMode::Always) if !is_free => Err(self.failed(
                "needs a terminal, and standard input is none",
                "run this in a terminal, or use credentials that need none",
            )),
            Some(ExecInteractiveMode::Always | ExecInteractiveMode::IfAvailable) | None => Ok(is_free),
        }
    }

    fn not_started(&self, error: &std::io::Error) -> PluginError {
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                let hint = self.exec.install_hint.as_deref().map(str::trim).filter(|hint| !hint.is_empty());
                self.failed("is not installed", hint.unwrap_or("install it, or put its folder into PATH"))
            }
            _ => self.failed(format!("cannot be started: {error}"), "look at its file's mode and its path"),
        }
    }

    fn ended(&self, status: ExitStatus, said: &[u8]) -> PluginError {
        let said = String::from_utf8_lossy(said);
        let said = said.trim();
        let from = said.len().saturating_sub(SHOWN);
        let from = (from..said.len()).find(|at| said.is_char_boundary(*at)).unwrap_or(said.len());
        let said = said.get(from..).unwrap_or_default();
        let said = if said.is_empty() { String::new() } else { format!("; it said: {said}") };
        self.failed(format!("failed ({status}){said}"), "log in as it says, or run it by hand to see more")
    }

    /// What it gave. Nothing of it is repeated where it is wrong.
    fn read(&self, output: &[u8]) -> Result<(Issued, Option<Timestamp>), PluginError> {
        let wrong =
            |what: &str| self.failed(what, "run it by hand: it is to print an ExecCredential as JSON");
        // JSON is YAML, and some plugins write that.
        let given: Given =
            serde_yaml::from_slice(output).map_err(|_secret| wrong("printed what is no ExecCredential"))?;
        if given.kind != "ExecCredential" || given.api_version != self.version {
            return Err(self.failed(
                format!("answered with \"{}\" and not {}", given.api_version, self.version),
                "bring the plugin and the apiVersion in the kubeconfig to the same release",
            ));
        }
        let status = given.status.ok_or_else(|| wrong("printed no status"))?;
        let expires = status.expiration_timestamp.map(|time| time.parse::<Timestamp>()).transpose();
        let expires = expires.map_err(|_invalid| wrong("gave an expirationTimestamp that is no time"))?;
        let certificate = match (status.client_certificate_data, status.client_key_data) {
            (Some(chain), Some(key)) => Some(Arc::new(Certificate { chain, key: key.into() })),
            (None, None) => None,
            _ => return Err(wrong("gave a certificate without its key, or a key alone")),
        };
        let token = status.token.filter(|token| !token.is_empty());
        let header = match token {
            Some(token) => Some(
                bearer_of(&token).ok_or_else(|| wrong("gave a token with characters that no token has"))?,
            ),
            None => None,
        };
        if header.is_none() && certificate.is_none() {
            return Err(wrong("gave neither a token nor a certificate"));
        }
        Ok((Issued { header, certificate }, expires))
    }

    fn failed(&self, what: impl Into<String>, cure: impl Into<String>) -> PluginError {
        PluginError { command: self.command.clone(), what: what.into(), cure: cure.into() }
    }
}

impl Last {
    /// Whether its credentials have not ended yet: those with a short life are used to their end.
    fn is_good(&self) -> bool {
        self.expires.is_none_or(|end| Timestamp::now() < end)
    }
}

/// What a plugin prints.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    expiration_timestamp: Option<String>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

#[cfg(test)]
#[path = "plugin_tests.rs"]
mod tests;
