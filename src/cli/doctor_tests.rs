use super::*;
use serde_json::json;

fn lease(holder: &str, renewed: &str) -> Lease {
    serde_json::from_value(json!({"spec": {"holderIdentity": holder, "renewTime": renewed}})).unwrap()
}

#[test]
fn a_silent_controller_is_a_failure() {
    let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
    for (lease, verdict, words) in [
        (None, Verdict::Fail, "ever"),
        (Some(lease("", "2026-01-01T00:00:59.000000Z")), Verdict::Fail, "no controller leads"),
        (Some(lease("c-1", "2026-01-01T00:00:58.000000Z")), Verdict::Ok, "c-1 leads, last heard of 2s ago"),
        (Some(lease("c-1", "2026-01-01T00:00:40.000000Z")), Verdict::Warn, "20s ago"),
        (Some(lease("c-1", "2026-01-01T00:00:00.000000Z")), Verdict::Fail, "60s ago"),
        (Some(lease("c-1", "2026-01-01T00:01:02.000000Z")), Verdict::Ok, "leads"),
    ] {
        let check = controller(lease.as_ref(), now);
        assert_eq!(check.verdict, verdict, "{check:?}");
        assert!(check.what.contains(words), "{check:?}");
    }
}

#[test]
fn daemons_are_called_ready_only_where_something_says_so() {
    let nodes = ["a".to_owned(), "b".to_owned()];
    let pod = |node: &str, ready: &str| -> Pod {
        serde_json::from_value(json!({
            "spec": {"nodeName": node, "containers": []},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}
        }))
        .unwrap()
    };
    let both = [pod("a", "True"), pod("b", "True")];
    assert_eq!(daemons_of(&nodes, &both, &[]), Check::ok("daemons", "a ready, b ready"));
    let one = daemons_of(&nodes, &[pod("a", "True")], &[]);
    assert_eq!((one.verdict, one.what.as_str()), (Verdict::Warn, "a ready, b unknown"));
    assert_eq!(daemons_of(&nodes, &[pod("a", "True"), pod("b", "False")], &[]).verdict, Verdict::Fail);
    assert_eq!(daemons_of(&[], &both, &[]).verdict, Verdict::Fail);
}

#[test]
fn what_the_child_found() {
    let findings = |sandbox: Option<&str>, tables: Option<&str>| Findings {
        sandbox: sandbox.map(str::to_owned),
        tables: tables.map(str::to_owned),
    };
    let verdicts =
        |findings| found(findings).iter().map(|check| (check.name, check.verdict)).collect::<Vec<_>>();
    assert_eq!(verdicts(findings(None, None)), [("sandbox", Verdict::Ok), ("nf_tables", Verdict::Ok)]);
    assert_eq!(
        verdicts(findings(None, Some("EINVAL"))),
        [("sandbox", Verdict::Ok), ("nf_tables", Verdict::Warn)]
    );
    assert_eq!(verdicts(findings(Some("sysctl"), None)), [("sandbox", Verdict::Warn)]);
}

#[test]
fn every_field_is_documented() {
    let undocumented = crate::cli::status::undocumented::<Check>("squall doctor -o json");
    assert_eq!(undocumented, Vec::<String>::new());
}
