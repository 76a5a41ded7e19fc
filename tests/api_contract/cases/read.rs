//! Get and list.

use serde_json::json;

use super::{config_map, pod, widget};
use crate::step::{Case, case, get, merge_patch, post};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case(
            "get of nothing",
            [get("$cm/$n")
                .fails(404, "NotFound")
                .is("/message", "configmaps \"$n\" not found")
                .is("/details", json!({ "kind": "configmaps", "name": "$n" }))],
        ),
        case(
            "get of nothing in a group",
            [get("$leases/$n")
                .fails(404, "NotFound")
                .is("/message", "leases.coordination.k8s.io \"$n\" not found")
                .is("/details", json!({ "group": "coordination.k8s.io", "kind": "leases", "name": "$n" }))],
        ),
        case(
            "get at a version, and at one that does not exist yet",
            [
                post("$cm", config_map("1")).save("rv", "/metadata/resourceVersion"),
                get("$cm/$n?resourceVersion=$rv").is("/data/key", "1"),
                get("$cm/$n?resourceVersion=9000000000000000").fails(504, "Timeout"),
            ],
        ),
        case(
            "get in a format that no server speaks",
            [
                post("$cm", config_map("1")),
                get("$cm/$n").header("accept", "image/png").fails(406, "NotAcceptable"),
            ],
        ),
        case(
            "get of a custom object falls back to JSON",
            [
                post("$widgets", widget(json!({ "size": 1 }))),
                get("$widgets/$n")
                    .header("accept", "application/vnd.kubernetes.protobuf, application/json")
                    .is("/spec/size", 1),
            ],
        ),
        case("get of an unknown group", [get("/apis/nothing.squall.dev/v1/things").code(404)]),
        case(
            "get of a log that cannot be",
            [
                get("$pods/$n/log").fails(404, "NotFound"),
                post(
                    "$pods",
                    pod(json!({ "containers": [
                { "name": "one", "image": "example.invalid/1" }, { "name": "two", "image": "example.invalid/2" },
            ] })),
                ),
                get("$pods/$n/log").fails(400, "BadRequest"),
                get("$pods/$n/log?container=three").fails(400, "BadRequest"),
            ],
        ),
    ];
    cases.extend(list());
    cases.extend(pages());
    cases.extend(list_refused());
    cases
}

/// A configmap with the case's label and another.
fn labelled(name: &str, tier: &str) -> serde_json::Value {
    json!({ "metadata": { "name": name, "labels": { "case": "$n", "tier": tier } } })
}

fn list() -> Vec<Case> {
    vec![
        case(
            "list by labels",
            [
                post("$cm", labelled("$n-a", "front")),
                post("$cm", labelled("$n-b", "back")),
                get("$cm?labelSelector=case%3D$n")
                    .is("/kind", "ConfigMapList")
                    .is("/apiVersion", "v1")
                    .set("/metadata/resourceVersion")
                    .is("/items/0/metadata/name", "$n-a")
                    .is("/items/1/metadata/name", "$n-b")
                    .unset("/items/2"),
                get("$cm?labelSelector=case%3D$n,tier+in+(back,side)").is("/items/0/metadata/name", "$n-b").unset("/items/1"),
                get("$cm?labelSelector=case%3D$n,tier!%3Dback").is("/items/0/metadata/name", "$n-a").unset("/items/1"),
                get("$cm?labelSelector=case%3D$n,tier+notin+(front,back)").is("/items", json!([])),
                get("$cm?labelSelector=case%3D$n,!tier").is("/items", json!([])),
                get("$cm?labelSelector=case%3D$n,tier").set("/items/1").unset("/items/2"),
                get("/api/v1/configmaps?labelSelector=case%3D$n").set("/items/1").unset("/items/2"),
            ],
        ),
        case(
            "list by fields",
            [
                post("$cm", config_map("1")),
                get("$cm?fieldSelector=metadata.name%3D$n").is("/items/0/metadata/name", "$n").unset("/items/1"),
                get("/api/v1/configmaps?fieldSelector=metadata.name%3D$n,metadata.namespace%3D$ns")
                    .is("/items/0/metadata/name", "$n"),
                get("/api/v1/configmaps?fieldSelector=metadata.name%3D$n,metadata.namespace!%3D$ns").is("/items", json!([])),
            ],
        ),
        case(
            "list by the fields of a pod",
            [
                post("$pods", pod(json!({ "nodeName": "$n" }))),
                get("/api/v1/pods?fieldSelector=spec.nodeName%3D$n").is("/items/0/metadata/name", "$n").unset("/items/1"),
                get("/api/v1/pods?fieldSelector=spec.nodeName%3D$n,status.phase%3DFailed").is("/items", json!([])),
                merge_patch("$pods/$n/status", json!({ "status": { "phase": "Failed" } })),
                get("/api/v1/pods?fieldSelector=spec.nodeName%3D$n,status.phase%3DFailed").set("/items/0"),
            ],
        ),
        case(
            "list by the selectable field of a custom object",
            [
                post("$widgets", widget(json!({ "size": 1, "node": "$n" }))),
                get("$widgets?fieldSelector=spec.node%3D$n").is("/items/0/metadata/name", "$n").unset("/items/1"),
                get("$widgets?fieldSelector=spec.node%3D$n,metadata.name%3Dother").is("/items", json!([])),
            ],
        ),
        case(
            "list at a version",
            [
                post("$cm", config_map("1")).save("rv", "/metadata/resourceVersion"),
                get("$cm?resourceVersion=$rv&resourceVersionMatch=NotOlderThan&fieldSelector=metadata.name%3D$n").set("/items/0"),
                get("$cm?resourceVersion=$rv&fieldSelector=metadata.name%3D$n").set("/items/0"),
                get("$cm?resourceVersion=0").set("/items").set("/metadata/resourceVersion"),
            ],
        ),
        case(
            "list in a namespace that does not exist is empty",
            [get("/api/v1/namespaces/$n/configmaps").is("/items", json!([]))],
        ),
    ]
}

fn pages() -> Vec<Case> {
    vec![case(
        "list in pages",
        [
            post("$cm", labelled("$n-a", "front")),
            post("$cm", labelled("$n-b", "front")),
            post("$cm", labelled("$n-c", "front")),
            get("$cm?labelSelector=case%3D$n&limit=2")
                .is("/items/1/metadata/name", "$n-b")
                .unset("/items/2")
                .save("next", "/metadata/continue")
                .save("rv", "/metadata/resourceVersion"),
            get("$cm?labelSelector=case%3D$n&limit=2&continue=$next")
                .is("/items/0/metadata/name", "$n-c")
                .unset("/items/1")
                .unset("/metadata/continue")
                .is("/metadata/resourceVersion", "$rv"),
            // Whether more follows, a server need not know here.
            get("$cm?labelSelector=case%3D$n&limit=3").set("/items/2").unset("/items/3"),
            get("$cm?limit=2&continue=x").fails(400, "BadRequest"),
        ],
    )]
}

fn list_refused() -> Vec<Case> {
    vec![
        case(
            "list with a label selector that cannot be read",
            [get("$cm?labelSelector=a+in+(b").fails(400, "BadRequest")],
        ),
        case(
            "list by a field that is not selectable",
            [
                get("$cm?fieldSelector=data.key%3D1").fails(400, "BadRequest"),
                get("$widgets?fieldSelector=spec.size%3D1").fails(400, "BadRequest"),
            ],
        ),
        case(
            "list with a match but no version",
            [get("$cm?resourceVersionMatch=NotOlderThan")
                .fails(422, "Invalid")
                .is("/details/causes/0/field", "resourceVersionMatch")],
        ),
        case(
            "list exactly at version 0",
            [get("$cm?resourceVersion=0&resourceVersionMatch=Exact").fails(422, "Invalid")],
        ),
        case(
            "list with a match that is unknown",
            [get("$cm?resourceVersion=1&resourceVersionMatch=Nearly").fails(422, "Invalid")],
        ),
        case(
            "list at a version that does not exist yet",
            [get("$cm?resourceVersion=9000000000000000&resourceVersionMatch=NotOlderThan")
                .fails(504, "Timeout")],
        ),
        case(
            "list from a token that no list gave",
            [get("$cm?limit=1&continue=none").fails(400, "BadRequest")],
        ),
    ]
}
