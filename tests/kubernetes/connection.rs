//! The way to a real API server: files, contexts, certificates, proxies, plugins, a pod's own account; and what is said
//! where it does not go.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::program::{Home, kubeconfig, kubeconfig_of, token_of};
use super::{PATIENCE, cluster};

async fn config_map(client: &kube::Client, namespace: &str, name: &str) {
    let object = serde_json::from_value::<ConfigMap>(json!({ "metadata": { "name": name } })).unwrap();
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &object).await.unwrap();
}

#[tokio::test]
async fn several_files_make_one_and_the_context_names_the_namespace() {
    let home = Home::new();
    let client = cluster().await.client("default").await.unwrap();
    config_map(&client, "kube-public", "of-the-context").await;
    config_map(&client, "default", "of-the-flag").await;
    // The context is in one file, its cluster and user in another; the first says which is current.
    let rest = kubeconfig(|config| config["contexts"] = json!([])).await;
    let context = json!({ "cluster": "test-cluster", "user": "user", "namespace": "kube-public" });
    let first = json!({ "current-context": "lab", "contexts": [{ "name": "lab", "context": context }] });
    let (first, rest) = (home.file("first", &first.to_string()), home.file("rest", &rest));
    let missing = home.path("missing");
    let list = std::env::join_paths([&first, &missing, &rest]).unwrap();
    let list = std::path::Path::new(&list);
    let own = home.squall(list, &["get", "configmaps"]).await;
    assert!(own.code == Some(0) && own.out.contains("of-the-context"), "{own:?}");
    let named = home.squall(list, &["get", "configmaps", "-n", "default"]).await;
    assert!(named.out.contains("of-the-flag") && !named.out.contains("of-the-context"), "{named:?}");
    let other = home.squall(list, &["get", "configmaps", "--context", "prod"]).await;
    assert_eq!(other.code, Some(1), "{other:?}");
    assert!(
        other.err.contains("has no context \"prod\"") && other.err.contains("--context: lab, test-cluster")
            || other.err.contains("--context: lab"),
        "{}",
        other.err
    );
    assert!(other.err.contains(first.to_str().unwrap()), "{}", other.err);
    // --kubeconfig alone counts, and wins.
    let alone = home.squall(list, &["get", "configmaps", "--kubeconfig", first.to_str().unwrap()]).await;
    assert!(alone.err.contains("names the cluster \"test-cluster\""), "{}", alone.err);
}

/// What `squall get nodes` says with this kubeconfig.
async fn refused(home: &Home, change: impl FnOnce(&mut Value)) -> String {
    let file = home.file("changed", &kubeconfig(change).await);
    let said = home.squall(&file, &["get", "nodes"]).await;
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:?}");
    // One error, with its cure, and no log beside it.
    assert!(said.err.starts_with("error: cannot list nodes\n  because: "), "{}", said.err);
    assert_eq!(said.err.lines().count(), 3, "{}", said.err);
    assert!(said.err.contains("\n  to do: "), "{}", said.err);
    said.err
}

#[tokio::test]
async fn what_is_in_the_way_is_told_with_its_cure() {
    let home = Home::new();
    let port = cluster().await.config("default").await.unwrap().cluster_url.port_u16().unwrap();
    let cluster_of = |config: &mut Value, change: Value| {
        json_patch::merge(&mut config["clusters"][0]["cluster"], &change);
    };
    let server = |url: String| json!({ "server": url });
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let other_authority = include_str!("../../src/client/expired.pem");
    let other_authority = {
        use base64::Engine as _;
        base64::prelude::BASE64_STANDARD.encode(other_authority)
    };
    for (change, why, cure) in [
        (server(format!("https://127.0.0.1:{closed}")), "connection refused", "nobody listens there"),
        (server("https://squall.invalid:6443".into()), "failed to lookup address", "VPN"),
        (
            json!({ "certificate-authority-data": other_authority }),
            "not trusted here",
            "is not this cluster's",
        ),
        (json!({ "certificate-authority-data": null }), "not trusted here", "kubeconfig anew"),
        (
            json!({ "tls-server-name": "wrong.example" }),
            "not for wrong.example but for localhost",
            "tls-server-name",
        ),
        (server(format!("http://127.0.0.1:{port}")), "HTTP request to an HTTPS server", "https://"),
        (
            json!({ "proxy-url": format!("http://127.0.0.1:{closed}") }),
            "through the proxy http://127.0.0.1:",
            "proxy running",
        ),
    ] {
        let said = refused(&home, |config| cluster_of(config, change.clone())).await;
        assert!(said.contains(why) && said.contains(cure), "{change}: {said}");
    }
    for (user, why, cure) in [
        (json!({ "token": "s3cret" }), "Unauthorized", "log in again"),
        (json!({}), "no credentials came with the request", "log in again"),
    ] {
        let said = refused(&home, |config| config["users"][0]["user"] = user.clone()).await;
        assert!(said.contains(why) && said.contains(cure) && !said.contains("s3cret"), "{user}: {said}");
    }
}

#[tokio::test]
async fn a_name_of_the_certificate_and_no_check_at_all_lead_there_too() {
    let home = Home::new();
    for change in [
        json!({ "tls-server-name": "kubernetes.default.svc" }),
        json!({ "insecure-skip-tls-verify": true, "certificate-authority-data": null }),
    ] {
        let text =
            kubeconfig(|config| json_patch::merge(&mut config["clusters"][0]["cluster"], &change)).await;
        let said = home.squall(&home.file("changed", &text), &["get", "namespaces"]).await;
        assert!(said.code == Some(0) && said.out.contains("kube-system"), "{change}: {said:?}");
    }
}

#[tokio::test]
async fn one_acts_as_somebody_else() {
    let home = Home::new();
    let file = home.file("config", &kubeconfig(|_| ()).await);
    let ann = home.squall(&file, &["get", "nodes", "--as", "ann"]).await;
    assert!(ann.err.contains("because: ann may not list nodes"), "{}", ann.err);
    assert!(
        ann.err.contains("kubectl create clusterrole squall-list-nodes --verb=list --resource=nodes"),
        "{}",
        ann.err
    );
    let master = ["get", "namespaces", "--as", "ann", "--as-group", "system:masters", "--as-group", "b"];
    let master = home.squall(&file, &master).await;
    assert!(master.code == Some(0) && master.out.contains("kube-system"), "{master:?}");
    let alone = home.squall(&file, &["get", "nodes", "--as-group", "x"]).await;
    assert_eq!(alone.code, Some(2), "{alone:?}");
    // A kubeconfig may say it as well.
    let text = kubeconfig(|config| config["users"][0]["user"]["as"] = json!("bob")).await;
    let bob = home.squall(&home.file("bob", &text), &["get", "nodes"]).await;
    assert!(bob.err.contains("bob may not list nodes"), "{}", bob.err);
}

/// An HTTP proxy on loopback that takes one user; the number of tunnels that it made.
async fn proxy() -> (u16, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
    let tunnels = std::sync::Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let tunnels = std::sync::Arc::clone(&tunnels);
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(near.read_u8().await.unwrap());
                }
                let request = String::from_utf8(request).unwrap();
                // me:s3cret
                if !request.to_ascii_lowercase().contains("proxy-authorization: basic ")
                    || !request.contains("bWU6czNjcmV0")
                {
                    return near.write_all(b"HTTP/1.1 407 No\r\n\r\n").await.unwrap();
                }
                let there = request.split(' ').nth(1).unwrap().to_owned();
                let mut far = TcpStream::connect(there).await.unwrap();
                near.write_all(b"HTTP/1.1 200 Yes\r\n\r\n").await.unwrap();
                tunnels.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
            });
        }
    });
    (port, count)
}

#[tokio::test]
async fn a_proxy_is_gone_through() {
    let home = Home::new();
    let (port, tunnels) = proxy().await;
    let by =
        |url: String| kubeconfig(move |config| config["clusters"][0]["cluster"]["proxy-url"] = json!(url));
    let file = home.file("config", &by(format!("http://me:s3cret@127.0.0.1:{port}")).await);
    let said = home.squall(&file, &["get", "namespaces"]).await;
    assert!(said.code == Some(0) && said.out.contains("kube-system"), "{said:?}");
    assert!(tunnels.load(std::sync::atomic::Ordering::SeqCst) > 0, "it went another way");
    let file = home.file("config", &by(format!("http://me:wr0ng@127.0.0.1:{port}")).await);
    let said = home.squall(&file, &["get", "namespaces"]).await;
    assert!(said.err.contains(&format!("through the proxy http://127.0.0.1:{port}")), "{}", said.err);
    assert!(!said.err.contains("wr0ng"), "{}", said.err);
    // The environment names one too, and excepts from it.
    let plain = home.file("plain", &kubeconfig(|_| ()).await);
    let run = async |variables: &[(&str, String)]| {
        let mut command = home.command(plain.to_str().unwrap(), &["get", "namespaces"]);
        command.envs(variables.iter().map(|(name, value)| (*name, value.clone()))).output().await.unwrap()
    };
    let nowhere = ("HTTPS_PROXY", "http://127.0.0.1:9".to_owned());
    assert!(!run(std::slice::from_ref(&nowhere)).await.status.success());
    assert!(run(&[nowhere, ("NO_PROXY", "127.0.0.0/8".to_owned())]).await.status.success());
}

/// A kubeconfig with a plugin that is this script.
async fn plugin(home: &Home, script: &str) -> std::path::PathBuf {
    let path = home.file("plugin", &format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let exec = json!({
        // Relative to the kubeconfig.
        "apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", "interactiveMode": "IfAvailable",
        "installHint": "see the manual", "provideClusterInfo": true,
    });
    home.file("config", &kubeconfig(|config| config["users"][0]["user"] = json!({ "exec": exec })).await)
}

fn credential(status: &Value) -> String {
    let version = "client.authentication.k8s.io/v1";
    let credential = json!({ "apiVersion": version, "kind": "ExecCredential", "status": status });
    format!("cat <<'END'\n{credential}\nEND")
}

#[tokio::test]
async fn plugins_give_tokens_and_certificates() {
    let home = Home::new();
    let client = cluster().await.client("default").await.unwrap();
    let token = token_of(&client, "plugged").await;
    let file = plugin(&home, &credential(&json!({ "token": token }))).await;
    let said = home.squall(&file, &["get", "nodes"]).await;
    assert!(said.err.contains("system:serviceaccount:default:plugged may not list nodes"), "{}", said.err);
    assert!(!said.err.contains(&token), "{}", said.err);

    let mut user = Value::Null;
    kubeconfig(|config| user = config["users"][0]["user"].take()).await;
    let pem = |field: &str| {
        use base64::Engine as _;
        let data = base64::prelude::BASE64_STANDARD.decode(user[field].as_str().unwrap()).unwrap();
        String::from_utf8(data).unwrap()
    };
    let certificate = json!({
        "clientCertificateData": pem("client-certificate-data"), "clientKeyData": pem("client-key-data"),
    });
    let file = plugin(&home, &credential(&certificate)).await;
    let said = home.squall(&file, &["get", "namespaces"]).await;
    assert!(said.code == Some(0) && said.out.contains("kube-system"), "{said:?}");

    let file = plugin(&home, "echo 'log in at https://example.invalid' >&2; echo s3cret; exit 3").await;
    let said = home.squall(&file, &["-v", "get", "nodes"]).await;
    for word in ["plugin failed (exit status: 3)", "it said: log in at https://example.invalid", "to do: "] {
        assert!(said.err.contains(word), "{}", said.err);
    }
    assert!(!said.err.contains("s3cret"), "{}", said.err);
    std::fs::remove_file(home.path("plugin")).unwrap();
    let said = home.squall(&file, &["get", "nodes"]).await;
    assert!(
        said.err.contains("is not installed") && said.err.contains("to do: see the manual"),
        "{}",
        said.err
    );
}

#[tokio::test]
async fn a_console_logs_in_before_it_takes_the_terminal_and_renews_without_it() {
    let home = Home::new();
    let client = cluster().await.client("default").await.unwrap();
    let token = token_of(&client, "asker").await;
    // It asks once, where it may; each token is good for a moment longer than the margin.
    let given =
        credential(&json!({ "token": token, "expirationTimestamp": "$WHEN" })).replace("<<'END'", "<<END");
    let script = format!(
        "case $KUBERNETES_EXEC_INFO in *'\"interactive\":true'*)\n\
           printf 'code: ' >&2; read code; test \"$code\" = 42 || exit 1;;\n\
         esac\n\
         echo run >>'{}'; echo noise >&2\n\
         WHEN=$(date -u -d '+13 seconds' +%Y-%m-%dT%H:%M:%SZ)\n{given}",
        home.path("runs").display(),
    );
    let file = plugin(&home, &script).await;
    let runs = home.path("runs");
    let shown = tokio::task::spawn_blocking(move || {
        let mut pty = home.console(file.to_str().unwrap(), &[]).size(120, 40).start();
        pty.wait_text("code: ");
        assert!(!pty.screen().is_alternate(), "it asks on the console's screen");
        pty.type_text("42\r");
        pty.wait_text("system:serviceaccount:default:asker may not list nodes");
        let count = || std::fs::read_to_string(&runs).unwrap().lines().count();
        let begun = Instant::now();
        while count() < 3 {
            assert!(begun.elapsed() < 3 * PATIENCE, "it was run {} times", count());
            pty.watch(Duration::from_millis(200));
        }
        let frame = pty.screen().frame();
        pty.press("q");
        assert!(pty.wait_end().success());
        frame
    });
    let shown = shown.await.unwrap();
    assert!(!shown.contains("noise") && !shown.contains("STALE"), "{shown}");
}

#[tokio::test]
async fn no_secret_is_in_the_most_talkative_log() {
    let home = Home::new();
    let client = cluster().await.client("default").await.unwrap();
    let token = token_of(&client, "quiet").await;
    let file = home.file("config", &kubeconfig_of(&token).await);
    for words in [&["-vv", "get", "nodes"][..], &["-vv", "status"]] {
        let said = home.squall(&file, words).await;
        assert!(said.err.contains("answered"), "there is no log: {}", said.err);
        assert!(!said.err.contains(&token), "{words:?}: the token is in the log");
    }
}

/// A pod's file system around the program: tmpfs over /var/run/secrets, filled by the shell script `fill`.
fn in_a_pod(home: &Home, url: &http::Uri, words: &str) -> tokio::process::Child {
    let script = format!(
        "mount -t tmpfs tmpfs /run && mkdir -p /run/secrets/kubernetes.io && \
         ln -s {0}/account /run/secrets/kubernetes.io/serviceaccount && exec {1} {words}",
        home.0.path().display(),
        super::program::program().display(),
    );
    let mut command = home.command("", &[]);
    let command = command.as_std_mut();
    let environment: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    let mut unshare = tokio::process::Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--mount", "sh", "-c", &script]).env_clear().envs(environment).env_remove("KUBECONFIG");
    unshare.env("KUBERNETES_SERVICE_HOST", url.host().unwrap());
    unshare.env("KUBERNETES_SERVICE_PORT", url.port_u16().unwrap().to_string());
    unshare.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    unshare.spawn().unwrap()
}

#[tokio::test]
async fn a_pod_has_its_account_and_takes_the_new_token() {
    let home = Home::new();
    let client = cluster().await.client("default").await.unwrap();
    let url = cluster().await.config("default").await.unwrap().cluster_url;
    std::fs::create_dir(home.path("account")).unwrap();
    let mut config = Value::Null;
    kubeconfig(|read| config = read.take()).await;
    let authority = config["clusters"][0]["cluster"]["certificate-authority-data"].as_str().unwrap();
    let authority = {
        use base64::Engine as _;
        base64::prelude::BASE64_STANDARD.decode(authority).unwrap()
    };
    home.file("account/ca.crt", std::str::from_utf8(&authority).unwrap());
    home.file("account/namespace", "kube-public\n");

    let nothing = in_a_pod(&home, &url, "get configmaps").wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(said.contains("serviceaccount/token") && said.contains("service account"), "{said}");

    // A token that ends with a Secret, so that it can be taken back.
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
    let secret = json!({ "metadata": { "name": "bound" } });
    let secret =
        secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    let other = token_of(&client, "pod").await;
    let bound = json!({ "spec": { "audiences": [], "boundObjectRef": {
        "kind": "Secret", "apiVersion": "v1", "name": "bound", "uid": secret.metadata.uid } } });
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
        Api::namespaced(client.clone(), "default");
    let request = serde_json::from_value(bound).unwrap();
    let first = accounts.create_token_request("pod", &PostParams::default(), &request).await.unwrap();
    home.file("account/token", &first.status.unwrap().token);
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "pod" },
        "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"] }],
    });
    super::rights::bind(&client, "kube-public", "pod", role).await;

    let mut child = in_a_pod(&home, &url, "get configmaps -w -o name");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut errors = child.stderr.take().unwrap();
    config_map(&client, "kube-public", "before-rotation").await;
    let begun = Instant::now();
    let mut next = async |wanted: &str| {
        let seen = async { while lines.next_line().await.unwrap().expect("it ended") != wanted {} };
        if tokio::time::timeout(2 * PATIENCE, seen).await.is_err() {
            let mut said = vec![0; 4096];
            let count = tokio::time::timeout(Duration::from_secs(1), errors.read(&mut said)).await;
            let count = count.map_or(0, Result::unwrap_or_default);
            panic!("no {wanted}: {}", String::from_utf8_lossy(&said[..count]));
        }
    };
    next("configmap/before-rotation").await;
    secrets.delete("bound", &DeleteParams::default()).await.unwrap();
    home.file("account/token", &other);
    // The watch in place goes on until it ends, after 20 s; the next one needs a token that counts.
    tokio::time::sleep(Duration::from_secs(22)).await;
    config_map(&client, "kube-public", "after-rotation").await;
    next("configmap/after-rotation").await;
    println!("seen with the new token after {:.1} s", begun.elapsed().as_secs_f64());
    let change = Patch::Merge(json!({ "data": { "a": "b" } }));
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-public");
    maps.patch("after-rotation", &PatchParams::default(), &change).await.unwrap();
    next("configmap/after-rotation").await;
}
