//! Reviews of one's own rights, by somebody who has all of them.

use http::Method;
use serde_json::{Value, json};

use crate::step::{Case, case, get, post, raw};

fn access(spec: Value) -> Value {
    json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec })
}

pub(crate) fn cases() -> Vec<Case> {
    let patch =
        json!({ "verb": "patch", "group": "chaos-mesh.org", "resource": "networkchaos", "namespace": "$ns" });
    vec![
        case(
            "a right is asked for",
            [post("$access", access(json!({ "resourceAttributes": patch })))
                .is("/kind", "SelfSubjectAccessReview")
                .is("/spec/resourceAttributes/verb", "patch")
                .is("/status/allowed", true)],
        ),
        case("no right is asked for", [post("$access", access(json!({}))).fails(422, "Invalid")]),
        case(
            "a right is asked for in no JSON",
            [raw(Method::POST, "$access", "application/json", "{").fails(400, "BadRequest")],
        ),
        case("rights are no list", [get("$access").fails(405, "MethodNotAllowed")]),
        case(
            "who one is",
            [post("$self", json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" }))
                .is("/kind", "SelfSubjectReview")
                .set("/status/userInfo/username")],
        ),
    ]
}
