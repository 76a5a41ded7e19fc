//! Who may do what: the two service accounts with their roles, and roles to give to people.
//!
//! RBAC says what an account may do at all; what it cannot express (whose Injection, which field of a pod, which namespace an
//! experiment reaches) is in the admission policies.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use kube::api::ObjectMeta;

use super::{ADMIN, CONTROLLER, DAEMON, Part, meta, meta_in_system, words};
use crate::api::{CONTROLLER_LEASE, SYSTEM_NAMESPACE, custom_kinds};

/// What looks and does not change.
const LOOK: &[&str] = &["get", "list", "watch"];

/// The API group of everything that is an experiment.
const EXPERIMENTS: &str = "chaos-mesh.org";

/// The API group of our own kinds.
const OURS: &str = "squall.dev";

/// Service accounts, roles and bindings.
pub fn accounts() -> Vec<Part> {
    let mut parts = Vec::new();
    for (name, everywhere, here) in [
        (CONTROLLER, controller_everywhere(), controller_here()),
        (DAEMON, daemon_everywhere(), daemon_here()),
    ] {
        parts.push(Part::of(&ServiceAccount { metadata: meta_in_system(name), ..Default::default() }));
        let role = ClusterRole { metadata: meta(name), rules: Some(everywhere), ..Default::default() };
        parts.push(Part::of(&role));
        parts.push(Part::of(&ClusterRoleBinding {
            metadata: meta(name),
            role_ref: role_ref("ClusterRole", name),
            subjects: Some(vec![account(name)]),
        }));
        parts.push(Part::of(&Role { metadata: meta_in_system(name), rules: Some(here) }));
        parts.push(Part::of(&RoleBinding {
            metadata: meta_in_system(name),
            role_ref: role_ref("Role", name),
            subjects: Some(vec![account(name)]),
        }));
    }
    parts.extend(people().iter().map(Part::of));
    parts
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(words(&[group])),
        resources: Some(words(resources)),
        verbs: words(verbs),
        ..PolicyRule::default()
    }
}

fn role_ref(kind: &str, name: &str) -> RoleRef {
    RoleRef {
        api_group: "rbac.authorization.k8s.io".to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

fn account(name: &str) -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: name.to_owned(),
        namespace: Some(SYSTEM_NAMESPACE.to_owned()),
        ..Subject::default()
    }
}

/// The plurals of the experiments, each with this behind it.
fn experiments(part: &str) -> Vec<String> {
    let ours = custom_kinds().iter().filter(|kind| kind.group == EXPERIMENTS);
    ours.map(|kind| format!("{}{part}", kind.plural)).collect()
}

fn on_experiments(part: &str, verbs: &[&str]) -> PolicyRule {
    PolicyRule { resources: Some(experiments(part)), ..rule(EXPERIMENTS, &[], verbs) }
}

fn controller_everywhere() -> Vec<PolicyRule> {
    vec![
        // Whom an experiment means, and by which addresses.
        rule("", &["pods", "nodes", "services"], LOOK),
        rule("discovery.k8s.io", &["endpointslices"], LOOK),
        // pod-failure patches, pod-kill deletes or evicts; the policy squall-pods says which and how.
        rule("", &["pods"], &["patch", "delete"]),
        rule("", &["pods/eviction"], &["create"]),
        // The finalizer, and the status.
        on_experiments("", &["get", "list", "watch", "patch"]),
        on_experiments("/status", &["patch"]),
        rule(OURS, &["halts"], LOOK),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
        // At its start it looks whether Chaos Mesh is there.
        rule("apps", &["deployments", "daemonsets"], &["list"]),
        rule("apiextensions.k8s.io", &["customresourcedefinitions"], &["list"]),
    ]
}

fn controller_here() -> Vec<PolicyRule> {
    let lease = |verbs: &[&str]| PolicyRule {
        resource_names: Some(words(&[CONTROLLER_LEASE])),
        ..rule("coordination.k8s.io", &["leases"], verbs)
    };
    vec![
        rule(OURS, &["injections"], &["get", "list", "watch", "create", "update", "patch", "delete"]),
        // Those of faults that are calls of the API; the policy squall-injection-status says so.
        rule(OURS, &["injections/status"], &["patch"]),
        rule("coordination.k8s.io", &["leases"], &["create"]),
        lease(&["get", "update"]),
    ]
}

fn daemon_everywhere() -> Vec<PolicyRule> {
    vec![rule(OURS, &["halts"], LOOK)]
}

fn daemon_here() -> Vec<PolicyRule> {
    let heartbeat = PolicyRule {
        resource_names: Some(words(&[CONTROLLER_LEASE])),
        ..rule("coordination.k8s.io", &["leases"], LOOK)
    };
    vec![
        rule(OURS, &["injections"], LOOK),
        // Of its own node's; the policy squall-injection-status says so.
        rule(OURS, &["injections/status"], &["update", "patch"]),
        heartbeat,
    ]
}

/// Roles for people. Those of view and edit join the cluster's own roles of these names, so that whoever has them in a
/// namespace has them for its experiments.
fn people() -> [ClusterRole; 3] {
    let role =
        |metadata: ObjectMeta, rules| ClusterRole { metadata, rules: Some(rules), ..Default::default() };
    let aggregated = |name: &str, to: &[&str]| {
        let mut meta = meta(name);
        for role in to {
            let label = format!("rbac.authorization.k8s.io/aggregate-to-{role}");
            meta.labels.get_or_insert_default().insert(label, "true".to_owned());
        }
        meta
    };
    let every = &["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
    [
        role(
            aggregated("squall-view", &["view", "edit", "admin"]),
            vec![on_experiments("", LOOK), on_experiments("/status", &["get"])],
        ),
        role(aggregated("squall-edit", &["edit", "admin"]), vec![on_experiments("", every)]),
        role(
            meta(ADMIN),
            vec![
                on_experiments("", every),
                on_experiments("/status", &["get"]),
                rule(OURS, &["halts"], every),
                rule(OURS, &["injections", "injections/status"], LOOK),
                // What the console shows and a preview needs.
                rule("", &["pods", "nodes", "services", "namespaces"], LOOK),
                rule("discovery.k8s.io", &["endpointslices"], LOOK),
                rule("events.k8s.io", &["events"], LOOK),
                // Who leads.
                PolicyRule {
                    resource_names: Some(words(&[CONTROLLER_LEASE])),
                    ..rule("coordination.k8s.io", &["leases"], &["get"])
                },
            ],
        ),
    ]
}
