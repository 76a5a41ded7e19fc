//! What the API server lets us do: asked of it, so that it is known before it is tried.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::report::{Right, Trouble};

/// Whether we have this right.
///
/// # Errors
/// The API server does not say.
pub async fn allowed(client: &Client, right: &Right) -> Result<bool, Trouble> {
    let (resource, subresource) = match right.resource.split_once('/') {
        Some((resource, part)) => (resource.to_owned(), Some(part.to_owned())),
        None => (right.resource.clone(), None),
    };
    let attributes = ResourceAttributes {
        verb: Some(right.verb.clone()),
        group: Some(right.group.clone()),
        resource: Some(resource),
        subresource,
        namespace: right.namespace.clone(),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await;
    let answer = answer.map_err(|error| Trouble::api(format!("ask for the right to {right}"), &error))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// Who the API server takes us for.
///
/// # Errors
/// It does not say.
pub async fn who(client: &Client) -> Result<String, Trouble> {
    let review = SelfSubjectReview::default();
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await;
    let answer = answer.map_err(|error| Trouble::api("ask who we are", &error))?;
    let user = answer.status.and_then(|status| status.user_info).and_then(|user| user.username);
    user.ok_or_else(|| Trouble::new("the API server does not say who we are"))
}

/// Refuses what the API server would refuse later, when it is too late. Where it does not say, it is tried.
///
/// # Errors
/// The right is missing.
pub async fn demand(client: &Client, right: &Right, what: &str) -> Result<(), Trouble> {
    if allowed(client, right).await != Ok(false) {
        return Ok(());
    }
    let who = who(client).await.unwrap_or_else(|_unknown| "you".to_owned());
    let why = Some(format!("{who} may not {right}"));
    Err(Trouble { why, ..Trouble::new(what) }.cure(right.grant(&who)))
}
