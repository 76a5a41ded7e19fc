//! The roles of an installation: that the parts can do all that they do, and people what their role says.

use kube::api::ListParams;
use serde_json::json;
use squall::api::SYSTEM_NAMESPACE;

use super::{User, governed};

/// Whether somebody has a right, by the API server's own word.
async fn may(user: &User, verb: &str, resource: &str, namespace: Option<&str>) -> bool {
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let right = squall::report::Right::new(verb, group, resource, namespace);
    squall::operations::rights::allowed(&user.client, &right).await.unwrap()
}

#[tokio::test]
async fn parts_have_what_they_need_and_no_more() {
    let governed = governed().await;
    let (controller, daemon) = (governed.controller().await, governed.daemon(Some("fake-0000")).await);
    let here = Some(SYSTEM_NAMESPACE);
    for (who, verb, resource, namespace, expected) in [
        (&controller, "watch", "pods", None, true),
        (&controller, "create", "pods/eviction", None, true),
        (&controller, "create", "injections.squall.dev", here, true),
        (&controller, "create", "injections.squall.dev", None, false),
        (&controller, "create", "leases.coordination.k8s.io", here, true),
        (&controller, "create", "leases.coordination.k8s.io", None, false),
        (&controller, "create", "pods", None, false),
        (&controller, "create", "pods/exec", None, false),
        (&controller, "get", "secrets", None, false),
        (&controller, "get", "secrets", here, false),
        (&controller, "create", "networkchaos.chaos-mesh.org", None, false),
        (&controller, "delete", "networkchaos.chaos-mesh.org", None, false),
        (&controller, "patch", "nodes", None, false),
        (&controller, "create", "serviceaccounts/token", here, false),
        (&daemon, "watch", "injections.squall.dev", here, true),
        (&daemon, "watch", "injections.squall.dev", None, false),
        (&daemon, "watch", "halts.squall.dev", None, true),
        (&daemon, "patch", "injections.squall.dev", here, false),
        (&daemon, "get", "pods", here, false),
        (&daemon, "get", "secrets", here, false),
        (&daemon, "get", "nodes", None, false),
        (&daemon, "update", "leases.coordination.k8s.io", here, false),
        (&daemon, "create", "serviceaccounts/token", here, false),
    ] {
        assert_eq!(may(who, verb, resource, namespace).await, expected, "{verb} {resource} {namespace:?}");
    }
}

#[tokio::test]
async fn view_and_edit_of_a_namespace_are_those_of_its_experiments() {
    let governed = governed().await;
    governed.namespaces(&["roles"]).await;
    let (viewer, editor) = (governed.user("role-viewer").await, governed.user("role-editor").await);
    governed.bind("role-viewer", "view", Some("roles")).await;
    governed.bind("role-editor", "edit", Some("roles")).await;
    super::eventually("the roles are not joined", async || {
        may(&editor, "create", "podchaos.chaos-mesh.org", Some("roles")).await
            && may(&viewer, "list", "podchaos.chaos-mesh.org", Some("roles")).await
    })
    .await;
    for (who, verb, resource, namespace, expected) in [
        (&viewer, "create", "networkchaos.chaos-mesh.org", "roles", false),
        (&viewer, "watch", "networkchaos.chaos-mesh.org", "roles", true),
        (&viewer, "watch", "networkchaos.chaos-mesh.org", "default", false),
        (&editor, "patch", "networkchaos.chaos-mesh.org", "roles", true),
        (&editor, "patch", "networkchaos.chaos-mesh.org/status", "roles", false),
        (&editor, "create", "networkchaos.chaos-mesh.org", "default", false),
        (&editor, "create", "injections.squall.dev", "roles", false),
    ] {
        let (resource, part) = resource.split_once('/').map_or((resource, ""), |(a, b)| (a, b));
        let (plural, group) = resource.split_once('.').unwrap();
        let whole = if part.is_empty() { plural.to_owned() } else { format!("{plural}/{part}") };
        let right = squall::report::Right::new(verb, group, &whole, Some(namespace));
        let found = squall::operations::rights::allowed(&who.client, &right).await.unwrap();
        assert_eq!(found, expected, "{right}");
    }
}

/// The daemon watches one Lease by its name, which is all that its role lets it see.
#[tokio::test]
async fn a_daemon_sees_the_heartbeat_and_no_other_lease() {
    let governed = governed().await;
    let admin = governed.admin().await;
    for name in ["squall-controller", "of-others"] {
        let lease =
            json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": name } });
        admin.store(Some(SYSTEM_NAMESPACE), lease).await.unwrap();
    }
    let daemon = governed.daemon(Some("fake-0001")).await;
    let api = daemon
        .api(Some(SYSTEM_NAMESPACE), &json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease" }));
    let of = |name: &str| ListParams::default().fields(&format!("metadata.name={name}"));
    assert_eq!(api.list(&of("squall-controller")).await.unwrap().items.len(), 1);
    assert!(api.list(&of("of-others")).await.is_err() && api.list(&ListParams::default()).await.is_err());
}
