//! Whether a cluster takes the objects that give Squall a share of its own of the API server's attention. Everything works
//! without them, later.

use std::collections::BTreeMap;

use kube::Client;

use crate::install::{FLOW_CONTROL, Part};
use crate::operations::rights;
use crate::report::{Right, Trouble};

/// What a cluster without them is like.
const MEANING: &str = "Squall works without them, but all daemons then share one queue with what other service accounts ask: \
     with more than about 100 nodes an API server that was away, or a fault on all of them, has requests refused (429), which \
     come again a second later";

/// Whether a part is one of these.
pub fn is_of_fair_share(part: &Part) -> bool {
    part.resource.group == FLOW_CONTROL
}

/// Why these parts cannot be dealt with by these verbs, what that means and what to do; `None` where they can.
///
/// # Errors
/// The API server does not say.
pub async fn no_fair_share(
    client: &Client,
    verbs: &[&str],
    parts: &[Part],
) -> Result<Option<Trouble>, Trouble> {
    let kinds = parts.iter().filter(|part| is_of_fair_share(part)).map(|part| &part.resource);
    let kinds: BTreeMap<_, _> = kinds.map(|resource| (&resource.plural, resource)).collect();
    for resource in kinds.into_values() {
        match client.list_api_group_resources(&resource.api_version).await {
            Ok(_) => {}
            // An unknown path is answered in plain text: only the code tells.
            Err(kube::Error::Api(status)) if status.code == 404 => {
                return Ok(Some(without(
                    &format!("this API server does not serve {}", resource.api_version),
                    "have the group served (--runtime-config of the API server), and run squall install again",
                )));
            }
            Err(error) => return Err(Trouble::api(format!("ask for {}", resource.api_version), &error)),
        }
        for verb in verbs {
            let right = Right::new(verb, &resource.group, &resource.plural, None);
            if !rights::allowed(client, &right).await? {
                let who = rights::who(client).await.unwrap_or_else(|_unknown| "you".to_owned());
                return Ok(Some(without(&format!("{who} may not {right}"), &right.grant(&who))));
            }
        }
    }
    Ok(None)
}

fn without(what: &str, cure: &str) -> Trouble {
    Trouble { why: Some(MEANING.to_owned()), ..Trouble::new(what) }.cure(cure)
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::install::flows;

    /// An API server that answers discovery with this code, and lets us do this one verb.
    fn server(code: u16, allowed: &'static str) -> Client {
        let service = tower::service_fn(move |request: Request<Body>| async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect_bytes().await.unwrap();
            let asked: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            let (code, answer) = if path.starts_with("/apis/flowcontrol") && code != 200 {
                (code, "404 page not found\n".to_owned())
            } else if path.starts_with("/apis/flowcontrol") {
                let list = json!({ "kind": "APIResourceList", "groupVersion": "flowcontrol.apiserver.k8s.io/v1", "resources": [] });
                (200, list.to_string())
            } else if path.ends_with("selfsubjectreviews") {
                (201, json!({ "status": { "userInfo": { "username": "ann" } } }).to_string())
            } else {
                let verb = asked["spec"]["resourceAttributes"]["verb"].as_str().unwrap_or_default();
                (201, json!({ "spec": {}, "status": { "allowed": verb == allowed } }).to_string())
            };
            let answer = Response::builder().status(code).body(Body::from(answer.into_bytes()));
            Ok::<_, std::convert::Infallible>(answer.unwrap())
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn what_is_missing_is_said_with_what_it_means() {
        let parts = flows();
        let said = async |code, allowed, verbs: &[&str]| {
            no_fair_share(&server(code, allowed), verbs, &parts).await.unwrap()
        };
        assert_eq!(said(200, "get", &["get"]).await, None);
        let lacks = said(200, "get", &["get", "create"]).await.unwrap();
        assert!(lacks.what == "ann may not create flowschemas.flowcontrol.apiserver.k8s.io", "{lacks}");
        assert!(lacks.cure.unwrap().contains("kubectl create clusterrole"));
        let absent = said(404, "get", &["get"]).await.unwrap();
        assert!(absent.what.ends_with("does not serve flowcontrol.apiserver.k8s.io/v1"), "{absent}");
        assert!(absent.why.unwrap().contains("429"));
    }

    /// Nothing of it, nothing to ask.
    #[tokio::test]
    async fn other_parts_need_no_flow_control() {
        let parts = crate::install::accounts();
        assert_eq!(no_fair_share(&server(404, ""), &["create"], &parts).await, Ok(None));
    }
}
