//! The store under the API server: where objects change without the work of its write path. Every reader of the API sees such
//! changes as it sees others, as events of its watch.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use kube::Client;
use serde_json::{Value, json};
use squall::client::over_unix;

/// etcd, by its JSON interface (`etcdserverpb.KV`), in which keys and values are base64.
pub(crate) struct Etcd(Client);

/// What is stored under a key.
#[derive(Clone, PartialEq)]
pub(crate) struct Stored {
    key: String,
    value: String,
}

impl Etcd {
    /// That of the control plane in the folder.
    pub(crate) fn of(folder: &Path) -> Self {
        Self(over_unix(&folder.join("etcd.sock"), "default"))
    }

    /// What the API server stored for a pod.
    pub(crate) async fn pod(&self, namespace: &str, name: &str) -> Stored {
        let key = STANDARD.encode(format!("/registry/pods/{namespace}/{name}"));
        let answer = self.ask("/v3/kv/range", &json!({"key": key})).await;
        let value = answer["kvs"][0]["value"].as_str().expect("a stored pod").to_owned();
        Stored { key, value }
    }

    /// Stores all of them at once.
    pub(crate) async fn put(&self, all: impl IntoIterator<Item = Stored>) {
        let puts =
            all.into_iter().map(|Stored { key, value }| json!({"requestPut": {"key": key, "value": value}}));
        let answer = self.ask("/v3/kv/txn", &json!({"success": puts.collect::<Vec<_>>()})).await;
        assert_eq!(answer["succeeded"], true, "{answer}");
    }

    async fn ask(&self, path: &str, question: &Value) -> Value {
        let request = Request::post(path).body(question.to_string().into_bytes()).expect("a request");
        self.0.request(request).await.expect("etcd's answer")
    }
}
