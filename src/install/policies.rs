//! Admission policies: what RBAC cannot express. The API server itself evaluates them (CEL), so that there is no webhook.
//!
//! Each denies, and never grants: an account needs its role and the consent of every policy that matches.

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec,
    Validation, Variable,
};

use super::{CONTROLLER_USER, DAEMON_USER, Options, Part, authors, meta, pods, words};
use crate::api::SYSTEM_NAMESPACE;

/// Where the API server writes the name of a pod's node when a token is bound to a pod (`k8s.io/apiserver`,
/// `serviceaccount.NodeNameKey`).
const NODE_CLAIM: &str = "authentication.kubernetes.io/node-name";

/// Deletes what a Node owns when the Node is gone.
const GARBAGE_COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";

/// Deletes what is in a namespace that is being deleted.
const NAMESPACE_CONTROLLER: &str = "system:serviceaccount:kube-system:namespace-controller";

/// A policy, as it is written here.
pub(super) struct Policy {
    /// Its name, and that of its binding.
    pub(super) name: &'static str,
    /// What it looks at.
    pub(super) rules: Vec<NamedRuleWithOperations>,
    /// Only where all of these hold: name and expression.
    pub(super) conditions: Vec<(&'static str, String)>,
    /// Expressions with a name.
    pub(super) variables: Vec<(&'static str, String)>,
    /// What must hold.
    pub(super) validations: Vec<Demand>,
}

/// What must hold, and what is said where it does not.
pub(super) struct Demand {
    pub(super) holds: String,
    /// A CEL expression that gives the text.
    pub(super) says: String,
}

impl Policy {
    /// The policy, and the binding that puts it in force everywhere.
    fn parts(self) -> [Part; 2] {
        let condition = |(name, expression): (&str, _)| MatchCondition { name: name.to_owned(), expression };
        let variable = |(name, expression): (&str, _)| Variable { name: name.to_owned(), expression };
        let policy = ValidatingAdmissionPolicy {
            metadata: meta(self.name),
            spec: Some(ValidatingAdmissionPolicySpec {
                failure_policy: Some("Fail".to_owned()),
                match_constraints: Some(MatchResources {
                    resource_rules: Some(self.rules),
                    ..MatchResources::default()
                }),
                match_conditions: some(self.conditions.into_iter().map(condition)),
                variables: some(self.variables.into_iter().map(variable)),
                validations: Some(self.validations.into_iter().map(Demand::validation).collect()),
                ..ValidatingAdmissionPolicySpec::default()
            }),
            ..ValidatingAdmissionPolicy::default()
        };
        let binding = ValidatingAdmissionPolicyBinding {
            metadata: meta(self.name),
            spec: Some(ValidatingAdmissionPolicyBindingSpec {
                policy_name: Some(self.name.to_owned()),
                validation_actions: Some(words(&["Deny", "Audit"])),
                ..ValidatingAdmissionPolicyBindingSpec::default()
            }),
        };
        [Part::of(&policy), Part::of(&binding)]
    }
}

/// A list, unless there is nothing in it.
fn some<T>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    Some(items.collect()).filter(|items: &Vec<T>| !items.is_empty())
}

impl Demand {
    /// With a fixed text.
    pub(super) fn new(holds: impl Into<String>, says: &str) -> Self {
        Self { holds: holds.into(), says: text(says) }
    }

    fn validation(self) -> Validation {
        Validation {
            expression: self.holds,
            message_expression: Some(self.says),
            reason: Some("Forbidden".to_owned()),
            message: None,
        }
    }
}

/// What a policy looks at.
pub(super) fn rule(group: &str, resources: &[&str], operations: &[&str]) -> NamedRuleWithOperations {
    NamedRuleWithOperations {
        api_groups: Some(words(&[group])),
        api_versions: Some(words(&["*"])),
        resources: Some(words(resources)),
        operations: Some(words(operations)),
        // As the API server would write it: another client would find a difference each time.
        scope: Some("*".to_owned()),
        ..NamedRuleWithOperations::default()
    }
}

/// A text as CEL writes it.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A list of texts as CEL writes it.
pub(super) fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    format!("[{}]", texts.into_iter().map(text).collect::<Vec<_>>().join(", "))
}

/// Whether a request comes from one of these users.
pub(super) fn is_by(users: &[&str]) -> String {
    format!("request.userInfo.username in {}", list(users.iter().copied()))
}

/// All policies, each with its binding.
pub fn policies(options: &Options) -> Vec<Part> {
    let policies = [
        authors::of_experiments(),
        authors::of_collections(),
        authors::protected(&options.protected),
        authors::protected_in_collections(&options.protected),
        pods::changes(&options.image),
        pods::removals(&options.protected),
        injections(),
        injection_status(),
    ];
    policies.into_iter().flat_map(Policy::parts).collect()
}

/// Orders to daemons are given by the controller alone.
fn injections() -> Policy {
    let controller = is_by(&[CONTROLLER_USER]);
    let cleaner = is_by(&[GARBAGE_COLLECTOR, NAMESPACE_CONTROLLER]);
    let here = format!("request.namespace == {}", text(SYSTEM_NAMESPACE));
    Policy {
        name: "squall-injections",
        rules: vec![rule("squall.dev", &["injections"], &["CREATE", "UPDATE", "DELETE"])],
        conditions: Vec::new(),
        variables: Vec::new(),
        validations: vec![
            Demand::new(
                format!(
                    "{controller} || ({cleaner} && request.operation != 'CREATE' \
                     && (request.operation == 'DELETE' || object.spec == oldObject.spec))"
                ),
                "only the controller of Squall makes, changes and deletes Injections; to end a fault, delete its \
                 experiment, or stop everything with squall halt",
            ),
            Demand::new(
                format!("request.operation == 'DELETE' || {here}"),
                "Injections are in the namespace squall-system only",
            ),
        ],
    }
}

/// What became of a fault is told by the daemon of its node, and of faults that are calls of the API by the controller.
fn injection_status() -> Policy {
    let (controller, daemon) = (is_by(&[CONTROLLER_USER]), is_by(&[DAEMON_USER]));
    let of_controller = "(has(object.spec.fault.podKill) || has(object.spec.fault.podFailure))";
    let claim = format!("request.userInfo.?extra[?{}].orValue([])", text(NODE_CLAIM));
    Policy {
        name: "squall-injection-status",
        rules: vec![rule("squall.dev", &["injections/status"], &["CREATE", "UPDATE"])],
        conditions: Vec::new(),
        variables: vec![("nodes", claim)],
        validations: vec![
            Demand::new(
                format!("{controller} || {daemon}"),
                "only the daemon of a node says what became of an Injection",
            ),
            Demand {
                holds: format!("!({daemon}) || variables.nodes == [object.spec.node]"),
                says: "'a daemon writes the status of its own node only: this Injection is of ' + \
                       object.spec.node + ', and the token is ' + (variables.nodes.size() > 0 ? 'of ' + \
                       variables.nodes[0] : 'not bound to a pod on a node')"
                    .to_owned(),
            },
            Demand::new(
                format!("!({controller}) || {of_controller}"),
                "the controller writes the status of faults of pods only; of others the daemon of their node does",
            ),
        ],
    }
}
