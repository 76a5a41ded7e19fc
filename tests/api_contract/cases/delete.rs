//! Delete and deletecollection: preconditions, finalizers, grace.

use http::Method;
use serde_json::json;

use super::{config_map, pod};
use crate::step::{Case, case, delete, get, merge_patch, post, raw};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case(
            "delete removes the object",
            [
                post("$cm", config_map("1")).save("uid", "/metadata/uid"),
                delete("$cm/$n", json!({}))
                    .is("/kind", "Status")
                    .is("/status", "Success")
                    .is("/details/name", "$n")
                    .is("/details/kind", "configmaps")
                    .is("/details/uid", "$uid"),
                get("$cm/$n").fails(404, "NotFound"),
            ],
        ),
        case(
            "delete without options",
            [
                post("$cm", config_map("1")),
                raw(Method::DELETE, "$cm/$n", "", ""),
                get("$cm/$n").fails(404, "NotFound"),
            ],
        ),
        case(
            "delete only tried",
            [
                post("$cm", config_map("1")),
                delete("$cm/$n", json!({ "dryRun": ["All"] })),
                get("$cm/$n").unset("/metadata/deletionTimestamp"),
            ],
        ),
        case(
            "delete of nothing",
            [delete("$cm/$n", json!({})).fails(404, "NotFound").is("/details/name", "$n")],
        ),
        case(
            "delete of exactly the object that was read",
            [
                post("$cm", config_map("1"))
                    .save("uid", "/metadata/uid")
                    .save("rv", "/metadata/resourceVersion"),
                delete(
                    "$cm/$n",
                    json!({ "preconditions": { "uid": "00000000-0000-4000-8000-000000000000" } }),
                )
                .fails(409, "Conflict")
                .is("/details/name", "$n"),
                merge_patch("$cm/$n", json!({ "data": { "key": "2" } }))
                    .save("rv2", "/metadata/resourceVersion"),
                delete("$cm/$n", json!({ "preconditions": { "resourceVersion": "$rv" } }))
                    .fails(409, "Conflict"),
                delete("$cm/$n", json!({ "preconditions": { "uid": "$uid", "resourceVersion": "$rv2" } })),
                get("$cm/$n").fails(404, "NotFound"),
            ],
        ),
        case(
            "deletecollection removes what is selected",
            [
                post("$cm", json!({ "metadata": { "name": "$n-a", "labels": { "case": "$n" } } })),
                post("$cm", json!({ "metadata": { "name": "$n-b", "labels": { "case": "$n" } } })),
                post("$cm", json!({ "metadata": { "name": "$n-c" } })),
                raw(Method::DELETE, "$cm?labelSelector=case%3D$n", "", ""),
                get("$cm/$n-a").fails(404, "NotFound"),
                get("$cm/$n-b").fails(404, "NotFound"),
                get("$cm/$n-c"),
            ],
        ),
    ];
    cases.extend(deferred());
    cases
}

fn deferred() -> Vec<Case> {
    vec![
        case(
            "an object with finalizers goes when the last is removed",
            [
                post(
                    "$cm",
                    json!({ "metadata": { "name": "$n", "finalizers": ["squall.dev/one", "squall.dev/two"] } }),
                ),
                delete("$cm/$n", json!({})).is("/metadata/name", "$n").set("/metadata/deletionTimestamp"),
                delete("$cm/$n", json!({})).set("/metadata/deletionTimestamp"),
                post("$cm", config_map("1")).fails(409, "AlreadyExists"),
                merge_patch(
                    "$cm/$n",
                    json!({ "metadata": { "finalizers": ["squall.dev/two", "squall.dev/three"] } }),
                )
                .fails(422, "Invalid")
                .is("/details/causes/0/field", "metadata.finalizers"),
                merge_patch("$cm/$n", json!({ "metadata": { "finalizers": ["squall.dev/two"] } })),
                get("$cm/$n").set("/metadata/deletionTimestamp"),
                merge_patch("$cm/$n", json!({ "metadata": { "finalizers": null } })),
                get("$cm/$n").fails(404, "NotFound"),
            ],
        ),
        case(
            "deletion cannot be taken back",
            [
                post("$cm", json!({ "metadata": { "name": "$n", "finalizers": ["squall.dev/one"] } })),
                delete("$cm/$n", json!({})),
                merge_patch("$cm/$n", json!({ "metadata": { "deletionTimestamp": null } })),
                get("$cm/$n").set("/metadata/deletionTimestamp"),
                merge_patch("$cm/$n", json!({ "metadata": { "finalizers": null } })),
            ],
        ),
        case(
            "a pod on a node waits for its kubelet",
            [
                post("$pods", pod(json!({ "nodeName": "$n", "terminationGracePeriodSeconds": 20 }))),
                delete("$pods/$n", json!({}))
                    .set("/metadata/deletionTimestamp")
                    .is("/metadata/deletionGracePeriodSeconds", 20),
                delete("$pods/$n", json!({ "gracePeriodSeconds": 60 }))
                    .is("/metadata/deletionGracePeriodSeconds", 20),
                delete("$pods/$n", json!({ "gracePeriodSeconds": 5 }))
                    .is("/metadata/deletionGracePeriodSeconds", 5),
                get("$pods/$n").is("/metadata/deletionGracePeriodSeconds", 5),
                delete("$pods/$n", json!({ "gracePeriodSeconds": 0 })),
                get("$pods/$n").fails(404, "NotFound"),
            ],
        ),
        case(
            "a pod on no node goes at once",
            [
                post("$pods", pod(json!({}))),
                delete("$pods/$n", json!({})),
                get("$pods/$n").fails(404, "NotFound"),
            ],
        ),
        case(
            "a namespace that is being deleted takes nothing new",
            [
                post("/api/v1/namespaces", json!({ "metadata": { "name": "$n" } })),
                post(
                    "/api/v1/namespaces/$n/configmaps",
                    json!({ "metadata": { "name": "held", "finalizers": ["squall.dev/one"] } }),
                ),
                delete("/api/v1/namespaces/$n", json!({})),
                get("/api/v1/namespaces/$n")
                    .is("/status/phase", "Terminating")
                    .set("/metadata/deletionTimestamp"),
                post("/api/v1/namespaces/$n/configmaps", config_map("1"))
                    .fails(403, "Forbidden")
                    .is("/details/causes/0/reason", "NamespaceTerminating"),
                merge_patch(
                    "/api/v1/namespaces/$n/configmaps/held",
                    json!({ "metadata": { "finalizers": null } }),
                ),
            ],
        ),
    ]
}
