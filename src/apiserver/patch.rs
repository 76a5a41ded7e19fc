//! The two patch formats that a custom resource and a built-in kind have in common: JSON patch (RFC 6902) and JSON merge
//! patch (RFC 7386).
//!
//! Server-side apply and strategic merge patch are left out on purpose: they need field ownership and type knowledge, and
//! nothing that runs against this server may depend on them.

use json_patch::PatchOperation;
use serde_json::Value;

use super::StatusError;

/// What a PATCH is answered with when it comes in another format.
pub(super) const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json";

/// How a stored object is to change: a PUT brings all of it, a PATCH one of the two formats.
pub(super) enum Update {
    Replace(Value),
    Json(Vec<PatchOperation>),
    Merge(Value),
}

impl Update {
    /// Reads a patch of the format that the content type names.
    pub(super) fn parse(content_type: &str, body: &[u8]) -> Result<Self, StatusError> {
        let bad =
            |error: serde_json::Error| StatusError::bad_request(format!("error decoding patch: {error}"));
        match content_type {
            "application/json-patch+json" => Ok(Self::Json(serde_json::from_slice(body).map_err(bad)?)),
            "application/merge-patch+json" => {
                let patch: Value = serde_json::from_slice(body).map_err(bad)?;
                if !patch.is_object() {
                    return Err(StatusError::bad_request("Invalid JSON Patch"));
                }
                Ok(Self::Merge(patch))
            }
            _ => Err(StatusError::unsupported_media_type(ACCEPTED)),
        }
    }

    /// The object with the change applied: all of it or nothing.
    pub(super) fn apply(self, object: &Value) -> Result<Value, StatusError> {
        let mut object = object.clone();
        match self {
            Self::Replace(new) => object = new,
            Self::Merge(patch) => json_patch::merge(&mut object, &patch),
            Self::Json(operations) => {
                for operation in operations {
                    if !tests_for_absence(&operation, &object) {
                        // Reverting is not needed: the copy is dropped with the error.
                        json_patch::patch_unsafe(&mut object, std::slice::from_ref(&operation))
                            .map_err(|_unnamed| StatusError::patch_rejected())?;
                    }
                }
            }
        }
        if object.is_object() { Ok(object) } else { Err(StatusError::patch_rejected()) }
    }
}

/// Kubernetes' patch library lets `test` with `null` succeed on a member that does not exist, and controllers use that to
/// say "only if nobody has set it yet"; RFC 6902 itself would fail it.
fn tests_for_absence(operation: &PatchOperation, object: &Value) -> bool {
    let PatchOperation::Test(test) = operation else { return false };
    test.value.is_null()
        && object.pointer(test.path.as_str()).is_none()
        && test.path.parent().is_some_and(|parent| object.pointer(parent.as_str()).is_some())
}
