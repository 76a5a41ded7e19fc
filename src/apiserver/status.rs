//! Failures as a Kubernetes API server words them: `meta/v1.Status` with code, reason, message and details.
//!
//! Clients branch on `code` and `reason` and people read `message`, so all three follow
//! `k8s.io/apimachinery/pkg/api/errors`. This module only describes failures; it never decides on one.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{Cause, Resource};

/// A request that failed, as the client will see it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct StatusError {
    code: StatusCode,
    reason: &'static str,
    message: String,
    details: Map<String, Value>,
}

impl StatusError {
    /// A failure of the given HTTP status. `reason` is one of the `StatusReason` words of `meta/v1`.
    pub fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Map::new() }
    }

    /// 400 `BadRequest`: the request itself makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 500 `InternalError`.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        let message = format!("Internal error occurred: {message}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// 503 `ServiceUnavailable`: who should answer (a pod, a node) does not.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// The HTTP status code.
    pub fn code(&self) -> StatusCode {
        self.code
    }

    /// The `StatusReason`.
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// The `meta/v1.Status` object.
    pub(super) fn to_value(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "details": self.details, "code": self.code.as_u16(),
        })
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
            if !value.is_empty() {
                self.details.insert(key.to_owned(), value.into());
            }
        }
        self
    }

    fn on(self, resource: &Resource, name: &str) -> Self {
        self.about(resource.group, resource.plural, name)
    }

    fn because(mut self, causes: Value) -> Self {
        self.details.insert("causes".to_owned(), causes);
        self
    }

    pub(super) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).on(resource, name)
    }

    /// 404 for a path that belongs to no resource.
    pub(super) fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(super) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).on(resource, name)
    }

    pub(super) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified());
        Self::new(StatusCode::CONFLICT, "Conflict", message).on(resource, name)
    }

    /// 422 with one cause per field.
    pub(super) fn invalid(resource: &Resource, name: &str, causes: &[Cause]) -> Self {
        let dot = if resource.group.is_empty() { "" } else { "." };
        let kind = format!("{}{dot}{}", resource.kind, resource.group);
        Self::invalid_kind(&kind, name, causes).about(resource.group, resource.kind, name)
    }

    /// 422 for a review that asks for nothing.
    pub(super) fn invalid_review(what: &str) -> Self {
        let cause = Cause {
            field: "spec.resourceAttributes".to_owned(),
            message: format!("Invalid value: null: {what}"),
        };
        Self::invalid_kind("SelfSubjectAccessReview.authorization.k8s.io", "", &[cause]).about(
            "authorization.k8s.io",
            "SelfSubjectAccessReview",
            "",
        )
    }

    /// 422 for a parameter of a list or watch.
    pub(super) fn invalid_list_options(field: &str, message: &str) -> Self {
        let cause = Cause { field: field.to_owned(), message: message.to_owned() };
        Self::invalid_kind("ListOptions.meta.k8s.io", "", &[cause]).about("meta.k8s.io", "ListOptions", "")
    }

    fn invalid_kind(kind: &str, name: &str, causes: &[Cause]) -> Self {
        let texts: Vec<_> =
            causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let text = if texts.len() == 1 { texts.concat() } else { format!("[{}]", texts.join(", ")) };
        let message = format!("{kind} {name:?} is invalid: {text}");
        let causes = causes.iter().map(|cause| {
            json!({ "reason": cause_type(&cause.message), "message": cause.message, "field": cause.field })
        });
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).because(causes.collect())
    }

    /// 422 for a JSON patch that does not apply, a failed `test` included. The real server does not say which.
    pub(super) fn patch_rejected() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
    }

    /// 410 for a version that history no longer reaches; the cure is to list again.
    pub(super) fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(StatusCode::GONE, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// 504 for a version that does not exist yet, which a client can have only from another server.
    pub(super) fn too_large(asked: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {current}");
        let cause = json!([{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }]);
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message).because(cause)
    }

    pub(super) fn unsupported_media_type(accepted: &str) -> Self {
        let why = "the body of the request was in an unknown format - accepted media types include: ";
        let message = [why, accepted].concat();
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    pub(super) fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json";
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    pub(super) fn too_large_body(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// 403 for a create in a namespace that is being deleted.
    pub(super) fn namespace_terminating(resource: &Resource, name: &str, namespace: &str) -> Self {
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let message = format!("{} {name:?} is forbidden: {why}", resource.qualified());
        let cause = json!([{
            "reason": "NamespaceTerminating", "field": "metadata.namespace",
            "message": format!("namespace {namespace} is being terminated"),
        }]);
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).on(resource, name).because(cause)
    }
}

/// The `CauseType` that a validation message belongs to: `field.Error` starts each message with its class.
fn cause_type(message: &str) -> &'static str {
    const TYPES: [(&str, &str); 7] = [
        ("Required value", "FieldValueRequired"),
        ("Unsupported value", "FieldValueNotSupported"),
        ("Duplicate value", "FieldValueDuplicate"),
        ("Forbidden", "FieldValueForbidden"),
        ("Not found", "FieldValueNotFound"),
        ("Too long", "FieldValueTooLong"),
        ("Too many", "FieldValueTooMany"),
    ];
    TYPES.iter().find(|(start, _)| message.starts_with(start)).map_or("FieldValueInvalid", |(_, kind)| kind)
}
