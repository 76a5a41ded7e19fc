//! Watch: what is replayed from a version, and how selectors turn changes into events.

use serde_json::json;

use super::{config_map, widget};
use crate::step::{Case, case, delete, get, merge_patch, post};

#[expect(clippy::too_many_lines, reason = "one table")]
pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "watch from a version tells every change after it",
            [
                post("$cm", json!({ "metadata": { "name": "$n-first" } })).save("rv", "/metadata/resourceVersion"),
                post("$cm", config_map("1")),
                merge_patch("$cm/$n", json!({ "data": { "key": "2" } })),
                delete("$cm/$n", json!({})),
                get("$cm?watch=true&timeoutSeconds=5&resourceVersion=$rv&fieldSelector=metadata.name%3D$n")
                    .sees("ADDED", [("/data/key", "1"), ("/kind", "ConfigMap"), ("/metadata/name", "$n")])
                    .sees("MODIFIED", [("/data/key", "2")])
                    .sees("DELETED", [("/data/key", "2")]),
            ],
        ),
        case(
            "watch from nowhere begins with what is there",
            [
                post("$cm", config_map("1")),
                get("$cm?watch=1&timeoutSeconds=5&fieldSelector=metadata.name%3D$n").sees("ADDED", [("/data/key", "1")]),
                get("$cm?watch=1&timeoutSeconds=5&resourceVersion=0&fieldSelector=metadata.name%3D$n")
                    .sees("ADDED", [("/data/key", "1")]),
            ],
        ),
        case(
            "watch by labels: starting to match adds, ceasing deletes",
            [
                post("$cm", config_map("1")).save("rv", "/metadata/resourceVersion"),
                merge_patch("$cm/$n", json!({ "metadata": { "labels": { "case": "$n" } } })),
                merge_patch("$cm/$n", json!({ "data": { "key": "2" } })),
                merge_patch("$cm/$n", json!({ "metadata": { "labels": { "case": "other" } }, "data": { "key": "3" } })),
                merge_patch("$cm/$n", json!({ "data": { "key": "4" } })),
                merge_patch("$cm/$n", json!({ "metadata": { "labels": { "case": "$n" } } })),
                get("$cm?watch=true&timeoutSeconds=5&resourceVersion=$rv&labelSelector=case%3D$n")
                    .sees("ADDED", [("/data/key", "1")])
                    .sees("MODIFIED", [("/data/key", "2")])
                    .sees("DELETED", [("/data/key", "2")])
                    .sees("ADDED", [("/data/key", "4")]),
            ],
        ),
        case(
            "watch by the selectable field of a custom object",
            [
                post("$widgets", widget(json!({ "size": 1, "node": "elsewhere" }))).save("rv", "/metadata/resourceVersion"),
                merge_patch("$widgets/$n", json!({ "spec": { "node": "$n" } })),
                merge_patch("$widgets/$n/status", json!({ "status": { "phase": "Injected" } })),
                merge_patch("$widgets/$n", json!({ "spec": { "node": "elsewhere" } })),
                get("$widgets?watch=true&timeoutSeconds=5&resourceVersion=$rv&fieldSelector=spec.node%3D$n")
                    .sees("ADDED", [("/spec/node", "$n")])
                    .sees("MODIFIED", [("/status/phase", "Injected")])
                    .sees("DELETED", [("/spec/node", "$n")]),
            ],
        ),
        case(
            "watch that lists first marks where the list ends",
            [
                post("$cm", config_map("1")),
                get("$cm?watch=true&timeoutSeconds=5&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\
                     &allowWatchBookmarks=true&fieldSelector=metadata.name%3D$n")
                .sees("ADDED", [("/data/key", "1")])
                .sees("BOOKMARK", [("/metadata/annotations/k8s.io~1initial-events-end", "true")]),
            ],
        ),
        case(
            "watch over all namespaces",
            [
                post("$cm", config_map("1")).save("rv", "/metadata/resourceVersion"),
                merge_patch("$cm/$n", json!({ "data": { "key": "2" } })),
                get("/api/v1/configmaps?watch=true&timeoutSeconds=5&resourceVersion=$rv&fieldSelector=metadata.name%3D$n")
                    .sees("MODIFIED", [("/metadata/namespace", "$ns")]),
            ],
        ),
        case(
            "watch sees the mark of deletion before the end",
            [
                post("$cm", json!({ "metadata": { "name": "$n", "finalizers": ["squall.dev/one"] } }))
                    .save("rv", "/metadata/resourceVersion"),
                delete("$cm/$n", json!({})).save("at", "/metadata/deletionTimestamp"),
                merge_patch("$cm/$n", json!({ "metadata": { "finalizers": null } })),
                get("$cm?watch=true&timeoutSeconds=5&resourceVersion=$rv&fieldSelector=metadata.name%3D$n")
                    .sees("MODIFIED", [("/metadata/deletionTimestamp", "$at")])
                    .sees("DELETED", [("/metadata/deletionTimestamp", "$at")]),
            ],
        ),
        case(
            "watch from a version that history has lost",
            [
                // A custom kind: its history begins when it is defined, long after version 1.
                get("$widgets?watch=true&timeoutSeconds=5&resourceVersion=1")
                    .sees("ERROR", [("/kind", "Status"), ("/status", "Failure"), ("/reason", "Expired")]),
            ],
        ),
        case(
            "watch that cannot start",
            [
                get("$cm?watch=true&fieldSelector=data.key%3D1").fails(400, "BadRequest"),
                get("$cm?watch=true&labelSelector=a+in+(").fails(400, "BadRequest"),
                get("$cm?watch=true&resourceVersion=1&resourceVersionMatch=NotOlderThan").fails(422, "Invalid"),
            ],
        ),
    ]
}
