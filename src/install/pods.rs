//! What the controller may do to pods, whatever an experiment says: whoever had its token could do no more.

use super::CONTROLLER_USER;
use super::policies::{Demand, Policy, is_by, list, rule, text};
use crate::api::POD_FAILURE_ANNOTATION;

/// Fields of a pod that can be changed while it lives, beside the images; some only as long as it waits for a gate.
const MUTABLE: &[&str] = &[
    "activeDeadlineSeconds",
    "terminationGracePeriodSeconds",
    "tolerations",
    "schedulingGates",
    "nodeSelector",
    "affinity",
];

fn by_the_controller() -> (&'static str, String) {
    ("the-controller", is_by(&[CONTROLLER_USER]))
}

/// `"name":"image"` of each container, as the annotation has it.
fn pairs(containers: &str) -> String {
    format!("{containers}.map(c, '\"' + c.name + '\":\"' + c.image + '\"')")
}

/// Those of a map in the annotation.
fn recorded(annotation: &str, map: &str) -> String {
    let pair = text(r#""[^":]+":"[^"]+""#);
    format!("{annotation}.find({}).findAll({pair})", text(&format!(r#""{map}":\{{[^}}]*\}}"#)))
}

/// Of a pod it changes images, to the one that only waits and back to what they were, and its own annotation about them.
///
/// The annotation is written in the same change as the images and never afterwards, so that what it says was there before was
/// there before.
pub(super) fn changes(image: &str) -> Policy {
    let mark = text(POD_FAILURE_ANNOTATION);
    let annotation = |object: &str| format!("{object}.metadata.?annotations[?{mark}].orValue('')");
    let other = |object: &str| format!("{object}.metadata.?annotations.orValue({{}}).filter(k, k != {mark})");
    let mut variables = vec![
        ("now", annotation("object")),
        ("before", annotation("oldObject")),
        ("recorded", recorded("variables.now", "containers")),
        ("recordedInit", recorded("variables.now", "initContainers")),
        ("known", recorded("variables.before", "containers")),
        ("knownInit", recorded("variables.before", "initContainers")),
        ("were", pairs("oldObject.spec.containers")),
        ("wereInit", pairs("oldObject.spec.?initContainers.orValue([])")),
        ("others", other("object")),
        ("othersBefore", other("oldObject")),
    ];
    let new_images = |containers: &str, were: &str, known: &str| {
        format!(
            "{containers}.all(c, ('\"' + c.name + '\":\"' + c.image + '\"') in variables.{were} \
             || (variables.now != '' && c.image == {}) \
             || ('\"' + c.name + '\":\"' + c.image + '\"') in variables.{known})",
            text(image)
        )
    };
    variables.push(("images", new_images("object.spec.containers", "were", "known")));
    let init = new_images("object.spec.?initContainers.orValue([])", "wereInit", "knownInit");
    variables.push(("initImages", init));
    let same = |field: &&str| format!("object.spec.?{field} == oldObject.spec.?{field}");
    let fields = MUTABLE.iter().map(same).collect::<Vec<_>>().join(" && ");
    let metadata = ["labels", "ownerReferences", "finalizers"]
        .map(|field| format!("object.metadata.?{field} == oldObject.metadata.?{field}"))
        .join(" && ");
    Policy {
        name: "squall-pod-changes",
        rules: vec![rule("", &["pods"], &["UPDATE"])],
        conditions: vec![by_the_controller()],
        variables,
        validations: vec![
            Demand::new(
                format!("{fields} && {metadata}"),
                "of a pod the controller of Squall changes images and its own annotation, nothing else",
            ),
            Demand::new(
                "variables.others.size() == variables.othersBefore.size() && variables.others.all(k, k in \
                 variables.othersBefore && object.metadata.annotations[k] == oldObject.metadata.annotations[k])",
                "of a pod's annotations the controller of Squall changes its own, no other",
            ),
            Demand::new(
                "variables.now == '' || variables.now == variables.before || (variables.before == '' \
                 && variables.recorded.all(p, p in variables.were) && variables.were.all(p, p in \
                 variables.recorded) && variables.recordedInit.all(p, p in variables.wereInit) \
                 && variables.wereInit.all(p, p in variables.recordedInit))",
                "the controller of Squall writes down the images that a pod has, and only once",
            ),
            Demand::new(
                "variables.images && variables.initImages",
                "the controller of Squall gives a pod the image that waits, or the one that it had",
            ),
        ],
    }
}

/// It deletes and changes none in protected namespaces.
pub(super) fn removals(protected: &[String]) -> Policy {
    Policy {
        name: "squall-protected-pods",
        rules: vec![rule("", &["pods"], &["UPDATE", "DELETE"]), rule("", &["pods/eviction"], &["CREATE"])],
        conditions: vec![by_the_controller()],
        variables: Vec::new(),
        validations: vec![Demand::new(
            format!("!(request.namespace in {})", list(protected.iter().map(String::as_str))),
            "pods of protected namespaces are no targets",
        )],
    }
}
