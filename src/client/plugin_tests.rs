//! Plugins as shell scripts: what each gives, and what is said of those that give nothing.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;

use super::*;

const V1: &str = VERSIONS[0];

/// A folder with a script that notes each of its runs.
struct Scripted(tempfile::TempDir);

impl Scripted {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugin");
        std::fs::write(
            &path,
            format!("#!/bin/sh\necho run >>'{}/runs'\n{script}\n", folder.path().display()),
        )
        .unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn exec(&self) -> ExecConfig {
        let command = self.0.path().join("plugin").to_str().unwrap().to_owned();
        ExecConfig { command: Some(command), api_version: Some(V1.to_owned()), ..ExecConfig::default() }
    }

    fn plugin(&self) -> Arc<Plugin> {
        Arc::new(Plugin::new(&self.exec()).unwrap())
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.0.path().join("runs")).unwrap_or_default().lines().count()
    }
}

fn credential(status: &str) -> String {
    format!("echo '{{\"apiVersion\": \"{V1}\", \"kind\": \"ExecCredential\", \"status\": {status}}}'")
}

fn header(issued: &Issued) -> &str {
    issued.header.as_ref().unwrap().to_str().unwrap()
}

fn in_seconds(seconds: i64) -> String {
    (Timestamp::now() + SignedDuration::from_secs(seconds)).to_string()
}

/// As if so much time had passed since the last run.
fn pass(plugin: &Plugin, time: Duration) {
    let mut last = plugin.last.lock().unwrap();
    let last = last.as_mut().unwrap();
    last.at = last.at.checked_sub(time).unwrap();
}

#[tokio::test]
async fn it_runs_once_for_all_who_wait_and_again_when_its_token_ends() {
    let script = credential(&format!(r#"{{"token": "one", "expirationTimestamp": "{}"}}"#, in_seconds(3600)));
    let scripted = Scripted::new(&format!("sleep 0.2; {script}"));
    let plugin = scripted.plugin();
    let all = futures::future::join_all((0..8).map(|_| plugin.issue())).await;
    assert!(all.iter().all(|issued| header(issued.as_ref().unwrap()) == "Bearer one"));
    assert_eq!(scripted.runs(), 1);
    plugin.last.lock().unwrap().as_mut().unwrap().expires = Some(Timestamp::now());
    plugin.issue().await.unwrap();
    assert_eq!(scripted.runs(), 2);
}

#[tokio::test]
async fn a_refused_token_is_asked_for_again_but_not_at_once() {
    let scripted = Scripted::new(&credential(r#"{"token": "one"}"#));
    let plugin = scripted.plugin();
    plugin.issue().await.unwrap();
    assert!(!plugin.refused(), "it was given a moment ago");
    plugin.issue().await.unwrap();
    assert_eq!(scripted.runs(), 1);
    pass(&plugin, 2 * STANDS);
    assert!(plugin.refused());
    plugin.issue().await.unwrap();
    assert_eq!(scripted.runs(), 2);
    pass(&plugin, 2 * STANDS);
    plugin.issue().await.unwrap();
    assert_eq!(scripted.runs(), 2, "a token without an end is good until it is refused");
}

#[tokio::test]
async fn who_gives_up_does_not_stop_it() {
    let scripted = Scripted::new(&format!("sleep 0.3; {}", credential(r#"{"token": "one"}"#)));
    let plugin = scripted.plugin();
    tokio::time::timeout(Duration::from_millis(50), plugin.issue()).await.err().unwrap();
    assert_eq!(header(&plugin.issue().await.unwrap()), "Bearer one");
    assert_eq!(scripted.runs(), 1);
}

#[tokio::test]
async fn a_failure_stands_for_a_while() {
    let scripted = Scripted::new("exit 1");
    let plugin = scripted.plugin();
    futures::future::join_all((0..8).map(|_| plugin.issue())).await;
    assert_eq!(scripted.runs(), 1);
    pass(&plugin, 2 * STANDS);
    plugin.issue().await.err().unwrap();
    assert_eq!(scripted.runs(), 2);
}

#[tokio::test]
async fn certificates_and_yaml_are_taken_too() {
    let both = r#"{"token": "t", "clientCertificateData": "CERT", "clientKeyData": "KEY"}"#;
    let issued = Scripted::new(&credential(both)).plugin().issue().await.unwrap();
    assert_eq!(header(&issued), "Bearer t");
    assert_eq!(issued.certificate.unwrap().chain, "CERT");
    let yaml = format!("printf 'apiVersion: {V1}\\nkind: ExecCredential\\nstatus: {{token: t}}\\n'");
    assert_eq!(header(&Scripted::new(&yaml).plugin().issue().await.unwrap()), "Bearer t");
}

#[tokio::test]
async fn it_learns_what_it_is_asked_for() {
    let script =
        "printf '%s' \"$KUBERNETES_EXEC_INFO\" >\"$OUT\"; printf '%s|%s' \"$1\" \"$MORE\" >\"$OUT.args\";";
    let scripted = Scripted::new(&format!("{script} {}", credential(r#"{"token": "t"}"#)));
    let out = scripted.0.path().join("info");
    let variable = |name: &str, value: &str| {
        HashMap::from([("name".to_owned(), name.to_owned()), ("value".to_owned(), value.to_owned())])
    };
    let mut exec = scripted.exec();
    exec.args = Some(vec!["get-token".to_owned()]);
    exec.env = Some(vec![variable("OUT", out.to_str().unwrap()), variable("MORE", "yes")]);
    exec.interactive_mode = Some(ExecInteractiveMode::Never);
    exec.cluster = Some(kube::config::ExecAuthCluster {
        server: Some("https://10.0.0.1".to_owned()),
        insecure_skip_tls_verify: None,
        certificate_authority_data: Some(b"CA".to_vec()),
        proxy_url: None,
        tls_server_name: Some("name".to_owned()),
        config: None,
    });
    Arc::new(Plugin::new(&exec).unwrap()).issue().await.unwrap();
    let info: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    let cluster = json!({
        "server": "https://10.0.0.1", "certificate-authority-data": "Q0E=", "tls-server-name": "name",
    });
    let spec = json!({ "interactive": false, "cluster": cluster });
    assert_eq!(info, json!({ "apiVersion": V1, "kind": "ExecCredential", "spec": spec }));
    assert_eq!(std::fs::read_to_string(out.with_extension("args")).unwrap(), "get-token|yes");
}

#[tokio::test]
async fn what_went_wrong_is_told_and_nothing_secret() {
    let old =
        "echo '{\"apiVersion\": \"client.authentication.k8s.io/v1beta1\", \"kind\": \"ExecCredential\"}'";
    for (script, says) in [
        ("echo s3cret; echo 'please log in first' >&2; exit 3".to_owned(), "it said: please log in first"),
        ("echo s3cret".to_owned(), "no ExecCredential"),
        ("echo '{\"token\": \"s3cret\"}'".to_owned(), "answered with \"\""),
        (old.to_owned(), "client.authentication.k8s.io/v1beta1"),
        (credential(r#"{"clientKeyData": "s3cret"}"#), "a key alone"),
        (credential(r#"{"expirationTimestamp": "s3cret", "token": "t"}"#), "that is no time"),
        (credential(r#"{"token": "s3cret\u0001"}"#), "characters that no token has"),
        (credential("{}"), "neither a token nor a certificate"),
    ] {
        let error = Scripted::new(&script).plugin().issue().await.err().unwrap();
        let trouble = error.trouble("cannot log in");
        assert!(trouble.whole().contains(says), "{script}: {}", trouble.whole());
        assert!(!format!("{} {error:?}", trouble.whole()).contains("s3cret"), "{error:?}");
        assert!(trouble.cure.is_some());
    }
}

#[tokio::test]
async fn what_cannot_run_says_how_it_could() {
    let named = |command: &str| ExecConfig {
        command: Some(command.to_owned()),
        api_version: Some(V1.to_owned()),
        ..ExecConfig::default()
    };
    let hint =
        ExecConfig { install_hint: Some("brew install it\n".to_owned()), ..named("squall-no-such-plugin") };
    let always = ExecConfig { interactive_mode: Some(ExecInteractiveMode::Always), ..named("/bin/true") };
    for (exec, away, says) in [
        (hint, false, "squall-no-such-plugin is not installed; brew install it"),
        (named("squall-no-such-plugin"), false, "is not installed; install it"),
        (named("/etc/passwd"), false, "cannot be started: "),
        (always, true, "needs the terminal, and the console has it"),
    ] {
        let plugin = Arc::new(Plugin::new(&exec).unwrap());
        if away {
            plugin.leave_terminal();
        }
        let error = plugin.issue().await.err().unwrap();
        assert!(error.trouble("x").whole().contains(says), "{}", error.trouble("x").whole());
    }
    for (exec, says) in [
        (
            ExecConfig { api_version: Some("client.authentication.k8s.io/v1alpha1".into()), ..named("x") },
            "v1alpha1",
        ),
        (ExecConfig { command: None, ..named("x") }, "no command"),
    ] {
        let (why, _) = Plugin::new(&exec).err().unwrap();
        assert!(why.contains(says), "{why}");
    }
}
