//! What was written, as the API server itself counts it.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client};
use squall::steady_state::exposition::{Format, read};

/// Writes by resource with its group, subresource and verb, `injections.squall.dev/status PATCH`, since the API server
/// started. The events of Kubernetes' own parts have no group; ours have one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes {
    requests: BTreeMap<String, u64>,
    revision: u64,
}

impl Writes {
    /// Those so far.
    pub(crate) async fn so_far(client: &Client) -> Self {
        let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
        let text = client.request_text(request).await.unwrap();
        let mut requests = BTreeMap::new();
        let complaint = read(
            text.as_bytes(),
            Format::Text,
            |name| name == "apiserver_request_total",
            |sample| {
                let label = |name: &str| {
                    sample.labels.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_ref())
                };
                let verb = label("verb");
                // What was refused wrote nothing.
                if !["POST", "PUT", "PATCH", "APPLY", "DELETE"].contains(&verb)
                    || !label("code").starts_with('2')
                {
                    return;
                }
                let with = |sign, name: &str| match label(name) {
                    "" => String::new(),
                    value => format!("{sign}{value}"),
                };
                let what = format!("{}{}{}", label("resource"), with('.', "group"), with('/', "subresource"));
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a count")]
                let count = sample.value as u64;
                *requests.entry(format!("{what} {verb}")).or_default() += count;
            },
        );
        assert_eq!(complaint.unwrap().complaint(), None);
        // Any list tells the store's revision.
        let list = Api::<Namespace>::all(client.clone()).list(&ListParams::default().limit(1)).await.unwrap();
        let revision = list.metadata.resource_version.unwrap().parse().unwrap();
        Self { requests, revision }
    }

    /// Those after `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |name: &str| earlier.requests.get(name).copied().unwrap_or_default();
        let requests = self.requests.iter().map(|(name, count)| (name.clone(), count - before(name)));
        Self {
            requests: requests.filter(|(_, count)| *count > 0).collect(),
            revision: self.revision - earlier.revision,
        }
    }

    /// How many of this kind.
    pub(crate) fn of(&self, name: &str) -> u64 {
        self.requests.get(name).copied().unwrap_or_default()
    }
}

impl fmt::Display for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.requests {
            write!(f, "{count} {name}, ")?;
        }
        write!(f, "etcd's revision + {}", self.revision)
    }
}
