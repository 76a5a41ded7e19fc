//! Create, update, patch and the status subresource.

use http::Method;
use serde_json::json;

use super::{config_map, pod, widget};
use crate::step::{Case, case, get, json_patch, merge_patch, post, put, raw};

const UNKNOWN_UID: &str = "00000000-0000-4000-8000-000000000000";

pub(crate) fn create() -> Vec<Case> {
    let mut cases = vec![
        case(
            "create stores the object and completes its metadata",
            [
                post("$cm", config_map("1"))
                    .is("/metadata/namespace", "$ns")
                    .set("/metadata/uid")
                    .set("/metadata/resourceVersion")
                    .set("/metadata/creationTimestamp"),
                get("$cm/$n").is("/data/key", "1").is("/kind", "ConfigMap").is("/apiVersion", "v1"),
            ],
        ),
        case(
            "create makes a name from generateName",
            [post("$cm", json!({ "metadata": { "generateName": "$n-" } }))
                .starts("/metadata/name", "$n-")
                .is("/metadata/generateName", "$n-")],
        ),
        case(
            "create of a cluster-scoped object",
            [
                post(
                    "/api/v1/nodes",
                    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "$n" } }),
                )
                .unset("/metadata/namespace"),
                raw(Method::DELETE, "/api/v1/nodes/$n", "", ""),
            ],
        ),
        case(
            "create of a namespace makes it active and labels it",
            [
                post("/api/v1/namespaces", json!({ "metadata": { "name": "$n" } }))
                    .is("/status/phase", "Active")
                    .is("/metadata/labels/kubernetes.io~1metadata.name", "$n"),
                raw(Method::DELETE, "/api/v1/namespaces/$n", "", ""),
            ],
        ),
        case(
            "create of a custom object sets defaults, prunes, drops status and counts generations",
            [post(
                "$widgets",
                json!({
                    "apiVersion": "contract.squall.dev/v1", "kind": "Widget", "metadata": { "name": "$n" },
                    "spec": { "size": 1, "unknown": true }, "status": { "phase": "Injected" },
                }),
            )
            .is("/spec", json!({ "color": "blue", "size": 1 }))
            .unset("/status")
            .is("/metadata/generation", 1)],
        ),
        case(
            "create only tried stores nothing",
            [post("$cm?dryRun=All", config_map("1")), get("$cm/$n").fails(404, "NotFound")],
        ),
        case(
            "create of an event as a controller's recorder writes it",
            [
                post(
                    "$events",
                    json!({
                        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": { "name": "$n" },
                        "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "Tested",
                        "action": "Test", "reportingController": "contract", "reportingInstance": "contract",
                        "regarding": { "kind": "ConfigMap", "namespace": "$ns", "name": "$n" }, "note": "said",
                    }),
                ),
                get("$events/$n").is("/note", "said").is("/reason", "Tested"),
            ],
        ),
    ];
    cases.extend(create_refused());
    cases
}

#[expect(clippy::too_many_lines, reason = "one table")]
fn create_refused() -> Vec<Case> {
    let named = |name: &str| json!({ "metadata": { "name": name } });
    vec![
        case(
            "create of a name that is taken",
            [
                post("$cm", config_map("1")),
                post("$cm", config_map("2"))
                    .fails(409, "AlreadyExists")
                    .is("/message", "configmaps \"$n\" already exists")
                    .is("/details", json!({ "kind": "configmaps", "name": "$n" })),
            ],
        ),
        case(
            "create of a taken name in a group",
            [
                post("$widgets", widget(json!({ "size": 1 }))),
                post("$widgets", widget(json!({ "size": 1 })))
                    .fails(409, "AlreadyExists")
                    .is("/message", "widgets.contract.squall.dev \"$n\" already exists")
                    .is(
                        "/details",
                        json!({ "group": "contract.squall.dev", "kind": "widgets", "name": "$n" }),
                    ),
            ],
        ),
        case(
            "create in a namespace that does not exist",
            [post("/api/v1/namespaces/$n/configmaps", config_map("1"))
                .fails(404, "NotFound")
                .is("/message", "namespaces \"$n\" not found")
                .is("/details/kind", "namespaces")],
        ),
        case(
            "create with another namespace than the path's",
            [post("$cm", json!({ "metadata": { "name": "$n", "namespace": "elsewhere" } }))
                .fails(400, "BadRequest")],
        ),
        case(
            "create with a bad name",
            [post("$cm", named("Not_Valid"))
                .fails(422, "Invalid")
                .is("/details/causes/0/field", "metadata.name")],
        ),
        case(
            "create with a namespace name that is no DNS label",
            [post("/api/v1/namespaces", named("a.b"))
                .fails(422, "Invalid")
                .is("/details/causes/0/field", "metadata.name")],
        ),
        case(
            "create without a name",
            [post("$cm", json!({ "metadata": {} }))
                .fails(422, "Invalid")
                .is("/details/causes/0/reason", "FieldValueRequired")],
        ),
        case(
            "create of another kind than the path's",
            [post("$cm", json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "$n" } }))
                .fails(400, "BadRequest")],
        ),
        case(
            "create of a custom object that says no kind",
            [post("$widgets", json!({ "metadata": { "name": "$n" }, "spec": { "size": 1 } }))
                .fails(400, "BadRequest")],
        ),
        case(
            "create from no JSON",
            [raw(Method::POST, "$cm", "application/json", "{").fails(400, "BadRequest")],
        ),
        case(
            "create in an unknown format",
            [raw(Method::POST, "$cm", "text/csv", "a,b").fails(415, "UnsupportedMediaType")],
        ),
        case(
            "create of more than 3 MiB",
            [post("$cm", config_map(&"x".repeat(3 * 1024 * 1024))).fails(413, "RequestEntityTooLarge")],
        ),
        case(
            "create without a namespace in the path",
            [post("/api/v1/configmaps", config_map("1")).code(405)],
        ),
        case(
            "create of an unknown resource",
            [post("/apis/contract.squall.dev/v1/gadgets", json!({})).code(404)],
        ),
        case(
            "create of a custom object that breaks its schema",
            [
                post("$widgets", widget(json!({ "size": 11 })))
                    .fails(422, "Invalid")
                    .starts(
                        "/message",
                        "Widget.contract.squall.dev \"$n\" is invalid: spec.size: Invalid value: 11: ",
                    )
                    .is("/details/name", "$n")
                    .is("/details/group", "contract.squall.dev")
                    .is("/details/kind", "Widget")
                    .is("/details/causes/0/reason", "FieldValueInvalid")
                    .is("/details/causes/0/field", "spec.size"),
                post("$widgets", widget(json!({})))
                    .fails(422, "Invalid")
                    .is("/details/causes/0/reason", "FieldValueRequired")
                    .is("/details/causes/0/field", "spec.size"),
                post("$widgets", widget(json!({ "size": 1, "color": "green" })))
                    .fails(422, "Invalid")
                    .is("/details/causes/0/reason", "FieldValueNotSupported")
                    .is("/details/causes/0/field", "spec.color"),
            ],
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "one table")]
pub(crate) fn update() -> Vec<Case> {
    let with_meta = |meta: serde_json::Value, value: &str| {
        let mut object = config_map(value);
        json_patch::merge(&mut object, &json!({ "metadata": meta }));
        object
    };
    vec![
        case(
            "update of the version that was read",
            [
                post("$cm", config_map("1")).save("rv", "/metadata/resourceVersion").save("uid", "/metadata/uid"),
                put("$cm/$n", with_meta(json!({ "resourceVersion": "$rv" }), "2"))
                    .is("/data/key", "2")
                    .is("/metadata/uid", "$uid")
                    .save("rv2", "/metadata/resourceVersion"),
                get("$cm/$n").is("/data/key", "2").is("/metadata/resourceVersion", "$rv2"),
            ],
        ),
        case(
            "update of a version that is not the newest",
            [
                post("$cm", config_map("1")).save("rv", "/metadata/resourceVersion"),
                put("$cm/$n", with_meta(json!({ "resourceVersion": "$rv" }), "2")),
                put("$cm/$n", with_meta(json!({ "resourceVersion": "$rv" }), "3"))
                    .fails(409, "Conflict")
                    .is(
                        "/message",
                        "Operation cannot be fulfilled on configmaps \"$n\": the object has been modified; \
                         please apply your changes to the latest version and try again",
                    )
                    .is("/details", json!({ "kind": "configmaps", "name": "$n" })),
                get("$cm/$n").is("/data/key", "2"),
            ],
        ),
        case(
            "update of an object that has been replaced by another of its name",
            [
                post("$cm", config_map("1")),
                put("$cm/$n", with_meta(json!({ "uid": UNKNOWN_UID }), "2")).fails(409, "Conflict"),
            ],
        ),
        case(
            "update that changes nothing makes no new version",
            [
                post("$cm", config_map("1")).save("rv", "/metadata/resourceVersion"),
                put("$cm/$n", config_map("1")).is("/metadata/resourceVersion", "$rv"),
            ],
        ),
        case(
            "update without a version, where the kind allows it",
            [post("$cm", config_map("1")), put("$cm/$n", config_map("2")).is("/data/key", "2")],
        ),
        case(
            "update without a version, where the kind does not",
            [
                post("$widgets", widget(json!({ "size": 1 }))),
                put("$widgets/$n", widget(json!({ "size": 2 })))
                    .fails(422, "Invalid")
                    .is("/details/causes/0/field", "metadata.resourceVersion"),
            ],
        ),
        case("update of nothing", [put("$cm/$n", config_map("1")).fails(404, "NotFound").is("/details/name", "$n")]),
        case(
            "update under another name",
            [
                post("$cm", config_map("1")),
                put("$cm/$n", with_meta(json!({ "name": "other" }), "2")).fails(400, "BadRequest"),
            ],
        ),
        case(
            "update that breaks the schema",
            [
                post("$widgets", widget(json!({ "size": 1 }))).save("rv", "/metadata/resourceVersion"),
                put(
                    "$widgets/$n",
                    json!({
                        "apiVersion": "contract.squall.dev/v1", "kind": "Widget", "spec": { "size": -1 },
                        "metadata": { "name": "$n", "resourceVersion": "$rv" },
                    }),
                )
                .fails(422, "Invalid")
                .is("/details/causes/0/field", "spec.size"),
            ],
        ),
        case(
            "update of a lease by its holder",
            [
                post("$leases", json!({ "metadata": { "name": "$n" }, "spec": { "holderIdentity": "one" } }))
                    .save("rv", "/metadata/resourceVersion"),
                put(
                    "$leases/$n",
                    json!({
                        "metadata": { "name": "$n", "resourceVersion": "$rv" }, "spec": { "holderIdentity": "two" },
                    }),
                )
                .is("/spec/holderIdentity", "two"),
                put(
                    "$leases/$n",
                    json!({
                        "metadata": { "name": "$n", "resourceVersion": "$rv" }, "spec": { "holderIdentity": "three" },
                    }),
                )
                .fails(409, "Conflict")
                .is("/details/group", "coordination.k8s.io"),
            ],
        ),
    ]
}

pub(crate) fn patch() -> Vec<Case> {
    let mut cases = vec![
        case(
            "merge patch adds, changes and removes",
            [
                post(
                    "$cm",
                    json!({ "metadata": { "name": "$n", "labels": { "a": "1" } }, "data": { "key": "1", "gone": "x" } }),
                ),
                merge_patch(
                    "$cm/$n",
                    json!({ "metadata": { "labels": { "b": "2" } }, "data": { "key": "2", "gone": null } }),
                )
                .is("/data", json!({ "key": "2" }))
                .is("/metadata/labels", json!({ "a": "1", "b": "2" })),
            ],
        ),
        case(
            "merge patch of a version that is not the newest",
            [
                post("$cm", config_map("1")).save("rv", "/metadata/resourceVersion"),
                merge_patch("$cm/$n", json!({ "metadata": { "resourceVersion": "$rv" }, "data": { "key": "2" } })),
                merge_patch("$cm/$n", json!({ "metadata": { "resourceVersion": "$rv" }, "data": { "key": "3" } }))
                    .fails(409, "Conflict")
                    .is("/details/name", "$n"),
            ],
        ),
        case(
            "JSON patch with tests that hold",
            [
                post("$cm", config_map("1")),
                json_patch(
                    "$cm/$n",
                    json!([
                        { "op": "test", "path": "/data/key", "value": "1" },
                        { "op": "replace", "path": "/data/key", "value": "2" },
                        { "op": "add", "path": "/metadata/annotations", "value": { "a.b/c": "d" } },
                        { "op": "copy", "from": "/data/key", "path": "/data/copy" },
                    ]),
                )
                .is("/data", json!({ "copy": "2", "key": "2" }))
                .is("/metadata/annotations/a.b~1c", "d"),
            ],
        ),
        case(
            "JSON patch may test that a member is not there",
            [
                post("$cm", config_map("1")),
                json_patch(
                    "$cm/$n",
                    json!([
                        { "op": "test", "path": "/data/other", "value": null },
                        { "op": "add", "path": "/data/other", "value": "x" },
                    ]),
                )
                .is("/data/other", "x"),
            ],
        ),
        case(
            "JSON patch of a pod changes an image and nothing else",
            [
                post("$pods", pod(json!({}))),
                json_patch(
                    "$pods/$n",
                    json!([
                        { "op": "test", "path": "/spec/containers/0/image", "value": "example.invalid/main:1" },
                        { "op": "replace", "path": "/spec/containers/0/image", "value": "example.invalid/main:2" },
                    ]),
                )
                .is("/spec/containers/0/image", "example.invalid/main:2"),
                json_patch("$pods/$n", json!([{ "op": "add", "path": "/spec/containers/0/args", "value": ["x"] }]))
                    .fails(422, "Invalid")
                    .is("/details/causes/0/field", "spec")
                    .is("/details/causes/0/reason", "FieldValueForbidden"),
            ],
        ),
    ];
    cases.extend(patch_refused());
    cases
}

fn patch_refused() -> Vec<Case> {
    vec![
        case(
            "JSON patch whose test does not hold changes nothing",
            [
                post("$cm", config_map("1")).save("rv", "/metadata/resourceVersion"),
                json_patch(
                    "$cm/$n",
                    json!([
                        { "op": "replace", "path": "/data/key", "value": "2" },
                        { "op": "test", "path": "/data/key", "value": "1" },
                    ]),
                )
                .fails(422, "Invalid"),
                get("$cm/$n").is("/data/key", "1").is("/metadata/resourceVersion", "$rv"),
            ],
        ),
        case(
            "JSON patch that removes what is not there",
            [
                post("$cm", config_map("1")),
                json_patch("$cm/$n", json!([{ "op": "remove", "path": "/data/other" }]))
                    .fails(422, "Invalid"),
            ],
        ),
        case(
            "patch of nothing",
            [
                merge_patch("$cm/$n", json!({ "data": { "key": "1" } })).fails(404, "NotFound"),
                json_patch("$cm/$n", json!([])).fails(404, "NotFound"),
            ],
        ),
        case(
            "patch that is not JSON",
            [
                post("$cm", config_map("1")),
                raw(Method::PATCH, "$cm/$n", "application/merge-patch+json", "{").fails(400, "BadRequest"),
                raw(Method::PATCH, "$cm/$n", "application/json-patch+json", "{}").fails(400, "BadRequest"),
            ],
        ),
        case(
            "patch in a format that a custom object has not",
            [
                post("$widgets", widget(json!({ "size": 1 }))),
                raw(Method::PATCH, "$widgets/$n", "application/strategic-merge-patch+json", "{}")
                    .fails(415, "UnsupportedMediaType"),
                raw(Method::PATCH, "$widgets/$n", "application/json", "{}")
                    .fails(415, "UnsupportedMediaType"),
            ],
        ),
        case(
            "patch that breaks the schema",
            [
                post("$widgets", widget(json!({ "size": 1 }))),
                merge_patch("$widgets/$n", json!({ "spec": { "size": 11 } }))
                    .fails(422, "Invalid")
                    .is("/details/causes/0/field", "spec.size"),
                json_patch("$widgets/$n", json!([{ "op": "remove", "path": "/spec/size" }]))
                    .fails(422, "Invalid")
                    .is("/details/causes/0/reason", "FieldValueRequired"),
            ],
        ),
        case(
            "patch of the identity",
            [
                post("$cm", config_map("1")),
                merge_patch("$cm/$n", json!({ "metadata": { "uid": UNKNOWN_UID } }))
                    .fails(422, "Invalid")
                    .is("/details/causes/0/field", "metadata.uid"),
            ],
        ),
    ]
}

pub(crate) fn status() -> Vec<Case> {
    vec![
        case(
            "a write to the object leaves the status alone and counts a generation",
            [
                post("$widgets", widget(json!({ "size": 1 }))),
                merge_patch("$widgets/$n/status", json!({ "status": { "phase": "Injected" } }))
                    .is("/status/phase", "Injected")
                    .is("/metadata/generation", 1),
                merge_patch(
                    "$widgets/$n",
                    json!({ "spec": { "size": 2 }, "status": { "phase": "Recovered" } }),
                )
                .is("/spec/size", 2)
                .is("/status/phase", "Injected")
                .is("/metadata/generation", 2),
                merge_patch("$widgets/$n", json!({ "metadata": { "labels": { "a": "b" } } }))
                    .is("/metadata/generation", 2),
            ],
        ),
        case(
            "a write to the status leaves the object alone",
            [
                post("$widgets", widget(json!({ "size": 1 }))).save("rv", "/metadata/resourceVersion"),
                put(
                    "$widgets/$n/status",
                    json!({
                        "apiVersion": "contract.squall.dev/v1", "kind": "Widget", "spec": { "size": 7 },
                        "metadata": { "name": "$n", "resourceVersion": "$rv" }, "status": { "note": "seen" },
                    }),
                )
                .is("/spec/size", 1)
                .is("/status", json!({ "note": "seen" })),
                get("$widgets/$n/status").is("/status/note", "seen").is("/spec/size", 1),
                json_patch(
                    "$widgets/$n/status",
                    json!([{ "op": "add", "path": "/status/phase", "value": "Injected" }]),
                )
                .is("/status", json!({ "note": "seen", "phase": "Injected" })),
            ],
        ),
        case(
            "a status that is stale, invalid or of nothing",
            [
                post("$widgets", widget(json!({ "size": 1 }))).save("rv", "/metadata/resourceVersion"),
                merge_patch("$widgets/$n/status", json!({ "status": { "note": "1" } })),
                merge_patch(
                    "$widgets/$n/status",
                    json!({ "metadata": { "resourceVersion": "$rv" }, "status": { "note": "2" } }),
                )
                .fails(409, "Conflict"),
                merge_patch("$widgets/$n/status", json!({ "status": { "phase": "Lost" } }))
                    .fails(422, "Invalid")
                    .is("/details/causes/0/field", "status.phase"),
                merge_patch("$widgets/$n-2/status", json!({ "status": {} })).fails(404, "NotFound"),
            ],
        ),
        case(
            "the status of a built-in object",
            [
                post("$pods", pod(json!({}))).is("/status/phase", "Pending"),
                merge_patch(
                    "$pods/$n/status",
                    json!({ "status": { "phase": "Running", "podIP": "10.0.0.9" } }),
                )
                .is("/status/podIP", "10.0.0.9"),
                merge_patch(
                    "$pods/$n",
                    json!({ "metadata": { "labels": { "a": "b" } }, "status": { "phase": "Failed" } }),
                )
                .is("/status/phase", "Running"),
            ],
        ),
        case(
            "a kind without a status subresource has no such path",
            [post("$cm", config_map("1")), get("$cm/$n/status").code(404)],
        ),
    ]
}
