//! How much of the API server's attention Squall's own requests get, and which of them wait for which: API Priority and
//! Fairness, the group `flowcontrol.apiserver.k8s.io`.
//!
//! All daemons have one service account, which for the API server is one flow of the level that all workloads share: 300
//! requests of it may wait, and those of 500 daemons at once, as after an outage, would mostly be refused (429). What the
//! numbers below mean and why they are so is in [ADR 19](../../docs/adr/0019-a-fair-share-of-the-api-server.md).

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, FlowSchemaSpec, LimitResponse, LimitedPriorityLevelConfiguration, NonResourcePolicyRule,
    PolicyRulesWithSubjects, PriorityLevelConfiguration, PriorityLevelConfigurationReference,
    PriorityLevelConfigurationSpec, QueuingConfiguration, ResourcePolicyRule, ServiceAccountSubject, Subject,
};

use super::{CONTROLLER, DAEMON, Part, meta, words};
use crate::api::SYSTEM_NAMESPACE;

/// The API group of these objects. A cluster can do without them ([`flows`]).
pub const FLOW_CONTROL: &str = "flowcontrol.apiserver.k8s.io";

/// The name of Squall's own level.
pub const LEVEL: &str = "squall";

/// The cluster's own level for leader elections, which every API server makes by itself (`k8s.io/apiserver`,
/// `bootstrap/default.go`).
const LEADER_ELECTION: &str = "leader-election";

/// Shares of the API server's seats; the cluster's own levels have 245 together, that of all workloads 100.
const SHARES: i32 = 30;

/// Of its seats, those that others may use while Squall has nothing to ask, which is most of the time.
const LENDABLE_PERCENT: i32 = 50;

/// How much it may borrow of what others do not use, in parts of its own: in all never more than the level of all workloads
/// has.
const BORROWING_PERCENT: i32 = 200;

/// Queues of the level, and how many of them a flow can be in.
const QUEUES: (i32, i32) = (64, 8);

/// Requests that a queue holds: with eight queues a flow has 4,000 waiting, four of each of a thousand daemons.
const QUEUE_LENGTH: i32 = 500;

/// Before every schema for service accounts in general (9,000), after those that the cluster needs to live.
const PRECEDENCE: i32 = 1_000;

/// The level, and what belongs to it. Where a cluster has no such objects, or who installs may not make them, everything
/// else works without them: with many nodes, some requests come a second later.
pub fn flows() -> Vec<Part> {
    let schemas = [
        // What keeps faults in place everywhere; the cluster's own leader elections are beside it.
        schema("squall-leader", CONTROLLER, LEADER_ELECTION, vec![lease(&["get", "create", "update"])]),
        // What ends faults: a daemon that starts injects nothing before it has read the Halts. What daemons have to say must
        // not keep others from hearing of them.
        schema("squall-signals", DAEMON, LEVEL, vec![lease(LOOK), halts()]),
        schema(DAEMON, DAEMON, LEVEL, vec![anything()]),
        schema(CONTROLLER, CONTROLLER, LEVEL, vec![anything()]),
    ];
    let schemas = schemas.into_iter().zip(PRECEDENCE..).map(|(mut schema, precedence)| {
        schema.spec.get_or_insert_default().matching_precedence = Some(precedence);
        Part::of(&schema)
    });
    std::iter::once(Part::of(&level())).chain(schemas).collect()
}

fn level() -> PriorityLevelConfiguration {
    let (queues, hand) = QUEUES;
    let queuing = QueuingConfiguration {
        queues: Some(queues),
        hand_size: Some(hand),
        queue_length_limit: Some(QUEUE_LENGTH),
    };
    let limited = LimitedPriorityLevelConfiguration {
        nominal_concurrency_shares: Some(SHARES),
        lendable_percent: Some(LENDABLE_PERCENT),
        borrowing_limit_percent: Some(BORROWING_PERCENT),
        limit_response: Some(LimitResponse { type_: "Queue".to_owned(), queuing: Some(queuing) }),
    };
    PriorityLevelConfiguration {
        metadata: meta(LEVEL),
        spec: Some(PriorityLevelConfigurationSpec {
            type_: "Limited".to_owned(),
            limited: Some(limited),
            exempt: None,
        }),
        status: None,
    }
}

/// The requests of one account that one of these rules takes. They are one flow: nothing in a request tells one daemon from
/// another.
fn schema(name: &str, account: &str, level: &str, rules: Vec<ResourcePolicyRule>) -> FlowSchema {
    let everything = rules.iter().any(|rule| rule.resources == ["*"]);
    let paths = NonResourcePolicyRule { non_resource_urls: words(&["*"]), verbs: words(&["*"]) };
    let subject = Subject {
        kind: "ServiceAccount".to_owned(),
        service_account: Some(ServiceAccountSubject {
            name: account.to_owned(),
            namespace: SYSTEM_NAMESPACE.to_owned(),
        }),
        ..Subject::default()
    };
    FlowSchema {
        metadata: meta(name),
        spec: Some(FlowSchemaSpec {
            priority_level_configuration: PriorityLevelConfigurationReference { name: level.to_owned() },
            rules: Some(vec![PolicyRulesWithSubjects {
                subjects: vec![subject],
                resource_rules: Some(rules),
                non_resource_rules: everything.then(|| vec![paths]),
            }]),
            ..FlowSchemaSpec::default()
        }),
        status: None,
    }
}

const LOOK: &[&str] = &["get", "list", "watch"];

/// On the Lease, which is in our namespace like all that these accounts may touch.
fn lease(verbs: &[&str]) -> ResourcePolicyRule {
    ResourcePolicyRule {
        api_groups: words(&["coordination.k8s.io"]),
        resources: words(&["leases"]),
        verbs: words(verbs),
        namespaces: Some(words(&[SYSTEM_NAMESPACE])),
        cluster_scope: None,
    }
}

fn halts() -> ResourcePolicyRule {
    ResourcePolicyRule {
        api_groups: words(&["squall.dev"]),
        resources: words(&["halts"]),
        verbs: words(LOOK),
        namespaces: None,
        cluster_scope: Some(true),
    }
}

fn anything() -> ResourcePolicyRule {
    ResourcePolicyRule {
        api_groups: words(&["*"]),
        resources: words(&["*"]),
        verbs: words(&["*"]),
        namespaces: Some(words(&["*"])),
        cluster_scope: Some(true),
    }
}
