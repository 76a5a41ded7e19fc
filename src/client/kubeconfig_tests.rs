//! Kubeconfigs of all kinds of wrong, and what is said of each.

use super::*;

const GOOD: &str = "
apiVersion: v1
kind: Config
current-context: lab
clusters:
- {name: here, cluster: {server: 'https://127.0.0.1:6443'}}
- {name: nowhere, cluster: {}}
- {name: odd, cluster: {server: 'https://exa mple:1'}}
- {name: lost, cluster: {server: 'https://h', certificate-authority: missing.crt}}
- {name: torn, cluster: {server: 'https://h', certificate-authority-data: '%%%'}}
- {name: blank, cluster: {server: 'https://h', certificate-authority-data: 'aGVsbG8='}}
- {name: proxied, cluster: {server: 'https://h', proxy-url: 'ftp://me:s3cret@proxy'}}
users:
- {name: me, user: {token: s3cret}}
- {name: half, user: {client-key-data: czNjcmV0}}
- {name: keyless, user: {client-certificate: k.crt, client-key: k.key}}
- {name: old, user: {auth-provider: {name: gcp, config: {access-token: s3cret}}}}
- {name: plugged, user: {exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: aws}}}
contexts:
- {name: lab, context: {cluster: here, user: me, namespace: staging}}
- {name: prod, context: {cluster: here}}
- {name: no-cluster, context: {cluster: heer, user: me}}
- {name: no-user, context: {cluster: here, user: mee}}
- {name: no-server, context: {cluster: nowhere, user: me}}
- {name: odd-server, context: {cluster: odd, user: me}}
- {name: lost-ca, context: {cluster: lost, user: me}}
- {name: torn-ca, context: {cluster: torn, user: me}}
- {name: blank-ca, context: {cluster: blank, user: me}}
- {name: half-user, context: {cluster: here, user: half}}
- {name: lost-key, context: {cluster: here, user: keyless}}
- {name: old-user, context: {cluster: here, user: old}}
- {name: plugged-user, context: {cluster: here, user: plugged}}
- {name: odd-proxy, context: {cluster: proxied, user: me}}
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> Kubeconfig {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        Kubeconfig { file: Some(path), acting: Acting::default() }
    }
}

async fn refused(config: &Kubeconfig, context: Option<&str>) -> Trouble {
    match config.connect(context).await {
        Ok(there) => panic!("{context:?} is taken: {}", there.name),
        Err(trouble) => trouble,
    }
}

#[tokio::test]
async fn each_error_names_file_context_and_cure() {
    let folder = Folder::new();
    let config = folder.file("config", GOOD);
    std::fs::write(folder.0.path().join("k.crt"), include_str!("expired.pem")).unwrap();
    let place = config.file.as_ref().unwrap().display().to_string();
    for (context, why, cure) in [
        ("lob", "has no context \"lob\"", "lab, "),
        ("no-cluster", "names the cluster \"heer\"", "clusters that are there: here, "),
        ("no-user", "names the user \"mee\"", "users that are there: me, "),
        ("no-server", "has no server", "server: https://"),
        ("odd-server", "server: ", "server: https://"),
        ("lost-ca", "missing.crt", "counts from the kubeconfig's own folder"),
        ("torn-ca", "certificate-authority-data is not base64", "base64 -w0"),
        ("blank-ca", "no certificate", "PEM"),
        ("half-user", "client-certificate is missing", "go together"),
        ("lost-key", "expired on 2020-01-02T00:00:00Z", "get a new kubeconfig"),
        ("old-user", "auth-provider \"gcp\"", "gke-gcloud-auth-plugin"),
        ("plugged-user", "v1alpha1", "kubeconfig anew"),
        ("odd-proxy", "proxy-url", "socks5://"),
    ] {
        let trouble = refused(&config, Some(context)).await;
        let whole = trouble.whole();
        assert!(whole.contains(&place) && whole.contains(&format!("\"{context}\"")), "{context}: {whole}");
        assert!(trouble.to_string().contains(why), "{context}: {whole}");
        assert!(trouble.cure.as_deref().unwrap_or_default().contains(cure), "{context}: {whole}");
        assert!(!whole.contains("s3cret") && !whole.contains("czNjcmV0"), "{context}: {whole}");
    }
}

#[tokio::test]
async fn a_file_that_is_none_is_told_with_its_place_and_without_its_values() {
    let folder = Folder::new();
    for (text, at) in [
        ("apiVersion: v1\nkind: Config\nclusters:\n- name: [", ":4:"),
        ("apiVersion: v1\nusers:\n- name: me\n  user: s3cret\n", ":4:"),
        ("apiVersion: v1\nusers:\n- {name: me, user: {token: {a: s3cret}}}\n", ":3:"),
        ("apiVersion: v1\n\tkind: Config\n", ":1:"),
    ] {
        let config = folder.file("broken", text);
        let trouble = refused(&config, None).await;
        let place = format!("{}{at}", config.file.as_ref().unwrap().display());
        assert!(trouble.what.starts_with(&place), "{}", trouble.whole());
        assert!(!trouble.whole().contains("s3cret"), "{}", trouble.whole());
        assert!(trouble.why.as_deref().is_some_and(|why| !why.is_empty()), "{}", trouble.whole());
    }
    let missing = Kubeconfig { file: Some("/nonexistent/config".into()), acting: Acting::default() };
    let trouble = refused(&missing, None).await;
    assert!(trouble.whole().contains("/nonexistent/config") && trouble.whole().contains("--kubeconfig"));
    let none =
        folder.file("none", "apiVersion: v1\nkind: Config\ncontexts: [{name: a, context: {cluster: c}}]\n");
    let trouble = refused(&none, None).await;
    assert!(trouble.whole().contains("no current context") && trouble.whole().contains("--context: a"));
    assert!(folder.file("empty", "").contexts().unwrap_err().whole().contains("has no context"));
}

#[tokio::test]
async fn the_context_says_where_and_its_namespace() {
    let folder = Folder::new();
    let config = folder.file("config", GOOD);
    let there = config.connect(None).await.unwrap();
    assert_eq!(there.name, "context lab (https://127.0.0.1:6443/)");
    assert_eq!((there.namespace.as_deref(), there.client.default_namespace()), (Some("staging"), "staging"));
    let there = config.connect(Some("prod")).await.unwrap();
    assert_eq!((there.namespace, there.client.default_namespace()), (None, "default"));
    let contexts = config.contexts().unwrap();
    assert_eq!((contexts.names.len(), contexts.current.as_deref()), (14, Some("lab")));
}

#[test]
fn a_long_list_begins_with_what_is_most_alike() {
    let names: Vec<_> = (0..40).map(|number| format!("cluster-{number}")).collect();
    let shown = listed(names.iter().map(String::as_str), "cluster-3x");
    assert!(shown.starts_with("cluster-3, cluster-30, ") && shown.ends_with(" and 28 more"), "{shown}");
}
