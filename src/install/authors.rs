//! Whom an experiment may reach: the rights of its author, and namespaces that nobody's experiment may name.
//!
//! The right that counts is `create` on the experiment's own kind, in every namespace that it names: whoever could have made
//! it there may reach there. It is the rule of Chaos Mesh's own webhook. In its own namespace RBAC has answered already.
//!
//! The API server reckons 350,000 for each question of rights, allows 1,000,000 for an expression and 10,000,000 for a policy:
//! hence one validation for each place in the list of namespaces, and a limit to it.

use super::CONTROLLER_USER;
use super::policies::{Demand, Policy, is_by, list, rule, text};
use crate::api::{PAUSE_ANNOTATION, custom_kinds};

/// Namespaces that are asked about one by one; beyond that the right has to be one for all namespaces.
const ASKED: usize = 16;

/// The API group of experiments.
const GROUP: &str = "chaos-mesh.org";

/// Kinds that hold experiments, which the controller makes in its own name.
const COLLECTIONS: &[&str] = &["schedules", "workflows"];

/// The fields of a collection that hold an experiment: all of Chaos Mesh's kinds, whether or not they are here. The name of
/// the resource is the field's in lower case.
const EMBEDDED: &[&str] = &[
    "awsChaos",
    "azureChaos",
    "blockChaos",
    "dnsChaos",
    "gcpChaos",
    "httpChaos",
    "ioChaos",
    "jvmChaos",
    "kernelChaos",
    "networkChaos",
    "physicalmachineChaos",
    "podChaos",
    "stressChaos",
    "timeChaos",
];

fn experiments() -> Vec<&'static str> {
    custom_kinds().iter().filter(|kind| kind.group == GROUP).map(|kind| kind.plural).collect()
}

/// Not what the controller does: it makes the children of Schedules and Workflows, and sets finalizers.
fn not_the_controller() -> (&'static str, String) {
    ("not-the-controller", format!("!({})", is_by(&[CONTROLLER_USER])))
}

/// Only what changes a fault. To pause is to take faults away, for which nobody needs more rights than to patch.
fn changes_a_fault() -> (&'static str, String) {
    let pause = text(PAUSE_ANNOTATION);
    let (new, old) =
        ["object", "oldObject"].map(|of| format!("{of}.metadata.?annotations.orValue({{}})")).into();
    let pauses = format!(
        "{new}[?{pause}].orValue('') == 'true' && {new}.all(k, k == {pause} || {old}[?k] == {new}[?k]) \
         && {old}.all(k, k == {pause} || k in {new})"
    );
    (
        "changes-a-fault",
        format!(
            "request.operation == 'CREATE' || object.spec != oldObject.spec || ({new} != {old} && !({pauses}))"
        ),
    )
}

/// Where selectors are. Through `dyn`, as not every kind has every field.
const ENDS: [&str; 2] = ["dyn(object.spec).?selector", "dyn(object.spec).?target.?selector"];

/// The namespaces that a selector names. With `pods` those of `namespaces` mean nothing, but who names them means them.
fn named_by(selector: &str) -> [String; 2] {
    [format!("{selector}.?namespaces.orValue([])"), format!("{selector}.?pods.orValue({{}}).map(k, k)")]
}

/// How the API server refuses: what reads its refusals reads this one as well (`report::Right::of_refusal`).
fn refusal(resource: &str, place: &str) -> String {
    format!(
        "'User \"' + request.userInfo.username + '\" cannot create resource \"' + {resource} + '\" in API group \
         \"{GROUP}\" ' + {place}"
    )
}

/// The author of an experiment has the right to make one in each namespace that it reaches.
pub(super) fn of_experiments() -> Policy {
    let [[a, b], [c, d]] = ENDS.map(named_by);
    // Each is asked about once.
    let foreign = "variables.a.filter(n, n != request.namespace) \
         + variables.b.filter(n, n != request.namespace && !(n in variables.a)) \
         + variables.c.filter(n, n != request.namespace && !(n in variables.a) && !(n in variables.b)) \
         + variables.d.filter(n, n != request.namespace && !(n in variables.a) && !(n in variables.b) && !(n in \
         variables.c))";
    let check = format!("authorizer.group('{GROUP}').resource(request.resource.resource)");
    let resource = "request.resource.resource";
    let one = |index: usize| Demand {
        holds: format!(
            "variables.foreign.size() <= {index} || variables.foreign.size() > {ASKED} || \
             {check}.namespace(variables.foreign[{index}]).check('create').allowed()"
        ),
        says: refusal(
            resource,
            &format!("'in the namespace \"' + string(variables.foreign[{index}]) + '\", which it reaches'"),
        ),
    };
    let mut validations: Vec<_> = (0..ASKED).map(one).collect();
    validations.push(Demand {
        holds: format!("variables.foreign.size() <= {ASKED} || {check}.check('create').allowed()"),
        says: refusal(
            resource,
            &format!(
                "'at the cluster scope: it reaches ' + string(variables.foreign.size()) + ' other namespaces, and \
                 more than {ASKED} are not asked about one by one'"
            ),
        ),
    });
    Policy {
        name: "squall-authors",
        rules: vec![rule(GROUP, &experiments(), &["CREATE", "UPDATE"])],
        conditions: vec![not_the_controller(), changes_a_fault()],
        variables: vec![("a", a), ("b", b), ("c", c), ("d", d), ("foreign", foreign.to_owned())],
        validations,
    }
}

/// Everything of a Schedule or a Workflow that may hold experiments: its spec, templates, and templates' schedules.
fn holders() -> Vec<(&'static str, String)> {
    vec![
        (
            "outer",
            "[dyn(object.spec)] + dyn(object.spec).?templates.orValue([]) + \
             dyn(object.spec).?workflow.?templates.orValue([])"
                .to_owned(),
        ),
        (
            "holders",
            "variables.outer + variables.outer.filter(h, has(h.schedule) && type(h.schedule) != \
             string).map(h, h.schedule)"
                .to_owned(),
        ),
    ]
}

/// That every namespace which an embedded experiment names is such. `n` is the namespace in `is`.
fn every_namespace(experiment: &str, is: &str) -> String {
    let parts = [format!("{experiment}.?selector"), format!("{experiment}.?target.?selector")];
    let parts = parts.map(|selector| {
        format!(
            "{selector}.?namespaces.orValue([]).all(n, {is}) && {selector}.?pods.orValue({{}}).all(n, {is})"
        )
    });
    parts.join(" && ")
}

/// The same for whoever writes a Schedule or a Workflow: the experiments in it are made by the controller later, which may
/// reach everything. They reach the own namespace only, unless the author could make such experiments everywhere.
pub(super) fn of_collections() -> Policy {
    let one = |field: &&str| {
        let resource = field.to_ascii_lowercase();
        let own = format!(
            "variables.holders.all(h, !has(h.{field}) || ({}))",
            every_namespace(&format!("h.{field}"), "n == request.namespace")
        );
        let check = format!("authorizer.group('{GROUP}').resource('{resource}')");
        Demand {
            holds: format!(
                "!variables.holders.exists(h, has(h.{field})) || ({own} ? \
                 {check}.namespace(request.namespace).check('create') : {check}.check('create')).allowed()"
            ),
            says: refusal(
                &text(&resource),
                &format!(
                    "({own} ? 'in the namespace \"' + request.namespace + '\", which this makes' : 'at the cluster \
                     scope: this reaches beyond its own namespace')"
                ),
            ),
        }
    };
    let mut validations: Vec<_> = EMBEDDED.iter().map(one).collect();
    let known = list(EMBEDDED.iter().copied());
    validations.push(Demand::new(
        format!("variables.holders.all(h, h.all(k, !k.endsWith('Chaos') || k in {known}))"),
        "it holds an experiment of a kind that is not known, so that nobody can say what it reaches",
    ));
    validations.push(Demand {
        holds: "!variables.holders.exists(h, has(h.task)) || \
                authorizer.group('').resource('pods').namespace(request.namespace).check('create').allowed()"
            .to_owned(),
        says: "'User \"' + request.userInfo.username + '\" cannot create resource \"pods\" in API group \"\" in \
               the namespace \"' + request.namespace + '\", which its task makes'"
            .to_owned(),
    });
    Policy {
        name: "squall-collection-authors",
        rules: vec![rule(GROUP, COLLECTIONS, &["CREATE", "UPDATE"])],
        conditions: vec![not_the_controller(), changes_a_fault()],
        variables: holders(),
        validations,
    }
}

/// Nobody's experiment is in a protected namespace or names one. The controller makes no target of a pod there either.
pub(super) fn protected(namespaces: &[String]) -> Policy {
    let protected = list(namespaces.iter().map(String::as_str));
    let named = ENDS.map(named_by).concat().join(" + ");
    Policy {
        name: "squall-protected-namespaces",
        rules: vec![rule(GROUP, &experiments(), &["CREATE", "UPDATE"])],
        conditions: vec![changes_a_fault()],
        variables: vec![("named", format!("([request.namespace] + {named}).filter(n, n in {protected})"))],
        validations: vec![Demand {
            holds: "variables.named.size() == 0".to_owned(),
            says: format!("'no experiment reaches ' + string(variables.named[0]) + {}", text(LIFT)),
        }],
    }
}

/// How a namespace stops being protected.
const LIFT: &str = ", which is protected; an administrator lifts that with squall install --unprotect";

/// The same for Schedules and Workflows.
pub(super) fn protected_in_collections(namespaces: &[String]) -> Policy {
    let protected = list(namespaces.iter().map(String::as_str));
    let free = every_namespace("h[k]", &format!("!(n in {protected})"));
    Policy {
        name: "squall-protected-namespaces-of-collections",
        rules: vec![rule(GROUP, COLLECTIONS, &["CREATE", "UPDATE"])],
        conditions: vec![changes_a_fault()],
        variables: holders(),
        validations: vec![
            Demand {
                holds: format!("!(request.namespace in {protected})"),
                says: format!("'no experiment reaches ' + request.namespace + {}", text(LIFT)),
            },
            Demand::new(
                format!("variables.holders.all(h, h.all(k, !k.endsWith('Chaos') || ({free})))"),
                &format!("an experiment in it reaches a namespace{LIFT}"),
            ),
        ],
    }
}
