use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

#[test]
fn every_object_is_ours_by_its_label_and_there_is_one_of_each() {
    let parts = everything(&Options::default());
    let mut seen = BTreeSet::new();
    for part in &parts {
        let label = part.value.pointer("/metadata/labels").and_then(|labels| labels.get(PART_OF_LABEL));
        assert_eq!(label.and_then(Value::as_str), Some(PART_OF), "{}", part.label());
        assert!(seen.insert((part.label(), part.namespace.clone())), "{} is there twice", part.label());
        assert_eq!(part.value["apiVersion"], part.resource.api_version, "{}", part.label());
        assert!(
            part.namespace.as_deref().is_none_or(|namespace| namespace == SYSTEM_NAMESPACE),
            "{}",
            part.label()
        );
    }
}

/// What is applied first is there when what needs it is applied.
#[test]
fn the_order_is_that_of_need() {
    let parts = everything(&Options::default());
    let place = |kind: &str| {
        let of = |part: &Part| part.resource.kind == kind;
        let first = parts.iter().position(of).unwrap_or_else(|| panic!("no {kind}"));
        (first, parts.iter().rposition(of).unwrap())
    };
    let kinds = [
        "CustomResourceDefinition",
        "Namespace",
        "PriorityLevelConfiguration",
        "FlowSchema",
        "ServiceAccount",
        "ValidatingAdmissionPolicy",
        "Deployment",
        "DaemonSet",
    ];
    for pair in kinds.windows(2) {
        assert!(place(pair[0]).1 < place(pair[1]).0, "{pair:?}");
    }
}

/// Every policy has the one binding that puts it in force.
#[test]
fn every_policy_is_in_force() {
    let parts = policies(&Options::default());
    let names = |kind: &str| -> Vec<_> {
        parts.iter().filter(|part| part.resource.kind == kind).map(|part| part.name.clone()).collect()
    };
    assert_eq!(names("ValidatingAdmissionPolicy"), names("ValidatingAdmissionPolicyBinding"));
    for part in parts.iter().filter(|part| part.resource.kind == "ValidatingAdmissionPolicyBinding") {
        assert_eq!(part.value["spec"]["policyName"], part.name.as_str());
        assert_eq!(part.value["spec"]["validationActions"][0], "Deny");
    }
}

#[test]
fn the_image_is_the_options_and_no_registry_is_named() {
    let options = Options { image: "example.test/squall:x".to_owned(), ..Options::default() };
    for part in workloads(&options).iter().filter(|part| part.resource.group == "apps") {
        let container = &part.value["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], "example.test/squall:x", "{}", part.label());
        assert_eq!(container["imagePullPolicy"], "IfNotPresent", "{}", part.label());
    }
    assert!(!DEFAULT_IMAGE.contains('/'), "{DEFAULT_IMAGE} names a registry");
}

#[test]
fn texts_are_quoted_for_cel() {
    assert_eq!(policies::text(r"it's \d"), r"'it\'s \\d'");
    assert_eq!(policies::list(["a", "b'"]), r"['a', 'b\'']");
}
