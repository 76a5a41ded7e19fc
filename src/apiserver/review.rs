//! Whoever reaches this server may do everything, and says so when asked: `SelfSubjectAccessReview`, `SelfSubjectReview`.

use http::Method;
use serde_json::{Value, json};

use super::StatusError;

/// The one user that there is.
const USER: &str = "playground";

/// The answer to a review, as it was sent; nothing if the path is of none.
pub(super) fn answer(method: &Method, path: &str, body: &[u8]) -> Option<Result<Value, StatusError>> {
    let status = match path {
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" => json!({ "allowed": true }),
        "/apis/authentication.k8s.io/v1/selfsubjectreviews" => json!({ "userInfo": { "username": USER } }),
        _ => return None,
    };
    let is_post = *method == Method::POST;
    Some(if is_post { reviewed(body, status) } else { Err(StatusError::method_not_allowed()) })
}

fn reviewed(body: &[u8], status: Value) -> Result<Value, StatusError> {
    let mut review: Value = super::request::json_body(body)?;
    let asks = |field: &str| review.pointer(&format!("/spec/{field}")).is_some_and(|value| !value.is_null());
    if status.get("allowed").is_some() && asks("resourceAttributes") == asks("nonResourceAttributes") {
        let what = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        return Err(StatusError::invalid_review(what));
    }
    super::store::set_member(&mut review, "status", Some(status));
    Ok(review)
}
